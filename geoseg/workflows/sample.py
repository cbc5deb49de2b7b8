"""From a map to a sample of places that a person looks at: points for areas, squares for numbers of buildings."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.write.project import PROJECT_SUFFIXES
from geoseg.footprints.write.samples import (
    MARKS,
    NOT_BUILDING,
    POINTS,
    SQUARES,
    UNSURE,
    SampleProject,
    write_point_table,
    write_sample_layers,
    write_sample_project,
)
from geoseg.io.access import Output, check_outputs
from geoseg.io.addresses import parse_layer_path
from geoseg.io.atomic import Delivery, describe_command, find_own_files
from geoseg.progress import format_count
from geoseg.raster.grid import WGS84, find_transformer
from geoseg.raster.source import open_raster
from geoseg.regions.adjustment import BACKGROUND
from geoseg.regions.drawing import (
    DrawnPixels,
    Strata,
    StratumCoder,
    allocate_points,
    compute_half_width,
    count_strata,
    draw_pixels,
    find_points_needed,
)
from geoseg.regions.files import FootprintLayer, StatsRasters
from geoseg.regions.mapped import FootprintMap
from geoseg.regions.pixels import RegionPixels
from geoseg.regions.polygons import make_squares, read_regions
from geoseg.regions.squares import make_square_frame
from geoseg.regions.statistics import find_seen_pixels
from geoseg.workflows.options import SampleOptions

log = logging.getLogger(__name__)

DEFAULT_POINTS = 300
SUFFIXES = (".gpkg", ".csv")
DEGREE_DIGITS = 9
"""A tenth of a millimetre."""


@dataclass(frozen=True)
class SampleResult:
    """Where the places are that were drawn, and how many of each stratum."""

    out: Path
    strata: pd.DataFrame
    squares: int
    half_width: float | None

    @property
    def points(self) -> int:
        """How many points were drawn."""
        return int(self.strata["points"].sum())

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "out": str(self.out),
            "points": self.points,
            "squares": self.squares,
            "expected_half_width": self.half_width,
            "strata": self.strata.to_dict("records"),
        }

    def __str__(self) -> str:
        width = max([len("stratum"), *map(len, self.strata["stratum"])])
        heading = [f"{'stratum':{width}} {'points':>7} {'area m²':>16}"] if self.points else []
        rows = [
            f"{row['stratum']:{width}} {row['points']:7,} {row['area_m2']:16,.0f}"
            for row in self.strata.to_dict("records")
        ]
        counted = ((self.points, "point"), (self.squares, "square"))
        parts = [format_count(number, place) for number, place in counted if number]
        told = (
            ""
            if self.half_width is None
            else f"; expected interval of the built area: ±{self.half_width:.0%}"
        )
        return "\n".join([*heading, *rows, f"{self.out}: {' and '.join(parts)}{told}"])


def draw_sample(footprints: Path, out: Path, options: SampleOptions) -> SampleResult:
    """Draw points and squares over a map of footprints, and write them where people fill in what they see."""
    command = describe_command("sample", [str(footprints), str(out)], options)
    outputs = check_sample_outputs(footprints, out, options, command)
    layer = FootprintLayer.open(footprints)
    taken = {NOT_BUILDING, UNSURE, BACKGROUND} & set(layer.classes)
    if taken:
        raise InputError(
            f"{footprints}: has a class {min(taken)}, which is an answer of its own; give it another name"
        )
    rasters = StatsRasters.open(options.mask, options.probability)
    if rasters is None:
        raise InputError(
            "give the `mask` or the `probability` of the map: only they tell which ground was seen"
        )
    with TemporaryDirectory(prefix="geoseg-") as folder, Delivery(outputs, command) as delivery:
        source = FootprintMap(layer, rasters, Path(folder))
        layers: dict[str, gpd.GeoDataFrame] = {}
        strata, half_width = describe_strata(None, np.array([], int)), None
        if wants_points(options):
            layers[POINTS], strata, half_width = sample_points(source, options)
        if options.squares:
            layers |= sample_squares(source, layer, options)
        if out.suffix.lower() == ".csv":
            write_point_table(out, layers[POINTS], delivery)
        else:
            write_sample_layers(out, layers, source.classes, delivery)
        if options.qgis_project:
            project = SampleProject(out, footprints, options.image, layer.name)
            write_sample_project(project, options.qgis_project, layers, delivery)
    return SampleResult(out, strata, len(layers.get(SQUARES, ())), half_width)


def wants_points(options: SampleOptions) -> bool:
    """Whether points are to be drawn: yes, unless squares alone are asked for."""
    return options.points is not None or options.half_width is not None or not options.squares


def check_sample_outputs(
    footprints: Path, out: Path, options: SampleOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written; what could not be written or shown is refused before anything is drawn."""
    outputs = [Output("a sample", out, SUFFIXES, options.overwrite)]
    if out.suffix.lower() == ".csv" and (options.squares or options.qgis_project):
        raise InputError(f"{out}: a table holds points only; for squares or a project write a .gpkg")
    if options.points is not None and options.half_width is not None:
        raise InputError("`points` and `half_width` both say how many points to draw; give one of them")
    if options.qgis_project:
        outputs.append(Output("a QGIS project", options.qgis_project, PROJECT_SUFFIXES, options.overwrite))
    regions = options.regions and parse_layer_path(options.regions)[0]
    inputs = filter(None, (footprints, options.mask, options.probability, options.image, regions))
    check_outputs(outputs, map(str, inputs), find_own_files(out, command))
    if options.image:
        with open_raster(options.image, options.image):
            pass
    return tuple(output.path for output in outputs)


def parse_half_width(text: str) -> float:
    """A share of the built area, from 5% or 0.05."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share < 1:
        raise InputError(f"`half_width` {text}: give a percentage between 0 and 100, e.g. 5%")
    return share


def sample_points(
    source: FootprintMap, options: SampleOptions
) -> tuple[gpd.GeoDataFrame, pd.DataFrame, float]:
    """The points, the strata that they were drawn in, and how exact an area they are expected to give."""
    grid = source.rasters.grid
    regions = read_regions(options.regions, grid, options.region_id) if options.regions else None
    coder = StratumCoder(source.classes, grid, regions)
    sizes = AreaCrs.choose(grid).compute_pixel_areas(grid)
    strata = count_strata(source, coder, sizes)
    allocation = allocate_points(choose_points(options, strata), strata)
    if (allocation < 1).any():
        raise InputError(
            f"`points` {int(allocation.sum())}: too few for {len(strata.names)} strata; draw at least {2 * len(strata.names)}"
        )
    drawn = draw_pixels(source, coder, sizes, strata, allocation, options.seed)
    points = make_point_frame(drawn, strata, allocation, source)
    return points, describe_strata(strata, allocation), compute_half_width(strata, allocation)


def choose_points(options: SampleOptions, strata: Strata) -> int:
    """How many points to draw."""
    if options.half_width is None:
        return options.points or DEFAULT_POINTS
    needed = find_points_needed(parse_half_width(options.half_width), strata)
    log.info(f"{needed:,} points are expected to give an interval of the built area of ±{options.half_width}")
    return needed


def make_point_frame(
    drawn: DrawnPixels, strata: Strata, allocation: np.ndarray, source: FootprintMap
) -> gpd.GeoDataFrame:
    """A row for each point, with all that the estimate will need."""
    grid, count = source.rasters.grid, len(drawn.row)
    x, y = grid.transform @ np.array([drawn.col + 0.5, drawn.row + 0.5])
    longitude, latitude = find_transformer(grid.crs, WGS84).transform(x, y)
    columns = {
        "id": np.arange(1, count + 1),
        "answer": np.full(count, "", dtype=object),
        "remark": np.full(count, "", dtype=object),
        "stratum": np.array(strata.names, dtype=object)[drawn.stratum],
        "mapped": np.array(strata.mapped, dtype=object)[drawn.stratum],
        "probability": np.round(drawn.probability, 4),
        "stratum_m2": strata.areas_m2[drawn.stratum],
        "stratum_points": allocation[drawn.stratum],
        "chance": (allocation / strata.counts)[drawn.stratum],
        "longitude": np.round(longitude, DEGREE_DIGITS),
        "latitude": np.round(latitude, DEGREE_DIGITS),
        "map": np.full(count, source.digest, dtype=object),
    }
    return gpd.GeoDataFrame(columns, geometry=shapely.points(x, y), crs=grid.crs)


def describe_strata(strata: Strata | None, allocation: np.ndarray) -> pd.DataFrame:
    """A row for each stratum, with its area and its points."""
    columns: Mapping[str, Any] = {
        "stratum": strata.names if strata else [],
        "area_m2": strata.areas_m2 if strata else [],
        "points": allocation,
    }
    return pd.DataFrame(columns)


def sample_squares(
    source: FootprintMap, layer: FootprintLayer, options: SampleOptions
) -> dict[str, gpd.GeoDataFrame]:
    """Squares, and a layer for the marks, which is empty as yet."""
    grid = source.rasters.grid
    points = [np.asarray(frame.geometry.representative_point().array) for frame in layer.frames()]
    placed = np.concatenate(points) if points else np.empty(0, dtype=object)
    shares = measure_seen_shares(source, options.side_m)
    frame = make_square_frame(options.side_m, grid, shares, placed, layer.crs)
    squares = frame.draw(options.squares or 0, options.seed, source.digest)
    marks = gpd.GeoDataFrame({"remark": np.empty(0, dtype=object)}, geometry=[], crs=squares.crs)
    return {SQUARES: squares, MARKS: marks}


def measure_seen_shares(source: FootprintMap, side_m: float) -> np.ndarray:
    """Which part of each square of a place was seen."""
    grid = source.rasters.grid
    squares, area = make_squares(side_m, grid), AreaCrs.choose(grid)
    pixels = RegionPixels(squares, grid, area, 0)
    for window, mask, likely in source.rasters.strips(source.classes):
        pixels.add(window, find_seen_pixels(mask, likely), None)
    return np.asarray(np.nan_to_num(pixels.seen_m2) / squares.areas(area))
