"""GeoTIFFs: answers checked, tiles laid together, one cloud-optimised file at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from gee.catalogue import Band, Pixels
from gee.faults import FlakyError
from geoseg.errors import GeosegError
from geoseg.raster.grid import Grid, Window, crs_name

BLOCK = 512
CACHE_BYTES = 64_000_000
HASH_TAG = "GEOSEG_SHA256"
NEARLY = 1e-6


@dataclass(frozen=True)
class Form:
    """What a finished file is like: its grid, bands, pixels and tags."""

    grid: Grid
    bands: tuple[Band, ...]
    pixels: Pixels
    is_picture: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def profile(self) -> dict[str, Any]:
        """How rasterio creates it."""
        return {
            "driver": "GTiff",
            "crs": self.grid.crs,
            "transform": self.grid.transform,
            "height": self.grid.height,
            "width": self.grid.width,
            "count": len(self.bands),
            "dtype": self.pixels.dtype,
            "nodata": self.pixels.nodata,
        }

    def window(self, window: Window) -> Form:
        """The form of one window of the file."""
        return Form(self.grid.window(window), self.bands, self.pixels, self.is_picture, self.tags)


def check_tile(content: bytes, form: Form) -> None:
    """See that an answer is the tile that was asked for, down to its last pixel."""
    try:
        with MemoryFile(content) as file, file.open() as tile:
            found = (tile.count, *tile.shape, tile.dtypes[0])
            lies = tile.transform
            tile.read()
    except RasterioError as error:
        raise FlakyError(f"Earth Engine sent a tile that cannot be read: {error}") from None
    asked = (len(form.bands), *form.grid.shape, form.pixels.dtype)
    if found != asked:
        raise FlakyError(f"Earth Engine sent a tile of {describe(found)} instead of {describe(asked)}")
    pixel = abs(form.grid.transform.a)
    if not lies.is_identity and not lies.almost_equals(form.grid.transform, pixel * NEARLY * form.grid.width):
        raise FlakyError(f"Earth Engine sent a tile of another place: {lies[:6]}")


def describe(kind: tuple[int, int, int, str]) -> str:
    """A tile's kind in words."""
    count, height, width, dtype = kind
    return f"{count} bands of {width} x {height} pixels in {dtype}"


def assemble(tiles: Mapping[Window, Path], form: Form, path: Path) -> None:
    """Lay tiles together, block rows at a time, and leave a cloud-optimised file at `path`."""
    with beside(path, "mosaic") as mosaic:
        with rasterio.open(mosaic, "w", **form.profile, **TEMPORARY) as target:
            for window in bands_of_rows(form.grid):
                target.write(gathered(tiles, form, window), window=as_rasterio(window))
        finish(mosaic, form, path)


def bands_of_rows(grid: Grid) -> Iterator[Window]:
    """The grid in whole block rows, from the top."""
    for row in range(0, grid.height, BLOCK):
        yield Window(row, 0, min(BLOCK, grid.height - row), grid.width)


def gathered(tiles: Mapping[Window, Path], form: Form, window: Window) -> NDArray[Any]:
    """The pixels of a window, from every tile that reaches into it; nodata where there is none."""
    shape = (len(form.bands), window.height, window.width)
    pixels = np.full(shape, form.pixels.nodata, form.pixels.dtype)
    for tile, path in tiles.items():
        shared = overlap(tile, window)
        if shared:
            rows, cols = shared.within(window).slices
            with rasterio.open(path) as source:
                pixels[:, rows, cols] = source.read(window=as_rasterio(shared.within(tile)))
    return pixels


def overlap(one: Window, other: Window) -> Window | None:
    """The pixels that two windows share."""
    row, col = max(one.row, other.row), max(one.col, other.col)
    height = min(one.stop_row, other.stop_row) - row
    width = min(one.stop_col, other.stop_col) - col
    return Window(row, col, height, width) if height > 0 and width > 0 else None


def as_rasterio(window: Window) -> RasterWindow:
    """A window in rasterio's own terms."""
    return RasterWindow(window.col, window.row, window.width, window.height)


TEMPORARY = {
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "compress": "deflate",
    "zlevel": 1,
    "sparse_ok": True,
    "bigtiff": "IF_SAFER",
}


def finish(mosaic: Path, form: Form, path: Path) -> None:
    """Describe the bands, and copy the mosaic to a cloud-optimised file at its final name."""
    with rasterio.open(mosaic, "r+") as target:
        target.descriptions = [band.name for band in form.bands]
        target.scales = [form.pixels.scale] * len(form.bands)
        target.update_tags(**form.tags)
    with beside(path, "cog") as cog, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        rasterio.shutil.copy(
            mosaic,
            cog,
            driver="COG",
            compress="deflate",
            predictor="yes" if form.is_picture else "no",
            overview_resampling="average" if form.is_picture else "nearest",
            bigtiff="IF_SAFER",
            sparse_ok="YES",
        )
        os.replace(cog, path)


@contextmanager
def beside(path: Path, what: str) -> Iterator[Path]:
    """A temporary file in the same folder, gone afterwards; a failure to write tells what to do."""
    temporary = path.with_name(f".{path.stem}.{what}.{os.getpid()}.tif")
    try:
        yield temporary
    except (OSError, RasterioIOError, CPLE_BaseError) as error:
        raise GeosegError(
            f"{path} cannot be written: {' '.join(str(error).split())}; is the disk full? Make room and run the "
            "same command again: what was fetched is kept"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def made_of(path: Path) -> str | None:
    """The hash of the settings that a finished file was made with; None where there is no such file."""
    if not path.exists():
        return None
    try:
        with rasterio.open(path) as file:
            return str(file.tags().get(HASH_TAG, ""))
    except RasterioError:
        return ""


def short(grid: Grid) -> str:
    """A grid in a few words."""
    return f"{grid.width} x {grid.height} pixels of {grid.transform.a:g} in {crs_name(grid.crs)}"
