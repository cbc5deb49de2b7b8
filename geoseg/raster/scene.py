"""A scene: a raster, or several read as one, on a grid; opened anew wherever it is read, window by window.

What cannot be a scene is refused in one line when it is opened first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, hide_secrets
from geoseg.io.addresses import WAITS_S, call_patiently, is_remote
from geoseg.raster.bands import Band, list_bands
from geoseg.raster.grid import Grid, PixelSize, Window
from geoseg.raster.lists import expand_lists, list_folder
from geoseg.raster.source import (
    Pixels,
    describe_gdal_error,
    find_known_pixels,
    list_mask_bands,
    open_raster,
    read_grid,
    split_window,
)
from geoseg.raster.vrt import make_mosaic_vrt

OnReadError = Literal["stop", "nodata"]

DAMAGED = "the file is damaged: get it again"
NOTES_SUFFIX = ".aux.xml"
CACHE_BYTES = 16 * 2**20
SAMPLE_PIXELS = 128
SAMPLES_ALONG = 8
SEARCH_PIXELS = 8_000_000


@dataclass(frozen=True)
class Scene:
    """What to read: the file, the bands in order and the grid. A plain value that any process can open.

    `source` is what GDAL opens: a path, or the text of a virtual mosaic. `name` is what people call it.
    `files` are those that were named, `parts` those that a virtual raster among them names.
    `native` is the grid on disk and `grid` the one to read on; they differ when the scene is resampled.
    """

    source: str
    name: str
    files: tuple[str, ...]
    all_bands: tuple[Band, ...]
    bands: tuple[int, ...]
    native: Grid
    grid: Grid
    block_height: int
    on_read_error: OnReadError = "stop"
    parts: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All files that pixels come from."""
        return tuple(dict.fromkeys([*self.files, *self.parts]))

    @property
    def dtype(self) -> str:
        """The type of the pixels."""
        return self.all_bands[self.bands[0] - 1].dtype

    @property
    def is_resampled(self) -> bool:
        return self.grid != self.native

    @property
    def refinement(self) -> float:
        """How many times finer the grid is than the pixels on disk; below 1 when it is coarser."""
        return self.native.gsd_m / self.grid.gsd_m

    def with_bands(self, bands: Sequence[int]) -> Scene:
        """The scene in some of its bands, of which all hold numbers of one type."""
        types = list(dict.fromkeys(self.all_bands[band - 1].dtype for band in bands))
        if len(types) > 1:
            raise InputError(
                f"{self.name}: bands {', '.join(map(str, bands))} hold {' and '.join(types)}; bring all bands to one type: "
                f"gdal_translate -ot Float32 {self.name} float.tif"
            )
        return replace(self, bands=tuple(bands))

    def resample(self, gsd_m: float) -> Scene:
        """The scene in pixels that are square on the ground, `gsd_m` metres a side; its CRS stays as it is."""
        return replace(self, grid=self.native.rescale(gsd_m))

    @contextmanager
    def open(self) -> Iterator[SceneReader]:
        """Open the scene for reading in this thread."""
        # GDAL's cache must hold two rows of blocks, or the rows that strips share are decoded twice.
        row_of_blocks = (
            self.block_height * self.native.width * len(self.bands) * np.dtype(self.dtype).itemsize
        )
        with (
            rasterio.Env(GDAL_CACHEMAX=max(CACHE_BYTES, 2 * row_of_blocks), GDAL_NUM_THREADS="ALL_CPUS"),
            open_raster(self.source, self.name) as dataset,
        ):
            yield SceneReader(self, dataset)


class SceneReader:
    """An open scene."""

    def __init__(self, scene: Scene, dataset: Any) -> None:
        self.scene = scene
        self.dataset = dataset

    def read(self, window: Window) -> Pixels:
        """The pixels of a window. NaN and infinite values count as unknown."""
        waits_s = WAITS_S if is_remote(self.scene.source) else ()
        try:
            return call_patiently(partial(self.read_exactly, window), is_gdal_error, waits_s)
        except RasterioError as error:
            return self.read_around_damage(window, error)

    def read_exactly(self, window: Window) -> Pixels:
        """Let GDAL resample from the pixels on disk, or from an overview of them where the file has some."""
        bands, place, shape = list(self.scene.bands), self.on_disk(window), (window.height, window.width)
        kernel = Resampling.average if self.scene.refinement < 1 else Resampling.cubic
        values = self.dataset.read(bands, window=place, out_shape=(len(bands), *shape), resampling=kernel)
        valid = self.read_validity(values, place)
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                valid &= finite.all(axis=0)
                values = np.where(finite, values, 0)
        return Pixels(values, valid)

    def on_disk(self, window: Window) -> RasterioWindow:
        """A window of the scene's grid in the pixels on disk."""
        native, grid = self.scene.native, self.scene.grid
        down, across = native.height / grid.height, native.width / grid.width
        top, left = window.row * down, window.col * across
        # Rounding must not reach beyond the last pixel.
        height = min(window.height * down, native.height - top)
        width = min(window.width * across, native.width - left)
        return RasterioWindow(left, top, width, height)

    def read_validity(self, values: NDArray[Any], place: RasterioWindow) -> NDArray[np.bool_]:
        """Which pixels the file's nodata value, mask or alpha band leave in: those known in any band."""
        shape = values.shape[1:]
        asked_as_data = any(self.scene.all_bands[band - 1].is_alpha for band in self.scene.bands)
        bands = [] if asked_as_data else list(list_mask_bands(self.dataset, self.scene.bands))
        if not bands:
            return np.ones(shape, dtype=bool)
        if MaskFlags.nodata in self.dataset.mask_flag_enums[bands[0] - 1] and not self.scene.is_resampled:
            return find_known_pixels(values, [self.dataset.nodatavals[band - 1] for band in bands])
        masks = self.dataset.read_masks(bands, window=place, out_shape=(len(bands), *shape))
        known: NDArray[np.bool_] = masks.any(axis=0)
        return known

    def read_around_damage(self, window: Window, error: RasterioError) -> Pixels:
        """Read a window piece by piece, to name the damaged pixels or to leave them out."""
        pieces = list(split_window(window, max(self.scene.block_height, 64)))
        shape = (window.height, window.width)
        values = np.zeros((len(self.scene.bands), *shape), self.scene.dtype)
        valid = np.zeros(shape, dtype=bool)
        if len(pieces) > 1:
            for piece in pieces:
                rows, cols = piece.within(window).slices
                pixels = self.read(piece)
                values[:, rows, cols], valid[rows, cols] = pixels.values, pixels.valid
        elif self.scene.on_read_error == "stop":
            advice = (
                "its server did not give it: run again later" if is_remote(self.scene.source) else DAMAGED
            )
            raise InputError(
                f"{self.scene.name}: cannot read {window} ({describe_gdal_error(error)}); {advice}, or go on with "
                "`on_read_error` nodata"
            ) from error
        return Pixels(values, valid)

    def sample(self) -> Pixels:
        """Small windows spread over the whole scene, side by side: enough to know the range of its values.

        A scene with so little content that they miss it is searched until a known pixel is found.
        """
        grid = self.scene.grid
        tops, lefts = (find_sample_starts(size) for size in grid.shape)
        height, width = (min(SAMPLE_PIXELS, size) for size in grid.shape)
        samples = [self.read(Window(top, left, height, width)) for top in tops for left in lefts]
        if not any(pixels.valid.any() for pixels in samples):
            step = max(1, SEARCH_PIXELS // grid.width)
            rows = (
                Window(row, 0, min(step, grid.height - row), grid.width)
                for row in range(0, grid.height, step)
            )
            samples = [next((p for p in map(self.read, rows) if p.valid.any()), samples[0])]
        return Pixels(
            np.concatenate([pixels.values for pixels in samples], axis=1),
            np.concatenate([pixels.valid for pixels in samples]),
        )


def is_gdal_error(error: Exception) -> bool:
    return isinstance(error, RasterioError)


def find_sample_starts(size: int) -> list[int]:
    """Where sample windows begin along an axis: evenly spread, each inside one block of most files."""
    windows = max(1, size // SAMPLE_PIXELS)
    count = min(SAMPLES_ALONG, windows)
    return [i * (windows - 1) // max(1, count - 1) * SAMPLE_PIXELS for i in range(count)]


def open_scene(
    paths: Sequence[str],
    assume_crs: str | None = None,
    on_read_error: OnReadError = "stop",
    pixel: PixelSize | None = None,
) -> Scene:
    """Find out what lies at one or more paths: files, folders of GeoTIFFs, or anything else GDAL opens.

    `pixel` is what to take for the pixels of a picture that lies nowhere on Earth; without it, there must be a place.
    """
    files = list_scene_files(paths)
    first = hide_secrets(files[0])
    name = first if len(files) == 1 else f"{first} and {len(files) - 1} more"
    source = files[0] if len(files) == 1 else make_mosaic_vrt(files)
    with rasterio.Env(), open_raster(source, name) as dataset:
        refuse_empty(dataset, name)
        refuse_unusable_colors(dataset, name)
        grid = read_grid(dataset, name, assume_crs, pixel)
        refuse_sizeless(grid, name)
        return describe_scene(dataset, source, name, files, grid, on_read_error)


def list_scene_files(paths: Sequence[str]) -> tuple[str, ...]:
    """The files behind the given paths; a folder stands for the GeoTIFFs in it, by name, a list for what it names."""
    files: list[str] = []
    for path in expand_lists(paths):
        if Path(path).is_dir():
            inside = list_folder(path, (".tif", ".tiff"))
            if not inside:
                raise InputError(f"{path}: the folder holds no .tif file")
            files += inside
        elif "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
            raise InputError(f"{path}: no such file")
        else:
            files.append(path)
    if not files:
        raise InputError("no scene was given")
    return tuple(files)


def describe_scene(
    dataset: Any,
    source: str,
    name: str,
    files: tuple[str, ...],
    grid: Grid,
    on_read_error: OnReadError,
) -> Scene:
    """Check that an open dataset can serve as a scene, and note what it holds."""
    bands = list_bands(dataset)
    data = [band for band in bands if not band.is_alpha]
    if not data:
        raise InputError(f"{name}: its only band is an alpha band")
    if "complex" in data[0].dtype:
        raise InputError(f"{name}: complex numbers ({data[0].dtype}) are no image; take the amplitude first")
    return Scene(
        source=source,
        name=name,
        files=files,
        all_bands=bands,
        bands=tuple(band.number for band in data),
        native=grid,
        grid=grid,
        block_height=dataset.block_shapes[0][0],
        on_read_error=on_read_error,
        parts=list_parts(dataset),
    )


def list_parts(dataset: Any) -> tuple[str, ...]:
    """The files of a virtual raster on disk; notes beside them are none."""
    if dataset.driver != "VRT" or dataset.name.startswith("<"):
        return ()
    return tuple(each for each in dataset.files if not each.endswith(NOTES_SUFFIX))


def refuse_sizeless(grid: Grid, name: str) -> None:
    """Refuse a place where pixels have no size: there is no such place, or a scale that no number holds."""
    if not 0 < grid.gsd_m < float("inf"):
        raise InputError(
            f"{name}: its pixels are {grid.gsd_m:g} m large where it says that it lies; its georeference is wrong: set it anew "
            "with rio edit-info --transform"
        )


def refuse_empty(dataset: Any, name: str) -> None:
    if dataset.count == 0:
        hint = (
            f"; it holds {len(dataset.subdatasets)} rasters: take one out: gdal_translate {dataset.subdatasets[0]} one.tif"
            if dataset.subdatasets
            else ""
        )
        raise InputError(f"{name}: no band to read{hint}")


def refuse_unusable_colors(dataset: Any, name: str) -> None:
    if ColorInterp.palette in dataset.colorinterp:
        raise InputError(
            f"{name}: colours are indices into a palette; make them 24-bit RGB first: gdal_translate -expand rgb {name} rgb.tif"
        )
    if dataset.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE") == "CMYK":
        raise InputError(f"{name}: colours are CMYK (for print); save it with RGB colours first")
