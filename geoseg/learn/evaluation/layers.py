"""Layers of polygons as sides of a comparison, brought into the pixels of its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.areas.measure import Extent, equal_area_crs, transformed
from geoseg.footprints.regions.regions import path_and_layer, read_frame, valid_polygons
from geoseg.learn.evaluation.legend import Meaning, class_numbers
from geoseg.learn.evaluation.sides import VectorSide
from geoseg.learn.scores.polygons import Outlines
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd

SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".geoparquet", ".shp")
NO_CLASSES: Mapping[str, int] = {}


@dataclass(frozen=True)
class Layer:
    """A layer of polygons in a file; their class stands in a column, or all are of class 1."""

    source: str
    class_field: str | None = None
    numbers: Mapping[str, int] = field(default_factory=lambda: NO_CLASSES)

    @property
    def frame(self) -> gpd.GeoDataFrame:
        frame = read_frame(*path_and_layer(self.source))
        if frame.crs is None or not lies_on_earth(CRS(frame.crs)):
            raise InputError(f"{self.source}: has no CRS; assign its own, for example with ogr2ogr -a_srs")
        return frame

    def side(self, grid: Grid, labelled: str | None = None, narrator: Narrator = QUIET) -> VectorSide:
        """The layer on a grid, complete within the polygons of another file."""
        frame = self.frame
        classes = class_numbers(frame, self.class_field, self.numbers, self.source)
        sure = frame["confidence"].to_numpy(float) if "confidence" in frame else np.full(len(frame), np.nan)
        outlines = Outlines(in_pixels(frame, grid, self.source, narrator), classes, sure)
        there = ~shapely.is_empty(outlines.polygons) & (classes > 0)
        area = Layer(labelled).polygons(grid, narrator) if labelled else None
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


def is_vector(source: str) -> bool:
    """Whether a file (or `file:layer`) holds polygons, by its name."""
    return path_and_layer(source)[0].suffix.lower() in SUFFIXES


def lies_on_earth(crs: CRS) -> bool:
    """Whether coordinates of a CRS are places; those of a local drawing are not."""
    return bool(crs.is_geographic or crs.is_projected or crs.is_bound or crs.is_compound)


def renumbered(side: VectorSide, meaning: Meaning) -> VectorSide:
    """A layer with its classes renumbered; polygons that become background are left out."""
    classes = meaning[side.outlines.classes].astype(np.int64)
    outlines = replace(side.outlines, classes=classes).select(classes > 0)
    return replace(side, outlines=outlines)


def in_pixels(frame: gpd.GeoDataFrame, grid: Grid, source: str, narrator: Narrator) -> NDArray[np.object_]:
    """Polygons in a grid's pixel coordinates, x = column and y = row."""
    shapes = valid_polygons(np.asarray(frame.geometry.array), Path(source), narrator)
    moved = transformed(shapes, CRS(frame.crs), grid.crs)
    back = ~grid.transform
    return np.asarray(shapely.transform(moved, lambda x, y: back @ (x, y), interleaved=False))
