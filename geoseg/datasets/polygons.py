"""Labels as polygons: drawn on the pixels of a window, or written as a layer that carries the names of their classes.

A second layer tells which ground is labelled, where not all of it is. Layers keep what masks lose: houses that stand
wall to wall stay apart, at whatever resolution they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import geopandas
import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.datasets.schema import IGNORE, Item
from geoseg.footprints.polygons import keep_polygonal_parts
from geoseg.footprints.write.formats import write_frame
from geoseg.io.atomic import explain_write_errors, replace_files
from geoseg.raster.grid import Grid, Window

CLASS_FIELD = "class"
LAYER_SUFFIX = ".fgb"

LabelForm = Literal["masks", "vectors"]


Shapes = NDArray[np.object_]
ClassReader = Callable[[Window], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class LabelPolygons:
    """Polygons in a raster's CRS with their class values, in the order in which they are drawn.

    The value IGNORE says that nobody knows what is there; such polygons come first, so that all others lie above them.
    """

    shapes: Shapes
    values: NDArray[np.uint8]

    @classmethod
    def stack(cls, shapes: Shapes, values: NDArray[np.uint8]) -> LabelPolygons:
        """Later polygons above earlier ones, and all of them above what is unknown."""
        order = np.argsort(values != IGNORE, kind="stable")
        return cls(shapes[order], values[order])

    @cached_property
    def tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def where(self, chosen: NDArray[np.bool_]) -> LabelPolygons:
        return LabelPolygons(self.shapes[chosen], self.values[chosen])

    def select_touching(self, grid: Grid) -> LabelPolygons:
        """Those that touch a grid."""
        return self.where(shapely.intersects(self.shapes, outline_grid(grid)))

    def burn(self, grid: Grid) -> NDArray[np.uint8]:
        """Class values where a pixel's centre lies in a polygon, zero elsewhere; later polygons lie above earlier ones."""
        near = np.sort(self.tree.query(outline_grid(grid)))
        if len(near) == 0:
            return np.zeros(grid.shape, np.uint8)
        pairs = zip(self.shapes[near], self.values[near].tolist(), strict=True)
        drawing: NDArray[np.uint8] = rasterio.features.rasterize(
            pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype="uint8"
        )
        return drawing


def outline_grid(grid: Grid) -> shapely.Polygon:
    """The ground that a grid covers."""
    return shapely.Polygon(
        grid.transform @ corner
        for corner in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    )


def repair_polygons(shapes: Shapes) -> Shapes:
    """Flat shapes that do not cross themselves; what has no area, or reaches where the plane does not, becomes empty."""
    flat: Shapes = shapely.force_2d(shapes)
    corners, owner = shapely.get_coordinates(flat, return_index=True)
    flat[owner[~np.isfinite(corners).all(axis=1)]] = shapely.Polygon()
    return keep_polygonal_parts(shapely.make_valid(flat))


def make_class_reader(grid: Grid, polygons: LabelPolygons, areas: LabelPolygons | None = None) -> ClassReader:
    """What draws polygons on a window of a grid. Outside of areas, where they are given, nothing is known."""

    def read(window: Window) -> NDArray[np.uint8]:
        place = grid.window(window)
        values = polygons.burn(place)
        if areas is not None:
            values[areas.burn(place) == 0] = IGNORE
        return values

    return read


def make_labelled_path(label: Path) -> Path:
    """Where the layer lies that tells which ground a label of outlines knows."""
    return label.with_suffix(f".labelled{LAYER_SUFFIX}")


def add_layer_fields(item: Item, folder: Path) -> Item:
    """An item whose label is a layer in the folder of its data set: which field to read, and where it is complete."""
    labelled = make_labelled_path(Path(item.label))
    known = str(labelled) if (folder / labelled).exists() else None
    return replace(item, class_field=CLASS_FIELD, labelled=known)


def write_polygon_label(
    path: Path, polygons: LabelPolygons, names: Sequence[str], grid: Grid, areas: LabelPolygons | None = None
) -> None:
    """Write a label as a layer of whole polygons; where not all ground is known, a second one tells which is.

    Everything within the areas, else on the grid, is labelled, but for unknown ground that no polygon covers.
    """
    unknown = polygons.values == IGNORE
    drawn = polygons.where(~unknown)
    if areas is not None or unknown.any():
        ground = np.array([outline_grid(grid)]) if areas is None else areas.shapes
        known = subtract_ground(ground, find_uncovered(polygons.shapes[unknown], drawn.shapes))
        write_polygon_layer(make_labelled_path(path), known, ["known"] * len(known), grid.crs)
    write_polygon_layer(path, drawn.shapes, [names[value] for value in drawn.values.tolist()], grid.crs)


def find_uncovered(ground: Shapes, above: Shapes) -> shapely.Geometry:
    """The part of some ground on which no polygon lies."""
    whole = shapely.union_all(ground)
    shapely.prepare(whole)
    return shapely.difference(whole, shapely.union_all(above[shapely.intersects(above, whole)]))


def subtract_ground(areas: Shapes, ground: shapely.Geometry) -> Shapes:
    """What is left of areas when some ground is taken from them."""
    if ground.is_empty:
        return areas
    left = keep_polygonal_parts(shapely.difference(areas, ground))
    return np.asarray(left[~shapely.is_empty(left)])


def write_polygon_layer(path: Path, shapes: Shapes, names: Sequence[str], crs: CRS) -> None:
    """Write polygons and their names as a layer, in their order, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = geopandas.GeoDataFrame({CLASS_FIELD: np.array(names, object)}, geometry=shapes, crs=crs)
    with replace_files(path) as folder, explain_write_errors(path):
        # An index would bring the polygons into another order, and later ones lie above earlier ones.
        write_frame(layer, folder / path.name, path.stem, geometry_type="MultiPolygon", SPATIAL_INDEX="NO")
