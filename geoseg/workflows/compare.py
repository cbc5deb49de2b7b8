"""From two layers of footprints to what became of each building: a layer, a table per region, the sums."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
from pyproj import CRS

from geoseg.comparison.ground import CommonGround, Ground, open_ground
from geoseg.comparison.groups import FATES
from geoseg.comparison.layer_comparison import Kept, LayerComparison, compare_layers
from geoseg.comparison.layers import choose_plane, read_compared_layer
from geoseg.comparison.places import find_mapped_change
from geoseg.comparison.region_table import RegionChanges
from geoseg.comparison.shift import LEAST_PAIRS, LayerShift
from geoseg.comparison.write import (
    ChangeWriter,
    get_region_path,
    list_change_layers,
    list_compared_layers,
)
from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs, Extent, make_sample_points
from geoseg.footprints.write.formats import check_format
from geoseg.footprints.write.geopackage import CHANGES, REGION_CHANGES, check_replaceable
from geoseg.footprints.write.project import PROJECT_SUFFIXES, write_layers
from geoseg.footprints.write.reading import read_written_layer
from geoseg.io.access import Output, check_outputs
from geoseg.io.addresses import list_replaced_files, parse_layer_path
from geoseg.io.atomic import Delivery, describe_command, find_own_files, replace_file
from geoseg.raster.grid import find_transformer
from geoseg.regions.change import OUTSIDE, AreaChange, estimate_change, pair_answers
from geoseg.regions.points import read_points
from geoseg.regions.polygons import read_regions
from geoseg.workflows.options import CompareOptions
from geoseg.workflows.results import TemporaryFolder, format_html_table

log = logging.getLogger(__name__)

WORTH_TELLING_M = 0.05
"""A smaller shift is finer than any outline."""
FIGURES = ("area_a_m2", "area_b_m2", "gained_m2", "lost_m2")


@dataclass(frozen=True)
class CompareResult:
    """What became of the buildings of A in B. `counts` says how many became what."""

    out: Path
    counts: Mapping[str, int]
    areas: Mapping[str, float]
    """Square metres built in A and in B, gained and lost."""
    shift: LayerShift
    ground: str
    has_regions: bool = False
    change: AreaChange | None = None
    """What sample points say of the area gained and lost on the ground, where they were given."""
    folder: TemporaryFolder | None = None
    """What keeps the file, where the user did not name it."""

    @cached_property
    def changes(self) -> gpd.GeoDataFrame:
        """A row for each building, or group of buildings that were joined or parted."""
        return read_written_layer(self.out, CHANGES)

    @cached_property
    def regions(self) -> gpd.GeoDataFrame | None:
        """What changed in each region; none where no regions were given."""
        return read_written_layer(get_region_path(self.out), REGION_CHANGES) if self.has_regions else None

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        shift = self.shift
        told = {"east_m": shift.east_m, "north_m": shift.north_m, "spread_m": shift.spread_m}
        return {
            "out": str(self.out),
            **self.counts,
            **self.areas,
            **(self.change.summary if self.change else {}),
            "shift": {**(told if shift.is_known else dict.fromkeys(told)), "pairs": shift.pairs},
            "ground": self.ground,
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts[name]:,} {name.replace('_', ' in ')}" for name in FATES)
        areas = self.areas
        return (
            f"{self.out}: {counts.replace('in a', 'in A').replace('in b', 'in B')}\n"
            f"gained {areas['gained_m2']:,.0f} m², lost {areas['lost_m2']:,.0f} m² "
            f"(A {areas['area_a_m2']:,.0f} m², B {areas['area_b_m2']:,.0f} m²)"
            + (f"\n{self.change}" if self.change else "")
        )

    def _repr_html_(self) -> str:
        """How Jupyter shows it."""
        counts = {
            name.replace("_a", " in A").replace("_b", " in B"): f"{n:,}" for name, n in self.counts.items()
        }
        gained, lost = (f"{self.areas[name]:,.0f} m²" for name in ("gained_m2", "lost_m2"))
        return format_html_table({**counts, "gained": gained, "lost": lost})


def compare_footprints(a: str, b: str, out: Path, options: CompareOptions) -> CompareResult:
    """Tell what became of A's footprints in B, and write it."""
    command = describe_command("compare", [a, b, str(out)], options)
    outputs = check_compare_outputs([a, b], out, options, command)
    with Delivery(outputs, command) as delivery, open_comparison(a, b, options) as comparison:
        return write_comparison(comparison, out, options, delivery)


@contextmanager
def open_comparison(
    a: str,
    b: str,
    options: CompareOptions,
    make_ground: Callable[[CRS], Ground] | None = None,
    keeps: Kept = "a",
) -> Iterator[LayerComparison]:
    """Two layers compared; their outlines lie on disk until the block ends. `make_ground` gets the plane."""
    with TemporaryDirectory(prefix="geoseg-") as scratch, ExitStack() as cleanup:
        plane = choose_plane(a, b)
        grounds = [open_ground(source, plane) for source in options.area]
        grounds += [make_ground(plane)] if make_ground else []
        one = read_compared_layer(a, plane, Path(scratch, "a.wkb"), cleanup)
        other = read_compared_layer(b, plane, Path(scratch, "b.wkb"), cleanup)
        ground = CommonGround(grounds) if grounds else None
        comparison = compare_layers(one, other, ground, options.same_iou, options.shift, keeps)
        tell_comparison(comparison)
        yield comparison


def tell_comparison(comparison: LayerComparison) -> None:
    """Say what lies behind the figures."""
    shift = comparison.shift
    name = Path(comparison.b.name).name
    figures = comparison.figures
    for layer, areas in ((comparison.a, figures.area_a), (comparison.b, figures.area_b)):
        if len(layer) and not areas.any():
            log.warning(f"{Path(layer.name).name}: has no footprint on the common ground")
    log.info(f"Ground  {comparison.ground.name}")
    if not shift.is_known:
        log.warning(
            f"{name}: only {shift.pairs} buildings match, and {LEAST_PAIRS} are needed to tell whether it is shifted "
            "as a whole"
        )
    elif shift.length_m < WORTH_TELLING_M:
        log.info(f"Shift   none, as {shift.pairs:,} buildings that match show")
    else:
        done = "removed" if comparison.has_shift_corrected else "left as it is"
        log.info(
            f"Shift   {name} lies {shift} of the other layer, as {shift.pairs:,} buildings show (half of them within "
            f"{shift.spread_m:.2f} m of that); {done}"
        )


def write_comparison(
    comparison: LayerComparison, out: Path, options: CompareOptions, delivery: Delivery
) -> CompareResult:
    """Write the layer of changes, and what belongs to it."""
    change = estimate_sampled_change(comparison, options)
    regions = make_region_changes(comparison, options)
    table: list[gpd.GeoDataFrame] = []

    def name_regions() -> Iterator[gpd.GeoDataFrame]:
        for rows in comparison.build_rows():
            yield rows.frame.assign(region=regions.add(rows)) if regions else rows.frame

    def finish_regions() -> gpd.GeoDataFrame:
        assert regions
        table.append(regions.table())
        return table[0]

    writer = ChangeWriter(out, delivery)
    writer.write(
        name_regions(), comparison.crs, describe_comparison(comparison), finish_regions if regions else None
    )
    if options.csv is not None:
        with replace_file(options.csv, delivery) as unfinished:
            plain = table[0].drop(columns=table[0].geometry.name)
            plain.to_csv(unfinished, index=False, lineterminator="\n")
    if options.qgis_project:
        folder = options.qgis_project.parent
        layers = [
            *list_change_layers(out, regions is not None, folder, delivery.find),
            *list_compared_layers("B", comparison.b.name, folder),
            *list_compared_layers("A", comparison.a.name, folder),
        ]
        write_layers(options.qgis_project, layers, delivery)
    figures = comparison.figures
    sums = (figures.area_a, figures.area_b, figures.gained, figures.lost)
    areas = dict(zip(FIGURES, (float(each.sum()) for each in sums), strict=True))
    return CompareResult(
        out, comparison.counts, areas, comparison.shift, comparison.ground.name, regions is not None, change
    )


def estimate_sampled_change(comparison: LayerComparison, options: CompareOptions) -> AreaChange | None:
    """What points that were answered on both dates say of the change, where they are given."""
    if options.samples_a is None or options.samples_b is None:
        return None
    sample = pair_answers(read_points(options.samples_a), read_points(options.samples_b))
    mapped = find_mapped_change(comparison, sample.longitude, sample.latitude)
    if (mapped == OUTSIDE).all():
        raise InputError(f"`samples_a` {options.samples_a}: no point lies on the ground that is compared")
    figures = comparison.figures
    return estimate_change(sample, mapped, float(figures.gained.sum()), float(figures.lost.sum()))


def make_region_changes(comparison: LayerComparison, options: CompareOptions) -> RegionChanges | None:
    """What adds up changes per region, where regions are given."""
    if options.regions is None:
        return None
    place = find_compared_place(comparison)
    regions = read_regions(options.regions, place, options.region_id)
    return RegionChanges(regions, place, AreaCrs(comparison.a.plane))


def find_compared_place(comparison: LayerComparison) -> Extent:
    """The box around both layers in the CRS of the rows: squares of a grid are then those of `geoseg stats`."""
    plane = comparison.a.plane
    layers = [layer for layer in (comparison.a, comparison.b) if len(layer)]
    flat = Extent.around(plane, (layer.bounds for layer in layers))
    points = find_transformer(plane, comparison.crs).transform(*make_sample_points(flat, count=33))
    return Extent.around(comparison.crs, np.tile(np.column_stack(points), 2))


def describe_comparison(comparison: LayerComparison) -> str:
    """What a reader of the layer should know."""
    moved = f"; B lies {comparison.shift}" if comparison.shift.is_known else ""
    corrected = ", which is taken out here" if comparison.has_shift_corrected else ""
    return (
        f"A: {Path(comparison.a.name).name}; B: {Path(comparison.b.name).name}{moved}{corrected}. "
        "Areas in square metres."
    )


def check_compare_outputs(
    inputs: list[str], out: Path, options: CompareOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written; what must not be replaced is refused before anything is compared."""
    if options.csv is not None and options.regions is None:
        raise InputError(f"`csv` {options.csv}: holds a row for each region; give `regions` as well")
    if bool(options.samples_a) != bool(options.samples_b):
        raise InputError(
            "`samples_a` and `samples_b` belong together: the same points, answered for each date"
        )
    check_format(out)
    outputs = [Output("a file of changes", out, may_exist=True)]
    beside = get_region_path(out)
    if options.regions is not None and beside != out:
        outputs.append(Output("a file of regions", beside, may_exist=options.overwrite))
    for what, path, suffixes in (
        ("a table", options.csv, ()),
        ("a QGIS project", options.qgis_project, PROJECT_SUFFIXES),
    ):
        if path:
            outputs.append(Output(what, path, suffixes, options.overwrite))
    own = find_own_files(out, command)
    read = [str(parse_layer_path(source)[0]) for source in inputs]
    others = list_replaced_files(*options.area, options.samples_a, options.samples_b, options.regions)
    check_outputs(outputs, [*read, *others], own)
    check_replaceable(out, (CHANGES, REGION_CHANGES), options.overwrite or out.absolute() in own)
    return tuple(output.path for output in outputs)
