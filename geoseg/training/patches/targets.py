"""What is learnt from a patch beside its classes: weights of pixels, boundaries of buildings, and depth inside them.

Gaps between buildings and small buildings can be given more weight. Boundary and depth follow from the number of the
building that each pixel lies in; a network that learns them can separate buildings that a mask has run together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.datasets.reading.labels import Classes
from geoseg.raster.coding import NODATA, PROBABILITY_STEPS

GAP_WEIGHT, SIGMA = 10.0, 3.0
"""How much a gap between touching buildings counts on top, and how fast that fades with its width in pixels."""
SMALL_PIXELS, MOST_FOR_SMALL = 400, 4.0
"""Smaller buildings count more, up to so much on top."""


def compute_boundary_weights(classes: Classes, ignore: int) -> NDArray[np.float32]:
    """1 almost everywhere; more where two buildings are near (Ronneberger et al. 2015), and on small buildings."""
    pieces, count = ndimage.label((classes != 0) & (classes != ignore))
    nearest, second = find_two_nearest(pieces)
    gaps = GAP_WEIGHT * np.exp(-((nearest + second) ** 2) / (2 * SIGMA**2)) * (pieces == 0)
    return np.asarray(1 + gaps + weigh_small_pieces(pieces, count), np.float32)


def find_two_nearest(pieces: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each pixel's distance to the nearest piece and to the next, infinite beyond the reach of the weights."""
    nearest = np.full(pieces.shape, np.inf, np.float32)
    second = nearest.copy()
    for number, (rows, cols) in list_piece_boxes(pieces):
        distance = ndimage.distance_transform_edt(pieces[rows, cols] != number).astype(np.float32)
        here, then = nearest[rows, cols], second[rows, cols]
        second[rows, cols] = np.minimum(then, np.maximum(here, distance))
        nearest[rows, cols] = np.minimum(here, distance)
    return nearest, second


def list_piece_boxes(pieces: NDArray[np.int32]) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Each piece's number, and its box with what is in reach of it."""
    reach = int(4 * SIGMA)
    for i, (rows, cols) in enumerate(ndimage.find_objects(pieces)):
        yield (
            i + 1,
            (
                slice(max(0, rows.start - reach), rows.stop + reach),
                slice(max(0, cols.start - reach), cols.stop + reach),
            ),
        )


def weigh_small_pieces(pieces: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """What small buildings count on top: the square root of how much smaller than 400 pixels they are, less one."""
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    extra = np.clip(np.sqrt(SMALL_PIXELS / np.maximum(sizes, 1)) - 1, 0, MOST_FOR_SMALL)
    extra[0] = 0
    return np.asarray(extra[pieces])


GAP_PIXELS = 4
"""Gaps up to this wide, 1.2 m at 0.3 m, are boundary as well: they are where buildings run together. An even number."""
DEEPEST_PIXELS = 15
"""Depth is cut off here, 4.5 m at 0.3 m: deeper inside, no pixel can tell how far away the walls are."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class SeparationTargets:
    """Two planes (row, col): boundary 0 or 1, and distance to the boundary in 250ths of the deepest; 255 is unknown."""

    boundary: Bytes
    distance: Bytes

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> SeparationTargets:
        return cls(np.full(shape, NODATA, np.uint8), np.full(shape, NODATA, np.uint8))


def compute_separation(buildings: NDArray[np.int32], known: NDArray[np.bool_]) -> SeparationTargets:
    """Boundary and distance of each pixel from the number of its building, 0 where there is none."""
    inside = buildings > 0
    edge = find_boundaries(buildings)
    boundary = (edge | (find_gaps(buildings) & ~inside)).astype(np.uint8)
    # The way out of a building leads through its own edge, so the nearest edge of any building is that of its own.
    depth = np.where(inside, ndimage.distance_transform_edt(~(edge & inside)) + 0.5, 0)
    depth = np.minimum(depth, DEEPEST_PIXELS)
    distance = np.rint(depth * (PROBABILITY_STEPS / DEEPEST_PIXELS)).astype(np.uint8)
    # Where the patch ends, or the unknown begins, before the building's edge is met, nobody can say how far it is.
    hidden = inside & (measure_distance_to_unknown(known) < depth)
    return SeparationTargets(
        np.where(known, boundary, NODATA).astype(np.uint8),
        np.where(known & ~hidden, distance, NODATA).astype(np.uint8),
    )


def find_boundaries(buildings: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels one of whose eight neighbours is of another building, or of none."""
    most = ndimage.maximum_filter(buildings, 3, mode="nearest")
    least = ndimage.minimum_filter(buildings, 3, mode="nearest")
    return np.asarray(most != least)


def find_gaps(buildings: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of gaps that are narrow enough: one building lies within half their width, another one pixel further."""
    near, far = GAP_PIXELS + 1, GAP_PIXELS + 3
    highest = np.iinfo(buildings.dtype).max
    most = ndimage.maximum_filter(buildings, far, mode="nearest")
    least = ndimage.minimum_filter(np.where(buildings > 0, buildings, highest), far, mode="nearest")
    return np.asarray((least < most) & (ndimage.maximum_filter(buildings, near, mode="nearest") > 0))


def measure_distance_to_unknown(known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each pixel is from the nearest one that is not known; all beyond the patch are not."""
    rows, cols = (np.minimum(np.arange(size), np.arange(size)[::-1]) + 1.0 for size in known.shape)
    to_rim = np.minimum(rows[:, None], cols)
    return to_rim if known.all() else np.minimum(to_rim, ndimage.distance_transform_edt(known))
