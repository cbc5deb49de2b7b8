"""From traced footprints to features of the file: cleaned, straightened, on Earth, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import atan2, degrees
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import GeosegError
from geoseg.footprints.measure import (
    AreaCrs,
    PicturePlane,
    fold_directions,
    measure_rectangles,
    transform_polygons,
)
from geoseg.footprints.polygons import (
    Floats,
    Ints,
    Polygons,
    apply_affine,
    apply_to_parts,
    fill_small_holes,
    join_parts,
    mend_polygons,
    simplify_clusters,
    split_into_parts,
)
from geoseg.footprints.regularize.blocks import regularize_footprints
from geoseg.footprints.regularize.edges import Box, fit_to_image
from geoseg.footprints.trace.rings import TracedFootprints
from geoseg.footprints.write.spool import PIXEL_NAMES
from geoseg.raster.coding import FINE_STEPS
from geoseg.raster.grid import Grid

ROUNDING_STEPS = 64
"""Corners a pixel apart cannot change places by rounding where a pixel is larger than so many steps between numbers."""


@dataclass(frozen=True)
class Footprints:
    """A batch of footprints, one array element each.

    `polygons` are shapely Polygons (with `connectivity` 8, parts that meet at a corner only make a
    MultiPolygon); the batch's maker says in which plane they lie. Footprints that touch along an edge share
    a number in `cluster`, unique within the batch, and a cluster always comes whole, in one batch.
    """

    polygons: NDArray[np.object_]
    classes: NDArray[np.uint8]
    confidence: NDArray[np.float64]
    touches_edge: NDArray[np.bool_]
    touches_nodata: NDArray[np.bool_]
    cluster: NDArray[np.int64]
    regularized: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise GeosegError(f"the columns of a batch of footprints differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.polygons)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Footprints:
        """Some of the footprints, by a mask or by their positions."""
        return Footprints(*(getattr(self, field.name)[rows] for field in fields(self)))

    def with_polygons(self, polygons: NDArray[np.object_]) -> Footprints:
        """The same footprints in another shape or plane."""
        return replace(self, polygons=polygons)


@dataclass(frozen=True)
class FeatureBatch:
    """Rows of the file, with the keys of their order, and how many footprints were too small."""

    rows: gpd.GeoDataFrame
    order: Ints
    dropped: int

    @staticmethod
    def merge(batches: Sequence[FeatureBatch]) -> FeatureBatch:
        """Several as one, in the order in which they are written."""
        filled = [batch for batch in batches if len(batch.rows)] or list(batches[:1])
        order = np.concatenate([batch.order for batch in filled])
        sequence = np.lexsort(order.T[::-1])
        rows = pd.concat([batch.rows for batch in filled], ignore_index=True).iloc[sequence]
        return FeatureBatch(
            rows.reset_index(drop=True), order[sequence], sum(batch.dropped for batch in batches)
        )


@dataclass(frozen=True)
class FeatureBuilder:
    """Knows all it takes to finish footprints of one raster, in any process.

    Outlines are cleaned and straightened in a plane of metres: pixel coordinates times the true size of the pixel
    in the middle of the raster, y away from the viewer.
    """

    grid: Grid
    area: AreaCrs | PicturePlane
    crs: CRS
    names: Mapping[int, str]
    min_area_m2: float
    max_hole_m2: float
    simplify_m: float
    regularize: bool
    image_date: str | None = None

    def finish(self, traced: TracedFootprints) -> FeatureBatch:
        """Rows of the file from whole footprints in pixel coordinates."""
        footprints = self._make_footprints(traced)
        pixel_m2 = self._pixel_m2(footprints.polygons)
        large = shapely.area(footprints.polygons) * pixel_m2 >= self.min_area_m2
        footprints, pixel_m2 = footprints.select(large), pixel_m2[large]
        flat = self._clean_polygons(footprints, pixel_m2)
        placed = self._transform_to_crs(flat.polygons)
        areas_m2, perimeters_m = self.area.measure(placed, self.crs)
        stretch = np.sqrt(pixel_m2 / abs(self._plane.determinant))
        width_m, length_m, orientation_deg = measure_rectangles(flat.polygons)
        columns = {
            "class": self._name_classes(flat.classes),
            "area_m2": areas_m2,
            "perimeter_m": perimeters_m,
            "confidence": flat.confidence,
            "regularized": flat.regularized,
            "width_m": width_m * stretch,
            "length_m": length_m * stretch,
            "orientation_deg": fold_directions(orientation_deg + self._turn_deg),
            "touches_nodata": flat.touches_nodata,
            "touches_edge": flat.touches_edge,
            "image_date": np.full(len(flat), self.image_date, dtype=object),
        }
        if self.grid.unit and self.grid.counts_pixels:
            columns = convert_to_pixels(columns, self.grid.unit.metres)
        rows = gpd.GeoDataFrame(columns, geometry=placed, crs=self.crs if self.grid.is_placed else None)
        return FeatureBatch(rows, traced.order[large], int((~large).sum()))

    def name(self, value: int) -> str:
        """What a class of the mask is called."""
        return self.names.get(int(value), f"class {value}")

    def _name_classes(self, classes: NDArray[np.uint8]) -> NDArray[np.object_]:
        values, place = np.unique(classes, return_inverse=True)
        return np.array([self.name(value) for value in values], dtype=object)[place]

    def _make_footprints(self, traced: TracedFootprints) -> Footprints:
        with np.errstate(invalid="ignore"):
            confidence = traced.probability / (FINE_STEPS * traced.known)
        return Footprints(
            polygons=traced.polygons,
            classes=traced.value.astype(np.uint8),
            confidence=confidence,
            touches_edge=self._find_touching_edge(traced.polygons),
            touches_nodata=traced.touches_nodata,
            cluster=traced.cluster,
            regularized=np.zeros(len(traced), dtype=bool),
        )

    def _find_touching_edge(self, polygons: Polygons) -> NDArray[np.bool_]:
        left, top, right, bottom = shapely.bounds(polygons).reshape(-1, 4).T
        outer = (left <= 0) | (top <= 0) | (right >= self.grid.width) | (bottom >= self.grid.height)
        return np.asarray(outer)

    def _pixel_m2(self, polygons: Polygons) -> Floats:
        """True area of a pixel in the middle of each footprint."""
        boxes = shapely.bounds(polygons).reshape(-1, 4)
        x, y = self.grid.transform @ ((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2)
        return self.area.compute_densities(x, y, self.grid.crs) * abs(self.grid.transform.determinant)

    def _clean_polygons(self, footprints: Footprints, pixel_m2: Floats) -> Footprints:
        # A larger hole could hold a footprint that is large enough to stay.
        largest = min(self.max_hole_m2, self.min_area_m2) / pixel_m2
        flat = apply_to_parts(
            footprints.polygons,
            np.arange(len(footprints)),
            lambda parts, own: fill_small_holes(parts, largest[own]),
        )
        flat = apply_affine(flat, self._plane)
        if self.simplify_m and len(flat):
            flat = apply_to_parts(
                flat, footprints.cluster, lambda parts, own: simplify_clusters(parts, own, self.simplify_m)
            )
        if not self.regularize or not len(flat):
            return footprints.with_polygons(flat)
        return straighten_footprints(footprints.with_polygons(flat), self.grid.gsd_m, self._image)

    def _transform_to_crs(self, flat: Polygons) -> Polygons:
        placed = transform_polygons(apply_affine(flat, self._to_grid_crs), self.grid.crs, self.crs)
        return placed if self._keeps_order else mend_polygons(placed)

    @cached_property
    def _plane(self) -> Affine:
        across, down = self.grid.pixel_size_m
        # Seen from above as on the map: a raster with its first row in the south is not turned over.
        return Affine.scale(across, -down if self.grid.transform.determinant < 0 else down)

    @cached_property
    def _image(self) -> Box:
        """The box of all pixels in the plane."""
        x, y = self._plane @ (self.grid.width, self.grid.height)
        return min(0.0, x), min(0.0, y), max(0.0, x), max(0.0, y)

    @cached_property
    def _turn_deg(self) -> float:
        """Where the plane's north points on the map, clockwise from the grid's."""
        return degrees(atan2(self._to_grid_crs.b, self._to_grid_crs.e))

    @cached_property
    def _to_grid_crs(self) -> Affine:
        to_crs: Affine = self.grid.transform @ ~self._plane
        return to_crs

    @cached_property
    def _keeps_order(self) -> bool:
        """Whether outlines along pixels stay along the axes, and their corners in order: then no polygon can break."""
        to_crs, bounds = self._to_grid_crs, np.abs(self.grid.bounds).max()
        is_reshaped = self.regularize or self.simplify_m or self.crs != self.grid.crs
        pixel = min(abs(self.grid.transform.a), abs(self.grid.transform.e))
        return not is_reshaped and to_crs.b == to_crs.d == 0 and pixel > ROUNDING_STEPS * np.spacing(bounds)


def convert_to_pixels(columns: Mapping[str, NDArray[Any]], pixel_m: float) -> dict[str, NDArray[Any]]:
    """Sizes as numbers of pixels, in columns that say so; the others and the order stay."""
    sizes = {
        name: values / (pixel_m**2 if name.endswith("_m2") else pixel_m)
        for name, values in columns.items()
        if name in PIXEL_NAMES
    }
    return {
        PIXEL_NAMES[name][0] if name in sizes else name: sizes.get(name, values)
        for name, values in columns.items()
    }


def straighten_footprints(footprints: Footprints, resolution_m: float, image: Box) -> Footprints:
    """Footprints with straight walls inside the image, whose box is given.

    Those of several parts only where the parts still meet in points alone; those that the image's edge would tear keep
    their outlines as traced, and so do their neighbours.
    """
    parts, owner = split_into_parts(footprints.polygons)
    shapes, done = regularize_footprints(parts, footprints.cluster[owner], resolution_m)
    shapes, broken = fit_to_image(shapes, parts, footprints.cluster[owner], image, resolution_m)
    straight = np.bincount(owner, weights=~done) == 0
    whole = join_parts(shapes, owner)
    torn = ~shapely.is_valid(whole)
    torn |= np.isin(footprints.cluster, footprints.cluster[owner[broken]])
    return replace(
        footprints,
        polygons=np.where(torn, footprints.polygons, whole),
        regularized=straight & ~torn,
    )
