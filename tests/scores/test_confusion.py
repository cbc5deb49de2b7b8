"""Scores of pixels: closed forms, the counts one by one, and scores published by others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.errors import InputError
from geoseg.scores.confusion import Confusion, average_classes

LABELS = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 255]))


def confusion(rows: list[list[int]]) -> Confusion:
    return Confusion(np.array(rows, dtype=np.int64))


def counted(true: list[int], predicted: list[int], classes: int) -> Confusion:
    table = Confusion.empty(classes)
    table.add(np.array(true), np.array(predicted))
    return table


def test_scores_of_two_classes_follow_from_four_numbers() -> None:
    table = confusion([[50, 10], [5, 35]])
    assert table.iou == pytest.approx([50 / 65, 35 / 50])
    assert table.dice == pytest.approx([100 / 115, 70 / 85])
    assert table.precision == pytest.approx([50 / 55, 35 / 45])
    assert table.recall == pytest.approx([50 / 60, 35 / 40])
    assert table.accuracy == pytest.approx([0.85, 0.85])
    assert table.overall_accuracy == pytest.approx(0.85)


def test_worked_example_of_the_scikit_learn_manual() -> None:
    """precision_recall_fscore_support and jaccard_score of three classes, one of which is never predicted."""
    table = counted([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1], 3)
    assert average_classes(table.precision) == pytest.approx(0.2222, abs=1e-4)
    assert average_classes(table.recall) == pytest.approx(1 / 3)
    assert average_classes(table.dice) == pytest.approx(0.2667, abs=1e-4)
    assert counted([0, 1, 2], [0, 2, 2], 3).iou == pytest.approx([1, 0, 0.5])


def test_worked_examples_of_the_torchmetrics_manual() -> None:
    table = counted([2, 1, 0, 0], [2, 1, 0, 1], 3)
    assert average_classes(table.iou) == pytest.approx(0.6667, abs=1e-4)
    assert average_classes(table.dice) == pytest.approx(0.7778, abs=1e-4)
    assert average_classes(table.precision) == pytest.approx(0.8333, abs=1e-4)
    assert table.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


@given(LABELS, LABELS)
def test_counts_are_those_of_one_pixel_after_another(true: np.ndarray, predicted: np.ndarray) -> None:
    table = Confusion.empty(3)
    table.add(true[:3], predicted[:3])
    table.add(true[3:], predicted[3:])
    pairs = [(t, p) for t, p in zip(true.flat, predicted.flat, strict=True) if 255 not in (t, p)]
    assert table.counts.tolist() == [[pairs.count((t, p)) for p in range(3)] for t in range(3)]


@given(LABELS, LABELS)
def test_dice_and_iou_say_the_same_in_two_scales(true: np.ndarray, predicted: np.ndarray) -> None:
    table = Confusion.empty(3)
    table.add(true, predicted)
    np.testing.assert_allclose(table.dice, 2 * table.iou / (1 + table.iou))


def test_an_absent_class_has_no_score_and_leaves_the_mean_alone() -> None:
    table = counted([0, 1, 1], [0, 1, 0], 3)
    assert np.isnan(table.iou[2])
    assert np.isnan(table.accuracy[2])
    assert average_classes(table.iou) == pytest.approx((0.5 + 0.5) / 2)


def test_a_class_that_is_missed_entirely_scores_nothing() -> None:
    table = counted([1, 1], [0, 0], 2)
    assert table.precision[1] == table.recall[1] == table.dice[1] == 0


def test_several_tables_are_scored_at_once() -> None:
    one, other = confusion([[3, 1], [0, 2]]), confusion([[1, 1], [1, 1]])
    both = Confusion.stack([one, other])
    np.testing.assert_array_equal(both.iou, [one.iou, other.iou])
    np.testing.assert_array_equal(both.total().counts, one.counts + other.counts)


def test_another_value_may_mean_unknown() -> None:
    table = Confusion.empty(2)
    table.add(np.array([0, 1, 99]), np.array([0, 1, 1]), ignore=99)
    assert table.pixels == 2


def test_nothing_counted_has_no_score() -> None:
    assert np.isnan(average_classes(Confusion.empty(2).iou))
    assert np.isnan(Confusion.empty(2).overall_accuracy)


@pytest.mark.parametrize(("true", "predicted", "what"), [([3], [0], "truth"), ([0], [7], "prediction")])
def test_unknown_classes_are_refused(true: list[int], predicted: list[int], what: str) -> None:
    with pytest.raises(
        InputError, match=f"the {what} holds {true[0] or predicted[0]}, which is none of the 2"
    ):
        counted(true, predicted, 2)


def test_a_table_is_square() -> None:
    with pytest.raises(InputError, match="square"):
        Confusion(np.zeros((2, 3), dtype=np.int64))


@given(LABELS, LABELS)
def test_scores_are_those_of_torchmetrics(true: np.ndarray, predicted: np.ndarray) -> None:
    """Compared where there is something to compare; torchmetrics gives 0 to absent classes."""
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    import torch

    known = (true != 255) & (predicted != 255)
    if not known.any():
        return
    table = Confusion.empty(3)
    table.add(true, predicted)
    one, other = (torch.from_numpy(side[known].astype(np.int64)) for side in (predicted, true))
    for ours, theirs in {
        "iou": "jaccard_index", "dice": "f1_score", "precision": "precision", "recall": "recall",
    }.items():  # fmt: skip
        score = getattr(torchmetrics, f"multiclass_{theirs}")(one, other, num_classes=3, average="none")
        np.testing.assert_allclose(np.nan_to_num(getattr(table, ours)), score.numpy(), atol=1e-6)
    macro_iou = torchmetrics.multiclass_jaccard_index(one, other, num_classes=3)
    assert average_classes(table.iou) == pytest.approx(float(macro_iou), abs=1e-6)
