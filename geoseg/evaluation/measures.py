"""Every score of what was counted, with the interval that it would vary in had other ground been looked at.

An interval is a bootstrap (Efron 1979): tiles, or places where there are enough, are drawn anew with replacement, and
all scores computed again from the tables of those drawn. Pixels are no independent samples, but tiles nearly are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.evaluation.counting import TileCounts
from geoseg.evaluation.footprints import BOUNDARY_DISTANCES_M, OutlineTable, TileTable
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
    "pq",
    "sq",
    "rq",
    "ap",
    "ap50",
    "ar",
    *(f"ap_{size}" for size in SIZES),
)
BOUNDARY_F1 = tuple(f"boundary_f1_{round(100 * distance)}cm" for distance in BOUNDARY_DISTANCES_M)
SHAPES = ("c_iou", "n_ratio", "polis_m", "max_tangent_deg", *BOUNDARY_F1)
ERRORS = ("count_error", "area_error")
CALIBRATION = ("ece", "brier")
OVERALL = "overall_accuracy"
ALL_SCORES = (*PIXELS, *OUTLINES, *FOOTPRINTS, *SHAPES, *ERRORS, *CALIBRATION)


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
    def leaves_out_zero(self) -> bool:
        """Whether an interval is known, and all of it is above or below zero."""
        return self.low > 0 or self.high < 0

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

    def list_known(self, names: Sequence[str] = ALL_SCORES) -> list[str]:
        """Those scores that there are."""
        return [name for name in names if name in self.scores]

    def minus(self, other: Measures) -> Measures:
        """By how much these scores are higher, draw by draw, where both are of the same tiles."""
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
    def of(cls, counts: TileCounts, draws: int = DRAWS) -> BootstrapDraws:
        """Draw places where there are six or more, else tiles; tiles of which nothing is known are no sample."""
        seen = counts.confusion.pixels > 0
        places, place_of = np.unique(counts.places[seen], return_inverse=True)
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


def compute_measures(counts: TileCounts, draws: BootstrapDraws) -> Measures:
    """All scores that follow from what was counted."""
    pixels = compute_pixel_scores(counts, draws.weights)
    return Measures(
        {
            **pixels,
            **compute_footprint_scores(counts, draws.weights),
            **AveragePrecision(counts, draws.weights).scores,
            **compute_shape_scores(counts, draws.weights, pixels["iou"]),
            **compute_calibration_scores(counts.probability, draws.weights),
        }
    )


def compute_place_measures(counts: TileCounts) -> dict[str, Measures]:
    """The scores of each place alone, without intervals; average precision and calibration are left out."""
    places, place_of = np.unique(counts.places, return_inverse=True)
    weights = (np.arange(len(places))[:, None] == place_of).astype(np.float64)
    pixels = compute_pixel_scores(counts, weights)
    scores = {
        **pixels,
        **compute_footprint_scores(counts, weights),
        **compute_shape_scores(counts, weights, pixels["iou"]),
    }
    return {
        str(place): Measures({name: values[at : at + 1] for name, values in scores.items()})
        for at, place in enumerate(places)
    }


def compute_pixel_scores(counts: TileCounts, weights: Floats) -> dict[str, Floats]:
    tables = counts.confusion.counts
    drawn = (weights @ tables.reshape(len(tables), -1)).reshape(-1, *tables.shape[1:])
    table = Confusion(np.rint(drawn).astype(np.int64))
    boundary = counts.boundary
    outline = (weights @ boundary.reshape(len(boundary), -1)).reshape(-1, *boundary.shape[1:])
    return {
        **{name: getattr(table, name) for name in PIXELS},
        OVERALL: table.overall_accuracy,
        "boundary_iou": divide(outline[..., 0], outline[..., 1]),
    }


def compute_calibration_scores(counted: ProbabilityCounts | None, weights: Floats) -> dict[str, Floats]:
    """Calibration of each class against all others."""
    if counted is None:
        return {}
    classes = [
        ProbabilityCounts(np.rint(np.tensordot(weights, counted.counts[:, number], 1)).astype(np.int64))
        for number in range(counted.counts.shape[1])
    ]
    return {
        "ece": np.stack([each.ece() for each in classes], axis=1),
        "brier": np.stack([each.brier for each in classes], axis=1),
    }


@dataclass(frozen=True)
class DrawnSums:
    """Sums over the footprints of each class in each draw: (draw, class)."""

    weights: Floats
    classes: int

    def sum(self, table: TileTable, values: Floats | Flags | None = None) -> Floats:
        """A sum of values; without them, the number of footprints."""
        tiles = self.weights.shape[1]
        return np.asarray(self.weights @ table.sum_by_tile(values, tiles, self.classes))


def compute_footprint_scores(counts: TileCounts, weights: Floats) -> dict[str, Floats]:
    """Scores of footprints from their matches; the background has none.

    Panoptic quality, after Kirillov et al. (2019), is how well matching footprints overlap (SQ) times how many match (RQ,
    which is F1).
    """
    predicted, true, sums = counts.predicted, counts.true, DrawnSums(weights, counts.confusion.classes)
    found, met = sums.sum(predicted, predicted.matched[0]), sums.sum(true, true.matched[0])
    all_predicted, all_true = sums.sum(predicted), sums.sum(true)
    f1, quality = (
        divide(found + met, all_predicted + all_true),
        divide(sums.sum(predicted, predicted.iou), found),
    )
    return {
        "footprint_precision": divide(found, all_predicted),
        "footprint_recall": divide(met, all_true),
        "footprint_f1": f1,
        "pq": np.where(found > 0, f1 * quality, f1),
        "sq": quality,
        "rq": f1,
        "count_error": divide(all_predicted, all_true) - 1,
        "area_error": divide(sums.sum(predicted, predicted.area_m2), sums.sum(true, true.area_m2)) - 1,
        "ar": divide(sums.sum(true, true.matched.mean(axis=0)), all_true),
    }


def compute_shape_scores(counts: TileCounts, weights: Floats, iou: Floats) -> dict[str, Floats]:
    """How well the shapes of outlines agree; `iou` is that of pixels.

    Complexity-aware IoU, after Zorzi et al. (2022), takes off as much as the numbers of vertices differ. It is published
    for images; here all ground that is looked at is one image.
    """
    predicted, true = counts.predicted_outlines, counts.true_outlines
    if predicted is None or true is None:
        return {}
    sums = DrawnSums(weights, counts.confusion.classes)
    vertices, true_vertices = (
        sums.sum(table, table.vertices.astype(np.float64)) for table in (predicted, true)
    )
    difference = divide(np.abs(vertices - true_vertices), vertices + true_vertices)
    return {
        "c_iou": iou * (1 - difference),
        "n_ratio": divide(vertices, true_vertices),
        "polis_m": average_known(sums, predicted, predicted.polis_m),
        "max_tangent_deg": average_known(sums, predicted, predicted.tangent_deg),
        **compute_boundary_f1(sums, predicted, true),
    }


def average_known(sums: DrawnSums, table: TileTable, values: Floats) -> Floats:
    """The mean over the outlines that have a value."""
    known = ~np.isnan(values)
    return divide(sums.sum(table, np.where(known, values, 0)), sums.sum(table, known))


def compute_boundary_f1(sums: DrawnSums, predicted: OutlineTable, true: OutlineTable) -> dict[str, Floats]:
    """For each distance, the harmonic mean of the shares of both boundaries that have the other one so near."""
    length, true_length = sums.sum(predicted, predicted.length_m), sums.sum(true, true.length_m)
    scores = {}
    for name, near, near_true in zip(BOUNDARY_F1, predicted.near_m, true.near_m, strict=True):
        precision = np.nan_to_num(divide(sums.sum(predicted, near), length))
        recall = np.nan_to_num(divide(sums.sum(true, near_true), true_length))
        f1 = np.nan_to_num(divide(2 * precision * recall, precision + recall))
        scores[name] = np.where(length + true_length > 0, f1, np.nan)
    return scores


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's average precision. It ranks footprints by confidence: where no footprint has any, there is none."""

    counts: TileCounts
    weights: Floats

    @property
    def scores(self) -> dict[str, Floats]:
        predicted, true = self.counts.predicted, self.counts.true
        if not len(predicted.confidence) or np.isnan(predicted.confidence).all():
            return {}
        sums = DrawnSums(self.weights, self.counts.confusion.classes)
        everything = self._compute(predicted.matched, np.ones_like(predicted.matched), sums.sum(true))
        return {
            "ap": everything.mean(axis=-1),
            "ap50": everything[..., 0],
            **{
                f"ap_{size}": self._compute(
                    predicted.matched_by_size[at],
                    predicted.counted_by_size[at],
                    sums.sum(true, true.counted_by_size[at, 0]),
                ).mean(axis=-1)
                for at, size in enumerate(SIZES)
            },
        }

    def _compute(self, right: Flags, counted: Flags, true: Floats) -> Floats:
        """Of each class at each threshold: (draw, class, threshold). `true` (draw, class) is how many there are."""
        classes = range(self.counts.confusion.classes)
        return np.stack([self._compute_class(n, right, counted, true[:, n]) for n in classes], axis=1)

    def _compute_class(self, number: int, right: Flags, counted: Flags, true: Floats) -> Floats:
        """Of one class at each threshold: (draw, threshold). Large scenes make do with fewer draws."""
        table = self.counts.predicted
        chosen = np.flatnonzero((table.classes == number) & counted.any(axis=0))
        chosen = chosen[np.argsort(-table.confidence[chosen], kind="stable")]
        right, counted, tile = right[:, chosen], counted[:, chosen], table.tile[chosen]
        result = np.full((len(self.weights), len(right)), np.nan)
        for draw in range(min(len(result), 1 + max(FEWEST_DRAWS, MOST_WORK // (10 * max(1, len(chosen)))))):
            result[draw] = compute_average_precision(right, self.weights[draw, tile] * counted, true[draw])
        return result


def make_json_number(value: float) -> float | None:
    """A number as JSON knows it: nan is None."""
    return None if np.isnan(value) else round(float(value), 6)
