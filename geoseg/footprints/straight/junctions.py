"""Where three or more stretches of wall meet: facades that run through, and the point on which all agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.footprints.straight.ragged import Floats, Ints, row_sums, starts_of
from geoseg.footprints.straight.vectors import dots, lengths
from geoseg.footprints.straight.walls import Walls

PULL_TO_OUTLINE = 1e-6
FARTHEST_JUNCTION = 3.0
SAME_DIRECTION = 1e-6


@dataclass(frozen=True)
class Junctions:
    """Which walls end in which junction, and where the outline has it.

    First come the walls that start an arc, then, in the same order of arcs, those that stop it.
    """

    wall: Ints
    junction: Ints
    anchor: Floats

    @staticmethod
    def of(walls: Walls, ends: Ints) -> Junctions:
        """Junctions by the numbers of the `ends` of each arc."""
        arcs = np.flatnonzero(~walls.outlines.closed)
        first = starts_of(walls.per_arc)[arcs]
        last = first + walls.per_arc[arcs] - 1
        junction = np.unique(ends[arcs].T.ravel(), return_inverse=True)[1]
        anchor = np.zeros((int(junction.max(initial=-1)) + 1, 2))
        anchor[junction] = np.concatenate([walls.start[first], walls.stop[last]])
        return Junctions(np.concatenate([first, last]), junction, anchor)

    def settle(self, walls: Walls, centre: Floats, tolerance_m: Floats, start: Floats, stop: Floats) -> None:
        """Let the walls that end in a junction start and stop in its one point."""
        point = self._points(walls, centre, tolerance_m)[self.junction]
        firsts = len(self.wall) // 2
        start[self.wall[:firsts]], stop[self.wall[firsts:]] = point[:firsts], point[firsts:]

    def _points(self, walls: Walls, centre: Floats, tolerance_m: Floats) -> Floats:
        """The point of each junction nearest to all lines that end in it (least squares), if it is near at all."""
        normal = walls.normal[self.wall]
        gap = dots(normal, centre[self.wall] - self.anchor[self.junction])
        nx, ny = normal[:, 0], normal[:, 1]
        xx, xy, yy, bx, by = (self._sums(v) for v in (nx * nx, nx * ny, ny * ny, nx * gap, ny * gap))
        xx, yy = xx + PULL_TO_OUTLINE, yy + PULL_TO_OUTLINE
        move = np.stack([yy * bx - xy * by, xx * by - xy * bx], axis=1) / (xx * yy - xy * xy)[:, None]
        farthest = np.full(len(self.anchor), np.inf)
        np.minimum.at(farthest, self.junction, FARTHEST_JUNCTION * tolerance_m[walls.arc[self.wall]])
        return self.anchor + np.where(lengths(move) <= farthest, move.T, 0).T

    def _sums(self, values: Floats) -> Floats:
        return row_sums(self.junction, values, len(self.anchor))

    def through_lines(self, walls: Walls, tolerance_m: Floats) -> Floats:
        """Centres of walls, moved so that walls which run through a junction lie in one line."""
        offset = dots(walls.normal, walls.centre) * self._sides(walls)
        line = self._lines(walls, offset, tolerance_m)
        number = len(line)
        weight = row_sums(line, walls.chord, number)[line]
        common = row_sums(line, walls.chord * offset, number)[line] / np.where(weight > 0, weight, 1)
        alone = np.bincount(line, minlength=number)[line] == 1
        apart = np.where(alone | (weight == 0), 0, common - offset)
        move = np.where(np.abs(apart) <= tolerance_m[walls.arc], apart, 0) * self._sides(walls)
        return walls.centre + move[:, None] * walls.normal

    @staticmethod
    def _sides(walls: Walls) -> Floats:
        """1 or -1, so that opposite walls along one line measure their distance from the origin alike."""
        east, north = walls.along[:, 0], walls.along[:, 1]
        level = np.abs(north) <= SAME_DIRECTION
        return np.where(np.where(level, east < 0, north < 0), -1.0, 1.0)

    def _lines(self, walls: Walls, offset: Floats, tolerance_m: Floats) -> Ints:
        """A number for each wall, the same for those that one line holds from junction to junction."""
        steps = round(np.pi / SAME_DIRECTION)
        direction = np.rint(walls.heading[self.wall] % np.pi / SAME_DIRECTION).astype(np.int64) % steps
        order = np.lexsort((offset[self.wall], direction, self.junction))
        wall, key = self.wall[order], np.stack([self.junction, direction])[:, order]
        linked = np.all(key[:, 1:] == key[:, :-1], axis=0) & (
            walls.squared[wall[1:]] & walls.squared[wall[:-1]]
        )
        linked &= np.diff(offset[wall]) <= tolerance_m[walls.arc[wall[1:]]]
        pairs = wall[:-1][linked], wall[1:][linked]
        number = len(walls.arc)
        links = coo_array((np.ones(len(pairs[0])), pairs), shape=(number, number))
        return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
