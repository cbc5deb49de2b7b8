"""COCO's shapes as pixels, exactly as COCO's own tools draw them.

Those tools walk along a polygon's outline on a grid five times finer than the pixels, note where the walk crosses the
middle of a column of pixels, and fill each column between one crossing and the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError

FINER = 5
MIDDLE = 2

Mask = NDArray[np.bool_]


def drawn(segmentation: Any, height: int, width: int) -> Mask:
    """The pixels (row, col) of an annotation's segmentation: a list of polygons, or run lengths."""
    if isinstance(segmentation, Mapping):
        return from_run_lengths(segmentation, height, width)
    mask = np.zeros((height, width), dtype=bool)
    for corners in polygons(segmentation):
        fill(mask, corners)
    return mask


def polygons(segmentation: Any) -> list[NDArray[np.float64]]:
    """The corners (x, y) of each polygon of a segmentation, in pixels from the image's upper left corner."""
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str) or not len(segmentation):
        raise InputError(
            f"segmentation is {str(segmentation)[:40] or 'empty'}, neither polygons nor run lengths"
        )
    return [checked_polygon(polygon) for polygon in segmentation]


def box(corner_and_size: Any) -> list[list[float]]:
    """A COCO bounding box (x, y, width, height) as a segmentation."""
    try:
        x, y, width, height = map(float, corner_and_size)
    except (TypeError, ValueError) as error:
        raise InputError(f"bbox is {str(corner_and_size)[:40]}, not four numbers") from error
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def checked_polygon(polygon: Any) -> NDArray[np.float64]:
    """A polygon's corners (x, y)."""
    try:
        numbers = np.asarray(polygon, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a polygon holds something other than numbers: {str(polygon)[:40]}") from error
    if numbers.ndim != 1 or len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
        raise InputError(f"a polygon needs three or more pairs of numbers, not {str(polygon)[:40]}")
    return numbers.reshape(-1, 2)


def fill(mask: Mask, corners: NDArray[np.float64]) -> None:
    """Add the pixels of one polygon to a mask."""
    height, width = mask.shape
    cols, rows = crossings(corners, height, width)
    if len(cols) == 0:
        return
    first, last = int(cols.min()), int(cols.max()) + 1
    flips = np.bincount((cols - first) * height + rows, minlength=(last - first) * height)
    inside = np.cumsum(flips[: (last - first) * height]) % 2 == 1
    mask[:, first:last] |= inside.reshape(-1, height).T


def crossings(
    corners: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where an outline crosses the middle of columns: the columns, and the first row below each crossing."""
    u, v = walk(corners)
    steps = np.nonzero(u[1:] != u[:-1])[0]
    left = np.minimum(u[steps], u[steps + 1])
    upper = np.minimum(v[steps], v[steps + 1])
    cols, off_middle = np.divmod(left - MIDDLE, FINER)
    inside = (off_middle == 0) & (cols >= 0) & (cols < width)
    rows = np.ceil(np.clip((upper[inside] + 0.5) / FINER - 0.5, 0, height))
    return cols[inside], rows.astype(np.int64)


def walk(corners: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every step of the finer grid along the closed outline."""
    fine = (FINER * corners + 0.5).astype(np.int64)
    begin, end = fine, np.roll(fine, -1, axis=0)
    spans = np.abs(end - begin)
    along = np.argmax(spans, axis=1)  # 0: the edge runs more across than down
    length = spans.max(axis=1)
    edge = np.repeat(np.arange(len(fine)), length + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    # An edge is drawn from its lower end, whichever way it is walked, so that neighbours share their pixels.
    number = np.arange(len(fine))
    backwards = begin[number, along] > end[number, along]
    low, high = np.where(backwards[:, None], end, begin), np.where(backwards[:, None], begin, end)
    slope = (high - low)[number, 1 - along] / np.maximum(length, 1)
    step = np.where(backwards[edge], length[edge] - step, step)
    main = low[number, along][edge] + step
    other = (low[number, 1 - along][edge] + slope[edge] * step + 0.5).astype(np.int64)
    across = along[edge] == 0
    return np.where(across, main, other), np.where(across, other, main)


def from_run_lengths(written: Mapping[str, Any], height: int, width: int) -> Mask:
    """The pixels of run lengths, plain or compressed, column by column and beginning outside."""
    size, counts = written.get("size"), written.get("counts")
    if size is not None and list(size) != [height, width]:
        raise InputError(f"run lengths are for an image of {size}, not of {[height, width]} (height, width)")
    runs = expanded(counts.encode()) if isinstance(counts, str) else checked_runs(counts)
    if runs.sum() != height * width or (runs < 0).any():
        raise InputError(
            f"run lengths cover {runs.sum()} pixels of an image of {height * width}; the file is damaged"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def checked_runs(counts: Any) -> NDArray[np.int64]:
    try:
        runs = np.asarray(counts, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"run lengths are {str(counts)[:40]}, not whole numbers") from error
    if runs.ndim != 1:
        raise InputError(f"run lengths are {str(counts)[:40]}, not a list of whole numbers")
    return runs


def expanded(text: bytes) -> NDArray[np.int64]:
    """Run lengths from COCO's compressed text: five bits a character, lowest first, a sixth for "more to come".

    From the fourth number on, each is the difference from the number two before it.
    """
    letters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(letters) == 0 or (letters < 0).any() or (letters > 63).any() or letters[-1] & 32:
        raise InputError(f"run lengths are {text[:40]!r}, not COCO's compressed text")
    ends = np.nonzero((letters & 32) == 0)[0]
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins > 11).any():
        raise InputError(f"run lengths are {text[:40]!r}, with numbers beyond any image")
    place = np.arange(len(letters)) - np.repeat(begins, ends - begins + 1)
    numbers = np.add.reduceat((letters & 31) << (5 * place), begins)
    numbers -= np.where(letters[ends] & 16, np.int64(1) << (5 * (ends - begins + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
