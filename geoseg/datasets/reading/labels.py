"""Labels of a training set: classes per pixel, from masks or from polygons, read by window on the grid of their image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.reading.images import (
    ARRAY_SUFFIX,
    OPEN_FILES,
    ImageReader,
    RasterImage,
    Stamp,
    open_array,
    stamp_file,
)
from geoseg.datasets.schema import Dataset, Item, choose_unnamed_class
from geoseg.errors import InputError
from geoseg.raster.grid import Window

if TYPE_CHECKING:
    from affine import Affine
    from pyproj import CRS

    from geoseg.raster.grid import Grid


ALL, NEXT, LAST = slice(None), slice(1, None), slice(-1)
BESIDE = (((NEXT, ALL), (LAST, ALL)), ((ALL, NEXT), (ALL, LAST)))


Number = TypeVar("Number", np.uint8, np.int32)
Classes = NDArray[np.uint8]
Numbers = NDArray[np.int32]

ASTRAY_PIXELS = 1.5
"""How far the sides of a label may lie off its image: rounding to whole pixels of another size moves them by one at most."""


def find_outline_classes(
    outlines: Any, field: str | None, names: Sequence[str], path: Path | str
) -> NDArray[np.uint8]:
    """The class of each outline: what its field says by name or by number, or that of all where no field is named."""
    if field is None:
        return np.full(len(outlines), choose_unnamed_class(names), np.uint8)
    if field not in outlines:
        fields = ", ".join(map(str, outlines.columns.drop("geometry")))
        raise InputError(f"{path}: has no field {field}; it has {fields}")
    numbers: dict[object, int] = {number: number for number in range(len(names))}
    numbers.update({str(number): number for number in range(len(names))})
    numbers.update({name: number for number, name in enumerate(names)})
    written = outlines[field]
    if written.isna().any():
        raise InputError(f"{path}: {field} is empty in {written.isna().sum():,} of {len(written):,} polygons")
    unknown = sorted({str(value) for value in written if value not in numbers})
    if unknown:
        raise InputError(f"{path}: {field} is {unknown[0]!r}, which is none of {', '.join(names)}")
    return np.array([numbers[value] for value in written], np.uint8)


def rasterize_outlines(
    outlines: NDArray[np.object_], values: NDArray[Number], shape: tuple[int, int], transform: Affine
) -> NDArray[Number]:
    """The value of the outline that each pixel's middle lies in; 0 in none, the last one's where they overlap."""
    from rasterio.features import rasterize

    pixels = np.zeros(shape, values.dtype)
    if len(outlines):
        rasterize(zip(outlines, values.tolist(), strict=True), out=pixels, transform=transform)
    return pixels


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
            classes[find_seams(numbers, classes)] = 0
        if self.labelled is not None:
            classes[~find_covered_pixels(self.labelled, place)] = self.ignore
        return classes[1:, 1:]

    def numbers(self, place: Grid) -> NDArray[np.int32]:
        """Which outline each pixel of a grid lies in, counted from 1; later ones lie above earlier ones."""
        near = find_near_outlines(self.outlines, place)
        return rasterize_outlines(
            self.outlines[near], (near + 1).astype(np.int32), place.shape, place.transform
        )


def find_seams(numbers: NDArray[np.int32], classes: Classes) -> NDArray[np.bool_]:
    """A line one pixel wide wherever two things of one class touch: without it, no two pixels of both are neighbours."""
    line = np.zeros(numbers.shape, bool)
    for here, before in BESIDE:
        touching = (numbers[here] != numbers[before]) & (numbers[here] > 0) & (numbers[before] > 0)
        line[here] |= touching & (classes[here] == classes[before])
    return line


def find_near_outlines(outlines: NDArray[Any], place: Grid) -> NDArray[np.int64]:
    """Which outlines may touch a window, in their order."""
    import shapely

    found: NDArray[np.int64] = np.sort(get_tree(ArrayKey(outlines)).query(shapely.box(*place.bounds)))
    return found


def find_covered_pixels(areas: NDArray[Any], place: Grid) -> NDArray[np.bool_]:
    """Which pixels of a grid lie in some areas."""
    near = find_near_outlines(areas, place)
    return rasterize_outlines(areas[near], np.ones(len(near), np.uint8), place.shape, place.transform) > 0


class ArrayKey:
    """An array as a key of a cache: two keys are equal if they hold the very same array."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayKey) and other.array is self.array


@lru_cache(maxsize=1024)
def get_tree(held: ArrayKey) -> Any:
    import shapely

    return shapely.STRtree(held.array)


def open_vector_labels(dataset: Dataset, item: Item, image: ImageReader, apart: bool) -> VectorLabels:
    path = dataset.label_path(item)
    if not isinstance(image, RasterImage):
        raise InputError(f"{path}: outlines need an image with a place on Earth, and {item.image} has none")
    grid = image.scene.grid
    outlines = read_outlines(path, grid)
    labelled = read_outlines(dataset.folder / item.labelled, grid) if item.labelled else None
    return VectorLabels(
        grid,
        outlines.geometry.to_numpy(),
        find_outline_classes(outlines, item.class_field, [each.name for each in dataset.classes], path),
        labelled.geometry.to_numpy() if labelled is not None else None,
        dataset.ignore,
        apart,
    )


def read_outlines(path: Path, grid: Grid) -> Any:
    """The polygons of a file in the CRS of a grid."""
    import geopandas

    from geoseg.io.layers import read_every_row
    from geoseg.io.trust import check_vector_source

    check_vector_source(path)
    try:
        table = geopandas.read_parquet(path) if path.suffix == ".parquet" else read_every_row(path)
    except Exception as error:  # drivers raise errors of many libraries
        raise InputError(f"{path}: cannot be read as outlines ({str(error)[:100]})") from error
    if table.crs is None:
        raise InputError(f"{path}: has no coordinate reference system; give it one, e.g. with ogr2ogr -a_srs")
    refuse_unplaced_image(path, table.crs, grid)
    kept = table[table.geometry.notna() & ~table.geometry.is_empty]
    return kept.to_crs(grid.crs)


def refuse_unplaced_image(path: Path, crs: CRS, grid: Grid) -> None:
    """Outlines on Earth cannot lie on a picture that lies nowhere, whose own outlines say so by their CRS."""
    from geoseg.raster.grid import PLACEHOLDER_CRS, format_crs

    if grid.crs == PLACEHOLDER_CRS and crs != PLACEHOLDER_CRS:
        raise InputError(
            f"{path}: outlines in {format_crs(crs)} need an image with a place on Earth, and theirs has none"
        )


def open_pixel_labels(path: Path, item: Item, image: ImageReader) -> ArrayLabels | RasterLabels:
    """A file of labels that are pixels."""
    if not path.exists():
        raise InputError(f"{path}: no such label; the image {item.image} needs one")
    return ArrayLabels(path, image.shape) if path.suffix == ARRAY_SUFFIX else open_raster_labels(path, image)


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
class MaskLabels:
    """Classes as pixels; how they are read, each kind of file says."""

    path: Path
    shape: tuple[int, int]

    @property
    def tells_buildings_apart(self) -> bool:
        return False

    def read(self, window: Window) -> Classes:
        return convert_classes(self.values(window), self.path)

    def buildings(self, _: Window) -> None:
        """A mask does not tell buildings apart that touch."""

    def values(self, window: Window) -> NDArray[Any]:
        """The values of a window, from the nearest pixels on disk."""
        raise NotImplementedError


@dataclass(frozen=True)
class ArrayLabels(MaskLabels):
    """Classes kept as a NumPy array (row, col)."""

    def __post_init__(self) -> None:
        native = open_array(self.path).shape
        if len(native) != 2:
            raise InputError(f"{self.path}: holds {native}, not (row, col)")
        refuse_other_proportions(self.path, native, self.shape)

    def values(self, window: Window) -> NDArray[Any]:
        array = open_array(self.path)
        if array.shape == self.shape:
            return np.array(array[window.slices])
        rows, cols = (find_nearest_pixels(*along) for along in list_axes(window, array.shape, self.shape))
        return np.asarray(array[np.ix_(rows, cols)])


def list_axes(
    window: Window, native: tuple[int, ...], shape: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    return [
        (window.row, window.height, native[0], shape[0]),
        (window.col, window.width, native[1], shape[1]),
    ]


def find_nearest_pixels(start: int, count: int, native: int, size: int) -> NDArray[np.int64]:
    """Which pixels on disk the middles of some pixels of another grid fall on."""
    middles = (np.arange(start, start + count) + 0.5) * native / size
    return np.minimum(middles.astype(np.int64), native - 1)


@dataclass(frozen=True)
class RasterLabels(MaskLabels):
    """Classes that GDAL reads: a mask, a palette image."""

    native: tuple[int, int]

    def values(self, window: Window) -> NDArray[Any]:
        from rasterio.enums import Resampling
        from rasterio.windows import Window as Place

        from geoseg.raster.source import explain_read_errors

        down, across = self.native[0] / self.shape[0], self.native[1] / self.shape[1]
        top, left = window.row * down, window.col * across
        height = min(window.height * down, self.native[0] - top)
        width = min(window.width * across, self.native[1] - left)
        kernel = Resampling.mode if down > 1 else Resampling.nearest
        place, shape = Place(left, top, width, height), (window.height, window.width)
        file = get_label_file(os.getpid(), stamp_file(self.path), self.path)
        with explain_read_errors(str(self.path)):
            return np.asarray(file.read(1, window=place, out_shape=shape, resampling=kernel))


@lru_cache(maxsize=OPEN_FILES)
def get_label_file(process: int, stamp: Stamp, path: Path) -> Any:
    """A label file that stays open, one for each process and each stamp of the file."""
    from geoseg.raster.source import open_or_refuse

    return open_or_refuse(str(path), str(path))


def open_raster_labels(path: Path, image: ImageReader) -> RasterLabels:
    """A label raster, refused unless it covers the very ground of its image."""
    from pyproj import CRS

    from geoseg.raster.grid import Grid
    from geoseg.raster.source import has_georeference, open_raster

    with open_raster(str(path), str(path)) as dataset:
        native = (dataset.height, dataset.width)
        crs = CRS.from_wkt(dataset.crs.to_wkt()) if has_georeference(dataset) else None
        own = Grid(crs, dataset.transform, *native) if crs else None
    if own is None or image.grid is None:
        refuse_other_proportions(path, native, image.shape)
    else:
        refuse_other_ground(path, own, image.grid)
    return RasterLabels(path, image.shape, native)


def refuse_other_proportions(path: Path, native: tuple[int, ...], shape: tuple[int, int]) -> None:
    """A label may be finer or coarser than its image, but must have its proportions."""
    down, across = native[0] / shape[0], native[1] / shape[1]
    if abs(down / across - 1) > ASTRAY_PIXELS / min(*native, *shape):
        raise InputError(
            f"{path}: {native[1]} x {native[0]} pixels do not fit its image, which is {shape[1]} x {shape[0]} "
            "at the resolution to train at"
        )


def refuse_other_ground(path: Path, own: Grid, other: Grid) -> None:
    """A raster may be finer or coarser than its image, but must cover the same ground in the same CRS."""
    from geoseg.raster.grid import format_crs

    if own.crs != other.crs:
        raise InputError(
            f"{path}: is in {format_crs(own.crs)}, its image in {format_crs(other.crs)}; warp one onto the other"
        )
    pixel = max(abs(step) for grid in (own, other) for step in (grid.transform.a, grid.transform.e))
    off = max(abs(a - b) for a, b in zip(own.bounds, other.bounds, strict=True))
    if off > ASTRAY_PIXELS * pixel:
        raise InputError(
            f"{path}: covers {own.bounds}, its image {other.bounds}; they are not of the same ground"
        )


def convert_classes(values: NDArray[Any], path: Path) -> Classes:
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise InputError(f"{path}: holds values from {values.min():g} to {values.max():g}; classes are bytes")
    return values.astype(np.uint8)
