from __future__ import annotations

from typing import Any

import pytest
from made import card

from geoseg.inference.job import find_best_gsd, find_patch_step


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


@pytest.mark.parametrize(
    ("architecture", "step"),
    [
        ({}, 32),
        ({"encoder_depth": 3}, 8),
        ({"encoder_depth": 5, "encoder_output_stride": 16}, 16),
        ({"encoder_depth": 3, "encoder_output_stride": 16}, 8),
        ({"encoder_output_stride": None}, 32),
    ],
)
def test_a_patch_is_a_multiple_of_what_the_encoder_shrinks(architecture: dict[str, Any], step: int) -> None:
    """DeepLabV3+ trains on patches of 368 pixels, and so has to run on them."""
    assert find_patch_step(architecture) == step
