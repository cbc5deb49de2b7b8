"""Windows of several footprints laid out side by side on one sheet, so that all are worked on in one go.

Every window has a margin that belongs to no footprint, so neighbours on the sheet do not touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.footprints.polygons import Ints
from geoseg.footprints.separate.rules import OwnPixels
from geoseg.raster.coding import Values

NARROWEST = 256


@dataclass(frozen=True)
class Sheet:
    """Where windows lie: `owner` has for each pixel the number of the window whose footprint it is of, -1 for none.

    `shifts` (row, col) lead from the sheet to where each window lies in the raster.
    """

    slots: tuple[tuple[slice, slice], ...]
    owner: NDArray[np.int32]
    shifts: Ints

    @classmethod
    def of(cls, windows: Sequence[OwnPixels]) -> Sheet:
        slots, shape = place_windows([own.inside.shape for own in windows])
        owner = np.full(shape, -1, dtype=np.int32)
        for number, (slot, own) in enumerate(zip(slots, windows, strict=True)):
            owner[slot][own.inside] = number
        places = [
            (own.row - rows.start, own.col - cols.start)
            for (rows, cols), own in zip(slots, windows, strict=True)
        ]
        return cls(tuple(slots), owner, np.array(places))

    def draw(self, layers: Sequence[Values]) -> Values:
        """One layer of each window in its slot."""
        sheet = np.zeros(self.owner.shape, dtype=layers[0].dtype)
        for slot, layer in zip(self.slots, layers, strict=True):
            sheet[slot] = layer
        return sheet


def place_windows(shapes: Sequence[tuple[int, ...]]) -> tuple[list[tuple[slice, slice]], tuple[int, int]]:
    """A slot for each window, the tallest first, row after row; and the size of the whole sheet."""
    widest = max(NARROWEST, *(width for _, width in shapes))
    slots: list[tuple[slice, slice]] = [(slice(0), slice(0))] * len(shapes)
    top = left = bottom = 0
    for number in sorted(range(len(shapes)), key=lambda number: -shapes[number][0]):
        height, width = shapes[number]
        if left + width > widest:
            top, left = bottom, 0
        slots[number] = slice(top, top + height), slice(left, left + width)
        left, bottom = left + width, max(bottom, top + height)
    return slots, (bottom, max(slot.stop for _, slot in slots))
