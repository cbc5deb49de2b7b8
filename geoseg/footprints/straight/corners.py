"""Where consecutive walls meet."""

from __future__ import annotations

import numpy as np

from geoseg.footprints.straight.ragged import Flags, Floats, Ints
from geoseg.footprints.straight.vectors import crosses, dots, lengths
from geoseg.footprints.straight.walls import Walls

LEAST_SINE = 0.1
FARTHEST_CORNER = 4.0
FARTHEST_FREE_CORNER = 2.0


def corners_of(walls: Walls, tolerance_m: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Where each wall, a line through `centre`, starts and stops.

    Where lines hardly meet, each wall ends beside the corner that the outline has.
    """
    after = walls.following
    crossing, met = _crossings(walls, centre, after)
    farthest = np.where(walls.squared & walls.squared[after], FARTHEST_CORNER, FARTHEST_FREE_CORNER)
    met &= lengths(crossing - walls.stop) <= farthest * tolerance_m[walls.arc]
    stop = np.where(met[:, None], crossing, _beside(centre, walls.along, walls.stop))
    start = _beside(centre, walls.along, walls.start)
    start[after[met]] = crossing[met]
    return start, stop


def _crossings(walls: Walls, centre: Floats, after: Ints) -> tuple[Floats, Flags]:
    sine = crosses(walls.along, walls.along[after])
    good = (np.abs(sine) >= LEAST_SINE) & (after >= 0)
    reach = crosses(centre[after] - centre, walls.along[after]) / np.where(good, sine, 1)
    return centre + reach[:, None] * walls.along, good


def _beside(centre: Floats, along: Floats, point: Floats) -> Floats:
    """Foot of a point on each wall's line."""
    reach = dots(point - centre, along)
    return centre + reach[:, None] * along
