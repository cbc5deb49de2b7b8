"""What an evaluation found, in all and per region, as people and programs read it."""

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
from geoseg.evaluation.counting import SideFootprints, TileCounts, count_pair
from geoseg.evaluation.measures import (
    CALIBRATION,
    ERRORS,
    FOOTPRINTS,
    OUTLINES,
    PIXELS,
    BootstrapDraws,
    Measures,
    compute_measures,
    make_json_number,
)
from geoseg.evaluation.options import EvaluateOptions
from geoseg.evaluation.pairing import build_comparisons
from geoseg.evaluation.sides import Comparison
from geoseg.footprints.measure import Extent
from geoseg.raster.grid import WGS84, find_transformer
from geoseg.raster.palette import ClassEntry
from geoseg.regions.polygons import Regions, read_regions
from geoseg.scores.calibration import (
    ProbabilityCounts,
    estimate_temperature,
    find_best_min_area,
    find_best_threshold,
)
from geoseg.scores.confusion import Floats, divide


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
            divide(self.predicted, self.true) - 1,
            divide(self.predicted_m2, self.true_m2) - 1,
        )
        return [
            {
                "region": name,
                "predicted": int(self.predicted[at]),
                "true": int(self.true[at]),
                "count_error": make_json_number(count_error[at]),
                "predicted_m2": round(float(self.predicted_m2[at]), 1),
                "true_m2": round(float(self.true_m2[at]), 1),
                "area_error": make_json_number(area_error[at]),
            }
            for at, name in enumerate(self.names)
        ]


@dataclass(frozen=True)
class RegionAssignment:
    """Names of regions, and which of them the footprints of either side lie in: numbers of footprints and of regions."""

    names: tuple[str, ...]
    predicted: tuple[NDArray[np.intp], NDArray[np.intp]]
    true: tuple[NDArray[np.intp], NDArray[np.intp]]


def assign_places(counted: TileCounts) -> RegionAssignment:
    """Each place is a region."""
    names, place_of_tile = np.unique(counted.places, return_inverse=True)
    sides = counted.predicted, counted.true
    predicted, true = ((np.arange(len(side.tile)), place_of_tile[side.tile]) for side in sides)
    return RegionAssignment(tuple(map(str, names)), predicted, true)


def assign_regions(source: str, counted: TileCounts, comparison: Comparison) -> RegionAssignment:
    """The regions of a file or grid."""
    sides = counted.predicted, counted.true
    middles = np.concatenate([side.middle for side in sides], axis=1)
    extent = compute_extent(middles if middles.size else list_corners(comparison))
    regions = read_regions(source, extent)
    predicted, true = (find_regions(side, regions) for side in sides)
    return RegionAssignment(regions.names, predicted, true)


def compute_region_errors(counted: TileCounts, index: int, homes: RegionAssignment) -> RegionErrors:
    """Errors of a class in each region."""
    sides = (counted.predicted, homes.predicted), (counted.true, homes.true)
    sums = [
        sum_by_region(side, index, home, as_area, len(homes.names))
        for as_area in (False, True)
        for side, home in sides
    ]
    return RegionErrors(homes.names, *sums)


def sum_by_region(
    side: SideFootprints,
    index: int,
    home: tuple[NDArray[np.intp], NDArray[np.intp]],
    as_area: bool,
    regions: int,
) -> Floats:
    """How many footprints of a class each region holds, or how large they are together."""
    footprint, region = home
    own = side.classes[footprint] == index
    weights = side.area_m2[footprint[own]] if as_area else np.ones(int(own.sum()))
    return np.bincount(region[own], weights=weights, minlength=regions).astype(np.float64)


def find_regions(side: SideFootprints, regions: Regions) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Footprints and the regions in which their middle lies."""
    points = shapely.points(*find_transformer(WGS84, regions.crs).transform(*side.middle))
    footprint, region = shapely.STRtree(regions.shapes).query(points, predicate="intersects")
    return footprint, region


def list_corners(comparison: Comparison) -> Floats:
    """Longitudes and latitudes of the corners of all scenes."""
    corners = []
    for pair in comparison.pairs:
        left, bottom, right, top = pair.grid.bounds
        corners.append(
            find_transformer(pair.grid.crs, WGS84).transform([left, left, right, right], [bottom, top] * 2)
        )
    return np.concatenate(corners, axis=1)


def compute_extent(lonlat: Floats) -> Extent:
    """The box around some longitudes and latitudes."""
    (west, south), (east, north) = lonlat.min(axis=1).tolist(), lonlat.max(axis=1).tolist()
    return Extent(WGS84, (west, south, east, north))


SWEPT = np.arange(0.05, 1, 0.05)


@dataclass(frozen=True)
class Evaluation:
    """All scores of one prediction."""

    question: EvaluateOptions
    classes: tuple[ClassEntry, ...]
    tally: TileCounts
    draws: BootstrapDraws
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
        area_m2, f1 = find_best_min_area(predicted.area_m2[own], predicted.matched[0, own], true_m2)
        return {"best_min_area": {"area_m2": round(area_m2, 2), "f1": make_json_number(f1)}}

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
        threshold, iou = find_best_threshold(counts)
        swept = sweep.find_steps(SWEPT)
        of_yes_and_no = {
            "best_threshold": {"threshold": threshold, "iou": iou},
            "temperature": estimate_temperature(counts),
        }
        return {
            **({} if self._likeliest_counts else of_yes_and_no),
            "reliability": [
                {"pixels": int(n), "said": make_json_number(said), "came_true": make_json_number(came)}
                for n, said, came in zip(bins.counts, bins.said, bins.came_true, strict=True)
            ],
            "sweep": [
                {
                    "threshold": round(float(SWEPT[i]), 2),
                    "iou": make_json_number(sweep.iou[at]),
                    "precision": make_json_number(sweep.precision[at]),
                    "recall": make_json_number(sweep.recall[at]),
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
def open_comparison(question: EvaluateOptions) -> Iterator[Comparison]:
    """The pairs of a question; what was made for them vanishes when the block ends."""
    with open_comparisons((question,)) as (comparison,):
        yield comparison


@contextmanager
def open_comparisons(questions: Sequence[EvaluateOptions]) -> Iterator[tuple[Comparison, ...]]:
    """The pairs of several predictions of one truth, on the same pixels and where all of them know something."""
    with tempfile.TemporaryDirectory(prefix="geoseg-evaluate-") as scratch:
        yield build_comparisons(questions, Path(scratch))


def evaluate_comparison(
    comparison: Comparison, question: EvaluateOptions, regions: str | None = None, distance: int | None = None
) -> Evaluation:
    """Compare all pairs; `distance` is how many pixels a boundary is wide, as published where it is not given."""
    classes = comparison.classes
    counted = TileCounts.joined([count_pair(pair, len(classes), distance) for pair in comparison.pairs])
    if not counted.confusion.pixels.any():
        raise InputError(
            f"{question.predicted} and {question.truth} know no pixel in common; do they lie at the same place?"
        )
    draws = BootstrapDraws.of(counted)
    homes = assign_places(counted) if regions is None else assign_regions(regions, counted, comparison)
    errors = {
        entry.name: compute_region_errors(counted, index, homes)
        for index, entry in enumerate(classes)
        if index > 0
    }
    return Evaluation(question, classes, counted, draws, compute_measures(counted, draws), errors)


def compare_evaluations(one: Evaluation, other: Evaluation) -> Difference:
    """Compare two evaluations of the same truth."""
    if [entry.name for entry in one.classes] != [entry.name for entry in other.classes]:
        raise InputError(f"{one.question.predicted} and {other.question.predicted} know different classes")
    if not np.array_equal(one.tally.confusion.pixels, other.tally.confusion.pixels):
        raise InputError(
            f"{one.question.predicted} and {other.question.predicted} were compared on different ground; open both "
            "together"
        )
    return Difference(one, other)
