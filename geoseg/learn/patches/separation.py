"""What tells where one building ends: its boundary and the gaps to its neighbours, and how deep a pixel lies inside it.

Both follow from the number of the building that each pixel lies in. A network that learns them beside the building
itself can be asked for single buildings, where a mask has run them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

GAP_PIXELS = 4
"""Gaps up to this wide, 1.2 m at 0.3 m, are boundary as well: they are where buildings run together. An even number."""
DEEPEST_PIXELS = 15
"""Depth is cut off here, 4.5 m at 0.3 m: deeper inside, no pixel can tell how far away the walls are."""
STEPS = 250
UNKNOWN = 255

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Separation:
    """Two planes (row, col): boundary 0 or 1, and distance to the boundary in 250ths of the deepest; 255 is unknown."""

    boundary: Bytes
    distance: Bytes

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> Separation:
        return cls(np.full(shape, UNKNOWN, np.uint8), np.full(shape, UNKNOWN, np.uint8))


def separate(buildings: NDArray[np.int32], known: NDArray[np.bool_]) -> Separation:
    """Boundary and distance of each pixel from the number of its building, 0 where there is none."""
    inside = buildings > 0
    edge = changes(buildings)
    boundary = (edge | (gaps(buildings) & ~inside)).astype(np.uint8)
    # The way out of a building leads through its own edge, so the nearest edge of any building is that of its own.
    depth = np.where(inside, ndimage.distance_transform_edt(~(edge & inside)) + 0.5, 0)
    depth = np.minimum(depth, DEEPEST_PIXELS)
    distance = np.rint(depth * (STEPS / DEEPEST_PIXELS)).astype(np.uint8)
    # Where the patch ends, or the unknown begins, before the building's edge is met, nobody can say how far it is.
    hidden = inside & (to_unknown(known) < depth)
    return Separation(
        np.where(known, boundary, UNKNOWN).astype(np.uint8),
        np.where(known & ~hidden, distance, UNKNOWN).astype(np.uint8),
    )


def changes(buildings: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels one of whose eight neighbours is of another building, or of none."""
    most = ndimage.maximum_filter(buildings, 3, mode="nearest")
    least = ndimage.minimum_filter(buildings, 3, mode="nearest")
    return np.asarray(most != least)


def gaps(buildings: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of gaps that are narrow enough: one building lies within half their width, another one pixel further."""
    near, far = GAP_PIXELS + 1, GAP_PIXELS + 3
    highest = np.iinfo(buildings.dtype).max
    most = ndimage.maximum_filter(buildings, far, mode="nearest")
    least = ndimage.minimum_filter(np.where(buildings > 0, buildings, highest), far, mode="nearest")
    return np.asarray((least < most) & (ndimage.maximum_filter(buildings, near, mode="nearest") > 0))


def to_unknown(known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each pixel is from the nearest one that is not known; all beyond the patch are not."""
    rows, cols = (np.minimum(np.arange(size), np.arange(size)[::-1]) + 1.0 for size in known.shape)
    to_rim = np.minimum(rows[:, None], cols)
    return to_rim if known.all() else np.minimum(to_rim, ndimage.distance_transform_edt(known))
