"""Which footprints may have their straight form, and what the others get instead.

A footprint that fails goes back towards its outline: from straight to simplified to traced. An arc between two
neighbours follows the more careful of them, so that they keep fitting.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.polygons import Flags, Floats, Ints, Lines, choose_lines, find_starts
from geoseg.footprints.regularize.draft import StraightDraft
from geoseg.footprints.regularize.network import Network
from geoseg.footprints.regularize.parameters import AcceptanceRules

STRAIGHT, SIMPLIFIED, TRACED = range(3)


def accept_shapes(
    network: Network, draft: StraightDraft, polygons: NDArray[np.object_], rules: AcceptanceRules
) -> tuple[NDArray[np.object_], Flags]:
    """Polygons in the straightest form that is valid and near their outline, and which are truly straight."""
    options = draft.straight, draft.simplified, (network.points, network.sizes)
    level = np.full(len(polygons), STRAIGHT)
    doubted = np.ones(len(polygons), dtype=bool)
    shapes = polygons.copy()
    rounds = 0
    while doubted.any():
        arc_level = _choose_arc_levels(network, options, level)
        shapes[doubted] = network.polygons(*_select_lines(network, options, arc_level))[doubted]
        strayed_m2 = np.where(_find_all_straight(network, arc_level), draft.strayed_m2, np.inf)
        failed = _find_failed(shapes, polygons, strayed_m2, level, doubted, rules)
        failed |= _find_unfitting(shapes, network.cluster, doubted & network.crowded)
        failed &= level < TRACED
        rounds += 1
        doubted = np.bincount(network.cluster[failed], minlength=len(network.members))[network.cluster] > 0
        level = np.where(doubted, TRACED, level) if rounds > rules.patience else level + failed
    _simplify_lonely(shapes, (level == TRACED) & ~network.crowded, draft.simple_m)
    return shapes, draft.has_walls & (level == STRAIGHT)


def _choose_arc_levels(network: Network, options: tuple[Lines, ...], level: Ints) -> Ints:
    """Level of every arc: that of its more careful neighbour, and more careful yet where a ring would be lost."""
    arc_level = np.zeros(len(network.sizes), dtype=np.int64)
    np.maximum.at(arc_level, network.step_arc, level[network.step_polygon])
    while True:
        lost = network.find_collapsed(np.choose(arc_level, [sizes for _, sizes in options])) & (
            arc_level < TRACED
        )
        if not lost.any():
            return arc_level
        arc_level = arc_level + lost


def _find_all_straight(network: Network, arc_level: Ints) -> Flags:
    """Polygons in whose cluster every arc is straight."""
    return np.asarray(np.bincount(network.arc_cluster, weights=arc_level) == STRAIGHT)[network.cluster]


def _select_lines(network: Network, options: tuple[Lines, ...], arc_level: Ints) -> Lines:
    """Every arc at its level; where a careful one ends, the others end there too."""
    points, sizes = choose_lines(options, arc_level)
    end, traced_end = _find_open_ends(network, sizes), _find_open_ends(network, network.sizes)
    junction = network.ends[~network.closed].T.ravel()
    careful = np.tile(arc_level[~network.closed] > STRAIGHT, 2)
    held = np.isin(junction, junction[careful])
    points[end[held]] = network.points[traced_end[held]]
    return points, sizes


def _find_open_ends(network: Network, sizes: Ints) -> Ints:
    """Index of the first point of every open arc, then of the last ones."""
    first = find_starts(sizes)[~network.closed]
    return np.concatenate([first, first + sizes[~network.closed] - 1])


def _find_failed(
    shapes: NDArray[np.object_],
    polygons: NDArray[np.object_],
    strayed_m2: Floats,
    level: Ints,
    doubted: Flags,
    rules: AcceptanceRules,
) -> Flags:
    """Doubted shapes that are no valid polygon or, if straight, too far from their outline."""
    failed = np.zeros(len(shapes), dtype=bool)
    failed[doubted] = ~shapely.is_valid(shapes[doubted])
    tested = doubted & ~failed & (level == STRAIGHT)
    failed[tested] = ~_find_near(shapes[tested], polygons[tested], strayed_m2[tested], rules)
    return failed


def _find_near(
    shapes: NDArray[np.object_], polygons: NDArray[np.object_], strayed_m2: Floats, rules: AcceptanceRules
) -> Flags:
    """Whether shapes are about as large as their outlines and cover the same ground.

    Shapes are intersected only where the area they may have strayed does not settle the question.
    """
    before, after = shapely.area(polygons), shapely.area(shapes)
    near = np.abs(after - before) <= rules.most_area_change * before
    least_common = rules.least_iou * (before + after) / (1 + rules.least_iou)
    unsure = near & ((before + after - strayed_m2) / 2 < least_common)
    common = shapely.area(shapely.intersection(shapes[unsure], polygons[unsure]))
    near[unsure] = common >= least_common[unsure]
    return np.asarray(near)


def _find_unfitting(shapes: NDArray[np.object_], cluster: Ints, doubted: Flags) -> Flags:
    """Polygons that overlap a neighbour or left their shared wall."""
    unfitting = np.zeros(len(shapes), dtype=bool)
    index = np.flatnonzero(doubted)
    index = index[np.argsort(cluster[index], kind="stable")]
    for neighbours in np.split(index, np.flatnonzero(np.diff(cluster[index])) + 1):
        unfitting[neighbours] = ~shapely.is_empty(shapely.coverage_invalid_edges(shapes[neighbours]))
    return unfitting


def _simplify_lonely(shapes: NDArray[np.object_], lonely: Flags, simple_m: float) -> None:
    """Take the stair steps from outlines that nobody shares, where that leaves them valid."""
    simple = shapely.simplify(shapes[lonely], simple_m, preserve_topology=True)
    sound = shapely.is_valid(simple) & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON)
    shapes[np.flatnonzero(lonely)[sound]] = simple[sound]
