"""Buildings are separated where a network sees a boundary between them, whatever the strips."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from geoseg.footprints.separate import split
from geoseg.footprints.separate.rules import BoundaryRule, NeckRule
from geoseg.footprints.separate.split import split_footprints
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.rings import Stitcher, TracedFootprints, build_footprints
from geoseg.training.patches.targets import compute_separation

KEEPING = JoinRules(keeps_pixels=True)
Bytes = NDArray[np.uint8]


def traced(
    mask: Bytes, separators: Bytes | None, height: int | None = None, joining: JoinRules = KEEPING
) -> TracedFootprints:
    stitcher = Stitcher(mask.shape[1], joining)
    batches = []
    for row in range(0, len(mask), height or len(mask)):
        rows = slice(row, row + (height or len(mask)))
        told = None if separators is None else separators[:, rows]
        batches.append(build_footprints(stitcher.add(trace_outlines(mask[rows], row, joining, None, told))))
    return TracedFootprints.merge([*batches, build_footprints(stitcher.finish())])


def terrace(houses: int = 5, height: int = 24, width: int = 18) -> NDArray[np.int32]:
    """The numbers of houses wall to wall, with a free one beside them."""
    numbers = np.zeros((70, houses * width + 20), dtype=np.int32)
    for house in range(houses):
        numbers[8 : 8 + height, 8 + house * width : 8 + (house + 1) * width] = house + 1
    numbers[45:62, 10:40] = houses + 1
    return numbers


def outputs_of(numbers: NDArray[np.int32]) -> Bytes:
    """What a network that has learnt everything says: boundary and distance in 250ths."""
    told = compute_separation(numbers, np.ones(numbers.shape, dtype=bool))
    distance = np.where(told.distance == 255, 250, told.distance)
    return np.stack([told.boundary * np.uint8(250), distance.astype(np.uint8)])


def noisy(mask: Bytes, chance: np.random.Generator) -> Bytes:
    """Outputs of a network that has learnt little."""
    return np.stack(
        [gaussian_filter(chance.uniform(0, 350, mask.shape), 1).clip(0, 250).astype(np.uint8) for _ in "bd"]
    )


def speckled(chance: np.random.Generator, shape: tuple[int, int] = (60, 70)) -> Bytes:
    noise = gaussian_filter(chance.normal(size=shape), 2)
    return (noise > chance.normal(0, 0.05)).astype(np.uint8)


def wkt(footprints: TracedFootprints) -> list[str]:
    return [polygon.wkt for polygon in footprints.polygons]


def test_houses_wall_to_wall_become_as_many_footprints() -> None:
    numbers = terrace()
    mask = (numbers > 0).astype(np.uint8)
    whole = traced(mask, outputs_of(numbers))
    parts = split_footprints(whole, BoundaryRule(), KEEPING)
    assert (len(whole), len(parts)) == (2, 6)
    assert len(np.unique(parts.cluster)) == 2
    assert shapely.equals(shapely.union_all(parts.polygons), shapely.union_all(whole.polygons))
    assert shapely.area(parts.polygons).sum() == mask.sum()
    for number in range(1, 7):
        row, col = np.nonzero(numbers == number)
        true = shapely.box(col.min(), row.min(), col.max() + 1, row.max() + 1)
        shared = shapely.area(shapely.intersection(parts.polygons, true))
        assert (shared / shapely.area(shapely.union(parts.polygons, true))).max() > 0.9


def test_a_wall_that_the_network_doubts_does_not_part() -> None:
    numbers = terrace()
    told = outputs_of(numbers)
    told[0] = told[0] // 5
    whole = traced((numbers > 0).astype(np.uint8), told)
    assert wkt(split_footprints(whole, BoundaryRule(), KEEPING)) == wkt(whole)


def test_a_boundary_without_depth_on_both_sides_does_not_part() -> None:
    numbers = terrace()
    told = outputs_of(numbers)
    told[1] = np.where(numbers > 0, 200, 0)
    whole = traced((numbers > 0).astype(np.uint8), told)
    assert wkt(split_footprints(whole, BoundaryRule(lowest_pass=0.01), KEEPING)) == wkt(whole)


@pytest.mark.parametrize(("share", "parts"), [(0.0, 2), (0.1, 2), (0.4, 1), (0.8, 1)])
def test_the_pass_between_two_buildings_is_much_lower_than_their_summits(share: float, parts: int) -> None:
    """Between two roofs of one building the network sees a valley as well, but a shallow one."""
    mask = np.zeros((40, 70), dtype=np.uint8)
    mask[10:30, 5:65] = 1
    distance = mask * np.uint8(140)
    distance[:, 32:38] = distance[:, 32:38] * share
    boundary = np.zeros_like(mask)
    boundary[10:30, 32:38] = 100
    # The boundary lowers the relief as well: here only the distance is to tell how deep the valley is.
    relief = (distance / (1 - boundary / 250)).astype(np.uint8)
    whole = traced(mask, np.stack([boundary, relief]))
    assert len(split_footprints(whole, BoundaryRule(), KEEPING)) == parts


def test_a_part_too_small_to_stay_is_part_of_its_neighbour() -> None:
    numbers = terrace()
    numbers[8:17, 8:17] = 9
    whole = traced((numbers > 0).astype(np.uint8), outputs_of(numbers))
    assert len(split_footprints(whole, BoundaryRule(), KEEPING)) == 7
    assert len(split_footprints(whole, BoundaryRule(least_pixels=100), KEEPING)) == 6


@pytest.mark.parametrize(
    "told", [None, np.zeros((2, 70, 110), dtype=np.uint8), np.full((2, 70, 110), 255, np.uint8)]
)
def test_without_word_from_a_network_all_stays_whole(told: Bytes | None) -> None:
    whole = traced((terrace() > 0).astype(np.uint8), told)
    assert wkt(split_footprints(whole, BoundaryRule(), KEEPING)) == wkt(whole)


def test_buildings_that_meet_at_a_corner_stay_one_where_corners_join() -> None:
    joining = JoinRules(connectivity=8, keeps_pixels=True)
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[5:15, 5:15] = mask[15:25, 15:25] = 1
    told = np.stack([np.zeros_like(mask), mask * np.uint8(250)])
    assert len(split_footprints(traced(mask, told, joining=joining), BoundaryRule(), joining)) == 1
    numbers = mask.astype(np.int32)
    numbers[15:] *= 2
    assert (
        len(split_footprints(traced(mask, outputs_of(numbers), joining=joining), BoundaryRule(), joining))
        == 2
    )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 60),
    connectivity=st.sampled_from([4, 8]),
    largest=st.sampled_from([200, 1500, 10**6]),
)
def test_strips_do_not_matter(seed: int, height: int, connectivity: int, largest: int) -> None:
    chance = np.random.default_rng(seed)
    mask = speckled(chance)
    told = noisy(mask, chance)
    joining = JoinRules(connectivity=connectivity, keeps_pixels=True, largest_box_pixels=largest)
    rule = BoundaryRule(lowest_pass=0.9, least_boundary=0.3, least_pixels=4)
    whole = split_footprints(traced(mask, told, joining=joining), rule, joining)
    cut = split_footprints(traced(mask, told, height, joining), rule, joining)
    assert wkt(cut) == wkt(whole)
    assert (cut.order == whole.order).all()
    assert shapely.is_valid(whole.polygons).all()
    assert shapely.area(whole.polygons).sum() == (mask == 1).sum()


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    pixels=st.integers(1, 3000),
    rule=st.sampled_from([BoundaryRule(0.9), NeckRule()]),
)
def test_footprints_looked_at_together_do_not_see_one_another(
    seed: int, pixels: int, rule: BoundaryRule | NeckRule
) -> None:
    chance = np.random.default_rng(seed)
    mask = speckled(chance)
    whole = traced(mask, noisy(mask, chance))
    expected = wkt(split_footprints(whole, rule, KEEPING))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "SHEET_PIXELS", pixels)
        assert wkt(split_footprints(whole, rule, KEEPING)) == expected


def test_a_footprint_that_outgrows_all_bounds_stays_whole_and_leaves_no_pixels_behind() -> None:
    joining = JoinRules(keeps_pixels=True, largest_box_pixels=400)
    stitcher = Stitcher(40, joining)
    rows = np.ones((4, 40), dtype=np.uint8)
    rows[:, ::5] = 0
    rows[0] = 1
    told = np.full((2, 4, 40), 125, dtype=np.uint8)
    kept = []
    for row in range(0, 400, 4):
        stitcher.add(trace_outlines(rows, row, joining, None, told))
        kept.append(len(stitcher._open.runs.boundary))
    assert max(kept) <= 400
    assert kept[-1] == 0
    (polygon,) = split_footprints(build_footprints(stitcher.finish()), BoundaryRule(), joining).polygons
    assert polygon.bounds == (0, 0, 40, 400)
