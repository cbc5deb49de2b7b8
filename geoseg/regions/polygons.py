"""Regions to count in: the polygons of any vector file in any CRS, or the squares of a grid."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import (
    find_full_turn,
    lay_near,
    mend_unwrapped,
    shift_polygons,
    unwrap_polygons,
)
from geoseg.footprints.measure import (
    AreaCrs,
    FloatArray,
    Georeferenced,
    find_centre_and_reach,
    get_metres_per_unit,
    make_equal_area_crs,
    make_sample_points,
    transform_polygons,
)
from geoseg.footprints.polygons import Polygons, keep_polygonal_parts, mend_polygons
from geoseg.io.addresses import parse_layer_path
from geoseg.io.layers import parse_layer_crs, read_layer, read_words
from geoseg.raster.grid import WGS84, find_transformer

log = logging.getLogger(__name__)

NAME_COLUMNS = ("region", "name", "id")
MOST_SQUARES = 1_000_000
"""More are hardly meant: each is a row of the table, and takes some kilobytes of memory."""
NAME_DIGITS = 10
"""In the name of a square: enough for Earth in centimetres, too few for what rounding leaves."""
FAITHFUL = 0.01
"""A grid stands in the place's own CRS where areas there are wrong by less than this share."""
ROUND_EARTH = AreaCrs(CRS.from_proj4("+proj=cea +lat_ts=0 +lon_0=0 +datum=WGS84 +units=m +no_defs"))
"""Where polygons in degrees, or in a map as wide as Earth, have their areas, wherever they lie."""
POINTS_AND_LINES = (
    shapely.GeometryType.POINT, shapely.GeometryType.LINESTRING, shapely.GeometryType.LINEARRING,
    shapely.GeometryType.MULTIPOINT, shapely.GeometryType.MULTILINESTRING,
)  # fmt: skip


@dataclass(frozen=True)
class Regions:
    """Named polygons or multipolygons, valid, in one CRS. Regions may overlap: each counts for itself."""

    names: tuple[str, ...]
    shapes: Polygons
    crs: CRS

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes) or len(set(self.names)) != len(self.names):
            raise InputError(f"{len(self.shapes)} regions need as many names, all different")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def turn(self) -> float:
        """How far x goes once round Earth in the regions' CRS."""
        return find_full_turn(self.crs)

    def areas(self, area: AreaCrs) -> FloatArray:
        """True area of each region in square metres, those on the far side of Earth as well."""
        parts, owners = shapely.get_parts(self.shapes, return_index=True)
        # An azimuthal plane turns what holds the far side's middle inside out.
        plane = ROUND_EARTH if area.keeps_areas and np.isfinite(self.turn) else area
        sizes = plane.areas(parts, self.crs)
        return np.bincount(owners, weights=sizes, minlength=len(self)).astype(np.float64)

    def near(self, place: Georeferenced) -> Polygons:
        """What of each region lies near a place, laid out in one piece around it; empty for regions far away.

        Regions come again at each turn round Earth, so one that is cut at the antimeridian is whole here.
        """
        parts, owners = shapely.get_parts(self.shapes, return_index=True)
        parts = unwrap_polygons(parts, self.turn)
        if np.isfinite(self.turn):
            steps = np.repeat([-self.turn, 0.0, self.turn], len(parts))
            parts, owners = shift_polygons(np.tile(parts, 3), steps), np.tile(owners, 3)
        box = self.box_around(place)
        hit = shapely.intersects(parts, box)
        return dissolve_parts(shapely.intersection(parts[hit], box), owners[hit], len(self))

    def middle(self, place: Georeferenced) -> float:
        """The x of a place's middle."""
        lon, lat, _ = find_centre_and_reach(place)
        return float(find_transformer(WGS84, self.crs).transform(lon, lat)[0])

    def box_around(self, place: Georeferenced) -> shapely.Polygon:
        """A box in the regions' CRS that holds a place, with some room."""
        x, y = find_transformer(place.crs, self.crs).transform(*make_sample_points(place, count=33))
        x, y = (values[np.isfinite(x) & np.isfinite(y)] for values in (x, y))
        if not x.size:
            raise InputError("the regions' CRS does not reach the footprints; reproject the regions")
        if np.isfinite(self.turn):
            x = x + self.turn * np.round((self.middle(place) - x) / self.turn)
        margin = 0.1 * max(np.ptp(x), np.ptp(y)) + 100 / get_metres_per_unit(self.crs)
        return shapely.box(x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin)

    def reproject(self, polygons: Polygons, crs: CRS, place: Georeferenced) -> Polygons:
        """Polygons of another CRS in that of the regions, laid out around a place as `near` does."""
        moved = transform_polygons(polygons, crs, self.crs)
        if not np.isfinite(shapely.get_coordinates(moved)).all():
            raise InputError("the regions' CRS does not reach all footprints; reproject the regions")
        return mend_polygons(lay_near(moved, self.middle(place), self.turn))


def dissolve_parts(pieces: Polygons, owners: np.ndarray, count: int) -> Polygons:
    """One shape for each of `count` owners, of all its pieces; an empty one for those without."""
    shapes = np.full(count, shapely.MultiPolygon(), dtype=object)
    order = np.argsort(owners, kind="stable")
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    for owner, group in zip(owners[order][starts], np.split(pieces[order], starts)[1:], strict=True):
        shapes[owner] = group[0] if len(group) == 1 else shapely.union_all(group)
    return keep_polygonal_parts(shapes)


def read_regions(source: str, place: Georeferenced, region_id: str | None = None) -> Regions:
    """Regions from a vector file (`file` or `file:layer`), or the squares of `grid:1km` over a place."""
    if source.startswith("grid:"):
        return make_squares(parse_square_size(source), place)
    path, layer = parse_layer_path(source)
    frame = read_layer(path, layer)
    crs = parse_layer_crs(frame.crs, path)
    shapes = make_valid_polygons(np.asarray(frame.geometry.array), crs, path)
    there = ~shapely.is_empty(shapes)
    if not there.any():
        raise InputError(f"{path} holds no polygon; give a layer of regions")
    if not there.all():
        log.warning(f"{path}: {int((~there).sum())} of {len(there)} regions are empty and left out")
    names = name_regions(frame, region_id, path)[there]
    return unite_same_names(names, shapes[there], crs)


def make_valid_polygons(shapes: Polygons, crs: CRS, path: Path) -> Polygons:
    """Shapes in one piece and valid, only their polygons kept."""
    refuse_points_and_lines(shapes, path)
    mended, broken = mend_unwrapped(shapely.force_2d(shapes), find_full_turn(crs))
    if broken.any():
        log.warning(
            f"{path}: {int(broken.sum())} of {len(shapes)} polygons had invalid geometry and were repaired"
        )
    return keep_polygonal_parts(mended)


def refuse_points_and_lines(shapes: Polygons, path: Path) -> None:
    """Refuse shapes that have no area to measure."""
    if np.isin(shapely.get_type_id(shapes), POINTS_AND_LINES).any():
        raise InputError(f"{path} holds points or lines; polygons are needed")


def name_regions(frame: gpd.GeoDataFrame, region_id: str | None, path: Path) -> np.ndarray:
    """What each region is called: its value in a column, else its place in the file."""
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if region_id is not None and region_id not in columns:
        raise InputError(f"{path} has no column {region_id}; it has {', '.join(columns) or 'none'}")
    column = region_id or next(
        (c for n in NAME_COLUMNS for c in columns if is_name_column(frame, c, n)), None
    )
    if column is None:
        return np.array([str(number) for number in range(1, len(frame) + 1)], dtype=object)
    return np.array(["unnamed" if word is None else word for word in read_words(frame[column])], dtype=object)


def is_name_column(frame: gpd.GeoDataFrame, column: str, wanted: str) -> bool:
    """Whether a column is called so and tells all regions apart."""
    return column.lower() == wanted and bool(frame[column].is_unique and frame[column].notna().all())


def unite_same_names(names: Sequence[str], shapes: Polygons, crs: CRS) -> Regions:
    """Regions of which each name stands once: rows of the same name make one region."""
    different = list(dict.fromkeys(names))
    if len(different) == len(names):
        return Regions(tuple(names), shapes, crs)
    log.info(f"{len(names)} rows of {len(different)} names: rows of the same name make one region")
    place = {name: index for index, name in enumerate(different)}
    owners = np.array([place[name] for name in names])
    return Regions(tuple(different), dissolve_parts(shapes, owners, len(different)), crs)


def parse_square_size(source: str) -> float:
    """The side in metres of `grid:500m` or `grid:1km`."""
    match = re.fullmatch(r"grid:(\d+(?:\.\d+)?)(m|km)", source.strip())
    side = float(match[1]) * (1000 if match[2] == "km" else 1) if match else 0.0
    if not side:
        raise InputError(f"`regions` {source}: write a grid as grid:500m or grid:1km")
    return side


def make_squares(side_m: float, place: Georeferenced) -> Regions:
    """Squares that cover a place, named after their lower left corners in metres.

    They stand on round coordinates of the place's CRS where that is nearly true to area, else of an equal-area CRS.
    """
    crs = place.crs if is_faithful(place) else make_equal_area_crs(place)
    side = side_m / get_metres_per_unit(crs)
    x, y = find_transformer(place.crs, crs).transform(*make_sample_points(place, count=33))
    tolerance = 1e-9 * side
    low, high = (
        np.floor([x.min() / side + tolerance, y.min() / side + tolerance]),
        np.ceil([x.max() / side - tolerance, y.max() / side - tolerance]),
    )
    if np.prod(high - low) > MOST_SQUARES:
        raise InputError(f"grid:{side_m:g}m makes {np.prod(high - low):,.0f} squares; choose a larger side")
    rows, cols = np.mgrid[high[1] - 1 : low[1] - 1 : -1, low[0] : high[0]]
    left, bottom = cols.ravel() * side, rows.ravel() * side
    corners = zip((cols.ravel() * side_m).tolist(), (rows.ravel() * side_m).tolist(), strict=True)
    names = tuple(f"E{east:.{NAME_DIGITS}g}_N{north:.{NAME_DIGITS}g}" for east, north in corners)
    return Regions(names, shapely.box(left, bottom, left + side, bottom + side), crs)


def is_faithful(place: Georeferenced) -> bool:
    """Whether a place's own CRS shows areas there nearly as they are."""
    return bool(place.crs.is_projected) and abs(AreaCrs(place.crs).compute_distortion(place)) < FAITHFUL
