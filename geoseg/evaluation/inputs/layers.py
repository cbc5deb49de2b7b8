"""Layers of polygons as maps of classes: which class each polygon is of, and where it lies among the pixels of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.datasets.reading.labels import find_outline_classes
from geoseg.errors import InputError
from geoseg.evaluation.inputs.classes import (
    BACKGROUND,
    BUILDING,
    IDENTITY,
    ClassScheme,
    Lookup,
    make_named_classes,
    make_numbered_classes,
)
from geoseg.evaluation.inputs.maps import VectorMap
from geoseg.footprints.antimeridian import find_full_turn, unwrap_polygons
from geoseg.footprints.measure import Extent, make_equal_area_crs, transform_polygons, transform_to_pixels
from geoseg.footprints.polygons import mend_polygons
from geoseg.footprints.write.geopackage import BUILDINGS
from geoseg.io.addresses import parse_layer_path
from geoseg.io.layers import read_layer
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid, is_earth_crs
from geoseg.raster.palette import ClassEntry
from geoseg.regions.polygons import make_valid_polygons
from geoseg.scores.outlines import FootprintOutlines

if TYPE_CHECKING:
    import geopandas as gpd


CLASS, UNNAMED = "class", "unnamed"
MOST_CLASSES = 254


@dataclass(frozen=True)
class PolygonLayer:
    """A layer of polygons in a file, complete within the polygons of another file.

    Their class stands in a field, as a name or number of some classes; without such, in a column `class`.
    """

    source: str
    classes: tuple[ClassEntry, ...] = ()
    class_field: str | None = None
    labelled: str | None = None
    preferred: str = BUILDINGS
    """The layer of a file that has several and names none; nothing where they are not footprints."""

    @classmethod
    def of_ground(cls, source: str) -> PolygonLayer:
        """Polygons of ground that is known."""
        return cls(source, preferred="")

    @cached_property
    def frame(self) -> gpd.GeoDataFrame:
        frame = read_layer(*parse_layer_path(self.source), self.preferred)
        if frame.crs is None or not is_earth_crs(CRS(frame.crs)):
            raise InputError(f"{self.source}: has no CRS; assign its own, for example with ogr2ogr -a_srs")
        return frame

    @cached_property
    def scheme(self) -> ClassScheme:
        """The classes that its polygons are of."""
        if self.classes:
            return ClassScheme(self.source, self.classes)
        written = self._written
        if written is None:
            return ClassScheme(self.source, (BACKGROUND, BUILDING), named=False, numbered=not len(self.frame))
        if written.dtype == np.int64:
            return ClassScheme(self.source, make_numbered_classes(int(written.max())), named=False)
        return ClassScheme(self.source, make_named_classes(sorted(set(written))), numbered=False)

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The class of each polygon, counted as in its scheme."""
        names = [entry.name for entry in self.scheme.classes]
        if self.classes:
            numbers = find_outline_classes(self.frame, self.class_field, names, self.source)
        elif self._written is None:
            numbers = find_outline_classes(self.frame, None, names, self.source)
        else:
            numbers = find_outline_classes(
                self.frame.assign(**{CLASS: self._written}), CLASS, names, self.source
            )
        return numbers.astype(np.int64)

    @cached_property
    def _written(self) -> Any:
        """What its column `class` says of each polygon, as numbers if it can be; None where it tells no classes."""
        return None if CLASS not in self.frame else read_class_column(self.frame[CLASS])

    def to_map(self, grid: Grid, lookup: Lookup = IDENTITY) -> VectorMap:
        """The layer on a grid, its classes renumbered; what marks unknown ground is no polygon of it."""
        frame, classes = self.frame, lookup[self.numbers].astype(np.int64)
        known = "confidence" in frame
        confidence = frame["confidence"].to_numpy(float) if known else np.full(len(frame), np.nan)
        outlines = FootprintOutlines(self.polygons(grid), classes, confidence)
        shown = ~shapely.is_empty(outlines.polygons) & (classes != NODATA)
        area = PolygonLayer.of_ground(self.labelled).polygons(grid) if self.labelled else None
        return VectorMap(self.source, outlines.select(shown), grid.width, area)

    def polygons(self, grid: Grid) -> NDArray[np.object_]:
        """All polygons in the pixels of a grid."""
        crs = CRS(self.frame.crs)
        shapes = make_valid_polygons(np.asarray(self.frame.geometry.array), crs, Path(self.source))
        return mend_polygons(transform_to_pixels(shapes, crs, grid))

    def own_grid(self, gsd_m: float) -> Grid:
        """A grid over the whole layer, in an equal-area CRS."""
        source = CRS(self.frame.crs)
        shapes = unwrap_polygons(np.asarray(self.frame.geometry.array), find_full_turn(source))
        boxes = shapely.bounds(shapes).reshape(-1, 4)
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        if not len(boxes):
            raise InputError(f"{self.source}: holds no polygon, so there is no place to compare at")
        crs = make_equal_area_crs(Extent.around(source, boxes))
        left, bottom, right, top = map(float, shapely.total_bounds(transform_polygons(shapes, source, crs)))
        height, width = (max(1, int(np.ceil(length / gsd_m))) for length in (top - bottom, right - left))
        return Grid(crs, Affine.translation(left, top) @ Affine.scale(gsd_m, -gsd_m), height, width)


def read_class_column(written: Any) -> Any:
    """A column of classes as numbers or words, with none of them missing; None where it holds nothing of the kind."""
    import pandas as pd

    filled = written.dropna()
    if not len(filled) or filled.nunique() > MOST_CLASSES:
        return None
    numbers = pd.to_numeric(filled, errors="coerce")
    if (numbers.between(0, MOST_CLASSES) & (numbers % 1 == 0)).all():
        return numbers.reindex(written.index, fill_value=0).astype(np.int64)
    return filled.astype(str).reindex(written.index, fill_value=UNNAMED)
