"""The pixels of several footprints laid out side by side on one sheet, so that all are worked on in one go.

Every footprint has a window with a margin of one pixel that belongs to none, and as much room between windows as a filter
reaches, so that neighbours on the sheet know nothing of one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.footprints.polygons import Flags, Ints, find_starts, number_items, number_rows
from geoseg.footprints.trace.pieces import ComponentRuns
from geoseg.raster.coding import Values

NARROWEST = 256
MARGIN = 1

Slot = tuple[slice, slice]


@dataclass(frozen=True)
class Sheet:
    """Where windows lie: `owner` has for each pixel the number of the footprint it is of, -1 for none.

    `shifts` (row, col) lead from the sheet to where each window lies in the raster. `probability` is in steps, `boundary`
    and `distance` are in 250ths, 0 outside; what nobody told is none.
    """

    slots: tuple[Slot, ...]
    owner: NDArray[np.int32]
    shifts: Ints
    probability: Values | None = None
    boundary: Values | None = None
    distance: Values | None = None

    @cached_property
    def inside(self) -> Flags:
        return np.asarray(self.owner >= 0)


@dataclass(frozen=True)
class OwnRuns:
    """The runs of pixels of each footprint, those of one behind those of the other."""

    runs: ComponentRuns
    order: Ints
    stops: Ints
    first_pixel: Ints

    @classmethod
    def of(cls, runs: ComponentRuns, number: int) -> OwnRuns:
        order = np.argsort(runs.component, kind="stable")
        stops = np.cumsum(np.bincount(runs.component, minlength=number))
        return cls(runs, order, stops, find_starts(runs.length))

    def draw(self, numbers: Ints, room: int) -> Sheet:
        """Some footprints on a sheet, with room between their windows."""
        counts = np.diff(self.stops, prepend=0)[numbers]
        mine = self.order[np.repeat(self.stops[numbers] - counts, counts) + number_items(counts)]
        owner, first = number_rows(counts), find_starts(counts)
        row, col, length = self.runs.row[mine], self.runs.col[mine], self.runs.length[mine]
        top, bottom = np.minimum.reduceat(row, first), np.maximum.reduceat(row, first)
        left, right = np.minimum.reduceat(col, first), np.maximum.reduceat(col + length, first)
        heights, widths = bottom + 1 - top + 2 * MARGIN, right - left + 2 * MARGIN
        slots, shape = place_windows(heights.tolist(), widths.tolist(), room)
        corners = np.array([(rows.start, cols.start) for rows, cols in slots]) + MARGIN
        shifts = np.stack([top, left], axis=1) - corners
        start = (row - shifts[owner, 0]) * shape[1] + col - shifts[owner, 1]
        place = np.repeat(start, length) + number_items(length)
        pixel = np.repeat(self.first_pixel[mine], length) + number_items(length)
        layers = (
            draw_layer(values[pixel], place, shape) if len(values) else None
            for values in (self.runs.probability, self.runs.boundary, self.runs.distance)
        )
        owners = draw_layer(np.repeat(owner, length).astype(np.int32), place, shape, -1)
        return Sheet(tuple(slots), owners, shifts, *layers)


def draw_layer(values: Values, place: Ints, shape: tuple[int, int], elsewhere: int = 0) -> Values:
    """Values at their places on a sheet."""
    layer = np.full(shape, elsewhere, dtype=values.dtype)
    layer.ravel()[place] = values
    return layer


def place_windows(
    heights: Sequence[int], widths: Sequence[int], room: int
) -> tuple[list[Slot], tuple[int, int]]:
    """A slot for each window, the tallest first, row after row; and the size of the whole sheet."""
    widest = max(NARROWEST, *widths)
    slots: list[Slot] = [(slice(0), slice(0))] * len(heights)
    top = left = bottom = 0
    for number in sorted(range(len(heights)), key=lambda number: -heights[number]):
        height, width = heights[number], widths[number]
        if left + width > widest:
            top, left = bottom + room, 0
        slots[number] = slice(top, top + height), slice(left, left + width)
        left, bottom = left + width + room, max(bottom, top + height)
    return slots, (bottom, max(slot.stop for _, slot in slots))
