"""Outlines of footprints as a network of arcs, so that the wall two neighbours share is held only once.

An arc runs along outlines from one junction (a point where three or more stretches of wall meet) to the next; a
ring without a junction is one closed arc. Whoever moves the points of an arc moves them for both neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.ragged import Flags, Floats, Ints, offsets_of, place_in_row, row_of, starts_of

SAME_POINT_PER_PIXEL = 1e-4


@dataclass(frozen=True)
class Network:
    """Arcs, and how they make up the rings of each polygon.

    `points` holds the points of all arcs end to end (`sizes` of them each; a closed arc does not repeat its first).
    A ring is a run of `ring_sizes` steps, each one arc (`step_arc`), walked backward where `step_backward`.
    `ends` numbers the junctions at which an arc starts and stops (-1, -1 for a closed one).
    """

    points: Floats
    sizes: Ints
    ends: Ints
    step_arc: Ints
    step_backward: Flags
    ring_sizes: Ints
    polygon_rings: Ints

    @property
    def closed(self) -> Flags:
        return self.ends[:, 0] < 0

    @property
    def step_polygon(self) -> Ints:
        """The polygon that each step helps to bound."""
        return np.repeat(row_of(self.polygon_rings), self.ring_sizes)

    def collapsed(self, sizes: Ints) -> Flags:
        """Polygons of which a ring would have fewer than three points, were the arcs of these sizes."""
        few = self._ring_points(sizes) < 3
        return np.asarray(np.bincount(row_of(self.polygon_rings), weights=few) > 0)

    def _ring_points(self, sizes: Ints) -> Ints:
        return np.bincount(row_of(self.ring_sizes), weights=self._step_points(sizes)).astype(np.int64)

    def _step_points(self, sizes: Ints) -> Ints:
        """Points that each step gives its ring: the last point of an open arc is the first of the next."""
        return sizes[self.step_arc] - ~self.closed[self.step_arc]

    def polygons(self, points: Floats, sizes: Ints) -> NDArray[np.object_]:
        """Polygons along the given points of the arcs in place of the network's own."""
        kept = self._step_points(sizes)
        step, place = row_of(kept), place_in_row(kept)
        backward = self.step_backward[step]
        last = sizes[self.step_arc][step] - 1
        index = starts_of(sizes)[self.step_arc][step] + np.where(backward, last - place, place)
        ring_points = self._ring_points(sizes)
        closing = offsets_of(ring_points)
        index = np.insert(index, closing[1:], index[closing[:-1]])
        return np.asarray(
            shapely.from_ragged_array(
                shapely.GeometryType.POLYGON,
                points[index],
                (offsets_of(ring_points + 1), offsets_of(self.polygon_rings)),
            )
        )


@dataclass(frozen=True)
class _Rings:
    """Rings of points without the closing one, and a number for each point that is equal where points are."""

    points: Floats
    number: Ints
    sizes: Ints

    @property
    def following(self) -> Ints:
        """Index of the next point of the same ring."""
        following = np.arange(1, len(self.points) + 1)
        starts = starts_of(self.sizes)
        following[starts + self.sizes - 1] = starts
        return following

    def taken(self, index: Ints, sizes: Ints) -> _Rings:
        return _Rings(self.points[index], self.number[index], sizes)


def network_of(polygons: NDArray[np.object_], clusters: Ints, resolution_m: float) -> Network:
    """Cut the outlines of polygons into arcs; only polygons of one cluster can share an arc."""
    _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
    ring_offsets, polygon_offsets = np.asarray(ring_offsets), np.asarray(polygon_offsets)
    sizes = np.diff(ring_offsets) - 1
    index = np.repeat(ring_offsets[:-1], sizes) + place_in_row(sizes)
    ring_cluster = np.repeat(clusters, np.diff(polygon_offsets))
    rings = _numbered(points[index], np.repeat(ring_cluster, sizes), sizes, resolution_m)
    return _cut_at_junctions(rings, np.diff(polygon_offsets))


def _numbered(points: Floats, cluster: Ints, sizes: Ints, resolution_m: float) -> _Rings:
    """Give equal points of a cluster one number, and put a point wherever a neighbour's corner lies on a wall."""
    key = np.rint(points / (resolution_m * SAME_POINT_PER_PIXEL)).astype(np.int64)
    x, y = key.T
    along_rows, row_point = _ranks(cluster, y, x)
    along_cols, col_point = _ranks(cluster, x, y)
    rings = _Rings(points, along_rows, sizes)
    after = rings.following
    horizontal, vertical = y == y[after], x == x[after]
    span = np.where(horizontal, along_rows[after] - along_rows, 0)
    span = np.where(vertical, along_cols[after] - along_cols, span)
    counts = np.maximum(np.abs(span), 1)
    edge, place = row_of(counts), place_in_row(counts)
    step = place * np.sign(span)[edge]
    index = np.where(
        vertical[edge],
        col_point[along_cols[edge] + np.where(vertical[edge], step, 0)],
        row_point[along_rows[edge] + np.where(horizontal[edge], step, 0)],
    )
    index = np.where(place == 0, edge, index)
    ring = row_of(sizes)
    return rings.taken(index, np.bincount(ring[edge], minlength=len(sizes)))


def _ranks(*keys: Ints) -> tuple[Ints, Ints]:
    """Number distinct points in the order of their keys; also give one point of each number."""
    order = np.lexsort(keys[::-1])
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(fresh) - 1
    return rank, order[fresh]


def _cut_at_junctions(rings: _Rings, polygon_rings: Ints) -> Network:
    rings = _starting_at_junctions(rings)
    junction, edge = _junctions(rings)
    starts = junction.copy()
    starts[starts_of(rings.sizes)] = True
    first = np.flatnonzero(starts)
    key = np.minimum.reduceat(edge, first)
    _, canonical, step_arc = np.unique(key, return_index=True, return_inverse=True)
    second = rings.number[rings.following[first]]
    same_way = (rings.number[first] == rings.number[first[canonical]][step_arc]) & (
        second == second[canonical][step_arc]
    )
    step_sizes = np.diff(np.append(first, len(rings.points)))
    step_closed = ~junction[first]
    stop = rings.following[first + step_sizes - 1]
    sizes = (step_sizes + ~step_closed)[canonical]
    index = np.repeat(first[canonical], sizes) + place_in_row(sizes)
    open_ends = (np.cumsum(sizes) - 1)[~step_closed[canonical]]
    index[open_ends] = stop[canonical][~step_closed[canonical]]
    ends = np.stack([rings.number[first], rings.number[stop]], axis=1)[canonical]
    return Network(
        points=rings.points[index],
        sizes=sizes,
        ends=np.where(step_closed[canonical][:, None], -1, ends),
        step_arc=step_arc,
        step_backward=~same_way & ~step_closed,
        ring_sizes=np.bincount(row_of(rings.sizes)[first], minlength=len(rings.sizes)),
        polygon_rings=polygon_rings,
    )


def _junctions(rings: _Rings) -> tuple[Flags, Ints]:
    """Which points are junctions, and a number for the edge after each point that two neighbours share."""
    ends = np.stack([rings.number, rings.number[rings.following]], axis=1)
    low, high = ends.min(axis=1), ends.max(axis=1)
    width = int(rings.number.max(initial=0)) + 1
    edges, edge = np.unique(low * width + high, return_inverse=True)
    degree = np.bincount(np.concatenate([edges // width, edges % width]), minlength=width)
    return (degree != 2)[rings.number], edge


def _starting_at_junctions(rings: _Rings) -> _Rings:
    """Turn rings so that each starts at a junction, where it has one."""
    junction, _ = _junctions(rings)
    ring, place = row_of(rings.sizes), place_in_row(rings.sizes)
    shift = np.full(len(rings.sizes), np.iinfo(np.int64).max)
    np.minimum.at(shift, ring[junction], place[junction])
    shift = np.where(shift == np.iinfo(np.int64).max, 0, shift)
    index = starts_of(rings.sizes)[ring] + (place + shift[ring]) % rings.sizes[ring]
    return rings.taken(index, rings.sizes)
