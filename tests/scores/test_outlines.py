"""Matching footprints: closed forms, and pycocotools on the same boxes and masks."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.evaluation.footprints import OutlineTracer
from geoseg.evaluation.inputs.maps import MapStrip
from geoseg.scores.outlines import (
    IOU_THRESHOLDS,
    SIZES,
    FootprintOutlines,
    OutlineOverlaps,
    SizeMatches,
    compute_average_precision,
    match_by_size,
    match_outlines,
)

BOXES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 9), st.integers(1, 9)), max_size=12
)


def outlines(
    boxes: list[tuple[float, float, float, float]], confidence: list[float] | None = None
) -> FootprintOutlines:
    """Boxes given as left, top, width and height."""
    sides = np.array(boxes, dtype=float).reshape(-1, 4)
    polygons = shapely.box(sides[:, 0], sides[:, 1], sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3])
    sure = np.ones(len(boxes)) if confidence is None else np.array(confidence)
    return FootprintOutlines(polygons, np.ones(len(boxes), dtype=np.int64), sure)


def by_confidence(predicted: FootprintOutlines, true: FootprintOutlines) -> np.ndarray:
    order = np.argsort(-predicted.confidence, kind="stable")
    return np.asarray(match_outlines(predicted, true)[:, order] >= 0)


def test_footprints_match_from_the_threshold_on() -> None:
    """Boxes of 10 x 10 shifted by a third of their width share half of what they cover."""
    true = outlines([(0, 0, 12, 10)])
    assert match_outlines(outlines([(4, 0, 12, 10)]), true, np.array([0.5])).tolist() == [[0]]
    assert match_outlines(outlines([(4.01, 0, 12, 10)]), true, np.array([0.5])).tolist() == [[-1]]


def test_a_building_is_found_once_only() -> None:
    found = match_outlines(outlines([(0, 0, 10, 10), (0, 0, 10, 9)], [0.6, 0.9]), outlines([(0, 0, 10, 10)]))
    assert found[0].tolist() == [-1, 0]


def test_of_several_buildings_the_nearest_is_taken() -> None:
    true = outlines([(0, 0, 10, 8), (0, 0, 10, 10)])
    assert match_outlines(outlines([(0, 0, 10, 10)]), true)[0].tolist() == [1]


def test_another_class_is_no_match() -> None:
    other = FootprintOutlines(outlines([(0, 0, 10, 10)]).polygons, np.array([2]), np.ones(1))
    assert match_outlines(other, outlines([(0, 0, 10, 10)])).max() == -1


@pytest.mark.parametrize(("predicted", "true"), [([], [(0, 0, 1, 1)]), ([(0, 0, 1, 1)], []), ([], [])])
def test_where_there_is_nothing_nothing_matches(predicted: list, true: list) -> None:
    assert (match_outlines(outlines(predicted), outlines(true)) == -1).all()


def test_average_precision_of_a_worked_example() -> None:
    """Right, wrong, right of two buildings: precision 1 up to recall 0.5, then 2/3; 51 and 50 of 101 levels."""
    right = np.array([[True, False, True]])
    assert compute_average_precision(right, np.ones(3), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_weight_is_as_good_as_a_copy() -> None:
    right = np.array([[True, False, True, False]])
    copies = np.repeat(right, [2, 1, 3, 0], axis=1)
    weighted = compute_average_precision(right, np.array([2, 1, 3, 0]), 7)
    assert weighted == pytest.approx(compute_average_precision(copies, np.ones(6), 7), abs=0.01)


def test_without_buildings_there_is_no_average_precision() -> None:
    assert np.isnan(compute_average_precision(np.zeros((10, 3), dtype=bool), np.ones(3), 0)).all()


@given(BOXES, BOXES.filter(bool), st.randoms(use_true_random=False))
def test_average_precision_and_recall_are_those_of_pycocotools(predicted: list, true: list, chance) -> None:
    pytest.importorskip("pycocotools")
    confidence = chance.sample(range(1, 100), len(predicted))
    right = by_confidence(outlines(predicted, [c / 100 for c in confidence]), outlines(true))
    ours = (
        compute_average_precision(right, np.ones(len(predicted)), len(true)).mean(),
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


def test_a_footprint_counts_in_the_size_of_its_partner_or_its_own() -> None:
    """A medium footprint with a small partner is small; one without a partner is medium."""
    true = outlines([(0, 0, 30, 30)])
    predicted, of_truth = matched_by_size(outlines([(0, 0, 33, 32), (100, 0, 33, 32)]), true)
    assert predicted.counted[:, 0].tolist() == [[True, False], [False, True], [False, False]]
    assert predicted.matched[:, 0].tolist() == [[True, False], [False, False], [False, False]]
    assert of_truth.matched[:, 0].tolist() == of_truth.counted[:, 0].tolist() == [[True], [False], [False]]


def matched_by_size(predicted: FootprintOutlines, true: FootprintOutlines) -> tuple[SizeMatches, SizeMatches]:
    return match_by_size(predicted, true, OutlineOverlaps.between(predicted, true))


@pytest.mark.parametrize(("predicted", "true"), [([], [(0, 0, 1, 1)]), ([(0, 0, 1, 1)], []), ([], [])])
def test_nothing_has_no_size(predicted: list, true: list) -> None:
    one, other = matched_by_size(outlines(predicted), outlines(true))
    assert one.counted.shape == (3, 10, len(predicted))
    assert other.counted[0].all()
    assert not one.matched.any()
    assert not other.matched.any()


ACROSS_SIZES = st.lists(
    st.tuples(*[st.integers(0, 12)] * 2, *[st.sampled_from([8, 30, 32, 34, 90, 96, 100, 130])] * 2),
    min_size=1,
    max_size=9,
)


@given(ACROSS_SIZES, ACROSS_SIZES, st.randoms(use_true_random=False))
def test_average_precision_by_size_of_overlapping_boxes(predicted: list, true: list, chance) -> None:
    pytest.importorskip("pycocotools")
    sure = [c / 100 for c in chance.sample(range(1, 100), len(predicted))]
    both = outlines(predicted, sure), outlines(true)
    masks = [[box_mask(box, (144, 144)) for box in boxes] for boxes in (predicted, true)]
    assert sized_precision(*both) == pytest.approx(coco_by_size(*masks, sure), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_by_size_of_traced_masks(seed: int) -> None:
    """Buildings of any shape, predicted with ragged edges, some missed and some made up."""
    pytest.importorskip("pycocotools")
    chance = np.random.default_rng(seed)
    truth = painted(chance, 40)
    doubtful = chance.random(truth.shape) < 0.3
    found = np.where(doubtful, ndimage.binary_dilation(truth, iterations=2), truth).astype(np.uint8)
    found = ndimage.binary_opening(found, iterations=1).astype(np.uint8) | (painted(chance, 3) & ~truth)
    predicted, true = traced(found), traced(truth)
    sure = chance.permutation(len(predicted)) / len(predicted)
    masks = [
        [polygon_mask(polygon, truth.shape) for polygon in outlines.polygons]
        for outlines in (predicted, true)
    ]
    ours = sized_precision(FootprintOutlines(predicted.polygons, predicted.classes, sure), true)
    assert ours == pytest.approx(coco_by_size(*masks, sure.tolist()), abs=1e-9, nan_ok=True)
    assert np.nanmax(ours) > 0.2


def painted(chance: np.random.Generator, number: int) -> np.ndarray:
    """Rectangles of all sizes, some of which make shapes with more than four corners."""
    mask = np.zeros((400, 400), np.uint8)
    for _ in range(number):
        height, width = chance.choice([12, 20, 34, 60, 120], 2)
        row, col = chance.integers(0, 400 - height), chance.integers(0, 400 - width)
        mask[row : row + height, col : col + width] = chance.random() < 0.6
    return mask


def traced(mask: np.ndarray) -> FootprintOutlines:
    tracer = OutlineTracer(mask.shape[1])
    tracer.add(slice(0, len(mask)), MapStrip(mask))
    return tracer.finish()


def polygon_mask(polygon: shapely.Polygon, shape: tuple[int, int]) -> np.ndarray:
    from rasterio.features import rasterize

    return np.asarray(rasterize([polygon], shape, dtype="uint8"))


def box_mask(box: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
    return mask


def sized_precision(predicted: FootprintOutlines, true: FootprintOutlines) -> list[float]:
    one, other = matched_by_size(predicted, true)
    order = np.argsort(-predicted.confidence, kind="stable")
    return [
        float(compute_average_precision(right[:, order], counted[:, order], present[0].sum()).mean())
        for right, counted, present in zip(one.matched, one.counted, other.counted, strict=True)
    ]


def coco_by_size(predicted: list, true: list, confidence: list[float]) -> list[float]:
    """What pycocotools says of masks."""
    from pycocotools import mask as masks
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entry(mask: np.ndarray) -> dict:
        segmentation = masks.encode(np.asfortranarray(mask))
        return {"image_id": 1, "category_id": 1, "segmentation": segmentation, "area": int(mask.sum())}

    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1, "height": true[0].shape[0], "width": true[0].shape[1]}],
        "categories": [{"id": 1}],
        "annotations": [{**entry(mask), "id": n + 1, "iscrowd": 0} for n, mask in enumerate(true)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = [{**entry(mask), "score": score} for mask, score in zip(predicted, confidence, strict=True)]
        run = COCOeval(truth, truth.loadRes(found), "segm")
        run.params.maxDets = [1, 10, 1000]
        run.evaluate()
        run.accumulate()
    assert run.params.areaRngLbl[1:] == list(SIZES)
    precision = run.eval["precision"][:, :, 0, 1:, -1]
    return [float(each.mean()) if each.min() >= 0 else float("nan") for each in np.moveaxis(precision, 2, 0)]
