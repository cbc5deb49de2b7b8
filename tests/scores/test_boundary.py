"""Boundary IoU: the published definition, done step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion

from geoseg.scores.outlines import compute_boundary_distance, extract_boundary


@given(arrays(np.bool_, (17, 23)), st.integers(1, 6))
def test_a_boundary_is_what_repeated_erosion_takes_away(inside: np.ndarray, distance: int) -> None:
    """Cheng et al. erode by a square of 3 x 3 pixels, once for each pixel of distance."""
    left = binary_erosion(inside, np.ones((3, 3)), iterations=distance)
    np.testing.assert_array_equal(extract_boundary(inside, distance), inside & ~left)


def test_a_square_has_a_frame() -> None:
    inside = np.zeros((30, 30), dtype=bool)
    inside[5:25, 5:25] = True
    assert extract_boundary(inside, 3).sum() == 20**2 - 14**2


@pytest.mark.parametrize(
    ("height", "width", "distance"), [(500, 500, 14), (300, 300, 8), (64, 64, 2), (8, 8, 1), (9728, 8704, 14)]
)
def test_the_distance_is_two_percent_of_the_diagonal(height: int, width: int, distance: int) -> None:
    assert compute_boundary_distance(height, width) == distance
