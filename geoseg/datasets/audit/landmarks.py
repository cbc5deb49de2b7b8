"""Finds images of the same ground by their landmarks, however they were cut and however their colours were stretched.

A landmark is a spot that stands out from its surroundings; its word says which of fixed pairs of pixels near it is the
brighter one. Words survive any brightening or stretching, and two images of the same ground share many of them at one
and the same offset. Landmarks of very many images are partitioned by their words on disk, so that little memory is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PARTS = 64
"""A power of two."""
MOST_IN_MEMORY = 2_000_000
"""Records that wait in memory before they go to disk."""


class RecordPartitioner:
    """Takes records (a structured array) with a key each, and gives back parts that hold all records of their keys."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._folder = folder
        self._most_in_memory = most_in_memory
        self._dtype = dtype
        self._waiting: list[tuple[NDArray[Any], NDArray[np.uint8]]] = []
        self._count = 0

    def add(self, records: NDArray[Any], keys: NDArray[np.uint32]) -> None:
        self._waiting.append((records, assign_partitions(keys)))
        self._count += len(records)
        if self._count > self._most_in_memory:
            self._put_away()

    def parts(self) -> Iterator[NDArray[Any]]:
        """The records, part by part; nothing is written to disk where all of them are few."""
        if not self._folder.exists():
            yield self._take_waiting()[0]
            return
        self._put_away()
        for file in sorted(self._folder.iterdir()):
            yield np.fromfile(file, self._dtype)
            file.unlink()

    def _take_waiting(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        records = [each for each, _ in self._waiting] or [np.empty(0, self._dtype)]
        parts = [each for _, each in self._waiting] or [np.empty(0, np.uint8)]
        self._waiting, self._count = [], 0
        return np.concatenate(records), np.concatenate(parts)

    def _put_away(self) -> None:
        records, parts = self._take_waiting()
        self._folder.mkdir(exist_ok=True)
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(PARTS + 1))
        for part in range(PARTS):
            with (self._folder / f"{part:02}").open("ab") as file:
                records[order[bounds[part] : bounds[part + 1]]].tofile(file)


def assign_partitions(keys: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Which part a key belongs to, spread evenly whatever the keys are like."""
    mixed = keys.astype(np.uint32) * np.uint32(2654435761)  # Knuth's multiplicative hash
    parts: NDArray[np.uint8] = (mixed >> np.uint32(33 - PARTS.bit_length())).astype(np.uint8)
    return parts


REACH = 12
"""Pixels around a landmark in which the pairs of its word lie."""
APART = 9
"""Side of the square in which a landmark is the brightest or the darkest spot."""
MOST_PER_MEGAPIXEL, FEWEST = 4000, 200
"""Only the clearest landmarks of an image are kept: so many, or so many for its size."""
COMMON, FEW = 16, 3
"""Of a word that more than 16 landmarks have, each meets the next three only."""
STEP = 3
"""Offsets are counted in steps of so many pixels, since landmarks move a little."""
ENOUGH_VOTES = 4
"""Pairs of landmarks that must agree on an offset: fewer do so by chance."""
FAINTEST = 0.002
"""How much a spot must stand out, as a part of all the brightness there is."""

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
class LandmarkMatch:
    """Two images with ground in common: pixel (row, col) of the first is (row - rows, col - cols) of the second."""

    first: int
    second: int
    rows: int
    cols: int
    votes: int


def find_landmarks(gray: NDArray[Any]) -> Landmarks:
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
    return Landmarks(rows.astype(np.int32), cols.astype(np.int32), compute_words(smooth, rows, cols))


def compute_words(smooth: NDArray[np.float32], rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.uint64]:
    one = smooth[rows[:, None] + PROBES[:, 0], cols[:, None] + PROBES[:, 1]]
    other = smooth[rows[:, None] + PROBES[:, 2], cols[:, None] + PROBES[:, 3]]
    return np.packbits(one > other, axis=1).view(np.uint64)[:, 0]


def join_landmarks(parts: Sequence[Landmarks]) -> Landmarks:
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

    def __init__(self, folder: Path, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._halves = tuple(
            RecordPartitioner(folder / f"words{half}", MARK, most_in_memory) for half in range(2)
        )
        self._ballots = RecordPartitioner(folder / "ballots", BALLOT, most_in_memory)

    def add(self, owner: int, marks: Landmarks) -> None:
        records = np.empty(len(marks.words), MARK)
        records["owner"], records["row"], records["col"] = owner, marks.rows, marks.cols
        records["word"] = marks.words
        for half, partitioner in enumerate(self._halves):
            partitioner.add(records, split_words(records)[half])

    def matches(self) -> list[LandmarkMatch]:
        """Every pair that was found; call it once, at the end."""
        for half, partitioner in enumerate(self._halves):
            for marks in partitioner.parts():
                ballots = cast_ballots(marks, half)
                self._ballots.add(ballots, ballots["first"] ^ ballots["second"] * np.uint32(40503))
        found = [match for ballots in self._ballots.parts() for match in elect_matches(ballots)]
        return sorted(found, key=lambda match: (match.first, match.second))


def split_words(marks: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The two halves of each word: one pair of pixels that noise has turned round spoils only one of them."""
    words = np.ascontiguousarray(marks["word"]).view(np.uint32)
    return words[0::2], words[1::2]


def cast_ballots(marks: NDArray[Any], half: int) -> NDArray[Any]:
    """A ballot for every two landmarks of different images that agree in one half of their words.

    Of a word that very many landmarks have, only the nearest few meet: it says little, and they are too many.
    """
    order = np.lexsort((marks["owner"], split_words(marks)[half]))
    marks = marks[order]
    word, other_word = split_words(marks)[half], split_words(marks)[1 - half]
    is_common = count_occurrences(word) > COMMON
    ballots = []
    for ahead in range(1, min(COMMON, len(marks))):
        meets = (word[ahead:] == word[:-ahead]) & (marks["owner"][ahead:] != marks["owner"][:-ahead])
        if half == 1:
            # They met by the other half.
            meets &= other_word[ahead:] != other_word[:-ahead]
        if ahead > FEW:
            meets &= ~is_common[:-ahead]
        first = np.nonzero(meets)[0]
        ballots.append(make_ballots(marks[first], marks[first + ahead]))
    return np.concatenate(ballots) if ballots else np.empty(0, BALLOT)


def count_occurrences(ordered: NDArray[np.uint32]) -> NDArray[np.int64]:
    """How often each of some sorted values occurs."""
    _, place, counts = np.unique(ordered, return_inverse=True, return_counts=True)
    often: NDArray[np.int64] = counts[place]
    return often


def make_ballots(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Ballots of pairs of landmarks, the owner that was added first named first."""
    ballots = np.empty(len(first), BALLOT)
    ballots["first"], ballots["second"] = first["owner"], second["owner"]
    for axis in ("row", "col"):
        ballots[axis] = np.round((first[axis] - second[axis]) / STEP)
    return ballots


def elect_matches(ballots: NDArray[Any]) -> list[LandmarkMatch]:
    """The offset of each pair of images that most ballots agree on, where enough do."""
    ballots = ballots[np.lexsort([ballots[name] for name in ("col", "row", "second", "first")])]
    starts = (
        np.nonzero(np.concatenate([[True], ballots[1:] != ballots[:-1]]))[0]
        if len(ballots)
        else np.empty(0, int)
    )
    counts = np.diff(np.append(starts, len(ballots)))
    enough = counts >= ENOUGH_VOTES
    best: dict[tuple[int, int], LandmarkMatch] = {}
    for ballot, votes in zip(ballots[starts[enough]].tolist(), counts[enough].tolist(), strict=True):
        first, second, down, across = ballot
        known = best.get((first, second))
        if known is None or votes > known.votes:
            best[first, second] = LandmarkMatch(first, second, down * STEP, across * STEP, votes)
    return list(best.values())
