"""Main directions of buildings: the angles, modulo a right angle, along which most of their walls run."""

from __future__ import annotations

import numpy as np

from geoseg.footprints.straight.ragged import Flags, Floats, Ints, row_sums

RIGHT_ANGLE = np.pi / 2
BINS = 90
BLUR_DEG = 5
WINDOWS = np.radians([12, 8])
FAIR_SHARE = 0.2
GREATER_PART = 0.5
HARMONY = np.radians(3)


def turn(to: Floats, since: Floats) -> Floats:
    """Smallest turn, modulo a right angle, from one direction to another; in -45..45 degrees (radians)."""
    return np.asarray((to - since + RIGHT_ANGLE / 2) % RIGHT_ANGLE - RIGHT_ANGLE / 2)


def strongest_direction(heading: Floats, weight: Floats, group: Ints, number: int, window: float) -> Floats:
    """The direction, modulo a right angle, with the most weight near it in each group (nan for empty groups)."""
    bins = np.floor(heading % RIGHT_ANGLE / RIGHT_ANGLE * BINS).astype(np.int64) % BINS
    histogram = row_sums(group * BINS + bins, weight, number * BINS).reshape(number, BINS)
    rough = (np.argmax(_blurred(histogram), axis=1) + 0.5) / BINS * RIGHT_ANGLE
    off = turn(heading, rough[group])
    near = np.abs(off) <= window
    pull = weight**3 * near
    with np.errstate(invalid="ignore"):
        return np.asarray(rough + row_sums(group, pull * off, number) / row_sums(group, pull, number))


def _blurred(histogram: Floats) -> Floats:
    """Circular convolution with a triangle."""
    blurred = np.zeros_like(histogram)
    for shift in range(1 - BLUR_DEG, BLUR_DEG):
        blurred += (BLUR_DEG - abs(shift)) * np.roll(histogram, shift, axis=1)
    return blurred


def main_directions(heading: Floats, length: Floats, polygon: Ints, number: int) -> Floats:
    """Up to two main directions for each polygon (nan where there is none), from its walls.

    Each must carry a fair share of the outline, and both together the greater part of it, or else the building is
    round or free in shape and has none.
    """
    perimeter = row_sums(polygon, length, number)
    directions = np.full((number, len(WINDOWS)), np.nan)
    left, explained = length.copy(), np.zeros(number)
    for rank, window in enumerate(WINDOWS):
        direction = strongest_direction(heading, left, polygon, number, window)
        near = np.abs(turn(heading, direction[polygon])) <= window
        support = row_sums(polygon, left * near, number)
        known = support >= FAIR_SHARE * perimeter
        directions[known, rank] = direction[known]
        explained += np.where(known, support, 0)
        left = left * ~(near & known[polygon])
    directions[explained < GREATER_PART * perimeter] = np.nan
    return directions


def harmonised(directions: Floats, perimeter: Floats, cluster: Ints, crowded: Flags) -> Floats:
    """Give neighbours of one cluster the very same direction where theirs differ by less than three degrees."""
    polygon, rank = np.nonzero(np.isfinite(directions) & crowded[:, None])
    _, group = np.unique(cluster[polygon], return_inverse=True)
    angle, weight = directions[polygon, rank], perimeter[polygon]
    settled = angle.copy()
    open_ = np.arange(len(angle))
    while len(open_):
        _, compact = np.unique(group[open_], return_inverse=True)
        common = strongest_direction(angle[open_], weight[open_], compact, int(compact.max()) + 1, HARMONY)
        off = turn(common[compact], angle[open_])
        near = np.abs(off) <= HARMONY
        near |= ~np.isfinite(off)
        settled[open_[near]] = (angle[open_] + np.where(np.isfinite(off), off, 0))[near]
        if not near.any():
            break
        open_ = open_[~near]
    out = directions.copy()
    out[polygon, rank] = settled
    return out
