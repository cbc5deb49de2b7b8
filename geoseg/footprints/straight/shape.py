"""How wide, how long and which way round: the tightest rectangle around each footprint."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

SQUARE_TOLERANCE = 1e-6


def shape_attributes(
    polygons: NDArray[np.object_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Width, length (in the polygons' units) and orientation of each footprint.

    They describe the smallest rectangle, turned as it likes, that holds the footprint: `width_m` its short side,
    `length_m` its long side, `orientation_deg` the direction of the long side in degrees clockwise from grid
    north, from 0 up to but not including 180. A square has two long sides; the one nearer north, clockwise, counts.
    """
    first, second = _rectangle_sides(polygons)
    first_m, second_m = np.hypot(*first.T), np.hypot(*second.T)
    width_m, length_m = np.minimum(first_m, second_m), np.maximum(first_m, second_m)
    square = length_m - width_m <= SQUARE_TOLERANCE * length_m
    long_side = np.where((first_m >= second_m)[:, None], first, second)
    orientation_deg = _azimuth_deg(long_side)
    return width_m, length_m, np.where(square, orientation_deg % 90, orientation_deg)


def _rectangle_sides(polygons: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rectangles = shapely.oriented_envelope(_near_zero(polygons))
    corners = shapely.get_coordinates(rectangles).reshape(-1, 5, 2)
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]


def _azimuth_deg(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of undirected lines, clockwise from north, in 0..180 (rounding may not turn 0 into 180)."""
    azimuth = np.degrees(np.arctan2(vectors[:, 0], vectors[:, 1])) % 180
    return np.where(azimuth >= 180 - 1e-9, 0.0, azimuth)


def _near_zero(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Each polygon moved next to the origin: far coordinates would cost digits."""
    coordinates, polygon = shapely.get_coordinates(polygons, return_index=True)
    corner = shapely.bounds(polygons)[:, :2]
    return np.asarray(shapely.set_coordinates(polygons.copy(), coordinates - corner[polygon]))
