"""How a scene is cut into patches, and its rows into strips.

The patches lie on a regular grid that starts at the scene's first pixel and may reach beyond its far edges.
Neighbours overlap by at most half a patch, so a pixel row belongs to at most two rows of patches. A strip is a run
of patch rows with the scene's rows that it owns: the one unit of work for prediction, polygons and resuming.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.raster.grid import Grid, Window

STRIP_PIXELS = 4_000_000
"""What a strip holds at most where rows are not too wide for it: a few dozen megabytes of memory with all that is made of it."""

MOST_OF_USUAL = 1.5
"""How much larger than usual patches may be: a pixel costs a network the same in all of them, but memory grows with their area.

They are never smaller: beyond the edges of a small scene a network sees it mirrored, which misleads it less than padding.
"""


@dataclass(frozen=True)
class Strip:
    """A run of the scene's rows, from `row` up to but without `stop_row`."""

    index: int
    row: int
    stop_row: int

    @property
    def height(self) -> int:
        return self.stop_row - self.row

    def place(self, grid: Grid) -> Grid:
        """Where its rows of a grid lie."""
        return grid.window(Window(self.row, 0, self.height, grid.width))


@dataclass(frozen=True)
class Plan:
    """The patches of a scene of `height` x `width` pixels, `patch` pixels square, `overlap` shared by neighbours."""

    height: int
    width: int
    patch: int
    overlap: int
    strip_patch_rows: int

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise InputError(f"`patch` {self.patch}: a patch needs at least 1 pixel")
        if not 0 <= self.overlap <= self.patch // 2:
            raise InputError(
                f"`overlap` {self.overlap}: patches of {self.patch} pixels may overlap by 0 to {self.patch // 2}"
            )
        if self.strip_patch_rows < 1:
            raise InputError(f"a strip needs at least one row of patches, not {self.strip_patch_rows}")

    @classmethod
    def for_size(cls, height: int, width: int, patch: int, overlap: int) -> Plan:
        """A plan whose strips hold about four megapixels, so that memory depends on the width alone."""
        stride = max(1, patch - overlap)
        return cls(height, width, patch, overlap, max(1, STRIP_PIXELS // (stride * max(1, width))))

    def fit(self, step: int) -> Plan:
        """The plan in which a network computes the fewest pixels, with patches of this size or some steps larger.

        Pixels of the overlaps are computed twice, and the last patches reach beyond the scene.
        """
        sides = range(self.patch, int(self.patch * MOST_OF_USUAL) + 1, step)
        plans = [Plan.for_size(self.height, self.width, side, self.overlap) for side in sides]
        return min(plans, key=lambda plan: plan.computed_pixels)

    @property
    def computed_pixels(self) -> int:
        return self.patches * self.patch**2

    @property
    def stride(self) -> int:
        return self.patch - self.overlap

    @property
    def margin(self) -> int:
        """Outermost pixels of an inner patch edge that are not trusted: padding misleads a network there."""
        return min(self.overlap // 2, max(2, self.overlap // 4))

    @cached_property
    def ramp(self) -> NDArray[np.float32]:
        """How much the later of two neighbours counts, across the trusted part of their overlap."""
        steps = self.overlap - 2 * self.margin
        return (np.arange(1, steps + 1, dtype=np.float32) / np.float32(steps + 1)).astype(np.float32)

    @property
    def patch_rows(self) -> int:
        return count_patches(self.height, self.patch, self.stride)

    @property
    def patch_cols(self) -> int:
        return count_patches(self.width, self.patch, self.stride)

    @property
    def patches(self) -> int:
        return self.patch_rows * self.patch_cols

    @cached_property
    def strips(self) -> tuple[Strip, ...]:
        firsts = range(0, self.patch_rows, self.strip_patch_rows)
        rows = [first * self.stride for first in firsts] + [self.height]
        return tuple(Strip(i, rows[i], rows[i + 1]) for i in range(len(firsts)))

    def strip_patches(self, strip: Strip) -> range:
        """The rows of patches that begin in a strip."""
        stop = self.patch_rows if strip.stop_row == self.height else strip.stop_row // self.stride
        return range(strip.row // self.stride, stop)

    def rows_read(self, patch_rows: range) -> tuple[int, int]:
        """The scene's rows, first and stop, that a run of patch rows looks at.

        Patches that reach beyond the last row see the scene mirrored there, so rows further up are read as well.
        """
        first = patch_rows.start * self.stride
        beyond = (patch_rows.stop - 1) * self.stride + self.patch - self.height
        if beyond <= 0:
            return first, self.height + beyond
        return max(0, min(first, self.height - 1 - beyond)), self.height

    def rows_finished(self, patch_row: int) -> tuple[int, int]:
        """The scene's rows that are final once a row of patches has been added to the one above it."""
        last = patch_row == self.patch_rows - 1
        return patch_row * self.stride, self.height if last else (patch_row + 1) * self.stride

    def find_seen_patches(self, valid: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Which patches of a patch row, given the validity of its rows, hold any valid pixel."""
        counts = np.concatenate([[0], np.cumsum(valid.any(axis=0))])
        starts = np.arange(self.patch_cols) * self.stride
        stops = np.minimum(starts + self.patch, self.width)
        return np.flatnonzero(counts[stops] > counts[starts])


def count_patches(size: int, patch: int, stride: int) -> int:
    """How many patches cover `size` pixels."""
    return 1 if size <= patch else -(-(size - patch) // stride) + 1


def reflect_indices(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Indices `start` to `stop` of an axis of `size` pixels that is mirrored at its ends, as often as needed."""
    if size == 1:
        return np.zeros(stop - start, dtype=np.intp)
    period = 2 * (size - 1)
    position = np.arange(start, stop) % period
    return np.minimum(position, period - position)
