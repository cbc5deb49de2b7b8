"""Draws a stratified random sample of points over a map: two passes over its rasters, strip by strip.

A stratum is what the map says (a class or the background), where probabilities are at hand whether it is sure of that, and
where regions are given, in which of them. A pixel stands for its middle. Pixels are drawn by their true area.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.measure import FloatArray, PixelAreas
from geoseg.raster.grid import Grid, Window
from geoseg.regions.adjustment import BACKGROUND
from geoseg.regions.estimates import Z_95, IntArray
from geoseg.regions.pixels import NOWHERE, clip_regions, rasterize_shapes
from geoseg.regions.polygons import Regions

Floats32 = NDArray[np.float32]

SURE = 0.8
"""A pixel whose class is less probable than this is in the uncertain part of its class: there most errors are."""
EXPECTED_MAPPED, EXPECTED_BACKGROUND = 0.85, 0.03
"""Which share of what is mapped as a building, and as background, is expected to be one: what maps of 0.3 m commonly reach."""
LEAST_DOUBT = 0.02
"""A model is never taken to be surer than this of a whole stratum: elsewhere it knows less than it says."""
FLOOR_POINTS = 50
"""Points that each stratum gets at least, for an accuracy of its own (Olofsson et al. 2014 advise 50 to 100)..."""
FLOOR_SHARE = 0.5
"""... as long as this takes no more than so much of all points."""
MOST_POINTS = 20_000


class MapStrips(Protocol):
    """A map that is read strip by strip: what it says of each pixel, and how probable a building is there."""

    def strips(self) -> Iterator[tuple[Window, NDArray[np.int16], Floats32 | None]]:
        """Windows of all rows, top to bottom; the class of each pixel, -1 where nothing was seen."""
        ...


@dataclass(frozen=True)
class Strata:
    """The strata that occur: their codes, in ascending order, what they are called, and how large each is, in each strip."""

    names: tuple[str, ...]
    mapped: tuple[str, ...]
    codes: IntArray
    pixels: NDArray[np.int64]
    m2: FloatArray
    likely: FloatArray
    """The share of each that is expected to be built."""

    @property
    def areas_m2(self) -> FloatArray:
        return np.asarray(self.m2.sum(axis=0))

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.asarray(self.pixels.sum(axis=0))

    @property
    def spread(self) -> FloatArray:
        """How much a point of each differs from the next: the standard deviation of built (1) or not (0)."""
        return np.sqrt(self.likely * (1 - self.likely))


@dataclass(frozen=True)
class DrawnPixels:
    """Pixels that were drawn: where they are, in which stratum, and how probable a building is there."""

    row: IntArray
    col: IntArray
    stratum: IntArray
    probability: FloatArray


class StratumCoder:
    """Gives each pixel the number of its stratum: (region, class, doubt), -1 outside of all."""

    def __init__(self, classes: Sequence[str], grid: Grid, regions: Regions | None) -> None:
        self.classes = (BACKGROUND, *classes)
        self.grid = grid
        self.regions = regions.names if regions else ("",)
        self._shapes = None if regions is None else clip_regions(grid, regions)
        self.size = len(self.regions) * len(self.classes) * 2

    def code(self, window: Window, classes: NDArray[np.int16], built: Floats32 | None) -> NDArray[np.int32]:
        """The strata of a window's pixels."""
        codes = classes.astype(np.int32) * 2
        if built is not None:
            own = np.where(classes > 0, built, 1 - built)
            codes += (own < SURE).astype(np.int32)  # what is not known to be unsure is sure
        outside = classes < 0
        if self._shapes is not None:
            numbers = np.arange(len(self._shapes))[::-1]  # of regions that overlap, the first one counts
            region = rasterize_shapes(self._shapes[::-1], self.grid.window(window), numbers)
            codes += region * (2 * len(self.classes))
            outside |= region == NOWHERE
        codes[outside] = -1
        return codes

    def describe(self, code: int) -> tuple[str, str]:
        """The name of a stratum, and the class that the map has there."""
        pair, doubt = divmod(code, 2)
        region, number = divmod(pair, len(self.classes))
        mapped = self.classes[number]
        where = f"{self.regions[region]}: " if self.regions[region] else ""
        return f"{where}{mapped}{', uncertain' if doubt else ''}", mapped


def count_strata(source: MapStrips, coder: StratumCoder, sizes: PixelAreas) -> Strata:
    """The first pass: pixels and true area of every stratum, in each strip."""
    pixels, areas, likely = [], [], np.zeros((2, coder.size))
    for window, classes, built in source.strips():
        codes = coder.code(window, classes, built)
        row_m2 = compute_row_areas(window, sizes)
        rows = count_rows(codes, coder.size)
        pixels.append(rows.sum(axis=0))
        areas.append(row_m2 @ rows)
        if built is not None:
            known = (codes >= 0) & ~np.isnan(built)
            likely += [
                np.bincount(codes[known], built[known], coder.size),
                np.bincount(codes[known], minlength=coder.size),
            ]
    return collect_strata(coder, np.array(pixels), np.array(areas), likely)


def collect_strata(
    coder: StratumCoder, pixels: NDArray[np.int64], areas: FloatArray, likely: FloatArray
) -> Strata:
    """The strata that there are, and what is expected of them: by the probabilities where these are known."""
    codes = np.flatnonzero(pixels.sum(axis=0))
    if not len(codes):
        raise InputError("no pixel of the map was seen (within the regions); there is nothing to sample")
    names, mapped = zip(*(coder.describe(int(code)) for code in codes), strict=True)
    assumed = np.array([EXPECTED_BACKGROUND if each == BACKGROUND else EXPECTED_MAPPED for each in mapped])
    total, known = likely[:, codes]
    expected = np.where(known > 0, total / np.maximum(known, 1), assumed)
    return Strata(
        names,
        mapped,
        codes,
        pixels[:, codes],
        areas[:, codes],
        np.clip(expected, LEAST_DOUBT, 1 - LEAST_DOUBT),
    )


def count_rows(codes: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """How many pixels of each row are in each stratum."""
    counts = [np.bincount(row[row >= 0], minlength=size) for row in codes]
    return np.stack(counts).astype(np.int64)


def compute_row_areas(window: Window, sizes: PixelAreas) -> FloatArray:
    """The true area of the pixel in the middle of each row: in degrees it is that of all, in a UTM zone within 0.1 %."""
    rows = np.arange(window.row, window.stop_row, dtype=np.float64) + 0.5
    return sizes.at(rows, np.full(len(rows), window.width / 2))


def allocate_points(points: int, strata: Strata) -> NDArray[np.int64]:
    """How many points each stratum gets: a floor, and the rest where they narrow the area's interval most (Neyman 1934)."""
    floor = min(FLOOR_POINTS, int(points * FLOOR_SHARE / len(strata.codes)))
    wanted = strata.areas_m2 * strata.spread
    drawn = np.minimum(floor, strata.counts)
    while missing := min(points, int(strata.counts.sum())) - int(drawn.sum()):
        open_ones = np.where(drawn < strata.counts, wanted, 0.0)  # a stratum has no more points than pixels
        drawn = np.minimum(drawn + round_shares(missing, open_ones / open_ones.sum()), strata.counts)
    return np.asarray(drawn)


def round_shares(whole: int, shares: FloatArray) -> NDArray[np.int64]:
    """Whole numbers that add up to `whole`, as near to the shares as can be."""
    exact = whole * shares
    floors = np.floor(exact).astype(np.int64)
    largest = np.argsort(floors - exact, kind="stable")[: whole - int(floors.sum())]
    floors[largest] += 1
    return floors


def compute_half_width(strata: Strata, allocation: NDArray[np.int64]) -> float:
    """The half width to be expected of the interval of the built area, as a share of that area."""
    if (allocation < 1).any():
        return np.inf
    error = np.sqrt(((strata.areas_m2 * strata.spread) ** 2 / allocation).sum())
    return float(Z_95 * error / (strata.areas_m2 * strata.likely).sum())


def find_points_needed(half_width: float, strata: Strata) -> int:
    """The fewest points with which the interval of the built area is expected to be so narrow."""
    low, high = 0, MOST_POINTS
    reached = compute_half_width(strata, allocate_points(high, strata))
    if reached > half_width:
        raise InputError(
            f"`half_width` {half_width:.1%}: {MOST_POINTS:,} points would only reach {reached:.1%}; ask for less"
        )
    while high - low > 1:
        middle = (low + high) // 2
        enough = compute_half_width(strata, allocate_points(middle, strata)) <= half_width
        low, high = (low, middle) if enough else (middle, high)
    return high


def draw_pixels(
    source: MapStrips,
    coder: StratumCoder,
    sizes: PixelAreas,
    strata: Strata,
    allocation: NDArray[np.int64],
    seed: int,
) -> DrawnPixels:
    """The second pass: so many different pixels of each stratum, each with a chance by its area; in random order."""
    rng = np.random.default_rng(seed)
    wanted = [share_among_strips(rng, n, strata, index) for index, n in enumerate(allocation)]
    found = []
    for number, (window, classes, built) in enumerate(source.strips()):
        if not any(each[number] for each in wanted):
            continue
        codes, row_m2 = coder.code(window, classes, built), compute_row_areas(window, sizes)
        for index, code in enumerate(strata.codes):
            chance = np.random.default_rng([seed, number, int(code)])
            row, col = draw_in_strip(chance, codes == code, row_m2, int(wanted[index][number]))
            likely = np.full(len(row), np.nan) if built is None else built[row, col].astype(np.float64)
            found.append((row + window.row, col + window.col, np.full(len(row), index), likely))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = rng.permutation(len(columns[0]))
    return DrawnPixels(*(column[order] for column in columns))


def share_among_strips(
    rng: np.random.Generator, points: int, strata: Strata, index: int
) -> NDArray[np.int64]:
    """How many points of a stratum fall into each strip, by area; never more than a strip has pixels."""
    areas, pixels = strata.m2[:, index], strata.pixels[:, index]
    drawn = np.minimum(rng.multinomial(points, areas / areas.sum()), pixels)
    missing = points - int(drawn.sum())
    if missing:
        drawn = drawn + rng.multivariate_hypergeometric(pixels - drawn, missing)
    return np.asarray(drawn)


def draw_in_strip(
    rng: np.random.Generator, held: NDArray[np.bool_], row_m2: FloatArray, points: int
) -> tuple[IntArray, IntArray]:
    """So many different pixels of those held, each row with a chance by its area."""
    counts = held.sum(axis=1)
    weights = counts * row_m2
    drawn: dict[tuple[int, int], None] = {}
    while len(drawn) < points:
        row = int(rng.choice(len(counts), p=weights / weights.sum()))
        drawn[row, int(rng.integers(counts[row]))] = None
    rows = np.array([row for row, _ in drawn], dtype=np.intp)
    cols = [np.flatnonzero(held[row])[place] for row, place in drawn]
    return rows, np.array(cols, dtype=np.intp)
