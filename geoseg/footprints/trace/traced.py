"""Finished pieces as polygons: rings that touch themselves are parted, and holes join their outer ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.clean import rejoined
from geoseg.footprints.straight.ragged import Flags, Ints, offsets_of, place_in_row, row_of, starts_of
from geoseg.footprints.trace.pieces import Pieces, Runs, concatenated, gathered, totals, walked

ROW = 2**32
"""A corner (row, col) as one number, `row * ROW + col`, sorts by row and then by column."""


@dataclass(frozen=True)
class Traced:
    """Whole footprints in pixel coordinates (x = col, y = row), and what their pixels tell.

    `order` holds the keys, most important first, of the order in which footprints are written: the last row and
    the first pixel of their cluster, then their own. `probability` is a sum over the `known` pixels.
    The numbers in `cluster` and in `runs.component` are good within this value only.
    """

    polygons: NDArray[np.object_]
    value: Ints
    cluster: Ints
    probability: Ints
    known: Ints
    touches_nodata: Flags
    order: Ints
    runs: Runs

    def __len__(self) -> int:
        return len(self.polygons)

    def select(self, kept: Flags) -> Traced:
        """Some of the footprints, without their pixels."""
        columns = concatenated([self], but="runs")
        return Traced(**{name: column[kept] for name, column in columns.items()}, runs=Runs.none())

    @staticmethod
    def merged(batches: Sequence[Traced]) -> Traced:
        """Several batches as one, in the order in which footprints are written."""
        columns = concatenated(batches, but="runs")
        sizes = np.array([len(batch) for batch in batches])
        clusters = np.array([int(batch.cluster.max(initial=-1)) + 1 for batch in batches])
        columns["cluster"] = columns["cluster"] + np.repeat(starts_of(clusters), sizes)
        runs = Runs(**concatenated([batch.runs for batch in batches]))
        shifts = np.repeat(starts_of(sizes), [len(batch.runs.row) for batch in batches])
        return Traced(**columns, runs=replace(runs, component=runs.component + shifts)).sorted()

    def sorted(self) -> Traced:
        """The same footprints, in the order in which they are written."""
        order = np.lexsort(self.order.T[::-1])
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        columns = concatenated([self], but="runs")
        return Traced(
            **{name: column[order] for name, column in columns.items()},
            runs=replace(self.runs, component=place[self.runs.component]),
        )


def traced(pieces: Pieces) -> Traced:
    """The footprints of pieces that are all finished, in the order in which they are written."""
    rings = _Rings(pieces.corners, pieces.sizes, pieces.component).simple().from_first_corner().by_component()
    parts = _polygons(rings)
    components = pieces.components
    number = int(components.footprint.max(initial=-1)) + 1
    outer = starts_of(np.bincount(rings.component, minlength=len(components)))
    first, last = rings.first_corner[outer], rings.last_row[outer]
    footprint_first, footprint_last = _extremes(components.footprint, number, first, last)
    cluster_first, cluster_last = _extremes(
        components.cluster, int(components.cluster.max(initial=-1)) + 1, first, last
    )
    one = np.unique(components.footprint, return_index=True)[1]
    cluster = components.cluster[one]
    return Traced(
        polygons=_with_parts(parts, components.footprint, first),
        value=components.value[one],
        cluster=cluster,
        probability=totals(components.footprint, components.probability, number),
        known=totals(components.footprint, components.known, number),
        touches_nodata=totals(components.footprint, components.touches_nodata, number) > 0,
        order=np.stack(
            [cluster_last[cluster], cluster_first[cluster], footprint_last, footprint_first], axis=1
        ),
        runs=replace(pieces.runs, component=components.footprint[pieces.runs.component]),
    ).sorted()


@dataclass(frozen=True)
class _Rings:
    """Closed outlines laid end to end, each of one component."""

    corners: Ints
    sizes: Ints
    component: Ints

    @property
    def starts(self) -> Ints:
        return starts_of(self.sizes)

    @property
    def corner_keys(self) -> Ints:
        return self.corners[:, 0] * ROW + self.corners[:, 1]

    @property
    def first_corner(self) -> Ints:
        return _reduced(np.minimum, self.corner_keys, self.starts)

    @property
    def last_row(self) -> Ints:
        return _reduced(np.maximum, self.corners[:, 0], self.starts) - 1

    @property
    def following(self) -> Ints:
        """Index of the next corner of the same ring."""
        following = np.arange(1, len(self.corners) + 1)
        following[self.starts + self.sizes - 1] = self.starts
        return following

    @property
    def areas(self) -> Ints:
        """Pixels inside; negative for a hole."""
        row, col = self.corners.T
        return _reduced(np.add, col * (row - row[self.following]), self.starts)

    def take(self, rings: Flags | Ints) -> _Rings:
        chosen = np.arange(len(self.sizes))[rings]
        return _Rings(self.corners[gathered(self.sizes, chosen)], self.sizes[rings], self.component[rings])

    def simple(self) -> _Rings:
        """Part rings in the corners where they touch themselves, so that each passes a corner once."""
        ring = row_of(self.sizes)
        corner = _dense(self.corners)
        span = int(corner.max(initial=0)) + 1
        keys = np.sort(ring * span + corner)
        touching = np.zeros(len(self.sizes), dtype=bool)
        touching[keys[1:][keys[1:] == keys[:-1]] // span] = True
        if not touching.any():
            return self
        parted, whole = self.take(touching)._parted(), self.take(~touching)
        return _Rings(
            *(np.concatenate([getattr(whole, f.name), getattr(parted, f.name)]) for f in fields(self))
        )

    def _parted(self) -> _Rings:
        ring, following = row_of(self.sizes), self.following
        order = np.lexsort((self.corner_keys, ring))
        keys = self.corner_keys[order]
        twice = np.flatnonzero((keys[1:] == keys[:-1]) & (ring[order][1:] == ring[order][:-1]))
        one, other = order[twice], order[twice + 1]
        following[one], following[other] = following[other], following[one]
        walk, sizes = walked(following)
        return _Rings(self.corners[walk], sizes, self.component[ring[walk[starts_of(sizes)]]])

    def from_first_corner(self) -> _Rings:
        """Start each ring at its topmost corner, the left one of several."""
        keys, ring = self.corner_keys, row_of(self.sizes)
        shift = place_in_row(self.sizes)[keys == self.first_corner[ring]]
        place = (place_in_row(self.sizes) + shift[ring]) % self.sizes[ring]
        return replace(self, corners=self.corners[self.starts[ring] + place])

    def by_component(self) -> _Rings:
        """Bring the rings of a component together, the outer one first, then holes by their first corner."""
        return self.take(np.lexsort((self.first_corner, self.areas < 0, self.component)))


def _polygons(rings: _Rings) -> NDArray[np.object_]:
    closed_sizes = rings.sizes + 1
    ring, place = row_of(closed_sizes), place_in_row(closed_sizes)
    corners = rings.corners[rings.starts[ring] + place % rings.sizes[ring]]
    offsets = offsets_of(closed_sizes), offsets_of(np.bincount(rings.component))
    points = corners[:, ::-1].astype(np.float64)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets))


def _with_parts(parts: NDArray[np.object_], label: Ints, first: Ints) -> NDArray[np.object_]:
    """One geometry a label: a polygon, or several that meet at corners as one multipolygon."""
    order = np.lexsort((first, label))
    return rejoined(parts[order], label[order])


def _dense(corners: Ints) -> Ints:
    """Corners as numbers as small as their extent allows."""
    if not len(corners):
        return np.empty(0, dtype=np.int64)
    row, col = (corners - corners.min(axis=0)).T
    dense: Ints = row * (col.max() + 1) + col
    return dense


def _extremes(label: Ints, number: int, first: Ints, last: Ints) -> tuple[Ints, Ints]:
    lowest, highest = np.full(number, np.iinfo(np.int64).max), np.full(number, -1)
    np.minimum.at(lowest, label, first)
    np.maximum.at(highest, label, last)
    return lowest, highest


def _reduced(how: np.ufunc, values: Ints, starts: Ints) -> Ints:
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    reduced: Ints = how.reduceat(values, starts)
    return reduced
