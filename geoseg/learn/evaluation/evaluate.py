"""How good a prediction is: everything that can be said of it against the truth, as a value, a table and a page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import InputError
from geoseg.landclass import LandClass
from geoseg.learn.evaluation.measures import (
    CALIBRATION,
    ERRORS,
    FOOTPRINTS,
    OUTLINES,
    PIXELS,
    Draws,
    Measures,
    measure,
    number,
)
from geoseg.learn.evaluation.opening import open_comparisons
from geoseg.learn.evaluation.per_region import RegionErrors, homes_by_place, homes_in, region_errors
from geoseg.learn.evaluation.question import Comparison, Question
from geoseg.learn.evaluation.tally import Tally, tally
from geoseg.learn.scores.calibrate import ProbabilityCounts, best_min_area, best_threshold, temperature_of
from geoseg.narrator import QUIET, Narrator

SWEPT = np.arange(0.05, 1, 0.05)


@dataclass(frozen=True)
class Evaluation:
    """All scores of one prediction."""

    question: Question
    classes: tuple[LandClass, ...]
    tally: Tally
    draws: Draws
    measures: Measures
    regions: Mapping[str, RegionErrors]

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it; what is not known is None."""
        pixels = int(self.tally.confusion.pixels.sum())
        return {
            "predicted": self.question.predicted,
            "truth": self.question.truth,
            "pixels": pixels,
            "places": len(np.unique(self.tally.places)),
            "intervals": {"confidence": 0.95, "drawn": self.draws.unit, "number": self.draws.units},
            "overall_accuracy": self.measures.overall_accuracy.summary,
            "mean": {
                name: self.measures.mean(name).summary
                for name in self.known((*PIXELS, *OUTLINES, *FOOTPRINTS))
            },
            "classes": [self._class(index) for index in range(len(self.classes))],
            "confusion": self.tally.confusion.total().counts.tolist(),
            "regions": {name: errors.rows for name, errors in self.regions.items()},
        }

    def known(self, names: Sequence[str]) -> list[str]:
        """Those scores that this prediction has."""
        return [name for name in names if name in self.measures.scores]

    def _class(self, index: int) -> dict[str, Any]:
        names = self.known((*PIXELS, *OUTLINES, *FOOTPRINTS, *ERRORS, *CALIBRATION))
        scores = {name: self.measures.estimate(name, index).summary for name in names}
        total = self.tally.confusion.total()
        true, predicted = int(total.true[index]), int(total.predicted[index])
        return {
            "name": self.classes[index].name,
            "true_pixels": true,
            "predicted_pixels": predicted,
            **scores,
            **self._min_area(index),
            **self._probability(index),
        }

    def _min_area(self, index: int) -> dict[str, Any]:
        """The smallest area worth keeping, where there are footprints on both sides."""
        predicted, own = self.tally.predicted, self.tally.predicted.classes == index
        true_m2 = self.tally.true.area_m2[self.tally.true.classes == index]
        if not (len(true_m2) and own.any()):
            return {}
        area_m2, f1 = best_min_area(predicted.area_m2[own], predicted.matched[0, own], true_m2)
        return {"best_min_area": {"area_m2": round(area_m2, 2), "f1": number(f1)}}

    @property
    def _likeliest_counts(self) -> bool:
        """Whether the background has a probability of its own: then no class has a threshold, nor a temperature alone."""
        return self.tally.probability is not None and bool(self.tally.probability.counts[:, 0].any())

    def _probability(self, index: int) -> dict[str, Any]:
        """Reliability and thresholds of a class, where probabilities are known."""
        if self.tally.probability is None or not self.tally.probability.counts[:, index, 1].any():
            return {}
        counts = ProbabilityCounts(self.tally.probability.counts[:, index]).total()
        bins, sweep = counts.reliability(), counts.sweep()
        threshold, iou = best_threshold(counts)
        swept = sweep.places_of(SWEPT)
        of_yes_and_no = {
            "best_threshold": {"threshold": threshold, "iou": iou},
            "temperature": temperature_of(counts),
        }
        return {
            **({} if self._likeliest_counts else of_yes_and_no),
            "reliability": [
                {"pixels": int(n), "said": number(said), "came_true": number(came)}
                for n, said, came in zip(bins.counts, bins.said, bins.came_true, strict=True)
            ],
            "sweep": [
                {
                    "threshold": round(float(SWEPT[i]), 2),
                    "iou": number(sweep.iou[at]),
                    "precision": number(sweep.precision[at]),
                    "recall": number(sweep.recall[at]),
                }
                for i, at in enumerate(swept)
            ],
        }


@dataclass(frozen=True)
class Difference:
    """By how much one prediction is better than another on the same ground."""

    one: Evaluation
    other: Evaluation

    @property
    def title(self) -> str:
        return f"{self.one.question.predicted} minus {self.other.question.predicted}"

    @property
    def measures(self) -> Measures:
        return self.one.measures.minus(self.other.measures)

    @property
    def summary(self) -> dict[str, Any]:
        names = self.one.known((*PIXELS, *OUTLINES, *FOOTPRINTS, *ERRORS, *CALIBRATION))
        both = [name for name in names if name in self.measures.scores]
        return {
            "one": self.one.summary,
            "other": self.other.summary,
            "difference": {
                entry.name: {name: self.measures.estimate(name, index).summary for name in both}
                for index, entry in enumerate(self.one.classes)
            },
        }


@contextmanager
def opened(question: Question, narrator: Narrator = QUIET) -> Iterator[Comparison]:
    """The pairs of a question; what was made for them vanishes when the block ends."""
    with opened_together((question,), narrator) as (comparison,):
        yield comparison


@contextmanager
def opened_together(
    questions: Sequence[Question], narrator: Narrator = QUIET
) -> Iterator[tuple[Comparison, ...]]:
    """The pairs of several predictions of one truth, on the same pixels and where all of them know something."""
    with tempfile.TemporaryDirectory(prefix="geoseg-evaluate-") as scratch:
        yield open_comparisons(questions, Path(scratch), narrator)


def evaluate(
    comparison: Comparison,
    question: Question,
    regions: str | None = None,
    distance: int | None = None,
    narrator: Narrator = QUIET,
) -> Evaluation:
    """Compare all pairs; `distance` is how many pixels a boundary is wide, as published where it is not given."""
    classes = comparison.classes
    counted = Tally.joined([tally(pair, len(classes), distance, narrator) for pair in comparison.pairs])
    if not counted.confusion.pixels.any():
        raise InputError(
            f"{question.predicted} and {question.truth} know no pixel in common; do they lie at the same place?"
        )
    draws = Draws.of(counted)
    homes = homes_by_place(counted) if regions is None else homes_in(regions, counted, comparison, narrator)
    errors = {
        entry.name: region_errors(counted, index, homes) for index, entry in enumerate(classes) if index > 0
    }
    return Evaluation(question, classes, counted, draws, measure(counted, draws), errors)


def difference(one: Evaluation, other: Evaluation) -> Difference:
    """Compare two evaluations of the same truth."""
    if [entry.name for entry in one.classes] != [entry.name for entry in other.classes]:
        raise InputError(f"{one.question.predicted} and {other.question.predicted} know different classes")
    if not np.array_equal(one.tally.confusion.pixels, other.tally.confusion.pixels):
        raise InputError(
            f"{one.question.predicted} and {other.question.predicted} were compared on different ground; open both "
            "together"
        )
    return Difference(one, other)
