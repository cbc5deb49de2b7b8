"""Shapes that are polygons and nothing else: none that crosses itself, no points and lines, none without area."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

Polygons = NDArray[np.object_]


def mended(shapes: Polygons) -> Polygons:
    """Valid polygons, and as they were where they are valid; what has no area becomes empty.

    Rings that touch in a point cross each other by the last digit once their corners are moved to another CRS.
    """
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if not broken.any():
        return shapes
    whole = shapes.copy()
    whole[broken] = polygonal(shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False))
    return whole


def polygonal(shapes: Polygons) -> Polygons:
    """Shapes without the points and lines that a cut or a repair left over."""
    mixed = np.flatnonzero(shapely.get_type_id(shapes) == 7)
    result = shapes.copy()
    for index in mixed:
        parts = shapely.get_parts(shapes[index])
        result[index] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    result[shapely.get_dimensions(result) < 2] = shapely.MultiPolygon()
    return result
