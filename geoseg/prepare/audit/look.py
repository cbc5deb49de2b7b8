"""Everything the audit wants to know about one image and its label, gathered window by window."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from scipy import ndimage

from geoseg.errors import GeosegError
from geoseg.prepare.audit.labels import check_label, label_reader, palette_of
from geoseg.prepare.audit.landmarks import Landmarks, joined, landmarks
from geoseg.prepare.audit.likeness import THUMB, Thumbs, small_steps
from geoseg.prepare.audit.shift import Agreement, Shift, agreements, shift_of, total
from geoseg.prepare.dataset import Dataset, Item
from geoseg.prepare.picture import Picture, band_numbers, known_pixels, opened, picture, read_window
from geoseg.raster.grid import WGS84, Grid, Window

SIZES_M2 = tuple(2.0**power for power in range(21))
COUNT, TOTAL, SQUARES, LOWEST, HIGHEST = range(5)


@dataclass(frozen=True, slots=True)
class Look:
    """What one item holds, in a kilobyte or so. `trouble` says why it cannot be used; the rest is empty then.

    `values` are the label's values and `pixels` how many it has of each. `bands` has five rows for every band: count,
    sum, sum of squares, lowest and highest of the pixels whose label is known.
    """

    trouble: str | None = None
    shape: tuple[int, int] = (0, 0)
    gsd_m: float = 1.0
    values: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SIZES_M2), np.int64))
    bands: NDArray[np.float64] = field(default_factory=lambda: np.zeros((5, 0)))
    is_flat: bool = False
    digest: bytes = b""
    shift: Shift | None = None
    outline: tuple[tuple[float, float], ...] = ()
    palette: Mapping[int, str] = field(default_factory=dict)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many pixels of the label have each value a byte can have."""
        counts = np.zeros(256, np.int64)
        counts[self.values] = self.pixels
        return counts

    @property
    def area_km2(self) -> float:
        return self.shape[0] * self.shape[1] * self.gsd_m**2 / 1e6


@dataclass(frozen=True)
class Traces:
    """By what other images of the same ground are found, and how label and edges agree: too much to be kept."""

    thumb: Thumbs
    landmarks: Landmarks
    agreement: Agreement | None


@dataclass
class Gathering:
    """What windows add up to."""

    gsd_m: float
    ignore: int
    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    bands: NDArray[np.float64]
    span: NDArray[np.float64]
    digest: Any
    marks: list[Landmarks] = field(default_factory=list)
    surfaces: list[Agreement] = field(default_factory=list)

    @classmethod
    def of(cls, gsd_m: float, ignore: int, bands: int) -> Gathering:
        statistics = np.zeros((5, bands))
        statistics[LOWEST], statistics[HIGHEST] = np.inf, -np.inf
        sizes = np.zeros(len(SIZES_M2), np.int64)
        span = statistics[[LOWEST, HIGHEST]]
        return cls(
            gsd_m, ignore, np.zeros(256, np.int64), sizes, statistics, span, hashlib.blake2b(digest_size=16)
        )

    def add(
        self, window: Window, values: NDArray[Any], classes: NDArray[np.uint8], known: NDArray[np.bool_]
    ) -> None:
        gray, classes = gray_of(values), np.where(known, classes, np.uint8(self.ignore))
        self.counts += np.bincount(classes.ravel(), minlength=256)
        self.sizes += object_sizes(classes, self.ignore, self.gsd_m)
        self.add_statistics(values[:, classes != self.ignore].astype(np.float64))
        if known.any():
            shown = values[:, known]
            self.span = np.stack([np.fmin(self.span[0], shown.min(1)), np.fmax(self.span[1], shown.max(1))])
        self.digest.update(repr((window, values.dtype.name)).encode())
        self.digest.update(np.ascontiguousarray(values))
        self.marks.append(landmarks(gray).moved(window.row, window.col))
        self.surfaces += agreements(gray, classes, self.ignore, self.gsd_m)

    def add_statistics(self, pixels: NDArray[np.float64]) -> None:
        if pixels.shape[1]:
            self.bands[COUNT] += pixels.shape[1]
            self.bands[TOTAL] += pixels.sum(axis=1)
            self.bands[SQUARES] += (pixels**2).sum(axis=1)
            self.bands[LOWEST] = np.fmin(self.bands[LOWEST], pixels.min(axis=1))
            self.bands[HIGHEST] = np.fmax(self.bands[HIGHEST], pixels.max(axis=1))


def look_at(dataset: Dataset, item: Item) -> tuple[Look, Traces | None]:
    """Look through one item; what is wrong with it becomes its trouble."""
    try:
        return looked(dataset, item)
    except GeosegError as error:
        return Look(str(error)), None


def looked(dataset: Dataset, item: Item) -> tuple[Look, Traces]:
    image = picture(dataset.image_path(item))
    check_label(dataset, item, image)
    numbers = band_numbers(image, dataset.bands)
    gsd_m = item.gsd_m or image.gsd_m or dataset.gsd_m
    found = Gathering.of(gsd_m, dataset.ignore, len(numbers))
    read_label = label_reader(dataset, item, image)
    for window in image.windows():
        values = read_window(image.path, window)[np.array(numbers) - 1]
        found.add(window, values, read_label(window), known_in(image, window, len(numbers)))
    values = np.nonzero(found.counts)[0]
    look = Look(
        shape=image.shape,
        gsd_m=gsd_m,
        values=values.astype(np.uint8),
        pixels=found.counts[values],
        sizes=found.sizes,
        bands=found.bands,
        is_flat=bool((found.span[0] >= found.span[1]).all()),
        digest=found.digest.digest(),
        shift=shift_of(found.surfaces, gsd_m),
        outline=lonlat_outline(image.grid) if image.grid else (),
        palette=palette_of(dataset, item, values.tolist()),
    )
    return look, Traces(thumbnail(image, numbers), joined(found.marks), total(found.surfaces))


def known_in(image: Picture, window: Window, bands: int) -> NDArray[np.bool_]:
    if image.path.suffix == ".npy":
        return np.ones((window.height, window.width), dtype=bool)
    with opened(image.path) as dataset:
        return known_pixels(dataset, window, bands)


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


def thumbnail(image: Picture, numbers: Sequence[int]) -> Thumbs:
    """The image in 32 x 32 pixels, its brightness evened out."""
    if image.path.suffix == ".npy":
        rows = np.linspace(0, image.height - 1, THUMB).astype(int)
        cols = np.linspace(0, image.width - 1, THUMB).astype(int)
        small = gray_of(read_window(image.path))[np.ix_(rows, cols)]
    else:
        with opened(image.path) as dataset:
            small = dataset.read(
                numbers[min(1, len(numbers) - 1)], out_shape=(THUMB, THUMB), resampling=Resampling.average
            )
    small = np.nan_to_num(small.astype(np.float32))
    return small_steps((small - small.mean()) / (small.std() + 1e-6))


def lonlat_outline(grid: Grid) -> tuple[tuple[float, float], ...]:
    """The image's corners as longitude and latitude."""
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    xs, ys = zip(*(grid.transform @ corner for corner in corners), strict=True)
    lons, lats = Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(xs, ys)
    return tuple(zip(lons, lats, strict=True))
