"""The two sides of an evaluation, what is predicted and what is true: read on one grid, strip by strip.

Either may be a raster of classes or a layer of polygons. Pixels of polygons are those whose middle lies inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.datasets.reading.labels import find_outline_classes, rasterize_outlines
from geoseg.errors import InputError
from geoseg.evaluation.classes import (
    BACKGROUND,
    BUILDING,
    SAME,
    Meaning,
    SideClasses,
    make_named_classes,
    make_numbered_classes,
)
from geoseg.footprints.measure import Extent, make_equal_area_crs, transform_polygons
from geoseg.footprints.polygons import mend_polygons
from geoseg.io.layers import parse_layer_path, read_layer
from geoseg.raster.coding import FINE_STEPS, NODATA, PROBABILITY_STEPS
from geoseg.raster.grid import Grid
from geoseg.raster.mask import Mask
from geoseg.raster.palette import ClassEntry
from geoseg.regions.polygons import make_valid_polygons
from geoseg.scores.outlines import FootprintOutlines

if TYPE_CHECKING:
    import geopandas as gpd


Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class SideStrip:
    """Some rows of a side: classes (row, col), and probabilities in 250ths (band, row, col); 255 is unknown."""

    classes: Bytes
    probabilities: Bytes | None = None


class Side(Protocol):
    """What is predicted, or what is true."""

    @property
    def name(self) -> str: ...

    def read(self, rows: slice) -> SideStrip: ...


@dataclass(frozen=True)
class RasterSide:
    """A raster of classes; `meaning` says which class each of its values, and each band of probability, stands for."""

    mask: Mask
    meaning: Bytes = field(default_factory=lambda: SAME)

    @property
    def name(self) -> str:
        return self.mask.path

    def read(self, rows: slice) -> SideStrip:
        classes, probabilities = self.mask.read(rows)
        levels = (
            None if probabilities is None else sum_by_class(convert_to_250ths(probabilities), self.meaning)
        )
        return SideStrip(self.meaning[classes], levels)


@dataclass(frozen=True)
class VectorSide:
    """Polygons in the grid's pixels (x = column, y = row). Outside `labelled`, where it is given, nothing is known.

    Those of class 0 are background: a courtyard above a house hides a part of it, but is no footprint.
    """

    name: str
    drawn: FootprintOutlines
    width: int
    labelled: NDArray[np.object_] | None = None

    @cached_property
    def outlines(self) -> FootprintOutlines:
        """The footprints."""
        return self.drawn.select(self.drawn.classes > 0)

    @cached_property
    def tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.drawn.polygons)

    @cached_property
    def points(self) -> NDArray[np.int64]:
        """The pixel (row, col) at which each footprint is looked for."""
        points = shapely.get_coordinates(shapely.point_on_surface(self.outlines.polygons))
        return np.asarray(np.floor(points[:, ::-1]), dtype=np.int64)

    def read(self, rows: slice) -> SideStrip:
        chosen = np.sort(self.tree.query(shapely.box(0, rows.start, self.width, rows.stop)))
        outlines = self.drawn.select(chosen)
        place = (rows.stop - rows.start, self.width), Affine.translation(0, rows.start)
        classes = rasterize_outlines(outlines.polygons, outlines.classes.astype(np.uint8), *place)
        if self.labelled is not None:
            known = rasterize_outlines(self.labelled, np.ones(len(self.labelled), dtype=np.uint8), *place)
            classes[known == 0] = NODATA
        return SideStrip(classes)


@dataclass(frozen=True)
class RestrictedSide:
    """A side of which only what lies on ground that another side knows is known."""

    side: Side
    other: Side

    @property
    def name(self) -> str:
        return self.side.name

    @property
    def whole(self) -> Side:
        """The side itself, all of it known."""
        return self.side.whole if isinstance(self.side, RestrictedSide) else self.side

    def read(self, rows: slice) -> SideStrip:
        strip, other = self.side.read(rows), self.other.read(rows)
        known = other.classes != NODATA
        return SideStrip(np.where(known, strip.classes, np.uint8(NODATA)), strip.probabilities)


def limit_to_polygons(side: Side, area: NDArray[np.object_], width: int) -> RestrictedSide:
    """A side of which only what lies in some polygons is known."""
    return RestrictedSide(side, VectorSide(side.name, FootprintOutlines.merge([]), width, area))


def sum_by_class(bands: Bytes, meaning: Bytes) -> Bytes:
    """Probabilities of classes from those of a raster's values: values that mean the same class share it.

    A single band is that of the only class.
    """
    own = meaning[: len(bands)]
    if len(bands) == 1 or np.array_equal(own, SAME[: len(bands)]):
        return bands
    sums = np.zeros((int(own.max()) + 1, *bands.shape[1:]), dtype=np.uint16)
    for number, band in zip(own, bands, strict=True):
        sums[number] += band
    unknown = (bands == NODATA).any(axis=0)
    return np.where(unknown, NODATA, np.minimum(sums, PROBABILITY_STEPS)).astype(np.uint8)


def convert_to_250ths(probabilities: NDArray[Any]) -> Bytes:
    """Probabilities in bytes, whether they come so or in finer steps."""
    if probabilities.dtype == np.uint8:
        return probabilities
    unknown = probabilities == np.iinfo(probabilities.dtype).max
    levels = np.rint(probabilities * (PROBABILITY_STEPS / FINE_STEPS))
    return np.where(unknown, NODATA, levels).astype(np.uint8)


def refuse_unknown_classes(classes: Bytes, number: int, name: str) -> None:
    """Refuse values that no class has."""
    odd = classes + np.uint8(1) > number  # unknown, 255, becomes 0
    if odd.any():
        raise InputError(f"{name}: holds the value {classes[odd][0]}, but classes go from 0 to {number - 1}")


CLASS, UNNAMED = "class", "unnamed"
MOST_CLASSES = 254


@dataclass(frozen=True)
class PolygonLayer:
    """A layer of polygons in a file, complete within the polygons of another file.

    Their class stands in a field, as a name or number of some classes; without such, in the words of a column `class`.
    """

    source: str
    classes: tuple[ClassEntry, ...] = ()
    class_field: str | None = None
    labelled: str | None = None

    @cached_property
    def frame(self) -> gpd.GeoDataFrame:
        frame = read_layer(*parse_layer_path(self.source))
        if frame.crs is None or not is_earth_crs(CRS(frame.crs)):
            raise InputError(f"{self.source}: has no CRS; assign its own, for example with ogr2ogr -a_srs")
        return frame

    @cached_property
    def words(self) -> SideClasses:
        """The classes that its polygons are of."""
        if self.classes:
            return SideClasses(self.source, self.classes)
        written = self._written
        if written is None:
            return SideClasses(self.source, (BACKGROUND, BUILDING), named=False, numbered=not len(self.frame))
        if written.dtype == np.int64:
            return SideClasses(self.source, make_numbered_classes(int(written.max())), named=False)
        return SideClasses(self.source, make_named_classes(sorted(set(written))), numbered=False)

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The class of each polygon, counted as in its words."""
        names = [entry.name for entry in self.words.classes]
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

    def side(self, grid: Grid, meaning: Meaning = SAME) -> VectorSide:
        """The layer on a grid, its classes renumbered."""
        frame, classes = self.frame, meaning[self.numbers].astype(np.int64)
        sure = frame["confidence"].to_numpy(float) if "confidence" in frame else np.full(len(frame), np.nan)
        outlines = FootprintOutlines(self.polygons(grid), classes, sure)
        there = ~shapely.is_empty(outlines.polygons)
        area = PolygonLayer(self.labelled).polygons(grid) if self.labelled else None
        return VectorSide(self.source, outlines.select(there), grid.width, area)

    def polygons(self, grid: Grid) -> NDArray[np.object_]:
        """All polygons in the pixels of a grid."""
        return transform_to_pixels(self.frame, grid, self.source)

    def own_grid(self, gsd_m: float) -> Grid:
        """A grid over the whole layer, in an equal-area CRS."""
        frame = self.frame
        if not len(frame):
            raise InputError(f"{self.source}: holds no polygon, so there is no place to compare at")
        left, bottom, right, top = map(float, frame.total_bounds)
        crs = make_equal_area_crs(Extent(CRS(frame.crs), (left, bottom, right, top)))
        left, bottom, right, top = map(float, frame.to_crs(crs).total_bounds)
        height, width = (max(1, int(np.ceil(side / gsd_m))) for side in (top - bottom, right - left))
        return Grid(crs, Affine.translation(left, top) @ Affine.scale(gsd_m, -gsd_m), height, width)


def read_class_column(written: Any) -> Any:
    """A column of classes as numbers or words, with none of them missing; None where it holds nothing of the kind."""
    import pandas as pd

    said = written.dropna()
    if not len(said) or said.nunique() > MOST_CLASSES:
        return None
    numbers = pd.to_numeric(said, errors="coerce")
    if (numbers.between(0, MOST_CLASSES) & (numbers % 1 == 0)).all():
        return numbers.reindex(written.index, fill_value=0).astype(np.int64)
    return said.astype(str).reindex(written.index, fill_value=UNNAMED)


def is_earth_crs(crs: CRS) -> bool:
    """Whether coordinates of a CRS are places; those of a local drawing are not."""
    return bool(crs.is_geographic or crs.is_projected or crs.is_bound or crs.is_compound)


def transform_to_pixels(frame: gpd.GeoDataFrame, grid: Grid, source: str) -> NDArray[np.object_]:
    """Polygons in a grid's pixel coordinates, x = column and y = row."""
    shapes = make_valid_polygons(np.asarray(frame.geometry.array), Path(source))
    moved = transform_polygons(shapes, CRS(frame.crs), grid.crs)
    back = ~grid.transform
    return mend_polygons(np.asarray(shapely.transform(moved, lambda x, y: back @ (x, y), interleaved=False)))


@dataclass(frozen=True)
class EvaluationPair:
    """A prediction and its truth on one grid. `place` is what scenes of the same ground share."""

    name: str
    place: str
    grid: Grid
    predicted: Side
    truth: Side
    image: str | None = None
    bands: tuple[str, ...] = ()
    """What the bands of the image are called, where its file may not tell."""
    min_area_m2: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Everything there is to compare, and the classes it is in."""

    classes: tuple[ClassEntry, ...]
    pairs: tuple[EvaluationPair, ...]
