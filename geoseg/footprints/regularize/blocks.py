"""Straight walls and right angles for traced footprints, where the building has them, a block of clusters at a time.

Pixel outlines are stair steps. Here they become what was built: walls along the main directions of each building
(up to two, at right angles within each), other walls along their own best line, round buildings left round. The
wall that two touching buildings share stays one wall. A shape that strays too far from its outline is not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.polygons import Flags, Ints, join_parts, split_into_parts
from geoseg.footprints.regularize.acceptance import accept_shapes
from geoseg.footprints.regularize.draft import straighten_network
from geoseg.footprints.regularize.network import build_network
from geoseg.footprints.regularize.parameters import DEFAULT_RULES, StraighteningRules

POINTS_AT_ONCE = 200_000
"""As many as stay in a processor's cache."""


def regularize_footprints(
    polygons: NDArray[np.object_],
    clusters: NDArray[np.int64],
    resolution_m: float,
    rules: StraighteningRules = DEFAULT_RULES,
    points_at_once: int = POINTS_AT_ONCE,
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Straighten footprints; returns them in the same order, and which of them were straightened.

    `polygons` lie in a plane of metres, as traced along pixels of `resolution_m` or already simplified. Those with
    the same number in `clusters` may share walls, and share them afterwards: no gap, no overlap. The shape of a
    footprint depends on its own cluster alone. One that is not straightened (round, free in shape, or too
    different from its outline) comes back with its steps simplified or, where even that would break it, as it was.
    """
    if not resolution_m > 0:
        raise InputError(f"a pixel cannot be {resolution_m} m large; give the resolution in metres")
    parts, owner = split_into_parts(polygons)
    clusters = np.asarray(clusters)[owner]
    blocks = _split_into_blocks(parts, clusters, points_at_once)
    straight_parts, straight = _regularize_blocks(parts, clusters, blocks, resolution_m, rules)
    return join_parts(straight_parts, owner), np.bincount(owner, ~straight, len(polygons)) == 0


def _regularize_blocks(
    parts: NDArray[np.object_],
    clusters: Ints,
    blocks: Iterable[Ints],
    resolution_m: float,
    rules: StraighteningRules,
) -> tuple[NDArray[np.object_], Flags]:
    """A block at a time, so that memory stays small and close at hand; blocks cannot change the result."""
    shapes, straight = parts.copy(), np.zeros(len(parts), dtype=bool)
    for block in blocks:
        network = build_network(parts[block], clusters[block], resolution_m)
        draft = straighten_network(network, resolution_m, rules)
        shapes[block], straight[block] = accept_shapes(network, draft, parts[block], rules.acceptance)
    return shapes, straight


def _split_into_blocks(parts: NDArray[np.object_], clusters: Ints, points_at_once: int) -> Iterator[Ints]:
    """Positions of whole clusters with about so many points together; within a cluster, by place."""
    order = np.lexsort((*shapely.bounds(parts).T, clusters))
    points = np.cumsum(shapely.get_num_coordinates(parts[order]))
    begins = (
        np.flatnonzero(np.diff(clusters[order], prepend=-1, append=-1) != 0)[:-1] if len(order) else order
    )
    full = np.diff(points[begins] // points_at_once) > 0
    yield from np.split(order, begins[1:][full]) if len(order) else ()
