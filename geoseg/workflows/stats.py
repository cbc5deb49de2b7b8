"""From footprints in a file to a row of statistics per region: in the same file, in another one, as CSV."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd

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
from geoseg.io.addresses import list_replaced_files
from geoseg.io.atomic import Delivery, describe_command, find_own_files, replace_file
from geoseg.progress import format_count, track
from geoseg.regions.adjustment import BACKGROUND
from geoseg.regions.files import FootprintLayer, StatsRasters
from geoseg.regions.polygons import read_regions
from geoseg.regions.statistics import RegionStatistics, find_seen_pixels
from geoseg.workflows.adjust import MapSample, describe_sources
from geoseg.workflows.layers import Counting, count_layers, find_place, list_classes, open_layers
from geoseg.workflows.options import StatsOptions
from geoseg.workflows.results import format_html_table
from geoseg.workflows.strips import make_layer_absolute

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers

log = logging.getLogger(__name__)

MOST_ROWS = 20
"""Rows of the table that a terminal shows."""


NOTABLE_EXCESS = 0.01
"""So much of the built area may straight walls take beyond the pixels that were seen."""


@dataclass(frozen=True)
class StatsResult:
    """Buildings and areas per region: a row per region and class. With a sample, what it says of all the ground."""

    regions: gpd.GeoDataFrame
    accuracy: pd.DataFrame | None = None
    """A row for each class of the map: its error-adjusted area, user's and producer's accuracy, with intervals."""
    buildings: tuple[float, float, float] | None = None
    """The error-adjusted number of buildings, and both ends of its 95 % interval."""

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
            **self._summarize_sample(),
        }

    def _summarize_sample(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self.accuracy is not None:
            known = self.accuracy.astype(object).where(self.accuracy.notna(), None)
            told["accuracy"] = known.to_dict("records")
        if self.buildings is not None:
            names = ("adjusted_buildings", "adjusted_buildings_low", "adjusted_buildings_high")
            told |= dict(zip(names, self.buildings, strict=True))
        return told

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
        return "\n".join([heading, *listed, *more, *self._describe_sample()])

    def _describe_sample(self) -> Iterator[str]:
        """What the sample says of all the ground, class by class."""
        for row in () if self.accuracy is None else self.accuracy.to_dict("records"):
            if row["class"] != BACKGROUND:
                yield ""
                yield (
                    f"all ground, {row['class']}: {row['adjusted_area_m2']:,.0f} m² ({row['adjusted_low_m2']:,.0f} to "
                    f"{row['adjusted_high_m2']:,.0f}); {row['mapped_area_m2']:,.0f} m² mapped"
                )
                yield f"  user's accuracy {format_share(row, 'users_accuracy')}, by {format_count(row['points'], 'point')}"
                yield f"  producer's accuracy {format_share(row, 'producers_accuracy')}"
        if self.buildings is not None:
            value, low, high = self.buildings
            yield f"all ground: {value:,.0f} buildings ({low:,.0f} to {high:,.0f})"

    def _repr_html_(self) -> str:
        """How Jupyter shows it."""
        rows = self.summary["rows"]
        return format_html_table(
            {
                f"{row['region']}, {row['class']}": f"{row['built_area_m2']:,.0f} m²"
                for row in rows[:MOST_ROWS]
            }
        )


def format_share(row: Mapping[Any, Any], name: str) -> str:
    """A share with its interval, in percent."""
    value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def count_regions(footprints: Path, regions: str, out: Path | None, options: StatsOptions) -> StatsResult:
    """Count footprints per region; the table goes into `out` as its layer `regions`, if that is given.

    The footprints of a folder are counted together.
    """
    command = describe_command("stats", [str(footprints), regions, str(out)], options.without_places())
    refuse_unfit_options(footprints, options)
    layers = open_layers(footprints, out and get_region_path(out))
    outputs = check_stats_outputs(footprints, regions, out, options, command)
    with Delivery(outputs, command) as delivery:
        if footprints.is_dir():
            with open_workers(options) as workers:
                result = compute_folder_statistics(layers, regions, options, workers, delivery)
        else:
            result = compute_statistics(layers[0], regions, options)
        table = result.regions
        if out is not None:
            target = add_region_layer(out, table, overwrite=True, delivery=delivery)
            log.info(f"{len(table)} rows in layer {REGIONS} of {target}")
        if options.csv is not None:
            with replace_file(options.csv, delivery) as unfinished:
                table.drop(columns=table.geometry.name).to_csv(unfinished, index=False, lineterminator="\n")
    return result


def refuse_unfit_options(footprints: Path, options: StatsOptions) -> None:
    """Workers share files, not the rows of one; a sample is of one map."""
    for name in ("workers", "dask"):
        if getattr(options, name) and not footprints.is_dir():
            raise InputError(
                f"`{name}` {getattr(options, name)}: workers share the files of a folder, and {footprints} is one file; leave "
                "it out"
            )
    if options.samples and footprints.is_dir():
        raise InputError(
            f"`samples` {options.samples}: are of one map, and {footprints} holds several; give one file"
        )


def check_stats_outputs(
    footprints: Path, regions: str, out: Path | None, options: StatsOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written; what must not be replaced is refused before anything is counted."""
    outputs = [path for path in (out and get_region_path(out), options.csv) if path]
    own = find_own_files(outputs[0], command) if outputs else set()
    inputs = list_replaced_files(footprints, regions, options.mask, options.probability, options.samples)
    if out is not None:
        check_format(out)
        target = get_region_path(out)
        check_outputs([Output("a file of regions", target, may_exist=True)], inputs, own)
        check_replaceable(target, (REGIONS,), options.overwrite or target.absolute() in own)
    if options.csv is not None:
        check_outputs([Output("a table", options.csv, may_exist=options.overwrite)], inputs, own)
    return tuple(outputs)


def compute_statistics(layer: FootprintLayer, regions: str, options: StatsOptions) -> StatsResult:
    """The table of statistics and what a sample says, and nothing written."""
    rasters = StatsRasters.open(options.mask, options.probability)
    place = rasters.grid if rasters else layer.extent
    sample = open_sample(layer, rasters, options)
    area = AreaCrs.choose(place, options.area_crs)
    polygons = read_regions(regions, place, options.region_id)
    statistics = RegionStatistics(polygons, area, dict(enumerate(layer.classes, start=1)), place)
    with track("Counting", layer.rows, "footprints") as done:
        for frame in layer.measured_frames(area):
            statistics.add_footprints(frame)
            if sample:
                sample.add_footprints(frame)
            done(len(frame))
    if rasters:
        feed_rasters(rasters, statistics, sample)
        warn_of_unseen_ground(statistics)
    return StatsResult(statistics.table()) if sample is None else adjust_statistics(statistics, sample)


def compute_folder_statistics(
    layers: Sequence[FootprintLayer],
    regions: str,
    options: StatsOptions,
    workers: Workers | None,
    delivery: Delivery,
) -> StatsResult:
    """The table of the footprints in many files."""
    rasters = StatsRasters.open(options.mask, options.probability)
    place = rasters.grid if rasters else find_place(layers)
    area = AreaCrs.choose(place, options.area_crs)
    counting = Counting(make_layer_absolute(regions), options.region_id, area, place, list_classes(layers))
    statistics = counting.begin()
    count_layers(statistics, layers, counting, workers, delivery)
    if rasters:
        feed_rasters(rasters, statistics, None)
        warn_of_unseen_ground(statistics)
    return StatsResult(statistics.table())


def open_sample(
    layer: FootprintLayer, rasters: StatsRasters | None, options: StatsOptions
) -> MapSample | None:
    """The sample, if one is given; it needs to know which ground was seen."""
    if options.samples is None:
        return None
    if rasters is None:
        raise InputError(
            "with `samples`, give the map's `mask` or `probability` too: ground not seen has no answer"
        )
    return MapSample(options.samples, layer.classes, layer.crs, rasters.grid)


def feed_rasters(rasters: StatsRasters, statistics: RegionStatistics, sample: MapSample | None) -> None:
    """Let statistics and sample have every strip."""
    for window, mask, likely in rasters.strips(statistics.names):
        statistics.add_strip(window, mask, likely)
        if sample:
            sample.add_strip(window, find_seen_pixels(mask, likely))


def warn_of_unseen_ground(statistics: RegionStatistics) -> None:
    """Warn where footprints cover more than was seen: then the raster is not that of their map, or they lie over each other."""
    built = statistics.built_areas.sum(axis=1)
    excess = np.fmax(built - statistics.base_areas, 0.0).sum()  # of a region below a pixel, nothing is known
    if excess > NOTABLE_EXCESS * built.sum():
        log.warning(
            f"footprints cover {excess:,.0f} m² more than was seen of some regions: they lie beyond what the raster has seen, "
            "or over each other; shares and adjusted areas there are too large"
        )


def adjust_statistics(statistics: RegionStatistics, sample: MapSample) -> StatsResult:
    """The table with what the sample says of each region, and what it says of all the ground."""
    found = sample.adjust(statistics)
    buildings = sample.estimate_buildings()
    table = statistics.table()
    further: dict[str, Any] = {}
    if found:
        further |= describe_sources(found, statistics)
    told = None
    if buildings:
        told = (float(buildings.value), float(buildings.low), float(buildings.high))
        further["adjusted_buildings"] = table["buildings"] * (told[0] / sample.footprints)
    described = table.attrs
    table = table.assign(**further)
    table.attrs = described
    return StatsResult(table, sample.describe_accuracy(found) if found else None, told)
