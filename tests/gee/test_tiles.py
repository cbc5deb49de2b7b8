"""The plan of tiles: within the limits, covering once, and going on where it was."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from gee.grid import (
    MOST_BYTES,
    SMALLEST_SIDE,
    TileSizer,
    compute_largest_side,
    count_pixel_bytes,
    count_request_bytes,
    find_unfinished,
    plan_tiles,
    quarter_window,
)
from geoseg.raster.grid import Grid, Window

SIDES = st.integers(1, 3000)


def grid(height, width):
    return Grid(CRS.from_epsg(32633), Affine(10, 0, 0, 0, -10, 0), height, width)


def cover(windows, height, width):
    counts = np.zeros((height, width), int)
    for window in windows:
        counts[window.slices] += 1
    return counts


def test_four_bands_of_sixteen_bits_are_exactly_the_limit_at_2048():
    assert compute_largest_side(["uint16"] * 4) == 2048
    assert count_request_bytes(Window(0, 0, 2048, 2048), ["uint16"] * 4) == MOST_BYTES


def test_the_mask_byte_of_each_band_is_counted():
    """A refusal read in the wild: 57353670 bytes for 1845 x 1727 pixels in two bands of eight bytes."""
    assert count_request_bytes(Window(0, 0, 1727, 1845), ["float64"] * 2) == 57_353_670
    assert count_pixel_bytes(["uint8", "uint16"]) == 5


@given(bands=st.integers(1, 40), dtype=st.sampled_from(["uint8", "uint16", "float32", "float64"]))
def test_the_largest_tile_is_within_the_limit_and_nearly_reaches_it(bands, dtype):
    side = compute_largest_side([dtype] * bands)
    assert side**2 * count_pixel_bytes([dtype] * bands) <= MOST_BYTES
    assert (side + 256) ** 2 * count_pixel_bytes([dtype] * bands) > MOST_BYTES


@given(height=SIDES, width=SIDES, side=st.sampled_from([64, 256, 1024, 2048]))
def test_a_plan_covers_every_pixel_once(height, width, side):
    assert (cover(plan_tiles(grid(height, width), side), height, width) == 1).all()


@given(height=SIDES, width=SIDES)
def test_quarters_cover_their_tile_once_and_are_smaller(height, width):
    window = Window(0, 0, height, width)
    pieces = quarter_window(window)
    assert (cover(pieces, height, width) == 1).all()
    if max(height, width) > SMALLEST_SIDE:
        assert len(pieces) > 1
        assert all(piece.height * piece.width < height * width for piece in pieces)
    else:
        assert pieces == [window]


@given(height=SIDES, width=SIDES, side=st.integers(SMALLEST_SIDE, 2048))
def test_cutting_to_what_works_covers_once_and_keeps_to_it(height, width, side):
    pieces = list(TileSizer(side).cut(Window(0, 0, height, width)))
    assert (cover(pieces, height, width) == 1).all()
    assert all(max(piece.height, piece.width) <= side for piece in pieces)


def test_the_side_of_tiles_only_shrinks():
    sizer = TileSizer(1024)
    sizer.refused(Window(0, 0, 1024, 1024))
    assert sizer.side == 512
    sizer.refused(Window(0, 0, 1024, 1024))
    assert sizer.side == 512
    sizer.refused(Window(0, 0, 10, 10))
    assert sizer.side == SMALLEST_SIDE


@given(data=st.data(), height=st.integers(1, 1500), width=st.integers(1, 1500))
def test_what_is_unfinished_and_what_is_finished_cover_once(data, height, width):
    tiles = plan_tiles(grid(height, width), 512)
    pieces = [
        piece for tile in tiles for piece in TileSizer(data.draw(st.sampled_from([128, 512]))).cut(tile)
    ]
    finished = data.draw(st.sets(st.sampled_from(pieces)))
    left = [piece for tile in tiles for piece in find_unfinished(tile, finished)]
    assert (cover([*left, *finished], height, width) == 1).all()


def test_a_finished_tile_is_not_asked_for():
    tile = Window(0, 0, 512, 512)
    assert list(find_unfinished(tile, {tile})) == []
    assert list(find_unfinished(tile, set())) == [tile]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_only_the_missing_quarters_are_asked_for(done):
    tile = Window(0, 0, 512, 512)
    pieces = quarter_window(tile)
    expected = [tile] if done == 0 else pieces[done:]
    assert list(find_unfinished(tile, set(pieces[:done]))) == expected
