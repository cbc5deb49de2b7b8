"""Images of a data set, of any kind, read by window at the resolution that is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.schema import Dataset, Item
from geoseg.errors import InputError
from geoseg.io.arrays import map_array
from geoseg.io.atomic import read_state

if TYPE_CHECKING:
    from geoseg.raster.grid import Grid, Window
    from geoseg.raster.scene import Scene, SceneReader


ARRAY_SUFFIX = ".npy"
LOOK = 1024
"""Pixels along the longer side of a look at a whole image."""
OPEN_FILES = 32

Stamp = tuple[int, ...]


class ImageReader(Protocol):
    """An image on a grid of the resolution to train at."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> str: ...

    @property
    def grid(self) -> Grid | None:
        """Where its pixels lie, unless nobody knows."""

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (band, row, col) of a window inside the image, and which pixels (row, col) are known."""

    def look(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Enough of the image to know the range of its values."""


def open_item_image(dataset: Dataset, item: Item, gsd_m: float) -> ImageReader:
    """The image of an item, with the data set's bands, at a resolution."""
    path = dataset.image_path(item)
    if not path.exists():
        raise InputError(f"{path}: no such image; the data set {dataset.name} names it")
    if path.suffix == ARRAY_SUFFIX:
        return ArrayImage(path, require_gsd(item, path) / gsd_m, len(dataset.bands))
    return open_raster_image(path, item, dataset.bands, gsd_m)


def require_gsd(item: Item, path: Path) -> float:
    if item.gsd_m is None:
        raise InputError(
            f"{path}: nothing tells the size of its pixels; give the item a gsd_m in dataset.toml"
        )
    return item.gsd_m


def open_raster_image(path: Path, item: Item, bands: tuple[str, ...], gsd_m: float) -> RasterImage:
    from geoseg.raster.bands import match_bands
    from geoseg.raster.scene import open_scene
    from geoseg.raster.source import has_georeference, open_raster

    with open_raster(str(path), str(path)) as dataset:
        placed = has_georeference(dataset)
        scene = None if placed else make_unplaced_scene(dataset, path, require_gsd(item, path))
    scene = scene or open_scene([str(path)])
    scene = scene.with_bands(match_bands(scene.all_bands, bands, str(path)))
    return RasterImage(scene.resample(gsd_m), placed)


def make_unplaced_scene(dataset: Any, path: Path, gsd_m: float) -> Scene:
    """A raster that does not say where it lies, as a scene at the equator, where metres are metres."""
    from geoseg.raster.bands import list_bands
    from geoseg.raster.grid import make_placeholder_grid
    from geoseg.raster.scene import Scene, refuse_unusable_colors

    name = str(path)
    refuse_unusable_colors(dataset, name)
    bands = list_bands(dataset)
    numbers = tuple(band.number for band in bands if not band.is_alpha)
    grid = make_placeholder_grid((dataset.height, dataset.width), gsd_m)
    return Scene(name, name, (name,), bands, numbers, grid, grid, dataset.block_shapes[0][0])


@dataclass(frozen=True)
class RasterImage:
    """An image that GDAL reads."""

    scene: Scene
    placed: bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.scene.grid.shape

    @property
    def dtype(self) -> str:
        return self.scene.dtype

    @property
    def grid(self) -> Grid | None:
        return self.scene.grid if self.placed else None

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        pixels = self.open().read(window)
        return pixels.values, pixels.valid

    def look(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        pixels = self.open().sample()
        return pixels.values, pixels.valid

    def open(self) -> SceneReader:
        return get_scene_reader(os.getpid(), stamp_file(Path(self.scene.source)), self.scene)


def stamp_file(path: Path) -> Stamp:
    """What changes when a file is written anew."""
    try:
        return tuple(read_state(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=OPEN_FILES)
def get_scene_reader(process: int, stamp: Stamp, scene: Scene) -> SceneReader:
    """A reader that stays open, since opening anew for each patch would take longer than reading it.

    One for each process: a file that was opened before a fork must not be read after it. And one for each stamp of the
    file: what was written anew is read anew.
    """
    from geoseg.raster.scene import SceneReader
    from geoseg.raster.source import open_or_refuse

    return SceneReader(scene, open_or_refuse(scene.source, scene.name))


@dataclass(frozen=True)
class ArrayImage:
    """An image kept as a NumPy array (band, row, col), read without rasterio."""

    path: Path
    refinement: float
    bands: int

    def __post_init__(self) -> None:
        shape = open_array(self.path).shape
        if len(shape) != 3 or shape[0] != self.bands:
            raise InputError(f"{self.path}: holds {shape}, not (band, row, col) with {self.bands} bands")

    @property
    def shape(self) -> tuple[int, int]:
        return self.resize(open_array(self.path))

    def resize(self, whole: NDArray[Any]) -> tuple[int, int]:
        """How many rows and columns the array on disk has at the resolution to train at."""
        return compute_resized_shape(whole.shape[1:], self.refinement)

    @property
    def dtype(self) -> str:
        return open_array(self.path).dtype.name

    @property
    def grid(self) -> Grid | None:
        return None

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        whole = open_array(self.path)
        shape = self.resize(whole)
        as_is = shape == whole.shape[1:]
        values = whole[(slice(None), *window.slices)] if as_is else resample_window(whole, window, shape)
        known = np.isfinite(values).all(axis=0)
        return np.where(known, values, 0).astype(values.dtype), known

    def look(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        values = open_array(self.path)
        step = max(1, max(values.shape[1:]) // LOOK)
        seen = np.array(values[:, ::step, ::step])
        known = np.isfinite(seen).all(axis=0)
        return np.where(known, seen, 0).astype(seen.dtype), known


def open_array(path: Path) -> NDArray[Any]:
    """An array on disk that stays open between patches."""
    return keep_array(path, stamp_file(path))


@lru_cache(maxsize=OPEN_FILES)
def keep_array(path: Path, stamp: Stamp) -> NDArray[Any]:
    array = map_array(path)
    if array.dtype.kind not in "uif":
        raise InputError(f"{path}: holds {array.dtype}, not numbers")
    return array


def compute_resized_shape(shape: tuple[int, ...], refinement: float) -> tuple[int, int]:
    height, width = (max(1, round(size * refinement)) for size in shape)
    return height, width


def resample_window(values: NDArray[Any], window: Window, shape: tuple[int, int]) -> NDArray[Any]:
    """A window of an array as it would be with another number of pixels."""
    import torch
    from torch.nn.functional import interpolate

    rows, cols = find_source_window(window, values.shape[1:], shape)
    piece = torch.from_numpy(np.array(values[:, rows, cols], dtype=np.float32))[None]
    mode = "area" if shape[0] < values.shape[1] else "bilinear"
    resized = interpolate(piece, size=(window.height, window.width), mode=mode)[0].numpy()
    return (resized.round() if values.dtype.kind in "ui" else resized).astype(values.dtype)


def find_source_window(
    window: Window, native: tuple[int, ...], shape: tuple[int, int]
) -> tuple[slice, slice]:
    """The pixels on disk below a window of a grid of another number of pixels."""
    down, across = native[0] / shape[0], native[1] / shape[1]
    top, left = int(window.row * down), int(window.col * across)
    bottom = min(native[0], max(top + 1, round(window.stop_row * down)))
    right = min(native[1], max(left + 1, round(window.stop_col * across)))
    return slice(top, bottom), slice(left, right)
