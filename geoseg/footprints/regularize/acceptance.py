"""Which footprints may have their straight form, and what the others get instead.

A footprint that fails goes back towards its outline, form by form. An arc between two neighbours follows the more
careful of them, so that they keep fitting.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.polygons import Flags, Floats, Ints, Lines, choose_lines, find_starts
from geoseg.footprints.regularize.draft import Form, StraightDraft
from geoseg.footprints.regularize.network import Network
from geoseg.footprints.regularize.parameters import AcceptanceRules


def accept_shapes(
    network: Network, draft: StraightDraft, polygons: NDArray[np.object_], rules: AcceptanceRules
) -> tuple[NDArray[np.object_], Flags]:
    """Polygons in the straightest form that is valid and near their outline, and which are truly straight."""
    forms = *draft.forms, (network.points, network.sizes)
    most_change_m2 = _limit_area_changes(polygons, draft.resolution_m, rules)
    level = np.full(len(polygons), Form.STRAIGHT)
    doubted = np.ones(len(polygons), dtype=bool)
    shapes = polygons.copy()
    rounds = 0
    while doubted.any():
        arc_level = _choose_arc_levels(network, forms, level)
        shapes[doubted] = network.polygons(*_select_lines(network, forms, arc_level))[doubted]
        failed = doubted & ~shapely.is_valid(shapes)
        tested = np.flatnonzero(doubted & ~failed & (level < Form.SIMPLIFIED))
        strayed_m2 = np.where(_find_all_straight(network, arc_level), draft.strayed_m2, np.inf)[tested]
        near = _find_near(shapes[tested], polygons[tested], strayed_m2, most_change_m2[tested], rules)
        failed[tested] = ~near
        failed |= find_unfitting(shapes, network.cluster, doubted & network.crowded)
        failed &= level < Form.TRACED
        rounds += 1
        level = np.where(failed, level + 1, level)
        if rounds > rules.patience:
            level = np.where(_find_neighbourhood(network, failed), Form.TRACED, level)
        doubted = np.bincount(network.cluster[failed], minlength=len(network.members))[network.cluster] > 0
    _simplify_lonely(shapes, (level == Form.TRACED) & ~network.crowded, draft.simple_m)
    return shapes, draft.has_walls & (level == Form.STRAIGHT)


def _limit_area_changes(polygons: NDArray[np.object_], resolution_m: float, rules: AcceptanceRules) -> Floats:
    """By how much the area of each polygon may change."""
    by_share = rules.most_area_change * shapely.area(polygons)
    by_walls = rules.most_shift_pixels * resolution_m * shapely.length(polygons)
    return np.asarray(np.maximum(by_share, by_walls))


def _choose_arc_levels(network: Network, forms: tuple[Lines, ...], level: Ints) -> Ints:
    """Level of every arc: that of its more careful neighbour, and more careful yet where a ring would be lost."""
    arc_level = np.zeros(len(network.sizes), dtype=np.int64)
    np.maximum.at(arc_level, network.step_arc, level[network.step_polygon])
    while True:
        lost = network.find_collapsed(np.choose(arc_level, [sizes for _, sizes in forms]))
        lost &= arc_level < Form.TRACED
        if not lost.any():
            return arc_level
        arc_level = arc_level + lost


def _find_all_straight(network: Network, arc_level: Ints) -> Flags:
    """Polygons in whose cluster every arc is straight."""
    return np.asarray(np.bincount(network.arc_cluster, weights=arc_level) == Form.STRAIGHT)[network.cluster]


def _select_lines(network: Network, forms: tuple[Lines, ...], arc_level: Ints) -> Lines:
    """Every arc at its level; where arcs meet, all of them end where the most careful one does."""
    points, sizes = choose_lines(forms, arc_level)
    junction = np.unique(network.ends[~network.closed].T.ravel(), return_inverse=True)[1]
    careful = np.zeros(int(junction.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(careful, junction, np.tile(arc_level[~network.closed], 2))
    ends = np.stack([own_points[_find_open_ends(network, own)] for own_points, own in forms])
    points[_find_open_ends(network, sizes)] = ends[careful[junction], np.arange(len(junction))]
    return points, sizes


def _find_open_ends(network: Network, sizes: Ints) -> Ints:
    """Index of the first point of every open arc, then of the last ones."""
    first = find_starts(sizes)[~network.closed]
    return np.concatenate([first, first + sizes[~network.closed] - 1])


def _find_near(
    shapes: NDArray[np.object_],
    polygons: NDArray[np.object_],
    strayed_m2: Floats,
    most_change_m2: Floats,
    rules: AcceptanceRules,
) -> Flags:
    """Whether shapes are about as large as their outlines and cover the same ground.

    Shapes are intersected only where the area they may have strayed does not settle the question.
    """
    before, after = shapely.area(polygons), shapely.area(shapes)
    near = np.abs(after - before) <= most_change_m2
    least_common = rules.least_iou * (before + after) / (1 + rules.least_iou)
    unsure = near & ((before + after - strayed_m2) / 2 < least_common)
    common = shapely.area(shapely.intersection(shapes[unsure], polygons[unsure]))
    near[unsure] = common >= least_common[unsure]
    return np.asarray(near)


def find_unfitting(shapes: NDArray[np.object_], cluster: Ints, doubted: Flags) -> Flags:
    """Polygons that overlap a neighbour or left their shared wall."""
    unfitting = np.zeros(len(shapes), dtype=bool)
    index = np.flatnonzero(doubted)
    index = index[np.argsort(cluster[index], kind="stable")]
    for neighbours in np.split(index, np.flatnonzero(np.diff(cluster[index])) + 1):
        unfitting[neighbours] = ~shapely.is_empty(shapely.coverage_invalid_edges(shapes[neighbours]))
    return unfitting


def _find_neighbourhood(network: Network, polygons: Flags) -> Flags:
    """These polygons, and all that share an arc with one of them."""
    arcs = np.zeros(len(network.sizes), dtype=bool)
    arcs[network.step_arc[polygons[network.step_polygon]]] = True
    beside = np.zeros(len(polygons), dtype=bool)
    beside[network.step_polygon[arcs[network.step_arc]]] = True
    return beside


def _simplify_lonely(shapes: NDArray[np.object_], lonely: Flags, simple_m: float) -> None:
    """Take the stair steps from outlines that nobody shares, where that leaves them valid."""
    simple = shapely.simplify(shapes[lonely], simple_m, preserve_topology=True)
    sound = shapely.is_valid(simple) & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON)
    shapes[np.flatnonzero(lonely)[sound]] = simple[sound]
