"""Areas, counts and accuracies estimated from a probability sample, with 95 % intervals that hold when errors are rare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv  # scipy.stats has the same, and takes half a second to load

from geoseg.footprints.measure import FloatArray

IntArray = NDArray[np.intp]
Z_95 = 1.959963984540054
TAIL = 0.025
SMALLEST = 1e-9
"""Fewer points than this are none: what is left by rounding."""
RARELY = 0.2
"""Chosen by simulation (tests/benchmarks/intervals.py): with it, intervals of regions without points of their own hold."""
LENT = 0.5
"""Jeffreys' half an answer, lent to a share so that its spread is never taken for nothing because no error was met."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the two ends of its 95 % interval."""

    value: FloatArray
    low: FloatArray
    high: FloatArray

    def __getitem__(self, index: object) -> Interval:
        return Interval(self.value[index], self.low[index], self.high[index])  # type: ignore[call-overload]


@dataclass(frozen=True)
class Shares:
    """What is found on the ground where the map says something: a share for each cell of the map and each truth.

    `points` says how many independent points know as much about each share.
    """

    value: FloatArray
    points: FloatArray

    @property
    def interval(self) -> Interval:
        """The shares with their intervals."""
        return Interval(self.value, *find_share_limits(self.value, self.points))


@dataclass(frozen=True)
class AnsweredPoints:
    """Points with an answer, counted by the stratum they were drawn in, the cell of the map they lie in, and the truth.

    `strata_m2` are the areas of the strata. The cells may be those of another map of the same ground. A point that lies in
    no cell counts for its stratum all the same: `drawn` says how many there are in all.
    """

    counts: NDArray[np.int64]
    strata_m2: FloatArray
    drawn: NDArray[np.int64]

    def estimate_shares(self) -> Shares:
        """The shares of each cell, every point weighted by the ground it stands for.

        With w_h = A_h / n_h, the ground that a point of stratum h stands for, and n_hc points of it in cell c, x_hcj of
        them found to be j:

            p_cj = sum_h w_h x_hcj / sum_h w_h n_hc
            V(p_cj) = sum_h w_h^2 n_hc (p_hcj (1 - p_hcj) + (1 - n_hc / n_h) (p_hcj - p_cj)^2) / (sum_h w_h n_hc)^2

        which are Stehman's (2014, International Journal of Remote Sensing 35, 4923-4939) estimators for strata that differ
        from the classes of the map; where they are the same, this is Olofsson's. In V alone, each share is that of half an
        answer more on either side. The effective number of points is then p (1 - p) / V: n_h where cell and stratum agree.
        """
        x, n = self.counts.astype(np.float64), self.counts.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = np.where(self.drawn > 0, self.strata_m2 / self.drawn, 0.0)[:, None, None]
            ground = (weights * n).sum(axis=0)
            value = (weights * x).sum(axis=0) / ground
            near = (x + LENT) / (n + 2 * LENT)
            smooth = (weights * n * near).sum(axis=0) / ground
            astray = 1 - n / np.maximum(self.drawn, 1)[:, None, None]
            spread = weights**2 * n * (near * (1 - near) + astray * (near - smooth) ** 2)
            points = smooth * (1 - smooth) * ground**2 / spread.sum(axis=0)
        return Shares(value, np.where(ground > 0, points, 0.0))


def find_share_limits(share: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The ends of Jeffreys' interval (Brown, Cai and DasGupta 2001): it holds for shares near 0 and 1, too."""
    hits = np.nan_to_num(share) * points
    low = betaincinv(hits + LENT, points - hits + LENT, TAIL)
    high = betaincinv(hits + LENT, points - hits + LENT, 1 - TAIL)
    none, all_of_them = hits < SMALLEST, points - hits < SMALLEST
    return np.minimum(np.where(none, 0.0, low), share), np.maximum(np.where(all_of_them, 1.0, high), share)


def estimate_regional_spread(shares: FloatArray, points: FloatArray) -> FloatArray:
    """By how much the shares of regions differ in truth: an upper bound of their standard deviation, for each cell.

    `shares` and `points` are (region, cell). Even regions that are all alike differ by chance: Cochran's Q, the squares of the
    differences over what chance alone makes of them, then follows chi-squared. The bound is the spread for which a Q as
    small as that met would be rare (`RARELY`), so that too few regions are not taken for equal ones.
    """
    spread = np.zeros(shares.shape[1])
    for cell in range(len(spread)):
        n = points[:, cell][points[:, cell] > 0]
        p = shares[:, cell][points[:, cell] > 0]
        if len(n) < 2:
            continue
        mean = (n * p).sum() / n.sum()
        smooth = ((n * p).sum() + LENT) / (n.sum() + 2 * LENT)
        by_chance = smooth * (1 - smooth)
        q = (n * (p - mean) ** 2).sum() / by_chance
        excess = max(0.0, q / (2 * gammaincinv((len(n) - 1) / 2, RARELY)) - 1) * (len(n) - 1)
        spread[cell] = np.sqrt(excess * by_chance / (n.sum() - (n**2).sum() / n.sum()))
    return spread


@dataclass(frozen=True)
class RegionShares:
    """The shares of a region, by its own points and by those elsewhere: (region, cell, truth).

    What is found elsewhere counts as so many points as know as much about this region: fewer, the more regions differ. This is
    the small-area estimate of Fay and Herriot (1979) in the form of a beta prior: a region without a point has the shares
    of all others, one with many points has its own.
    """

    own: Shares
    elsewhere: Shares
    spread: FloatArray
    """By how much the shares of regions differ: (cell, truth)."""

    @property
    def borrowed(self) -> FloatArray:
        """How many points the rest of the map counts for."""
        points = self.elsewhere.points
        with np.errstate(invalid="ignore", divide="ignore"):
            near = (np.nan_to_num(self.elsewhere.value) * points + LENT) / (points + 2 * LENT)
            by_chance = near * (1 - near)
            return np.where(points > 0, by_chance / (by_chance / points + self.spread**2), 0.0)

    @property
    def own_weight(self) -> FloatArray:
        """How much the region's own points count, from 0 to 1."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.own.points / (self.own.points + self.borrowed))

    @property
    def interval(self) -> Interval:
        """Both together; where no point of the region's own met an error, it may have none."""
        own, borrowed = np.nan_to_num(self.own.value), self.borrowed
        points = self.own.points + borrowed
        hits = self.own.points * own
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (hits + borrowed * np.nan_to_num(self.elsewhere.value)) / points
        low, high = find_share_limits(value, points)
        low = np.where(hits < SMALLEST, 0.0, low)
        return Interval(value, low, np.where(self.own.points - hits < SMALLEST, 1.0, high))


def estimate_areas(mapped_m2: FloatArray, shares: Interval) -> Interval:
    """The area of each truth where the map has so many square metres of each cell: (..., cell) gives (..., truth).

    The intervals of the shares are joined by their squares (Newcombe 1998; "MOVER", Zou and Donner 2008), so each side has its
    own reach, and no error met is not taken for none made. `shares` are (cell, truth), or as many as there are rows.
    """
    mapped = mapped_m2[..., None]
    there, whole = mapped > 0, mapped_m2.sum(axis=-1, keepdims=True)

    def join(steps: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt(np.where(there, (mapped * steps) ** 2, 0.0).sum(axis=-2)))

    value = np.where(there, mapped * shares.value, 0.0).sum(axis=-2)
    value = np.where(whole > 0, value, np.nan)
    low, high = value - join(shares.value - shares.low), value + join(shares.high - shares.value)
    return Interval(value, np.maximum(low, 0.0), np.minimum(high, whole))


def estimate_found_share(mapped_m2: FloatArray, shares: Interval, cell: int, truth: int) -> Interval:
    """Producer's accuracy: how much of what is there the map has as such; `mapped_m2` is (cell,)."""

    def compute(share: FloatArray) -> float:
        ground = np.where(mapped_m2 > 0, mapped_m2 * share, 0.0)
        return float(ground[cell] / ground.sum()) if ground.sum() > 0 else np.nan

    def move(ends: FloatArray, other_ends: FloatArray) -> float:
        """How far the share goes when each cell in turn stands at its end: more found here, less elsewhere."""
        steps = []
        for moved in range(len(mapped_m2)):
            there = shares.value[:, truth].copy()
            there[moved] = (ends if moved == cell else other_ends)[moved, truth]
            steps.append(compute(there) - value)
        return float(np.sqrt(np.nansum(np.square(steps))))

    value = compute(shares.value[:, truth])
    low, high = value - move(shares.low, shares.high), value + move(shares.high, shares.low)
    return Interval(np.array(value), np.array(max(low, 0.0)), np.array(min(high, 1.0)))
