"""Areas corrected by a map's known errors: from a confusion matrix, or from sample points of the very map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.measure import FloatArray
from geoseg.regions.estimates import (
    Z_95,
    AnsweredPoints,
    Interval,
    RegionShares,
    Shares,
    estimate_areas,
    estimate_found_share,
    estimate_regional_spread,
)

BACKGROUND = "background"
OWN_POINTS, BOTH, ALL_POINTS = "own points", "own and all points", "all points"
MOSTLY = 0.5
"""From this weight of its own points on, in each class that is mapped there, a region is judged by them."""


class AreaAdjuster(Protocol):
    """Corrects mapped areas by what is known of a map's errors."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The background, then the classes, in the order of the areas."""
        ...

    def adjust_areas(self, mapped_m2: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Area of each class on the ground, and both ends of its 95 % interval, for mapped areas (region, class)."""
        ...


def add_background(built: FloatArray, base: FloatArray) -> FloatArray:
    """Mapped areas (region, class) with the background before them: what of `base` is not built."""
    return np.column_stack([np.maximum(base - built.sum(axis=1), 0.0), built])


@dataclass(frozen=True)
class ConfusionMatrix:
    """How often a map of each class (rows) was found to be each class on the ground (columns).

    Counts of independent samples, drawn at random within each mapped class. The first class is the background.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.classes)
        if size < 2 or len(self.counts) != size or any(len(row) != size for row in self.counts):
            raise InputError(
                f"a confusion matrix of {size} classes needs {size} rows of {size} counts, two at least"
            )
        if any(count < 0 for row in self.counts for count in row):
            raise InputError("a confusion matrix counts samples; a count below zero makes no sense")

    def adjust_areas(self, mapped_m2: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Area of each class on the ground, and the lower and upper end of its 95 % interval.

        The stratified estimator of Olofsson et al. (2014, Remote Sensing of Environment 148, 42-57, equations 9
        to 11). With n_ij samples of mapped class i found to be j, n_i. their sum over j, and W_i the share of the
        map that class i takes:

            p_j    = sum_i W_i n_ij / n_i.
            S(p_j) = sqrt( sum_i W_i^2 (n_ij / n_i.) (1 - n_ij / n_i.) / (n_i. - 1) )
            area_j = A p_j  +-  1.96 A S(p_j)

        where A is the whole area. Takes the mapped areas, (..., class), and gives arrays of the same shape; nan where
        there is no area, or a class on the map has fewer than two samples. The interval stays within 0 and A.
        """
        n = np.asarray(self.counts, dtype=np.float64)
        sampled = n.sum(axis=1, keepdims=True)
        whole = mapped_m2.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = (mapped_m2 / whole)[..., None]
            rate = n / sampled
            means = np.where(weights > 0, weights * rate, 0.0)
            spreads = np.where(weights > 0, weights**2 * rate * (1 - rate) / (sampled - 1), 0.0)
            unknown = (whole <= 0) | np.any((weights > 0) & (sampled < 2), axis=(-1, -2))[..., None]
        area = np.where(unknown, np.nan, whole * means.sum(axis=-2))
        reach = Z_95 * whole * np.sqrt(spreads.sum(axis=-2))
        return area, np.maximum(area - reach, 0.0), np.minimum(area + reach, whole)


@dataclass(frozen=True)
class SampleAdjustment:
    """What sample points say of a map: as a whole, and of each region.

    `points` are counted by (stratum, class of the map, truth), `in_regions` by (stratum, region, class of the map, truth). A
    point is in each region that it lies in; a last region holds those outside of all. Classes begin with the background.
    """

    classes: tuple[str, ...]
    points: AnsweredPoints
    in_regions: NDArray[np.int64]

    @cached_property
    def pooled(self) -> Shares:
        """The shares of each mapped class, by all points."""
        return self.points.estimate_shares()

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Points by mapped class."""
        return np.asarray(self.points.counts.sum(axis=(0, 2)))

    @cached_property
    def own_counts(self) -> NDArray[np.int64]:
        """Points by (region, mapped class)."""
        return np.asarray(self.in_regions.sum(axis=(0, 3)))

    @cached_property
    def regional(self) -> RegionShares:
        """The shares of each mapped class in each region, by the points there and by those elsewhere."""
        own = self._estimate(self.in_regions)
        elsewhere = self._estimate(self.points.counts[:, None] - self.in_regions)
        counts, truths = self.own_counts.astype(np.float64), range(len(self.classes))
        spread = np.stack([estimate_regional_spread(own.value[..., j], counts) for j in truths], axis=1)
        return RegionShares(own, elsewhere, spread)

    def _estimate(self, counts: NDArray[np.int64]) -> Shares:
        """The shares of (region, class, truth) by points that are counted so."""
        flat = counts.reshape(len(counts), -1, counts.shape[-1])
        found = replace(self.points, counts=flat).estimate_shares()
        return Shares(found.value.reshape(counts.shape[1:]), found.points.reshape(counts.shape[1:]))

    def describe_sources(self, mapped_m2: FloatArray) -> NDArray[np.object_]:
        """Whether the figures of each region rest on its own points, on all points, or on both; None where it has none."""
        weight = np.nan_to_num(self.regional.own_weight[: len(mapped_m2)]).min(axis=-1)
        least = np.where(mapped_m2 > 0, weight, 1.0).min(axis=-1)
        has_own = self.own_counts[: len(mapped_m2)].sum(axis=-1) > 0
        names = np.where(least >= MOSTLY, OWN_POINTS, np.where(has_own, BOTH, ALL_POINTS)).astype(object)
        names[~(mapped_m2 > 0).any(axis=-1)] = None
        return names

    def adjust_areas(self, mapped_m2: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Area of each class in each region, and both ends of its 95 % interval."""
        found = estimate_areas(mapped_m2, self.regional.interval[: len(mapped_m2)])
        return found.value, found.low, found.high

    def estimate_whole(self, mapped_m2: FloatArray) -> Interval:
        """The area of each class on all the ground."""
        return estimate_areas(mapped_m2, self.pooled.interval)

    @property
    def users_accuracy(self) -> Interval:
        """How much of what the map calls each class is that class."""
        numbers = np.arange(len(self.classes))
        return self.pooled.interval[numbers, numbers]

    def estimate_producers_accuracy(self, mapped_m2: FloatArray) -> Interval:
        """How much of each class on the ground the map calls so."""
        each = [
            estimate_found_share(mapped_m2, self.pooled.interval, number, number)
            for number in range(len(self.classes))
        ]
        return Interval(
            *(np.array([getattr(one, end) for one in each], float) for end in ("value", "low", "high"))
        )
