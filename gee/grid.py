"""Where an export lies: its area, the one grid that all its layers share, and the tiles that this grid is cut into."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, floor, hypot, inf, isqrt, radians
from pathlib import Path
from typing import TypeAlias

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from geoseg.errors import InputError
from geoseg.io.addresses import parse_layer_path
from geoseg.io.layers import parse_layer_crs, read_layer
from geoseg.raster.grid import WGS84, Grid, Window, find_utm_crs, format_crs, parse_crs

log = logging.getLogger(__name__)

Shape: TypeAlias = shapely.Geometry
EDGES_ALONG_AREA = 200
HALF_ZONE_DEGREES = 3
ZONE_LATITUDES = (-80.0, 0.0, 56.0, 64.0, 72.0, 84.0)


@dataclass(frozen=True)
class Area:
    """Polygons on Earth. In longitude and latitude, longitudes run on past 180 rather than jump back."""

    shape: Shape
    crs: CRS
    name: str = "area"

    @cached_property
    def lonlat(self) -> Shape:
        """The polygons in longitude and latitude."""
        return self.within(WGS84)

    def within(self, crs: CRS) -> Shape:
        """The polygons in a CRS, their edges cut short first so that bent ones stay covered."""
        if crs == self.crs:
            return self.shape
        left, bottom, right, top = self.shape.bounds
        short_edges = shapely.segmentize(self.shape, hypot(right - left, top - bottom) / EDGES_ALONG_AREA)
        transformer = Transformer.from_crs(self.crs, crs, always_xy=True)

        def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

        projected = shapely.transform(short_edges, project)
        if not np.isfinite(shapely.get_coordinates(projected)).all():
            raise InputError(
                f"{self.name} reaches beyond where {format_crs(crs)} is defined; give another --crs"
            )
        return shapely.make_valid(unwrap_longitudes(projected) if crs.is_geographic else projected)

    @cached_property
    def zones(self) -> dict[str, Area]:
        """The part of the area in each UTM zone, the largest first."""
        left, bottom, right, top = self.lonlat.bounds
        if bottom < ZONE_LATITUDES[0] or top > ZONE_LATITUDES[-1]:
            raise InputError(f"{self.name} reaches beyond the UTM zones (80°S to 84°N); give a --crs")
        parts = defaultdict(list)
        for cell in list_zone_cells(left, right):
            part = shapely.intersection(self.lonlat, cell)
            if part.area > 0:
                parts[format_crs(find_utm_crs(*find_middle(cell)))].append(part)
        areas = {zone: Area(shapely.union_all(part), WGS84, zone) for zone, part in parts.items()}
        return dict(sorted(areas.items(), key=lambda item: -item[1].shape.area))

    def projected_as(self, crs: CRS) -> Area:
        """The same area, kept in another CRS."""
        return Area(self.within(crs), crs, self.name)


def list_zone_cells(left: float, right: float) -> list[Shape]:
    """Boxes that each lie in one UTM zone: all zones, the exceptions too, break at multiples of 3 degrees."""
    first, last = floor(left / HALF_ZONE_DEGREES), ceil(right / HALF_ZONE_DEGREES)
    return [
        shapely.box(column * HALF_ZONE_DEGREES, south, (column + 1) * HALF_ZONE_DEGREES, north)
        for column in range(first, last)
        for south, north in pairwise(ZONE_LATITUDES)
    ]


def find_middle(cell: Shape) -> tuple[float, float]:
    """Longitude, within 180 degrees, and latitude of the middle of a box."""
    point = shapely.centroid(cell)
    return (point.x + 180) % 360 - 180, point.y


def unwrap_longitudes(shape: Shape) -> Shape:
    """A shape cut or wrapped at the antimeridian, made whole by letting longitudes run on past 180."""
    left, _, right, _ = shape.bounds
    if right - left <= 180:
        return shape

    def shift(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([np.where(points[:, 0] < 0, points[:, 0] + 360, points[:, 0]), points[:, 1]])

    shifted = shapely.make_valid(shapely.transform(shape, shift))
    return shapely.union_all(shapely.get_parts(shifted)) if shifted.area > 0 else shape


def read_area(source: Path) -> Area:
    """The polygons of a vector file (`FILE` or `FILE:LAYER`): GeoJSON, GeoPackage, Shapefile, anything GDAL reads."""
    path, layer = parse_layer_path(str(source))
    shapes, crs = read_shapes(path, layer)
    polygons = shapes[shapely.get_dimensions(shapes) == 2]
    if not len(polygons):
        raise InputError(
            f"{path} holds no polygon; an area of interest needs one (or use --point with --size)"
        )
    broken = int((~shapely.is_valid(polygons)).sum())
    if broken:
        log.warning(f"{path}: {broken} polygons cross themselves and were repaired; check them in QGIS")
        polygons = shapely.make_valid(polygons)
    return check_area(Area(unwrap_if_geographic(crs, shapely.union_all(polygons)), crs, path.stem))


def unwrap_if_geographic(crs: CRS, shape: Shape) -> Shape:
    """Longitudes made whole, other coordinates as they are."""
    return unwrap_longitudes(shape) if crs.is_geographic else shape


def read_shapes(path: Path, layer: str | None) -> tuple[NDArray[np.object_], CRS]:
    """Every geometry in a layer of a vector file, and their CRS."""
    frame = read_layer(path, layer)
    shapes = frame.geometry.to_numpy()
    return shapes[~shapely.is_missing(shapes)], parse_layer_crs(frame.crs, path)


def make_box_area(west: float, south: float, east: float, north: float) -> Area:
    """A box in longitude and latitude; one that runs east across the antimeridian has west > east."""
    if south >= north:
        raise InputError(f"--bbox has south {south:g} not below north {north:g}; the order is W,S,E,N")
    return check_area(
        Area(shapely.box(west, south, east + 360 if east < west else east, north), WGS84, "bbox")
    )


def make_square_area(lon: float, lat: float, size_m: float) -> Area:
    """A square of `size_m` around a point, in the UTM zone of the place."""
    if not 0 < size_m < inf:
        raise InputError(f"--size {size_m:g} must be a finite number of metres, more than 0")
    check_area(
        Area(shapely.box(lon - 1e-9, lat - 1e-9, lon + 1e-9, lat + 1e-9), WGS84, f"--point {lon:g},{lat:g}")
    )
    crs = find_utm_crs((lon + 180) % 360 - 180, lat)
    x, y = map(round, Transformer.from_crs(WGS84, crs, always_xy=True).transform(lon, lat))
    half = size_m / 2
    return Area(shapely.box(x - half, y - half, x + half, y + half), crs, "point")


def check_area(area: Area) -> Area:
    """The area, if it is somewhere on Earth and holds ground."""
    if area.shape.area <= 0:
        raise InputError(f"{area.name} holds no ground: its area is zero")
    left, bottom, right, top = area.shape.bounds
    if area.crs.is_geographic and (bottom < -90 or top > 90 or left < -360 or right > 540):
        raise InputError(
            f"{area.name} runs from {left:g},{bottom:g} to {right:g},{top:g}, which is not longitude,latitude "
            "in degrees; are the axes swapped, or is it in metres?"
        )
    return area


METRES_PER_DEGREE = 111_319.49079327358
ROUNDING = 1e-6
STRETCH_TO_WARN_OF = 1e-3
OUTLINE_DEGREES = 1e-6


@dataclass(frozen=True)
class Lattice:
    """Where pixels may lie in a CRS: their size, and the multiples that the edges of a grid keep to."""

    crs: CRS
    pixel: float
    step: float

    def grid(self, shape: Shape) -> Grid:
        """The smallest grid on the lattice that covers a shape."""
        left, bottom, right, top = shape.bounds
        west, south = (floor(edge / self.step + ROUNDING) for edge in (left, bottom))
        east, north = (ceil(edge / self.step - ROUNDING) for edge in (right, top))
        pixels = round(self.step / self.pixel)
        return Grid(
            self.crs,
            Affine(self.pixel, 0.0, west * self.step, 0.0, -self.pixel, north * self.step),
            (north - south) * pixels,
            (east - west) * pixels,
        )


def make_lattice(crs: CRS, scale_m: float, lattice_m: float | None = None) -> Lattice:
    """Pixels of `scale_m`; grids keep to `lattice_m` where that is a whole number of pixels."""
    if not 0 < scale_m <= 100_000:
        raise InputError(f"--scale {scale_m:g} must lie between 0 and 100000 metres")
    pixels = lattice_m / scale_m if lattice_m else 1.0
    step_m = scale_m * round(pixels) if abs(pixels - round(pixels)) < ROUNDING and pixels >= 1 else scale_m
    unit = compute_units_per_metre(crs)
    return Lattice(crs, scale_m * unit, step_m * unit)


def compute_units_per_metre(crs: CRS) -> float:
    """How many of the CRS's units (metres, feet, degrees at the equator) make a metre."""
    unit = float(crs.axis_info[0].unit_conversion_factor)
    return radians(1) / (unit * METRES_PER_DEGREE) if crs.is_geographic else 1 / unit


def parse_export_crs(text: str) -> CRS:
    """The CRS of an export, from what a user wrote."""
    crs = parse_crs(text, "--crs")
    if not (crs.is_projected or crs.is_geographic):
        raise InputError(f"--crs {text} is neither a map projection nor longitude and latitude")
    return crs


def choose_crs(area: Area) -> CRS:
    """The UTM zone that holds most of the area; says how far lengths are off where it reaches beyond."""
    zone = next(iter(area.zones))
    crs = CRS(zone)
    stretch = measure_worst_stretch(area.lonlat, crs)
    if len(area.zones) > 1 and stretch > STRETCH_TO_WARN_OF:
        log.warning(
            f"{area.name} lies in {len(area.zones)} UTM zones; everything is laid into {zone}, where lengths are "
            f"off by up to {stretch:.2%}. Use --split-zones, or --crs for another projection"
        )
    return crs


def measure_worst_stretch(lonlat: Shape, crs: CRS) -> float:
    """The largest relative error of lengths in a CRS over a shape's outline."""
    points = shapely.get_coordinates(shapely.segmentize(lonlat, 0.5))
    factors = Proj(crs).get_factors(points[:, 0], points[:, 1], errcheck=False)
    return float(np.abs(np.asarray(factors.meridional_scale) - 1).max())


def touches_shape(grid: Grid, shape: Shape, window: Window) -> bool:
    """Whether a window of a grid holds ground of a shape, given in the grid's CRS and prepared."""
    return bool(shapely.intersects(shape, shapely.box(*grid.window(window).bounds)))


def compute_lonlat_footprint(grid: Grid) -> Shape:
    """The ground of a grid in longitude and latitude, cut at the antimeridian as GeoJSON has it."""
    outline = Area(shapely.box(*grid.bounds), grid.crs, format_crs(grid.crs)).within(WGS84)
    outline = shapely.set_precision(shapely.simplify(outline, OUTLINE_DEGREES), OUTLINE_DEGREES)
    east = shapely.intersection(outline, shapely.box(-180, -90, 180, 90))
    west = shapely.intersection(outline, shapely.box(180, -90, 540, 90))
    return shapely.union_all([east, shapely.transform(west, lambda points: points - (360, 0))])


def compute_lonlat_bounds(grid: Grid) -> list[float]:
    """West, south, east and north of a grid; west > east where it crosses the antimeridian."""
    west, south, east, north = Area(shapely.box(*grid.bounds), grid.crs).within(WGS84).bounds
    return [west, south, east - 360 if east > 180 else east, north]


MOST_BYTES = 48 * 2**20
MOST_PIXELS_A_SIDE = 32_768
SIDE_STEP = 256
SMALLEST_SIDE = 64


def count_pixel_bytes(dtypes: Collection[str]) -> int:
    """What Earth Engine counts for a pixel: each band's own bytes and one more for its mask."""
    return sum(np.dtype(dtype).itemsize + 1 for dtype in dtypes)


def count_request_bytes(window: Window, dtypes: Collection[str]) -> int:
    """What Earth Engine counts for one request."""
    return window.height * window.width * count_pixel_bytes(dtypes)


def compute_largest_side(dtypes: Collection[str]) -> int:
    """The side of the largest square tile that may be asked for, in whole steps."""
    side = min(isqrt(MOST_BYTES // count_pixel_bytes(dtypes)), MOST_PIXELS_A_SIDE)
    return max(side // SIDE_STEP * SIDE_STEP, SMALLEST_SIDE)


def plan_tiles(grid: Grid, side: int) -> list[Window]:
    """The tiles of a grid, row by row."""
    return [
        Window(row, col, min(side, grid.height - row), min(side, grid.width - col))
        for row in range(0, grid.height, side)
        for col in range(0, grid.width, side)
    ]


def quarter_window(window: Window) -> list[Window]:
    """A tile cut in two along each side that is long enough, near the middle and on round pixels."""
    return [
        Window(window.row + row, window.col + col, height, width)
        for row, height in halve_side(window.height)
        for col, width in halve_side(window.width)
    ]


def halve_side(length: int) -> list[tuple[int, int]]:
    """Where the halves of a side start, and how long they are."""
    if length <= SMALLEST_SIDE:
        return [(0, length)]
    step = SIDE_STEP if length > SIDE_STEP else SMALLEST_SIDE
    first = -(-length // (2 * step)) * step
    return [(0, first), (first, length - first)] if first < length else [(0, length)]


def find_unfinished(window: Window, finished: Collection[Window]) -> Iterator[Window]:
    """What is left to ask for of a tile, some of whose pieces may have been fetched before."""
    if window in finished:
        return
    pieces = quarter_window(window)
    if len(pieces) > 1 and any(is_inside(tile, window) for tile in finished):
        for piece in pieces:
            yield from find_unfinished(piece, finished)
    else:
        yield window


def is_inside(inner: Window, outer: Window) -> bool:
    """Whether a window lies within another."""
    return (
        outer.row <= inner.row
        and outer.col <= inner.col
        and inner.stop_row <= outer.stop_row
        and inner.stop_col <= outer.stop_col
    )


@dataclass
class TileSizer:
    """The largest tile that the service has shown it can make: it only ever shrinks."""

    side: int

    def refused(self, window: Window) -> None:
        """Remember that a tile was too much."""
        self.side = max(SMALLEST_SIDE, min(self.side, max(window.height, window.width) // 2))

    def exceeds(self, window: Window) -> bool:
        """Whether a tile is larger than what is known to work, and can still be cut."""
        return max(window.height, window.width) > self.side and len(quarter_window(window)) > 1

    def cut(self, window: Window) -> Iterator[Window]:
        """A tile, in pieces that are known to work."""
        if self.exceeds(window):
            for piece in quarter_window(window):
                yield from self.cut(piece)
        else:
            yield window
