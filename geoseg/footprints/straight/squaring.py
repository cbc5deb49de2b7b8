"""From fitted walls to a plan of straight ones: square to main directions, without steps and cut corners of noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoseg.footprints.straight.corners import corners_of
from geoseg.footprints.straight.directions import turn
from geoseg.footprints.straight.ragged import Flags, Floats, Ints
from geoseg.footprints.straight.vectors import crosses, dots
from geoseg.footprints.straight.walls import Walls, lowest_of_neighbours, misfit, misfit_along, own_heading

WIDEST_TURN = np.radians(30)
SAME_HEADING = 1e-6
CUT_CORNER = 3.0
REACH = 1.5
SHORTEST_FREE = 2.0


def squared(walls: Walls, directions: Floats, tolerance_m: Floats) -> Walls:
    """Turn walls to the nearest of the directions offered to each (nan: none), where their ends move little.

    `directions` has a row for each wall: the main directions of the buildings on both sides of it.
    """
    turns = turn(directions, walls.heading[:, None])
    size = np.where(np.isfinite(turns), np.abs(turns), np.inf)
    best = np.argmin(size, axis=1)
    turned = np.take_along_axis(turns, best[:, None], axis=1)[:, 0]
    small = np.take_along_axis(size, best[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):
        near = (small <= WIDEST_TURN) & (walls.chord / 2 * np.sin(small) <= REACH * tolerance_m[walls.arc])
    main = np.take_along_axis(directions, best[:, None], axis=1)[:, 0]
    quarter = np.rint((walls.heading + turned - main) / (np.pi / 2))
    return replace(walls, heading=np.where(near, main + quarter * (np.pi / 2), walls.heading), squared=near)


def settled(walls: Walls, tolerance_m: Floats) -> Walls:
    """Join walls in one line and drop walls too short to be true, until nothing changes.

    Walls that follow no main direction then face as their own outline does.
    """
    while True:
        joined = _joined_in_line(walls, tolerance_m)
        cleaned = _without_short_walls(joined, tolerance_m)
        if len(cleaned.arc) == len(walls.arc):
            return replace(walls, heading=np.where(walls.squared, walls.heading, own_heading(walls)))
        walls = cleaned


def _joined_in_line(walls: Walls, tolerance_m: Floats) -> Walls:
    """Join neighbours that lie nearly in one line along a main direction, the best pairs first."""
    while True:
        after = walls.following
        possible = (after >= 0) & walls.spare
        aligned = walls.squared & walls.squared[after] & _parallel(walls, after)
        tolerance = tolerance_m[walls.arc]
        offset = np.abs(_ahead(walls, after)) / tolerance
        rise = _rise(walls, after) / tolerance**3
        cost = np.where(aligned, offset, np.where(walls.squared ^ walls.squared[after], rise, np.inf))
        cost = np.where(possible & (cost <= 1), cost, np.inf)
        chosen = lowest_of_neighbours(cost, walls)
        if not chosen.any():
            return walls
        walls = walls.joined(chosen)


def _rise(walls: Walls, other: Ints) -> Floats:
    """How much worse one line along the main direction of one of two walls fits both than their own lines do."""
    along = np.where(walls.squared[:, None], walls.along, walls.along[other])
    apart = np.where(walls.squared, misfit(walls.moments[other]), misfit(walls.moments))
    own = np.where(walls.squared[:, None], walls.moments, walls.moments[other])
    return misfit_along(walls.moments + walls.moments[other], along) - misfit_along(own, along) - apart


def _ahead(walls: Walls, other: Ints) -> Floats:
    """Distance of another wall's centre to the left of each wall's line."""
    return crosses(walls.along, walls.centre[other] - walls.centre)


def _parallel(walls: Walls, other: Ints) -> Flags:
    """Whether another wall has the same heading (not the opposite one)."""
    return np.asarray(dots(walls.along, walls.along[other]) > 1 - SAME_HEADING)


def _without_short_walls(walls: Walls, tolerance_m: Floats) -> Walls:
    start, stop = corners_of(walls, tolerance_m, walls.centre)
    length = dots(stop - start, walls.along)
    tolerance = tolerance_m[walls.arc]
    before, after = walls.previous, walls.following
    between = (before >= 0) & (after >= 0)
    both = between & walls.squared[before] & walls.squared[after] & ~walls.squared
    cosine = dots(walls.along[before], walls.along[after])
    cut = both & (np.abs(cosine) < SAME_HEADING)
    limit = np.where(cut, CUT_CORNER, np.where(walls.squared, 1.0, SHORTEST_FREE)) * tolerance
    cost = np.where((length < limit) & walls.spare, length, np.inf)
    chosen = lowest_of_neighbours(cost, walls)
    return walls.dropped(chosen) if chosen.any() else walls
