"""What evaluations found, one by one and compared with each other, as people and programs read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from geoseg.errors import InputError
from geoseg.evaluation.counting import TileCounts
from geoseg.evaluation.inputs.requests import EvaluationRequest
from geoseg.evaluation.measures import (
    CONFIDENCE,
    FOOTPRINTS,
    OUTLINES,
    PIXELS,
    SHAPES,
    BootstrapDraws,
    Measures,
    compute_place_measures,
    make_json_number,
)
from geoseg.evaluation.regions import RegionErrors
from geoseg.evaluation.report.tables import format_result
from geoseg.raster.palette import ClassEntry
from geoseg.scores.calibration import (
    ProbabilityCounts,
    estimate_temperature,
    find_best_min_area,
    find_best_threshold,
)

SWEPT_THRESHOLDS = np.arange(0.05, 1, 0.05)
PLACE_SCORES = ("iou", "boundary_iou", "footprint_f1", "pq", *SHAPES)


@dataclass(frozen=True)
class Evaluation:
    """All scores of one prediction."""

    request: EvaluationRequest
    classes: tuple[ClassEntry, ...]
    counts: TileCounts
    draws: BootstrapDraws
    measures: Measures
    regions: Mapping[str, RegionErrors]

    @property
    def name(self) -> str:
        return self.request.predicted

    @property
    def has_confidence(self) -> bool:
        """Whether its footprints can be ranked, which average precision needs."""
        return "ap" in self.measures.scores

    @property
    def places(self) -> dict[str, Measures]:
        """The scores of each place alone."""
        return compute_place_measures(self.counts)

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it; what is not known is None."""
        pixels = int(self.counts.confusion.pixels.sum())
        scores = self.measures.list_known((*PIXELS, *OUTLINES, *FOOTPRINTS, *SHAPES))
        return {
            "predicted": self.name,
            "truth": self.request.truth,
            "pixels": pixels,
            "places": len(np.unique(self.counts.places)),
            "intervals": {
                "confidence": CONFIDENCE,
                "drawn": self.draws.unit,
                "number": self.draws.units,
            },
            "overall_accuracy": self.measures.overall_accuracy.summary,
            "mean": {name: self.measures.mean(name).summary for name in scores},
            "classes": [self._summarize_class(index) for index in range(len(self.classes))],
            "confusion": self.counts.confusion.total().counts.tolist(),
            "regions": {name: errors.rows for name, errors in self.regions.items()},
            "by_place": {place: self._summarize_place(scores) for place, scores in self.places.items()},
        }

    def _summarize_class(self, index: int) -> dict[str, Any]:
        scores = {name: self.measures.estimate(name, index).summary for name in self.measures.list_known()}
        total = self.counts.confusion.total()
        return {
            "name": self.classes[index].name,
            "true_pixels": int(total.true[index]),
            "predicted_pixels": int(total.predicted[index]),
            **scores,
            **self._find_min_area(index),
            **self._summarize_probability(index),
        }

    def _summarize_place(self, scores: Measures) -> dict[str, dict[str, float | None]]:
        names = scores.list_known(PLACE_SCORES)
        return {
            entry.name: {name: make_json_number(scores.estimate(name, index).value) for name in names}
            for index, entry in enumerate(self.classes)
        }

    def _find_min_area(self, index: int) -> dict[str, Any]:
        """The smallest area worth keeping, where both prediction and truth have footprints."""
        predicted, own = self.counts.predicted, self.counts.predicted.classes == index
        true_m2 = self.counts.true.area_m2[self.counts.true.classes == index]
        if not (len(true_m2) and own.any()):
            return {}
        area_m2, f1 = find_best_min_area(predicted.area_m2[own], predicted.matched[0, own], true_m2)
        return {"best_min_area": {"area_m2": round(area_m2, 2), "f1": make_json_number(f1)}}

    @property
    def _likeliest_counts(self) -> bool:
        """Whether the background has a probability of its own: then no class has a threshold, nor a temperature alone."""
        return self.counts.probability is not None and bool(self.counts.probability.counts[:, 0].any())

    def get_probability(self, index: int) -> ProbabilityCounts | None:
        """The probabilities of a class, counted over all ground; none where they are not known, or it does not occur."""
        if self.counts.probability is None or not self.counts.probability.counts[:, index, 1].any():
            return None
        return ProbabilityCounts(self.counts.probability.counts[:, index]).total()

    def _summarize_probability(self, index: int) -> dict[str, Any]:
        """Reliability and thresholds of a class, where probabilities are known."""
        counts = self.get_probability(index)
        if counts is None:
            return {}
        bins, sweep = counts.reliability(), counts.sweep()
        threshold, iou = find_best_threshold(counts)
        steps = sweep.find_steps(SWEPT_THRESHOLDS)
        of_yes_and_no = {
            "best_threshold": {"threshold": threshold, "iou": iou},
            "temperature": estimate_temperature(counts),
        }
        return {
            **({} if self._likeliest_counts else of_yes_and_no),
            "reliability": [
                {
                    "pixels": int(pixels),
                    "said": make_json_number(predicted),
                    "came_true": make_json_number(observed),
                }
                for pixels, predicted, observed in zip(
                    bins.counts, bins.predicted, bins.observed, strict=True
                )
            ],
            "sweep": [
                {
                    "threshold": round(float(swept), 2),
                    "iou": make_json_number(sweep.iou[step]),
                    "precision": make_json_number(sweep.precision[step]),
                    "recall": make_json_number(sweep.recall[step]),
                }
                for swept, step in zip(SWEPT_THRESHOLDS, steps, strict=True)
            ],
        }


@dataclass(frozen=True)
class Difference:
    """By how much one prediction scores higher than another on the same ground."""

    one: Evaluation
    other: Evaluation

    @property
    def title(self) -> str:
        return f"{self.one.name} minus {self.other.name}"

    @property
    def measures(self) -> Measures:
        return self.one.measures.minus(self.other.measures)

    @property
    def summary(self) -> dict[str, Any]:
        """The difference in every score that both have, by class."""
        measures = self.measures
        return {
            entry.name: {name: measures.estimate(name, index).summary for name in measures.list_known()}
            for index, entry in enumerate(self.one.classes)
        }


def compare_evaluations(one: Evaluation, other: Evaluation) -> Difference:
    """Compare two evaluations of the same truth."""
    if [entry.name for entry in one.classes] != [entry.name for entry in other.classes]:
        raise InputError(f"{one.name} and {other.name} know different classes")
    if not np.array_equal(one.counts.confusion.pixels, other.counts.confusion.pixels):
        raise InputError(f"{one.name} and {other.name} were compared on different ground; open both together")
    return Difference(one, other)


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` found: one evaluation for each prediction, and the differences that were asked for."""

    evaluations: tuple[Evaluation, ...]
    differences: tuple[Difference, ...] = ()

    @property
    def truth(self) -> str:
        return self.evaluations[0].request.truth

    def find_differences(self, evaluation: Evaluation) -> list[Difference]:
        """Those of one prediction to others."""
        return [difference for difference in self.differences if difference.one is evaluation]

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it. A single pair stands under names of its own as well."""
        if not self.differences:
            return self.evaluations[0].summary
        return {
            "predictions": [evaluation.summary for evaluation in self.evaluations],
            "differences": [
                {
                    "prediction": difference.one.name,
                    "against": difference.other.name,
                    "classes": difference.summary,
                }
                for difference in self.differences
            ],
            **(summarize_pair(self.differences[0]) if len(self.evaluations) == 2 else {}),
        }

    def __str__(self) -> str:
        return format_result(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """How Jupyter shows it."""
        return f"<pre>{escape(str(self))}</pre>"


def summarize_pair(difference: Difference) -> dict[str, Any]:
    return {
        "one": difference.one.summary,
        "other": difference.other.summary,
        "difference": difference.summary,
    }


def compare_predictions(evaluations: Sequence[Evaluation], references: int) -> EvaluationResult:
    """Compare predictions with the references at the end of the list or, where there are none, with the first."""
    if references:
        compared, others = evaluations[:-references], evaluations[-references:]
    else:
        compared, others = evaluations[1:], evaluations[:1]
    differences = (compare_evaluations(one, other) for one in compared for other in others)
    return EvaluationResult(tuple(evaluations), tuple(differences))
