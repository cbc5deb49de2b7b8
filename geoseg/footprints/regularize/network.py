"""Outlines of footprints as a network of arcs, so that the wall two neighbours share is held only once.

An arc runs along outlines from one junction (a point where three or more stretches of wall meet) to the next; a
ring without a junction is one closed arc. Whoever moves the points of an arc moves them for both neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.polygons import (
    Flags,
    Floats,
    Ints,
    find_starts,
    make_offsets,
    number_items,
    number_rows,
    sum_rows,
)

SAME_POINT_PER_PIXEL = 1e-4
"""Points this near are one: traced corners are whole pixels apart, and a transform moves them by far less."""


@dataclass(frozen=True)
class Network:
    """Arcs, and how they make up the rings of each polygon.

    `points` holds the points of all arcs end to end (`sizes` of them each; a closed arc does not repeat its first).
    A ring is a run of `ring_sizes` steps, each one arc (`step_arc`), walked backward where `step_backward`.
    `ends` numbers the junctions at which an arc starts and stops (-1, -1 for a closed one). `cluster` numbers the
    cluster of each polygon from 0 on, without gaps.
    """

    points: Floats
    sizes: Ints
    ends: Ints
    step_arc: Ints
    step_backward: Flags
    ring_sizes: Ints
    polygon_rings: Ints
    cluster: Ints

    @property
    def closed(self) -> Flags:
        return self.ends[:, 0] < 0

    @property
    def round_trip(self) -> Flags:
        """Arcs that come back to where they started: closed ones, and loops from a junction to itself."""
        return np.asarray(self.ends[:, 0] == self.ends[:, 1])

    @cached_property
    def step_polygon(self) -> Ints:
        """The polygon that each step helps to bound."""
        return np.repeat(number_rows(self.polygon_rings), self.ring_sizes)

    @property
    def in_outer_ring(self) -> Flags:
        """Steps along the outer ring of a polygon, not along one of its holes."""
        return np.repeat(number_items(self.polygon_rings) == 0, self.ring_sizes)

    @property
    def arc_cluster(self) -> Ints:
        cluster = np.zeros(len(self.sizes), dtype=np.int64)
        cluster[self.step_arc] = self.cluster[self.step_polygon]
        return cluster

    @cached_property
    def members(self) -> Ints:
        """How many polygons each cluster has."""
        return np.bincount(self.cluster)

    @property
    def crowded(self) -> Flags:
        """Polygons that are not alone in their cluster."""
        return (self.members > 1)[self.cluster]

    def sum_per_polygon(self, arc_values: Floats | Flags) -> Floats:
        """Sum of the values of all arcs around each polygon."""
        return sum_rows(self.step_polygon, arc_values[self.step_arc], len(self.polygon_rings))

    def find_collapsed(self, sizes: Ints) -> Flags:
        """Arcs of rings that would have fewer than three points, were the arcs of these sizes."""
        few = np.repeat(self._count_ring_points(sizes) < 3, self.ring_sizes)
        return np.bincount(self.step_arc, weights=few) > 0

    def _count_ring_points(self, sizes: Ints) -> Ints:
        return np.bincount(number_rows(self.ring_sizes), weights=self._count_step_points(sizes)).astype(
            np.int64
        )

    def _count_step_points(self, sizes: Ints) -> Ints:
        """Points that each step gives its ring: the last point of an open arc is the first of the next."""
        return sizes[self.step_arc] - ~self.closed[self.step_arc]

    def polygons(self, points: Floats, sizes: Ints) -> NDArray[np.object_]:
        """Polygons along the given points of the arcs in place of the network's own."""
        kept = self._count_step_points(sizes)
        step, place = number_rows(kept), number_items(kept)
        backward = self.step_backward[step]
        last = sizes[self.step_arc][step] - 1
        index = find_starts(sizes)[self.step_arc][step] + np.where(backward, last - place, place)
        ring_points = self._count_ring_points(sizes)
        closing = make_offsets(ring_points)
        index = np.insert(index, closing[1:], index[closing[:-1]])
        return np.asarray(
            shapely.from_ragged_array(
                shapely.GeometryType.POLYGON,
                points[index],
                (make_offsets(ring_points + 1), make_offsets(self.polygon_rings)),
            )
        )


@dataclass(frozen=True)
class _NumberedRings:
    """Rings of points without the closing one, and a number for each point that is equal where points are.

    Numbers from `met` on belong to one point each.
    """

    points: Floats
    number: Ints
    sizes: Ints
    met: int

    @property
    def following(self) -> Ints:
        """Index of the next point of the same ring."""
        following = np.arange(1, len(self.points) + 1)
        starts = find_starts(self.sizes)
        following[starts + self.sizes - 1] = starts
        return following

    def taken(self, index: Ints, sizes: Ints) -> _NumberedRings:
        return _NumberedRings(self.points[index], self.number[index], sizes, self.met)


def build_network(polygons: NDArray[np.object_], clusters: Ints, resolution_m: float) -> Network:
    """Cut the outlines of polygons into arcs; only polygons of one cluster can share an arc."""
    _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
    ring_offsets, polygon_rings = np.asarray(ring_offsets), np.diff(polygon_offsets)
    sizes = np.diff(ring_offsets) - 1
    index = np.repeat(ring_offsets[:-1], sizes) + number_items(sizes)
    cluster = np.unique(clusters, return_inverse=True)[1]
    may_meet = (np.bincount(cluster)[cluster] > 1) | (polygon_rings > 1)
    ring_cluster = np.repeat(np.where(may_meet, cluster, -1), polygon_rings)
    rings = _number_points(points[index], sizes, ring_cluster, resolution_m)
    return _cut_at_junctions(rings, polygon_rings, cluster)


def _number_points(points: Floats, sizes: Ints, ring_cluster: Ints, resolution_m: float) -> _NumberedRings:
    """Give equal points of a cluster one number, and put a point wherever a neighbour's corner lies on a wall.

    Rings of cluster -1 meet nobody: each of their points gets a number of its own.
    """
    cluster = np.repeat(ring_cluster, sizes)
    met = np.flatnonzero(cluster >= 0)
    key = np.rint(points[met] / (resolution_m * SAME_POINT_PER_PIXEL)).astype(np.int64)
    by_row, by_col = (_rank_points(cluster[met], key[:, first], key[:, 1 - first]) for first in (1, 0))
    number = np.arange(len(points)) + len(by_row[1])
    number[met] = by_row[0]
    rings = _NumberedRings(points, number, sizes, len(by_row[1]))
    after = (np.cumsum(cluster >= 0) - 1)[rings.following[met]]
    upright, level = (key == key[after]).T
    rank = np.where(upright, by_col[0] + len(by_row[1]), by_row[0])
    rank_after = np.where(upright, by_col[0][after] + len(by_row[1]), by_row[0][after])
    in_order = met[np.concatenate([by_row[1], by_col[1]])]
    return _insert_points(rings, met, rank, np.where(upright | level, rank_after - rank, 0), in_order)


def _insert_points(
    rings: _NumberedRings, edges: Ints, rank: Ints, span: Ints, in_order: Ints
) -> _NumberedRings:
    """Rings with all points on the given edges: those whose ranks lie within the edge's span from its own rank."""
    counts = np.ones(len(rings.points), dtype=np.int64)
    counts[edges] = np.maximum(np.abs(span), 1)
    index, place = number_rows(counts), number_items(counts)
    added = np.flatnonzero(place)
    edge = np.searchsorted(edges, index[added])
    index[added] = in_order[rank[edge] + place[added] * np.sign(span[edge])]
    return rings.taken(index, sum_rows(number_rows(rings.sizes), counts, len(rings.sizes)).astype(np.int64))


def _rank_points(*keys: Ints) -> tuple[Ints, Ints]:
    """Number distinct points in the order of their keys; also give one point of each number."""
    order = np.lexsort(keys[::-1])
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(fresh) - 1
    return rank, order[fresh]


def _cut_at_junctions(rings: _NumberedRings, polygon_rings: Ints, cluster: Ints) -> Network:
    rings, junction, edge = _start_at_junctions(rings)
    starts = junction.copy()
    starts[find_starts(rings.sizes)] = True
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
    index = np.repeat(first[canonical], sizes) + number_items(sizes)
    open_ends = (np.cumsum(sizes) - 1)[~step_closed[canonical]]
    index[open_ends] = stop[canonical][~step_closed[canonical]]
    ends = np.stack([rings.number[first], rings.number[stop]], axis=1)[canonical]
    return Network(
        points=rings.points[index],
        sizes=sizes,
        ends=np.where(step_closed[canonical][:, None], -1, ends),
        step_arc=step_arc,
        step_backward=~same_way & ~step_closed,
        ring_sizes=np.bincount(number_rows(rings.sizes)[first], minlength=len(rings.sizes)),
        polygon_rings=polygon_rings,
        cluster=cluster,
    )


def _find_junctions(rings: _NumberedRings) -> tuple[Flags, Ints]:
    """Which points are junctions, and a number for the edge after each point that two neighbours share."""
    index = np.flatnonzero(rings.number < rings.met)
    first, second = rings.number[index], rings.number[rings.following[index]]
    low, high = np.minimum(first, second), np.maximum(first, second)
    edges, shared = np.unique(low * rings.met + high, return_inverse=True)
    degree = np.bincount(np.concatenate([edges // rings.met, edges % rings.met]), minlength=rings.met)
    junction = np.zeros(len(rings.number), dtype=bool)
    junction[index] = degree[first] != 2
    edge = np.arange(len(rings.number)) + len(edges)
    edge[index] = shared
    return junction, edge


def _start_at_junctions(rings: _NumberedRings) -> tuple[_NumberedRings, Flags, Ints]:
    """Turn rings so that each starts at a junction, where it has one."""
    junction, edge = _find_junctions(rings)
    ring, place = number_rows(rings.sizes), number_items(rings.sizes)
    shift = np.full(len(rings.sizes), np.iinfo(np.int64).max)
    np.minimum.at(shift, ring[junction], place[junction])
    shift = np.where(shift == np.iinfo(np.int64).max, 0, shift)
    index = find_starts(rings.sizes)[ring] + (place + shift[ring]) % rings.sizes[ring]
    return rings.taken(index, rings.sizes), junction[index], edge[index]
