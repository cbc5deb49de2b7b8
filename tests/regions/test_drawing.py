"""How many points each stratum gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.regions.drawing import FLOOR_POINTS, Strata, allocate_points


def make_strata(pixels: list[int], likely: list[float]) -> Strata:
    counts, names = np.array([pixels]), tuple(map(str, range(len(pixels))))
    return Strata(names, names, np.arange(len(pixels)), counts, 4.0 * counts, np.array(likely))


def test_without_a_limit_the_rest_follows_neyman() -> None:
    strata = make_strata([90_000, 10_000], [0.03, 0.85])
    weights = np.array([0.9, 0.1]) * np.sqrt([0.03 * 0.97, 0.85 * 0.15])
    expected = FLOOR_POINTS + 200 * weights / weights.sum()
    assert allocate_points(300, strata) == pytest.approx(expected, abs=1)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(16, 1000), st.integers(0, 2**32 - 1)
)
def test_all_points_are_drawn_as_long_as_there_are_pixels(pixels: list[int], points: int, seed: int) -> None:
    """What a stratum of few pixels cannot take, others get."""
    likely = np.random.default_rng(seed).uniform(0.02, 0.98, len(pixels)).tolist()
    drawn = allocate_points(points, make_strata(pixels, likely))
    assert drawn.sum() == min(points, sum(pixels))
    assert ((drawn >= 1) & (drawn <= pixels)).all()
