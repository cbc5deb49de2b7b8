"""How well the shapes of outlines agree, in a plane of metres: vertices, distances, directions, boundaries.

PoLiS, after Avbelj, Müller and Bamler (2015), "A Metric for Polygon Comparison and Building Extraction Evaluation": how
far the vertices of each of two polygons are, on average, from the boundary of the other.

The maximum tangent angle error, after Girard et al. (2021), "Polygonal Building Segmentation by Frame Field Learning": a
predicted outline is cut into short pieces, their ends are moved to the nearest points of the true outline, and the largest
turn of a piece counts. Pieces that come out more than twice as long or less than half as long are left out, as there: at a
corner, the nearest point jumps. There all outlines of an image are one target, here it is the matching footprint.

The boundary F1 score, after Csurka et al. (2013), "What is a good evaluation measure for semantic segmentation?": which
share of the predicted boundaries has a true one within a distance (precision), and the other way round (recall).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.polygons import find_starts, number_items
from geoseg.scores.confusion import Floats, divide
from geoseg.scores.outlines import ROUNDING, Ints

Polygons = NDArray[np.object_]

LARGEST_STRETCH = 2.0
"""Pieces that are stretched more than this on their way to the true outline have no partner there; as published."""
MOST_NEIGHBOURS = 8
"""With more of them, it is faster to look for the nearest one point by point than to measure to each."""
POLYGONS_AT_ONCE = 10_000
"""About a million points of houses, each a Python object while distances are measured."""


@dataclass(frozen=True)
class RingPoints:
    """Points along the rings of polygons: where they are, whose they are, and which one follows on the same ring."""

    places: Floats
    owner: Ints
    following: Ints

    @classmethod
    def along(cls, polygons: Polygons, spacing: float = np.inf) -> RingPoints:
        """The vertices, and on longer edges further points about so far from each other."""
        parts, polygon = shapely.get_parts(polygons, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        corners, ring = shapely.get_coordinates(rings, return_index=True)
        starts = np.flatnonzero(ring[1:] == ring[:-1])
        edges = corners[starts + 1] - corners[starts]
        pieces = np.maximum(1, np.rint(np.hypot(*edges.T) / spacing)).astype(np.int64)
        edge = np.repeat(np.arange(len(pieces)), pieces)
        share = number_items(pieces) / pieces[edge]
        own_ring = ring[starts][edge]
        return cls(
            corners[starts][edge] + share[:, None] * edges[edge],
            polygon[part[own_ring]],
            find_following(np.bincount(own_ring, minlength=len(rings))),
        )

    @property
    def pieces(self) -> Floats:
        """The way from each point to the next."""
        return np.asarray(self.places[self.following] - self.places)

    @property
    def lengths(self) -> Floats:
        """The length of the piece that begins at each point."""
        return np.asarray(np.hypot(*self.pieces.T))


def find_following(sizes: Ints) -> Ints:
    """For the points of rings laid end to end, the number of the next one; after a ring's last comes its first."""
    following = np.arange(1, sizes.sum() + 1)
    filled = sizes > 0
    following[(find_starts(sizes) + sizes - 1)[filled]] = find_starts(sizes)[filled]
    return following


def count_vertices(polygons: Polygons) -> Ints:
    """How many corners each polygon has, those of its holes included."""
    parts, polygon = shapely.get_parts(polygons, return_index=True)
    # The first corner of every ring is listed again as its last.
    corners = shapely.get_num_coordinates(parts) - shapely.get_num_interior_rings(parts) - 1
    counted = np.bincount(polygon, weights=np.maximum(corners, 0), minlength=len(polygons))
    return counted.astype(np.int64)


def measure_polis(one: Polygons, other: Polygons, at_once: int = POLYGONS_AT_ONCE) -> Floats:
    """The PoLiS distance of polygons, pair by pair."""
    return (measure_vertex_distances(one, other, at_once) + measure_vertex_distances(other, one, at_once)) / 2


def measure_vertex_distances(polygons: Polygons, others: Polygons, at_once: int) -> Floats:
    """How far the vertices of each polygon are, on average, from the boundary of its partner."""
    distances = np.zeros(len(polygons))
    for batch in split_batches(len(polygons), at_once):
        vertices = RingPoints.along(polygons[batch])
        boundaries = shapely.boundary(others[batch])
        gaps = shapely.distance(shapely.points(vertices.places), boundaries[vertices.owner])
        size = len(boundaries)
        sums = np.bincount(vertices.owner, weights=gaps, minlength=size)
        distances[batch] = divide(sums, np.bincount(vertices.owner, minlength=size))
    return distances


def measure_tangent_angles(
    predicted: Polygons, true: Polygons, spacing: float, at_once: int = POLYGONS_AT_ONCE
) -> Floats:
    """The maximum tangent angle error in degrees, pair by pair; nan where no piece can be compared."""
    angles = np.full(len(predicted), np.nan)
    for batch in split_batches(len(predicted), at_once):
        points = RingPoints.along(predicted[batch], spacing)
        targets = move_to_boundaries(points, true[batch])
        lengths, target_lengths = points.lengths, np.hypot(*targets.T)
        stretch = divide(target_lengths, lengths)
        comparable = (stretch > 1 / LARGEST_STRETCH) & (stretch < LARGEST_STRETCH)
        cosines = np.abs(np.sum(points.pieces * targets, axis=1))[comparable]
        cosines /= (lengths * target_lengths)[comparable]
        turns = np.degrees(np.arccos(np.minimum(cosines, 1)))
        largest = np.full(batch.stop - batch.start, -1.0)
        np.maximum.at(largest, points.owner[comparable], turns)
        angles[batch] = np.where(largest < 0, np.nan, largest)
    return angles


def move_to_boundaries(points: RingPoints, polygons: Polygons) -> Floats:
    """The pieces between points after these are moved to the nearest places on the boundaries of other polygons."""
    boundaries = shapely.boundary(polygons)
    ways = shapely.shortest_line(shapely.points(points.places), boundaries[points.owner])
    nearest = shapely.get_coordinates(ways).reshape(-1, 2, 2)[:, 1]
    return np.asarray(nearest[points.following] - nearest)


def measure_near_lengths(
    polygons: Polygons,
    others: Polygons,
    distances: Sequence[float],
    spacing: float,
    at_once: int = POLYGONS_AT_ONCE,
    most_neighbours: int = MOST_NEIGHBOURS,
) -> Floats:
    """How many metres of the boundary of each polygon have another one's within each distance: (distance, polygon)."""
    near_lengths = np.zeros((len(distances), len(polygons)))
    boundaries = shapely.boundary(others)
    tree = shapely.STRtree(boundaries)
    for batch in split_batches(len(polygons), at_once):
        points = RingPoints.along(polygons[batch], spacing)
        gaps = measure_gaps(points, polygons[batch], tree, max(distances), most_neighbours)
        for at, distance in enumerate(distances):
            near = (gaps <= distance + ROUNDING).astype(np.float64)
            lengths = points.lengths * (near + near[points.following]) / 2
            near_lengths[at, batch] = np.bincount(points.owner, lengths, batch.stop - batch.start)
    return near_lengths


def measure_gaps(
    points: RingPoints, polygons: Polygons, tree: shapely.STRtree, farthest: float, most_neighbours: int
) -> Floats:
    """How far each point on polygons is from the nearest boundary in a tree; infinite where that is too far."""
    number, near = tree.query(shapely.boundary(polygons), predicate="dwithin", distance=farthest)
    near, counts = near[np.argsort(number, kind="stable")], np.bincount(number, minlength=len(polygons))
    gaps = np.full(len(points.places), np.inf)
    many = counts > most_neighbours
    rows = np.flatnonzero(many[points.owner])
    found, measured = tree.query_nearest(
        shapely.points(points.places[rows]), max_distance=farthest, return_distance=True, all_matches=False
    )
    gaps[rows[found[0]]] = measured
    rows = np.flatnonzero(~many[points.owner] & (counts[points.owner] > 0))
    places, owner, starts = shapely.points(points.places[rows]), points.owner[rows], find_starts(counts)
    for rank in range(int(counts[~many].max(initial=0))):
        chosen = counts[owner] > rank
        boundaries = tree.geometries[near[starts[owner[chosen]] + rank]]
        gaps[rows[chosen]] = np.minimum(gaps[rows[chosen]], shapely.distance(places[chosen], boundaries))
    return gaps


def split_batches(number: int, at_once: int) -> Iterator[slice]:
    """Runs of polygons few enough to be measured at once."""
    for start in range(0, number, at_once):
        yield slice(start, min(start + at_once, number))
