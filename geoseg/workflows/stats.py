"""From footprints in a file to a row of statistics per region: in the same file, in another one, as CSV."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd

from geoseg.cluster.workers import open_workers
from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.write.formats import check_format
from geoseg.footprints.write.geopackage import (
    REGIONS,
    add_region_layer,
    check_replaceable,
    get_region_path,
)
from geoseg.io.access import Output, check_outputs
from geoseg.io.atomic import Delivery, describe_command, find_own_files, replace_file
from geoseg.regions.files import FootprintLayer, StatsRasters
from geoseg.workflows.layers import (
    Counting,
    count_layers,
    find_place,
    list_classes,
    open_layers,
    place_regions,
)
from geoseg.workflows.options import StatsOptions
from geoseg.workflows.results import format_html_table

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers

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
    """Count footprints per region; the table goes into `out` as its layer `regions`, if that is given.

    The footprints of a folder are counted together.
    """
    command = describe_command("stats", [str(footprints), regions, str(out)], options.without_places())
    refuse_workers_of_one_file(footprints, options)
    layers = open_layers(footprints, out and get_region_path(out))
    outputs = check_stats_outputs(footprints, out, options, command)
    with open_workers(options) as workers:
        table = compute_statistics(layers, regions, options, workers)
    with Delivery(outputs, command) as delivery:
        if out is not None:
            target = add_region_layer(out, table, overwrite=True, delivery=delivery)
            log.info(f"{len(table)} rows in layer {REGIONS} of {target}")
        if options.csv is not None:
            with replace_file(options.csv, delivery) as unfinished:
                table.drop(columns=table.geometry.name).to_csv(unfinished, index=False, lineterminator="\n")
    return StatsResult(table)


def refuse_workers_of_one_file(footprints: Path, options: StatsOptions) -> None:
    """Workers share files, not the rows of one."""
    for name in ("workers", "dask"):
        if getattr(options, name) and not footprints.is_dir():
            raise InputError(
                f"`{name}` {getattr(options, name)}: workers share the files of a folder, and {footprints} is one file; leave "
                "it out"
            )


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


def compute_statistics(
    layers: Sequence[FootprintLayer], regions: str, options: StatsOptions, workers: Workers | None = None
) -> gpd.GeoDataFrame:
    """The table of statistics, and nothing written."""
    rasters = StatsRasters.open(options.mask, options.probability)
    place = rasters.grid if rasters else find_place(layers)
    area = AreaCrs.choose(place, options.area_crs)
    counting = Counting(place_regions(regions), options.region_id, area, place, list_classes(layers))
    statistics = counting.begin()
    count_layers(statistics, layers, counting, workers)
    if rasters:
        rasters.feed(statistics)
    return statistics.table()
