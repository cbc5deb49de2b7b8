"""How far a model's probabilities can be trusted, and the settings that make the most of them.

Probabilities are counted in 250ths, as `geoseg infer` writes them: then a scene of any size is a table of 2 x 251
numbers, and calibration, thresholds and temperatures come out exact for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from geoseg.errors import InputError
from geoseg.raster.coding import NODATA, PROBABILITY_STEPS
from geoseg.scores.confusion import Confusion, Counts, Floats, divide

LEVELS = np.arange(PROBABILITY_STEPS + 1) / PROBABILITY_STEPS
LOGITS = np.arange(-512, 513) / 16
"""Logits as they are counted for a calibration: finer than probabilities, and far into the ends."""
TEMPERATURES = (0.05, 20.0)
OFFSETS = (-20.0, 20.0)
SMALLEST_PERCENT = 5
PRECISELY = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 1000}


@dataclass(frozen=True)
class ProbabilityCounts:
    """Pixels counted by whether they are of a class and how probable that was predicted to be: `counts[..., truth, level]`.

    Level 250 is probability 1. Axes before these two are for several tables at once (classes, places).
    """

    counts: Counts

    @classmethod
    def empty(cls, *shape: int) -> ProbabilityCounts:
        return cls(np.zeros((*shape, 2, PROBABILITY_STEPS + 1), dtype=np.int64))

    @classmethod
    def of(cls, is_class: NDArray[np.bool_], levels: NDArray[Any]) -> ProbabilityCounts:
        """Count pixels by truth and by probability in 250ths (bytes, 255 unknown) or from 0 to 1 (decimals, or nan)."""
        if levels.dtype.kind == "f":
            levels = np.where(np.isnan(levels), NODATA, np.rint(levels * PROBABILITY_STEPS)).astype(np.int64)
        known = levels != NODATA
        if (levels[known] > PROBABILITY_STEPS).any() or (levels[known] < 0).any():
            raise InputError(
                f"a probability is 0 to {PROBABILITY_STEPS} in {PROBABILITY_STEPS}ths, but there is {levels[known].max()}"
            )
        pairs = is_class[known] * (PROBABILITY_STEPS + 1) + levels[known].astype(np.int64)
        return cls(
            np.bincount(pairs, minlength=2 * (PROBABILITY_STEPS + 1)).reshape(2, PROBABILITY_STEPS + 1)
        )

    def __add__(self, other: ProbabilityCounts) -> ProbabilityCounts:
        return ProbabilityCounts(self.counts + other.counts)

    def total(self) -> ProbabilityCounts:
        """One table of several."""
        return ProbabilityCounts(self.counts.reshape(-1, 2, PROBABILITY_STEPS + 1).sum(axis=0))

    @property
    def pixels(self) -> Counts:
        return np.asarray(self.counts.sum(axis=(-2, -1)))

    @property
    def brier(self) -> Floats:
        """Mean squared distance of the probability from the truth: 0 is perfect, 0.25 is a coin."""
        error = self.counts[..., 1, :] * (1 - LEVELS) ** 2 + self.counts[..., 0, :] * LEVELS**2
        return divide(error.sum(axis=-1), self.pixels)

    @property
    def log_loss(self) -> Floats:
        """Mean negative logarithm of the probability given to the truth; 0 and 1 count as `clip_probabilities` has them."""
        inside = clip_probabilities(LEVELS)
        loss = self.counts[..., 1, :] * -np.log(inside) + self.counts[..., 0, :] * -np.log1p(-inside)
        return divide(loss.sum(axis=-1), self.pixels)

    def reliability(self, bins: int = 15) -> Reliability:
        """Predicted probabilities against observed shares, in equally wide bins of probability."""
        bin_of = np.minimum(np.arange(PROBABILITY_STEPS + 1) * bins // PROBABILITY_STEPS, bins - 1)
        starts = np.searchsorted(bin_of, np.arange(bins))
        both = self.counts.sum(axis=-2)
        counts = np.add.reduceat(both, starts, axis=-1)
        predicted = np.add.reduceat(both * LEVELS, starts, axis=-1)
        observed = np.add.reduceat(self.counts[..., 1, :], starts, axis=-1)
        return Reliability(counts, divide(predicted, counts), divide(observed, counts))

    def ece(self, bins: int = 15) -> Floats:
        """Expected calibration error (Guo et al. 2017): how far, on average, predicted is from observed."""
        return self.reliability(bins).ece

    @property
    def total_error(self) -> Floats:
        """By which share the probabilities of all pixels add up to more than the pixels that are of the class."""
        predicted, true = (
            (self.counts.sum(axis=-2) * LEVELS).sum(axis=-1),
            self.counts[..., 1, :].sum(axis=-1),
        )
        return divide(predicted, true) - 1

    def confusion(self, threshold: float) -> Confusion:
        """Pixels that are of the class or not, by whether a threshold takes them for it."""
        taken = self.counts[..., int(self.sweep().find_steps(np.array(threshold))) + 1 :].sum(axis=-1)
        return Confusion(np.stack([self.counts.sum(axis=-1) - taken, taken], axis=-1))

    def sweep(self) -> ThresholdSweep:
        """What every threshold would have given."""
        taken = np.cumsum(self.counts[..., ::-1], axis=-1)[..., ::-1]
        return ThresholdSweep(hits=taken[..., 1, 1:], false_alarms=taken[..., 0, 1:], true=taken[..., 1, :1])


@dataclass(frozen=True)
class Reliability:
    """For each bin of probability: pixels in it, their mean probability, and the share that is of the class."""

    counts: Counts
    predicted: Floats
    observed: Floats

    @property
    def ece(self) -> Floats:
        gaps = np.nan_to_num(np.abs(self.predicted - self.observed))
        return divide((self.counts * gaps).sum(axis=-1), self.counts.sum(axis=-1))


@dataclass(frozen=True)
class ThresholdSweep:
    """Pixels rightly and wrongly taken for a class at each threshold. Thresholds lie between levels: 0.002, 0.006, ...

    There they mean the same for a probability before and after it is rounded to 250ths.
    """

    hits: Counts
    false_alarms: Counts
    true: Counts

    @property
    def thresholds(self) -> Floats:
        return np.round((np.arange(1, PROBABILITY_STEPS + 1) - 0.5) / PROBABILITY_STEPS, 4)

    def find_steps(self, thresholds: Floats) -> NDArray[np.intp]:
        """Where in the sweep the pixels are those whose probability is at least so high."""
        return np.asarray(np.ceil(thresholds * PROBABILITY_STEPS - 1e-9) - 1, dtype=np.intp)

    @property
    def iou(self) -> Floats:
        return divide(self.hits, self.true + self.false_alarms)

    @property
    def precision(self) -> Floats:
        return divide(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> Floats:
        return divide(self.hits, self.true)


def find_best_threshold(counts: ProbabilityCounts) -> tuple[float, float]:
    """The threshold with the highest IoU, and that IoU; in the middle where several are as good."""
    sweep = counts.total().sweep()
    if not sweep.true.any():
        raise InputError(
            "no pixel is of the class, so no threshold is best; validate where there is some of it"
        )
    best = np.flatnonzero(sweep.iou == sweep.iou.max())
    return float(sweep.thresholds[best[len(best) // 2]]), float(sweep.iou.max())


def find_best_min_area(areas_m2: Floats, right: NDArray[np.bool_], true_m2: Floats) -> tuple[float, float]:
    """The smallest area worth keeping, and the F1 score that it gives; the lowest where several are as good.

    `areas_m2` are those of predicted footprints, `right` says which of them match a building, `true_m2` are the areas
    of all buildings. Where a model sees many small things that are not there, the score alone would give up all small
    buildings with them; so the area is never one that more than a twentieth of the buildings fall short of.
    """
    if not len(areas_m2) or not len(true_m2):
        return 0.0, 0.0
    most = np.percentile(true_m2, SMALLEST_PERCENT, method="lower")
    order = np.argsort(areas_m2)
    limits = np.unique(np.minimum(areas_m2, most))
    dropped = np.searchsorted(areas_m2[order], limits)
    hits = right.sum() - np.append(0, np.cumsum(right[order]))[dropped]
    f1 = 2 * hits / (len(areas_m2) - dropped + len(true_m2))
    best = int(np.argmax(f1))
    return float(limits[best]) if dropped[best] else 0.0, float(f1[best])


@dataclass(frozen=True)
class TemperatureScaling:
    """What a network's logits are changed by so that its probabilities come true: logit / temperature + offset."""

    temperature: float = 1.0
    offset: float = 0.0


def fit_temperature_scaling(logits: Floats, counts: NDArray[Any]) -> TemperatureScaling:
    """Platt's scaling (1999): `counts` (2, n) says how many pixels at each logit are not and are of the class.

    The probabilities of all pixels then add up to the pixels that are of the class. As Platt proposes, each answer
    counts as almost certain only, so that an answer is found where all pixels are told apart, or all are alike.
    """
    others, own = counts.sum(axis=1, dtype=np.float64)
    if not others + own:
        raise InputError("no pixel to calibrate with")
    targets = counts[1] * ((own + 1) / (own + 2)) + counts[0] / (others + 2)
    share, weight = targets / (others + own), counts.sum(axis=0) / (others + own)
    middle = float((weight * logits).sum())
    spread = logits - middle

    def loss(line: Floats) -> tuple[float, Floats]:
        changed = line[0] * spread + line[1]
        wrong = weight * expit(changed) - share
        return float((weight * np.logaddexp(0, changed) - share * changed).sum()), np.array(
            [(wrong * spread).sum(), wrong.sum()]
        )

    coldest, hottest = TEMPERATURES
    bounds = [(1 / hottest, 1 / coldest), OFFSETS]
    found = minimize(loss, (1.0, middle), jac=True, bounds=bounds, method="L-BFGS-B", options=PRECISELY)
    slope, level = (float(each) for each in found.x)
    return TemperatureScaling(1 / slope, level - slope * middle)


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """The number that logits should be divided by so that probabilities come true (Guo et al. 2017).

    Yes/no models: `logits` (pixel,) and `truth` 0 or 1. Several classes: `logits` (pixel, class) and class numbers.
    `weights` says how often each counts.
    """
    if not len(logits):
        raise InputError("no pixel to calibrate with")
    logits = logits.astype(np.float64)
    losses = compute_binary_losses if logits.ndim == 1 else compute_class_losses

    def mean_loss(log_temperature: float) -> float:
        return float(np.average(losses(logits * np.exp(-log_temperature), truth), weights=weights))

    found = minimize_scalar(mean_loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def estimate_temperature(counts: ProbabilityCounts) -> float:
    """The temperature that would make counted probabilities of a yes/no model come true."""
    inside = clip_probabilities(LEVELS)
    logits = np.tile(np.log(inside) - np.log1p(-inside), 2)
    return fit_temperature(logits, np.repeat([0, 1], PROBABILITY_STEPS + 1), counts.total().counts.ravel())


def clip_probabilities(probabilities: Floats) -> Floats:
    """Probabilities in 250ths that have a logit: 0 and 1 stand for the half step beside them, and become its middle."""
    margin = 0.25 / PROBABILITY_STEPS
    return np.asarray(np.clip(probabilities, margin, 1 - margin))


def compute_binary_losses(logits: Floats, truth: NDArray[Any]) -> Floats:
    """Binary cross-entropy of each pixel."""
    return np.asarray(np.logaddexp(0, logits) - logits * truth)


def compute_class_losses(logits: Floats, truth: NDArray[Any]) -> Floats:
    """Cross-entropy of each pixel."""
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    own = np.take_along_axis(logits, truth.astype(np.int64)[:, None], axis=1)[:, 0]
    return np.asarray(total - own)
