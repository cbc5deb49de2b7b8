"""The rectangle of ground that a picture shows, and how it lies on the Earth."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, floor, isfinite, log10, pi, radians

from affine import Affine
from pyproj import CRS, Geod, Transformer

from geoseg.errors import InputError

Bounds = tuple[float, float, float, float]
"""West, south, east and north in units of a CRS."""

ELLIPSOID = Geod(ellps="WGS84")
STEP_M = 1.0
ROUND_LENGTHS = (1, 2, 5)


@dataclass(frozen=True)
class View:
    """A rectangle of a CRS as a picture of so many pixels; without a CRS it is one of a picture's own pixels."""

    crs: CRS | None
    bounds: Bounds
    width: int
    height: int

    @classmethod
    def of(cls, crs: CRS | None, bounds: Bounds, width: int) -> View:
        """A view as high as its bounds are on the ground, where degrees of longitude are shorter than those of latitude."""
        west, south, east, north = bounds
        stretch = cos(radians((south + north) / 2)) if crs is not None and crs.is_geographic else 1.0
        height = (north - south) / ((east - west) * max(stretch, 0.01)) * width
        return cls(crs, bounds, width, max(1, round(height)))

    @property
    def transform(self) -> Affine:
        """From pixels to coordinates."""
        west, south, east, north = self.bounds
        return Affine((east - west) / self.width, 0, west, 0, (south - north) / self.height, north)

    @property
    def middle(self) -> tuple[float, float]:
        west, south, east, north = self.bounds
        return (west + east) / 2, (south + north) / 2

    @property
    def metres_across(self) -> float | None:
        """How wide its middle is on the ground; none where that is not known."""
        if self.crs is None:
            return None
        to_degrees = Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)
        x, y = self.middle
        quarter = (self.bounds[2] - self.bounds[0]) / 4
        left, right = (to_degrees.transform(x + side * quarter, y) for side in (-1, 1))
        metres = 2 * ELLIPSOID.inv(*left, *right)[2]
        return float(metres) if isfinite(metres) else None

    @property
    def north(self) -> float | None:
        """The direction of north in its middle, in radians counted from the right to the top; none where not known."""
        if self.crs is None:
            return None
        to_degrees = Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)
        x, y = self.middle
        lon, lat, _ = ELLIPSOID.fwd(*to_degrees.transform(x, y), 0, STEP_M)
        there = to_degrees.transform(lon, lat, direction="INVERSE")
        pixel = ~self.transform
        (col, row), (to_col, to_row) = pixel @ (x, y), pixel @ there
        angle = atan2(row - to_row, to_col - col)
        return angle if isfinite(angle) else pi / 2


def parse_window(text: str) -> Bounds:
    """Bounds from WEST,SOUTH,EAST,NORTH."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"`window` {text}: give four numbers, WEST,SOUTH,EAST,NORTH") from error
    if not (all(map(isfinite, (west, south, east, north))) and west < east and south < north):
        raise InputError(f"`window` {text}: west must be below east, and south below north")
    return west, south, east, north


def choose_bar_length(across_m: float, most: float) -> float:
    """The longest round length (1, 2 or 5 with zeros) that takes no more than a share of the width."""
    longest = across_m * most
    power = 10.0 ** floor(log10(longest))
    return max(length * power for length in ROUND_LENGTHS if length * power <= longest)


def format_length(metres: float) -> str:
    if metres >= 1000:
        return f"{metres / 1000:g} km"
    return f"{metres:g} m" if metres >= 1 else f"{metres * 100:g} cm"
