"""Calibration and best settings: closed forms, and scores that others published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from geoseg.errors import InputError
from geoseg.scores.calibration import (
    LOGITS,
    ProbabilityCounts,
    TemperatureScaling,
    estimate_temperature,
    find_best_min_area,
    find_best_threshold,
    fit_temperature,
    fit_temperature_scaling,
)

TRUTH = arrays(np.bool_, 40)
LEVELS = arrays(np.uint8, 40, elements=st.integers(0, 250))


def counted(truth: list[int], probability: list[float]) -> ProbabilityCounts:
    return ProbabilityCounts.of(np.array(truth, dtype=bool), np.array(probability))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def test_brier_score_of_the_scikit_learn_manual() -> None:
    assert counted([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]).brier == pytest.approx(0.0375)


def test_calibration_error_of_the_torchmetrics_manual() -> None:
    """binary_calibration_error of five probabilities in two bins."""
    counts = counted([0, 1, 0, 1, 1], [0.252, 0.252, 0.552, 0.752, 0.752])
    assert counts.ece(bins=2) == pytest.approx(2 / 5 * abs(0.5 - 0.252) + 3 / 5 * abs(2 / 3 - 2.056 / 3))


@given(TRUTH, LEVELS)
def test_scores_are_those_of_single_pixels(truth: np.ndarray, levels: np.ndarray) -> None:
    counts, probability = ProbabilityCounts.of(truth, levels), levels / 250
    assert counts.brier == pytest.approx(np.mean((probability - truth) ** 2))
    bins = np.minimum(levels.astype(int) * 10 // 250, 9)
    gaps = [abs(sum(probability[bins == b]) - sum(truth[bins == b])) for b in range(10)]
    assert counts.ece(bins=10) == pytest.approx(sum(gaps) / 40, abs=1e-12)


@given(TRUTH, LEVELS)
def test_a_sweep_is_what_each_threshold_gives(truth: np.ndarray, levels: np.ndarray) -> None:
    sweep = ProbabilityCounts.of(truth, levels).sweep()
    for at, threshold in enumerate(sweep.thresholds):
        taken = levels / 250 >= threshold
        assert sweep.hits[at] == (truth & taken).sum()
        assert sweep.false_alarms[at] == (~truth & taken).sum()


@given(TRUTH.filter(np.any), LEVELS)
def test_no_threshold_is_better_than_the_best(truth: np.ndarray, levels: np.ndarray) -> None:
    threshold, iou = find_best_threshold(ProbabilityCounts.of(truth, levels))
    ious = [(truth & (levels >= k)).sum() / (truth | (levels >= k)).sum() for k in range(1, 251)]
    assert iou == pytest.approx(max(ious))
    taken = levels / 250 >= threshold
    assert (truth & taken).sum() / (truth | taken).sum() == pytest.approx(iou)


def test_of_thresholds_that_are_as_good_the_middle_one_is_taken() -> None:
    assert find_best_threshold(counted([0, 1], [0.2, 0.8])) == (pytest.approx(0.5, abs=0.003), 1.0)


def test_decimals_and_bytes_count_alike_and_unknown_is_left_out() -> None:
    truth = np.array([True, False, True])
    of_bytes = ProbabilityCounts.of(truth, np.array([200, 25, 255], dtype=np.uint8))
    of_decimals = ProbabilityCounts.of(truth, np.array([0.8, 0.1, np.nan]))
    np.testing.assert_array_equal(of_bytes.counts, of_decimals.counts)
    assert of_bytes.pixels == 2


def test_tables_add_up() -> None:
    one, other = counted([1], [0.5]), counted([0], [0.1])
    np.testing.assert_array_equal((one + other).counts, counted([1, 0], [0.5, 0.1]).counts)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_of_a_yes_no_model_is_found(temperature: float) -> None:
    logits = np.repeat(np.linspace(-3, 3, 61), 2)
    truth = np.tile([0, 1], 61)
    weights = np.where(truth, sigmoid(logits), 1 - sigmoid(logits))
    assert fit_temperature(logits * temperature, truth, weights) == pytest.approx(temperature, rel=1e-4)


def test_a_known_temperature_of_several_classes_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 4))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = fit_temperature(3 * np.repeat(logits, 4, axis=0), np.tile(range(4), 200), probability.ravel())
    assert found == pytest.approx(3.0, rel=1e-4)


def test_two_classes_and_a_yes_no_model_have_the_same_temperature() -> None:
    rng = np.random.default_rng(1)
    logits, truth = rng.normal(size=300) * 4, rng.integers(0, 2, 300)
    pairs = np.stack([np.zeros(300), logits], axis=1)
    assert fit_temperature(logits, truth) == pytest.approx(fit_temperature(pairs, truth), rel=1e-4)


def test_the_temperature_of_counted_probabilities_is_that_of_the_pixels() -> None:
    logits = np.linspace(-4, 4, 4001)
    truth = np.random.default_rng(2).random(4001) < sigmoid(logits / 2)
    counts = ProbabilityCounts.of(truth, sigmoid(logits))
    assert estimate_temperature(counts) == pytest.approx(fit_temperature(logits, truth), rel=0.01)


def test_temperature_lowers_the_loss_and_the_calibration_error() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=5000) * 2
    truth = rng.random(5000) < sigmoid(logits)
    proud, humble = (ProbabilityCounts.of(truth, sigmoid(logits * factor)) for factor in (4.0, 1.0))
    cooled = ProbabilityCounts.of(truth, sigmoid(logits * 4.0 / fit_temperature(logits * 4.0, truth)))
    assert humble.log_loss <= proud.log_loss
    assert cooled.log_loss <= proud.log_loss
    assert cooled.ece() < proud.ece() / 3


def counts_of(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels that are not and are of the class at each of the logits that are counted."""
    nearest = np.abs(logits[:, None] - LOGITS).argmin(axis=1)
    return np.stack([np.bincount(nearest[truth == side], minlength=len(LOGITS)) for side in (0, 1)])


@pytest.mark.parametrize(
    "known",
    [
        TemperatureScaling(),
        TemperatureScaling(2.5, 0.0),
        TemperatureScaling(0.5, -2.0),
        TemperatureScaling(1.5, 3.0),
    ],
)
def test_a_known_cooling_is_found(known: TemperatureScaling) -> None:
    """From the shares of pixels that are of the class at each logit."""
    at = np.abs(LOGITS) <= 6
    shares = np.where(at, 1e6 * sigmoid(LOGITS / known.temperature + known.offset), 0)
    found = fit_temperature_scaling(LOGITS, np.stack([np.where(at, 1e6, 0) - shares, shares]))
    assert (found.temperature, found.offset) == pytest.approx((known.temperature, known.offset), abs=1e-3)


def test_a_cooling_is_that_of_logistic_regression() -> None:
    """Scipy's general minimiser on single pixels."""
    rng = np.random.default_rng(8)
    logits = np.round(rng.normal(-2, 3, 3000) * 16) / 16
    truth = (rng.random(3000) < sigmoid(0.6 * logits + 1)).astype(int)

    def loss(line: np.ndarray) -> float:
        changed = line[0] * logits + line[1]
        return float(np.mean(np.logaddexp(0, changed) - truth * changed))

    slope, offset = minimize(loss, (1, 0), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    found = fit_temperature_scaling(LOGITS, 1000 * counts_of(logits, truth))
    assert (1 / found.temperature, found.offset) == pytest.approx((slope, offset), rel=1e-4)


@given(st.integers(0, 10**6), st.floats(0.3, 4), st.floats(-4, 4))
def test_totals_come_true_after_cooling(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    logits = np.clip(scale * rng.normal(-1, 2, 2000) + shift, -30, 30)
    truth = (rng.random(2000) < 0.2).astype(int)
    found = fit_temperature_scaling(LOGITS, counts_of(logits, truth))
    said = sigmoid(logits / found.temperature + found.offset)
    assert said.sum() == pytest.approx(truth.sum(), rel=1e-3)


@pytest.mark.parametrize("counts", [[[5, 0], [0, 5]], [[5, 5], [0, 0]], [[0, 5], [5, 0]]])
def test_pixels_that_are_all_told_apart_or_all_alike_still_give_a_cooling(counts: list) -> None:
    found = fit_temperature_scaling(np.array([-3.0, 3.0]), np.array(counts))
    assert 0.05 <= found.temperature <= 20
    assert abs(found.offset) < 10


def test_what_probabilities_add_up_to_is_compared_with_the_truth() -> None:
    counts = counted([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.2])
    assert counts.total_error == pytest.approx(2.6 / 2 - 1)


@given(TRUTH, LEVELS, st.integers(1, 250))
def test_a_threshold_gives_a_confusion_table(truth: np.ndarray, levels: np.ndarray, step: int) -> None:
    table = ProbabilityCounts.of(truth, levels).confusion((step - 0.5) / 250).counts
    taken = levels >= step
    assert table.tolist() == [[(~truth & ~taken).sum(), (~truth & taken).sum()],
                              [(truth & ~taken).sum(), (truth & taken).sum()]]  # fmt: skip


def test_small_wrong_footprints_are_worth_leaving_out() -> None:
    areas = np.array([4.0, 6.0, 50.0, 80.0, 5.0])
    right = np.array([False, False, True, True, False])
    assert find_best_min_area(areas, right, np.array([50.0, 80.0])) == (50.0, 1.0)


AREAS = arrays(np.float64, 12, elements=st.integers(1, 6))


@given(AREAS, arrays(np.bool_, 12), arrays(np.float64, st.integers(12, 20), elements=st.integers(1, 8)))
def test_no_minimum_area_is_better_than_the_best(
    areas: np.ndarray, right: np.ndarray, true: np.ndarray
) -> None:
    """Every area that at most a twentieth of the buildings fall short of, tried one by one."""
    smallest, f1 = find_best_min_area(areas, right, true)
    allowed = [a for a in np.arange(0, 8.25, 0.25) if (true < a).mean() <= 0.05]
    scores = {a: 2 * right[areas >= a].sum() / ((areas >= a).sum() + len(true)) for a in allowed}
    assert f1 == pytest.approx(max(scores.values()))
    assert scores[smallest] == pytest.approx(f1)
    assert all(scores[a] < f1 or (areas >= a).sum() <= (areas >= smallest).sum() for a in allowed)


def test_small_buildings_are_not_given_up_for_a_score() -> None:
    """Half the buildings are small and hardly ever found among ten times as many specks as large."""
    chance = np.random.default_rng(5)
    true = np.concatenate([chance.uniform(8, 14, 100), chance.uniform(60, 200, 100)])
    areas = np.concatenate([true, chance.uniform(1, 20, 1000)])
    right = np.concatenate([chance.random(100) < 0.3, np.ones(100, bool), np.zeros(1000, bool)])
    large = areas >= 30
    alone = 2 * right[large].sum() / (large.sum() + len(true))
    smallest, f1 = find_best_min_area(areas, right, true)
    assert f1 < alone
    assert 7 < smallest <= np.percentile(true, 5)


def test_where_all_footprints_are_right_all_are_kept() -> None:
    assert find_best_min_area(np.array([3.0, 9.0]), np.array([True, True]), np.array([3.0, 9.0])) == (
        0.0,
        1.0,
    )
    assert find_best_min_area(np.array([]), np.array([], dtype=bool), np.ones(3)) == (0.0, 0.0)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(InputError, match="there is 251"):
        ProbabilityCounts.of(np.array([True]), np.array([251], dtype=np.uint8))


def test_no_pixel_of_the_class_gives_no_threshold() -> None:
    with pytest.raises(InputError, match="no pixel is of the class"):
        find_best_threshold(counted([0, 0], [0.1, 0.9]))


def test_no_pixel_gives_no_temperature() -> None:
    with pytest.raises(InputError, match="no pixel"):
        fit_temperature(np.array([]), np.array([]))
    with pytest.raises(InputError, match="no pixel"):
        fit_temperature_scaling(LOGITS, np.zeros((2, len(LOGITS))))


@given(TRUTH, LEVELS)
def test_calibration_error_is_that_of_torchmetrics(truth: np.ndarray, levels: np.ndarray) -> None:
    """In bins whose edges no level lies on, where to put them is a matter of taste."""
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    import torch

    levels = np.where((levels * 7) % 250 == 0, levels + 1, levels) % 250
    score = torchmetrics.binary_calibration_error(
        torch.from_numpy(levels / 250), torch.from_numpy(truth.astype(np.int64)), n_bins=7
    )
    ours = ProbabilityCounts.of(truth, levels.astype(np.uint8)).ece(bins=7)
    assert ours == pytest.approx(float(score), abs=1e-6)
