"""Polygons on a raster's ground with the values of their classes, and the pixels they cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray

from geoseg.footprints.valid import polygonal
from geoseg.prepare.dataset import IGNORE
from geoseg.raster.grid import Grid, Window

Shapes = NDArray[np.object_]
ClassReader = Callable[[Window], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Polygons:
    """Polygons in a raster's CRS with their class values, in the order in which they are drawn.

    The value IGNORE says that nobody knows what is there; such polygons come first, so that all others lie above them.
    """

    shapes: Shapes
    values: NDArray[np.uint8]

    @classmethod
    def drawn_in_order(cls, shapes: Shapes, values: NDArray[np.uint8]) -> Polygons:
        """Later polygons above earlier ones, and all of them above what is unknown."""
        order = np.argsort(values != IGNORE, kind="stable")
        return cls(shapes[order], values[order])

    @cached_property
    def tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def where(self, chosen: NDArray[np.bool_]) -> Polygons:
        return Polygons(self.shapes[chosen], self.values[chosen])

    def on(self, grid: Grid) -> Polygons:
        """Those that touch a grid."""
        return self.where(shapely.intersects(self.shapes, outline(grid)))

    def burned(self, grid: Grid) -> NDArray[np.uint8]:
        """Class values where a pixel's centre lies in a polygon, zero elsewhere; later polygons lie above earlier ones."""
        near = np.sort(self.tree.query(outline(grid)))
        if len(near) == 0:
            return np.zeros(grid.shape, np.uint8)
        pairs = zip(self.shapes[near], self.values[near].tolist(), strict=True)
        drawing: NDArray[np.uint8] = rasterio.features.rasterize(
            pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype="uint8"
        )
        return drawing


def outline(grid: Grid) -> shapely.Polygon:
    """The ground that a grid covers."""
    return shapely.Polygon(
        grid.transform @ corner
        for corner in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    )


def valid(shapes: Shapes) -> Shapes:
    """Flat shapes that do not cross themselves; what has no area becomes empty."""
    return polygonal(shapely.make_valid(shapely.force_2d(shapes)))


def class_reader(grid: Grid, polygons: Polygons, areas: Polygons | None = None) -> ClassReader:
    """What draws polygons on a window of a grid. Outside of areas, where they are given, nothing is known."""

    def read(window: Window) -> NDArray[np.uint8]:
        place = grid.window(window)
        values = polygons.burned(place)
        if areas is not None:
            values[areas.burned(place) == 0] = IGNORE
        return values

    return read
