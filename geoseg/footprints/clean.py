"""Clean outlines without making neighbours overlap or part: small holes filled, details smoothed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.straight.ragged import Floats, Ints, offsets_of

Polygons = NDArray[np.object_]
OnPolygons = Callable[[Polygons, Ints], Polygons]


def without_small_holes(polygons: Polygons, largest: Floats) -> Polygons:
    """Fill the holes of each polygon whose area is at most `largest` of that polygon."""
    candidates = np.flatnonzero(shapely.get_num_interior_rings(polygons) > 0)
    if not len(candidates):
        return polygons
    rings, owner = shapely.get_rings(polygons[candidates], return_index=True)
    outer = np.diff(owner, prepend=-1) > 0
    kept = outer | (shapely.area(shapely.polygons(rings)) > largest[candidates][owner])
    points, ring = shapely.get_coordinates(rings[kept], return_index=True)
    filled = polygons.copy()
    filled[candidates] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        points,
        (offsets_of(np.bincount(ring)), offsets_of(np.bincount(owner[kept]))),
    )
    return filled


def simplified(polygons: Polygons, clusters: Ints, tolerance: float) -> Polygons:
    """Leave out details up to `tolerance` across; the wall that neighbours of a cluster share stays one wall.

    The shape of a footprint depends on its own cluster alone.
    """
    smooth = polygons.copy()
    order = np.argsort(clusters, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
        smooth[members] = shapely.coverage_simplify(polygons[members], tolerance)
    return smooth


def part_by_part(polygons: Polygons, clusters: Ints, change: OnPolygons) -> Polygons:
    """Apply a change made for polygons to footprints of which some have several parts."""
    parts, owner = shapely.get_parts(polygons, return_index=True)
    return rejoined(change(parts, clusters[owner]), owner)


def rejoined(parts: Polygons, owner: Ints) -> Polygons:
    """One geometry for each owner, in order: its part, or its parts as a multipolygon."""
    whole = np.empty(int(owner.max(initial=-1)) + 1, dtype=object)
    whole[owner] = parts
    several = np.bincount(owner) > 1
    if several.any():
        among = several[owner]
        rank = np.cumsum(several) - 1
        whole[several] = shapely.multipolygons(parts[among], indices=rank[owner[among]])
    return whole
