"""Sites: images opened with their labels, and what was seen in one look at all of these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.trace.workers import Workers, available_processors
from geoseg.learn.patches.images import Image, open_image
from geoseg.learn.patches.labels import Classes, Labels, Numbers, open_labels
from geoseg.narrator import QUIET, Narrator, Tick
from geoseg.prepare.dataset import Dataset, Item, Split
from geoseg.raster.grid import Window

PURPOSES = {"train": "learn from", "validation": "validate on", "test": "test on"}
CELL = 64
ROWS_AT_A_TIME = 16
WORTH_PROCESSES = 200
"""Fewer sites are opened sooner than processes that could help are started."""


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
    image: Image
    labels: Labels
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
        within = inside(window, self.image.shape)
        values, valid, classes = read_known(self.image, self.labels, within, self.ignore)
        buildings = self.buildings(within, classes) if with_buildings else None
        around = margins(window, self.image.shape)
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
    """Open an item, and look once at all of its labels; `apart` as in `open_labels`."""
    image = open_image(dataset, item, gsd_m)
    labels = open_labels(dataset, item, image, apart)
    counts = count_classes(dataset, item, image, labels)
    if not counts.any():
        raise InputError(
            f"{dataset.label_path(item)}: labels no pixel of {item.image}; is it the right file?"
        )
    return Site(item, image, labels, counts, dataset.ignore)


def open_sites(
    dataset: Dataset, split: Split, gsd_m: float, apart: bool = False, narrator: Narrator = QUIET
) -> tuple[Site, ...]:
    """Open all items of a split, those of large sets by several processes."""
    items = dataset.split(split)
    if not items:
        raise InputError(
            f"{dataset.name}: no item is in the split {split}; give some places to it in dataset.toml"
        )
    bare = replace(dataset, items=())
    sites: list[Site] = []
    with (
        Workers[Site](processes_for(len(items))) as pool,
        narrator.task(f"Looking at labels to {PURPOSES[split]}", len(items), "images") as done,
    ):
        for item in items:
            pool.submit(open_site, bare, item, gsd_m, apart)
            sites += told(pool.ready(), done)
        sites += told(pool.rest(), done)
    return tuple(sites)


def processes_for(count: int) -> int:
    """How many processes open so many sites."""
    return processors_of_mine() if count >= WORTH_PROCESSES else 0


def processors_of_mine() -> int:
    """How many processors fall to this process; those that train together on one machine share it."""
    return max(1, available_processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def told(sites: Iterable[Site], done: Tick) -> Iterator[Site]:
    for site in sites:
        done(1)
        yield site


def read_known(
    image: Image, labels: Labels, window: Window, ignore: int
) -> tuple[NDArray[Any], NDArray[np.bool_], Classes]:
    """Values, which of them are known, and classes; what the image does not show has no class."""
    values, valid = image.read(window)
    classes = np.where(valid, labels.read(window), np.uint8(ignore))
    return values, valid, classes


def inside(window: Window, shape: tuple[int, int]) -> Window:
    """The part of a window that lies on an image."""
    top, left = max(0, window.row), max(0, window.col)
    return Window(top, left, min(shape[0], window.stop_row) - top, min(shape[1], window.stop_col) - left)


def margins(window: Window, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """How far a window reaches beyond an image: above and below, left and right."""
    return (
        (max(0, -window.row), max(0, window.stop_row - shape[0])),
        (max(0, -window.col), max(0, window.stop_col - shape[1])),
    )


def count_classes(dataset: Dataset, item: Item, image: Image, labels: Labels) -> NDArray[np.int64]:
    """Pixels of each class in each cell (cell row, cell col, class), read in strips of cells."""
    height, width = image.shape
    strips = [
        cells_of(
            dataset,
            item,
            read_known(image, labels, Window(row, 0, min(step, height - row), width), dataset.ignore)[2],
        )
        for step in (CELL * ROWS_AT_A_TIME,)
        for row in range(0, height, step)
    ]
    return np.concatenate(strips)


def cells_of(dataset: Dataset, item: Item, classes: Classes) -> NDArray[np.int64]:
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


def total_counts(sites: Sequence[Site]) -> NDArray[np.int64]:
    """Pixels of each class over all sites."""
    return np.asarray(sum(site.counts.sum(axis=(0, 1)) for site in sites))
