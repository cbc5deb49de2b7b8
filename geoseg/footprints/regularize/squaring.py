"""Walls made square to the main directions of their building, without steps and cut corners that are noise.

Main directions are the angles, modulo a right angle, along which most of a building's walls run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoseg.footprints.polygons import (
    Flags,
    Floats,
    Ints,
    compute_cross_products,
    compute_dot_products,
    sum_rows,
)
from geoseg.footprints.regularize.corners import find_corners
from geoseg.footprints.regularize.parameters import CornerRules, DirectionRules, SquaringRules
from geoseg.footprints.regularize.walls import (
    Walls,
    change_until_settled,
    compute_misfit_along,
    find_lowest,
    fit_headings,
)

RIGHT_ANGLE = np.pi / 2
SAME_HEADING = 1e-6
"""Headings that were set to one direction differ by rounding alone."""


def compute_turn(to: Floats, since: Floats) -> Floats:
    """Smallest turn, modulo a right angle, from one direction to another; in -45..45 degrees (radians)."""
    return np.asarray((to - since + RIGHT_ANGLE / 2) % RIGHT_ANGLE - RIGHT_ANGLE / 2)


def find_strongest_direction(
    heading: Floats, weight: Floats, group: Ints, number: int, window: float, rules: DirectionRules
) -> Floats:
    """The direction, modulo a right angle, with the most weight near it in each group (nan for empty groups)."""
    bins = np.floor(heading % RIGHT_ANGLE / RIGHT_ANGLE * rules.bins).astype(np.int64) % rules.bins
    histogram = sum_rows(group * rules.bins + bins, weight, number * rules.bins).reshape(number, rules.bins)
    strongest = np.argmax(_blur_histogram(histogram, rules.blur_bins), axis=1)
    rough = (strongest + 0.5) / rules.bins * RIGHT_ANGLE
    off = compute_turn(heading, rough[group])
    near = np.abs(off) <= window
    pull = weight**3 * near
    with np.errstate(invalid="ignore"):
        return np.asarray(rough + sum_rows(group, pull * off, number) / sum_rows(group, pull, number))


def _blur_histogram(histogram: Floats, reach: int) -> Floats:
    """Circular convolution with a triangle."""
    blurred = np.zeros_like(histogram)
    for shift in range(1 - reach, reach):
        blurred += (reach - abs(shift)) * np.roll(histogram, shift, axis=1)
    return blurred


def find_main_directions(
    heading: Floats, length: Floats, polygon: Ints, number: int, rules: DirectionRules
) -> Floats:
    """Up to two main directions for each polygon (nan where there is none), from its walls.

    Each must carry a fair share of the outline, and both together the greater part of it, or else the building is
    round or free in shape and has none.
    """
    perimeter = sum_rows(polygon, length, number)
    directions = np.full((number, len(rules.windows_deg)), np.nan)
    left, explained = length.copy(), np.zeros(number)
    for rank, window in enumerate(np.radians(rules.windows_deg)):
        direction = find_strongest_direction(heading, left, polygon, number, window, rules)
        near = np.abs(compute_turn(heading, direction[polygon])) <= window
        support = sum_rows(polygon, left * near, number)
        known = support >= rules.fair_share * perimeter
        directions[known, rank] = direction[known]
        explained += np.where(known, support, 0)
        left = left * ~(near & known[polygon])
    directions[explained < rules.greater_part * perimeter] = np.nan
    return directions


def harmonize_directions(
    directions: Floats, perimeter: Floats, cluster: Ints, crowded: Flags, rules: DirectionRules
) -> Floats:
    """Give neighbours of one cluster the very same direction where theirs differ by little."""
    polygon, rank = np.nonzero(np.isfinite(directions) & crowded[:, None])
    _, group = np.unique(cluster[polygon], return_inverse=True)
    angle, weight = directions[polygon, rank], perimeter[polygon]
    settled, window = angle.copy(), np.radians(rules.harmony_deg)
    open_ = np.arange(len(angle))
    while len(open_):
        _, compact = np.unique(group[open_], return_inverse=True)
        common = find_strongest_direction(
            angle[open_], weight[open_], compact, int(compact.max()) + 1, window, rules
        )
        off = compute_turn(common[compact], angle[open_])
        near = np.abs(off) <= window
        near |= ~np.isfinite(off)
        settled[open_[near]] = (angle[open_] + np.where(np.isfinite(off), off, 0))[near]
        if not near.any():
            break
        open_ = open_[~near]
    out = directions.copy()
    out[polygon, rank] = settled
    return out


def square_walls(walls: Walls, directions: Floats, tolerance_m: Floats, rules: SquaringRules) -> Walls:
    """Turn walls to the nearest of the directions offered to each (nan: none), where their ends move little.

    `directions` has a row for each wall: the main directions of the buildings on both sides of it.
    """
    turns = compute_turn(directions, walls.heading[:, None])
    size = np.where(np.isfinite(turns), np.abs(turns), np.inf)
    best = np.argmin(size, axis=1)
    turned = np.take_along_axis(turns, best[:, None], axis=1)[:, 0]
    small = np.take_along_axis(size, best[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):
        move = walls.chord / 2 * np.sin(small)
        near = small <= np.radians(rules.widest_turn_deg)
        near &= move <= rules.farthest_move * tolerance_m[walls.arc]
    main = np.take_along_axis(directions, best[:, None], axis=1)[:, 0]
    quarter = np.rint((walls.heading + turned - main) / (np.pi / 2))
    return replace(walls, heading=np.where(near, main + quarter * (np.pi / 2), walls.heading), squared=near)


def tidy_walls(walls: Walls, tolerance_m: Floats, rules: SquaringRules, corners: CornerRules) -> Walls:
    """Join walls in one line and drop walls too short to be true, until nothing changes.

    Walls that follow no main direction then face as their own outline does.
    """

    def tidy_once(walls: Walls) -> Walls:
        joined = _join_aligned(walls, tolerance_m * rules.same_line)
        return _drop_short_walls(joined, tolerance_m, rules, corners)

    tidy = change_until_settled(walls, tidy_once)
    return replace(tidy, heading=np.where(tidy.squared, tidy.heading, fit_headings(tidy)))


def _join_aligned(walls: Walls, tolerance_m: Floats) -> Walls:
    """Join neighbours that lie nearly in one line along a main direction, the best pairs first."""

    def join_best(walls: Walls) -> Walls:
        after = walls.following
        possible = (after >= 0) & walls.spare
        aligned = walls.squared & walls.squared[after] & _find_parallel(walls, after)
        tolerance = tolerance_m[walls.arc]
        offset = np.abs(_compute_offset(walls, after)) / tolerance
        rise = _compute_rise(walls, after) / tolerance**3
        cost = np.where(aligned, offset, np.where(walls.squared ^ walls.squared[after], rise, np.inf))
        return walls.joined(find_lowest(np.where(possible & (cost <= 1), cost, np.inf), walls))

    return change_until_settled(walls, join_best)


def _compute_rise(walls: Walls, other: Ints) -> Floats:
    """How much worse one line along the main direction of one of two walls fits both than their own lines do."""
    along = np.where(walls.squared[:, None], walls.along, walls.along[other])
    apart = np.where(walls.squared, walls.misfit[other], walls.misfit)
    own = np.where(walls.squared[:, None], walls.moments, walls.moments[other])
    return (
        compute_misfit_along(walls.moments + walls.moments[other], along)
        - compute_misfit_along(own, along)
        - apart
    )


def _compute_offset(walls: Walls, other: Ints) -> Floats:
    """Distance of another wall's centre to the left of each wall's line."""
    return compute_cross_products(walls.along, walls.centre[other] - walls.centre)


def _find_parallel(walls: Walls, other: Ints) -> Flags:
    """Whether another wall has the same heading (not the opposite one)."""
    return np.asarray(compute_dot_products(walls.along, walls.along[other]) > 1 - SAME_HEADING)


def _drop_short_walls(walls: Walls, tolerance_m: Floats, rules: SquaringRules, corners: CornerRules) -> Walls:
    start, stop = find_corners(walls, tolerance_m, walls.centre, corners)
    length = compute_dot_products(stop - start, walls.along)
    tolerance = tolerance_m[walls.arc]
    before, after = walls.previous, walls.following
    between = (before >= 0) & (after >= 0)
    both = between & walls.squared[before] & walls.squared[after] & ~walls.squared
    cosine = compute_dot_products(walls.along[before], walls.along[after])
    cut = both & (np.abs(cosine) < SAME_HEADING)
    shortest = np.where(walls.squared, rules.shortest_squared, rules.shortest_free)
    limit = np.where(cut, rules.shortest_cut, shortest) * tolerance
    cost = np.where((length < limit) & walls.spare, length, np.inf)
    chosen = find_lowest(cost, walls)
    return walls.dropped(chosen)
