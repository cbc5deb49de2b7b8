"""Ground recognised by its own small marks, wherever an image was cut and however its colours were stretched.

A landmark is a spot that stands out from its surroundings; its word says which of fixed pairs of pixels near it is the
brighter one. Words survive any brightening or stretching, and two images of the same ground share many of them at one
and the same offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH = 12
APART = 9
MOST_PER_MEGAPIXEL = 4000
FEWEST = 200
COMMON = 16
STEP = 3
ENOUGH_VOTES = 4

# Pairs of places around a landmark (row, col, row, col), drawn once and for all.
PROBES = np.random.default_rng(5).integers(2 - REACH, REACH - 1, (64, 4))


@dataclass(frozen=True)
class Landmarks:
    """Where landmarks lie in an image, and their words."""

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    words: NDArray[np.uint64]

    def moved(self, row: int, col: int) -> Landmarks:
        return Landmarks(self.rows + np.int32(row), self.cols + np.int32(col), self.words)


@dataclass(frozen=True)
class Match:
    """Two images with ground in common: pixel (row, col) of the first is (row - rows, col - cols) of the second."""

    first: int
    second: int
    rows: int
    cols: int
    votes: int


def landmarks(gray: NDArray[Any]) -> Landmarks:
    """The clearest landmarks of an image (row, col)."""
    image = gray.astype(np.float32)
    smooth = ndimage.gaussian_filter(image, 1.0)
    contrast = smooth - ndimage.gaussian_filter(image, 2.5)
    peaks = (contrast == ndimage.maximum_filter(contrast, APART)) | (
        contrast == ndimage.minimum_filter(contrast, APART)
    )
    peaks &= np.abs(contrast) > 0.5
    peaks[:REACH] = peaks[-REACH:] = False
    peaks[:, :REACH] = peaks[:, -REACH:] = False
    # What stands out from its own neighbourhood is found again in every crop, however dull it is.
    clarity = np.abs(contrast) / (ndimage.uniform_filter(np.abs(contrast), 61) + 1e-3)
    rows, cols = np.nonzero(peaks)
    most = max(FEWEST, int(MOST_PER_MEGAPIXEL * gray.size / 1e6))
    clearest = np.argsort(-clarity[rows, cols], kind="stable")[:most]
    rows, cols = rows[clearest], cols[clearest]
    return Landmarks(rows.astype(np.int32), cols.astype(np.int32), words(smooth, rows, cols))


def words(smooth: NDArray[np.float32], rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.uint64]:
    one = smooth[rows[:, None] + PROBES[:, 0], cols[:, None] + PROBES[:, 1]]
    other = smooth[rows[:, None] + PROBES[:, 2], cols[:, None] + PROBES[:, 3]]
    return np.packbits(one > other, axis=1).view(np.uint64)[:, 0]


def joined(parts: Sequence[Landmarks]) -> Landmarks:
    return Landmarks(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.cols for part in parts]),
        np.concatenate([part.words for part in parts]),
    )


def matches(images: Sequence[Landmarks]) -> list[Match]:
    """Pairs of images that share enough landmarks at one offset."""
    sizes = [len(each.words) for each in images]
    if sum(sizes) == 0:
        return []
    owners = np.repeat(np.arange(len(images)), sizes)
    everything = joined(images)
    agreeing = np.concatenate([ballots(owners, everything, half) for half in range(2)])
    return elected(np.unique(agreeing, axis=0), owners, everything)


def ballots(owners: NDArray[Any], marks: Landmarks, half: int) -> NDArray[np.int64]:
    """Every two landmarks (by number) of different images that agree in one half of their words.

    Halves, so that a single probe that noise has turned does not silence a landmark.
    """
    halves = marks.words.view(np.uint32)[half::2]
    order = np.lexsort((owners, halves))
    sorted_halves = halves[order]
    votes = []
    for ahead in range(1, COMMON):
        same = np.nonzero(sorted_halves[ahead:] == sorted_halves[:-ahead])[0]
        first, second = order[same], order[same + ahead]
        other = owners[first] != owners[second]
        first, second = first[other], second[other]
        votes.append(np.stack([first, second], axis=1))
    return np.concatenate(votes)


def elected(pairs: NDArray[np.int64], owners: NDArray[np.int64], marks: Landmarks) -> list[Match]:
    """The offset of each pair of images that most pairs of landmarks agree on, where enough do."""
    first, second = pairs.T
    rows, cols = marks.rows[first] - marks.rows[second], marks.cols[first] - marks.cols[second]
    places = [owners[first], owners[second], np.round(rows / STEP), np.round(cols / STEP)]
    offsets, counts = np.unique(np.stack(places, axis=1).astype(np.int64), axis=0, return_counts=True)
    best: dict[tuple[int, int], Match] = {}
    for index in np.argsort(counts, kind="stable")[::-1]:
        if counts[index] < ENOUGH_VOTES:
            break
        one, other, down, across = (int(value) for value in offsets[index])
        best.setdefault((one, other), Match(one, other, down * STEP, across * STEP, int(counts[index])))
    return sorted(best.values(), key=lambda match: (match.first, match.second))
