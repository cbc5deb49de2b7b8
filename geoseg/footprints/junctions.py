"""Where three or more stretches of wall meet: facades that run through, and the point all of them agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.footprints.ragged import Floats, Ints, row_sums, starts_of
from geoseg.footprints.walls import Walls

PULL_TO_OUTLINE = 1e-6
FARTHEST_JUNCTION = 3.0


@dataclass(frozen=True)
class Junctions:
    """Which walls end in which junction, and where the outline has it."""

    wall: Ints
    junction: Ints
    anchor: Floats

    @staticmethod
    def of(walls: Walls, ends: Ints) -> Junctions:
        """Junctions of arcs whose `ends` are numbered; an arc's first wall and last wall end in them."""
        arcs = np.flatnonzero(~walls.outlines.closed)
        first = starts_of(walls.per_arc)[arcs]
        last = first + walls.per_arc[arcs] - 1
        _, junction = np.unique(np.concatenate([ends[arcs, 0], ends[arcs, 1]]), return_inverse=True)
        anchor = np.zeros((int(junction.max(initial=-1)) + 1, 2))
        anchor[junction] = np.concatenate([walls.start[first], walls.stop[last]])
        return Junctions(np.concatenate([first, last]), junction, anchor)

    def settle(self, walls: Walls, centre: Floats, tolerance_m: Floats, start: Floats, stop: Floats) -> None:
        """Let the walls that end in a junction start and stop in its one point."""
        point = self._points(walls, centre, tolerance_m)[self.junction]
        firsts = len(self.wall) // 2
        start[self.wall[:firsts]], stop[self.wall[firsts:]] = point[:firsts], point[firsts:]

    def _points(self, walls: Walls, centre: Floats, tolerance_m: Floats) -> Floats:
        """The point of each junction nearest to all lines that end in it (least squares)."""
        ux, uy = walls.along[self.wall].T
        normal = np.stack([-uy, ux], axis=1)
        gap = np.sum(normal * (centre[self.wall] - self.anchor[self.junction]), axis=1)
        nx, ny = normal.T
        sums = [
            row_sums(self.junction, v, len(self.anchor))
            for v in (nx * nx, nx * ny, ny * ny, nx * gap, ny * gap)
        ]
        xx, xy, yy, bx, by = sums
        xx, yy = xx + PULL_TO_OUTLINE, yy + PULL_TO_OUTLINE
        determinant = xx * yy - xy * xy
        move = np.stack([(yy * bx - xy * by), (xx * by - xy * bx)], axis=1) / determinant[:, None]
        far = np.full(len(self.anchor), np.inf)
        np.minimum.at(far, self.junction, FARTHEST_JUNCTION * tolerance_m[walls.arc[self.wall]])
        move[np.hypot(*move.T) > far] = 0
        return self.anchor + move

    def through_lines(self, walls: Walls, tolerance_m: Floats) -> Floats:
        """Centres of walls, moved so that walls which run through a junction lie in one line."""
        direction = np.rint(walls.heading[self.wall] % np.pi / 1e-6).astype(np.int64)
        direction[direction == round(np.pi / 1e-6)] = 0
        ux, uy = walls.along.T
        flip = np.where((uy < -1e-9) | ((np.abs(uy) <= 1e-9) & (ux < 0)), -1.0, 1.0)
        offset = flip * (ux * walls.centre[:, 1] - uy * walls.centre[:, 0])
        order = np.lexsort((offset[self.wall], direction, self.junction))
        wall, junction, direction = self.wall[order], self.junction[order], direction[order]
        near = (junction[1:] == junction[:-1]) & (direction[1:] == direction[:-1])
        near &= np.diff(offset[wall]) <= tolerance_m[walls.arc[wall[1:]]]
        near &= walls.squared[wall[1:]] & walls.squared[wall[:-1]]
        links = coo_array((np.ones(near.sum()), (wall[:-1][near], wall[1:][near])), shape=(len(flip),) * 2)
        _, line = connected_components(links, directed=False)
        weight = walls.chord
        pooled = (
            row_sums(line, weight * offset, len(flip)) / np.maximum(row_sums(line, weight, len(flip)), 1e-12)
        )[line]
        move = np.where(np.abs(pooled - offset) <= tolerance_m[walls.arc], pooled - offset, 0) * flip
        alone = np.bincount(line, minlength=len(flip))[line] == 1
        move[alone] = 0
        return walls.centre + move[:, None] * np.stack([-uy, ux], axis=1)
