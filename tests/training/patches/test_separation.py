from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.raster.coding import NODATA, PROBABILITY_STEPS
from geoseg.training.patches.targets import DEEPEST_PIXELS, GAP_PIXELS, compute_separation


def blocks(seed: int, side: int = 48) -> Any:
    """Rectangles with numbers of their own; later ones lie above earlier ones."""
    chance = np.random.default_rng(seed)
    numbers = np.zeros((side, side), np.int32)
    for i in range(6):
        row, col = chance.integers(0, side - 4, 2)
        height, width = chance.integers(3, 24, 2)
        numbers[row : row + height, col : col + width] = i + 1
    return numbers


@given(seed=st.integers(0, 10_000))
def test_both_planes_are_what_a_look_at_every_building_alone_gives(seed: int) -> None:
    numbers = blocks(seed)
    known = np.ones(numbers.shape, bool)
    found = compute_separation(numbers, known)
    for number in np.unique(numbers[numbers > 0]):
        own = numbers == number
        depth = ndimage.distance_transform_edt(np.pad(own, 1, mode="edge"))[1:-1, 1:-1]
        told = found.distance[own] != NODATA
        expected = np.minimum(depth, DEEPEST_PIXELS)[own][told]
        assert (
            np.abs(found.distance[own][told] / PROBABILITY_STEPS * DEEPEST_PIXELS - expected).max(initial=0)
            < 1.01
        )
    assert (found.distance[numbers == 0] == 0).all()
    edges = ndimage.generic_filter(numbers, lambda near: float(len(set(near)) > 1), 3, mode="nearest") > 0
    assert (found.boundary[edges] == 1).all()
    assert (found.boundary[(numbers > 0) & ~edges] == 0).all()


def test_narrow_gaps_are_boundary_and_wide_ones_are_not() -> None:
    numbers = np.zeros((40, 90), np.int32)
    numbers[5:35, 5:30], numbers[5:35, 30 + GAP_PIXELS : 60], numbers[5:35, 75:88] = 1, 2, 3
    boundary = compute_separation(numbers, np.ones(numbers.shape, bool)).boundary
    assert (boundary[20, 30 : 30 + GAP_PIXELS] == 1).all()
    assert (boundary[20, 61:74] == 0).all()
    numbers[5:35, 30 + GAP_PIXELS] = 0
    wider = compute_separation(numbers, np.ones(numbers.shape, bool)).boundary[20, 30 : 31 + GAP_PIXELS]
    assert wider.tolist() == [1, *[0] * (GAP_PIXELS - 1), 1]


def test_touching_buildings_have_a_boundary_between_them_and_no_depth_there() -> None:
    numbers = np.ones((60, 60), np.int32)
    numbers[:, 30:] = 2
    found = compute_separation(np.pad(numbers, 5), np.ones((70, 70), bool))
    assert (found.boundary[35, 34:36] == 1).all()
    assert (found.distance[35, 34:36] <= PROBABILITY_STEPS / DEEPEST_PIXELS).all()
    assert found.distance[35, 20] > 0.95 * PROBABILITY_STEPS


def test_what_the_end_of_a_patch_or_the_unknown_hides_is_not_told() -> None:
    numbers = np.ones((64, 64), np.int32)
    found = compute_separation(numbers, np.ones(numbers.shape, bool))
    assert (found.distance[32, :10] == NODATA).all()
    assert found.distance[32, 32] == PROBABILITY_STEPS
    known = np.ones(numbers.shape, bool)
    known[:, :20] = False
    found = compute_separation(numbers, known)
    assert (found.boundary[~known] == NODATA).all()
    assert (found.distance[32, 20:28] == NODATA).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 50)])
def test_nothing_anywhere_is_no_boundary(shape: tuple[int, int]) -> None:
    found = compute_separation(np.zeros(shape, np.int32), np.ones(shape, bool))
    assert not found.boundary.any()
    assert not found.distance.any()
