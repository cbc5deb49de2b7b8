"""From footprints in a file to a row of statistics per region: in the same file, in another one, as CSV."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from geoseg.footprints.measure import AreaCrs, measure_polygons
from geoseg.footprints.write.formats import check_format
from geoseg.footprints.write.geopackage import (
    REGIONS,
    add_region_layer,
    check_replaceable,
    get_region_path,
)
from geoseg.io.access import Output, check_outputs
from geoseg.io.atomic import Delivery, describe_command, find_own_files, replace_file
from geoseg.progress import track
from geoseg.regions.files import FootprintLayer, StatsRasters
from geoseg.regions.polygons import read_regions
from geoseg.regions.statistics import RegionStatistics
from geoseg.workflows.options import StatsOptions
from geoseg.workflows.results import format_html_table

log = logging.getLogger(__name__)

MOST_ROWS = 20
"""Rows of the table that a terminal shows."""


@dataclass(frozen=True)
class StatsResult:
    """Buildings and areas per region: a row per region and class."""

    regions: gpd.GeoDataFrame

    @property
    def count(self) -> int:
        """Buildings in all regions."""
        return int(self.regions["buildings"].sum())

    @property
    def area_m2(self) -> float:
        """What they cover within the regions, in true square metres."""
        return float(self.regions["built_area_m2"].sum())

    @cached_property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        table = self.regions
        rows = table.drop(columns=table.geometry.name).astype(object).where(table.notna(), None)
        return {
            "regions": int(table["region"].nunique()),
            "buildings": self.count,
            "built_area_m2": self.area_m2,
            "rows": rows.to_dict("records"),
        }

    def __str__(self) -> str:
        rows = self.summary["rows"]
        region, kind = (
            max(least, *(len(str(row[name])) for row in rows[:MOST_ROWS])) if rows else least
            for name, least in (("region", 24), ("class", 16))
        )
        heading = f"{'region':{region}} {'class':{kind}} {'buildings':>10} {'built m²':>14} {'share':>8}"
        listed = [
            f"{row['region']!s:{region}} {row['class']:{kind}} {row['buildings']:10,} {row['built_area_m2']:14,.0f} "
            + ("       -" if row["share"] is None else f"{row['share']:8.1%}")
            for row in rows[:MOST_ROWS]
        ]
        more = [f"... and {len(rows) - MOST_ROWS} more rows"] if len(rows) > MOST_ROWS else []
        return "\n".join([heading, *listed, *more])

    def _repr_html_(self) -> str:
        """How Jupyter shows it."""
        rows = self.summary["rows"]
        return format_html_table(
            {
                f"{row['region']}, {row['class']}": f"{row['built_area_m2']:,.0f} m²"
                for row in rows[:MOST_ROWS]
            }
        )


def count_regions(footprints: Path, regions: str, out: Path | None, options: StatsOptions) -> StatsResult:
    """Count footprints per region; the table goes into `out` as its layer `regions`, if that is given."""
    command = describe_command("stats", [str(footprints), regions, str(out)], options)
    layer = FootprintLayer.open(footprints)
    outputs = check_stats_outputs(footprints, out, options, command)
    table = compute_statistics(layer, regions, options)
    with Delivery(outputs, command) as delivery:
        if out is not None:
            target = add_region_layer(out, table, overwrite=True, delivery=delivery)
            log.info(f"{len(table)} rows in layer {REGIONS} of {target}")
        if options.csv is not None:
            with replace_file(options.csv, delivery) as unfinished:
                table.drop(columns=table.geometry.name).to_csv(unfinished, index=False, lineterminator="\n")
    return StatsResult(table)


def check_stats_outputs(
    footprints: Path, out: Path | None, options: StatsOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written; what must not be replaced is refused before anything is counted."""
    outputs = [path for path in (out and get_region_path(out), options.csv) if path]
    own = find_own_files(outputs[0], command) if outputs else set()
    if out is not None:
        check_format(out)
        target = get_region_path(out)
        check_replaceable(target, (REGIONS,), options.overwrite or target.absolute() in own)
    if options.csv is not None:
        check_outputs([Output("a table", options.csv, may_exist=options.overwrite)], [str(footprints)], own)
    return tuple(outputs)


def compute_statistics(layer: FootprintLayer, regions: str, options: StatsOptions) -> gpd.GeoDataFrame:
    """The table of statistics, and nothing written."""
    rasters = StatsRasters.open(options.mask, options.probability)
    place = rasters.grid if rasters else layer.extent
    area = AreaCrs.choose(place, options.area_crs)
    polygons = read_regions(regions, place, options.region_id)
    statistics = RegionStatistics(polygons, area, dict(enumerate(layer.classes, start=1)), place)
    with track("Counting", layer.rows, "footprints") as done:
        for frame in layer.frames():
            measured, _ = measure_polygons(area, np.asarray(frame.geometry.array), layer.crs)
            statistics.add_footprints(frame.assign(area_m2=measured))
            done(len(frame))
    if rasters:
        rasters.feed(statistics)
    return statistics.table()
