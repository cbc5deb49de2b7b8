"""The arcs of a network as outlines that walls are fitted to, in coordinates near zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely

from geoseg.footprints.polygons import (
    Flags,
    Floats,
    Ints,
    compute_cross_products,
    compute_lengths,
    find_first_of_each,
    find_starts,
    make_offsets,
    number_items,
    number_rows,
    sum_rows,
)
from geoseg.footprints.regularize.network import Network

FEWEST_WALLS_OF_A_RING = 4
"""No outline loses its last four walls: a building has a box, a triangle of pixels is a box that is badly seen."""


@dataclass(frozen=True)
class ArcOutlines:
    """Outlines end to end, `sizes` points each; a `round_trip` is closed, or leads from a junction back to it."""

    points: Floats
    sizes: Ints
    closed: Flags
    round_trip: Flags

    @staticmethod
    def of(network: Network, origin: Floats, grain_m: float) -> ArcOutlines:
        """The network's arcs, seen from an origin for each; closed ones start at their most outlying point.

        Points are rounded to a grain far below a pixel, so that the same outline elsewhere is the very same.
        """
        arc, place = number_rows(network.sizes), number_items(network.sizes)
        starts = find_starts(network.sizes)
        points = np.rint((network.points - origin[arc]) / grain_m) * grain_m
        middle = np.stack([sum_rows(arc, c, len(starts)) for c in points.T], axis=1) / network.sizes[:, None]
        distance = compute_lengths(points - middle[arc])
        farthest = distance == np.maximum.reduceat(distance, starts)[arc]
        shift = np.where(network.closed, find_first_of_each(farthest, arc, len(starts)) - starts, 0)
        turned = starts[arc] + (place + shift[arc]) % network.sizes[arc]
        return ArcOutlines(points[turned], network.sizes, network.closed, network.round_trip)

    @cached_property
    def arc(self) -> Ints:
        """The outline of each point."""
        return number_rows(self.sizes)

    @cached_property
    def following(self) -> Ints:
        """Index of the point after each; after the last comes the first."""
        following = np.arange(1, len(self.points) + 1)
        starts = find_starts(self.sizes)
        following[starts + self.sizes - 1] = starts
        return following

    @property
    def fewest_walls(self) -> Ints:
        return np.where(self.round_trip, FEWEST_WALLS_OF_A_RING, 1)

    @property
    def areas_m2(self) -> Floats:
        """Area within each outline, closed by a straight line where it is open."""
        twice = compute_cross_products(self.points, self.points[self.following])
        return np.abs(sum_rows(self.arc, twice, len(self.sizes))) / 2

    @cached_property
    def edge_middle(self) -> Floats:
        """Middle of the edge after each point; open outlines have one too, from end to start."""
        return (self.points + self.points[self.following]) / 2

    @cached_property
    def edge_length(self) -> Floats:
        return compute_lengths(self.points[self.following] - self.points)

    def mean(self, values: Floats) -> Floats:
        """Mean along each outline of a value known for every edge."""
        number = len(self.sizes)
        return sum_rows(self.arc, self.edge_length * values, number) / sum_rows(
            self.arc, self.edge_length, number
        )

    @cached_property
    def middle(self) -> Floats:
        """Middle of each outline."""
        return np.stack([self.mean(coordinate) for coordinate in self.edge_middle.T], axis=1)

    def select_arcs(self, arcs: Ints) -> ArcOutlines:
        """Only the outlines of some arcs."""
        sizes = self.sizes[arcs]
        index = np.repeat(find_starts(self.sizes)[arcs], sizes) + number_items(sizes)
        return ArcOutlines(self.points[index], sizes, self.closed[arcs], self.round_trip[arcs])

    def index(self, arc: Ints, place: Ints) -> Ints:
        """Index of the points at places along outlines, counting on past the end of a closed one."""
        return find_starts(self.sizes)[arc] + place % self.sizes[arc]

    def at(self, arc: Ints, place: Ints) -> Floats:
        return self.points[self.index(arc, place)]

    def corners(self, tolerance_m: Floats) -> Flags:
        """Points that Douglas-Peucker keeps; all of them where a round trip would collapse."""
        closed = np.flatnonzero(self.closed)
        starts = find_starts(self.sizes)
        index = np.insert(np.arange(len(self.points)), (starts + self.sizes)[closed], starts[closed])
        lines = shapely.from_ragged_array(
            shapely.GeometryType.LINESTRING,
            np.column_stack([self.points[index], index]),
            (make_offsets(self.sizes + self.closed),),
        )
        simple = shapely.simplify(lines, tolerance_m, preserve_topology=False)
        corner = np.zeros(len(self.points), dtype=bool)
        corner[shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.int64)] = True
        few = self.round_trip & (shapely.get_num_points(simple) <= FEWEST_WALLS_OF_A_RING)
        return np.asarray(corner | few[self.arc])
