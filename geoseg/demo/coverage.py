"""How polygons fall on pixels. Coordinates are in pixels: x is the column, y the row, corners at integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.demo.chance import Plane
from geoseg.raster.grid import Window

Segments = NDArray[np.float64]
_SCANS = 4


def segments(shapes: Any) -> Segments:
    """The sides (x0, y0, x1, y1) of one or many (multi)polygons, holes included."""
    rings = shapely.get_rings(shapely.get_parts(shapes))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    return np.hstack([points[:-1][same], points[1:][same]])


def mask(sides: Segments, window: Window) -> NDArray[np.bool_]:
    """The pixels whose centre lies inside. Polygons that touch, but do not overlap, give their union."""
    rows, xs = _crossings(sides, window.row + 0.5 + np.arange(window.height))
    cols = np.clip(np.ceil(xs - 0.5 - window.col), 0, window.width).astype(np.intp)
    flips = np.zeros((window.height, window.width + 1), np.uint8)
    np.bitwise_xor.at(flips, (rows, cols), 1)
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :-1].astype(bool)


def coverage(sides: Segments, window: Window) -> Plane:
    """The share (0 to 1) of each pixel that lies inside."""
    scans = window.height * _SCANS
    rows, xs = _crossings(sides, window.row + (np.arange(scans) + 0.5) / _SCANS)
    into = 1.0 - 2.0 * (np.arange(rows.size) % 2)
    places = np.clip(xs - window.col, 0, window.width)
    cols = places.astype(np.intp)
    rest = into * (places - cols)
    stride = window.width + 2
    at = rows // _SCANS * stride + cols
    edges = np.bincount(at, into - rest, window.height * stride) + np.bincount(
        at + 1, rest, window.height * stride
    )
    shares = edges.reshape(window.height, stride).cumsum(axis=1)[:, :-2] / _SCANS
    return np.clip(shares, 0, 1).astype(np.float32)


def _crossings(
    sides: Segments, ys: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the lines y cross the sides: line number and x, in order. Each line is crossed an even number of times."""
    x0, y0, x1, y1 = sides.T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    side, line = np.nonzero((low[:, None] <= ys) & (ys < high[:, None]))
    slope = (x1 - x0)[side] / (y1 - y0)[side]
    xs = x0[side] + (ys[line] - y0[side]) * slope
    order = np.lexsort((xs, line))
    return line[order], xs[order]
