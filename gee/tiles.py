"""How a grid is cut into requests that Earth Engine accepts. Pure: no network, no disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import isqrt

import numpy as np

from geoseg.raster.grid import Grid, Window

MOST_BYTES = 48 * 2**20
MOST_PIXELS_A_SIDE = 32_768
SIDE_STEP = 256
SMALLEST_SIDE = 64


def pixel_bytes(dtypes: Collection[str]) -> int:
    """What Earth Engine counts for a pixel: each band's own bytes and one more for its mask."""
    return sum(np.dtype(dtype).itemsize + 1 for dtype in dtypes)


def request_bytes(window: Window, dtypes: Collection[str]) -> int:
    """What Earth Engine counts for one request."""
    return window.height * window.width * pixel_bytes(dtypes)


def largest_side(dtypes: Collection[str]) -> int:
    """The side of the largest square tile that may be asked for, in whole steps."""
    side = min(isqrt(MOST_BYTES // pixel_bytes(dtypes)), MOST_PIXELS_A_SIDE)
    return max(side // SIDE_STEP * SIDE_STEP, SMALLEST_SIDE)


def plan(grid: Grid, side: int) -> list[Window]:
    """The tiles of a grid, row by row."""
    return [
        Window(row, col, min(side, grid.height - row), min(side, grid.width - col))
        for row in range(0, grid.height, side)
        for col in range(0, grid.width, side)
    ]


def quarters(window: Window) -> list[Window]:
    """A tile cut in two along each side that is long enough, near the middle and on round pixels."""
    return [
        Window(window.row + row, window.col + col, height, width)
        for row, height in halves(window.height)
        for col, width in halves(window.width)
    ]


def halves(length: int) -> list[tuple[int, int]]:
    """Where the halves of a side start, and how long they are."""
    if length <= SMALLEST_SIDE:
        return [(0, length)]
    step = SIDE_STEP if length > SIDE_STEP else SMALLEST_SIDE
    first = -(-length // (2 * step)) * step
    return [(0, first), (first, length - first)] if first < length else [(0, length)]


def unfinished(window: Window, finished: Collection[Window]) -> Iterator[Window]:
    """What is left to ask for of a tile, some of whose pieces may have been fetched before."""
    if window in finished:
        return
    pieces = quarters(window)
    if len(pieces) > 1 and any(inside(tile, window) for tile in finished):
        for piece in pieces:
            yield from unfinished(piece, finished)
    else:
        yield window


def inside(inner: Window, outer: Window) -> bool:
    """Whether a window lies within another."""
    return (
        outer.row <= inner.row
        and outer.col <= inner.col
        and inner.stop_row <= outer.stop_row
        and inner.stop_col <= outer.stop_col
    )


@dataclass
class Appetite:
    """The largest tile that the service has shown it can make: it only ever shrinks."""

    side: int

    def refused(self, window: Window) -> None:
        """Remember that a tile was too much."""
        self.side = max(SMALLEST_SIDE, min(self.side, max(window.height, window.width) // 2))

    def exceeds(self, window: Window) -> bool:
        """Whether a tile is larger than what is known to work, and can still be cut."""
        return max(window.height, window.width) > self.side and len(quarters(window)) > 1

    def cut(self, window: Window) -> Iterator[Window]:
        """A tile, in pieces that are known to work."""
        if self.exceeds(window):
            for piece in quarters(window):
                yield from self.cut(piece)
        else:
            yield window
