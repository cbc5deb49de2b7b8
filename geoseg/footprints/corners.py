"""Where walls meet: two lines in a corner, three or more in a junction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.footprints.ragged import Flags, Floats, Ints, row_sums, starts_of
from geoseg.footprints.walls import Walls

LEAST_SINE = 0.1
FARTHEST_CORNER = 4.0
FARTHEST_FREE = 2.0


@dataclass(frozen=True)
class Corners:
    """Where each wall starts and stops once all walls are straight lines that meet."""

    start: Floats
    stop: Floats


def corners_of(walls: Walls, tolerance_m: Floats, centre: Floats | None = None) -> Corners:
    """Corners of consecutive walls; where lines hardly meet, each wall ends beside the corner of the outline."""
    centre = walls.centre if centre is None else centre
    after = walls.following
    crossing, good = _crossings(walls, centre, after)
    anchor = walls.stop
    farthest = np.where(walls.squared & walls.squared[after], FARTHEST_CORNER, FARTHEST_FREE)
    good &= np.hypot(*(crossing - anchor).T) <= farthest * tolerance_m[walls.arc]
    stop = np.where(good[:, None], crossing, _beside(centre, walls.along, anchor))
    start = _beside(centre, walls.along, walls.start)
    has = after >= 0
    met = has & good
    start[after[met]] = crossing[met]
    return Corners(start, stop)


def _crossings(walls: Walls, centre: Floats, after: Ints) -> tuple[Floats, Flags]:
    (ux, uy), (vx, vy) = walls.along.T, walls.along[after].T
    dx, dy = (centre[after] - centre).T
    sine = ux * vy - uy * vx
    good = (np.abs(sine) >= LEAST_SINE) & (after >= 0)
    reach = (dx * vy - dy * vx) / np.where(good, sine, 1)
    return centre + reach[:, None] * walls.along, good


def _beside(centre: Floats, along: Floats, point: Floats) -> Floats:
    """Foot of a point on each wall's line."""
    reach = np.sum((point - centre) * along, axis=1)
    return centre + reach[:, None] * along
