"""How much pixels count for where they lie: gaps between buildings and small buildings count more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.learn.patches.labels import Classes

SIGMA = 3.0
GAP_WEIGHT = 10.0
SMALL_PIXELS = 400
MOST_FOR_SMALL = 4.0


def boundary_weights(classes: Classes, ignore: int) -> NDArray[np.float32]:
    """1 almost everywhere; more where two buildings are near (Ronneberger et al. 2015), and on small buildings."""
    pieces, count = ndimage.label((classes != 0) & (classes != ignore))
    nearest, second = two_nearest(pieces, count)
    gaps = GAP_WEIGHT * np.exp(-((nearest + second) ** 2) / (2 * SIGMA**2)) * (pieces == 0)
    return np.asarray(1 + gaps + smallness(pieces, count), np.float32)


def two_nearest(pieces: NDArray[np.int32], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each pixel's distance to the nearest piece and to the next, infinite beyond the reach of the weights."""
    nearest = np.full(pieces.shape, np.inf, np.float32)
    second = nearest.copy()
    for number, (rows, cols) in numbered_boxes(pieces):
        distance = ndimage.distance_transform_edt(pieces[rows, cols] != number).astype(np.float32)
        here, then = nearest[rows, cols], second[rows, cols]
        second[rows, cols] = np.minimum(then, np.maximum(here, distance))
        nearest[rows, cols] = np.minimum(here, distance)
    return nearest, second


def numbered_boxes(pieces: NDArray[np.int32]) -> Iterator[tuple[int, tuple[slice, slice]]]:
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


def smallness(pieces: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """What small buildings count on top: the square root of how much smaller than 400 pixels they are, less one."""
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    extra = np.clip(np.sqrt(SMALL_PIXELS / np.maximum(sizes, 1)) - 1, 0, MOST_FOR_SMALL)
    extra[0] = 0
    return np.asarray(extra[pieces])
