"""Layers of polygons as sides of a comparison, brought into the pixels of its grid."""

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

from geoseg.errors import InputError
from geoseg.footprints.areas.measure import Extent, equal_area_crs, transformed
from geoseg.footprints.regions.regions import path_and_layer, read_frame, valid_polygons
from geoseg.footprints.valid import mended
from geoseg.landclass import LandClass
from geoseg.learn.evaluation.legend import (
    BACKGROUND,
    BUILDING,
    Meaning,
    Words,
    numbered_classes,
    worded_classes,
)
from geoseg.learn.evaluation.sides import SAME, VectorSide
from geoseg.learn.patches.outlines import class_numbers
from geoseg.learn.scores.polygons import Outlines
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd

SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".geoparquet", ".shp")
CLASS, UNNAMED = "class", "unnamed"
MOST_CLASSES = 254


@dataclass(frozen=True)
class Layer:
    """A layer of polygons in a file, complete within the polygons of another file.

    Their class stands in a field, as a name or number of some classes; without such, in the words of a column `class`.
    """

    source: str
    classes: tuple[LandClass, ...] = ()
    class_field: str | None = None
    labelled: str | None = None

    @cached_property
    def frame(self) -> gpd.GeoDataFrame:
        frame = read_frame(*path_and_layer(self.source))
        if frame.crs is None or not lies_on_earth(CRS(frame.crs)):
            raise InputError(f"{self.source}: has no CRS; assign its own, for example with ogr2ogr -a_srs")
        return frame

    @cached_property
    def words(self) -> Words:
        """The classes that its polygons are of."""
        if self.classes:
            return Words(self.source, self.classes)
        written = self._written
        if written is None:
            return Words(self.source, (BACKGROUND, BUILDING), named=False, numbered=not len(self.frame))
        if written.dtype == np.int64:
            return Words(self.source, numbered_classes(int(written.max())), named=False)
        return Words(self.source, worded_classes(sorted(set(written))), numbered=False)

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The class of each polygon, counted as in its words."""
        names = [entry.name for entry in self.words.classes]
        if self.classes:
            numbers = class_numbers(self.frame, self.class_field, names, self.source)
        elif self._written is None:
            numbers = class_numbers(self.frame, None, names, self.source)
        else:
            numbers = class_numbers(self.frame.assign(**{CLASS: self._written}), CLASS, names, self.source)
        return numbers.astype(np.int64)

    @cached_property
    def _written(self) -> Any:
        """What its column `class` says of each polygon, as numbers if it can be; None where it tells no classes."""
        return None if CLASS not in self.frame else classes_in(self.frame[CLASS])

    def side(self, grid: Grid, meaning: Meaning = SAME, narrator: Narrator = QUIET) -> VectorSide:
        """The layer on a grid, its classes renumbered."""
        frame, classes = self.frame, meaning[self.numbers].astype(np.int64)
        sure = frame["confidence"].to_numpy(float) if "confidence" in frame else np.full(len(frame), np.nan)
        outlines = Outlines(self.polygons(grid, narrator), classes, sure)
        there = ~shapely.is_empty(outlines.polygons)
        area = Layer(self.labelled).polygons(grid, narrator) if self.labelled else None
        return VectorSide(self.source, outlines.select(there), grid.width, area)

    def polygons(self, grid: Grid, narrator: Narrator = QUIET) -> NDArray[np.object_]:
        """All polygons in the pixels of a grid."""
        return in_pixels(self.frame, grid, self.source, narrator)

    def own_grid(self, gsd_m: float) -> Grid:
        """A grid over the whole layer, in an equal-area CRS."""
        frame = self.frame
        if not len(frame):
            raise InputError(f"{self.source}: holds no polygon, so there is no place to compare at")
        left, bottom, right, top = map(float, frame.total_bounds)
        crs = equal_area_crs(Extent(CRS(frame.crs), (left, bottom, right, top)))
        left, bottom, right, top = map(float, frame.to_crs(crs).total_bounds)
        height, width = (max(1, int(np.ceil(side / gsd_m))) for side in (top - bottom, right - left))
        return Grid(crs, Affine.translation(left, top) @ Affine.scale(gsd_m, -gsd_m), height, width)


def classes_in(written: Any) -> Any:
    """A column of classes as numbers or words, with none of them missing; None where it holds nothing of the kind."""
    import pandas as pd

    said = written.dropna()
    if not len(said) or said.nunique() > MOST_CLASSES:
        return None
    numbers = pd.to_numeric(said, errors="coerce")
    if (numbers.between(0, MOST_CLASSES) & (numbers % 1 == 0)).all():
        return numbers.reindex(written.index, fill_value=0).astype(np.int64)
    return said.astype(str).reindex(written.index, fill_value=UNNAMED)


def is_vector(source: str) -> bool:
    """Whether a file (or `file:layer`) holds polygons, by its name."""
    return path_and_layer(source)[0].suffix.lower() in SUFFIXES


def lies_on_earth(crs: CRS) -> bool:
    """Whether coordinates of a CRS are places; those of a local drawing are not."""
    return bool(crs.is_geographic or crs.is_projected or crs.is_bound or crs.is_compound)


def in_pixels(frame: gpd.GeoDataFrame, grid: Grid, source: str, narrator: Narrator) -> NDArray[np.object_]:
    """Polygons in a grid's pixel coordinates, x = column and y = row."""
    shapes = valid_polygons(np.asarray(frame.geometry.array), Path(source), narrator)
    moved = transformed(shapes, CRS(frame.crs), grid.crs)
    back = ~grid.transform
    return mended(np.asarray(shapely.transform(moved, lambda x, y: back @ (x, y), interleaved=False)))
