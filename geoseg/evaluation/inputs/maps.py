"""Maps of classes, predicted and true: read on one grid, strip by strip.

Either may be a raster of classes or a layer of polygons. Pixels of polygons are those whose middle lies inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.datasets.reading.labels import rasterize_outlines
from geoseg.errors import InputError
from geoseg.evaluation.inputs.classes import IDENTITY, Lookup
from geoseg.raster.coding import FINE_STEPS, NODATA, PROBABILITY_STEPS
from geoseg.raster.grid import Grid
from geoseg.raster.mask import Mask
from geoseg.raster.palette import ClassEntry
from geoseg.scores.outlines import FootprintOutlines

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class MapStrip:
    """Some rows of a map: classes (row, col), and probabilities in 250ths (band, row, col); 255 is unknown."""

    classes: Bytes
    probabilities: Bytes | None = None

    def select(self, rows: slice) -> MapStrip:
        probabilities = None if self.probabilities is None else self.probabilities[:, rows]
        return MapStrip(self.classes[rows], probabilities)


class ClassMap(Protocol):
    """The class of each pixel, as it is predicted or as it is."""

    @property
    def name(self) -> str: ...

    def read(self, rows: slice) -> MapStrip: ...


@dataclass(frozen=True)
class VectorMap:
    """Polygons in the grid's pixels (x = column, y = row). Outside `labelled`, where it is given, nothing is known.

    Those of class 0 are background: a courtyard above a house hides a part of it, but is no footprint.
    """

    name: str
    drawn: FootprintOutlines
    width: int
    labelled: NDArray[np.object_] | None = None

    @cached_property
    def footprints(self) -> FootprintOutlines:
        """The polygons that are not background."""
        return self.drawn.select(self.drawn.classes > 0)

    @cached_property
    def tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.drawn.polygons)

    @cached_property
    def points(self) -> NDArray[np.int64]:
        """The pixel (row, col) at which each footprint is looked for."""
        points = shapely.get_coordinates(shapely.point_on_surface(self.footprints.polygons))
        return np.asarray(np.floor(points[:, ::-1]), dtype=np.int64)

    def read(self, rows: slice) -> MapStrip:
        chosen = np.sort(self.tree.query(shapely.box(0, rows.start, self.width, rows.stop)))
        outlines = self.drawn.select(chosen)
        place = (rows.stop - rows.start, self.width), Affine.translation(0, rows.start)
        classes = rasterize_outlines(outlines.polygons, outlines.classes.astype(np.uint8), *place)
        if self.labelled is not None:
            known = rasterize_outlines(self.labelled, np.ones(len(self.labelled), dtype=np.uint8), *place)
            classes[known == 0] = NODATA
        return MapStrip(classes)


@dataclass(frozen=True)
class RasterMap:
    """A raster of classes; `lookup` says which class each of its values, and each band of probability, stands for."""

    mask: Mask
    lookup: Lookup = field(default_factory=lambda: IDENTITY)
    outlines: VectorMap | None = None
    """The footprints that `geoseg infer` or `geoseg vectorize` makes of it."""
    parts_buildings: bool = False
    """Whether these footprints part buildings that touch in the mask."""

    @property
    def name(self) -> str:
        return self.mask.path

    def read(self, rows: slice) -> MapStrip:
        classes, probabilities = self.mask.read(rows)
        levels = (
            None if probabilities is None else sum_by_class(convert_to_250ths(probabilities), self.lookup)
        )
        return MapStrip(self.lookup[classes], levels)


@dataclass(frozen=True)
class RestrictedMap:
    """A map of which only what lies on ground that another map knows is known."""

    source: ClassMap
    other: ClassMap

    @property
    def name(self) -> str:
        return self.source.name

    def read(self, rows: slice) -> MapStrip:
        strip, other = self.source.read(rows), self.other.read(rows)
        known = other.classes != NODATA
        return MapStrip(np.where(known, strip.classes, np.uint8(NODATA)), strip.probabilities)


def limit_to_polygons(whole: ClassMap, area: NDArray[np.object_], width: int) -> RestrictedMap:
    """A map of which only what lies in some polygons is known."""
    return RestrictedMap(whole, VectorMap(whole.name, FootprintOutlines.merge([]), width, area))


def get_whole_map(class_map: ClassMap) -> ClassMap:
    """A map with all that it knows, however it was restricted."""
    return get_whole_map(class_map.source) if isinstance(class_map, RestrictedMap) else class_map


def get_outline_layer(class_map: ClassMap) -> VectorMap | None:
    """The outlines whose shape is judged: the polygons of a layer, or those that are made of a raster."""
    whole = get_whole_map(class_map)
    if isinstance(whole, VectorMap):
        return whole
    return whole.outlines if isinstance(whole, RasterMap) else None


def get_footprint_layer(class_map: ClassMap) -> VectorMap | None:
    """The footprints that are matched one by one, where they are polygons already; else those of its pixels are."""
    whole = get_whole_map(class_map)
    is_traced = isinstance(whole, RasterMap) and not whole.parts_buildings
    return None if is_traced else get_outline_layer(whole)


def sum_by_class(bands: Bytes, lookup: Lookup) -> Bytes:
    """Probabilities of classes from those of a raster's values: values that mean the same class share it.

    A single band is that of the only class.
    """
    own = lookup[: len(bands)]
    if len(bands) == 1 or np.array_equal(own, IDENTITY[: len(bands)]):
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


@dataclass(frozen=True)
class EvaluationPair:
    """A prediction and its truth on one grid. `place` is what scenes of the same ground share."""

    name: str
    place: str
    grid: Grid
    predicted: ClassMap
    truth: ClassMap
    image: str | None = None
    bands: tuple[str, ...] = ()
    """What the bands of the image are called, where its file may not tell."""
    min_area_m2: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Everything there is to compare, and the classes it is in."""

    classes: tuple[ClassEntry, ...]
    pairs: tuple[EvaluationPair, ...]
