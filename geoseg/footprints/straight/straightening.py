"""The straight form of a network of outlines: where each point of each arc would be if walls were as built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.footprints.straight.corners import corners_of
from geoseg.footprints.straight.directions import harmonised, main_directions
from geoseg.footprints.straight.junctions import Junctions
from geoseg.footprints.straight.network import Network
from geoseg.footprints.straight.outlines import Outlines
from geoseg.footprints.straight.ragged import (
    Flags,
    Floats,
    Lines,
    lines_from,
    place_in_row,
    row_of,
    row_sums,
    starts_of,
)
from geoseg.footprints.straight.roundness import circle_misfit_m2, smooth_rounds
from geoseg.footprints.straight.squaring import settled, squared
from geoseg.footprints.straight.straying import strayed_area_m2
from geoseg.footprints.straight.walls import Walls, fitted_walls, mean_misfit_m2, without_needless_corners

GRAIN_PER_PIXEL = 1e-4
TOLERANCE_PIXELS = 2.0
LEAST_TOLERANCE_M = 0.5
TOLERANCE_OF_SIDE = 0.15
WALLS_OF_A_BOX = 4
WALLS_OF_A_DISC = 7


@dataclass(frozen=True)
class Draft:
    """Arcs made straight, and merely simplified, with what is needed to judge them.

    `has_walls` tells of each polygon whether it has main directions and is not round; `strayed_m2` bounds the area
    between its outline and its straight form; `tolerance_m` is what counts as noise.
    """

    straight: Lines
    simplified: Lines
    has_walls: Flags
    strayed_m2: Floats
    tolerance_m: float


def straightened(network: Network, resolution_m: float) -> Draft:
    """Draw all arcs straight."""
    origin = _origins(network)
    outlines = Outlines.of(network, origin, resolution_m * GRAIN_PER_PIXEL)
    usual_m = max(TOLERANCE_PIXELS * resolution_m, LEAST_TOLERANCE_M)
    tolerance_m = _tolerances_m(outlines, usual_m)
    simple = fitted_walls(outlines, tolerance_m / 2)
    walls = without_needless_corners(simple, tolerance_m)
    directions = _directions(network, walls)
    walls = settled(squared(walls, _offered(network, walls, directions), tolerance_m), tolerance_m)
    start, stop = _ends(network, walls, tolerance_m)
    strayed_m2 = network.per_polygon(strayed_area_m2(walls, start, stop))
    is_round = _round(outlines, walls, tolerance_m)
    has_round = network.per_polygon(is_round) > 0
    lines = _with_rounds(_ends_in_order(walls, start, stop), outlines, is_round, tolerance_m)
    return Draft(
        straight=_moved(lines, origin),
        simplified=_moved(_simple_lines(simple), origin),
        has_walls=np.isfinite(directions[:, 0]) & ~_round_outside(network, is_round),
        strayed_m2=np.where(has_round, np.inf, strayed_m2),
        tolerance_m=usual_m,
    )


def _origins(network: Network) -> Floats:
    """For each arc a point near its cluster from which to reckon, so that far coordinates cost no digits."""
    corner = np.full((len(network.members), 2), np.inf)
    lowest = np.minimum.reduceat(network.points, starts_of(network.sizes))
    np.minimum.at(corner, network.arc_cluster, lowest)
    return corner[network.arc_cluster]


def _moved(lines: Lines, origin: Floats) -> Lines:
    points, sizes = lines
    return points + origin[row_of(sizes)], sizes


def _tolerances_m(outlines: Outlines, usual_m: float) -> Floats:
    """How far each outline may stray from a wall by noise; less for a ring so small that it would vanish."""
    small = TOLERANCE_OF_SIDE * np.sqrt(outlines.areas_m2)
    return np.where(outlines.round_trip, np.minimum(usual_m, small), usual_m)


def _directions(network: Network, walls: Walls) -> Floats:
    """Main directions of each polygon, alike among neighbours."""
    counts = walls.per_arc[network.step_arc]
    step = row_of(counts)
    wall = starts_of(walls.per_arc)[network.step_arc][step] + place_in_row(counts)
    polygon, length = network.step_polygon[step], walls.chord[wall]
    number = len(network.cluster)
    directions = main_directions(walls.heading[wall], length, polygon, number)
    return harmonised(directions, row_sums(polygon, length, number), network.cluster, network.crowded)


def _offered(network: Network, walls: Walls, directions: Floats) -> Floats:
    """For each wall the main directions of the polygons on its two sides."""
    order = np.argsort(network.step_arc, kind="stable")
    arc = network.step_arc[order]
    side = place_in_row(np.bincount(arc))
    offered = np.full((len(network.sizes), 2, directions.shape[1]), np.nan)
    offered[arc, side] = directions[network.step_polygon[order]]
    return offered.reshape(len(network.sizes), -1)[walls.arc]


def _ends(network: Network, walls: Walls, tolerance_m: Floats) -> tuple[Floats, Floats]:
    """Where each wall starts and stops once all meet in corners and junctions."""
    junctions = Junctions.of(walls, network.ends)
    centre = junctions.through_lines(walls, tolerance_m)
    start, stop = corners_of(walls, tolerance_m, centre)
    junctions.settle(walls, centre, tolerance_m, start, stop)
    return start, stop


def _round(outlines: Outlines, walls: Walls, tolerance_m: Floats) -> Flags:
    """Closed arcs that a circle fits as well as so many walls do, or within the noise where they are many."""
    allowed = mean_misfit_m2(walls) * walls.per_arc / WALLS_OF_A_BOX
    noise = np.where(walls.per_arc >= WALLS_OF_A_DISC, (tolerance_m / 2) ** 2, 0)
    return np.asarray(outlines.closed & (circle_misfit_m2(outlines) <= np.maximum(allowed, noise)))


def _round_outside(network: Network, is_round: Flags) -> Flags:
    polygon = network.step_polygon[network.in_outer_ring & is_round[network.step_arc]]
    return np.bincount(polygon, minlength=len(network.cluster)) > 0


def _with_rounds(lines: Lines, outlines: Outlines, is_round: Flags, tolerance_m: Floats) -> Lines:
    arcs = np.flatnonzero(is_round)
    points, round_sizes = smooth_rounds(outlines.some(arcs), tolerance_m[arcs])
    sizes = np.zeros(len(is_round), dtype=np.int64)
    sizes[arcs] = round_sizes
    return lines_from((lines, (points, sizes)), is_round.astype(np.int64))


def _simple_lines(walls: Walls) -> Lines:
    """The outline's own points at which walls start and, on open arcs, the last one stops."""
    ends_arc = walls.following < 0
    counts = np.where(ends_arc, 2, 1)
    points = np.repeat(walls.start, counts, axis=0)
    points[np.cumsum(counts)[ends_arc] - 1] = walls.stop[ends_arc]
    return points, walls.per_arc + ~walls.outlines.closed


def _ends_in_order(walls: Walls, start: Floats, stop: Floats) -> Lines:
    """Starts and stops along each arc, without repeating where one wall stops at the next one's start."""
    repeated = (walls.following >= 0) & np.all(stop == start[walls.following], axis=1)
    keep = np.stack([np.ones(len(start), dtype=bool), ~repeated], axis=1).ravel()
    points = np.stack([start, stop], axis=1).reshape(-1, 2)[keep]
    return points, np.bincount(np.repeat(walls.arc, 2)[keep], minlength=len(walls.per_arc))
