"""Where pixels lie on Earth: a grid of pixels, and windows of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import hypot, isfinite, sqrt

import numpy as np
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError

from geoseg.errors import InputError

WGS84 = CRS.from_epsg(4326)
ELLIPSOID = Geod(ellps="WGS84")
PLACEHOLDER_CRS = CRS.from_proj4("+proj=laea +lat_0=0 +lon_0=0 +datum=WGS84 +units=m +no_defs")


PICTURE_CRS = CRS.from_wkt(
    'ENGCRS["Picture",EDATUM["Top left corner"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["pixel",1]]'
)
"""The plane of a picture that lies nowhere on Earth: x in columns, y in rows upwards from its top edge, so below zero."""
PICTURE_TRANSFORM = Affine.scale(1, -1)
"""Where QGIS, too, draws a raster that does not say where it lies."""
SAME_PIXEL = 0.01
"""Parts of a pixel by which rounding may shift a georeference from one program to the next."""


@lru_cache(maxsize=64)
def find_transformer(source: CRS, target: CRS) -> Transformer:
    """The way from one CRS to another, x before y. Finding it takes far longer than going it, so it is kept."""
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: where it starts, and how large it is."""

    row: int
    col: int
    height: int
    width: int

    @classmethod
    def from_slices(cls, rows: slice, cols: slice) -> Window:
        return cls(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)

    @property
    def stop_row(self) -> int:
        return self.row + self.height

    @property
    def stop_col(self) -> int:
        return self.col + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.row, self.stop_row), slice(self.col, self.stop_col)

    def within(self, outer: Window) -> Window:
        """The same window as seen from the corner of another."""
        return Window(self.row - outer.row, self.col - outer.col, self.height, self.width)

    def __str__(self) -> str:
        return f"rows {self.row}-{self.stop_row - 1}, columns {self.col}-{self.stop_col - 1}"


@dataclass(frozen=True)
class PixelSize:
    """The side of a pixel on the ground, in metres, of a picture that lies nowhere; is it known, or only assumed?"""

    metres: float
    is_known: bool


@dataclass(frozen=True)
class Grid:
    """A raster's pixels on Earth. `transform` takes (col, row) to the CRS, pixel corners at integers.

    A picture that lies nowhere has a plane of its own for a CRS, in which the size of one unit, a pixel of the file, is
    told by `unit`.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int
    unit: PixelSize | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"a grid of {self.width} x {self.height} pixels holds nothing")
        if not all(map(isfinite, self.transform)) or self.transform.is_degenerate:
            raise InputError(
                "the georeference gives pixels no size; set it anew, e.g. with rio edit-info --transform"
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def megapixels(self) -> float:
        return self.height * self.width / 1e6

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The smallest box (left, bottom, right, top) in the CRS that holds every pixel."""
        return find_bounds(self.transform, self.height, self.width)

    @property
    def is_placed(self) -> bool:
        """Whether anybody knows where on Earth it lies."""
        return self.unit is None

    @property
    def counts_pixels(self) -> bool:
        """Whether sizes are given in pixels, since nobody knows how large these are."""
        return self.unit is not None and not self.unit.is_known

    def shares_pixels(self, transform: Affine, shape: tuple[int, int]) -> bool:
        """Whether another raster has the same pixels: as many, and each in the same place."""
        if shape != self.shape:
            return False
        ends = np.array([(0, 0), (self.width, 0), (0, self.height)]).T
        off = np.array(~self.transform @ (transform @ ends)) - ends
        return bool((np.abs(off) <= SAME_PIXEL).all())

    @property
    def is_geographic(self) -> bool:
        return bool(self.crs.is_geographic)

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the grid in its CRS."""
        x, y = self.transform @ (self.width / 2, self.height / 2)
        return x, y

    @cached_property
    def centre_lonlat(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the grid."""
        x, y = self.centre
        lon, lat = find_transformer(self.crs, WGS84).transform(x, y)
        if not (isfinite(lon) and isfinite(lat)):
            raise InputError(
                f"the middle of the image ({x:g}, {y:g}) is nowhere on Earth in {format_crs(self.crs)}; "
                "is the CRS the right one?"
            )
        return lon, lat

    @cached_property
    def pixel_size_m(self) -> tuple[float, float]:
        """True ground size (across, down) of the middle pixel, in metres on the ellipsoid."""
        if self.unit:
            at = self.transform
            return hypot(at.a, at.d) * self.unit.metres, hypot(at.b, at.e) * self.unit.metres
        col, row = self.width / 2, self.height / 2
        to_lonlat = find_transformer(self.crs, WGS84)
        lon, lat = self.centre_lonlat
        sizes = []
        for step in ((1.0, 0.0), (0.0, 1.0)):
            x, y = self.transform @ (col + step[0], row + step[1])
            sizes.append(ELLIPSOID.inv(lon, lat, *to_lonlat.transform(x, y))[2])
        return sizes[0], sizes[1]

    @property
    def gsd_m(self) -> float:
        """Ground sample distance: the side in metres of a square as large as the middle pixel."""
        across, down = self.pixel_size_m
        return sqrt(across * down)

    def window(self, window: Window) -> Grid:
        """The grid of one window of this grid."""
        shifted = self.transform @ Affine.translation(window.col, window.row)
        return replace(self, transform=shifted, height=window.height, width=window.width)

    def rescale(self, gsd_m: float) -> Grid:
        """The same ground in pixels that are square on the ground, `gsd_m` metres a side or very nearly so."""
        across, down = self.pixel_size_m
        height = max(1, round(self.height * down / gsd_m))
        width = max(1, round(self.width * across / gsd_m))
        scale = Affine.scale(self.width / width, self.height / height)
        return replace(self, transform=self.transform @ scale, height=height, width=width)


def find_bounds(transform: Affine, height: int, width: int) -> tuple[float, float, float, float]:
    """The smallest box (left, bottom, right, top) that holds every pixel of a raster, however it is turned."""
    corners = [transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def make_picture_grid(shape: tuple[int, int], pixel: PixelSize) -> Grid:
    """The pixels of a picture that lies nowhere, in a plane of its own."""
    return Grid(PICTURE_CRS, PICTURE_TRANSFORM, *shape, unit=pixel)


def make_placeholder_grid(shape: tuple[int, int], gsd_m: float) -> Grid:
    """A grid for a picture that lies nowhere: square pixels of true size in the Gulf of Guinea, where 0 meets 0."""
    return Grid(PLACEHOLDER_CRS, Affine.scale(gsd_m, -gsd_m), *shape)


def parse_crs(text: object, name: str) -> CRS:
    """The CRS that a user or a file names; `name` tells which of them, for the error."""
    try:
        crs = CRS.from_user_input(text)
    except CRSError as error:
        raise InputError(
            f"{name} {text}: not a coordinate reference system; write it like EPSG:32633"
        ) from error
    if not is_earth_crs(crs):
        raise InputError(f"{name} {text}: {crs.name} has no coordinates of a map; name one like EPSG:32633")
    return crs


def is_earth_crs(crs: CRS) -> bool:
    """Whether coordinates of a CRS are places on Earth; those of a picture or a local drawing are not."""
    return bool(crs.is_geographic or crs.is_projected or crs.is_bound or crs.is_compound)


def format_crs(crs: CRS) -> str:
    """A short name a person knows: the authority's code, else the CRS's own name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def find_utm_crs(lon: float, lat: float) -> CRS:
    """The UTM zone of a place, with the exceptions of Norway and Svalbard."""
    zone = min(int((lon + 180) // 6) + 1, 60)
    if 56 <= lat < 64 and 3 <= lon < 12:
        zone = 32
    elif lat >= 72 and 0 <= lon < 42:
        zone = 31 + 2 * ((int(lon) + 3) // 12)
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)
