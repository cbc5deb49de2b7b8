"""Straight walls fitted to the arcs of a network of outlines, and the corners in which they meet.

A wall knows its stretch of outline only by moments (integrals of 1, x, y, x², xy and y² along it), so that walls can
be joined and fitted again without going back to the outline. Least squares over a whole stair step finds the
wall behind it to a fraction of a pixel, and neither inside nor outside of it on average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely

from geoseg.footprints.network import Network
from geoseg.footprints.ragged import (
    Flags,
    Floats,
    Ints,
    offsets_of,
    place_in_row,
    row_of,
    row_sums,
    starts_of,
)

FEWEST_WALLS_OF_A_RING = 4


@dataclass(frozen=True)
class Walls:
    """Walls in order along their arcs: wall i runs from `start` to `stop` and faces along `heading` (radians).

    `squared` tells that the heading is a main direction of the building and no longer the wall's own.
    `closed` tells of each arc (not wall) whether its last wall meets its first.
    """

    arc: Ints
    start: Floats
    stop: Floats
    moments: Floats
    heading: Floats
    squared: Flags
    closed: Flags

    @cached_property
    def per_arc(self) -> Ints:
        return np.bincount(self.arc, minlength=len(self.closed))

    @cached_property
    def following(self) -> Ints:
        """The wall after each along its arc, or -1."""
        following = np.arange(1, len(self.arc) + 1)
        starts, walls = starts_of(self.per_arc), self.per_arc
        following[(starts + walls - 1)[walls > 0]] = np.where(self.closed, starts, -1)[walls > 0]
        return following

    @cached_property
    def previous(self) -> Ints:
        """The wall before each along its arc, or -1."""
        previous = np.full(len(self.arc), -1)
        has = self.following >= 0
        previous[self.following[has]] = np.flatnonzero(has)
        return previous

    @cached_property
    def centre(self) -> Floats:
        return self.moments[:, 1:3] / self.moments[:, :1]

    @cached_property
    def along(self) -> Floats:
        """Unit vector in the wall's direction."""
        return np.stack([np.cos(self.heading), np.sin(self.heading)], axis=1)

    @cached_property
    def chord(self) -> Floats:
        """Distance from start to stop."""
        return np.hypot(*(self.stop - self.start).T)

    def joined(self, with_following: Flags) -> Walls:
        """Join walls with the one after them; no two neighbours may be asked for at once."""
        first = np.flatnonzero(with_following)
        second = self.following[first]
        moments, stop = self.moments.copy(), self.stop.copy()
        moments[first] += moments[second]
        stop[first] = stop[second]
        return replace(self, moments=moments, stop=stop)._without(second)

    def dropped(self, walls: Flags) -> Walls:
        """Leave walls out, so that those before and after them meet; no two neighbours may be dropped at once."""
        index = np.flatnonzero(walls)
        before, after = self.previous[index], self.following[index]
        middle = (self.start[index] + self.stop[index]) / 2
        start, stop = self.start.copy(), self.stop.copy()
        between = (before >= 0) & (after >= 0)
        start[after[after >= 0]] = np.where(between[:, None], middle, self.start[index])[after >= 0]
        stop[before[before >= 0]] = np.where(between[:, None], middle, self.stop[index])[before >= 0]
        return replace(self, start=start, stop=stop)._without(index)

    def _without(self, index: Ints) -> Walls:
        keep = np.ones(len(self.arc), dtype=bool)
        keep[index] = False
        return Walls(
            self.arc[keep],
            self.start[keep],
            self.stop[keep],
            self.moments[keep],
            self.heading[keep],
            self.squared[keep],
            self.closed,
        )

    def spare(self) -> Flags:
        """Walls whose arc can do with one wall fewer."""
        fewest = np.where(self.closed, FEWEST_WALLS_OF_A_RING, 1)
        return (self.per_arc > fewest)[self.arc]


def lowest_of_neighbours(cost: Floats, walls: Walls) -> Flags:
    """Walls that cost less than both neighbours (the earlier one where they cost the same)."""
    index = np.arange(len(cost))
    lowest = np.isfinite(cost)
    for neighbour in (walls.previous, walls.following):
        other = cost[neighbour]
        lowest &= (neighbour < 0) | (cost < other) | ((cost == other) & (index < neighbour))
    return lowest


def fitted_walls(network: Network, points: Floats, tolerance_m: Floats) -> Walls:
    """Walls between the corners that Douglas-Peucker finds along each arc (one tolerance for each)."""
    corners = _corners(network, points, tolerance_m)
    return _measured(network, points, corners)


def _lines(network: Network, points: Floats) -> Ints:
    """Indices of the points of each arc as a line; closed arcs start, and end, at their most outlying point."""
    arc, place = row_of(network.sizes), place_in_row(network.sizes)
    middle = np.stack([row_sums(arc, c, len(network.sizes)) for c in points.T], axis=1) / network.sizes[:, None]
    distance = np.hypot(*(points - middle[arc]).T)
    starts = starts_of(network.sizes)
    farthest = np.lexsort((place, -distance, arc))[starts] - starts
    shift = np.where(network.closed, farthest, 0)
    turned = starts[arc] + (place + shift[arc]) % network.sizes[arc]
    closed = np.flatnonzero(network.closed)
    return np.insert(turned, (starts + network.sizes)[closed], turned[starts[closed]])


def _corners(network: Network, points: Floats, tolerance_m: Floats) -> tuple[Ints, Ints, Flags]:
    """Point index and arc of each line's points, and whether the point is a corner."""
    index = _lines(network, points)
    sizes = network.sizes + network.closed
    numbered = np.column_stack([points[index], np.arange(len(index))])
    lines = shapely.from_ragged_array(shapely.GeometryType.LINESTRING, numbered, (offsets_of(sizes),))
    simple = shapely.simplify(lines, tolerance_m, preserve_topology=False)
    kept = shapely.get_coordinates(simple, include_z=True)[:, 2].astype(np.int64)
    corner = np.zeros(len(index), dtype=bool)
    corner[kept] = True
    collapsed = network.closed & (shapely.get_num_points(simple) < FEWEST_WALLS_OF_A_RING)
    arc = row_of(sizes)
    return index, arc, corner | collapsed[arc]


def _measured(network: Network, points: Floats, corners: tuple[Ints, Ints, Flags]) -> Walls:
    index, arc, corner = corners
    inner = arc[1:] == arc[:-1]
    opens = np.flatnonzero(corner[:-1] & inner)
    wall = (np.cumsum(corner[:-1] & inner) - 1)[inner]
    first, second = points[index[:-1][inner]], points[index[1:][inner]]
    closes = np.append(opens[1:], len(index) - 1)
    closes = np.where(arc[closes] == arc[opens], closes, 0)
    last_of_arc = np.cumsum(np.bincount(arc)) - 1
    closes = np.where(closes == 0, last_of_arc[arc[opens]], closes)
    walls = Walls(
        arc=arc[opens],
        start=points[index[opens]],
        stop=points[index[closes]],
        moments=_moments(first, second, wall, len(opens)),
        heading=np.zeros(len(opens)),
        squared=np.zeros(len(opens), dtype=bool),
        closed=network.closed,
    )
    return replace(walls, heading=own_heading(walls))


def _moments(first: Floats, second: Floats, wall: Ints, number: int) -> Floats:
    """Integrals of 1, x, y, x², xy, y² along the edges of each wall."""
    length = np.hypot(*(second - first).T)
    (ax, ay), (bx, by) = first.T, second.T
    integrands = (
        np.ones(len(length)),
        (ax + bx) / 2,
        (ay + by) / 2,
        (ax * ax + ax * bx + bx * bx) / 3,
        (2 * (ax * ay + bx * by) + ax * by + bx * ay) / 6,
        (ay * ay + ay * by + by * by) / 3,
    )
    return np.stack([row_sums(wall, length * value, number) for value in integrands], axis=1)


def _scatter(moments: Floats) -> Floats:
    """Integrals of x², xy, y² about the centre."""
    length, x, y, xx, xy, yy = moments.T
    return np.stack([xx - x * x / length, xy - x * y / length, yy - y * y / length])


def own_heading(walls: Walls) -> Floats:
    """Direction of the line that fits each wall best, pointing from start to stop."""
    xx, xy, yy = _scatter(walls.moments)
    heading = np.arctan2(2 * xy, xx - yy) / 2
    dx, dy = (walls.stop - walls.start).T
    away = dx * np.cos(heading) + dy * np.sin(heading) < 0
    return np.where(away, heading + np.pi, heading)


def misfit(moments: Floats) -> Floats:
    """Squared distance from the best line, integrated along the wall (m³)."""
    xx, xy, yy = _scatter(moments)
    return np.maximum((xx + yy - np.hypot(xx - yy, 2 * xy)) / 2, 0)


def without_needless_corners(walls: Walls, tolerance_m: Floats) -> Walls:
    """Join neighbours, the best pairs first, while one line fits both nearly as well as two."""
    limit = tolerance_m**3 / 2
    while True:
        after = walls.following
        cost = misfit(walls.moments + walls.moments[after]) - misfit(walls.moments) - misfit(walls.moments[after])
        cost[(after < 0) | (cost > limit[walls.arc]) | ~walls.spare()] = np.inf
        joined = lowest_of_neighbours(cost, walls)
        if not joined.any():
            return replace(walls, heading=own_heading(walls))
        walls = walls.joined(joined)
