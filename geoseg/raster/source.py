"""Rasters as GDAL opens them: pixels with their validity, the georeference, and why a file cannot be read or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio._path import _parse_path
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError
from geoseg.io.atomic import replace_file
from geoseg.io.trust import (
    RASTER_DRIVERS,
    REACHING_DRIVERS,
    check_source,
    describe_disguise,
    find_suffix,
    is_trusted,
)
from geoseg.raster.grid import Window, parse_crs

# What rasterio raises when GDAL fails; a failed write comes as any of these.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, SystemError, OSError)


def describe_gdal_error(error: BaseException) -> str:
    """GDAL's own words, the first line of them."""
    cause = error.__cause__ or error
    words = str(cause).strip().splitlines()
    return words[0] if words else type(cause).__name__


def open_dataset(source: str, **options: Any) -> Any:
    """Open a raster as what its name says that it is."""
    check_source(source)
    drivers = choose_drivers(source)
    return open_with_drivers(source, drivers, **options) if drivers else rasterio.open(source, **options)


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def open_with_drivers(source: str, drivers: list[str], **options: Any) -> Any:
    """What `rasterio.open` does, which takes one driver at most."""
    return DatasetReader(_parse_path(source), driver=drivers, **options)


def choose_drivers(source: str) -> list[str] | None:
    """The drivers that may read a source; all of them where files are trusted, and for our own virtual rasters."""
    if is_trusted() or source.startswith("<VRTDataset"):
        return None
    return list(RASTER_DRIVERS.get(find_suffix(source), list_harmless_drivers()))


@cache
def list_harmless_drivers() -> tuple[str, ...]:
    """The drivers that read nothing but the file they are given."""
    with rasterio.Env() as environment:
        return tuple(sorted(environment.drivers().keys() - REACHING_DRIVERS))


@contextmanager
def open_raster(source: str, name: str, **options: Any) -> Iterator[Any]:
    """Open a raster, or say in one line why it cannot be."""
    try:
        dataset = open_dataset(source, **options)
    except RasterioError as error:
        if "HTTP" in str(error) or "Could not resolve" in str(error):
            raise InputError(f"{name}: cannot be reached ({describe_gdal_error(error)})") from error
        reason = f"({describe_gdal_error(error)}){describe_disguise(source)}"
        raise InputError(f"{name}: not a raster that can be read {reason}") from error
    with dataset:
        yield dataset


def make_rasterio_crs(crs: CRS) -> rasterio.crs.CRS:
    """The same CRS for rasterio, by its code where it has one, since files keep codes best."""
    authority = crs.to_authority()
    return rasterio.crs.CRS.from_user_input(":".join(authority) if authority else crs.to_wkt())


@dataclass(frozen=True)
class Pixels:
    """Values (band, row, col) and whether each pixel (row, col) is known."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


def find_known_pixels(values: NDArray[Any], nodatas: Sequence[float | None]) -> NDArray[np.bool_]:
    """Where any band holds something other than its nodata value."""
    known = np.zeros(values.shape[1:], dtype=bool)
    for band, nodata in zip(values, nodatas, strict=True):
        if nodata is None:
            return np.ones(values.shape[1:], dtype=bool)
        known |= ~np.isnan(band) if np.isnan(nodata) else band != nodata
    return known


def split_window(window: Window, block: int) -> Iterator[Window]:
    """Cut a window along the lines of blocks; a window inside one block stays whole."""
    for row in range(window.row - window.row % block, window.stop_row, block):
        for col in range(window.col - window.col % block, window.stop_col, block):
            top, left = max(row, window.row), max(col, window.col)
            bottom, right = min(row + block, window.stop_row), min(col + block, window.stop_col)
            yield Window(top, left, bottom - top, right - left)


def read_crs(dataset: Any, name: str, assume_crs: str | None) -> CRS:
    if assume_crs is not None:
        return parse_crs(assume_crs, "`assume_crs`")
    if dataset.crs is None or not dataset.crs.to_wkt():
        if dataset.gcps[0]:
            raise InputError(
                f"{name}: placed by ground control points only; straighten it first: gdalwarp -r cubic {name} straight.tif"
            )
        raise InputError(
            f"{name}: has no coordinate reference system; if you know it, say it, e.g. `assume_crs` EPSG:32633"
        )
    crs = CRS.from_wkt(dataset.crs.to_wkt())
    if not (crs.is_geographic or crs.is_projected or crs.is_bound or crs.is_compound):
        raise InputError(
            f"{name}: its coordinate reference system ({crs.name}) has no place on Earth; use `assume_crs`"
        )
    return crs


def read_transform(dataset: Any, name: str) -> Affine:
    transform: Affine = dataset.transform
    if transform == Affine.identity() and not dataset.gcps[0] and not dataset.rpcs:
        raise InputError(
            f"{name}: has no georeference (no world file, no transform); give it one: gdal_translate -a_ullr LEFT TOP RIGHT BOTTOM"
        )
    if transform == Affine.identity():
        raise InputError(
            f"{name}: placed by ground control points only; straighten it first: gdalwarp -r cubic {name} straight.tif"
        )
    if not all(map(isfinite, transform)) or transform.is_degenerate:
        raise InputError(
            f"{name}: its georeference gives pixels no size; repair it with gdal_edit.py -a_ullr"
        )
    return transform


READ_BACK_ROWS = 512


@contextmanager
def replace_raster(path: Path) -> Iterator[Path]:
    """A path beside a raster, which takes its place once all that was written there could be read back.

    GDAL writes much of a file when it is closed, and rasterio then loses what fails, such as a full disk.
    """
    with replace_file(path) as unfinished:
        yield unfinished
        read_back(unfinished)


def read_back(path: Path) -> None:
    """Read every pixel of a raster, and the end of each of its overviews; whatever is wrong with it is an error."""
    with rasterio.open(path) as dataset:
        step = max(READ_BACK_ROWS, dataset.block_shapes[0][0])
        for row in range(0, dataset.height, step):
            height = min(step, dataset.height - row)
            dataset.read(window=RasterioWindow(0, row, dataset.width, height))
    read_overview_ends(path)


def read_overview_ends(path: Path) -> None:
    """Read the last pixels of each overview of a raster, which are the last to be written."""
    with rasterio.open(path) as dataset:
        levels = len(dataset.overviews(1))
    for level in range(levels):
        with rasterio.open(path, overview_level=level) as overview:
            rows, cols = (min(READ_BACK_ROWS, size) for size in overview.shape)
            overview.read(window=RasterioWindow(overview.width - cols, overview.height - rows, cols, rows))


def is_readable(path: Path) -> bool:
    """Whether all of a raster can be read."""
    try:
        read_back(path)
    except GDAL_ERRORS:
        return False
    return True
