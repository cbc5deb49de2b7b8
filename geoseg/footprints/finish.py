"""From traced footprints to rows of the file: cleaned, straightened, on Earth, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import atan2, degrees

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.footprints.areas.ground import areas_and_perimeters
from geoseg.footprints.areas.measure import AreaCrs, transformed
from geoseg.footprints.clean import Polygons, part_by_part, rejoined, simplified, without_small_holes
from geoseg.footprints.footprint import Footprints
from geoseg.footprints.straight.ragged import Floats, Ints
from geoseg.footprints.straight.regularize import regularize
from geoseg.footprints.straight.shape import shape_attributes
from geoseg.footprints.trace.pieces import STEPS
from geoseg.footprints.trace.traced import Traced
from geoseg.footprints.valid import mended
from geoseg.raster.grid import Grid


@dataclass(frozen=True)
class Finished:
    """Rows of the file, with the keys of their order, and how many footprints were too small."""

    rows: gpd.GeoDataFrame
    order: Ints
    dropped: int

    @staticmethod
    def merged(batches: Sequence[Finished]) -> Finished:
        """Several as one, in the order in which they are written."""
        filled = [batch for batch in batches if len(batch.rows)] or list(batches[:1])
        order = np.concatenate([batch.order for batch in filled])
        sequence = np.lexsort(order.T[::-1])
        rows = pd.concat([batch.rows for batch in filled], ignore_index=True).iloc[sequence]
        return Finished(rows.reset_index(drop=True), order[sequence], sum(batch.dropped for batch in batches))


@dataclass(frozen=True)
class Finisher:
    """Knows all it takes to finish footprints of one raster, in any process.

    Outlines are cleaned and straightened in a plane of metres: pixel coordinates times the true size of the pixel
    in the middle of the raster, y away from the viewer.
    """

    grid: Grid
    area: AreaCrs
    crs: CRS
    names: Mapping[int, str]
    min_area_m2: float
    max_hole_m2: float
    simplify_m: float
    regularize: bool

    def finish(self, traced: Traced) -> Finished:
        """Rows of the file from whole footprints in pixel coordinates."""
        footprints = self._footprints(traced)
        pixel_m2 = self._pixel_m2(footprints.polygons)
        large = shapely.area(footprints.polygons) * pixel_m2 >= self.min_area_m2
        footprints, pixel_m2 = footprints.select(large), pixel_m2[large]
        flat = self._cleaned(footprints, pixel_m2)
        placed = self._on_earth(flat.polygons)
        # Rounding can make a shape that only just was valid cross itself on the map.
        torn = np.isin(flat.cluster, flat.cluster[~shapely.is_valid(placed)])
        if torn.any():
            flat = flat.replaced(torn, moved(footprints.polygons[torn], self._plane))
            placed = self._on_earth(flat.polygons)
        areas_m2, perimeters_m = areas_and_perimeters(self.area, placed, self.crs)
        stretch = np.sqrt(pixel_m2 / abs(self._plane.determinant))
        width_m, length_m, orientation_deg = shape_attributes(flat.polygons)
        columns = {
            "class": np.array([self.name(value) for value in flat.classes], dtype=object),
            "area_m2": areas_m2,
            "perimeter_m": perimeters_m,
            "confidence": flat.confidence,
            "regularized": flat.regularized,
            "width_m": width_m * stretch,
            "length_m": length_m * stretch,
            "orientation_deg": (orientation_deg + self._turn_deg) % 180,
            "touches_nodata": flat.touches_nodata,
            "touches_edge": flat.touches_edge,
        }
        rows = gpd.GeoDataFrame(columns, geometry=placed, crs=self.crs)
        return Finished(rows, traced.order[large], int((~large).sum()))

    def name(self, value: int) -> str:
        """What a class of the mask is called."""
        return self.names.get(int(value), f"class {value}")

    def _footprints(self, traced: Traced) -> Footprints:
        with np.errstate(invalid="ignore"):
            confidence = traced.probability / (STEPS * traced.known)
        return Footprints(
            polygons=traced.polygons,
            classes=traced.value.astype(np.uint8),
            confidence=confidence,
            touches_edge=self._touching_edge(traced.polygons),
            touches_nodata=traced.touches_nodata,
            cluster=traced.cluster,
            regularized=np.zeros(len(traced), dtype=bool),
        )

    def _touching_edge(self, polygons: Polygons) -> NDArray[np.bool_]:
        left, top, right, bottom = shapely.bounds(polygons).reshape(-1, 4).T
        outer = (left <= 0) | (top <= 0) | (right >= self.grid.width) | (bottom >= self.grid.height)
        return np.asarray(outer)

    def _pixel_m2(self, polygons: Polygons) -> Floats:
        """True area of a pixel in the middle of each footprint."""
        boxes = shapely.bounds(polygons).reshape(-1, 4)
        x, y = self.grid.transform @ ((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2)
        return self.area.densities(x, y, self.grid.crs) * abs(self.grid.transform.determinant)

    def _cleaned(self, footprints: Footprints, pixel_m2: Floats) -> Footprints:
        # A larger hole could hold a footprint that is large enough to stay.
        largest = min(self.max_hole_m2, self.min_area_m2) / pixel_m2
        flat = part_by_part(
            footprints.polygons,
            np.arange(len(footprints)),
            lambda parts, own: without_small_holes(parts, largest[own]),
        )
        flat = moved(flat, self._plane)
        if self.simplify_m and len(flat):
            flat = part_by_part(
                flat, footprints.cluster, lambda parts, own: simplified(parts, own, self.simplify_m)
            )
        if not self.regularize or not len(flat):
            return footprints.with_polygons(flat)
        return straightened(footprints.with_polygons(flat), self.grid.gsd_m)

    def _on_earth(self, flat: Polygons) -> Polygons:
        to_crs = self.grid.transform @ ~self._plane
        return mended(transformed(moved(flat, to_crs), self.grid.crs, self.crs))

    @cached_property
    def _plane(self) -> Affine:
        across, down = self.grid.pixel_size_m
        # Seen from above as on the map: a raster with its first row in the south is not turned over.
        return Affine.scale(across, -down if self.grid.transform.determinant < 0 else down)

    @cached_property
    def _turn_deg(self) -> float:
        """Where the plane's north points on the map, clockwise from the grid's."""
        to_crs = self.grid.transform @ ~self._plane
        return degrees(atan2(to_crs.b, to_crs.e))


def straightened(footprints: Footprints, resolution_m: float) -> Footprints:
    """Footprints with straight walls; those of several parts only where the parts still meet in points alone."""
    parts, owner = shapely.get_parts(footprints.polygons, return_index=True)
    shapes, done = regularize(parts, footprints.cluster[owner], resolution_m)
    straight = np.bincount(owner, weights=~done) == 0
    whole = rejoined(shapes, owner)
    torn = ~shapely.is_valid(whole)
    return replace(
        footprints,
        polygons=np.where(torn, footprints.polygons, whole),
        regularized=straight & ~torn,
    )


def moved(polygons: Polygons, by: Affine) -> Polygons:
    """Polygons with every vertex taken through an affine transform."""
    shifted: Polygons = shapely.transform(polygons, lambda x, y: by @ (x, y), interleaved=False)
    return shifted
