"""The basins of a footprint: every summit of a relief grows to one, and basins become bodies by joining their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from geoseg.footprints.polygons import Flags, Floats, Ints
from geoseg.footprints.separate.sheet import Sheet, Slot
from geoseg.raster.coding import Values

Labels = NDArray[np.int32]


class Body(NamedTuple):
    """One basin, or several joined: the height of its highest summit, and how many pixels it has."""

    summit: float
    pixels: int

    def joined(self, other: Body) -> Body:
        return Body(max(self.summit, other.summit), self.pixels + other.pixels)


class Border(NamedTuple):
    """Where two bodies meet: how many pairs of pixels meet, and the sum of their doubts.

    `rank` sorts borders, the highest pass first: less the height of the pass, and the two basins that meet there.
    """

    rank: tuple[float, int, int]
    length: int
    doubt: float

    @property
    def height(self) -> float:
        """Height of the highest pass."""
        return -self.rank[0]

    def joined(self, other: Border) -> Border:
        return Border(min(self.rank, other.rank), self.length + other.length, self.doubt + other.doubt)


StaysApart = Callable[[Border, Body, Body], bool]


@dataclass(frozen=True)
class Summits:
    """The summits of a relief: the number of the one that each pixel is of, from 1 on, how high each is, and in whose window."""

    labels: Labels
    heights: Floats
    owner: Ints

    @classmethod
    def of(cls, relief: Floats, sheet: Sheet) -> Summits:
        labels = label(local_maxima(relief) & sheet.inside, connectivity=2)  # type: ignore[no-untyped-call]
        heights, owner = np.zeros(int(labels.max()) + 1), np.zeros(int(labels.max()) + 1, dtype=np.int64)
        pixels = np.flatnonzero(labels)
        number = labels.ravel()[pixels]
        heights[number] = relief.ravel()[pixels]  # a summit is flat
        owner[number] = sheet.owner.ravel()[pixels]
        return cls(labels, heights, owner)

    def find_parted(self, relief: Floats, sheet: Sheet, connectivity: int, pass_share: float) -> Ints:
        """The windows in which two bodies may stay apart.

        In the others, ground as high as `pass_share` of the highest summit leads from every summit to every other.
        """
        number, owner, heights = len(sheet.slots), self.owner[1:], self.heights[1:]
        least = np.zeros(number)
        np.maximum.at(least, owner, heights)
        least *= pass_share
        high = sheet.inside & (relief >= least[sheet.owner])
        islands = label(high, connectivity=1 if connectivity == 4 else 2)  # type: ignore[no-untyped-call]
        owner_of_island = np.zeros(int(islands.max()) + 1, dtype=np.int64)
        starts = np.flatnonzero(high.ravel()[1:] & ~high.ravel()[:-1]) + 1  # every island has one
        owner_of_island[islands.ravel()[starts]] = sheet.owner.ravel()[starts]
        parted = np.bincount(owner_of_island[1:], minlength=number) > 1
        parted[owner[heights < least[owner]]] = True
        return np.flatnonzero(parted & (np.bincount(owner, minlength=number) > 1))


def find_bodies(
    relief: Floats,
    doubt: Values,
    sheet: Sheet,
    connectivity: int,
    stays_apart: StaysApart,
    pass_share: float,
) -> Labels:
    """The number of the body of each pixel, from 1 on; 0 outside, and in a window that is surely one body."""
    summits = Summits.of(relief, sheet)
    parted = summits.find_parted(relief, sheet, connectivity, pass_share)
    slots = [sheet.slots[number] for number in parted]
    basins = grow_basins(relief, summits.labels, sheet.inside, slots, connectivity)
    bodies: Labels = BasinGraph(basins, summits.heights, relief, doubt, connectivity).join(stays_apart)[
        basins
    ]
    return bodies


def grow_basins(
    relief: Floats, summits: Labels, inside: Flags, slots: Sequence[Slot], connectivity: int
) -> Labels:
    """The basin of each pixel, grown slot by slot: where several pixels are as high, a watershed's order is its own."""
    basins = np.zeros(relief.shape, dtype=np.int32)
    for slot in slots:
        basins[slot] = watershed(  # type: ignore[no-untyped-call]
            -relief[slot], summits[slot], mask=inside[slot], connectivity=1 if connectivity == 4 else 2
        )
    return basins


class BasinGraph:
    """Which basins meet, and what tells at their borders whether they are one body."""

    def __init__(
        self, basins: Labels, summits: Floats, relief: Floats, doubt: Values, connectivity: int
    ) -> None:
        number = len(summits)
        pixels = np.bincount(basins.ravel(), minlength=number)
        self.bodies = [Body(*each) for each in zip(summits.tolist(), pixels.tolist(), strict=True)]
        self.borders: list[dict[int, Border]] = [{} for _ in range(number)]
        for one, other, border in list_borders(basins, relief, doubt, connectivity):
            self.borders[one][other] = self.borders[other][one] = border

    def join(self, stays_apart: StaysApart) -> Labels:
        """Join bodies across the highest passes first; gives the number of the body of each basin, 0 for basin 0.

        Where two bodies were joined, their borders with a third are one from then on.
        """
        leader = list(range(len(self.bodies)))
        waiting = [
            (border, one, other)
            for one, borders in enumerate(self.borders)
            for other, border in borders.items()
            if one < other
        ]
        heapify(waiting)
        while waiting:
            border, one, other = heappop(waiting)
            outdated = self.borders[one].get(other) is not border
            if outdated or stays_apart(border, self.bodies[one], self.bodies[other]):
                continue
            leader[other] = one
            for third, joined in self._absorb(one, other):
                heappush(waiting, (joined, min(one, third), max(one, third)))
        return number_leaders(leader)

    def _absorb(self, one: int, other: int) -> Iterator[tuple[int, Border]]:
        """Make the second body part of the first; gives the borders that are the first one's by this."""
        self.bodies[one] = self.bodies[one].joined(self.bodies[other])
        mine, theirs = self.borders[one], self.borders[other]
        self.borders[other] = {}
        del mine[other], theirs[one]
        for third, border in theirs.items():
            del self.borders[third][other]
            joined = border.joined(mine[third]) if third in mine else border
            mine[third] = self.borders[third][one] = joined
            yield third, joined


ALL, ON, BACK = slice(None), slice(1, None), slice(-1)
NEIGHBOURS = (((ON, ALL), (BACK, ALL)), ((ALL, ON), (ALL, BACK)), ((ON, ON), (BACK, BACK)), ((ON, BACK), (BACK, ON)))  # fmt: skip
"""Every pixel beside the one above, the one to the left, and the two across its corners."""


def list_borders(
    basins: Labels, relief: Floats, doubt: Values, connectivity: int
) -> Iterator[tuple[int, int, Border]]:
    """Pairs of basins that meet, the lower number first."""
    ends, heights, doubts = [], [], []
    for here, there in NEIGHBOURS[: 2 if connectivity == 4 else 4]:
        border = (basins[here] != basins[there]) & (basins[here] > 0) & (basins[there] > 0)
        ends.append(np.sort(np.stack([basins[here][border], basins[there][border]], axis=1), axis=1))
        heights.append(np.minimum(relief[here][border], relief[there][border]))
        doubts.append((doubt[here][border].astype(np.float64) + doubt[there][border]) / 2)
    pairs, pair = np.unique(np.concatenate(ends), axis=0, return_inverse=True)
    highest = np.zeros(len(pairs))
    np.maximum.at(highest, pair.ravel(), np.concatenate(heights))
    length = np.bincount(pair.ravel(), minlength=len(pairs))
    doubt_sums = np.bincount(pair.ravel(), np.concatenate(doubts), minlength=len(pairs))
    columns = (column.tolist() for column in (*pairs.T, highest, length, doubt_sums))
    for one, other, height, *told in zip(*columns, strict=True):
        yield one, other, Border((-height, one, other), *told)


def number_leaders(leader: list[int]) -> Labels:
    """Bodies numbered from 0 in the order of their leaders, for each basin; a leader has a lower number than its own."""
    heads: Ints = np.array(leader)
    for basin in range(len(heads)):
        heads[basin] = heads[heads[basin]]
    return np.unique(heads, return_inverse=True)[1].astype(np.int32)
