"""Every score of what was counted, with the interval that it would vary in had other ground been looked at.

An interval is a bootstrap (Efron 1979): tiles, or places where there are enough, are drawn anew with replacement, and
all scores computed again from the tables of those drawn. Pixels are no independent samples, but tiles nearly are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geoseg.evaluation.counting import SideFootprints, TileCounts
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Confusion, Floats, average_classes, divide
from geoseg.scores.outlines import SIZES, Flags, compute_average_precision

DRAWS = 1000
FEWEST_DRAWS = 100
MOST_WORK = 50_000_000
FEWEST_PLACES, FEWEST_TILES = 6, 10
"""With fewer, an interval would be far too narrow, and one tile would leave no doubt at all."""
CONFIDENCE = 0.95
SEED = 20170

PIXELS = ("iou", "dice", "precision", "recall", "accuracy")
OUTLINES = ("boundary_iou",)
FOOTPRINTS = (
    "footprint_precision",
    "footprint_recall",
    "footprint_f1",
    "ap",
    "ap50",
    "ar",
    *(f"ap_{size}" for size in SIZES),
)
ERRORS = ("count_error", "area_error")
CALIBRATION = ("ece", "brier")
OVERALL = "overall_accuracy"


@dataclass(frozen=True)
class ScoreEstimate:
    """A score and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Floats) -> ScoreEstimate:
        known = draws[~np.isnan(draws)]
        if np.isnan(value) or not len(known):
            return cls(float(value), float("nan"), float("nan"))
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return cls(float(value), float(low), float(high))

    @property
    def summary(self) -> dict[str, float | None]:
        """As a program reads it; what is not known is None."""
        return {
            "value": make_json_number(self.value),
            "low": make_json_number(self.low),
            "high": make_json_number(self.high),
        }


@dataclass(frozen=True)
class Measures:
    """Scores by name: (draw,) overall, or (draw, class). The first draw is everything as it is, each tile once."""

    scores: Mapping[str, Floats]

    def estimate(self, name: str, number: int) -> ScoreEstimate:
        """The score of one class."""
        column = self.scores[name][:, number]
        return ScoreEstimate.of(column[0], column[1:])

    def mean(self, name: str) -> ScoreEstimate:
        """The mean over classes; without the background where that has no such score."""
        column = average_classes(self.scores[name])
        return ScoreEstimate.of(column[0], column[1:])

    @property
    def overall_accuracy(self) -> ScoreEstimate:
        column = self.scores[OVERALL]
        return ScoreEstimate.of(column[0], column[1:])

    def minus(self, other: Measures) -> Measures:
        """By how much these scores are higher, draw by draw: both have seen the same tiles."""
        return Measures(
            {name: self.scores[name] - other.scores[name] for name in self.scores if name in other.scores}
        )


@dataclass(frozen=True)
class BootstrapDraws:
    """How often each tile is drawn: (draw, tile). In the first draw, each once; with few of them, that is the only one."""

    weights: Floats
    unit: str
    units: int

    @classmethod
    def of(cls, tally: TileCounts, draws: int = DRAWS) -> BootstrapDraws:
        """Draw places where there are six or more, else tiles; tiles of which nothing is known are no sample."""
        seen = tally.confusion.pixels > 0
        places, place_of = np.unique(tally.places[seen], return_inverse=True)
        by_place = len(places) >= FEWEST_PLACES
        units = len(places) if by_place else int(seen.sum())
        draws = draws if by_place or units >= FEWEST_TILES else 0
        drawn = np.random.default_rng(SEED).multinomial(units, np.full(units, 1 / max(units, 1)), size=draws)
        weights = np.zeros((1 + draws, len(seen)))
        weights[0] = 1
        weights[1:, seen] = drawn[:, place_of] if by_place else drawn
        return cls(weights, "place" if by_place else "tile", units)

    @property
    def has_intervals(self) -> bool:
        """Whether there were enough to draw from."""
        return len(self.weights) > 1


def compute_measures(tally: TileCounts, draws: BootstrapDraws) -> Measures:
    """All scores that a tally can tell."""
    return Measures(
        {
            **compute_pixel_scores(tally, draws),
            **FootprintScores(tally, draws).scores,
            **compute_calibration_scores(tally.probability, draws),
        }
    )


def compute_pixel_scores(tally: TileCounts, draws: BootstrapDraws) -> dict[str, Floats]:
    counts = tally.confusion.counts
    drawn = (draws.weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
    table = Confusion(np.rint(drawn).astype(np.int64))
    outline = (draws.weights @ tally.boundary.reshape(len(counts), -1)).reshape(-1, *tally.boundary.shape[1:])
    return {
        **{name: getattr(table, name) for name in PIXELS},
        OVERALL: table.overall_accuracy,
        "boundary_iou": divide(outline[..., 0], outline[..., 1]),
    }


def compute_calibration_scores(counted: ProbabilityCounts | None, draws: BootstrapDraws) -> dict[str, Floats]:
    """Calibration of each class against all others."""
    if counted is None:
        return {}
    classes = [
        ProbabilityCounts(np.rint(np.tensordot(draws.weights, counted.counts[:, number], 1)).astype(np.int64))
        for number in range(counted.counts.shape[1])
    ]
    return {
        "ece": np.stack([each.ece() for each in classes], axis=1),
        "brier": np.stack([each.brier for each in classes], axis=1),
    }


@dataclass(frozen=True)
class FootprintScores:
    """Scores of footprints from their matches; the background has none."""

    tally: TileCounts
    draws: BootstrapDraws

    @cached_property
    def scores(self) -> dict[str, Floats]:
        predicted, true = self.tally.predicted, self.tally.true
        found, met = self._sums(predicted, predicted.matched[0]), self._sums(true, true.matched[0])
        all_predicted, all_true = self._sums(predicted), self._sums(true)
        precision, recall = divide(found, all_predicted), divide(met, all_true)
        area = [self._sums(side, side.area_m2) for side in (predicted, true)]
        return {
            "footprint_precision": precision,
            "footprint_recall": recall,
            "footprint_f1": divide(found + met, all_predicted + all_true),
            "count_error": divide(all_predicted, all_true) - 1,
            "area_error": divide(area[0], area[1]) - 1,
            "ar": divide(self._sums(true, true.matched.mean(axis=0)), all_true),
            **self._average_precision(),
        }

    @property
    def _classes(self) -> int:
        return self.tally.confusion.classes

    def _sums(self, side: SideFootprints, values: Floats | None = None) -> Floats:
        """A sum over the footprints of each class in each draw; without values, their number."""
        tiles, classes = len(self.tally.places), self._classes
        weights = np.ones(len(side.tile)) if values is None else values.astype(np.float64)
        table = np.bincount(side.tile * classes + side.classes, weights=weights, minlength=tiles * classes)
        sums: Floats = self.draws.weights @ table.reshape(tiles, classes)
        sums[:, 0] = 0
        return sums

    def _average_precision(self) -> dict[str, Floats]:
        """Average precision, which needs to know which footprints a model is surest of."""
        if not len(self.tally.predicted.confidence) or np.isnan(self.tally.predicted.confidence).all():
            return {}
        predicted, true = self.tally.predicted, self.tally.true
        everything = self._precision(predicted.matched, np.ones_like(predicted.matched), self._sums(true))
        return {
            "ap": everything.mean(axis=-1),
            "ap50": everything[..., 0],
            **{
                f"ap_{size}": self._precision(
                    predicted.matched_by_size[at],
                    predicted.counted_by_size[at],
                    self._sums(true, true.counted_by_size[at, 0]),
                ).mean(axis=-1)
                for at, size in enumerate(SIZES)
            },
        }

    def _precision(self, right: Flags, counted: Flags, true: Floats) -> Floats:
        """Of each class at each threshold: (draw, class, threshold). `true` (draw, class) is how many there are."""
        classes = [self._class_precision(n, right, counted, true[:, n]) for n in range(self._classes)]
        return np.stack(classes, axis=1)

    def _class_precision(self, number: int, right: Flags, counted: Flags, true: Floats) -> Floats:
        """Of one class at each threshold: (draw, threshold). Large scenes make do with fewer draws."""
        side = self.tally.predicted
        chosen = np.flatnonzero((side.classes == number) & counted.any(axis=0))
        chosen = chosen[np.argsort(-side.confidence[chosen], kind="stable")]
        right, counted, tile = right[:, chosen], counted[:, chosen], side.tile[chosen]
        result = np.full((len(self.draws.weights), len(right)), np.nan)
        for draw in range(min(len(result), 1 + max(FEWEST_DRAWS, MOST_WORK // (10 * max(1, len(chosen)))))):
            result[draw] = compute_average_precision(
                right, self.draws.weights[draw, tile] * counted, true[draw]
            )
        return result


def make_json_number(value: float) -> float | None:
    """A number as JSON knows it: nan is None."""
    return None if np.isnan(value) else round(float(value), 6)
