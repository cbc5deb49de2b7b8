"""How far straightened walls stray from their outlines: a bound that spares intersecting polygons."""

from __future__ import annotations

import numpy as np

from geoseg.footprints.straight.ragged import Floats, place_in_row, row_of, row_sums, starts_of
from geoseg.footprints.straight.vectors import crosses, dots
from geoseg.footprints.straight.walls import Walls


def strayed_area_m2(walls: Walls, start: Floats, stop: Floats) -> Floats:
    """An area at least as large as that between each outline and its walls, which run from `start` to `stop`.

    The outline is swept onto the walls: each point to the nearest of its own wall, and where one wall gives way to
    the next, from the one's stop to the other's start. What lies on one side of the outline but on the other side
    of the walls was swept at least once.
    """
    counts = walls.last - walls.first + 1
    wall, place = row_of(counts), place_in_row(counts)
    point = walls.outlines.at(walls.arc[wall], walls.first[wall] + place)
    foot = _nearest_on_wall(point, start[wall], stop[wall])
    first = starts_of(counts)
    foot[first], foot[first + counts - 1] = start, stop
    swept = _triangle(point[:-1], point[1:], foot[:-1]) + _triangle(point[1:], foot[1:], foot[:-1])
    same_wall = wall[1:] == wall[:-1]
    sweeps = row_sums(wall[:-1][same_wall], swept[same_wall], len(start))
    has = walls.following >= 0
    sweeps[has] += _triangle(walls.stop[has], stop[has], start[walls.following[has]])
    return row_sums(walls.arc, sweeps, len(walls.outlines.sizes))


def _nearest_on_wall(point: Floats, start: Floats, stop: Floats) -> Floats:
    along = stop - start
    length = np.maximum(dots(along, along), np.finfo(float).tiny)
    share = np.clip(dots(point - start, along) / length, 0, 1)
    return start + share[:, None] * along


def _triangle(a: Floats, b: Floats, c: Floats) -> Floats:
    return np.abs(crosses(b - a, c - a)) / 2
