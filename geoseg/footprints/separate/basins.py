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

    def join(self, relief: Floats, sheet: Sheet, connectivity: int, pass_share: float) -> JoinedSummits:
        """Join summits between which no two bodies can stay apart.

        Ground as high as `pass_share` of the highest summit of their window leads from one to the other.
        """
        number, owner, heights = len(sheet.slots), self.owner[1:], self.heights[1:]
        least = np.zeros(number)
        np.maximum.at(least, owner, heights)
        least *= pass_share
        high = sheet.inside & (relief >= least[sheet.owner])
        islands = label(high, connectivity=1 if connectivity == 4 else 2)  # type: ignore[no-untyped-call]
        pixels = np.flatnonzero(self.labels)
        island = np.zeros(len(self.heights), dtype=np.int64)
        island[self.labels.ravel()[pixels]] = islands.ravel()[pixels]
        leader = np.arange(len(self.heights))
        on_island = np.flatnonzero(island)
        _, first, own = np.unique(island[on_island], return_index=True, return_inverse=True)
        leader[on_island] = on_island[first[own]]
        groups = np.bincount(self.owner[np.unique(leader[1:])], minlength=number)
        return JoinedSummits(leader, np.flatnonzero(groups > 1))


@dataclass(frozen=True)
class JoinedSummits:
    """The lowest number among the summits that each is joined with, and the windows in which two bodies may stay apart."""

    leader: Ints
    parted: Ints


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
    joined = summits.join(relief, sheet, connectivity, pass_share)
    slots = [sheet.slots[number] for number in joined.parted]
    basins = grow_basins(relief, summits.labels, sheet.inside, slots, connectivity)
    graph = BasinGraph(basins, summits.heights, joined.leader, relief, doubt, connectivity)
    bodies: Labels = graph.join(stays_apart)[basins]
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
    """Which bodies meet, and what tells at their borders whether they are one; at first, each is the basins of one leader.

    Around the basins lies a margin of pixels that are in none.
    """

    def __init__(
        self,
        basins: Labels,
        summits: Floats,
        leader: Ints,
        relief: Floats,
        doubt: Values,
        connectivity: int,
    ) -> None:
        leaders, self.body = np.unique(leader, return_inverse=True)
        heights = np.zeros(len(leaders))
        np.maximum.at(heights, self.body, summits)
        pixels = np.bincount(self.body[basins[basins > 0]], minlength=len(leaders))
        self.bodies = [Body(*each) for each in zip(heights.tolist(), pixels.tolist(), strict=True)]
        self.borders: list[dict[int, Border]] = [{} for _ in self.bodies]
        for one, other, border in list_borders(basins, self.body, relief, doubt, connectivity):
            mine, theirs = self.borders[one], self.borders[other]
            mine[other] = theirs[one] = border.joined(mine[other]) if other in mine else border

    def join(self, stays_apart: StaysApart) -> Labels:
        """Join bodies across the highest passes first; gives the number of the body of each basin, 0 for no basin.

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
        return number_leaders(leader)[self.body]

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


def list_borders(
    basins: Labels, body: Ints, relief: Floats, doubt: Values, connectivity: int
) -> Iterator[tuple[int, int, Border]]:
    """Where the basins of two bodies meet: the two, the lower number first, and the border of each pair of basins."""
    ends, heights, doubts = [], [], []
    for here, there in list_meeting_pixels(basins, body, connectivity):
        ends.append(np.sort(np.stack([basins.ravel()[here], basins.ravel()[there]]), axis=0))
        heights.append(np.minimum(relief.ravel()[here], relief.ravel()[there]))
        doubts.append((doubt.ravel()[here].astype(np.float64) + doubt.ravel()[there]) / 2)
    low, high = np.concatenate(ends, axis=1).astype(np.int64)
    keys, pair = np.unique(low * len(body) + high, return_inverse=True)
    highest = np.zeros(len(keys))
    np.maximum.at(highest, pair, np.concatenate(heights))
    length = np.bincount(pair, minlength=len(keys))
    doubt_sums = np.bincount(pair, np.concatenate(doubts), minlength=len(keys))
    basin = np.stack(np.divmod(keys, len(body)))
    columns = (
        column.tolist() for column in (*basin, *np.sort(body[basin], axis=0), highest, length, doubt_sums)
    )
    for low_basin, high_basin, one, other, height, *told in zip(*columns, strict=True):
        yield one, other, Border((-height, low_basin, high_basin), *told)


def list_meeting_pixels(basins: Labels, body: Ints, connectivity: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of neighbouring pixels in basins of two bodies: below, to the right, and across the two corners below."""
    flat, width = basins.ravel(), basins.shape[1]
    inside = np.flatnonzero(flat)
    bodies = body[flat]
    for step in (width, 1, width + 1, width - 1)[: 2 if connectivity == 4 else 4]:
        there = inside + step
        meeting = (bodies[there] != bodies[inside]) & (flat[there] > 0)
        yield inside[meeting], there[meeting]


def number_leaders(leader: list[int]) -> Labels:
    """Bodies numbered from 0 in the order of their leaders, for each basin; a leader has a lower number than its own."""
    heads: Ints = np.array(leader)
    for basin in range(len(heads)):
        heads[basin] = heads[heads[basin]]
    return np.unique(heads, return_inverse=True)[1].astype(np.int32)
