"""Images and labels as they lie on disk, with or without a georeference: what they hold, their pixels, and new files.

Also smaller copies of them, for photographs far finer than the model needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError
from geoseg.raster.bands import Band, match_bands
from geoseg.raster.grid import Grid, Window
from geoseg.raster.source import (
    ARRAY_SUFFIX,
    describe_gdal_error,
    has_georeference,
    load_array,
    make_rasterio_crs,
    open_quietly,
    open_raster,
    replace_raster,
)

BLOCK_SIZE = 512
WINDOW_SIZE = 2048


@dataclass(frozen=True)
class ImageInfo:
    """A raster file: its size, its bands and, where it says so, its place on Earth."""

    path: Path
    height: int
    width: int
    bands: int
    dtype: str
    grid: Grid | None
    names: tuple[str, ...] = ()
    stated_gsd_m: float | None = None
    """What the user says of its pixels, where the file does not tell their size."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def gsd_m(self) -> float | None:
        return self.grid.gsd_m if self.grid else self.stated_gsd_m

    def windows(self, size: int = WINDOW_SIZE) -> Iterator[Window]:
        """Windows that cover the picture, whole block rows at a time."""
        for row in range(0, self.height, size):
            for col in range(0, self.width, size):
                yield Window(row, col, min(size, self.height - row), min(size, self.width - col))


def find_bands(image: ImageInfo, bands: Sequence[str]) -> list[int]:
    """Where the wanted bands lie in a file: by its own names of bands if it has them all, else the first ones."""
    if len(bands) > image.bands:
        raise InputError(f"{image.path}: has {image.bands} bands, fewer than {', '.join(bands)}")
    own = [Band(number, name, "") for number, name in enumerate(image.names, start=1)]
    if all(any(band.matches(name) for band in own) for name in bands):
        return list(match_bands(own, bands, str(image.path)))
    return list(range(1, len(bands) + 1))


@contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Open a raster that need not have a place on Earth; GDAL leaves no notes beside it."""
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), open_raster(str(path), str(path)) as dataset:
        yield dataset


def read_image_info(path: Path) -> ImageInfo:
    """Find out what lies at a path."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.suffix == ARRAY_SUFFIX:
        return read_array_info(path)
    with open_image(path) as dataset:
        return ImageInfo(
            path, dataset.height, dataset.width, dataset.count, dataset.dtypes[0], read_grid(dataset),
            tuple(name or "" for name in dataset.descriptions),
        )  # fmt: skip


def read_array_info(path: Path) -> ImageInfo:
    values = load_array(path)
    bands, height, width = values.shape
    return ImageInfo(path, height, width, bands, values.dtype.name, None)


def read_grid(dataset: Any) -> Grid | None:
    """Where an open raster lies, if it says so."""
    if not has_georeference(dataset):
        return None
    return Grid(CRS.from_wkt(dataset.crs.to_wkt()), dataset.transform, dataset.height, dataset.width)


def read_window(path: Path, window: Window | None = None) -> NDArray[Any]:
    """All bands (band, row, col) of a window, or of the whole file."""
    if path.suffix == ARRAY_SUFFIX:
        values = load_array(path)
        return np.asarray(values[(slice(None), *window.slices)] if window else values)
    with open_image(path) as dataset:
        return read_pixels(dataset, window)


def read_pixels(dataset: Any, window: Window | None) -> NDArray[Any]:
    try:
        values: NDArray[Any] = dataset.read(window=make_rasterio_window(window) if window else None)
    except RasterioError as error:
        raise InputError(
            f"{dataset.name}: cannot be read to the end ({describe_gdal_error(error)}); get the file again"
        ) from error
    return values


def make_rasterio_window(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)


def read_valid_mask(
    dataset: Any, window: Window, bands: int, size: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """Which pixels of a window the file itself does not call nodata; an alpha band among the used ones is data.

    With `size` (height, width), the window is read in so many pixels, each the nearest one.
    """
    size = size or (window.height, window.width)
    if ColorInterp.alpha in dataset.colorinterp[:bands]:
        return np.ones(size, dtype=bool)
    valid: NDArray[np.bool_] = dataset.dataset_mask(window=make_rasterio_window(window), out_shape=size) > 0
    return valid


def write_label(
    path: Path,
    like: ImageInfo,
    pieces: Iterable[tuple[Window, NDArray[np.uint8]]],
    nodata: int | None = IGNORE,
) -> None:
    """Write class values piece by piece as a small GeoTIFF on the picture's grid, whole or not at all."""
    write_raster(path, like, 1, "uint8", ((window, values[None]) for window, values in pieces), nodata=nodata)


def write_raster(
    path: Path,
    like: ImageInfo,
    bands: int,
    dtype: str,
    pieces: Iterable[tuple[Window, NDArray[Any]]],
    **profile: Any,
) -> None:
    """Write pixels (band, row, col) piece by piece on a picture's grid, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile |= make_profile(like, bands, dtype)
    with replace_raster(path) as unfinished, open_quietly(unfinished, mode="w", **profile) as dataset:
        for window, values in pieces:
            dataset.write(values, window=make_rasterio_window(window))


def make_profile(like: ImageInfo, bands: int, dtype: str) -> dict[str, Any]:
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": bands, "height": like.height, "width": like.width,
        "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip
    if like.grid:
        profile |= {"crs": make_rasterio_crs(like.grid.crs), "transform": like.grid.transform}
    if max(like.shape) > BLOCK_SIZE:
        profile |= {"tiled": True, "blockxsize": BLOCK_SIZE, "blockysize": BLOCK_SIZE}
    return profile


def resize_info(original: ImageInfo, size: tuple[int, int]) -> ImageInfo:
    """The same picture in another number of pixels (height, width)."""
    height, width = size
    grid = original.grid and Grid(
        original.grid.crs,
        original.grid.transform @ Affine.scale(original.width / width, original.height / height),
        height,
        width,
    )
    stated = original.stated_gsd_m
    larger = sqrt(original.height * original.width / (height * width))
    return replace(original, height=height, width=width, grid=grid, stated_gsd_m=stated and stated * larger)


def read_resized(path: Path, size: tuple[int, int]) -> NDArray[Any]:
    """A mask's values (band, row, col) in another size, each the value of one old pixel."""
    with open_image(path) as dataset:
        values: NDArray[Any] = dataset.read(out_shape=(dataset.count, *size), resampling=Resampling.nearest)
    return values


def write_resized(original: ImageInfo, bands: tuple[int, ...], copy: ImageInfo) -> None:
    """Write some of an image's bands as a copy in another size."""
    kernel = Resampling.average if copy.height < original.height else Resampling.cubic
    with open_image(original.path) as dataset:
        values = dataset.read(list(bands), out_shape=(len(bands), *copy.shape), resampling=kernel)
    # Bands without colours are taken in their order; by colours a fourth band would pass for alpha.
    pieces = [(Window(0, 0, *copy.shape), values)]
    write_raster(copy.path, copy, len(bands), copy.dtype, pieces, photometric="MINISBLACK", alpha="NO")


def stretch_colors(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Any three bands as colours (row, col, band) from 0 to 1."""
    pixels = np.nan_to_num(np.asarray(values, np.float32))
    low, high = np.percentile(pixels, (1, 99), axis=(1, 2), keepdims=True)
    scaled = np.clip((pixels - low) / np.maximum(high - low, 1e-6), 0, 1)
    last: NDArray[np.float32] = np.moveaxis(scaled, 0, -1).astype(np.float32)
    return last
