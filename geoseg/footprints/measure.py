"""True areas, lengths and sizes: in metres on the ground, whatever CRS the coordinates are in.

Small polygons are measured by how the ground lies under their middle: as exact, and many times faster. Over a few hundred
metres a projection is a plane with its own scales. What bends it evens out around the middle, so an area comes out within
1e-8, a length within 1e-5. Larger polygons are taken vertex by vertex.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot
from typing import Any, Protocol, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import (
    find_full_turn,
    find_shortest_span,
    lay_near,
    take_short_way,
    unwrap_polygons,
)
from geoseg.footprints.polygons import (
    Floats,
    Ints,
    Polygons,
    apply_affine,
    compute_cross_products,
    split_into_parts,
)
from geoseg.raster.grid import WGS84, Grid, find_transformer, format_crs, parse_crs

log = logging.getLogger(__name__)

FloatArray: TypeAlias = NDArray[np.float64]

GEOCENTRIC = CRS.from_epsg(4978)
EARTH_RADIUS_M = 6_371_007.2
NOTABLE_DISTORTION = 1e-3
LONGEST_STRAIGHT_M = 1_000.0
PROBE_M = 100.0
LATTICE_M = 2_000.0


class Georeferenced(Protocol):
    """Anything that lies somewhere on Earth: a raster's grid, or the extent of a layer."""

    @property
    def crs(self) -> CRS: ...

    @property
    def bounds(self) -> tuple[float, float, float, float]: ...


@dataclass(frozen=True)
class Extent:
    """A box (left, bottom, right, top) in a CRS."""

    crs: CRS
    bounds: tuple[float, float, float, float]

    @classmethod
    def around(cls, crs: CRS, boxes: Iterable[Sequence[float]]) -> Extent:
        """The box around several, in one piece where the antimeridian lies between them."""
        left, bottom, right, top = np.array([*boxes]).T
        left, right = find_shortest_span(left, right, find_full_turn(crs))
        return cls(crs, (left, float(bottom.min()), right, float(top.max())))


@dataclass(frozen=True)
class AreaCrs:
    """The projected CRS in whose plane areas are taken, and how its square units become square metres."""

    crs: CRS

    @classmethod
    def choose(cls, place: Georeferenced, requested: str = "auto") -> AreaCrs:
        """The CRS for areas at a place: `auto` is an equal-area one centred there, else the user's own.

        A CRS of the user's is warned about when it makes areas there wrong by more than 0.1 %.
        """
        if requested == "auto":
            return cls(make_equal_area_crs(place))
        chosen = cls(parse_area_crs(requested))
        worst = chosen.compute_distortion(place)
        if abs(worst) > NOTABLE_DISTORTION:
            sense = "too large" if worst > 0 else "too small"
            log.warning(
                f"areas in {format_crs(chosen.crs)} are {abs(worst):.2%} {sense} at this place; "
                "`area_crs` auto measures them truly"
            )
        return chosen

    @cached_property  # looking an authority up takes as long as measuring a thousand footprints
    def name(self) -> str:
        """How to call it in a file: the authority's code, else a PROJ string that QGIS understands."""
        return format_crs(self.crs) if self.crs.to_authority() else str(self.crs.srs)

    @property
    def square_unit_m2(self) -> float:
        """Square metres in one square unit of the plane (0.0929 for feet)."""
        return get_metres_per_unit(self.crs) ** 2

    @property
    def keeps_areas(self) -> bool:
        """Whether areas are true everywhere in the plane."""
        operation = self.crs.coordinate_operation
        return operation is not None and "Equal Area" in operation.method_name

    def measure(self, polygons: Polygons, crs: CRS) -> tuple[FloatArray, FloatArray]:
        """True square metres and metres of each polygon of `crs`."""
        return measure_polygons(self, polygons, crs)

    def areas(self, polygons: Sequence[Any] | Polygons, crs: CRS) -> FloatArray:
        """Area of each polygon of `crs` in square metres, courtyards left out."""
        straight = split_long_edges(np.asarray(polygons, dtype=object), crs)
        flat = transform_polygons(straight, crs, self.crs)
        return np.asarray(shapely.area(flat) * self.square_unit_m2, dtype=np.float64)

    def perimeters(self, polygons: Sequence[Any] | Polygons, crs: CRS) -> FloatArray:
        """Length of each outline along the ground in metres, courtyards included.

        Taken as chords through space between neighbouring vertices, so it is true in every CRS and at the poles.
        """
        straight = split_long_edges(np.asarray(polygons, dtype=object), crs)
        return measure_ground_lengths(straight, crs)

    def compute_densities(self, x: FloatArray, y: FloatArray, crs: CRS) -> FloatArray:
        """Square metres of ground that one square unit of `crs` covers at each point."""
        step = PROBE_M / get_metres_per_unit(crs)
        y = np.clip(y, *get_y_limits(crs, step))
        here = find_transformer(crs, self.crs)
        east, west = here.transform(x + step, y), here.transform(x - step, y)
        north, south = here.transform(x, y + step), here.transform(x, y - step)
        (ax, ay), (bx, by) = np.subtract(east, west), np.subtract(north, south)
        turn = find_full_turn(self.crs)
        ax, bx = take_short_way(ax, turn), take_short_way(bx, turn)
        return np.asarray(np.abs(ax * by - ay * bx) / (2 * step) ** 2 * self.square_unit_m2, dtype=np.float64)

    def compute_pixel_areas(self, grid: Grid) -> PixelAreas:
        """The true areas of a grid's pixels."""
        across, down = grid.pixel_size_m
        steps = max(1, int(LATTICE_M / down)), max(1, int(LATTICE_M / across))
        rows, cols = (np.arange(0, n + step, step) for n, step in zip(grid.shape, steps, strict=True))
        at = grid.transform
        x = at.a * cols + at.b * rows[:, None] + at.c
        y = at.d * cols + at.e * rows[:, None] + at.f
        return PixelAreas(self.compute_densities(x, y, grid.crs) * abs(at.determinant), *steps)

    def compute_distortion(self, place: Georeferenced) -> float:
        """By how much areas come out too large (0.33 is a third) where it is worst in a place."""
        x, y = make_sample_points(place)
        truth = AreaCrs(make_equal_area_crs(place)).compute_densities(x, y, place.crs)
        with np.errstate(invalid="ignore"):
            errors = self.compute_densities(x, y, place.crs) / truth - 1
        errors = errors[np.isfinite(errors)]
        if not errors.size:
            raise InputError(
                f"{format_crs(self.crs)} does not reach the data; choose another `area_crs`, or auto"
            )
        return float(errors[np.argmax(np.abs(errors))])


@dataclass(frozen=True)
class PicturePlane:
    """The plane of a picture that lies nowhere, where a unit is so many metres long, everywhere."""

    unit_m: float
    name: str = "the plane of the picture"

    def measure(self, polygons: Polygons, crs: CRS) -> tuple[FloatArray, FloatArray]:
        """Square metres and metres of each polygon, courtyards left out and their walls included."""
        del crs  # there is only this plane
        return shapely.area(polygons) * self.unit_m**2, shapely.length(polygons) * self.unit_m

    def compute_densities(self, x: FloatArray, y: FloatArray, crs: CRS) -> FloatArray:
        """Square metres that one square unit covers at each point: everywhere the same."""
        del y, crs
        return np.full(np.shape(x), self.unit_m**2)


def choose_plane(grid: Grid, requested: str = "auto") -> AreaCrs | PicturePlane:
    """Where the footprints of a raster are measured; `requested` is a CRS for areas, or auto."""
    return PicturePlane(grid.unit.metres) if grid.unit else AreaCrs.choose(grid, requested)


@dataclass(frozen=True)
class PixelAreas:
    """Areas of pixels in square metres, known on a lattice of nodes and linear between them (within 1e-7)."""

    nodes: FloatArray
    row_step: int
    col_step: int

    def at(self, rows: FloatArray, cols: FloatArray) -> FloatArray:
        """Area of a pixel whose middle is at each (row, col)."""
        down, across = rows / self.row_step, cols / self.col_step
        row, col = down.astype(np.intp), across.astype(np.intp)
        down, across = down - row, across - col
        above = self.nodes[row, col] * (1 - across) + self.nodes[row, col + 1] * across
        below = self.nodes[row + 1, col] * (1 - across) + self.nodes[row + 1, col + 1] * across
        return np.asarray(above * (1 - down) + below * down, dtype=np.float64)


def parse_area_crs(requested: str) -> CRS:
    """A CRS that a user named, if areas can be taken in its plane."""
    crs = parse_crs(requested, "`area_crs`")
    if not crs.is_projected:
        raise InputError(f"`area_crs` {requested} is not projected: it has no square metres; use auto")
    return crs


def make_equal_area_crs(place: Georeferenced) -> CRS:
    """An equal-area CRS centred on a place; beyond a hemisphere, a cylindrical one for the whole Earth."""
    lon, lat, reach = find_centre_and_reach(place)
    kind = f"laea +lat_0={lat}"
    if reach > 90:  # cut Earth open on the far side of the box's middle, where there are no data
        left, bottom, right, top = place.bounds
        lon = find_transformer(place.crs, WGS84).transform((left + right) / 2, (bottom + top) / 2)[0]
        kind = "cea +lat_ts=0"
    return CRS.from_proj4(f"+proj={kind} +lon_0={lon} +datum=WGS84 +units=m +no_defs")


def find_centre_and_reach(place: Georeferenced) -> tuple[float, float, float]:
    """The middle of a place (longitude, latitude, rounded to 0.1 degree) and how many degrees it reaches from there."""
    lon, lat = find_transformer(place.crs, WGS84).transform(*make_sample_points(place))
    lon, lat = (np.radians(angle[np.isfinite(lon) & np.isfinite(lat)]) for angle in (lon, lat))
    if not lon.size:
        raise InputError(
            f"the data lie nowhere on Earth in {format_crs(place.crs)}; is the CRS the right one?"
        )
    directions = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    x, y, z = middle = directions.mean(axis=1)
    length = max(float(np.linalg.norm(middle)), 1e-12)
    reach = np.degrees(np.arccos(np.clip(directions.T @ middle / length, -1, 1).min()))
    centre = np.degrees([np.arctan2(y, x), np.arctan2(z, hypot(x, y))])
    return float(round(centre[0], 1)), float(round(centre[1], 1)), float(reach)


def make_sample_points(place: Georeferenced, count: int = 9) -> tuple[FloatArray, FloatArray]:
    """Points spread evenly over a place, its corners among them, in its own CRS."""
    left, bottom, right, top = place.bounds
    x, y = np.meshgrid(np.linspace(left, right, count), np.linspace(bottom, top, count))
    return x.ravel(), y.ravel()


def get_metres_per_unit(crs: CRS) -> float:
    """Metres in one unit of a CRS; for degrees, along a meridian."""
    factor = float(crs.axis_info[0].unit_conversion_factor)
    return factor * EARTH_RADIUS_M if crs.is_geographic else factor


def get_y_limits(crs: CRS, margin: float) -> tuple[float, float]:
    """How far y may go: no further than the poles, less a margin, in a geographic CRS."""
    if not crs.is_geographic:
        return -np.inf, np.inf
    pole = np.pi / 2 / float(crs.axis_info[0].unit_conversion_factor)
    return margin - pole, pole - margin


def split_long_edges(polygons: Polygons, crs: CRS) -> Polygons:
    """Polygons in one piece, in which no edge is so long that it would bend in another projection.

    Most polygons are smaller than that as a whole and stay as they are.
    """
    polygons = unwrap_polygons(polygons, find_full_turn(crs))
    longest = LONGEST_STRAIGHT_M / get_metres_per_unit(crs)
    boxes = shapely.bounds(polygons)
    wide = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) > longest
    if not wide.any():
        return polygons
    shortened = polygons.copy()
    shortened[wide] = shapely.segmentize(polygons[wide], longest)
    return shortened


def transform_polygons(polygons: Polygons, source: CRS, target: CRS) -> Polygons:
    """The same polygons with their vertices in another CRS; those that cross the antimeridian go on beyond it."""
    if source == target:
        return polygons
    moved: Polygons = shapely.transform(
        polygons, find_transformer(source, target).transform, interleaved=False
    )
    return unwrap_polygons(moved, find_full_turn(target))


def transform_to_pixels(polygons: Polygons, crs: CRS | None, grid: Grid) -> Polygons:
    """Polygons in (col, row) of a grid, on whichever side of the antimeridian they are written; without a CRS, of a picture."""
    if crs is not None:
        placed = transform_polygons(polygons, crs, grid.crs)
        polygons = lay_near(placed, grid.centre[0], find_full_turn(grid.crs))
    return apply_affine(polygons, ~grid.transform)


def measure_ground_lengths(polygons: Polygons, crs: CRS) -> FloatArray:
    """Length in metres of each polygon's rings, as chords through space between neighbouring vertices."""
    rings, owners = _list_rings(polygons)
    (x, y), ring_of = shapely.get_coordinates(rings).T, shapely.get_coordinates(rings, return_index=True)[1]
    steps = np.sqrt((np.diff(_transform_to_space(x, y, crs)) ** 2).sum(axis=0))
    steps[np.diff(ring_of) != 0] = 0.0
    return np.bincount(owners[ring_of[1:]], weights=steps, minlength=len(polygons)).astype(np.float64)


def _list_rings(polygons: Polygons) -> tuple[Polygons, Ints]:
    """All rings of polygons and multipolygons, and the number of the one that each belongs to."""
    parts, owner = split_into_parts(polygons)
    rings, part = shapely.get_rings(parts, return_index=True)
    return rings, owner[part]


SMALL_M = 500.0


def measure_polygons(area: AreaCrs, polygons: Polygons, crs: CRS) -> tuple[Floats, Floats]:
    """True square metres and metres of each polygon of `crs`, courtyards left out and their walls included."""
    polygons = unwrap_polygons(polygons, find_full_turn(crs))
    x, y = shapely.get_coordinates(shapely.centroid(polygons)).T
    areas = shapely.area(polygons) * area.compute_densities(x, y, crs)
    perimeters = _measure_rings(polygons, *_find_scales(x, y, crs))
    left, bottom, right, top = shapely.bounds(polygons).reshape(-1, 4).T
    large = np.maximum(right - left, top - bottom) > SMALL_M / get_metres_per_unit(crs)
    if large.any():
        areas[large] = area.areas(polygons[large], crs)
        perimeters[large] = area.perimeters(polygons[large], crs)
    return areas, perimeters


def _find_scales(x: Floats, y: Floats, crs: CRS) -> tuple[Floats, Floats, Floats]:
    """How long a step (dx, dy) from each point is on the ground: the root of a dx² + b dx dy + c dy²."""
    step = PROBE_M / get_metres_per_unit(crs)
    y = np.clip(y, *get_y_limits(crs, step))
    east = (_transform_to_space(x + step, y, crs) - _transform_to_space(x - step, y, crs)) / (2 * step)
    north = (_transform_to_space(x, y + step, crs) - _transform_to_space(x, y - step, crs)) / (2 * step)
    return (east**2).sum(axis=0), 2 * (east * north).sum(axis=0), (north**2).sum(axis=0)


def _transform_to_space(x: Floats, y: Floats, crs: CRS) -> Floats:
    lon, lat = find_transformer(crs, WGS84).transform(x, y)
    return np.stack(find_transformer(WGS84, GEOCENTRIC).transform(lon, lat, np.zeros_like(lon)))


def _measure_rings(polygons: Polygons, a: Floats, b: Floats, c: Floats) -> Floats:
    rings, owner = _list_rings(polygons)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    dx, dy = np.diff(points, axis=0)[inside].T
    mine = owner[ring[1:][inside]]
    steps = np.sqrt(a[mine] * dx**2 + b[mine] * dx * dy + c[mine] * dy**2)
    return np.bincount(mine, weights=steps, minlength=len(polygons)).astype(np.float64, copy=False)


SQUARE_TOLERANCE = 1e-6
SAME_DIRECTION_DEG = 1e-9
SLIGHT_TURN_M2 = 1e-9
"""Walls that turn inwards by less, as the area between two of them, may be one wall but for rounding."""


def measure_rectangles(polygons: Polygons) -> tuple[Floats, Floats, Floats]:
    """Width, length (in the polygons' units) and orientation of each footprint.

    They describe the smallest rectangle, turned as it likes, that holds the footprint: `width_m` its short side,
    `length_m` its long side, `orientation_deg` the direction of the long side in degrees clockwise from grid
    north, from 0 up to but not including 180. A square has two long sides; the one nearer north, clockwise, counts.
    """
    first, second = _find_rectangle_sides(polygons)
    first_m, second_m = np.hypot(*first.T), np.hypot(*second.T)
    width_m, length_m = np.minimum(first_m, second_m), np.maximum(first_m, second_m)
    square = length_m - width_m <= SQUARE_TOLERANCE * length_m
    long_side = np.where((first_m >= second_m)[:, None], first, second)
    orientation_deg = _compute_azimuths_deg(long_side)
    return width_m, length_m, np.where(square, orientation_deg % 90, orientation_deg)


def _find_rectangle_sides(polygons: Polygons) -> tuple[Floats, Floats]:
    rectangles = shapely.oriented_envelope(_list_outer_corners(polygons))
    corners = shapely.get_coordinates(rectangles).reshape(-1, 5, 2)
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]


def _compute_azimuths_deg(vectors: Floats) -> Floats:
    """Direction of undirected lines, clockwise from north, from 0 up to but not including 180."""
    return fold_directions(np.degrees(np.arctan2(vectors[:, 0], vectors[:, 1])))


def fold_directions(directions_deg: Floats) -> Floats:
    """Directions of undirected lines, from 0 up to but not including 180; rounding may not turn 0 into 180."""
    folded = directions_deg % 180
    return np.where(folded >= 180 - SAME_DIRECTION_DEG, 0.0, folded)


def _list_outer_corners(polygons: Polygons) -> Polygons:
    """The corners of each polygon that a shape around it may touch, next to the origin: far coordinates would cost digits.

    Where an outline turns inwards, as at every other corner of stair steps, nothing around it touches it.
    """
    parts, owner = split_into_parts(polygons)
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(parts), return_index=True)
    owner = owner[ring]
    points -= shapely.bounds(polygons)[owner, :2]
    steps = np.diff(points, axis=0)
    turns = np.zeros(len(points))
    turns[1:-1] = compute_cross_products(steps[:-1], steps[1:])
    turns[shapely.is_ccw(shapely.get_exterior_ring(parts))[ring] == 0] *= -1
    inner = ring[1:] == ring[:-1]
    outward = turns >= -SLIGHT_TURN_M2
    outward[1:] |= ~inner
    outward[:-1] |= ~inner
    lines: Polygons = shapely.linestrings(points[outward], indices=owner[outward])
    return lines
