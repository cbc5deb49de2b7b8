"""Everything the audit wants to know about one image and its label, gathered window by window."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from scipy import ndimage

from geoseg.errors import GeosegError, InputError
from geoseg.prepare.audit.landmarks import Landmarks, joined, landmarks
from geoseg.prepare.audit.shift import Agreement, Shift, agreements, shift_of
from geoseg.prepare.classes import ClassTable
from geoseg.prepare.dataset import Dataset, Item
from geoseg.prepare.making import Origin
from geoseg.prepare.picture import SUFFIXES, Picture, known_pixels, opened, picture, read_window
from geoseg.prepare.vectors import VectorSet, class_values, read_area, read_polygons
from geoseg.raster.grid import WGS84, Grid, Window, made_up_grid

SIZES_M2 = tuple(2.0**power for power in range(21))
THUMB = 32


@dataclass(frozen=True)
class Look:
    """What one item holds. `trouble` says why it cannot be used; the rest is empty then."""

    item: Item
    trouble: str | None = None
    shape: tuple[int, int] = (0, 0)
    gsd_m: float = 1.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SIZES_M2), np.int64))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, 0)))
    digest: str = ""
    thumb: NDArray[np.float32] | None = None
    landmarks: Landmarks | None = None
    shift: Shift | None = None
    outline: tuple[tuple[float, float], ...] = ()

    @property
    def is_flat(self) -> bool:
        """Whether the image shows one and the same value everywhere."""
        pixels, total, squares = self.sums
        return bool(((squares / np.maximum(pixels, 1) - (total / np.maximum(pixels, 1)) ** 2) < 1e-6).all())


@dataclass
class Gathering:
    """What windows add up to."""

    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sums: NDArray[np.float64]
    digest: Any
    marks: list[Landmarks] = field(default_factory=list)
    surfaces: list[Agreement] = field(default_factory=list)

    @classmethod
    def empty(cls, bands: int) -> Gathering:
        return cls(
            np.zeros(256, np.int64), np.zeros(len(SIZES_M2), np.int64), np.zeros((3, bands)), hashlib.sha256()
        )


def look_at(dataset: Dataset, item: Item) -> Look:
    """Look through one item; what is wrong with it becomes its trouble."""
    try:
        return looked(dataset, item)
    except GeosegError as error:
        return Look(item, str(error))


def looked(dataset: Dataset, item: Item) -> Look:
    image = picture(dataset.image_path(item))
    gsd_m = item.gsd_m or image.gsd_m or dataset.gsd_m
    bands = min(len(dataset.bands), image.bands)
    found = Gathering.empty(bands)
    for window, classes in label_windows(dataset, item, image):
        values = read_window(image.path, window)[:bands]
        known = known_in(image, window, bands)
        gather(found, window, values, np.where(known, classes, dataset.ignore), gsd_m, dataset.ignore)
    return Look(
        item,
        shape=image.shape,
        gsd_m=gsd_m,
        counts=found.counts,
        sizes=found.sizes,
        sums=found.sums,
        digest=found.digest.hexdigest(),
        thumb=thumbnail(image, bands),
        landmarks=joined(found.marks),
        shift=shift_of(found.surfaces, gsd_m),
        outline=lonlat_outline(image.grid) if image.grid else (),
    )


def label_windows(dataset: Dataset, item: Item, image: Picture) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """A label's class values window by window, drawn first where it is made of polygons."""
    path = dataset.label_path(item)
    if is_vector(item):
        yield from drawn_windows(dataset, item, image)
        return
    label = picture(path)
    if image.shape != label.shape:
        raise InputError(
            f"{item.label}: is {label.width} x {label.height} pixels, its image {image.width} x {image.height}"
        )
    for window in image.windows():
        yield window, read_window(path, window)[0]


def is_vector(item: Item) -> bool:
    return not item.label.lower().endswith(SUFFIXES)


def drawn_windows(dataset: Dataset, item: Item, image: Picture) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    grid = image.grid or made_up_grid(image.shape, item.gsd_m or dataset.gsd_m)
    meanings = {each.name: value for value, each in enumerate(dataset.classes)}
    table = ClassTable(dataset.classes, meanings)
    wanted = VectorSet(Origin(dataset.name), table, dataset.bands, class_field=item.class_field)
    polygons = read_polygons(dataset.label_path(item), grid.crs, wanted)
    area = read_area(dataset.folder / item.labelled, grid.crs) if item.labelled else None
    yield from class_values(image, grid, polygons, area, len(dataset.bands))


def known_in(image: Picture, window: Window, bands: int) -> NDArray[np.bool_]:
    if image.path.suffix == ".npy":
        return np.ones((window.height, window.width), dtype=bool)
    with opened(image.path) as dataset:
        return known_pixels(dataset, window, bands)


def gather(
    found: Gathering, window: Window, values: NDArray[Any], classes: NDArray[np.uint8], gsd_m: float, ignore: int
) -> None:  # fmt: skip
    gray = gray_of(values)
    pixels = values.reshape(len(values), -1).astype(np.float64)
    found.counts += np.bincount(classes.ravel(), minlength=256)
    found.sizes += object_sizes(classes, ignore, gsd_m)
    found.sums += [np.full(len(pixels), pixels.shape[1]), pixels.sum(axis=1), (pixels**2).sum(axis=1)]
    found.digest.update(np.ascontiguousarray(values))
    found.marks.append(landmarks(gray).moved(window.row, window.col))
    found.surfaces += agreements(gray, classes, ignore, gsd_m)


def gray_of(values: NDArray[Any]) -> NDArray[np.float32]:
    """The one band that the eye trusts most: green where there are several."""
    gray: NDArray[np.float32] = np.nan_to_num(values[min(1, len(values) - 1)].astype(np.float32))
    return gray


def object_sizes(classes: NDArray[np.uint8], ignore: int, gsd_m: float) -> NDArray[np.int64]:
    """How many connected pieces of one class, the first one left out, there are of each size."""
    sizes = np.zeros(len(SIZES_M2), np.int64)
    for value in np.unique(classes[(classes > 0) & (classes != ignore)]).tolist():
        pieces, count = ndimage.label(classes == value)
        areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * gsd_m**2
        bins = np.searchsorted(SIZES_M2, areas, side="right") - 1
        sizes += np.bincount(np.maximum(bins, 0), minlength=len(SIZES_M2))
    return sizes


def thumbnail(image: Picture, bands: int) -> NDArray[np.float32]:
    """The image in 32 x 32 pixels, its brightness evened out."""
    if image.path.suffix == ".npy":
        values = read_window(image.path)[:bands]
        rows = np.linspace(0, image.height - 1, THUMB).astype(int)
        cols = np.linspace(0, image.width - 1, THUMB).astype(int)
        small = gray_of(values)[np.ix_(rows, cols)]
    else:
        with opened(image.path) as dataset:
            band = min(2, bands)
            small = dataset.read(band, out_shape=(THUMB, THUMB), resampling=Resampling.average).astype(
                np.float32
            )
    even: NDArray[np.float32] = ((small - small.mean()) / (small.std() + 1e-6)).astype(np.float32)
    return even


def lonlat_outline(grid: Grid) -> tuple[tuple[float, float], ...]:
    """The image's corners as longitude and latitude."""
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    xs, ys = zip(*(grid.transform @ corner for corner in corners), strict=True)
    lons, lats = Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(xs, ys)
    return tuple(zip(lons, lats, strict=True))
