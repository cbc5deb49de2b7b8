"""Straight walls and right angles for traced footprints, where the building has them.

Pixel outlines are stair steps. Here they become what was built: walls along the main directions of each building
(up to two, at right angles within each), other walls along their own best line, round buildings left round. The
wall that two touching buildings share stays one wall. A shape that strays too far from its outline is not accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.corners import corners_of
from geoseg.footprints.directions import harmonised, main_directions
from geoseg.footprints.junctions import Junctions
from geoseg.footprints.network import Network, network_of
from geoseg.footprints.outlines import Outlines
from geoseg.footprints.ragged import (
    Flags,
    Floats,
    Ints,
    offsets_of,
    place_in_row,
    row_of,
    row_sums,
    rows_from,
    starts_of,
)
from geoseg.footprints.roundness import circle_misfit_m2, smooth_rounds
from geoseg.footprints.squaring import refitted, settled, squared
from geoseg.footprints.straying import strayed_area_m2
from geoseg.footprints.walls import Walls, fitted_walls, mean_misfit_m2, without_needless_corners

LEAST_IOU = 0.85
MOST_AREA_CHANGE = 0.05
MOST_STRAYED = (1 - LEAST_IOU) / (1 + LEAST_IOU)
TOLERANCE_PIXELS = 2.0
LEAST_TOLERANCE_M = 0.5
STRAIGHT, SIMPLIFIED, TRACED = 0, 1, 2


def regularize(
    polygons: NDArray[np.object_], clusters: NDArray[np.int64], resolution_m: float
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Straighten footprints; returns them in the same order, and which of them were straightened.

    `polygons` lie in a plane of metres, as traced along pixels of `resolution_m` or already simplified. Those with
    the same number in `clusters` may share walls, and share them afterwards: no gap, no overlap. The shape of a
    footprint depends on its own cluster alone.
    """
    if not len(polygons):
        return polygons.copy(), np.zeros(0, dtype=bool)
    network = network_of(polygons, clusters, resolution_m)
    plan = _planned(network, clusters, resolution_m)
    return _accepted(network, plan, polygons, clusters)


@dataclass(frozen=True)
class _Plan:
    """Points of all arcs at each level of care, and which polygons have main directions."""

    points: tuple[Floats, ...]
    sizes: tuple[Ints, ...]
    straight: Flags
    strayed_m2: Floats


def _planned(network: Network, clusters: Ints, resolution_m: float) -> _Plan:
    origin = _arc_origins(network, clusters)
    outlines = Outlines.of(network, origin)
    tolerance = _tolerances(outlines, resolution_m)
    simple = fitted_walls(outlines, tolerance / 2)
    walls = without_needless_corners(simple, tolerance)
    directions = _directions(network, walls, clusters)
    walls = squared(walls, _offered(network, walls, directions), tolerance * 1.5)
    walls = refitted(settled(walls, tolerance))
    start, stop = _straight_ends(network, walls, tolerance)
    straight = _ends_in_order(walls, start, stop)
    round_ = outlines.closed & (circle_misfit_m2(outlines) <= mean_misfit_m2(walls) * walls.per_arc / 4)
    points, sizes = _with_rounds(outlines, straight, round_, tolerance)
    shapeless = np.bincount(network.step_polygon, weights=round_[network.step_arc], minlength=len(clusters)) > 0
    simple_points, simple_sizes = _simple_points(simple)
    strayed = np.bincount(
        network.step_polygon,
        weights=strayed_area_m2(walls, start, stop)[network.step_arc],
        minlength=len(clusters),
    )
    strayed[shapeless] = np.inf
    return _Plan(
        (
            points + origin[row_of(sizes)],
            simple_points + origin[row_of(simple_sizes)],
            network.points,
        ),
        (sizes, simple_sizes, network.sizes),
        np.isfinite(directions[:, 0]) & ~shapeless,
        strayed,
    )


def _arc_origins(network: Network, clusters: Ints) -> Floats:
    """A point of each arc's cluster near which to reckon, so that far coordinates cost no digits."""
    _, cluster = np.unique(clusters, return_inverse=True)
    arc_cluster = np.zeros(len(network.sizes), dtype=np.int64)
    arc_cluster[network.step_arc] = cluster[network.step_polygon]
    corner = np.full((int(cluster.max()) + 1, 2), np.inf)
    np.minimum.at(corner, arc_cluster, np.minimum.reduceat(network.points, starts_of(network.sizes)))
    return corner[arc_cluster]


def _tolerances(outlines: Outlines, resolution_m: float) -> Floats:
    """How far each outline may stray from a wall by noise; less for a ring so small that it would vanish."""
    usual = max(TOLERANCE_PIXELS * resolution_m, LEAST_TOLERANCE_M)
    return np.where(outlines.round_trip, np.minimum(usual, 0.15 * np.sqrt(outlines.areas_m2)), usual)


def _with_rounds(
    outlines: Outlines, straight: tuple[Floats, Ints], round_: Flags, tolerance: Floats
) -> tuple[Floats, Ints]:
    arcs = np.flatnonzero(round_)
    points, sizes = smooth_rounds(outlines, arcs, tolerance)
    all_sizes = np.zeros(len(round_), dtype=np.int64)
    all_sizes[arcs] = sizes
    return rows_from((straight, (points, all_sizes)), round_.astype(np.int64))


def _directions(network: Network, walls: Walls, clusters: Ints) -> Floats:
    """Main directions of each polygon, alike among neighbours."""
    step, wall = _walls_of_steps(network, walls)
    polygon = network.step_polygon[step]
    number = len(clusters)
    length = walls.chord[wall]
    directions = main_directions(walls.heading[wall], length, polygon, number)
    _, cluster, members = np.unique(clusters, return_inverse=True, return_counts=True)
    perimeter = row_sums(polygon, length, number)
    return harmonised(directions, perimeter, cluster, members[cluster] > 1)


def _walls_of_steps(network: Network, walls: Walls) -> tuple[Ints, Ints]:
    """Every wall of every step: a shared wall comes twice."""
    counts = walls.per_arc[network.step_arc]
    step = row_of(counts)
    return step, starts_of(walls.per_arc)[network.step_arc][step] + place_in_row(counts)


def _offered(network: Network, walls: Walls, directions: Floats) -> Floats:
    """For each wall the main directions of the polygons on its two sides."""
    sides = np.full((len(network.sizes), 2), -1)
    order = np.argsort(network.step_arc, kind="stable")
    arc = network.step_arc[order]
    second = np.append(False, arc[1:] == arc[:-1])
    sides[arc, second.astype(int)] = network.step_polygon[order]
    offered = np.where((sides >= 0)[:, :, None], directions[sides], np.nan)
    return offered.reshape(len(network.sizes), -1)[walls.arc]


def _simple_points(walls: Walls) -> tuple[Floats, Ints]:
    last = ~walls.outlines.closed[walls.arc] & (walls.following < 0)
    counts = 1 + last.astype(np.int64)
    points = np.repeat(walls.start, counts, axis=0)
    points[np.cumsum(counts)[last] - 1] = walls.stop[last]
    return points, walls.per_arc + ~walls.outlines.closed


def _straight_ends(network: Network, walls: Walls, tolerance: Floats) -> tuple[Floats, Floats]:
    junctions = Junctions.of(walls, network.ends)
    centre = junctions.through_lines(walls, tolerance)
    corners = corners_of(walls, tolerance, centre)
    meeting = junctions.points(walls, centre, tolerance)
    start, stop = corners.start.copy(), corners.stop.copy()
    half = len(junctions.wall) // 2
    start[junctions.wall[:half]] = meeting[junctions.junction[:half]]
    stop[junctions.wall[half:]] = meeting[junctions.junction[half:]]
    return start, stop


def _ends_in_order(walls: Walls, start: Floats, stop: Floats) -> tuple[Floats, Ints]:
    """Starts and stops as points along each arc, without repeating where one wall stops at the next one's start."""
    after = walls.following
    repeated = (after >= 0) & np.all(stop == start[after], axis=1)
    keep = np.stack([np.ones(len(start), dtype=bool), ~repeated], axis=1).ravel()
    points = np.stack([start, stop], axis=1).reshape(-1, 2)[keep]
    sizes = np.bincount(np.repeat(walls.arc, 2)[keep], minlength=len(walls.outlines.closed))
    return points, sizes


def _accepted(
    network: Network, plan: _Plan, polygons: NDArray[np.object_], clusters: Ints
) -> tuple[NDArray[np.object_], Flags]:
    """Polygons at the straightest level that stays valid and near its outline."""
    level = np.full(len(polygons), STRAIGHT)
    _, cluster, members = np.unique(clusters, return_inverse=True, return_counts=True)
    doubtful = np.ones(len(polygons), dtype=bool)
    for patience in range(100):
        shapes = _shapes_at(network, plan, level)
        failed = np.zeros(len(polygons), dtype=bool)
        untouched = np.bincount(cluster, weights=level, minlength=len(members))[cluster] == STRAIGHT
        strayed = np.where(untouched, plan.strayed_m2, np.inf)
        failed[doubtful] = ~_acceptable(
            shapes[doubtful], polygons[doubtful], level[doubtful], strayed[doubtful]
        )
        failed |= _unfitting(shapes, cluster, doubtful & (members[cluster] > 1))
        failed &= level < TRACED
        if not failed.any():
            break
        doubtful = np.bincount(cluster[failed], minlength=len(members))[cluster] > 0
        if patience < 4:
            level[failed] += 1
        else:
            level[doubtful] = TRACED
    return shapes, plan.straight & (level == STRAIGHT)


def _acceptable(shapes: NDArray[np.object_], polygons: NDArray[np.object_], level: Ints, strayed: Floats) -> Flags:
    good = shapely.is_valid(shapes)
    before, after = shapely.area(polygons), shapely.area(shapes)
    straight = level == STRAIGHT
    good &= ~straight | (np.abs(after - before) <= MOST_AREA_CHANGE * before)
    unsure = np.flatnonzero(good & straight & (strayed > MOST_STRAYED * (before + after)))
    common = shapely.area(shapely.intersection(shapes[unsure], polygons[unsure]))
    good[unsure] = common >= LEAST_IOU * (before + after)[unsure] / (1 + LEAST_IOU)
    return good


def _unfitting(shapes: NDArray[np.object_], cluster: Ints, doubtful: Flags) -> Flags:
    """Polygons that no longer fit their neighbours."""
    failed = np.zeros(len(shapes), dtype=bool)
    index = np.flatnonzero(doubtful)
    index = index[np.argsort(cluster[index], kind="stable")]
    for group in np.split(index, np.flatnonzero(np.diff(cluster[index])) + 1):
        failed[group] = ~shapely.is_empty(shapely.coverage_invalid_edges(shapes[group]))
    return failed


def _shapes_at(network: Network, plan: _Plan, level: Ints) -> NDArray[np.object_]:
    """Polygons at their levels, which are raised first where a ring would be lost."""
    while True:
        points, sizes = _points_at(network, plan, level)
        lost = network.collapsed(sizes)
        if not lost.any():
            return network.polygons(points, sizes)
        level[lost] += 1


def _points_at(network: Network, plan: _Plan, level: Ints) -> tuple[Floats, Ints]:
    """Points of all arcs, each at the most careful level of its neighbours; straight arcs end where those do."""
    arc_level = np.zeros(len(network.sizes), dtype=np.int64)
    np.maximum.at(arc_level, network.step_arc, level[network.step_polygon])
    points, sizes = rows_from(tuple(zip(plan.points, plan.sizes, strict=True)), arc_level)
    return _with_fixed_ends(network, points, sizes, arc_level), sizes


def _with_fixed_ends(network: Network, points: Floats, sizes: Ints, arc_level: Ints) -> Floats:
    open_ = np.flatnonzero(~network.closed)
    first = starts_of(sizes)[open_]
    ends = np.concatenate([first, first + sizes[open_] - 1])
    own = starts_of(network.sizes)[open_]
    original = np.concatenate([own, own + network.sizes[open_] - 1])
    junction = np.unique(network.ends[open_].T.ravel(), return_inverse=True)[1]
    fixed = np.zeros(len(junction) + 1, dtype=bool)
    np.logical_or.at(fixed, junction, np.tile(arc_level[open_] > STRAIGHT, 2))
    held = fixed[junction]
    points[ends[held]] = network.points[original[held]]
    return points
