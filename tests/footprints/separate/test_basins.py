"""Joining of basins against the plainest way to do it, and windows side by side on a sheet."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.footprints.separate.basins import BasinGraph, Body, Border, list_borders
from geoseg.footprints.separate.sheet import place_windows

Labels = NDArray[np.int32]


def stays_apart(border: Border, one: Body, other: Body) -> bool:
    return (
        border.height < 0.6 * min(one.summit, other.summit)
        and border.doubt >= 0.5 * border.length
        and min(one.pixels, other.pixels) >= 3
    )


def join_plainly(basins: Labels, relief: NDArray[np.float64], doubt: NDArray[np.float64]) -> Labels:
    """Look at every two bodies anew, the highest pass first, until all stay apart."""
    bodies = basins.copy()
    while True:
        numbers = np.unique(bodies[bodies > 0]).tolist()
        meeting = [
            (border, one, other)
            for one, other in combinations(numbers, 2)
            if (border := meet(bodies == one, bodies == other, relief, doubt)) is not None
        ]
        known = {n: Body(relief[bodies == n].max(), int((bodies == n).sum())) for n in numbers}
        wrong = [
            (-b.height, one, other)
            for b, one, other in meeting
            if not stays_apart(b, known[one], known[other])
        ]
        if not wrong:
            return bodies
        _, one, other = min(wrong)
        bodies[bodies == other] = one


def meet(
    one: NDArray[np.bool_], other: NDArray[np.bool_], relief: NDArray[np.float64], doubt: NDArray[np.float64]
) -> Border | None:
    heights, doubts = [], []
    for row, col in np.argwhere(one):
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            at = row + down, col + right
            if 0 <= at[0] < one.shape[0] and 0 <= at[1] < one.shape[1] and other[at]:
                heights.append(min(relief[row, col], relief[at]))
                doubts.append((doubt[row, col] + doubt[at]) / 2)
    return Border((-max(heights), 0, 0), len(heights), sum(doubts)) if heights else None


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), side=st.integers(2, 9), number=st.integers(1, 9))
def test_basins_join_as_if_all_borders_were_measured_anew(seed: int, side: int, number: int) -> None:
    chance = np.random.default_rng(seed)
    basins = chance.integers(0, number + 1, (side, side)).astype(np.int32)
    basins = np.unique(basins, return_inverse=True)[1].reshape(side, side).astype(np.int32)
    basins[0, 0] = 0
    basins = np.pad(basins, 1)
    side += 2
    relief = chance.permutation(side * side).reshape(side, side) + 1.0
    doubt = chance.integers(0, 2, (side, side)).astype(np.float64)
    summits = np.array([relief[basins == n].max(initial=0) for n in range(basins.max() + 1)])
    alone = np.arange(len(summits))
    joined = BasinGraph(basins, summits, alone, relief, doubt, 4).join(stays_apart)[basins]
    plain = join_plainly(basins, relief, doubt)
    pairs = set(zip(joined.ravel().tolist(), plain.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(joined)) == len(np.unique(plain))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), side=st.integers(3, 12), connectivity=st.sampled_from([4, 8]))
def test_basins_that_are_surely_one_body_may_be_joined_beforehand(
    seed: int, side: int, connectivity: int
) -> None:
    chance = np.random.default_rng(seed)
    basins = np.pad(chance.integers(0, 9, (side, side)), 1)
    basins = np.unique(basins, return_inverse=True)[1].reshape(basins.shape).astype(np.int32)
    relief = chance.integers(1, 9, basins.shape).astype(np.float64)  # passes of one height are many
    doubt = chance.integers(0, 2, basins.shape).astype(np.float64)
    summits = np.array([relief[basins == n].max() for n in range(basins.max() + 1)])
    alone = np.arange(len(summits))
    leader, high = alone.copy(), 0.6 * summits[1:].max()
    for one, other, border in list_borders(basins, alone, relief, doubt, connectivity):
        if border.height >= high:
            leader[leader == leader[other]] = leader[[one, other]].min()
            leader[leader == leader[one]] = leader[[one, other]].min()
    plain, prepared = (
        BasinGraph(basins, summits, leaders, relief, doubt, connectivity).join(stays_apart)
        for leaders in (alone, leader)
    )
    np.testing.assert_array_equal(prepared, plain)


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 700)), min_size=1, max_size=30))
def test_windows_on_a_sheet_never_overlap(shapes: list[tuple[int, int]]) -> None:
    slots, size = place_windows(*zip(*shapes, strict=True), room=0)
    sheet = np.zeros(size, dtype=int)
    for slot in slots:
        sheet[slot] += 1
    assert sheet.max() == 1
    assert [(rows.stop - rows.start, cols.stop - cols.start) for rows, cols in slots] == shapes
    assert sheet.sum() == sum(height * width for height, width in shapes)
