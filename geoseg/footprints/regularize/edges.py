"""Straightened footprints at the edge of the image: none leaves it, and walls that it cuts off lie on it.

Straightening takes the cut for a wall that is badly seen, and moves it by up to three pixels, outwards for the most part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from geoseg.footprints.polygons import Flags, Ints, Polygons
from geoseg.footprints.regularize.acceptance import find_unfitting

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class EdgeRules:
    """How walls are fitted to the edge of an image."""

    reach_pixels: float = 2.0
    """A corner this near to an edge that its outline touches lies on it: straightening drew cuts in by up to 1.7 pixels (Accra)."""
    touching_m: float = 1e-6
    """Traced outlines lie on the edge to the last digits, or a whole pixel from it."""
    digits: int = 7
    """Metres are rounded so where a wall meets the edge, so that neighbours end in the very same point."""


DEFAULT_EDGE_RULES = EdgeRules()


def fit_to_image(
    shapes: Polygons,
    outlines: Polygons,
    clusters: Ints,
    image: Box,
    resolution_m: float,
    rules: EdgeRules = DEFAULT_EDGE_RULES,
) -> tuple[Polygons, Flags]:
    """Straightened polygons within the image, and which of them could not be fitted, since they would fall to pieces.

    `outlines` are the same as traced, in the same order; those with the same number in `clusters` may share walls, and
    are fitted together or not at all. `image` is the box (left, bottom, right, top) of all pixels.
    """
    fitted, reach_m = shapes.copy(), rules.reach_pixels * resolution_m
    near = find_near_edge(shapes, image, reach_m)
    failed = near
    # Where corners drawn to the edge would tear a shape, they are only cut off there.
    for reach in (reach_m, 0.0):
        tried = near & select_clusters(clusters, failed)
        if tried.any():
            clipped = clip_to_image(shapes[tried], image)
            fitted[tried] = snap_to_edges(clipped, outlines[tried], image, reach, rules)
        failed = find_torn(fitted, clusters, select_clusters(clusters, tried))
    sound = near & ~failed
    fitted[sound] = shapely.remove_repeated_points(fitted[sound])  # corners that came to lie on each other
    return fitted, failed


def select_clusters(clusters: Ints, chosen: Flags) -> Flags:
    """All polygons of the clusters of some."""
    return np.asarray(np.isin(clusters, clusters[chosen]))


def find_torn(shapes: Polygons, clusters: Ints, doubted: Flags) -> Flags:
    """Which of the doubted shapes are no sound polygons any more, or no longer fit their neighbours."""
    torn = shapely.get_type_id(shapes) != shapely.GeometryType.POLYGON
    torn |= ~shapely.is_valid(shapes) | shapely.is_empty(shapes)
    return np.asarray(doubted & (torn | find_unfitting(shapes, clusters, doubted & ~torn)))


def find_near_edge(shapes: Polygons, image: Box, reach_m: float) -> Flags:
    """Which polygons come near an edge of the image, or over it."""
    boxes, sides = shapely.bounds(shapes).reshape(-1, 4), np.array(image)
    inner = np.array([1, 1, -1, -1])
    return np.asarray(((boxes - sides) * inner <= reach_m).any(axis=1))


def clip_to_image(shapes: Polygons, image: Box) -> Polygons:
    """Polygons without what lies outside the image; those inside stay as they are."""
    outside = find_near_edge(shapes, image, 0.0)
    clipped = shapes.copy()
    clipped[outside] = shapely.intersection(shapes[outside], shapely.box(*image))
    return clipped


def snap_to_edges(
    shapes: Polygons, outlines: Polygons, image: Box, reach_m: float, rules: EdgeRules
) -> Polygons:
    """Polygons with their corners on the edges that their outlines touch, where they are within reach.

    A corner that neighbours share moves in all of them.
    """
    corners, owner = shapely.get_coordinates(shapes, return_index=True)
    touches = np.abs(shapely.bounds(outlines).reshape(-1, 4) - np.array(image)) < rules.touching_m
    shared = np.unique(corners, axis=0, return_inverse=True)[1].ravel()
    for side, limit in enumerate(image):
        axis, away = side % 2, np.abs(corners[:, side % 2] - limit)
        near = (touches[owner, side] & (away <= reach_m)) | (away <= 10**-rules.digits)
        moved = np.bincount(shared, weights=near)[shared] > 0
        corners[moved, axis] = limit
        corners[moved, 1 - axis] = corners[moved, 1 - axis].round(rules.digits)
    return np.asarray(shapely.set_coordinates(shapes.copy(), corners))
