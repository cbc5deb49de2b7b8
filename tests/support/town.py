"""Houses drawn in the pixels of made-up scenes."""

from __future__ import annotations

import shapely
from made import HERE


def on_map(*pixels: tuple[float, float]) -> shapely.Polygon:
    return shapely.Polygon([HERE @ corner for corner in pixels])


def square(col: float, row: float, size: float) -> shapely.Polygon:
    return on_map((col, row), (col + size, row), (col + size, row + size), (col, row + size))
