from __future__ import annotations

import pytest
from made import card

from geoseg.inference.job import find_best_gsd


@pytest.mark.parametrize(
    ("native_m", "best_m"),
    [(0.05, 0.3), (0.2, 0.3), (0.25, 0.25), (0.3, 0.3), (0.5, 0.5), (0.6, 0.6), (0.7, 0.6), (1.0, 0.6)],
)
def test_scenes_keep_their_pixels_where_the_model_takes_them(native_m: float, best_m: float) -> None:
    assert find_best_gsd(native_m, card(gsd_m=0.3, gsd_range_m=(0.15, 0.6))) == best_m


def test_a_model_that_tolerates_nothing_still_takes_pixels_near_its_own() -> None:
    strict = card(gsd_m=0.3, gsd_range_m=(0.3, 0.3))
    assert find_best_gsd(0.33, strict) == 0.33
    assert find_best_gsd(0.9, strict) == pytest.approx(0.375)
