"""Whether 95 % intervals of areas and of numbers of buildings hold the truth: made maps with known errors, sampled anew each time.

    python tests/benchmarks/intervals.py --maps 1000

A made map is 144 m square, with nine regions and about 250 buildings; a pixel is 0.3 m. Errors are of five kinds. Each map
gets a sample as `geoseg sample` draws it, answered by the truth, and figures as `geoseg stats --samples` makes them. Points are
drawn over the whole map, or in each region; a region with few points of its own borrows from the others.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from machine import machine, table
from numpy.typing import NDArray

from geoseg.regions.adjustment import BACKGROUND, OWN_POINTS, SampleAdjustment, add_background
from geoseg.regions.drawing import EXPECTED_BACKGROUND, EXPECTED_MAPPED, Strata, allocate_points
from geoseg.regions.estimates import AnsweredPoints, Interval
from geoseg.regions.squares import MarkedSquares, classify_squares, draw_squares

SIDE, CELL, ACROSS = 480, 20, 3
"""Pixels of a map, of the lattice cell that holds one building at most, and regions along each side."""
DENSITIES = (0.1, 0.75)
"""From the emptiest region to the densest: how many cells hold a building."""
SMALL_PIXELS = 50
MISSED, MISSED_SMALL = 0.03, 0.5
FALSE_ALARMS = 60
JOINED = 0.15
SQUARE = 48
KINDS = ("few errors", "missed small", "false alarms", "fat outlines", "all of them")
NORMAL = 1.96


@dataclass(frozen=True)
class Boxes:
    """Buildings or footprints as boxes of pixels (row, col, height, width)."""

    boxes: NDArray[np.intp]

    def draw(self, grown: int = 0) -> NDArray[np.bool_]:
        """The pixels that they cover, each grown by some pixels on all sides."""
        drawn = np.zeros((SIDE, SIDE), dtype=bool)
        for row, col, height, width in self.boxes:
            drawn[max(row - grown, 0) : row + height + grown, max(col - grown, 0) : col + width + grown] = (
                True
            )
        return drawn

    def count_in_squares(self) -> NDArray[np.int64]:
        """How many of their middles lie in each square."""
        row, col, height, width = self.boxes.T
        across = SIDE // SQUARE
        square = (row + height // 2) // SQUARE * across + (col + width // 2) // SQUARE
        return np.bincount(square, minlength=across**2)


@dataclass(frozen=True)
class MadeMap:
    """What there is, and what the map says."""

    truth: NDArray[np.bool_]
    mapped: NDArray[np.bool_]
    buildings: Boxes
    footprints: Boxes
    odd: int
    """The region in which the map is worse than elsewhere, where there is one."""


def make_region_raster() -> NDArray[np.intp]:
    part = np.arange(SIDE) * ACROSS // SIDE
    return part[:, None] * ACROSS + part


REGION = make_region_raster()
REGIONS = ACROSS**2


def make_buildings(rng: np.random.Generator) -> Boxes:
    """A building in some cells of a lattice, more in some regions than in others."""
    densities = rng.uniform(*DENSITIES, REGIONS)
    boxes = []
    for row in range(0, SIDE, CELL):
        for col in range(0, SIDE, CELL):
            if rng.random() < densities[REGION[row, col]]:
                height, width = np.clip(np.exp(rng.normal(np.log(8), 0.4, 2)).astype(int), 3, CELL - 4)
                down, right = rng.integers(1, CELL - height - 1), rng.integers(1, CELL - width - 1)
                boxes.append((row + down, col + right, height, width))
    return Boxes(np.array(boxes))


def make_map(rng: np.random.Generator, kind: str) -> MadeMap:
    """Buildings, and a map of them with errors of a kind."""
    buildings = make_buildings(rng)
    small = buildings.boxes[:, 2] * buildings.boxes[:, 3] < SMALL_PIXELS
    misses_small = kind in ("missed small", "all of them")
    found = rng.random(len(small)) >= np.where(small & misses_small, MISSED_SMALL, MISSED)
    boxes, odd = buildings.boxes[found], int(rng.integers(REGIONS))
    if kind in ("false alarms", "all of them"):
        boxes = np.concatenate([boxes, make_false_alarms(rng, odd)])
    mapped = Boxes(boxes).draw(int(kind in ("fat outlines", "all of them")))
    joined = kind in ("fat outlines", "all of them")
    counted = boxes[rng.random(len(boxes)) >= JOINED * joined]
    return MadeMap(buildings.draw(), mapped, buildings, Boxes(counted), odd)


def make_false_alarms(rng: np.random.Generator, region: int) -> NDArray[np.intp]:
    """Boxes all over one region."""
    corner = np.array(divmod(region, ACROSS)) * (SIDE // ACROSS)
    sizes = rng.integers(4, 14, (FALSE_ALARMS, 2))
    return np.concatenate([corner + rng.integers(0, SIDE // ACROSS - sizes), sizes], axis=1)


def sample_map(
    rng: np.random.Generator, made: MadeMap, points: int, by_region: bool
) -> tuple[SampleAdjustment, NDArray[np.float64]]:
    """Answered points as the tool draws and counts them, and the mapped area of each region and class."""
    flat = (made.mapped + (2 * REGION if by_region else 0)).astype(np.uint8).ravel()
    codes = np.flatnonzero(np.bincount(flat))
    flat = np.searchsorted(codes, np.arange(flat.max() + 1)).astype(np.uint8)[flat]
    pixels = np.bincount(flat)
    likely = np.where(codes % 2, EXPECTED_MAPPED, EXPECTED_BACKGROUND)
    strata = Strata((), (BACKGROUND,) * len(codes), codes, pixels[None], pixels[None].astype(float), likely)
    drawn = allocate_points(points, strata)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(flat == h), n, replace=False) for h, n in enumerate(drawn)]
    )
    region, mapped, truth = (
        each.ravel()[chosen].astype(np.intp) for each in (REGION, made.mapped, made.truth)
    )
    counts = np.zeros((len(codes), REGIONS + 1, 2, 2), dtype=np.int64)
    np.add.at(counts, (flat[chosen], region, mapped, truth), 1)
    answered = AnsweredPoints(counts.sum(axis=1), pixels.astype(float), drawn)
    built = np.bincount(REGION[made.mapped], minlength=REGIONS).astype(float)
    areas = add_background(built[:, None], np.bincount(REGION.ravel()).astype(float))
    return SampleAdjustment((BACKGROUND, "building"), answered, counts), areas


def mark_squares(rng: np.random.Generator, made: MadeMap, squares: int) -> MarkedSquares:
    """Squares drawn as the tool draws them, all buildings in them marked."""
    mapped, marked = made.footprints.count_in_squares(), made.buildings.count_in_squares()
    chosen = draw_squares(mapped, squares, rng)
    stratum, names = classify_squares(mapped)
    return MarkedSquares(
        np.asarray(names, dtype=object)[stratum[chosen]],
        np.bincount(stratum)[stratum[chosen]],
        mapped[chosen],
        marked[chosen],
        "",
    )


class Tally:
    """How often intervals held the truth, and how wide they were, by what they are of."""

    def __init__(self) -> None:
        self.held: defaultdict[str, list[tuple[bool, float]]] = defaultdict(list)

    def add(self, what: str, low: float, high: float, truth: float) -> None:
        tolerance = 1e-9 * max(truth, 1)
        self.held[what].append((low - tolerance <= truth <= high + tolerance, (high - low) / 2 / truth))

    def coverage(self, what: str) -> float:
        return float(np.mean([held for held, _ in self.held[what]])) if self.held[what] else np.nan

    def width(self, what: str) -> float:
        return float(np.median([width for _, width in self.held[what]])) if self.held[what] else np.nan

    def describe(self, what: str) -> str:
        """How often it held, and how wide it was."""
        return f"{self.coverage(what):.1%} (±{self.width(what):.0%})" if self.held[what] else "-"


def judge_points(tally: Tally, made: MadeMap, found: SampleAdjustment, mapped: NDArray[np.float64]) -> None:
    """The whole, and each region by the points it is judged by."""
    whole, truth = found.estimate_whole(mapped.sum(axis=0)), float(made.truth.sum())
    tally.add("whole", float(whole.low[1]), float(whole.high[1]), truth)
    tally.add("normal", *compute_normal_interval(found, mapped.sum(axis=0), whole), truth)
    _, low, high = found.adjust_areas(mapped)
    own = found.describe_sources(mapped) == OWN_POINTS
    true = np.bincount(REGION[made.truth], minlength=REGIONS)
    for region in range(REGIONS):
        figures = low[region, 1], high[region, 1], max(true[region], 1)
        tally.add("regions", *figures)
        if own[region]:
            tally.add("own", *figures)
        if region == made.odd:
            tally.add("odd", *figures)


def compute_normal_interval(
    found: SampleAdjustment, mapped: NDArray[np.float64], whole: Interval
) -> tuple[float, float]:
    """The usual interval, by the normal distribution and the variance that was met."""
    n, p = found.class_counts, found.pooled.value[:, 1]
    reach = NORMAL * float(np.sqrt((mapped**2 * p * (1 - p) / (n - 1)).sum()))
    return float(whole.value[1]) - reach, float(whole.value[1]) + reach


@dataclass(frozen=True)
class Design:
    """A sample: points over the whole map or in each region, and squares."""

    points: int
    by_region: bool
    squares: int


DESIGNS = (Design(100, False, 10), Design(300, False, 20), Design(300, True, 40))


def simulate(kind: str, maps: int, designs: Sequence[Design] = DESIGNS) -> list[Tally]:
    """Many maps with errors of a kind, each sampled once by each design."""
    tallies = [Tally() for _ in designs]
    for seed in range(maps):
        rng = np.random.default_rng(seed)
        made = make_map(rng, kind)
        for design, tally in zip(designs, tallies, strict=True):
            judge_points(tally, made, *sample_map(rng, made, design.points, design.by_region))
            squares = mark_squares(rng, made, design.squares)
            count = squares.estimate_count(len(made.footprints.boxes))
            tally.add("number", float(count.low), float(count.high), len(made.buildings.boxes))
    return tallies


def list_rows(maps: int, kinds: Sequence[str] = KINDS) -> Iterator[tuple[object, ...]]:
    for kind in kinds:
        for design, tally in zip(DESIGNS, simulate(kind, maps), strict=True):
            drawn = "each region" if design.by_region else "the whole"
            shown = [tally.describe(what) for what in ("whole", "regions", "own", "odd")]
            normal = f"{tally.coverage('normal'):.1%}"
            yield (
                kind,
                design.points,
                drawn,
                shown[0],
                normal,
                *shown[1:],
                design.squares,
                tally.describe("number"),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--maps", type=int, default=1000, help="made maps of each kind")
    given = parser.parse_args()
    print(
        f"{machine()}; {given.maps} maps a row; how often intervals of 95 % held the truth (median half width)\n"
    )
    header = (
        *("errors", "points", "drawn over", "whole area", "normal", "regions", "by own points", "odd region"),
        *("squares", "number"),
    )
    print(table(header, list(list_rows(given.maps))))


if __name__ == "__main__":
    main()
