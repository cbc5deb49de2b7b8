"""Ground recognised by its own small marks, wherever an image was cut and however its colours were stretched.

A landmark is a spot that stands out from its surroundings; its word says which of fixed pairs of pixels near it is the
brighter one. Words survive any brightening or stretching, and two images of the same ground share many of them at one
and the same offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.prepare.audit.shelf import Shelf

REACH = 12
APART = 9
MOST_PER_MEGAPIXEL = 4000
FEWEST = 200
COMMON = 16
FEW = 3
STEP = 3
ENOUGH_VOTES = 4
# How much a spot must stand out, as a part of all the brightness there is.
FAINTEST = 0.002

MARK = np.dtype([("word", "u8"), ("owner", "u4"), ("row", "i4"), ("col", "i4")])
BALLOT = np.dtype([("first", "u4"), ("second", "u4"), ("row", "i4"), ("col", "i4")])

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
    peaks &= np.abs(contrast) > FAINTEST * np.ptp(image)
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


class LandmarkSearch:
    """Finds pairs of images with enough landmarks in common at one offset, in little memory however many there are.

    Landmarks are sorted apart by their words, so that equal words meet; each such meeting is a ballot for an offset of
    two images; ballots are sorted apart by the images, so that they can be counted.
    """

    def __init__(self, folder: Path) -> None:
        self._halves = tuple(Shelf(folder / f"words{half}", MARK) for half in range(2))
        self._ballots = Shelf(folder / "ballots", BALLOT)

    def add(self, owner: int, marks: Landmarks) -> None:
        records = np.empty(len(marks.words), MARK)
        records["owner"], records["row"], records["col"] = owner, marks.rows, marks.cols
        records["word"] = marks.words
        for half, shelf in enumerate(self._halves):
            shelf.add(records, halves(records)[half])

    def matches(self) -> list[Match]:
        """Every pair that was found; call it once, at the end."""
        for half, shelf in enumerate(self._halves):
            for marks in shelf.parts():
                ballots = cast(marks, half)
                self._ballots.add(ballots, ballots["first"] ^ ballots["second"] * np.uint32(40503))
        found = [match for ballots in self._ballots.parts() for match in elected(ballots)]
        return sorted(found, key=lambda match: (match.first, match.second))


def halves(marks: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The two halves of each word, so that a single probe that noise has turned does not silence a landmark."""
    words = np.ascontiguousarray(marks["word"]).view(np.uint32)
    return words[0::2], words[1::2]


def cast(marks: NDArray[Any], half: int) -> NDArray[Any]:
    """A ballot for every two landmarks of different images that agree in one half of their words.

    Of a word that very many landmarks have, only the nearest few meet: it says little, and they are too many.
    """
    order = np.lexsort((marks["owner"], halves(marks)[half]))
    marks = marks[order]
    word, other_word = halves(marks)[half], halves(marks)[1 - half]
    is_common = frequencies(word) > COMMON
    ballots = []
    for ahead in range(1, min(COMMON, len(marks))):
        meets = (word[ahead:] == word[:-ahead]) & (marks["owner"][ahead:] != marks["owner"][:-ahead])
        if half == 1:
            # They met by the other half.
            meets &= other_word[ahead:] != other_word[:-ahead]
        if ahead > FEW:
            meets &= ~is_common[:-ahead]
        first = np.nonzero(meets)[0]
        ballots.append(ballots_of(marks[first], marks[first + ahead]))
    return np.concatenate(ballots) if ballots else np.empty(0, BALLOT)


def frequencies(ordered: NDArray[np.uint32]) -> NDArray[np.int64]:
    """How often each of some sorted values occurs."""
    _, place, counts = np.unique(ordered, return_inverse=True, return_counts=True)
    often: NDArray[np.int64] = counts[place]
    return often


def ballots_of(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Ballots of pairs of landmarks, the owner that was added first named first."""
    ballots = np.empty(len(first), BALLOT)
    ballots["first"], ballots["second"] = first["owner"], second["owner"]
    for axis in ("row", "col"):
        ballots[axis] = np.round((first[axis] - second[axis]) / STEP)
    return ballots


def elected(ballots: NDArray[Any]) -> list[Match]:
    """The offset of each pair of images that most ballots agree on, where enough do."""
    ballots = ballots[np.lexsort([ballots[name] for name in ("col", "row", "second", "first")])]
    starts = (
        np.nonzero(np.concatenate([[True], ballots[1:] != ballots[:-1]]))[0]
        if len(ballots)
        else np.empty(0, int)
    )
    counts = np.diff(np.append(starts, len(ballots)))
    enough = counts >= ENOUGH_VOTES
    best: dict[tuple[int, int], Match] = {}
    for ballot, votes in zip(ballots[starts[enough]].tolist(), counts[enough].tolist(), strict=True):
        first, second, down, across = ballot
        known = best.get((first, second))
        if known is None or votes > known.votes:
            best[first, second] = Match(first, second, down * STEP, across * STEP, votes)
    return list(best.values())
