"""A world: an endless, irregular grid of districts with roads between them, all of it fixed by one seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import hypot

import numpy as np
import shapely
from shapely.ops import substring

from geoseg.errors import InputError
from geoseg.raster.grid import Window
from geoseg.synthetic.districts import lay_out_district
from geoseg.synthetic.geometry import Points, extract_polygons
from geoseg.synthetic.objects import Color, District, Material, Surface
from geoseg.synthetic.pixels import make_generator, sample_noise
from geoseg.synthetic.style import DISTRICT_KINDS, Style, make_style, vary_color

DISTRICT_M = 230.0
_JITTER = 0.22
REACH_M = DISTRICT_M * _JITTER + 60.0
_RURAL = frozenset({"forest", "fields", "farm"})
_STRAIGHT = frozenset({"town"})
_URBANITY = dict(zip(DISTRICT_KINDS, (0.05, 0.1, 0.2, 0.55, 0.3, 0.5, 0.65, 0.75, 0.95, 0.8), strict=True))
_DIRT: Color = (172, 152, 122)


@dataclass(frozen=True)
class Layout:
    """A world seen at some ground sample distance; pixel (0, 0) is the same place at every size."""

    seed: int
    gsd_m: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed {self.seed} is out of range; choose one from 0 to 2147483647")
        if not 0.05 <= self.gsd_m <= 5:
            raise InputError(
                f"{self.gsd_m:g} m a pixel cannot be drawn; choose a resolution from 0.05 to 5 m"
            )

    @cached_property
    def style(self) -> Style:
        return make_style(self.seed)

    def districts(self, window: Window) -> Iterator[District]:
        """The districts that can be seen in a window or cast a shadow into it, in a fixed order."""
        rows = _list_cells(window.row * self.gsd_m, window.stop_row * self.gsd_m)
        cols = _list_cells(window.col * self.gsd_m, window.stop_col * self.gsd_m)
        for row in rows:
            for col in cols:
                yield make_roads(self.seed, row, col)
                yield make_district(self.seed, row, col)


def _list_cells(low_m: float, high_m: float) -> range:
    return range(int((low_m - REACH_M) // DISTRICT_M), int((high_m + REACH_M) // DISTRICT_M) + 1)


@lru_cache(maxsize=1024)
def make_district(seed: int, row: int, col: int) -> District:
    """The district in one cell of the grid."""
    rng = make_generator(seed, 2, row, col)
    kind = choose_kind(seed, row, col)
    land = _find_land(seed, row, col)
    return lay_out_district(kind, land, make_style(seed), rng)


@lru_cache(maxsize=1024)
def make_roads(seed: int, row: int, col: int) -> District:
    """The roads along the upper and the left border of one cell, as a district without buildings."""
    surfaces = [
        surface
        for side in (0, 1)
        for surface in _make_road_surfaces(make_road(seed, row, col, side), make_style(seed))
    ]
    return District("roads", tuple(surfaces))


@lru_cache(maxsize=4096)
def choose_kind(seed: int, row: int, col: int) -> str:
    """What a district is: towns have a heart and an edge, and chance has its say."""
    urbanity = 0.45 + 0.75 * float(
        sample_noise(seed + 5, 3.1, np.array([row + 0.5]), np.array([col + 0.5]))[0, 0]
    )
    urbanity += 0.3 * np.exp(-(row**2 + col**2) / 8)
    likings = np.array([np.exp(-(((urbanity - _URBANITY[kind]) / 0.3) ** 2)) for kind in DISTRICT_KINDS])
    shares = (likings + 0.02) * make_style(seed).shares
    return str(make_generator(seed, 3, row, col).choice(DISTRICT_KINDS, p=shares / shares.sum()))


@dataclass(frozen=True)
class Road:
    """A road between two districts."""

    line: shapely.LineString
    width_m: float
    walk_m: float
    is_paved: bool


@lru_cache(maxsize=4096)
def make_road(seed: int, row: int, col: int, side: int) -> Road:
    """The road along the upper (side 0) or the left (side 1) border of a cell."""
    rng = make_generator(seed, 4, row, col, side)
    neighbours = {
        choose_kind(seed, row, col),
        choose_kind(seed, *((row - 1, col) if side == 0 else (row, col - 1))),
    }
    bow = 0.0 if neighbours & _STRAIGHT else rng.normal(0, 9.0)
    line = _bend_line(
        _place_corner(seed, row, col),
        _place_corner(seed, *((row, col + 1) if side == 0 else (row + 1, col))),
        bow,
    )
    if neighbours <= _RURAL:
        return Road(line, *((3.4, 0.0, False) if rng.random() < 0.6 else (5.5, 0.0, True)))
    return Road(line, rng.uniform(7.0, 9.5), 2.2, True)


def _place_corner(seed: int, row: int, col: int) -> Points:
    """Where the corner (row, col) of the grid has been moved to, as (x, y)."""
    return DISTRICT_M * (
        np.array([col, row]) + make_generator(seed, 5, row, col).uniform(-_JITTER, _JITTER, 2)
    )


def _bend_line(start: Points, end: Points, bow_m: float) -> shapely.LineString:
    if abs(bow_m) < 1:
        return shapely.LineString([start, end])
    along = end - start
    normal = np.array([-along[1], along[0]]) / hypot(*along)
    ways = np.linspace(0, 1, 11)[:, None]
    return shapely.LineString(start + ways * along + 4 * ways * (1 - ways) * bow_m * normal)


def _find_land(seed: int, row: int, col: int) -> shapely.Polygon:
    """The ground of a cell that its four roads leave."""
    borders = [
        make_road(seed, row, col, 0),
        make_road(seed, row, col + 1, 1),
        make_road(seed, row + 1, col, 0),
        make_road(seed, row, col, 1),
    ]
    top, right, bottom, left = (shapely.get_coordinates(border.line) for border in borders)
    ring = np.vstack([top[:-1], right[:-1], bottom[:0:-1], left[:0:-1]])
    taken = [border.line.buffer(border.width_m / 2 + border.walk_m) for border in borders]
    pieces = extract_polygons(shapely.Polygon(ring).difference(shapely.union_all(taken)))
    return max(pieces, key=lambda piece: piece.area)


def _make_road_surfaces(way: Road, style: Style) -> Iterator[Surface]:
    rng = make_generator(style.seed, 6)
    if not way.is_paved:
        yield Surface(way.line.buffer(way.width_m / 2 + 2.5), style.lawn(rng), 1)
        yield Surface(
            way.line.buffer(way.width_m / 2), Material(vary_color(_DIRT, rng, 0.05), 0.07, 0.1, 0.05), 2
        )
        return
    walk = Material((158, 154, 148), 0.04, 0.03, 0.03) if way.walk_m else style.lawn(rng)
    yield Surface(way.line.buffer(way.width_m / 2 + max(way.walk_m, 2.0)), walk, 1)
    yield Surface(way.line.buffer(way.width_m / 2), style.road(), 3)
    if way.walk_m:
        yield Surface(_make_markings(way), Material((216, 214, 208), 0.02, 0.05, 0.0), 4)


def _make_markings(way: Road) -> shapely.MultiPolygon:
    """The dashes along the middle, and zebra crossings where the road ends."""
    length = way.line.length
    dashes = [
        substring(way.line, at, at + 3).buffer(0.09, cap_style="flat")
        for at in np.arange(20, length - 22, 7.5)
    ]
    bars = [bar for at in (13.0, length - 16.0) for bar in _make_zebra(way, at)]
    return shapely.MultiPolygon(dashes + bars)


def _make_zebra(way: Road, at_m: float) -> list[shapely.Polygon]:
    piece = substring(way.line, at_m, at_m + 3)
    offsets = np.arange(0.6 - way.width_m / 2, way.width_m / 2, 1.0)
    return [
        piece.parallel_offset(offset).buffer(0.25, cap_style="flat")
        for offset in offsets
        if abs(offset) > 1e-6
    ]
