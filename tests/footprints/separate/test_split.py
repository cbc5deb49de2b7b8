"""Buildings that touch are parted at necks and where the probability dips; others stay whole."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.footprints.separate.rules import NeckRule
from geoseg.footprints.separate.split import split_footprints
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.rings import Stitcher, TracedFootprints, build_footprints
from geoseg.raster.coding import FINE_STEPS

KEEPING = JoinRules(keeps_pixels=True)


def footprints(mask, probability=None, height=None, joining=KEEPING) -> TracedFootprints:
    stitcher = Stitcher(mask.shape[1], joining)
    step = height or len(mask)
    batches = []
    for row in range(0, len(mask), step):
        values = None if probability is None else probability[row : row + step]
        batches.append(
            build_footprints(stitcher.add(trace_outlines(mask[row : row + step], row, joining, values)))
        )
    return TracedFootprints.merge([*batches, build_footprints(stitcher.finish())])


def split_touching(whole: TracedFootprints, joining: JoinRules = KEEPING) -> TracedFootprints:
    return split_footprints(whole, NeckRule(), joining)


def canvas(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((60, 90), dtype=np.uint8)
    for row, col, height, width in boxes:
        mask[row : row + height, col : col + width] = 1
    return mask


TWO_WITH_A_NECK = canvas((10, 10, 20, 20), (10, 40, 20, 20), (18, 30, 4, 10))
CORNER_TO_CORNER = canvas((5, 5, 20, 20), (20, 23, 20, 20))
SINGLE = {
    "a square": canvas((5, 5, 30, 30)),
    "a long house": canvas((5, 5, 12, 70)),
    "an L": canvas((5, 5, 40, 15), (30, 5, 15, 60)),
    "a U around a yard": canvas((5, 5, 12, 60), (5, 5, 45, 12), (5, 53, 45, 12)),
    "a house with a small porch": canvas((5, 5, 30, 30), (18, 35, 4, 4)),
    "a thin wall": canvas((5, 5, 2, 70)),
}


@pytest.mark.parametrize("mask", [TWO_WITH_A_NECK, CORNER_TO_CORNER], ids=["neck", "corner to corner"])
def test_two_houses_are_parted_without_gap_or_overlap(mask: np.ndarray) -> None:
    whole = footprints(mask)
    parts = split_touching(whole)
    assert (len(whole), len(parts)) == (1, 2)
    assert shapely.equals(shapely.union_all(parts.polygons), whole.polygons[0])
    assert shapely.intersection(*parts.polygons).area == 0
    assert parts.cluster[0] == parts.cluster[1]
    smaller = shapely.area(parts.polygons).min()
    assert smaller > 0.4 * whole.polygons[0].area


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_building_stays_whole(name: str) -> None:
    whole = footprints(SINGLE[name])
    assert [p.wkt for p in split_touching(whole).polygons] == [p.wkt for p in whole.polygons]


def row_of_houses() -> tuple[np.ndarray, np.ndarray]:
    """Four roofs wall to wall: no neck anywhere, but the network doubts the walls between."""
    mask = canvas((20, 5, 24, 80))
    probability = np.where(mask == 1, np.uint16(0.95 * FINE_STEPS), np.uint16(0))
    for wall in (25, 45, 65):
        probability[:, wall - 1 : wall + 1] = np.minimum(
            probability[:, wall - 1 : wall + 1], int(0.6 * FINE_STEPS)
        )
    return mask, probability


def test_roofs_wall_to_wall_are_parted_where_the_probability_dips() -> None:
    mask, probability = row_of_houses()
    assert len(split_touching(footprints(mask))) == 1
    parts = split_touching(footprints(mask, probability))
    assert len(parts) == 4
    np.testing.assert_allclose(shapely.area(parts.polygons), 20 * 24, atol=24)
    assert shapely.equals(shapely.union_all(parts.polygons), shapely.box(5, 20, 85, 44))


def test_each_part_has_the_confidence_of_its_own_pixels() -> None:
    mask, probability = TWO_WITH_A_NECK, np.full(TWO_WITH_A_NECK.shape, FINE_STEPS // 2, dtype=np.uint16)
    probability[:, 35:] = FINE_STEPS
    whole = footprints(mask, probability)
    parts = split_touching(whole)
    assert parts.probability.sum() == whole.probability.sum()
    assert parts.known.sum() == whole.known.sum()
    left, right = np.argsort(shapely.bounds(parts.polygons)[:, 0])
    assert parts.probability[left] / parts.known[left] < 0.6 * FINE_STEPS
    assert parts.probability[right] / parts.known[right] == FINE_STEPS


def test_class_and_nodata_are_inherited() -> None:
    mask = TWO_WITH_A_NECK * np.uint8(7)
    mask[15, 60] = 255
    parts = split_touching(footprints(mask))
    assert parts.value.tolist() == [7, 7]
    assert parts.touches_nodata.all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 60), connectivity=st.sampled_from([4, 8]))
def test_strips_do_not_matter(seed: int, height: int, connectivity: int) -> None:
    chance = np.random.default_rng(seed)
    boxes = [(*chance.integers(0, (50, 75)), *chance.integers(4, 25, 2)) for _ in range(9)]
    mask = canvas(*boxes)
    probability = chance.integers(0, FINE_STEPS, mask.shape).astype(np.uint16)
    joining = JoinRules(connectivity=connectivity, keeps_pixels=True)
    whole = split_touching(footprints(mask, probability, joining=joining), joining)
    cut = split_touching(footprints(mask, probability, height, joining), joining)
    assert [p.wkt for p in cut.polygons] == [p.wkt for p in whole.polygons]
    np.testing.assert_array_equal(cut.probability, whole.probability)
    assert shapely.is_valid(whole.polygons).all()
    assert shapely.area(whole.polygons).sum() == (mask == 1).sum()


def test_nothing_to_part() -> None:
    assert len(split_touching(footprints(canvas()))) == 0
