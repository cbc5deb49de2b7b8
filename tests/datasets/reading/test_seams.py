from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.datasets.reading.labels import find_seams
from geoseg.training.options import TrainOptions

things = arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4))


@given(things)
def test_without_the_seams_no_two_things_touch(numbers: NDArray[np.int32]) -> None:
    classes = (numbers > 0).astype(np.uint8)
    left = np.where(find_seams(numbers, classes), 0, numbers)
    pieces, count = ndimage.label(left)
    assert all(len(np.unique(left[pieces == piece])) == 1 for piece in range(1, count + 1))


@given(things)
def test_seams_lie_where_things_touch_and_nowhere_else(numbers: NDArray[np.int32]) -> None:
    line = find_seams(numbers, (numbers > 0).astype(np.uint8))
    for row, col in np.ndindex(numbers.shape):
        above_and_left = {int(numbers[row - 1, col])} if row else set()
        above_and_left |= {int(numbers[row, col - 1])} if col else set()
        touched = numbers[row, col] > 0 and bool(above_and_left - {0, int(numbers[row, col])})
        assert line[row, col] == touched


def test_things_of_different_classes_may_touch() -> None:
    numbers = np.array([[1, 1, 2, 3]], np.int32)
    assert find_seams(numbers, np.array([[1, 1, 2, 2]], np.uint8)).tolist() == [[False, False, False, True]]


@pytest.mark.parametrize(
    ("seams_", "gsd_m", "apart"),
    [("auto", 0.3, True), ("auto", 0.5, False), ("always", 10.0, True), ("never", 0.3, False)],
)
def test_buildings_are_kept_apart_where_pixels_are_fine_or_where_asked(
    seams_: str, gsd_m: float, apart: bool
) -> None:
    assert TrainOptions().replace({"seams": seams_}).shows_seams(gsd_m) is apart
