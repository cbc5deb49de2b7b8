"""Intervals: closed forms of the bootstrap, and pairs of predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geoseg.evaluation.counting import TileCounts
from geoseg.evaluation.footprints import FootprintTable, OutlineTable
from geoseg.evaluation.measures import (
    SHAPES,
    BootstrapDraws,
    ScoreEstimate,
    compute_measures,
    compute_place_measures,
)
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Confusion

NO_BUILDINGS = FootprintTable(
    np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0),
    np.empty((10, 0), dtype=bool), np.empty(0), np.empty((2, 0)), np.empty((3, 10, 0), dtype=bool), np.empty((3, 10, 0), dtype=bool),
)  # fmt: skip


def buildings(
    tile: list[int], matched: list[bool], area_m2: float = 100.0, confidence: float = np.nan
) -> FootprintTable:
    count = len(tile)
    return FootprintTable(
        np.ones(count, dtype=np.int64), np.array(tile), np.full(count, area_m2), np.full(count, confidence),
        np.tile(matched, (10, 1)), np.where(matched, 0.8, 0.0), np.zeros((2, count)),
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
    counts = counted(right.tolist())
    found = compute_measures(counts, BootstrapDraws.of(counts, 4000)).overall_accuracy
    error = 1.96 * right.std() / 100 / np.sqrt(300)
    assert found.value == pytest.approx(right.mean() / 100)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((error, error), rel=0.08)


def test_alike_tiles_leave_no_doubt() -> None:
    counts = counted([70] * 20)
    assert compute_measures(counts, BootstrapDraws.of(counts)).overall_accuracy == ScoreEstimate(
        0.7, 0.7, 0.7
    )


def test_tiles_without_a_known_pixel_are_no_sample() -> None:
    counts = counted([70, 60, 50] * 4)
    empty = TileCounts.concatenate([counts, counted([0], pixels=0)])
    draws = BootstrapDraws.of(empty)
    assert draws.units == 12
    assert (draws.weights[1:, 12] == 0).all()
    assert (draws.weights[1:].sum(axis=1) == 12).all()


@pytest.mark.parametrize(("tiles", "sure"), [(1, False), (9, False), (10, True)])
def test_few_tiles_tell_no_interval(tiles: int, sure: bool) -> None:
    counts = counted([70] * tiles)
    draws = BootstrapDraws.of(counts)
    found = compute_measures(counts, draws).overall_accuracy
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
    counts = counted([50, 60, 70] * 4)
    np.testing.assert_array_equal(BootstrapDraws.of(counts).weights, BootstrapDraws.of(counts).weights)


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
    counts = replace(
        counted([50, 50]),
        predicted=buildings([0, 0, 1, 1], [True, True, True, False], area_m2=90.0),
        true=buildings([0, 0, 1, 1, 1], [True, True, True, False, False]),
    )
    found = compute_measures(counts, BootstrapDraws.of(counts))
    names = ("footprint_precision", "footprint_recall", "footprint_f1", "count_error", "area_error", "ar")
    values = [found.estimate(name, 1).value for name in names]
    assert values == pytest.approx([3 / 4, 3 / 5, 6 / 9, -1 / 5, 360 / 500 - 1, 3 / 5])
    assert np.isnan(found.estimate("footprint_f1", 0).value)
    assert "ap" not in found.scores


def test_average_precision_needs_confidence() -> None:
    counts = replace(
        counted([50] * 10),
        predicted=buildings([0, 1], [True, False], confidence=0.7),
        true=buildings([0, 1], [True, False]),
    )
    found = compute_measures(counts, BootstrapDraws.of(counts)).estimate("ap", 1)
    assert found.value == pytest.approx(51 / 101)
    assert found.low == 0
    assert found.high == 1
    by_size = [
        compute_measures(counts, BootstrapDraws.of(counts)).estimate(f"ap_{size}", 1)
        for size in ("small", "medium", "large")
    ]
    assert by_size[0] == found
    assert all(np.isnan(each.value) for each in by_size[1:])


def test_calibration_is_that_of_the_counts() -> None:
    counts = ProbabilityCounts.of(np.array([True, False]), np.array([0.8, 0.4])).counts
    per_tile = np.zeros((2, 2, *counts.shape), dtype=np.int64)
    per_tile[0, 1], per_tile[1, 1] = counts, 2 * counts
    counts = replace(counted([50, 50]), probability=ProbabilityCounts(per_tile))
    found = compute_measures(counts, BootstrapDraws.of(counts))
    assert found.estimate("brier", 1).value == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert np.isnan(found.estimate("ece", 0).value)


def test_what_has_no_score_has_no_interval() -> None:
    assert np.isnan(ScoreEstimate.of(np.nan, np.array([0.5])).low)
    assert np.isnan(ScoreEstimate.of(0.5, np.array([np.nan])).high)


def test_panoptic_quality_is_how_well_matches_overlap_times_f1() -> None:
    """Kirillov et al. (2019): the IoU of 3 matches over these and half of 1 false alarm and 2 misses."""
    counts = replace(
        counted([50, 50]),
        predicted=replace(
            buildings([0, 0, 1, 1], [True, True, True, False]), iou=np.array([0.6, 0.9, 0.75, 0])
        ),
        true=buildings([0, 0, 1, 1, 1], [True, True, True, False, False]),
    )
    found = compute_measures(counts, BootstrapDraws.of(counts))
    values = {name: found.estimate(name, 1).value for name in ("pq", "sq", "rq", "footprint_f1")}
    assert values["pq"] == pytest.approx(2.25 / (3 + 0.5 + 1))
    assert values["sq"] == pytest.approx(2.25 / 3)
    assert values["rq"] == values["footprint_f1"] == pytest.approx(values["pq"] / values["sq"])


def test_where_nothing_matches_panoptic_quality_is_zero() -> None:
    counts = replace(counted([50]), predicted=buildings([0], [False]), true=buildings([0], [False]))
    found = compute_measures(counts, BootstrapDraws.of(counts))
    assert found.estimate("pq", 1).value == found.estimate("rq", 1).value == 0
    assert np.isnan(found.estimate("sq", 1).value)


def drawn(tile: list[int], vertices: list[int], **columns: list[float]) -> OutlineTable:
    """Outlines of 10 m each, of which so many metres are near."""
    count = len(tile)
    near = np.array(columns.get("near_m", [0.0] * count), dtype=float)
    return OutlineTable(
        np.ones(count, dtype=np.int64), np.array(tile, dtype=np.int64), np.array(vertices, dtype=np.int64),
        np.full(count, 10.0), np.tile(near, (3, 1)),
        np.array(columns.get("polis_m", [np.nan] * count)), np.array(columns.get("tangent_deg", [np.nan] * count)),
    )  # fmt: skip


def with_outlines(predicted: OutlineTable, true: OutlineTable) -> TileCounts:
    """Two tiles, in which 60 of 100 pixels of either map are building in both."""
    table = np.tile([[0, 20], [20, 60]], (2, 1, 1))
    return replace(
        counted([50, 50]), confusion=Confusion(table), predicted_outlines=predicted, true_outlines=true
    )


def test_shapes_follow_from_their_outlines() -> None:
    predicted = drawn(
        [0, 0, 1], [4, 8, 12], near_m=[10, 4, 1], polis_m=[0.2, np.nan, 0.6], tangent_deg=[10, np.nan, 30]
    )
    counts = with_outlines(predicted, drawn([0, 1], [4, 8], near_m=[8, 2]))
    found = compute_measures(counts, BootstrapDraws.of(counts))
    values = {name: found.estimate(name, 1).value for name in SHAPES}
    assert values["n_ratio"] == pytest.approx(24 / 12)
    assert values["c_iou"] == pytest.approx(0.6 * (1 - 12 / 36))
    assert values["polis_m"] == pytest.approx(0.4)
    assert values["max_tangent_deg"] == pytest.approx(20)
    precision, recall = 15 / 30, 10 / 20
    assert values["boundary_f1_25cm"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert np.isnan(found.estimate("c_iou", 0).value)


@pytest.mark.parametrize(
    ("predicted", "true", "boundary_f1", "n_ratio"),
    [([], [4], 0.0, 0.0), ([4], [], 0.0, np.nan), ([], [], np.nan, np.nan)],
)
def test_where_outlines_are_missing_boundaries_never_meet(
    predicted: list[int], true: list[int], boundary_f1: float, n_ratio: float
) -> None:
    one, other = (drawn([0] * len(each), each) for each in (predicted, true))
    counts = with_outlines(one, other)
    found = compute_measures(counts, BootstrapDraws.of(counts))
    values = [found.estimate(name, 1).value for name in ("boundary_f1_50cm", "n_ratio")]
    np.testing.assert_array_equal(values, [boundary_f1, n_ratio])
    assert np.isnan(found.estimate("polis_m", 1).value)


def test_maps_without_outlines_have_no_shapes() -> None:
    counts = counted([50])
    assert not set(SHAPES) & set(compute_measures(counts, BootstrapDraws.of(counts)).scores)


def test_a_place_alone_scores_as_if_there_were_no_other() -> None:
    places = ["north", "north", "south"]
    predicted, true = (
        buildings([0, 1, 2], [True, False, True]),
        buildings([0, 1, 2, 2], [True, False, True, False]),
    )
    counts = replace(counted([50, 60, 90], places=places), predicted=predicted, true=true)
    found = compute_place_measures(counts)
    assert list(found) == ["north", "south"]
    assert found["north"].overall_accuracy.value == pytest.approx(0.55)
    assert found["south"].estimate("footprint_f1", 1).value == pytest.approx(2 / 3)
    assert np.isnan(found["south"].estimate("iou", 0).low)


@pytest.mark.parametrize(
    ("low", "high", "sure"),
    [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.1, False), (np.nan, np.nan, False)],
)
def test_a_difference_is_sure_where_its_interval_leaves_out_zero(low: float, high: float, sure: bool) -> None:
    assert ScoreEstimate(0.2, low, high).leaves_out_zero is sure
