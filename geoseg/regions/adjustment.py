"""Areas corrected by a map's known errors, from a confusion matrix of sample points, with a confidence interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.errors import InputError
from geoseg.footprints.measure import FloatArray

Z_95 = 1.959963984540054


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
