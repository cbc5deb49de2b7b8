"""Statistics per region of footprints that are already in a file.

Footprints are read some at a time, and the mask and probability that they came from, where these are kept, strip by strip.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import find_full_turn, mend_unwrapped
from geoseg.footprints.measure import AreaCrs, Extent, measure_polygons
from geoseg.footprints.vector_files import GdalFile
from geoseg.footprints.write.geopackage import BUILDINGS
from geoseg.io.addresses import PARQUET_SUFFIXES
from geoseg.io.layers import (
    explain_read_errors,
    find_only_layer,
    parse_layer_crs,
    read_every_row,
    read_words,
    refuse_far_bounds,
    refuse_far_coordinates,
)
from geoseg.io.trust import check_vector_source
from geoseg.progress import track
from geoseg.raster.grid import Grid, Window
from geoseg.raster.mask import Mask, Probability, open_mask, open_probability, read_raster_grid, split_rows
from geoseg.regions.polygons import refuse_points_and_lines

log = logging.getLogger(__name__)

RasterStrip = tuple[Window, NDArray[np.uint8] | None, NDArray[Any] | None]
GEOJSON_SUFFIXES = (".geojson", ".json")
ROWS_AT_ONCE = 100_000
ONLY_CLASS = "building"


@dataclass(frozen=True)
class FootprintLayer:
    """The footprints in a file: any polygons, with `class` and `confidence` where they have them."""

    path: Path
    name: str
    crs: CRS
    rows: int
    bounds: tuple[float, float, float, float]
    columns: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> FootprintLayer:
        """Find the layer `buildings` of a file, or its only one."""
        if not path.exists():
            raise InputError(f"{path}: there is no such file of footprints")
        check_vector_source(path)
        with explain_read_errors(str(path)):
            is_whole = path.suffix.lower() in (*PARQUET_SUFFIXES, *GEOJSON_SUFFIXES)
            return WholeFootprintLayer.read(path) if is_whole else cls.open_with_gdal(path)

    @classmethod
    def open_with_gdal(cls, path: Path) -> FootprintLayer:
        """A layer of any file that GDAL reads."""
        name = find_only_layer(path, BUILDINGS)
        info = pyogrio.read_info(path, layer=name, force_total_bounds=True, force_feature_count=True)
        columns, bounds = tuple(map(str, info["fields"])), info["total_bounds"]
        rows = info["features"] if bounds is not None else 0
        refuse_far_bounds(bounds if rows else (), str(path))
        return cls(path, name, parse_layer_crs(info["crs"], path), rows, bounds, columns)

    @cached_property
    def extent(self) -> Extent:
        """The box around all footprints, in one piece where the antimeridian cuts them in two."""
        if not self.rows:
            raise InputError(
                f"{self.path} holds no footprint, and so no place; give its `mask` or `probability`"
            )
        if self.bounds[2] - self.bounds[0] <= find_full_turn(self.crs) / 2:
            return Extent(self.crs, self.bounds)
        boxes = [shapely.bounds(np.asarray(frame.geometry.array)) for frame in self.frames()]
        return Extent.around(self.crs, np.concatenate(boxes))

    @cached_property
    def classes(self) -> list[str]:
        """Every class there is, in the order of their names."""
        if "class" not in self.columns:
            return [ONLY_CLASS]
        return sorted(set(name_classes(self._read_classes()))) or [ONLY_CLASS]

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """The footprints, some at a time: rows without an outline are none, those without a class are buildings."""
        return (frame for frame, _ in self._mended_frames())

    def measured_frames(self, area: AreaCrs) -> Iterator[gpd.GeoDataFrame]:
        """The same, with their true areas; how many outlines had to be repaired for that is told."""
        mended = 0
        for frame, broken in self._mended_frames():
            mended += broken
            measured, _ = measure_polygons(area, np.asarray(frame.geometry.array), self.crs)
            yield frame.assign(area_m2=measured)
        if mended:
            log.warning(
                f"{self.path}: {mended:,} of {self.rows:,} footprints had invalid geometry and were repaired"
            )

    def _mended_frames(self) -> Iterator[tuple[gpd.GeoDataFrame, int]]:
        """The footprints with valid outlines in one piece, and how many of them were not."""
        for rows in self._pieces():
            refuse_points_and_lines(np.asarray(rows.geometry.array), self.path)
            shapes, broken = mend_unwrapped(np.asarray(rows.geometry.array), find_full_turn(self.crs))
            mended = rows.set_geometry(gpd.GeoSeries(shapes, rows.index, rows.crs))
            frame = mended[~(mended.geometry.isna() | mended.geometry.is_empty)]
            yield frame.assign(**{"class": name_classes(frame)}), int(broken.sum())

    def _pieces(self) -> Iterator[gpd.GeoDataFrame]:
        """All rows, some at a time."""
        name = str(self.path)
        layer = GdalFile(name, self.crs, self.columns, self.rows, False, name, self.name)
        for rows in layer.pieces(self.columns, ROWS_AT_ONCE):
            yield refuse_far_coordinates(rows, name)

    def _read_classes(self) -> pd.DataFrame:
        with explain_read_errors(str(self.path)):
            return pyogrio.read_dataframe(self.path, layer=self.name, columns=["class"], read_geometry=False)


def name_classes(rows: pd.DataFrame) -> list[str]:
    """The classes of footprints; those without one are buildings."""
    if "class" not in rows:
        return [ONLY_CLASS] * len(rows)
    return [ONLY_CLASS if word is None else word for word in read_words(rows["class"])]


@dataclass(frozen=True)
class WholeFootprintLayer(FootprintLayer):
    """Footprints in a file that is read as a whole: GeoParquet, and GeoJSON, which GDAL reads from its beginning each time."""

    frame: gpd.GeoDataFrame

    @classmethod
    def read(cls, path: Path) -> WholeFootprintLayer:
        """Everything in the file."""
        frame = (
            gpd.read_parquet(path)
            if path.suffix.lower() in PARQUET_SUFFIXES
            else read_every_row(path, find_only_layer(path, BUILDINGS))
        )
        refuse_far_coordinates(frame, str(path))
        left, bottom, right, top = map(float, np.asarray(frame.total_bounds))
        rows, columns = 0 if math.isnan(left) else len(frame), tuple(map(str, frame.columns))
        crs = parse_layer_crs(frame.crs, path)
        return cls(path, "", crs, rows, (left, bottom, right, top), columns, frame)

    def _pieces(self) -> Iterator[gpd.GeoDataFrame]:
        for start in range(0, self.rows, ROWS_AT_ONCE):
            yield self.frame.iloc[start : start + ROWS_AT_ONCE]

    def _read_classes(self) -> pd.DataFrame:
        return self.frame[["class"]]


@dataclass(frozen=True)
class StatsRasters:
    """A mask and a probability of the same pixels; either may be missing."""

    grid: Grid
    mask: Mask | None = None
    probability: Probability | None = None

    @classmethod
    def open(cls, mask: Path | None, probability: Path | None) -> StatsRasters | None:
        """Open what there is; none if there is neither."""
        if mask is not None:
            opened = open_mask(str(mask))
            likely = open_probability(str(probability), opened.grid) if probability else None
            return cls(opened.grid, opened, likely)
        if probability is not None:
            grid = read_raster_grid(str(probability))
            return cls(grid, None, open_probability(str(probability), grid))
        return None

    def strips(self, names: Sequence[str]) -> Iterator[RasterStrip]:
        """Windows of all rows, top to bottom, with the mask's classes and the probabilities of the named classes."""
        bands = None if self.probability is None else find_class_bands(self.probability, names)
        with track("Reading rasters", self.grid.height, "rows") as done:
            for rows in split_rows(self.grid):
                window = Window(rows.start, 0, rows.stop - rows.start, self.grid.width)
                classes = None if self.mask is None else self.mask.read(rows)[0]
                likely = None if self.probability is None else self.probability.read(rows)[bands]
                yield window, classes, likely
                done(window.height)


def find_class_bands(probability: Probability, names: Sequence[str]) -> list[int]:
    """Which band of a probability, counted from 0, belongs to each class."""
    described = {band.description: index for index, band in enumerate(probability.bands)}
    if len(probability.bands) == 1 and len(names) == 1:
        return [0]
    if set(names) <= set(described):
        return [described[name] for name in names]
    if len(names) == 1 and len(probability.bands) == 2:
        return [1]
    raise InputError(
        f"{probability.path}: its {len(probability.bands)} bands do not say which is which of {', '.join(names)}; "
        "describe each band with its class"
    )
