"""Labels of a training set: classes per pixel, read by window on the grid of their image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.learn.patches.images import (
    ARRAY,
    Image,
    RasterImage,
    array_of,
    is_placed,
    left_open,
    opened_quietly,
)
from geoseg.learn.patches.outlines import burnt, class_numbers
from geoseg.prepare.dataset import Dataset, Item
from geoseg.raster.grid import Window

if TYPE_CHECKING:
    from pyproj import CRS

    from geoseg.raster.grid import Grid

VECTORS = {".geojson", ".json", ".gpkg", ".fgb", ".shp", ".parquet", ".kml", ".gml"}
# Rounding to whole pixels of another size moves the sides of a grid by one of them at most.
ASTRAY = 1.5
ALL, NEXT, LAST = slice(None), slice(1, None), slice(-1)
BESIDE = (((NEXT, ALL), (LAST, ALL)), ((ALL, NEXT), (ALL, LAST)))

Classes = NDArray[np.uint8]
Numbers = NDArray[np.int32]


class Labels(Protocol):
    """Which class each pixel of an image is of, and which building it lies in where that is known."""

    @property
    def tells_buildings_apart(self) -> bool: ...

    def read(self, window: Window) -> Classes:
        """Classes (row, col) of a window inside the image."""

    def buildings(self, window: Window) -> Numbers | None:
        """The number of the building each pixel lies in, 0 where there is none; None where nobody knows."""


def open_labels(dataset: Dataset, item: Item, image: Image, apart: bool = False) -> Labels:
    """The labels of an item, on the grid of its image; outlines that touch merge unless they are to be kept apart."""
    path = dataset.label_path(item)
    if path.suffix.lower() in VECTORS and path.exists():
        return vector_labels(dataset, item, image, apart)
    classes = open_pixels(path, item, image)
    if item.buildings is None:
        return classes
    return NumberedLabels(classes, open_pixels(dataset.folder / item.buildings, item, image))


def open_pixels(path: Path, item: Item, image: Image) -> ArrayLabels | RasterLabels:
    """A file of labels that are pixels."""
    if not path.exists():
        raise InputError(f"{path}: no such label; the image {item.image} needs one")
    return ArrayLabels(path, image.shape) if path.suffix == ARRAY else raster_labels(path, image)


@dataclass(frozen=True)
class NumberedLabels:
    """Classes, and in a file of its own the number of the building each pixel lies in."""

    classes: ArrayLabels | RasterLabels
    numbers: ArrayLabels | RasterLabels

    @property
    def tells_buildings_apart(self) -> bool:
        return True

    def read(self, window: Window) -> Classes:
        return self.classes.read(window)

    def buildings(self, window: Window) -> Numbers:
        return self.numbers.values(window).astype(np.int32)


@dataclass(frozen=True)
class ArrayLabels:
    """Classes kept as a NumPy array (row, col)."""

    path: Path
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        native = array_of(self.path).shape
        if len(native) != 2:
            raise InputError(f"{self.path}: holds {native}, not (row, col)")
        refuse_other_proportions(self.path, native, self.shape)

    @property
    def tells_buildings_apart(self) -> bool:
        return False

    def read(self, window: Window) -> Classes:
        return as_classes(self.values(window), self.path)

    def buildings(self, _: Window) -> None:
        """A mask does not tell buildings apart that touch."""

    def values(self, window: Window) -> NDArray[Any]:
        array = array_of(self.path)
        if array.shape == self.shape:
            return np.array(array[window.slices])
        rows, cols = (nearest(*along) for along in axes(window, array.shape, self.shape))
        return np.asarray(array[np.ix_(rows, cols)])


def axes(window: Window, native: tuple[int, ...], shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    return [
        (window.row, window.height, native[0], shape[0]),
        (window.col, window.width, native[1], shape[1]),
    ]


def nearest(start: int, count: int, native: int, size: int) -> NDArray[np.int64]:
    """Which pixels on disk the middles of some pixels of another grid fall on."""
    middles = (np.arange(start, start + count) + 0.5) * native / size
    return np.minimum(middles.astype(np.int64), native - 1)


@dataclass(frozen=True)
class RasterLabels:
    """Classes that GDAL reads: a mask, a palette image."""

    path: Path
    native: tuple[int, int]
    shape: tuple[int, int]

    @property
    def tells_buildings_apart(self) -> bool:
        return False

    def read(self, window: Window) -> Classes:
        return as_classes(self.values(window), self.path)

    def buildings(self, _: Window) -> None:
        """A mask does not tell buildings apart that touch."""

    def values(self, window: Window) -> NDArray[Any]:
        from rasterio.enums import Resampling
        from rasterio.windows import Window as Place

        down, across = self.native[0] / self.shape[0], self.native[1] / self.shape[1]
        top, left = window.row * down, window.col * across
        height = min(window.height * down, self.native[0] - top)
        width = min(window.width * across, self.native[1] - left)
        kernel = Resampling.mode if down > 1 else Resampling.nearest
        shape = (window.height, window.width)
        return np.asarray(
            opened_label(os.getpid(), self.path).read(
                1, window=Place(left, top, width, height), out_shape=shape, resampling=kernel
            )
        )


@lru_cache(maxsize=32)
def opened_label(process: int, path: Path) -> Any:
    """A label file that stays open, one for each process."""
    return left_open(str(path))


def raster_labels(path: Path, image: Image) -> RasterLabels:
    """A label raster, refused unless it covers the very ground of its image."""
    from pyproj import CRS

    from geoseg.raster.grid import Grid, crs_name

    with opened_quietly(path) as dataset:
        native = (dataset.height, dataset.width)
        crs = CRS.from_wkt(dataset.crs.to_wkt()) if is_placed(dataset) else None
        own = Grid(crs, dataset.transform, *native) if crs else None
    if own is None or image.grid is None:
        refuse_other_proportions(path, native, image.shape)
    else:
        if own.crs != image.grid.crs:
            raise InputError(
                f"{path}: is in {crs_name(own.crs)}, its image in {crs_name(image.grid.crs)}; warp one onto the other"
            )
        refuse_other_ground(path, own, image.grid)
    return RasterLabels(path, native, image.shape)


def refuse_other_proportions(path: Path, native: tuple[int, ...], shape: tuple[int, int]) -> None:
    """A label may be finer or coarser than its image, but must have its proportions."""
    down, across = native[0] / shape[0], native[1] / shape[1]
    # Rounding to whole pixels moves each side by one at most.
    if abs(down / across - 1) > 1.5 / min(*native, *shape):
        raise InputError(
            f"{path}: {native[1]} x {native[0]} pixels do not fit its image, which is {shape[1]} x {shape[0]} "
            "at the resolution to train at"
        )


def refuse_other_ground(path: Path, own: Grid, other: Grid) -> None:
    pixel = max(abs(step) for grid in (own, other) for step in (grid.transform.a, grid.transform.e))
    off = max(abs(a - b) for a, b in zip(own.bounds, other.bounds, strict=True))
    if off > ASTRAY * pixel:
        raise InputError(
            f"{path}: covers {own.bounds}, its image {other.bounds}; they are not of the same ground"
        )


def as_classes(values: NDArray[Any], path: Path) -> Classes:
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise InputError(f"{path}: holds values from {values.min():g} to {values.max():g}; classes are bytes")
    return values.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class VectorLabels:
    """Outlines with their classes, burnt into each window as it is read. Outside the labelled ground is unknown."""

    grid: Grid
    outlines: NDArray[Any]
    values: NDArray[np.uint8]
    labelled: NDArray[Any] | None
    ignore: int
    apart: bool

    @property
    def tells_buildings_apart(self) -> bool:
        return True

    def buildings(self, window: Window) -> Numbers:
        numbers = self.numbers(self.grid.window(window))
        return np.where(np.concatenate([np.zeros(1, np.uint8), self.values])[numbers] > 0, numbers, 0)

    def read(self, window: Window) -> Classes:
        # One more row and column, so that seams do not depend on where windows begin.
        place = self.grid.window(Window(window.row - 1, window.col - 1, window.height + 1, window.width + 1))
        numbers = self.numbers(place)
        classes = np.concatenate([np.zeros(1, np.uint8), self.values])[numbers]
        if self.apart:
            classes[seams(numbers, classes)] = 0
        if self.labelled is not None:
            classes[~covered(self.labelled, place)] = self.ignore
        return classes[1:, 1:]

    def numbers(self, place: Grid) -> NDArray[np.int32]:
        """Which outline each pixel of a grid lies in, counted from 1; later ones lie above earlier ones."""
        near = within(self.outlines, place)
        return burnt(self.outlines[near], (near + 1).astype(np.int32), place.shape, place.transform)


def seams(numbers: NDArray[np.int32], classes: Classes) -> NDArray[np.bool_]:
    """A line one pixel wide wherever two things of one class touch: without it, no two pixels of both are neighbours."""
    line = np.zeros(numbers.shape, bool)
    for here, before in BESIDE:
        touching = (numbers[here] != numbers[before]) & (numbers[here] > 0) & (numbers[before] > 0)
        line[here] |= touching & (classes[here] == classes[before])
    return line


def within(outlines: NDArray[Any], place: Grid) -> NDArray[np.int64]:
    """Which outlines may touch a window, in their order."""
    import shapely

    found: NDArray[np.int64] = np.sort(tree_of(Held(outlines)).query(shapely.box(*place.bounds)))
    return found


def covered(areas: NDArray[Any], place: Grid) -> NDArray[np.bool_]:
    """Which pixels of a grid lie in some areas."""
    near = within(areas, place)
    return burnt(areas[near], np.ones(len(near), np.uint8), place.shape, place.transform) > 0


class Held:
    """An array that is told from others by its identity."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.array is self.array


@lru_cache(maxsize=1024)
def tree_of(held: Held) -> Any:
    import shapely

    return shapely.STRtree(held.array)


def vector_labels(dataset: Dataset, item: Item, image: Image, apart: bool) -> VectorLabels:
    path = dataset.label_path(item)
    if not isinstance(image, RasterImage):
        raise InputError(f"{path}: outlines need an image with a place on Earth, and {item.image} has none")
    grid = image.scene.grid
    outlines = outlines_on(path, grid)
    labelled = outlines_on(dataset.folder / item.labelled, grid) if item.labelled else None
    return VectorLabels(
        grid,
        outlines.geometry.to_numpy(),
        class_numbers(outlines, item.class_field, [each.name for each in dataset.classes], path),
        labelled.geometry.to_numpy() if labelled is not None else None,
        dataset.ignore,
        apart,
    )


def outlines_on(path: Path, grid: Grid) -> Any:
    """The polygons of a file in the CRS of a grid."""
    import geopandas

    try:
        table = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    except Exception as error:  # drivers raise errors of many libraries
        raise InputError(f"{path}: cannot be read as outlines ({str(error)[:100]})") from error
    if table.crs is None:
        raise InputError(f"{path}: has no coordinate reference system; give it one, e.g. with ogr2ogr -a_srs")
    refuse_other_world(path, table.crs, grid)
    kept = table[table.geometry.notna() & ~table.geometry.is_empty]
    return kept.to_crs(grid.crs)


def refuse_other_world(path: Path, crs: CRS, grid: Grid) -> None:
    """Outlines on Earth cannot lie on a picture that lies nowhere, whose own outlines say so by their CRS."""
    from geoseg.raster.grid import NOWHERE, crs_name

    if grid.crs == NOWHERE and crs != NOWHERE:
        raise InputError(
            f"{path}: outlines in {crs_name(crs)} need an image with a place on Earth, and theirs has none"
        )
