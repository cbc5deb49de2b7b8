"""The straight form of a network of outlines: where each point of each arc would be if walls were as built.

Also how far straight walls stray from their outlines: a bound that spares intersecting polygons.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from geoseg.footprints.polygons import (
    Flags,
    Floats,
    Lines,
    choose_lines,
    compute_cross_products,
    compute_dot_products,
    find_starts,
    number_items,
    number_rows,
    sum_rows,
)
from geoseg.footprints.regularize.corners import (
    Junctions,
    compute_circle_misfit_m2,
    find_corners,
    smooth_rounds,
)
from geoseg.footprints.regularize.network import Network
from geoseg.footprints.regularize.outlines import ArcOutlines
from geoseg.footprints.regularize.parameters import (
    DEFAULT_RULES,
    DirectionRules,
    NoiseRules,
    RoundRules,
    StraighteningRules,
)
from geoseg.footprints.regularize.squaring import (
    find_main_directions,
    harmonize_directions,
    square_walls,
    tidy_walls,
)
from geoseg.footprints.regularize.walls import (
    Walls,
    average_misfit_m2,
    draw_walls,
    fit_middles,
    fit_walls,
    join_needless_walls,
)

GRAIN_PER_PIXEL = 1e-4
"""Coordinates are rounded to a grain far below anything that matters, and far above the last digit of a double."""


class Form(IntEnum):
    """What may become of an outline, the straightest first."""

    STRAIGHT = 0
    """Walls along the main directions of the building, where they are so."""
    FITTED = 1
    """Each wall along its own best line."""
    COARSE = 2
    """The outline's own points as far as they differ by more than noise (Douglas-Peucker)."""
    SIMPLIFIED = 3
    """More of its points."""
    TRACED = 4
    """The outline itself."""


@dataclass(frozen=True)
class StraightDraft:
    """Arcs in all forms but the traced one, and what is needed to judge them.

    `has_walls` tells of each polygon whether it has main directions and is not round; `strayed_m2` bounds the area
    between its outline and its straight form; `simple_m` is how far a simplified outline may stray.
    """

    straight: Lines
    fitted: Lines
    coarse: Lines
    simplified: Lines
    has_walls: Flags
    strayed_m2: Floats
    simple_m: float
    resolution_m: float

    @property
    def forms(self) -> tuple[Lines, ...]:
        """By their number as a `Form`."""
        return self.straight, self.fitted, self.coarse, self.simplified


def straighten_network(
    network: Network, resolution_m: float, rules: StraighteningRules = DEFAULT_RULES
) -> StraightDraft:
    """Draw all arcs straight."""
    origin = _find_origins(network)
    outlines = ArcOutlines.of(network, origin, resolution_m * GRAIN_PER_PIXEL)
    noise = rules.noise
    usual_m = max(noise.tolerance_pixels * resolution_m, noise.least_tolerance_m)
    tolerance_m = _compute_tolerances_m(outlines, usual_m, noise)
    simple = fit_walls(outlines, tolerance_m * noise.simple_share)
    fitted = join_needless_walls(simple, tolerance_m)
    directions = _find_directions(network, fitted, rules.directions)
    offered = _offer_directions(network, fitted, directions)
    squared = square_walls(fitted, offered, tolerance_m, rules.squaring)
    tidy = tidy_walls(squared, tolerance_m, rules.squaring, rules.corners)
    walls = fit_middles(tidy, tolerance_m * noise.rounded_corner)
    start, stop = _find_ends(network, walls, tolerance_m, rules)
    strayed_m2 = network.sum_per_polygon(bound_strayed_area_m2(walls, start, stop))
    is_round = _find_round(outlines, walls, tolerance_m, rules.rounds)
    has_round = network.sum_per_polygon(is_round) > 0
    lines = _insert_rounds(_join_ends(walls, start, stop), outlines, is_round, tolerance_m, rules.rounds)
    return StraightDraft(
        straight=_shift_lines(lines, origin),
        fitted=_shift_lines(_join_ends(fitted, *_find_ends(network, fitted, tolerance_m, rules)), origin),
        coarse=_shift_lines(_make_simple_lines(draw_walls(outlines, tolerance_m)), origin),
        simplified=_shift_lines(_make_simple_lines(simple), origin),
        has_walls=np.isfinite(directions[:, 0]) & ~_find_round_outside(network, is_round),
        strayed_m2=np.where(has_round, np.inf, strayed_m2),
        simple_m=usual_m * noise.simple_share,
        resolution_m=resolution_m,
    )


def _find_origins(network: Network) -> Floats:
    """For each arc a point near its cluster to calculate from, so that far coordinates cost no digits."""
    corner = np.full((len(network.members), 2), np.inf)
    lowest = np.minimum.reduceat(network.points, find_starts(network.sizes))
    np.minimum.at(corner, network.arc_cluster, lowest)
    return corner[network.arc_cluster]


def _shift_lines(lines: Lines, origin: Floats) -> Lines:
    points, sizes = lines
    return points + origin[number_rows(sizes)], sizes


def _compute_tolerances_m(outlines: ArcOutlines, usual_m: float, noise: NoiseRules) -> Floats:
    """How far each outline may stray from a wall by noise; less for a ring so small that it would vanish."""
    small = noise.tolerance_of_side * np.sqrt(outlines.areas_m2)
    return np.where(outlines.round_trip, np.minimum(usual_m, small), usual_m)


def _find_directions(network: Network, walls: Walls, rules: DirectionRules) -> Floats:
    """Main directions of each polygon, alike among neighbours."""
    counts = walls.per_arc[network.step_arc]
    step = number_rows(counts)
    wall = find_starts(walls.per_arc)[network.step_arc][step] + number_items(counts)
    polygon, length = network.step_polygon[step], walls.chord[wall]
    number = len(network.cluster)
    directions = find_main_directions(walls.heading[wall], length, polygon, number, rules)
    perimeter = sum_rows(polygon, length, number)
    return harmonize_directions(directions, perimeter, network.cluster, network.crowded, rules)


def _offer_directions(network: Network, walls: Walls, directions: Floats) -> Floats:
    """For each wall the main directions of the polygons on its two sides."""
    order = np.argsort(network.step_arc, kind="stable")
    arc = network.step_arc[order]
    side = number_items(np.bincount(arc))
    offered = np.full((len(network.sizes), 2, directions.shape[1]), np.nan)
    offered[arc, side] = directions[network.step_polygon[order]]
    return offered.reshape(len(network.sizes), -1)[walls.arc]


def _find_ends(
    network: Network, walls: Walls, tolerance_m: Floats, rules: StraighteningRules
) -> tuple[Floats, Floats]:
    """Where each wall starts and stops once all meet in corners and junctions."""
    junctions = Junctions.of(walls, network.ends, rules.junctions)
    centre = junctions.align_walls(walls, tolerance_m)
    start, stop = find_corners(walls, tolerance_m, centre, rules.corners)
    junctions.settle(walls, centre, tolerance_m, start, stop)
    return start, stop


def _find_round(outlines: ArcOutlines, walls: Walls, tolerance_m: Floats, rules: RoundRules) -> Flags:
    """Closed arcs that a circle fits as well as so many walls do, or within the noise where they are many."""
    allowed = average_misfit_m2(walls) * walls.per_arc / rules.walls_of_a_box
    noise = np.where(walls.per_arc >= rules.walls_of_a_disc, (rules.disc_misfit * tolerance_m) ** 2, 0)
    return np.asarray(outlines.closed & (compute_circle_misfit_m2(outlines) <= np.maximum(allowed, noise)))


def _find_round_outside(network: Network, is_round: Flags) -> Flags:
    polygon = network.step_polygon[network.in_outer_ring & is_round[network.step_arc]]
    return np.bincount(polygon, minlength=len(network.cluster)) > 0


def _insert_rounds(
    lines: Lines, outlines: ArcOutlines, is_round: Flags, tolerance_m: Floats, rules: RoundRules
) -> Lines:
    arcs = np.flatnonzero(is_round)
    points, round_sizes = smooth_rounds(outlines.select_arcs(arcs), tolerance_m[arcs], rules)
    sizes = np.zeros(len(is_round), dtype=np.int64)
    sizes[arcs] = round_sizes
    return choose_lines((lines, (points, sizes)), is_round.astype(np.int64))


def _make_simple_lines(walls: Walls) -> Lines:
    """The outline's own points at which walls start and, on open arcs, the last one stops."""
    ends_arc = walls.following < 0
    counts = np.where(ends_arc, 2, 1)
    points = np.repeat(walls.start, counts, axis=0)
    points[np.cumsum(counts)[ends_arc] - 1] = walls.stop[ends_arc]
    return points, walls.per_arc + ~walls.outlines.closed


def _join_ends(walls: Walls, start: Floats, stop: Floats) -> Lines:
    """Starts and stops along each arc, without repeating where one wall stops at the next one's start."""
    repeated = (walls.following >= 0) & np.all(stop == start[walls.following], axis=1)
    keep = np.stack([np.ones(len(start), dtype=bool), ~repeated], axis=1).ravel()
    points = np.stack([start, stop], axis=1).reshape(-1, 2)[keep]
    return points, np.bincount(np.repeat(walls.arc, 2)[keep], minlength=len(walls.per_arc))


def bound_strayed_area_m2(walls: Walls, start: Floats, stop: Floats) -> Floats:
    """An area at least as large as that between each outline and its walls, which run from `start` to `stop`.

    The outline is swept onto the walls: each point to the nearest of its own wall, and where one wall gives way to
    the next, from the one's stop to the other's start. What lies on one side of the outline but on the other side
    of the walls was swept at least once.
    """
    counts = walls.last - walls.first + 1
    wall, place = number_rows(counts), number_items(counts)
    point = walls.outlines.at(walls.arc[wall], walls.first[wall] + place)
    foot = _find_nearest_on_wall(point, start[wall], stop[wall])
    first = find_starts(counts)
    foot[first], foot[first + counts - 1] = start, stop
    swept = _measure_triangles(point[:-1], point[1:], foot[:-1]) + _measure_triangles(
        point[1:], foot[1:], foot[:-1]
    )
    same_wall = wall[1:] == wall[:-1]
    sweeps = sum_rows(wall[:-1][same_wall], swept[same_wall], len(start))
    has = walls.following >= 0
    sweeps[has] += _measure_triangles(walls.stop[has], stop[has], start[walls.following[has]])
    return sum_rows(walls.arc, sweeps, len(walls.outlines.sizes))


def _find_nearest_on_wall(point: Floats, start: Floats, stop: Floats) -> Floats:
    along = stop - start
    length = np.maximum(compute_dot_products(along, along), np.finfo(float).tiny)
    share = np.clip(compute_dot_products(point - start, along) / length, 0, 1)
    return start + share[:, None] * along


def _measure_triangles(a: Floats, b: Floats, c: Floats) -> Floats:
    return np.abs(compute_cross_products(b - a, c - a)) / 2
