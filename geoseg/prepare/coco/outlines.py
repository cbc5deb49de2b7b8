"""COCO's shapes as polygons, in pixels from the image's upper left corner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes as traced

from geoseg.footprints.valid import polygonal
from geoseg.prepare.coco.shapes import from_run_lengths, polygons


def outlined(segmentation: Any, height: int, width: int) -> shapely.MultiPolygon:
    """The outline of an annotation's segmentation, valid and within the image."""
    if isinstance(segmentation, Mapping):
        parts = outlines(from_run_lengths(segmentation, height, width))
    else:
        parts = np.array([shapely.Polygon(corners) for corners in polygons(segmentation)], object)
    whole = shapely.union_all(shapely.make_valid(parts))
    inside = polygonal(np.array([shapely.intersection(whole, shapely.box(0, 0, width, height))], object))
    return shapely.MultiPolygon(shapely.get_parts(inside).tolist())


def outlines(mask: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The outlines of a mask's pieces, along the edges of its pixels."""
    pieces = [shapely.geometry.shape(piece) for piece, _ in traced(mask.astype(np.uint8), mask=mask)]
    return np.array(pieces, object)
