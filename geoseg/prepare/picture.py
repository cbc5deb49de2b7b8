"""An image or a label as it lies on disk, with or without a place on Earth, and new labels beside it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError
from geoseg.prepare.dataset import IGNORE
from geoseg.raster.gdal import GDAL_ERRORS, open_raster, rasterio_crs, reason, write_failure
from geoseg.raster.grid import Grid, Window

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt", ".npy")
BLOCK = 512
WINDOW = 2048


@dataclass(frozen=True)
class Picture:
    """A raster file: its size, its bands and, where it says so, its place on Earth."""

    path: Path
    height: int
    width: int
    bands: int
    dtype: str
    grid: Grid | None
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def gsd_m(self) -> float | None:
        return self.grid.gsd_m if self.grid else None

    def windows(self, size: int = WINDOW) -> Iterator[Window]:
        """Windows that cover the picture, whole block rows at a time."""
        for row in range(0, self.height, size):
            for col in range(0, self.width, size):
                yield Window(row, col, min(size, self.height - row), min(size, self.width - col))


def band_numbers(image: Picture, bands: Sequence[str]) -> list[int]:
    """Where the wanted bands lie in a file: by its own names of bands if it has them all, else the first ones."""
    names = [name.lower() for name in image.names]
    if all(band.lower() in names for band in bands):
        return [names.index(band.lower()) + 1 for band in bands]
    if len(bands) > image.bands:
        raise InputError(f"{image.path}: has {image.bands} bands, fewer than {', '.join(bands)}")
    return list(range(1, len(bands) + 1))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a raster that need not have a place on Earth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), open_raster(str(path), str(path)) as dataset:
            yield dataset


def picture(path: Path) -> Picture:
    """Find out what lies at a path."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".npy":
        return array_picture(path)
    with opened(path) as dataset:
        return Picture(
            path, dataset.height, dataset.width, dataset.count, dataset.dtypes[0], grid_of(dataset),
            tuple(name or "" for name in dataset.descriptions),
        )  # fmt: skip


def array_picture(path: Path) -> Picture:
    values = loaded(path)
    bands, height, width = values.shape
    return Picture(path, height, width, bands, values.dtype.name, None)


def loaded(path: Path) -> NDArray[Any]:
    """A .npy file as (band, row, col), left on disk until it is read."""
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not an array that can be read ({error})") from error
    if values.ndim not in (2, 3):
        raise InputError(f"{path}: has {values.ndim} axes; it must be (row, col) or (band, row, col)")
    return values if values.ndim == 3 else values[None]


def grid_of(dataset: Any) -> Grid | None:
    """Where an open raster lies, if it says so."""
    if dataset.crs is None or dataset.transform == Affine.identity():
        return None
    return Grid(CRS.from_wkt(dataset.crs.to_wkt()), dataset.transform, dataset.height, dataset.width)


def read_window(path: Path, window: Window | None = None) -> NDArray[Any]:
    """All bands (band, row, col) of a window, or of the whole file."""
    if path.suffix == ".npy":
        values = loaded(path)
        return np.asarray(values[(slice(None), *window.slices)] if window else values)
    with opened(path) as dataset:
        return read_from(dataset, window)


def read_from(dataset: Any, window: Window | None) -> NDArray[Any]:
    place = RasterioWindow(window.col, window.row, window.width, window.height) if window else None
    try:
        values: NDArray[Any] = dataset.read(window=place)
    except RasterioError as error:
        raise InputError(
            f"{dataset.name}: cannot be read to the end ({reason(error)}); get the file again"
        ) from error
    return values


def known_pixels(dataset: Any, window: Window, bands: int) -> NDArray[np.bool_]:
    """Which pixels of a window the file itself does not call nodata; an alpha band among the used ones is data."""
    if ColorInterp.alpha in dataset.colorinterp[:bands]:
        return np.ones((window.height, window.width), dtype=bool)
    place = RasterioWindow(window.col, window.row, window.width, window.height)
    valid: NDArray[np.bool_] = dataset.dataset_mask(window=place) > 0
    return valid


def write_label(
    path: Path, like: Picture, pieces: Iterable[tuple[Window, NDArray[np.uint8]]], nodata: int | None = IGNORE
) -> None:
    """Write class values piece by piece as a small GeoTIFF on the picture's grid, whole or not at all."""
    write_raster(path, like, 1, "uint8", ((window, values[None]) for window, values in pieces), nodata=nodata)


def write_raster(
    path: Path,
    like: Picture,
    bands: int,
    dtype: str,
    pieces: Iterable[tuple[Window, NDArray[Any]]],
    **profile: Any,
) -> None:
    """Write pixels (band, row, col) piece by piece on a picture's grid, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(unfinished, "w", **raster_profile(like, bands, dtype), **profile) as dataset:
                for window, values in pieces:
                    dataset.write(
                        values, window=RasterioWindow(window.col, window.row, window.width, window.height)
                    )
        unfinished.replace(path)
    except GDAL_ERRORS as error:
        raise write_failure(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def raster_profile(like: Picture, bands: int, dtype: str) -> dict[str, Any]:
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": bands, "height": like.height, "width": like.width,
        "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip
    if like.grid:
        profile |= {"crs": rasterio_crs(like.grid.crs), "transform": like.grid.transform}
    if max(like.shape) > BLOCK:
        profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    return profile
