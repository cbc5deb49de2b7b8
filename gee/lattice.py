"""The one grid that every layer of an export shares."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, radians

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Proj
from pyproj.exceptions import CRSError

from gee.area import Area, Shape
from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import WGS84, Grid, Window, crs_name

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


def lattice(crs: CRS, scale_m: float, lattice_m: float | None = None) -> Lattice:
    """Pixels of `scale_m`; grids keep to `lattice_m` where that is a whole number of pixels."""
    if not 0 < scale_m <= 100_000:
        raise InputError(f"--scale {scale_m:g} must lie between 0 and 100000 metres")
    pixels = lattice_m / scale_m if lattice_m else 1.0
    step_m = scale_m * round(pixels) if abs(pixels - round(pixels)) < ROUNDING and pixels >= 1 else scale_m
    unit = units_per_metre(crs)
    return Lattice(crs, scale_m * unit, step_m * unit)


def units_per_metre(crs: CRS) -> float:
    """How many of the CRS's units (metres, feet, degrees at the equator) make a metre."""
    unit = float(crs.axis_info[0].unit_conversion_factor)
    return radians(1) / (unit * METRES_PER_DEGREE) if crs.is_geographic else 1 / unit


def parse_crs(text: str) -> CRS:
    """A CRS from what a user wrote."""
    try:
        crs = CRS.from_user_input(text)
    except CRSError:
        raise InputError(f"--crs {text} is no CRS; give a code such as EPSG:32633") from None
    if not (crs.is_projected or crs.is_geographic):
        raise InputError(f"--crs {text} is neither a map projection nor longitude and latitude")
    return crs


def best_crs(area: Area, narrator: Narrator = QUIET) -> CRS:
    """The UTM zone that holds most of the area; says how far lengths are off where it reaches beyond."""
    zone = next(iter(area.zones))
    crs = CRS(zone)
    stretch = worst_stretch(area.lonlat, crs)
    if len(area.zones) > 1 and stretch > STRETCH_TO_WARN_OF:
        narrator.warn(
            f"{area.name} lies in {len(area.zones)} UTM zones; everything is laid into {zone}, where lengths are "
            f"off by up to {stretch:.2%}. Use --split-zones, or --crs for another projection"
        )
    return crs


def worst_stretch(lonlat: Shape, crs: CRS) -> float:
    """The largest relative error of lengths in a CRS over a shape's outline."""
    points = shapely.get_coordinates(shapely.segmentize(lonlat, 0.5))
    factors = Proj(crs).get_factors(points[:, 0], points[:, 1], errcheck=False)
    return float(np.abs(np.asarray(factors.meridional_scale) - 1).max())


def touches(grid: Grid, shape: Shape, window: Window) -> bool:
    """Whether a window of a grid holds ground of a shape, given in the grid's CRS and prepared."""
    return bool(shapely.intersects(shape, shapely.box(*grid.window(window).bounds)))


def footprint(grid: Grid) -> Shape:
    """The ground of a grid in longitude and latitude, cut at the antimeridian as GeoJSON has it."""
    outline = Area(shapely.box(*grid.bounds), grid.crs, crs_name(grid.crs)).within(WGS84)
    outline = shapely.set_precision(shapely.simplify(outline, OUTLINE_DEGREES), OUTLINE_DEGREES)
    east = shapely.intersection(outline, shapely.box(-180, -90, 180, 90))
    west = shapely.intersection(outline, shapely.box(180, -90, 540, 90))
    return shapely.union_all([east, shapely.transform(west, lambda points: points - (360, 0))])


def lonlat_box(grid: Grid) -> list[float]:
    """West, south, east and north of a grid; west > east where it crosses the antimeridian."""
    west, south, east, north = Area(shapely.box(*grid.bounds), grid.crs).within(WGS84).bounds
    return [west, south, east - 360 if east > 180 else east, north]
