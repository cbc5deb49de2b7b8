"""What changed on the ground, by points that were answered twice: as it was on one date, and on another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.measure import FloatArray
from geoseg.footprints.write.samples import NOT_BUILDING, UNSURE
from geoseg.regions.adjustment import BACKGROUND
from geoseg.regions.estimates import AnsweredPoints, Interval, estimate_areas
from geoseg.regions.points import FIXED, AnsweredSample, SamplePoints, refuse_unknown_answers

UNCHANGED, GAINED, LOST = range(3)
"""What happened at a place: nothing, something was built, something is gone."""
OUTSIDE = -1


@dataclass(frozen=True)
class AreaChange:
    """Built area gained and lost on the ground, in square metres, with its 95 % interval."""

    gained: Interval
    lost: Interval
    points: int
    """How many points were answered on both dates."""

    @property
    def summary(self) -> Mapping[str, float]:
        """As a program reads it."""
        ends = {"_m2": "value", "_low_m2": "low", "_high_m2": "high"}
        told = {
            f"adjusted_{name}{ending}": float(getattr(found, end))
            for name, found in (("gained", self.gained), ("lost", self.lost))
            for ending, end in ends.items()
        }
        return {**told, "sample_points": self.points}

    def __str__(self) -> str:
        parts = [
            f"{name} {found.value:,.0f} m² ({found.low:,.0f} to {found.high:,.0f})"
            for name, found in (("gained", self.gained), ("lost", self.lost))
        ]
        return f"on the ground, by {self.points:,} points: {', '.join(parts)}"


def pair_answers(before: SamplePoints, after: SamplePoints) -> AnsweredSample:
    """The points that say something on both dates, with what happened at each as their truth.

    Two samples at different places tell how much is built on each date, but not how much of it is new: for that, one sample
    is answered twice.
    """
    both = before.frame.merge(after.frame, on="id", suffixes=("", "_after"))
    same = all(
        both[name].equals(both[f"{name}_after"].rename(name)) for name in ("longitude", "latitude", *FIXED)
    )
    if before.map != after.map or not same:
        raise InputError(
            f"{after.path}: does not hold the points of {before.path}; copy the file before you answer it, and answer one "
            "copy for each date"
        )
    for points in (before, after):
        classes = [name for name in points.strata["mapped"].unique() if name != BACKGROUND]
        refuse_unknown_answers(points.path, points.frame, [*classes, NOT_BUILDING, UNSURE, ""])
    said = ~(both["answer"].isin(["", UNSURE]) | both["answer_after"].isin(["", UNSURE]))
    if not said.any():
        raise InputError(
            f"{before.path} and {after.path}: no point has an answer that says something in both"
        )
    return make_change_sample(before.strata, both[said])


def make_change_sample(strata: pd.DataFrame, kept: pd.DataFrame) -> AnsweredSample:
    """Points with both answers: built where it is any class."""
    was, is_now = (kept[name].to_numpy() != NOT_BUILDING for name in ("answer", "answer_after"))
    truth = np.select([is_now & ~was, was & ~is_now], [GAINED, LOST], UNCHANGED)
    return AnsweredSample(
        strata,
        strata.index.get_indexer(kept["stratum"]),
        truth.astype(np.intp),
        kept["longitude"].to_numpy(np.float64),
        kept["latitude"].to_numpy(np.float64),
        np.full(len(kept), np.nan),
    )


def estimate_change(
    sample: AnsweredSample, mapped: NDArray[np.intp], gained_m2: float, lost_m2: float
) -> AreaChange:
    """Area gained and lost, of the sample and of what two maps say: at each point (`mapped`), and in square metres.

    The strata are those of the sample; what the maps say is used as in post-stratification (Stehman 2014). Of change that
    the maps show and no point met nothing is known: it counts as ground where they show none.
    """
    counts = np.zeros((len(sample.strata), 3, 3), dtype=np.int64)
    here = mapped != OUTSIDE
    met = np.bincount(mapped[here], minlength=3) > 0
    cell = np.where(met[mapped[here]], mapped[here], UNCHANGED)
    np.add.at(counts, (sample.stratum[here], cell, sample.truth[here]), 1)
    points = AnsweredPoints(counts, sample.strata_m2, sample.answered)
    areas = divide_ground(points, gained_m2 * met[GAINED], lost_m2 * met[LOST])
    found = estimate_areas(areas, points.estimate_shares().interval)
    return AreaChange(found[GAINED], found[LOST], int(here.sum()))


def divide_ground(points: AnsweredPoints, gained_m2: float, lost_m2: float) -> FloatArray:
    """The area of the ground by what two maps say of it; how much of it is compared the points tell, too."""
    here = points.counts.sum(axis=(1, 2)) / np.maximum(points.drawn, 1)
    ground_m2 = float((points.strata_m2 * np.where(points.drawn > 0, here, 1.0)).sum())
    return np.array([max(ground_m2 - gained_m2 - lost_m2, 0.0), gained_m2, lost_m2])
