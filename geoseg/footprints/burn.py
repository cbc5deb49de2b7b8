"""Footprints drawn back into a raster: a mask that holds what they are, cleaned and straight.

They are kept on disk as they come, and drawn strip by strip, so memory holds those of a strip. Their corners are rounded to a
binary fraction of a pixel: a strip's rows can then be counted from its own first row without a rounding error, and no strip
changes a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.windows import Window as RasterioWindow

from geoseg.footprints.measure import transform_to_pixels
from geoseg.footprints.polygons import Polygons, apply_affine
from geoseg.io.atomic import explain_write_errors
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid
from geoseg.raster.mosaic import MosaicLayer, StripFiles, make_strips_vrt, split_into_strips, write_strip
from geoseg.raster.plan import STRIP_PIXELS, Strip
from geoseg.raster.source import ignore_missing_place, open_quietly

STEPS_PER_PIXEL = 1024


@dataclass(frozen=True)
class FootprintFile:
    """Some footprints on disk, and the rows of the raster's grid between which they lie."""

    path: Path
    first_row: float
    stop_row: float


class FootprintBurner:
    """Takes the rows of the file of footprints as they come, and draws them when all have come.

    `grid` is the one they were traced on, `values` the number of each class in the raster.
    """

    def __init__(self, grid: Grid, values: Mapping[str, int], folder: Path) -> None:
        self.grid = grid
        self.values = values
        self.folder = folder
        self._files: list[FootprintFile] = []

    def add(self, rows: gpd.GeoDataFrame) -> None:
        """Take the next footprints, in the order of the file."""
        if not len(rows):
            return
        crs = CRS.from_user_input(rows.crs) if self.grid.is_placed else None
        polygons = transform_to_pixels(np.asarray(rows.geometry.array, dtype=object), crs, self.grid)
        values = [self.values[name] for name in rows["class"]]
        # No numbers where a polygon is empty, or far from the grid.
        _, first, _, stop = shapely.bounds(polygons).T
        outlines, numbers = shapely.to_wkb(polygons), pa.array(values, pa.uint8())
        table = pa.table({"polygon": outlines, "value": numbers, "first_row": first, "stop_row": stop})
        path = self.folder / f"footprints-{len(self._files):06}.arrow"
        with (
            explain_write_errors(self.folder),
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as file,
        ):
            file.write_table(table)
        self._files.append(FootprintFile(path, np.fmin.reduce(first), np.fmax.reduce(stop)))

    def burn(self, grid: Grid, strips: StripFiles, strip_pixels: int = STRIP_PIXELS) -> StripFiles:
        """Strip files that hold the footprints on a grid, and what `strips`, on the same grid, call unknown.

        The grid covers the same ground as that of the footprints, in as many pixels or in others.
        """
        burnt = []
        with (
            explain_write_errors(self.folder),
            open_quietly(make_strips_vrt(MosaicLayer(("class",)), grid, strips)) as classes,
        ):
            for strip in split_into_strips(grid, strip_pixels):
                window = RasterioWindow(0, strip.row, grid.width, strip.height)
                values = np.where(classes.read(1, window=window) == NODATA, NODATA, self.draw(grid, strip))
                burnt.append((strip, self.folder / f"burnt-{strip.index:06}.tif"))
                write_strip(burnt[-1][1], values[None].astype(np.uint8), strip.place(grid))
        return burnt

    def draw(self, grid: Grid, strip: Strip) -> NDArray[np.uint8]:
        """The footprints in some rows of a grid; of those that overlap, the later one is on top."""
        finer = Affine.scale(grid.width / self.grid.width, grid.height / self.grid.height)
        drawn = np.zeros((strip.height, grid.width), np.uint8)
        rows = strip.row / finer.e, strip.stop_row / finer.e
        for file in self._files:
            if file.first_row < rows[1] and file.stop_row > rows[0]:
                polygons, values = read_between(file.path, *rows)
                placed = shift_rows(round_corners(apply_affine(polygons, finer)), strip.row)
                if len(placed):
                    with ignore_missing_place():
                        rasterize(zip(placed, values.tolist(), strict=True), out=drawn)
        return drawn


def read_between(path: Path, first: float, stop: float) -> tuple[Polygons, NDArray[np.uint8]]:
    """The footprints of a file that reach into some rows; the outlines of others, which may be most, are not looked at."""
    with pa.OSFile(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    inside = (table["first_row"].to_numpy() < stop) & (table["stop_row"].to_numpy() > first)
    chosen = table.filter(pa.array(inside))
    return shapely.from_wkb(np.array(chosen["polygon"].to_pylist(), dtype=object)), chosen["value"].to_numpy()


def round_corners(polygons: Polygons) -> Polygons:
    rounded: Polygons = shapely.transform(
        polygons, lambda points: np.rint(points * STEPS_PER_PIXEL) / STEPS_PER_PIXEL
    )
    return rounded


def shift_rows(polygons: Polygons, rows: int) -> Polygons:
    shifted: Polygons = shapely.transform(polygons, lambda points: points - np.array([0, rows]))
    return shifted
