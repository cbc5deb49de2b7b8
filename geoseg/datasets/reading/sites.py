"""Sites: images opened with their labels, and how many pixels of each class each part of them holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.options import Split
from geoseg.datasets.reading.images import ImageReader, open_item_image
from geoseg.datasets.reading.labels import (
    Classes,
    NumberedLabels,
    Numbers,
    open_pixel_labels,
    open_vector_labels,
)
from geoseg.datasets.schema import Dataset, Item
from geoseg.errors import InputError
from geoseg.models.card import Card, Scaling
from geoseg.models.normalisation import Normalisation, fit_scene_normalisation, make_normalisation
from geoseg.parallel import WorkerPool, count_processors
from geoseg.progress import Advance, track
from geoseg.raster.grid import Window
from geoseg.raster.palette import ClassEntry

MOST_LOOKED_AT = 100
"""Sites whose values are looked at to find the scale of all of them."""
PIXEL_STEP = 7
"""Every so many known pixels of a look are taken: neighbours are alike."""
PURPOSES = {"train": "learn from", "validation": "validate on", "test": "test on"}
CELL = 64
"""Side in pixels of the cells in which classes are counted."""
ROWS_AT_A_TIME = 16
"""Rows of cells that are read at a time."""
WORTH_PROCESSES = 200
"""Fewer sites are opened sooner than processes that could help are started."""

Range = tuple[float, float]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def holds_bytes(sites: Sequence[Site]) -> bool:
    return any(site.image.dtype == "uint8" for site in sites)


def pick_sites(sites: Sequence[Site]) -> Sequence[Site]:
    """As many sites as it takes to know what all look like, evenly spread."""
    return sites[:: -(-len(sites) // MOST_LOOKED_AT)]


def compute_pooled_range(sites: Sequence[Site]) -> Range:
    looks = [site.image.look() for site in sites]
    known = np.concatenate([values[:, valid].ravel()[::PIXEL_STEP] for values, valid in looks])
    low, high = np.percentile(known, (1, 99))
    return float(low), float(high if high > low else low + 1)


def compute_mean_and_std(scaling: Scaling, sites: Sequence[Site]) -> Statistics:
    """Mean and spread of each band over all sites, on the scale from 0 to 1."""
    seen = []
    for site in sites:
        values, valid = site.image.look()
        ranges = find_site_normalisation(scaling, site)
        known = values[:, valid][:, ::PIXEL_STEP].astype(np.float64)
        low, high = (np.array(limits)[:, None] for limits in (ranges.low, ranges.high))
        scaled = (known - low) / (high - low)
        seen.append(scaled.clip(0, 1) if ranges.clip else scaled)
    pooled = np.concatenate(seen, axis=1)
    mean, std = pooled.mean(axis=1), np.maximum(pooled.std(axis=1), 1e-3)
    return tuple(float(round(m, 4)) for m in mean), tuple(float(round(s, 4)) for s in std)


def find_site_normalisation(scaling: Scaling, site: Site) -> Normalisation:
    """How the values of a site are brought to the scale from 0 to 1."""
    plain = Scaling(scaling.low, scaling.high, stretch=scaling.stretch)
    values, valid = site.image.look()
    bands = len(values)
    if not valid.any():
        return make_normalisation(plain, (plain.low,) * bands, (plain.high,) * bands, clip=False)
    return fit_scene_normalisation(make_bandless_card(plain, bands), values, valid, site.item.image)


def make_bandless_card(scaling: Scaling, bands: int) -> Card:
    """A card that says no more than how raw values are scaled."""
    classes = (ClassEntry("background", "#000000"), ClassEntry("other", "#ffffff"))
    return Card("training", tuple(map(str, range(bands))), classes, 1.0, (1.0, 1.0), scaling=scaling)


VECTOR_SUFFIXES = {".geojson", ".json", ".gpkg", ".fgb", ".shp", ".parquet", ".kml", ".gml"}


class LabelReader(Protocol):
    """Which class each pixel of an image is of, and which building it lies in where that is known."""

    @property
    def tells_buildings_apart(self) -> bool: ...

    def read(self, window: Window) -> Classes:
        """Classes (row, col) of a window inside the image."""

    def buildings(self, window: Window) -> Numbers | None:
        """The number of the building each pixel lies in, 0 where there is none; None where nobody knows."""


def open_item_labels(dataset: Dataset, item: Item, image: ImageReader, apart: bool = False) -> LabelReader:
    """The labels of an item, on the grid of its image; outlines that touch merge unless they are to be kept apart."""
    path = dataset.label_path(item)
    if path.suffix.lower() in VECTOR_SUFFIXES and path.exists():
        return open_vector_labels(dataset, item, image, apart)
    classes = open_pixel_labels(path, item, image)
    if item.buildings is None:
        return classes
    return NumberedLabels(classes, open_pixel_labels(dataset.folder / item.buildings, item, image))


@dataclass(frozen=True)
class Patch:
    """What a network learns from: raw values (band, row, col), classes (row, col), and what is known of the image.

    `buildings` says which building each pixel lies in, 0 for none; it is None where that is not known.
    """

    values: NDArray[Any]
    classes: Classes
    valid: NDArray[np.bool_]
    buildings: Numbers | None = None


@dataclass(frozen=True)
class Site:
    """An image with its labels, opened, and how many pixels of each class each cell of 64 x 64 pixels holds."""

    item: Item
    image: ImageReader
    labels: LabelReader
    counts: NDArray[np.int64]
    ignore: int

    @property
    def place(self) -> str:
        return self.item.place

    @property
    def known(self) -> int:
        """How many of its pixels have a label."""
        return int(self.counts.sum())

    def read(self, window: Window, with_buildings: bool = False) -> Patch:
        """A patch anywhere; beyond the image nothing is known."""
        within = clip_window(window, self.image.shape)
        values, valid, classes = read_with_labels(self.image, self.labels, within, self.ignore)
        buildings = self.buildings(within, classes) if with_buildings else None
        around = compute_margins(window, self.image.shape)
        return Patch(
            np.pad(values, ((0, 0), *around)),
            np.pad(classes, around, constant_values=self.ignore),
            np.pad(valid, around),
            None if buildings is None else np.pad(buildings, around),
        )

    def buildings(self, window: Window, classes: Classes) -> Numbers | None:
        """The building each pixel of a window lies in; a mask knows it where it shows none."""
        if self.labels.tells_buildings_apart:
            return self.labels.buildings(window)
        is_empty = not ((classes != 0) & (classes != self.ignore)).any()
        return np.zeros(classes.shape, np.int32) if is_empty else None


def open_site(dataset: Dataset, item: Item, gsd_m: float, apart: bool = False) -> Site:
    """Open an item, and look once at all of its labels; `apart` as in `open_vector_labels`."""
    image = open_item_image(dataset, item, gsd_m)
    labels = open_item_labels(dataset, item, image, apart)
    counts = count_classes(dataset, item, image, labels)
    if not counts.any():
        raise InputError(
            f"{dataset.label_path(item)}: labels no pixel of {item.image}; is it the right file?"
        )
    return Site(item, image, labels, counts, dataset.ignore)


def open_sites(
    dataset: Dataset, split: Split, gsd_m: float, apart: bool = False, workers: int | None = None
) -> tuple[Site, ...]:
    """Open all items of a split, those of large sets by several processes unless it is said how many."""
    items = dataset.split(split)
    if not items:
        raise InputError(
            f"{dataset.name}: no item is in the split {split}; give some places to it in dataset.toml, or prepare it anew and say "
            "which, e.g. --validation PLACE"
        )
    bare = replace(dataset, items=())
    sites: list[Site] = []
    with (
        WorkerPool[Site](choose_process_count(len(items)) if workers is None else workers) as pool,
        track(f"Looking at labels to {PURPOSES[split]}", len(items), "images") as done,
    ):
        for item in items:
            pool.submit(open_site, bare, item, gsd_m, apart)
            sites += report_sites(pool.take_ready(), done)
        sites += report_sites(pool.take_rest(), done)
    return tuple(sites)


def choose_process_count(count: int) -> int:
    """How many processes open so many sites."""
    return count_own_processors() if count >= WORTH_PROCESSES else 0


def count_own_processors() -> int:
    """How many processors fall to this process; those that train together on one machine share it."""
    return max(1, count_processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def report_sites(sites: Iterable[Site], done: Advance) -> Iterator[Site]:
    for site in sites:
        done(1)
        yield site


def read_with_labels(
    image: ImageReader, labels: LabelReader, window: Window, ignore: int
) -> tuple[NDArray[Any], NDArray[np.bool_], Classes]:
    """Values, which of them are known, and classes; what the image does not show has no class."""
    values, valid = image.read(window)
    classes = np.where(valid, labels.read(window), np.uint8(ignore))
    return values, valid, classes


def clip_window(window: Window, shape: tuple[int, int]) -> Window:
    """The part of a window that lies on an image."""
    top, left = max(0, window.row), max(0, window.col)
    return Window(top, left, min(shape[0], window.stop_row) - top, min(shape[1], window.stop_col) - left)


def compute_margins(window: Window, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """How far a window reaches beyond an image: above and below, left and right."""
    return (
        (max(0, -window.row), max(0, window.stop_row - shape[0])),
        (max(0, -window.col), max(0, window.stop_col - shape[1])),
    )


def count_classes(dataset: Dataset, item: Item, image: ImageReader, labels: LabelReader) -> NDArray[np.int64]:
    """Pixels of each class in each cell (cell row, cell col, class), read in strips of cells."""
    (height, width), step = image.shape, CELL * ROWS_AT_A_TIME
    counts = []
    for row in range(0, height, step):
        strip = Window(row, 0, min(step, height - row), width)
        _, _, classes = read_with_labels(image, labels, strip, dataset.ignore)
        counts.append(count_cells(dataset, item, classes))
    return np.concatenate(counts)


def count_cells(dataset: Dataset, item: Item, classes: Classes) -> NDArray[np.int64]:
    count = len(dataset.classes)
    known = classes != dataset.ignore
    if (classes[known] >= count).any():
        raise InputError(
            f"{dataset.label_path(item)}: holds the value {classes[known].max()}, but the classes are 0 to {count - 1} "
            f"and {dataset.ignore} means not known"
        )
    rows, cols = (-(-size // CELL) for size in classes.shape)
    cell = (np.arange(classes.shape[0]) // CELL)[:, None] * cols + np.arange(classes.shape[1]) // CELL
    pairs = np.bincount(cell[known] * count + classes[known], minlength=rows * cols * count)
    return pairs.reshape(rows, cols, count)


def sum_class_counts(sites: Sequence[Site]) -> NDArray[np.int64]:
    """Pixels of each class over all sites."""
    return np.asarray(sum(site.counts.sum(axis=(0, 1)) for site in sites))
