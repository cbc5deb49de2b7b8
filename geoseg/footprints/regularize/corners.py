"""Where straight walls meet: consecutive ones in a corner, three or more stretches of wall in a junction.

Facades run through junctions, and all walls of a junction agree on one point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.footprints.polygons import (
    Flags,
    Floats,
    Ints,
    Lines,
    compute_cross_products,
    compute_dot_products,
    compute_lengths,
    find_starts,
    number_items,
    number_rows,
    sum_rows,
)
from geoseg.footprints.regularize.outlines import ArcOutlines
from geoseg.footprints.regularize.parameters import CornerRules, JunctionRules, RoundRules
from geoseg.footprints.regularize.walls import Walls


def compute_circle_misfit_m2(outlines: ArcOutlines) -> Floats:
    """Mean squared distance of each outline from the circle around its middle (Simpson's rule along edges)."""
    middle = outlines.middle[outlines.arc]
    at_start = compute_lengths(outlines.points - middle)
    halfway = compute_lengths(outlines.edge_middle - middle)
    at_stop = at_start[outlines.following]
    radius = outlines.mean((at_start + 4 * halfway + at_stop) / 6)[outlines.arc]
    start, half, stop = ((distance - radius) ** 2 for distance in (at_start, halfway, at_stop))
    return outlines.mean((start + 4 * half + stop) / 6)


def smooth_rounds(rounds: ArcOutlines, tolerance_m: Floats, rules: RoundRules) -> Lines:
    """Points along the few longest waves of the outlines' distance from their middle.

    Circles and ovals stay what they are, and as large; stair steps, which are short waves, go.
    """
    waves = _fit_waves(rounds, rules.waves)
    mean_radius = np.sqrt(np.maximum(rounds.areas_m2 / np.pi - np.sum(np.abs(waves) ** 2, axis=0) / 2, 0))
    sizes = _choose_sizes(mean_radius, tolerance_m * rules.sagitta, rules)
    row = number_rows(sizes)
    step = 2 * np.pi / sizes
    angle = number_items(sizes) * step[row]
    radius = mean_radius[row]
    for number, wave in enumerate(waves, start=1):
        radius = radius + wave.real[row] * np.cos(number * angle) + wave.imag[row] * np.sin(number * angle)
    radius = radius * np.sqrt(step / np.sin(step))[row]
    return rounds.middle[row] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), sizes


def _choose_sizes(radius_m: Floats, sagitta_m: Floats, rules: RoundRules) -> Ints:
    """Number of points so that the circle bulges from its chords by no more than the sagitta."""
    step = 2 * np.arccos(1 - np.minimum(sagitta_m / np.maximum(radius_m, sagitta_m), 1))
    sizes = np.clip(np.ceil(2 * np.pi / step), rules.fewest_points, rules.most_points)
    return np.asarray(sizes, dtype=np.int64)


def _fit_waves(rounds: ArcOutlines, number_of_waves: int) -> NDArray[np.complex128]:
    """Cosine (real) and sine (imaginary) parts of the distance from the middle as a function of the direction."""
    middle = rounds.middle[rounds.arc]
    away = rounds.points - middle
    after = away[rounds.following]
    turned = np.arctan2(compute_cross_products(away, after), compute_dot_products(away, after))
    halfway = rounds.edge_middle - middle
    radius, angle = compute_lengths(halfway), np.arctan2(halfway[:, 1], halfway[:, 0])
    number = len(rounds.sizes)
    once = sum_rows(rounds.arc, turned, number)

    def part(values: Floats) -> Floats:
        return 2 * sum_rows(rounds.arc, radius * values * turned, number) / once

    waves = range(1, number_of_waves + 1)
    return np.stack([part(np.cos(wave * angle)) + 1j * part(np.sin(wave * angle)) for wave in waves])


def find_corners(
    walls: Walls, tolerance_m: Floats, centre: Floats, rules: CornerRules
) -> tuple[Floats, Floats]:
    """Where each wall, a line through `centre`, starts and stops.

    Where lines hardly meet, each wall ends beside the corner that the outline has.
    """
    after = walls.following
    crossing, met = _cross_lines(walls, centre, after, rules.least_sine)
    farthest = np.where(walls.squared & walls.squared[after], rules.farthest, rules.farthest_free)
    met &= compute_lengths(crossing - walls.stop) <= farthest * tolerance_m[walls.arc]
    stop = np.where(met[:, None], crossing, _project_points(centre, walls.along, walls.stop))
    start = _project_points(centre, walls.along, walls.start)
    start[after[met]] = crossing[met]
    return start, stop


def _cross_lines(walls: Walls, centre: Floats, after: Ints, least_sine: float) -> tuple[Floats, Flags]:
    sine = compute_cross_products(walls.along, walls.along[after])
    good = (np.abs(sine) >= least_sine) & (after >= 0)
    reach = compute_cross_products(centre[after] - centre, walls.along[after]) / np.where(good, sine, 1)
    return centre + reach[:, None] * walls.along, good


def _project_points(centre: Floats, along: Floats, point: Floats) -> Floats:
    """Foot of a point on each wall's line."""
    reach = compute_dot_products(point - centre, along)
    return centre + reach[:, None] * along


SAME_DIRECTION = 1e-6
"""Directions that were set to one differ by rounding alone."""


@dataclass(frozen=True)
class Junctions:
    """Which walls end in which junction, and where the outline has it.

    First come the walls that start an arc, then, in the same order of arcs, those that stop it.
    """

    wall: Ints
    junction: Ints
    anchor: Floats
    rules: JunctionRules

    @staticmethod
    def of(walls: Walls, ends: Ints, rules: JunctionRules) -> Junctions:
        """Junctions by the numbers of the `ends` of each arc."""
        arcs = np.flatnonzero(~walls.outlines.closed)
        first = find_starts(walls.per_arc)[arcs]
        last = first + walls.per_arc[arcs] - 1
        junction = np.unique(ends[arcs].T.ravel(), return_inverse=True)[1]
        anchor = np.zeros((int(junction.max(initial=-1)) + 1, 2))
        anchor[junction] = np.concatenate([walls.start[first], walls.stop[last]])
        return Junctions(np.concatenate([first, last]), junction, anchor, rules)

    def settle(self, walls: Walls, centre: Floats, tolerance_m: Floats, start: Floats, stop: Floats) -> None:
        """Let the walls that end in a junction start and stop in its one point."""
        point = self._find_points(walls, centre, tolerance_m)[self.junction]
        firsts = len(self.wall) // 2
        start[self.wall[:firsts]], stop[self.wall[firsts:]] = point[:firsts], point[firsts:]

    def _find_points(self, walls: Walls, centre: Floats, tolerance_m: Floats) -> Floats:
        """The point of each junction nearest to all lines that end in it (least squares), if it is near at all."""
        normal = walls.normal[self.wall]
        gap = compute_dot_products(normal, centre[self.wall] - self.anchor[self.junction])
        nx, ny = normal[:, 0], normal[:, 1]
        xx, xy, yy, bx, by = (self._sums(v) for v in (nx * nx, nx * ny, ny * ny, nx * gap, ny * gap))
        xx, yy = xx + self.rules.pull_to_outline, yy + self.rules.pull_to_outline
        move = np.stack([yy * bx - xy * by, xx * by - xy * bx], axis=1) / (xx * yy - xy * xy)[:, None]
        farthest = np.full(len(self.anchor), np.inf)
        np.minimum.at(farthest, self.junction, self.rules.farthest * tolerance_m[walls.arc[self.wall]])
        return self.anchor + np.where(compute_lengths(move) <= farthest, move.T, 0).T

    def _sums(self, values: Floats) -> Floats:
        return sum_rows(self.junction, values, len(self.anchor))

    def align_walls(self, walls: Walls, tolerance_m: Floats) -> Floats:
        """Centres of walls, moved so that walls which run through a junction lie in one line."""
        offset = compute_dot_products(walls.normal, walls.centre) * self._find_sides(walls)
        limit_m = self.rules.same_line * tolerance_m[walls.arc]
        line = self._number_lines(walls, offset, limit_m)
        number = len(line)
        weight = sum_rows(line, walls.chord, number)[line]
        common = sum_rows(line, walls.chord * offset, number)[line] / np.where(weight > 0, weight, 1)
        alone = np.bincount(line, minlength=number)[line] == 1
        apart = np.where(alone | (weight == 0), 0, common - offset)
        move = np.where(np.abs(apart) <= limit_m, apart, 0) * self._find_sides(walls)
        return walls.centre + move[:, None] * walls.normal

    @staticmethod
    def _find_sides(walls: Walls) -> Floats:
        """1 or -1, so that opposite walls along one line measure their distance from the origin alike."""
        east, north = walls.along[:, 0], walls.along[:, 1]
        level = np.abs(north) <= SAME_DIRECTION
        return np.where(np.where(level, east < 0, north < 0), -1.0, 1.0)

    def _number_lines(self, walls: Walls, offset: Floats, limit_m: Floats) -> Ints:
        """A number for each wall, the same for those that one line holds from junction to junction."""
        steps = round(np.pi / SAME_DIRECTION)
        direction = np.rint(walls.heading[self.wall] % np.pi / SAME_DIRECTION).astype(np.int64) % steps
        order = np.lexsort((offset[self.wall], direction, self.junction))
        wall, key = self.wall[order], np.stack([self.junction, direction])[:, order]
        linked = np.all(key[:, 1:] == key[:, :-1], axis=0) & (
            walls.squared[wall[1:]] & walls.squared[wall[:-1]]
        )
        linked &= np.diff(offset[wall]) <= limit_m[wall[1:]]
        pairs = wall[:-1][linked], wall[1:][linked]
        number = len(walls.arc)
        links = coo_array((np.ones(len(pairs[0])), pairs), shape=(number, number))
        return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
