"""Across the antimeridian: where x comes round to where it began, shapes are laid out in one piece."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from pyproj import CRS

from geoseg.footprints.polygons import POLYGONAL, Flags, Floats, Polygons, mend_polygons
from geoseg.raster.grid import WGS84, find_transformer

COMES_ROUND, IS_TURNED = ("Mercator", "Cylindrical"), ("Transverse", "Oblique")
"""What projections are called in which x goes by the longitude alone, and those of the same name in which it does not."""


@lru_cache(maxsize=64)
def find_full_turn(crs: CRS) -> float:
    """How far x goes once round Earth (360 for degrees); infinite where x does not come round."""
    if crs.is_geographic:
        return 2 * math.pi / float(crs.axis_info[0].unit_conversion_factor)
    method = crs.coordinate_operation.method_name if crs.is_projected and crs.coordinate_operation else ""
    if not any(word in method for word in COMES_ROUND) or any(word in method for word in IS_TURNED):
        return float("inf")
    x, _ = find_transformer(WGS84, crs).transform([-90.0, 0.0, 90.0], [0.0, 0.0, 0.0])
    return float(4 * np.abs(np.diff(x)).min())  # the map's edge lies in one of the two quarters at most


def take_short_way(steps: Floats, turn: float) -> Floats:
    """Steps along x that do not go round Earth."""
    return steps - turn * np.round(steps / turn) if math.isfinite(turn) else steps


def move_near(x: Floats, place: float, turn: float) -> Floats:
    """Each x by whole turns where it is nearest to a place."""
    return place + take_short_way(x - place, turn)


def find_shortest_span(left: Floats, right: Floats, turn: float) -> tuple[float, float]:
    """Between which x some spans lie: all but the widest gap between them, once round Earth."""
    right = np.where(right < left, right + turn, right)
    order = np.argsort(left)
    starts, reached = left[order], np.maximum.accumulate(right[order])
    widest = np.argmax(np.append(starts[1:], starts[0] + turn) - reached)
    if widest == len(order) - 1:
        return float(starts[0]), float(reached[-1])
    return float(starts[widest + 1]), float(max(reached[-1], reached[widest] + turn))


def unwrap_polygons(polygons: Polygons, turn: float) -> Polygons:
    """Polygons without a jump round Earth: a ring from 179 to -179 goes on to 181.

    An edge of more than half a turn is taken the short way; an edge of a whole turn is meant as it is, as in a box
    round Earth. The parts of a multipolygon come to lie beside its first one. Points and lines among them stay as they are.
    """
    if not math.isfinite(turn):
        return polygons
    boxes = shapely.bounds(polygons).reshape(-1, 4)
    with np.errstate(invalid="ignore"):  # where a CRS does not reach
        widths = boxes[:, 2] - boxes[:, 0]
    are_polygons = np.isin(shapely.get_type_id(polygons), POLYGONAL)
    suspects = np.flatnonzero((widths > turn / 2) & np.isfinite(widths) & are_polygons)
    if not suspects.size:
        return polygons
    result = polygons.copy()
    result[suspects] = [
        unwrap_parts(shape, turn) if shape.geom_type == "MultiPolygon" else unwrap_polygon(shape, turn)
        for shape in polygons[suspects]
    ]
    return result


def lay_near(polygons: Polygons, x: float, turn: float) -> Polygons:
    """Polygons without a jump, each moved by whole turns to where it is nearest to x."""
    return shift_near(unwrap_polygons(polygons, turn), x, turn)


def mend_unwrapped(polygons: Polygons, turn: float) -> tuple[Polygons, Flags]:
    """Valid polygons without a jump, and which of them were broken.

    Broken is what is so in both ways: a jump crosses the other walls, and parts that were cut share one when they are joined.
    """
    unwrapped = unwrap_polygons(polygons, turn)
    broken = ~(shapely.is_valid(unwrapped) | shapely.is_valid(polygons) | shapely.is_missing(polygons))
    return mend_polygons(unwrapped), broken


def unwrap_parts(shape: shapely.MultiPolygon, turn: float) -> shapely.MultiPolygon:
    """A multipolygon in one place, though the antimeridian may cut it."""
    parts = unwrap_polygons(np.array(shape.geoms, dtype=object), turn)
    left, _, right, _ = parts[0].bounds
    return shapely.MultiPolygon(list(shift_near(parts, (left + right) / 2, turn)))


def unwrap_polygon(polygon: shapely.Polygon, turn: float) -> shapely.Polygon:
    """One polygon without a jump; as it was if it goes round a pole."""
    shell = unwrap_ring(shapely.get_coordinates(polygon.exterior), turn)
    if shell is None:
        return polygon
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
    holes = [unwrap_ring(shapely.get_coordinates(hole), turn) for hole in polygon.interiors]
    return shapely.Polygon(shell, [shift_ring_near(hole, middle, turn) for hole in holes if hole is not None])


def unwrap_ring(ring: Floats, turn: float) -> Floats | None:
    """A ring without a jump; none if it does not come back to where it began."""
    steps = np.diff(ring[:, 0])
    jumps = (np.abs(steps) > turn / 2) & (np.abs(steps) < turn * (1 - 1e-9))
    shifts = np.cumsum(np.where(jumps, -turn * np.sign(steps), 0.0))
    if shifts.size and abs(shifts[-1]) > turn / 2:
        return None
    result = ring.copy()
    result[1:, 0] += shifts
    return result


def shift_ring_near(ring: Floats, x: float, turn: float) -> Floats:
    """A ring moved by whole turns to where it is nearest to x."""
    middle = (ring[:, 0].min() + ring[:, 0].max()) / 2
    result = ring.copy()
    result[:, 0] += turn * np.round((x - middle) / turn)
    return result


def shift_near(polygons: Polygons, x: float, turn: float) -> Polygons:
    """Laid-out polygons, each moved by whole turns to where it is nearest to x."""
    if not np.isfinite(turn) or not len(polygons):
        return polygons
    boxes = shapely.bounds(polygons)
    return shift_polygons(polygons, turn * np.round((x - (boxes[:, 0] + boxes[:, 2]) / 2) / turn))


def shift_polygons(polygons: Polygons, by: Floats) -> Polygons:
    """Polygons moved along x, each by its own amount."""
    if not np.any(by):
        return polygons
    coordinates, owners = shapely.get_coordinates(polygons, return_index=True)
    coordinates[:, 0] += np.asarray(by)[owners]
    moved: Polygons = shapely.set_coordinates(polygons.copy(), coordinates)
    return moved
