"""How good a prediction is: everything that can be said of it against the truth, as a value, a table and a page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.areas.measure import Extent, transformer
from geoseg.footprints.regions.regions import Regions, read_regions
from geoseg.landclass import LandClass
from geoseg.learn.evaluation.measures import (
    CALIBRATION,
    ERRORS,
    FOOTPRINTS,
    OUTLINES,
    PIXELS,
    Draws,
    Estimate,
    Measures,
    measure,
)
from geoseg.learn.evaluation.opening import open_comparisons
from geoseg.learn.evaluation.question import Comparison, Question
from geoseg.learn.evaluation.tally import Buildings, Tally, tally
from geoseg.learn.scores.calibrate import ProbabilityCounts, best_min_area, best_threshold, temperature_of
from geoseg.learn.scores.confusion import Floats, ratio
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import WGS84

SWEPT = np.arange(0.05, 1, 0.05)


@dataclass(frozen=True)
class RegionErrors:
    """Count and area of footprints, predicted and true, of one class per region."""

    names: tuple[str, ...]
    predicted: Floats
    true: Floats
    predicted_m2: Floats
    true_m2: Floats

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a region, with relative errors."""
        count_error, area_error = (
            ratio(self.predicted, self.true) - 1,
            ratio(self.predicted_m2, self.true_m2) - 1,
        )
        return [
            {
                "region": name,
                "predicted": int(self.predicted[at]),
                "true": int(self.true[at]),
                "count_error": number(count_error[at]),
                "predicted_m2": round(float(self.predicted_m2[at]), 1),
                "true_m2": round(float(self.true_m2[at]), 1),
                "area_error": number(area_error[at]),
            }
            for at, name in enumerate(self.names)
        ]


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
            "overall_accuracy": as_json(self.measures.overall_accuracy),
            "mean": {
                name: as_json(self.measures.mean(name))
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
        scores = {name: as_json(self.measures.estimate(name, index)) for name in names}
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
                entry.name: {name: as_json(self.measures.estimate(name, index)) for name in both}
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


@dataclass(frozen=True)
class Homes:
    """Names of regions, and which of them the footprints of either side lie in: numbers of footprints and of regions."""

    names: tuple[str, ...]
    predicted: tuple[NDArray[np.intp], NDArray[np.intp]]
    true: tuple[NDArray[np.intp], NDArray[np.intp]]


def homes_by_place(counted: Tally) -> Homes:
    """Each place is a region."""
    names, place_of_tile = np.unique(counted.places, return_inverse=True)
    sides = counted.predicted, counted.true
    predicted, true = ((np.arange(len(side.tile)), place_of_tile[side.tile]) for side in sides)
    return Homes(tuple(map(str, names)), predicted, true)


def homes_in(source: str, counted: Tally, comparison: Comparison, narrator: Narrator) -> Homes:
    """The regions of a file or grid."""
    sides = counted.predicted, counted.true
    middles = np.concatenate([side.middle for side in sides], axis=1)
    extent = extent_of(middles if middles.size else corners_of(comparison))
    regions = read_regions(source, extent, narrator=narrator)
    predicted, true = (in_regions(side, regions) for side in sides)
    return Homes(regions.names, predicted, true)


def region_errors(counted: Tally, index: int, homes: Homes) -> RegionErrors:
    """Errors of a class in each region."""
    sides = (counted.predicted, homes.predicted), (counted.true, homes.true)
    sums = [
        sums_of(side, index, home, as_area, len(homes.names))
        for as_area in (False, True)
        for side, home in sides
    ]
    return RegionErrors(homes.names, *sums)


def sums_of(
    side: Buildings, index: int, home: tuple[NDArray[np.intp], NDArray[np.intp]], as_area: bool, regions: int
) -> Floats:
    """How many footprints of a class each region holds, or how large they are together."""
    footprint, region = home
    own = side.classes[footprint] == index
    weights = side.area_m2[footprint[own]] if as_area else np.ones(int(own.sum()))
    return np.bincount(region[own], weights=weights, minlength=regions).astype(np.float64)


def in_regions(side: Buildings, regions: Regions) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Footprints and the regions in which their middle lies."""
    points = shapely.points(*transformer(WGS84, regions.crs).transform(*side.middle))
    footprint, region = shapely.STRtree(regions.shapes).query(points, predicate="intersects")
    return footprint, region


def corners_of(comparison: Comparison) -> Floats:
    """Longitudes and latitudes of the corners of all scenes."""
    corners = []
    for pair in comparison.pairs:
        left, bottom, right, top = pair.grid.bounds
        corners.append(
            transformer(pair.grid.crs, WGS84).transform([left, left, right, right], [bottom, top] * 2)
        )
    return np.concatenate(corners, axis=1)


def extent_of(lonlat: Floats) -> Extent:
    """The box around some longitudes and latitudes."""
    (west, south), (east, north) = lonlat.min(axis=1).tolist(), lonlat.max(axis=1).tolist()
    return Extent(WGS84, (west, south, east, north))


def as_json(estimate: Estimate) -> dict[str, float | None]:
    return {"value": number(estimate.value), "low": number(estimate.low), "high": number(estimate.high)}


def number(value: float) -> float | None:
    """A number as JSON knows it: nan is None."""
    return None if np.isnan(value) else round(float(value), 6)
