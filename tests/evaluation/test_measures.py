"""Intervals: closed forms of the bootstrap, and pairs of predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geoseg.evaluation.counting import SideFootprints, TileCounts
from geoseg.evaluation.measures import BootstrapDraws, ScoreEstimate, compute_measures
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Confusion

NO_BUILDINGS = SideFootprints(
    np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0),
    np.empty((10, 0), dtype=bool), np.empty((2, 0)), np.empty((3, 10, 0), dtype=bool), np.empty((3, 10, 0), dtype=bool),
)  # fmt: skip


def buildings(
    tile: list[int], matched: list[bool], area_m2: float = 100.0, confidence: float = np.nan
) -> SideFootprints:
    count = len(tile)
    return SideFootprints(
        np.ones(count, dtype=np.int64), np.array(tile), np.full(count, area_m2), np.full(count, confidence),
        np.tile(matched, (10, 1)), np.zeros((2, count)),
        small_only(np.ones(count, dtype=bool)), small_only(np.array(matched)),
    )  # fmt: skip


def small_only(flags: np.ndarray) -> np.ndarray:
    """Flags of footprints that are all of the smallest size: (size, threshold, footprint)."""
    return np.stack([np.tile(flags & is_small, (10, 1)) for is_small in (True, False, False)])


def counted(right: list[int], pixels: int = 100, places: list[str] | None = None) -> TileCounts:
    """Tiles of which so many pixels are right; the others were taken for building."""
    counts = np.array([[[hits, pixels - hits], [0, 0]] for hits in right])
    where = np.array(places or ["here"] * len(right), dtype=object)
    return TileCounts(
        where,
        Confusion(counts),
        np.zeros((len(right), 2, 2), dtype=np.int64),
        None,
        NO_BUILDINGS,
        NO_BUILDINGS,
    )


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    """Overall accuracy of equal tiles is their mean: its standard error is known."""
    right = np.random.default_rng(0).integers(40, 100, 300)
    tally = counted(right.tolist())
    found = compute_measures(tally, BootstrapDraws.of(tally, 4000)).overall_accuracy
    error = 1.96 * right.std() / 100 / np.sqrt(300)
    assert found.value == pytest.approx(right.mean() / 100)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((error, error), rel=0.08)


def test_alike_tiles_leave_no_doubt() -> None:
    tally = counted([70] * 20)
    assert compute_measures(tally, BootstrapDraws.of(tally)).overall_accuracy == ScoreEstimate(0.7, 0.7, 0.7)


def test_tiles_without_a_known_pixel_are_no_sample() -> None:
    tally = counted([70, 60, 50] * 4)
    empty = TileCounts.joined([tally, counted([0], pixels=0)])
    draws = BootstrapDraws.of(empty)
    assert draws.units == 12
    assert (draws.weights[1:, 12] == 0).all()
    assert (draws.weights[1:].sum(axis=1) == 12).all()


@pytest.mark.parametrize(("tiles", "sure"), [(1, False), (9, False), (10, True)])
def test_few_tiles_tell_no_interval(tiles: int, sure: bool) -> None:
    tally = counted([70] * tiles)
    draws = BootstrapDraws.of(tally)
    found = compute_measures(tally, draws).overall_accuracy
    assert (draws.units, draws.has_intervals) == (tiles, sure)
    assert found.value == 0.7
    assert np.isnan([found.low, found.high]).tolist() == [not sure, not sure]


def test_places_are_drawn_whole_where_there_are_enough() -> None:
    places = [f"place {n // 2}" for n in range(12)]
    draws = BootstrapDraws.of(counted([50] * 12, places=places))
    assert (draws.unit, draws.units) == ("place", 6)
    np.testing.assert_array_equal(draws.weights[:, ::2], draws.weights[:, 1::2])
    assert BootstrapDraws.of(counted([50] * 10, places=places[:10])).unit == "tile"


def test_draws_are_the_same_every_time() -> None:
    tally = counted([50, 60, 70] * 4)
    np.testing.assert_array_equal(BootstrapDraws.of(tally).weights, BootstrapDraws.of(tally).weights)


def test_a_pair_on_the_same_ground_is_told_apart_better_than_two_alone() -> None:
    right = np.random.default_rng(1).integers(30, 90, 100)
    one, other = counted((right + 5).tolist()), counted(right.tolist())
    draws = BootstrapDraws.of(one)
    apart = compute_measures(one, draws).minus(compute_measures(other, draws)).overall_accuracy
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.05, 0.05, 0.05))
    assert (
        compute_measures(one, draws).overall_accuracy.low
        < compute_measures(other, draws).overall_accuracy.high
    )


def test_footprints_follow_from_their_matches() -> None:
    tally = replace(
        counted([50, 50]),
        predicted=buildings([0, 0, 1, 1], [True, True, True, False], area_m2=90.0),
        true=buildings([0, 0, 1, 1, 1], [True, True, True, False, False]),
    )
    found = compute_measures(tally, BootstrapDraws.of(tally))
    names = ("footprint_precision", "footprint_recall", "footprint_f1", "count_error", "area_error", "ar")
    values = [found.estimate(name, 1).value for name in names]
    assert values == pytest.approx([3 / 4, 3 / 5, 6 / 9, -1 / 5, 360 / 500 - 1, 3 / 5])
    assert np.isnan(found.estimate("footprint_f1", 0).value)
    assert "ap" not in found.scores


def test_average_precision_needs_confidence() -> None:
    tally = replace(
        counted([50] * 10),
        predicted=buildings([0, 1], [True, False], confidence=0.7),
        true=buildings([0, 1], [True, False]),
    )
    found = compute_measures(tally, BootstrapDraws.of(tally)).estimate("ap", 1)
    assert found.value == pytest.approx(51 / 101)
    assert found.low == 0
    assert found.high == 1
    by_size = [
        compute_measures(tally, BootstrapDraws.of(tally)).estimate(f"ap_{size}", 1)
        for size in ("small", "medium", "large")
    ]
    assert by_size[0] == found
    assert all(np.isnan(each.value) for each in by_size[1:])


def test_calibration_is_that_of_the_counts() -> None:
    counts = ProbabilityCounts.of(np.array([True, False]), np.array([0.8, 0.4])).counts
    per_tile = np.zeros((2, 2, *counts.shape), dtype=np.int64)
    per_tile[0, 1], per_tile[1, 1] = counts, 2 * counts
    tally = replace(counted([50, 50]), probability=ProbabilityCounts(per_tile))
    found = compute_measures(tally, BootstrapDraws.of(tally))
    assert found.estimate("brier", 1).value == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert np.isnan(found.estimate("ece", 0).value)


def test_what_has_no_score_has_no_interval() -> None:
    assert np.isnan(ScoreEstimate.of(np.nan, np.array([0.5])).low)
    assert np.isnan(ScoreEstimate.of(0.5, np.array([np.nan])).high)
