"""GeoTIFFs of an export: tiles checked and kept, laid together, and one cloud-optimised file at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from gee.catalogue import LayerBand, PixelFormat
from gee.errors import FlakyError
from geoseg.io.atomic import explain_write_errors, lock_private_folder, replace_file
from geoseg.io.staging import make_staging_folder, sweep_staging_folders
from geoseg.raster.grid import Grid, Window, format_crs
from geoseg.raster.source import replace_raster

WHOLE_NUMBERS = {
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
}
LOWEST_FLOAT = -3.4028234663852886e38


def choose_pixel_format(types: list[Mapping[str, Any]]) -> PixelFormat:
    """The smallest type that holds every value of the bands and one more, for nodata."""
    if any(band["precision"] != "int" for band in types):
        return PixelFormat("float32", LOWEST_FLOAT, -3.4e38, 3.4e38)
    lowest, highest = (
        pick(band.get(edge, 0) for band in types) for pick, edge in ((min, "min"), (max, "max"))
    )
    for dtype, (first, last) in WHOLE_NUMBERS.items():
        if first <= lowest and highest < last:
            return PixelFormat(dtype, last, lowest, highest)
    return PixelFormat("float64", LOWEST_FLOAT, lowest, highest)


BLOCK = 512
CACHE_BYTES = 64_000_000
HASH_TAG = "GEOSEG_SHA256"
NEARLY = 1e-6


MOSAIC_OPTIONS = {
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "compress": "deflate",
    "zlevel": 1,
    "sparse_ok": True,
    "bigtiff": "IF_SAFER",
}


@dataclass(frozen=True)
class GeoTiffFormat:
    """What a finished file is like: its grid, bands, pixels and tags."""

    grid: Grid
    bands: tuple[LayerBand, ...]
    pixels: PixelFormat
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

    def window(self, window: Window) -> GeoTiffFormat:
        """The form of one window of the file."""
        return GeoTiffFormat(self.grid.window(window), self.bands, self.pixels, self.is_picture, self.tags)


def check_tile(content: bytes, form: GeoTiffFormat) -> None:
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
        raise FlakyError(
            f"Earth Engine sent a tile of {describe_tile(found)} instead of {describe_tile(asked)}"
        )
    pixel = abs(form.grid.transform.a)
    if not lies.is_identity and not lies.almost_equals(form.grid.transform, pixel * NEARLY * form.grid.width):
        raise FlakyError(f"Earth Engine sent a tile of another place: {lies[:6]}")


def describe_tile(kind: tuple[int, int, int, str]) -> str:
    """A tile's kind in words."""
    count, height, width, dtype = kind
    return f"{count} bands of {width} x {height} pixels in {dtype}"


def assemble_tiles(tiles: Mapping[Window, Path], form: GeoTiffFormat, path: Path) -> None:
    """Lay tiles together, block rows at a time, and leave a cloud-optimised file at `path`."""
    with reserve_folder(path) as folder:
        mosaic = folder / MOSAIC_FILE
        with rasterio.open(mosaic, "w", **form.profile, **MOSAIC_OPTIONS) as target:
            for window in split_rows(form.grid):
                target.write(read_tiles(tiles, form, window), window=make_rasterio_window(window))
        write_cog(mosaic, form, path)


@contextmanager
def reserve_folder(path: Path) -> Iterator[Path]:
    """A folder beside a file for what is only needed until that file is written; those of killed runs vanish."""
    sweep_staging_folders(path.parent, path.name)
    with explain_write_errors(path), make_staging_folder(path) as folder:
        yield folder


def split_rows(grid: Grid) -> Iterator[Window]:
    """The grid in whole block rows, from the top."""
    for row in range(0, grid.height, BLOCK):
        yield Window(row, 0, min(BLOCK, grid.height - row), grid.width)


def read_tiles(tiles: Mapping[Window, Path], form: GeoTiffFormat, window: Window) -> NDArray[Any]:
    """The pixels of a window, from every tile that reaches into it; nodata where there is none."""
    shape = (len(form.bands), window.height, window.width)
    pixels = np.full(shape, form.pixels.nodata, form.pixels.dtype)
    for tile, path in tiles.items():
        shared = intersect_windows(tile, window)
        if shared:
            rows, cols = shared.within(window).slices
            with rasterio.open(path) as source:
                pixels[:, rows, cols] = source.read(window=make_rasterio_window(shared.within(tile)))
    return pixels


def intersect_windows(one: Window, other: Window) -> Window | None:
    """The pixels that two windows share."""
    row, col = max(one.row, other.row), max(one.col, other.col)
    height = min(one.stop_row, other.stop_row) - row
    width = min(one.stop_col, other.stop_col) - col
    return Window(row, col, height, width) if height > 0 and width > 0 else None


def make_rasterio_window(window: Window) -> RasterWindow:
    """A window in rasterio's own terms."""
    return RasterWindow(window.col, window.row, window.width, window.height)


def write_cog(mosaic: Path, form: GeoTiffFormat, path: Path) -> None:
    """Describe the bands, and copy the mosaic to a cloud-optimised file at its final name."""
    with rasterio.open(mosaic, "r+") as target:
        target.descriptions = [band.name for band in form.bands]
        target.scales = [form.pixels.scale] * len(form.bands)
        target.update_tags(**form.tags)
    with replace_raster(path) as cog, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
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


def read_settings_hash(path: Path) -> str | None:
    """The hash of the settings that a finished file was made with; None where there is no such file."""
    if not path.exists():
        return None
    try:
        with rasterio.open(path) as file:
            return str(file.tags().get(HASH_TAG, ""))
    except RasterioError:
        return ""


def describe_grid(grid: Grid) -> str:
    """A grid in a few words."""
    return f"{grid.width} x {grid.height} pixels of {grid.transform.a:g} in {format_crs(grid.crs)}"


MOSAIC_FILE = "mosaic.tif"
TILE_NAME = re.compile(r"(\d+)_(\d+)_(\d+)_(\d+)\.tif")


@dataclass(frozen=True)
class TileFolder:
    """A folder of tiles, named by where they lie. The folder's own name carries the hash of what they show."""

    folder: Path

    def path(self, window: Window) -> Path:
        """The file of a tile."""
        return self.folder / f"{window.row}_{window.col}_{window.height}_{window.width}.tif"

    def finished(self) -> dict[Window, Path]:
        """Every tile that was kept."""
        tiles = {}
        for path in self.folder.glob("*.tif"):
            if match := TILE_NAME.fullmatch(path.name):
                tiles[Window(*map(int, match.groups()))] = path
        return tiles

    def keep(self, window: Window, content: bytes) -> None:
        """Write a tile so that it is there whole or not at all, whatever happens."""
        with replace_file(self.path(window)) as unfinished:
            unfinished.write_bytes(content)

    def clear(self) -> None:
        """Forget the tiles: they are in the finished file."""
        rmtree(self.folder, ignore_errors=True)

    def locked(self) -> AbstractContextManager[None]:
        """Keep a second run out."""
        return lock_private_folder(self.folder)
