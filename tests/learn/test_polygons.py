"""Matching footprints: closed forms, and pycocotools on the same boxes."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.learn.scores.polygons import IOU_THRESHOLDS, Outlines, average_precision, matched

BOXES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 9), st.integers(1, 9)), max_size=12
)


def outlines(
    boxes: list[tuple[float, float, float, float]], confidence: list[float] | None = None
) -> Outlines:
    """Boxes given as left, top, width and height."""
    sides = np.array(boxes, dtype=float).reshape(-1, 4)
    polygons = shapely.box(sides[:, 0], sides[:, 1], sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3])
    sure = np.ones(len(boxes)) if confidence is None else np.array(confidence)
    return Outlines(polygons, np.ones(len(boxes), dtype=np.int64), sure)


def by_confidence(predicted: Outlines, true: Outlines) -> np.ndarray:
    order = np.argsort(-predicted.confidence, kind="stable")
    return np.asarray(matched(predicted, true)[:, order] >= 0)


def test_footprints_match_from_the_threshold_on() -> None:
    """Boxes of 10 x 10 shifted by a third of their width share half of what they cover."""
    true = outlines([(0, 0, 12, 10)])
    assert matched(outlines([(4, 0, 12, 10)]), true, np.array([0.5])).tolist() == [[0]]
    assert matched(outlines([(4.01, 0, 12, 10)]), true, np.array([0.5])).tolist() == [[-1]]


def test_a_building_is_found_once_only() -> None:
    found = matched(outlines([(0, 0, 10, 10), (0, 0, 10, 9)], [0.6, 0.9]), outlines([(0, 0, 10, 10)]))
    assert found[0].tolist() == [-1, 0]


def test_of_several_buildings_the_nearest_is_taken() -> None:
    true = outlines([(0, 0, 10, 8), (0, 0, 10, 10)])
    assert matched(outlines([(0, 0, 10, 10)]), true)[0].tolist() == [1]


def test_another_class_is_no_match() -> None:
    other = Outlines(outlines([(0, 0, 10, 10)]).polygons, np.array([2]), np.ones(1))
    assert matched(other, outlines([(0, 0, 10, 10)])).max() == -1


@pytest.mark.parametrize(("predicted", "true"), [([], [(0, 0, 1, 1)]), ([(0, 0, 1, 1)], []), ([], [])])
def test_where_there_is_nothing_nothing_matches(predicted: list, true: list) -> None:
    assert (matched(outlines(predicted), outlines(true)) == -1).all()


def test_average_precision_of_a_worked_example() -> None:
    """Right, wrong, right of two buildings: precision 1 up to recall 0.5, then 2/3; 51 and 50 of 101 levels."""
    right = np.array([[True, False, True]])
    assert average_precision(right, np.ones(3), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_weight_is_as_good_as_a_copy() -> None:
    right = np.array([[True, False, True, False]])
    copies = np.repeat(right, [2, 1, 3, 0], axis=1)
    weighted = average_precision(right, np.array([2, 1, 3, 0]), 7)
    assert weighted == pytest.approx(average_precision(copies, np.ones(6), 7), abs=0.01)


def test_without_buildings_there_is_no_average_precision() -> None:
    assert np.isnan(average_precision(np.zeros((10, 3), dtype=bool), np.ones(3), 0)).all()


@given(BOXES, BOXES.filter(bool), st.randoms(use_true_random=False))
def test_average_precision_and_recall_are_those_of_pycocotools(predicted: list, true: list, chance) -> None:
    pytest.importorskip("pycocotools")
    confidence = chance.sample(range(1, 100), len(predicted))
    right = by_confidence(outlines(predicted, [c / 100 for c in confidence]), outlines(true))
    ours = (
        average_precision(right, np.ones(len(predicted)), len(true)).mean(),
        right.sum(axis=1).mean() / len(true),
    )
    assert ours == pytest.approx(of_pycocotools(predicted, [c / 100 for c in confidence], true), abs=1e-9)


def of_pycocotools(predicted: list, confidence: list[float], true: list) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, scene = COCO(), {"image_id": 1, "category_id": 1}
    truth.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [
            {**scene, "id": n + 1, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(true)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = [
            {**scene, "bbox": list(box), "score": s} for box, s in zip(predicted, confidence, strict=True)
        ]
        if not found:
            return 0.0, 0.0
        run = COCOeval(truth, truth.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"][:, :, 0, 0, -1], run.eval["recall"][:, 0, 0, -1]
    assert len(precision) == len(IOU_THRESHOLDS)
    return float(precision.mean()), float(recall.mean())
