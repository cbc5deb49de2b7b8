from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.raster.plan import Plan, reflect_indices


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    patch = draw(st.integers(1, 80))
    return Plan(
        height=draw(st.integers(1, 300)),
        width=draw(st.integers(1, 300)),
        patch=patch,
        overlap=draw(st.integers(0, patch // 2)),
        strip_patch_rows=draw(st.integers(1, 9)),
    )


@given(plans())
def test_strips_own_every_row_once(plan: Plan) -> None:
    rows = [row for strip in plan.strips for row in range(strip.row, strip.stop_row)]
    assert rows == list(range(plan.height))


@given(plans())
def test_patch_rows_finish_every_row_once_and_in_their_own_strip(plan: Plan) -> None:
    for strip in plan.strips:
        finished = [row for k in plan.strip_patches(strip) for row in range(*plan.rows_finished(k))]
        assert finished == list(range(strip.row, strip.stop_row))


@given(plans())
def test_at_most_two_patch_rows_see_a_row_and_at_least_one(plan: Plan) -> None:
    seen = np.zeros(plan.height, int)
    for k in range(plan.patch_rows):
        seen[k * plan.stride : k * plan.stride + plan.patch] += 1
    assert seen.min() >= 1
    assert seen.max() <= 2


@given(plans())
def test_rows_read_hold_all_that_patches_see(plan: Plan) -> None:
    for k in range(plan.patch_rows):
        first, stop = plan.rows_read(range(k, k + 1))
        seen = reflect_indices(k * plan.stride, k * plan.stride + plan.patch, plan.height)
        assert first <= seen.min()
        assert seen.max() < stop <= plan.height


@given(plans())
def test_ramps_of_two_neighbours_sum_to_one(plan: Plan) -> None:
    ramp = plan.ramp
    assert len(ramp) + 2 * plan.margin == plan.overlap
    assert ramp + ramp[::-1] == pytest.approx(np.ones(len(ramp)))


@given(st.integers(1, 40), st.integers(0, 200))
def test_mirroring_is_what_numpy_pads(size: int, beyond: int) -> None:
    values = np.arange(size)
    assert (
        values[reflect_indices(0, size + beyond, size)] == np.pad(values, (0, beyond), mode="reflect")
    ).all()


@given(plans(), st.integers(0, 2**32 - 1))
def test_seen_patches_are_those_with_a_known_pixel(plan: Plan, seed: int) -> None:
    valid = np.random.default_rng(seed).random((3, plan.width)) < 0.02
    lefts = [k * plan.stride for k in range(plan.patch_cols)]
    expected = [k for k, left in enumerate(lefts) if valid[:, left : left + plan.patch].any()]
    assert plan.find_seen_patches(valid).tolist() == expected


def count_looked_at(length: int, patch: int, overlap: int) -> int:
    """Pixels of an axis that patches look at, one patch after the other until the last pixel is seen."""
    start = 0
    while start + patch < length:
        start += patch - overlap
    return len(range(0, start + 1, patch - overlap)) * patch


@given(plans(), st.sampled_from([1, 2, 8, 32]))
def test_fitted_patches_compute_the_fewest_pixels(plan: Plan, step: int) -> None:
    costs = {
        side: count_looked_at(plan.height, side, plan.overlap)
        * count_looked_at(plan.width, side, plan.overlap)
        for side in range(plan.patch, plan.patch * 3 // 2 + 1, step)
    }
    fitted = plan.fit(step)
    assert fitted.computed_pixels == costs[fitted.patch] == min(costs.values())
    assert (fitted.height, fitted.width, fitted.overlap) == (plan.height, plan.width, plan.overlap)


@pytest.mark.parametrize(
    ("side", "patch", "share"), [(100, 512, 26.2), (512, 512, 1), (1_024, 544, 1.13), (8_192, 608, 1.24)]
)
def test_patches_fit_common_scenes(side: int, patch: int, share: float) -> None:
    fitted = Plan.for_size(side, side, 512, 64).fit(32)
    assert fitted.patch == patch
    assert fitted.computed_pixels / side**2 == pytest.approx(share, rel=0.01)


def test_strip_height_depends_on_width_only() -> None:
    low, tall = Plan.for_size(5_000, 8_192, 512, 64), Plan.for_size(500_000, 8_192, 512, 64)
    assert low.strip_patch_rows == tall.strip_patch_rows == 1
    assert Plan.for_size(1, 1, 512, 64).patches == 1


@pytest.mark.parametrize(
    ("patch", "overlap", "rows", "message"),
    [
        (0, 0, 1, "`patch` 0"),
        (-512, 0, 1, "`patch` -512"),
        (512, -1, 1, "`overlap` -1"),
        (512, 257, 1, "0 to 256"),
        (512, 10**12, 1, "0 to 256"),
        (512, 64, 0, "at least one row"),
    ],
)
def test_senseless_plans_are_refused(patch: int, overlap: int, rows: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Plan(100, 100, patch, overlap, rows)
