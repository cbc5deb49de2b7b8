"""Houses drawn in the pixels of made-up scenes, and a listener to what is said of them."""

from __future__ import annotations

import shapely
from made import HERE

from geoseg.narrator import Narrator


class Heard(Narrator):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


def on_map(*pixels: tuple[float, float]) -> shapely.Polygon:
    return shapely.Polygon([HERE @ corner for corner in pixels])


def square(col: float, row: float, size: float) -> shapely.Polygon:
    return on_map((col, row), (col + size, row), (col + size, row + size), (col, row + size))
