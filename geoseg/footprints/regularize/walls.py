"""Straight walls fitted to outlines.

A wall knows its stretch of outline mainly by moments (integrals of 1, x, y, x², xy and y² along it), so that walls can
be joined and fitted again without going back to the outline. Least squares over a whole stair step finds the
wall behind it to a fraction of a pixel, and neither inside nor outside of it on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from geoseg.footprints.polygons import (
    Flags,
    Floats,
    Ints,
    compute_dot_products,
    compute_lengths,
    find_starts,
    number_items,
    number_rows,
    sum_rows,
)
from geoseg.footprints.regularize.outlines import ArcOutlines


@dataclass(frozen=True)
class Walls:
    """Walls in order along their arcs, each facing along its `heading` (radians).

    Wall i covers the outline of its arc from place `first[i]` to `last[i]`, counting on past the end of a closed
    arc. `squared` tells that the heading is a main direction of the building and no longer the wall's own.
    """

    outlines: ArcOutlines
    arc: Ints
    first: Ints
    last: Ints
    moments: Floats
    heading: Floats
    squared: Flags

    @cached_property
    def per_arc(self) -> Ints:
        return np.bincount(self.arc, minlength=len(self.outlines.sizes))

    @cached_property
    def following(self) -> Ints:
        """The wall after each along its arc, or -1."""
        following = np.arange(1, len(self.arc) + 1)
        arcs = np.flatnonzero(self.per_arc)
        starts, counts = find_starts(self.per_arc)[arcs], self.per_arc[arcs]
        following[starts + counts - 1] = np.where(self.outlines.closed[arcs], starts, -1)
        return following

    @cached_property
    def previous(self) -> Ints:
        """The wall before each along its arc, or -1."""
        previous = np.full(len(self.arc), -1)
        has = self.following >= 0
        previous[self.following[has]] = np.flatnonzero(has)
        return previous

    @cached_property
    def start(self) -> Floats:
        return self.outlines.at(self.arc, self.first)

    @cached_property
    def stop(self) -> Floats:
        return self.outlines.at(self.arc, self.last)

    @cached_property
    def centre(self) -> Floats:
        return np.asarray(self.moments[:, 1:3] / self.moments[:, :1])

    @cached_property
    def along(self) -> Floats:
        """Unit vector in the wall's direction."""
        return np.stack([np.cos(self.heading), np.sin(self.heading)], axis=1)

    @property
    def normal(self) -> Floats:
        """Unit vector to the wall's left."""
        return np.stack([-self.along[:, 1], self.along[:, 0]], axis=1)

    @cached_property
    def misfit(self) -> Floats:
        """How badly each fits its own line."""
        return compute_misfit(self.moments)

    @cached_property
    def chord(self) -> Floats:
        """Distance from start to stop."""
        return compute_lengths(self.stop - self.start)

    @property
    def spare(self) -> Flags:
        """Walls whose arc can do with one wall fewer."""
        return (self.per_arc > self.outlines.fewest_walls)[self.arc]

    def joined(self, with_following: Flags) -> Walls:
        """Join walls with the one after them; no two neighbours may be asked for at once.

        A wall that is squared lends its heading to one that is not.
        """
        wall = np.flatnonzero(with_following)
        after = self.following[wall]
        moments, last = self.moments.copy(), self.last.copy()
        moments[wall] += moments[after]
        last[wall] += self.last[after] - self.first[after]
        heading, squared = self.heading.copy(), self.squared.copy()
        heading[wall] = np.where(squared[wall], heading[wall], heading[after])
        squared[wall] |= squared[after]
        changed = replace(self, moments=moments, last=last, heading=heading, squared=squared)
        return changed._remove(after)

    def dropped(self, walls: Flags) -> Walls:
        """Leave walls out, so that those before and after them meet; no two neighbours may be dropped at once."""
        wall = np.flatnonzero(walls)
        before, after = self.previous[wall], self.following[wall]
        length = self.last[wall] - self.first[wall]
        to_after = np.where(before < 0, length, np.where(after < 0, 0, length // 2))
        first, last = self.first.copy(), self.last.copy()
        last[before[before >= 0]] += (length - to_after)[before >= 0]
        first[after[after >= 0]] -= to_after[after >= 0]
        turn = np.where(first < 0, self.outlines.sizes[self.arc], 0)
        return replace(self, first=first + turn, last=last + turn)._remove(wall)

    def _remove(self, index: Ints) -> Walls:
        keep = np.ones(len(self.arc), dtype=bool)
        keep[index] = False
        return self.take(keep)

    def take(self, walls: Flags | Ints) -> Walls:
        """Some of the walls, arcs whole or not at all."""
        columns = (getattr(self, name)[walls] for name in WALL_COLUMNS)
        return Walls(self.outlines, *columns)

    @staticmethod
    def merge(several: Sequence[Walls]) -> Walls:
        """The walls of different arcs together, in the order of arcs."""
        if len(several) == 1:
            return several[0]
        columns = {name: np.concatenate([getattr(walls, name) for walls in several]) for name in WALL_COLUMNS}
        return Walls(several[0].outlines, **columns).take(np.argsort(columns["arc"], kind="stable"))


WALL_COLUMNS = tuple(field.name for field in fields(Walls) if field.name != "outlines")
FEW = 0.7
"""Walls that are settled are put aside when they are more than the rest of these; moving them costs, too."""


def change_until_settled(walls: Walls, change: Callable[[Walls], Walls]) -> Walls:
    """Change walls again and again, until no arc has fewer; what becomes of an arc must depend on its own walls alone.

    Most arcs are settled after a few rounds: the others are then changed without them.
    """
    settled: list[Walls] = []
    while True:
        changed = change(walls)
        moved = (changed.per_arc < walls.per_arc)[changed.arc]
        if not moved.any():
            return Walls.merge([*settled, walls])
        if moved.sum() < FEW * len(moved):
            settled.append(changed.take(~moved))
            changed = changed.take(moved)
        walls = changed


def find_lowest(cost: Floats, walls: Walls) -> Flags:
    """Walls that cost less than both neighbours (the earlier one where they cost the same)."""
    index = np.arange(len(cost))
    lowest = np.isfinite(cost)
    for neighbour in (walls.previous, walls.following):
        other = cost[neighbour]
        lowest &= (neighbour < 0) | (cost < other) | ((cost == other) & (index < neighbour))
    return lowest


def fit_walls(outlines: ArcOutlines, tolerance_m: Floats) -> Walls:
    """Walls between the corners that Douglas-Peucker finds along each outline (one tolerance for each)."""
    walls = draw_walls(outlines, tolerance_m)
    counts = walls.last - walls.first
    edges = np.repeat(outlines.index(walls.arc, walls.first), counts) + number_items(counts)
    begin, end = outlines.points[edges], outlines.points[outlines.following[edges]]
    fitted = replace(walls, moments=_compute_moments(begin, end, number_rows(counts)))
    return replace(fitted, heading=fit_headings(fitted))


def draw_walls(outlines: ArcOutlines, tolerance_m: Floats) -> Walls:
    """The same walls from corner to corner, fitted to nothing."""
    corner = outlines.corners(tolerance_m)
    walls_of_arc = sum_rows(outlines.arc, corner, len(outlines.sizes)).astype(np.int64) - ~outlines.closed
    first = _drop_open_ends(np.flatnonzero(corner), outlines)
    arc = number_rows(walls_of_arc)
    place = first - find_starts(outlines.sizes)[arc]
    last = np.append(place[1:], 0)
    ends = np.cumsum(walls_of_arc) - 1
    last[ends] = outlines.sizes - ~outlines.closed
    return Walls(
        outlines=outlines,
        arc=arc,
        first=place,
        last=last,
        moments=np.zeros((len(arc), 6)),
        heading=np.zeros(len(arc)),
        squared=np.zeros(len(arc), dtype=bool),
    )


def _drop_open_ends(corners: Ints, outlines: ArcOutlines) -> Ints:
    """Corners at which a wall starts: at the end of an open outline none does."""
    ends = np.cumsum(outlines.sizes) - 1
    is_end = np.zeros(len(outlines.points), dtype=bool)
    is_end[ends[~outlines.closed]] = True
    return corners[~is_end[corners]]


def _compute_moments(first: Floats, second: Floats, wall: Ints) -> Floats:
    """Integrals of 1, x, y, x², xy, y² along the edges of each wall."""
    number = int(wall[-1]) + 1
    length = compute_lengths(second - first)
    (ax, ay), (bx, by) = first.T, second.T
    integrands = (
        np.ones(len(length)),
        (ax + bx) / 2,
        (ay + by) / 2,
        (ax * ax + ax * bx + bx * bx) / 3,
        (2 * (ax * ay + bx * by) + ax * by + bx * ay) / 6,
        (ay * ay + ay * by + by * by) / 3,
    )
    return np.stack([sum_rows(wall, length * value, number) for value in integrands], axis=1)


def _compute_scatter(moments: Floats) -> tuple[Floats, Floats, Floats]:
    """Integrals of x², xy, y² about the centre."""
    length, x, y, xx, xy, yy = moments.T
    return xx - x * x / length, xy - x * y / length, yy - y * y / length


def fit_headings(walls: Walls) -> Floats:
    """Direction of the line that fits each wall best, pointing from start to stop."""
    xx, xy, yy = _compute_scatter(walls.moments)
    heading = np.arctan2(2 * xy, xx - yy) / 2
    away = (
        compute_dot_products(walls.stop - walls.start, np.stack([np.cos(heading), np.sin(heading)], axis=1))
        < 0
    )
    return np.asarray(np.where(away, heading + np.pi, heading))


def compute_misfit(moments: Floats) -> Floats:
    """Squared distance from the best line, integrated along the wall (m³)."""
    xx, xy, yy = _compute_scatter(moments)
    return np.asarray(np.maximum((xx + yy - np.hypot(xx - yy, 2 * xy)) / 2, 0))


def compute_misfit_along(moments: Floats, along: Floats) -> Floats:
    """Squared distance from the best line in a given direction, integrated along the wall (m³)."""
    xx, xy, yy = _compute_scatter(moments)
    ux, uy = along.T
    return np.asarray(xx * uy * uy - 2 * xy * ux * uy + yy * ux * ux)


def join_needless_walls(walls: Walls, tolerance_m: Floats) -> Walls:
    """Join neighbours, the best pairs first, while one line fits both nearly as well as two."""
    limit = tolerance_m**3

    def join_best(walls: Walls) -> Walls:
        after, apart = walls.following, walls.misfit
        cost = compute_misfit(walls.moments + walls.moments[after]) - apart - apart[after]
        cost[(after < 0) | (cost > limit[walls.arc]) | ~walls.spare] = np.inf
        return walls.joined(find_lowest(cost, walls))

    joined = change_until_settled(walls, join_best)
    return replace(joined, heading=fit_headings(joined))


def fit_middles(walls: Walls, margin_m: Floats) -> Walls:
    """The same walls where the middle of their stretch has them, without a margin at both ends (one for each arc).

    Where that would leave less than a third of a wall, all of it counts.
    """
    counts = walls.last - walls.first
    wall = number_rows(counts)
    place = walls.first[wall] + number_items(counts)
    edge = walls.outlines.index(walls.arc[wall], place)
    begin, end = walls.outlines.points[edge], walls.outlines.points[walls.outlines.following[edge]]
    reach = compute_dot_products((begin + end) / 2 - walls.start[wall], walls.along[wall])
    length = compute_dot_products(walls.stop - walls.start, walls.along)
    margin = np.where(length < 3 * margin_m[walls.arc], -np.inf, margin_m[walls.arc])
    middle = (reach >= margin[wall]) & (reach <= (length - margin)[wall])
    middle |= (sum_rows(wall, middle, len(counts)) == 0)[wall]
    return replace(walls, moments=_compute_moments(begin[middle], end[middle], wall[middle]))


def average_misfit_m2(walls: Walls) -> Floats:
    """Mean squared distance of each arc's outline from its walls as they face."""
    across = compute_misfit_along(walls.moments, walls.along)
    number = len(walls.outlines.sizes)
    return sum_rows(walls.arc, across, number) / sum_rows(walls.arc, walls.moments[:, 0], number)
