"""Patches to learn from: where they are drawn, and how they are read. The same seed and number give the same patch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.learn.patches.images import Image, open_image
from geoseg.learn.patches.labels import Classes, Labels, open_labels
from geoseg.prepare.dataset import Dataset, Item, Split
from geoseg.raster.grid import Window

CELL = 64
ROWS_AT_A_TIME = 16


@dataclass(frozen=True)
class Patch:
    """What a network learns from: raw values (band, row, col), classes (row, col), and what is known of the image."""

    values: NDArray[Any]
    classes: Classes
    valid: NDArray[np.bool_]


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

    def read(self, window: Window) -> Patch:
        """A patch anywhere; beyond the image nothing is known."""
        values, valid, classes = read_known(
            self.image, self.labels, inside(window, self.image.shape), self.ignore
        )
        around = margins(window, self.image.shape)
        return Patch(
            np.pad(values, ((0, 0), *around)),
            np.pad(classes, around, constant_values=self.ignore),
            np.pad(valid, around),
        )


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


def open_sites(dataset: Dataset, split: Split, gsd_m: float, apart: bool = False) -> tuple[Site, ...]:
    items = dataset.split(split)
    if not items:
        raise InputError(
            f"{dataset.name}: no item is in the split {split}; give some places to it in dataset.toml"
        )
    return tuple(open_site(dataset, item, gsd_m, apart) for item in items)


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


@dataclass(frozen=True)
class Balance:
    """What is drawn more often than its share of the ground.

    The pixel in whose middle a patch is drawn is of class c with a probability in proportion to `classes[c]` times the
    pixels of c. Cells that hold only background count `empty` times. Places count by area to the power `1 - places`.
    """

    classes: tuple[float, ...]
    empty: float = 1.0
    places: float = 0.0


def class_factors(request: str, names: Sequence[str], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """How much more often each class is to be drawn: `auto` draws all alike, `road=3` a class three times as often."""
    if request == "auto":
        return tuple(float(counts.sum() / count) if count else 0.0 for count in counts)
    factors = dict.fromkeys(names, 1.0)
    for part in filter(None, (part.strip() for part in request.split(","))):
        name, _, number = part.partition("=")
        if name.strip() not in factors:
            raise InputError(
                f"--oversample {request}: no class {name.strip()!r}; there are {', '.join(names)}"
            )
        try:
            factors[name.strip()] = float(number)
        except ValueError:
            factors[name.strip()] = -1.0
        if not 0 <= factors[name.strip()] < float("inf"):
            raise InputError(f"--oversample {request}: write it like {names[-1]}=3")
    return tuple(factors.values())


@dataclass(frozen=True)
class RandomPatches:
    """An endless row of patches, drawn at random; the number of a patch and the seed decide which it is."""

    sites: tuple[Site, ...]
    side: int
    balance: Balance
    seed: int

    def __getitem__(self, number: int) -> tuple[int, Patch]:
        """The patch of a number, and which site it is of."""
        site, window = self.place(number)
        return site, self.sites[site].read(window)

    def place(self, number: int) -> tuple[int, Window]:
        """Which site a patch is drawn from, and where."""
        site, row, col, _ = self.middle(number)
        height, width = self.sites[site].image.shape
        return site, Window(start(row, self.side, height), start(col, self.side, width), self.side, self.side)

    def middle(self, number: int) -> tuple[int, int, int, int]:
        """The pixel around which a patch is drawn: its site, row, column and class."""
        chance = np.random.default_rng([self.seed, number])
        drawn = int(np.searchsorted(self.cumulated, chance.random() * self.cumulated[-1], side="right"))
        index = int(np.searchsorted(self.starts, drawn, side="right")) - 1
        site = self.sites[index]
        cell, wanted = divmod(drawn - self.starts[index], site.counts.shape[2])
        window = cell_window(int(cell), site)
        classes = read_known(site.image, site.labels, window, site.ignore)[2]
        rows, cols = np.nonzero(classes == wanted)
        # A label that is resampled with its window may differ by a pixel from the strip it was counted in.
        at = int(chance.integers(len(rows))) if len(rows) else -1
        row, col = (rows[at], cols[at]) if at >= 0 else (window.height // 2, window.width // 2)
        return index, window.row + int(row), window.col + int(col), int(wanted)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each site's entries begin in the row of all cells and classes."""
        return np.cumsum([0, *(site.counts.size for site in self.sites[:-1])])

    @cached_property
    def cumulated(self) -> NDArray[np.float64]:
        """Running sums of the weight of each class in each cell of each site."""
        areas: dict[str, int] = {}
        for site in self.sites:
            areas[site.place] = areas.get(site.place, 0) + site.known
        weights = [self.weights(site) / areas[site.place] ** self.balance.places for site in self.sites]
        total = np.cumsum(np.concatenate(weights))
        if not total[-1] > 0:
            raise InputError("--oversample leaves no pixel to draw; give some class a factor above zero")
        return total

    def weights(self, site: Site) -> NDArray[np.float64]:
        weights = site.counts * np.array(self.balance.classes)
        only_background = site.counts[..., 1:].sum(axis=2) == 0
        weights[only_background] *= self.balance.empty
        return np.asarray(weights.ravel())


def cell_window(cell: int, site: Site) -> Window:
    row, col = (int(i) * CELL for i in divmod(cell, site.counts.shape[1]))
    height, width = site.image.shape
    return Window(row, col, min(CELL, height - row), min(CELL, width - col))


def start(middle: int, side: int, size: int) -> int:
    """Where a patch around a pixel begins: inside the image if it fits, in its middle if it does not."""
    return (size - side) // 2 if side >= size else min(max(0, middle - side // 2), size - side)


@dataclass(frozen=True)
class GridPatches:
    """All patches of a grid over some sites that hold labels, in order; the last ones of a row reach beyond the image."""

    sites: tuple[Site, ...]
    side: int

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> tuple[int, Patch]:
        """The patch of a number, and which site it is of."""
        site, window = self.places[number]
        return site, self.sites[site].read(window)

    @cached_property
    def places(self) -> list[tuple[int, Window]]:
        return [
            (i, window)
            for i, site in enumerate(self.sites)
            for window in windows(site, self.side)
            if has_labels(site, window)
        ]

    def spread(self, most: int) -> list[int]:
        """The numbers of at most so many patches, evenly spread."""
        return sorted({int(number) for number in np.linspace(0, len(self) - 1, min(most, len(self))).round()})


def windows(site: Site, side: int) -> Iterator[Window]:
    height, width = site.image.shape
    for row in range(0, height, side):
        for col in range(0, width, side):
            yield Window(row, col, side, side)


def has_labels(site: Site, window: Window) -> bool:
    rows = slice(window.row // CELL, -(-window.stop_row // CELL))
    cols = slice(window.col // CELL, -(-window.stop_col // CELL))
    return bool(site.counts[rows, cols].any())


def total_counts(sites: Sequence[Site]) -> NDArray[np.int64]:
    """Pixels of each class over all sites."""
    return np.asarray(sum(site.counts.sum(axis=(0, 1)) for site in sites))


def refuse_shared_ground(splits: Mapping[str, Sequence[Site]]) -> None:
    """Refuse sites of two splits that hold labels of the same ground, or the very same image."""
    names = list(splits)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            for one in splits[name]:
                for two in splits[other]:
                    if shares_ground(one, two):
                        raise InputError(
                            f"{one.item.image} ({name}) and {two.item.image} ({other}) show the same ground; "
                            "give both to one split, or a model will be judged by what it has learnt by heart"
                        )


def shares_ground(one: Site, two: Site) -> bool:
    """Whether cells that are mostly labelled in one site are so in the other, too."""
    if one.image.grid is None or two.image.grid is None:
        return same_picture(one, two)
    if not boxes_meet(one.image.grid, two.image.grid):
        return False
    rows, cols = np.nonzero(mostly_known(one))
    across, down = (cols + 0.5) * CELL, (rows + 0.5) * CELL
    a, b, c, d, e, f, *_ = one.image.grid.transform
    xs, ys = a * across + b * down + c, d * across + e * down + f
    own = pixels_at(two.image.grid, one.image.grid, xs, ys)
    cells = np.floor(own / CELL).astype(np.int64)
    known = mostly_known(two)
    here = ((cells >= 0) & (cells < np.array(known.shape)[:, None])).all(axis=0)
    return bool(known[tuple(cells[:, here])].any())


def same_picture(one: Site, two: Site) -> bool:
    """Whether two images without a place on Earth are one; flat ones do not count."""
    shapes = (one.image.shape, two.image.shape)
    if shapes[0] != shapes[1]:
        return False
    middle = Window(
        shapes[0][0] // 2, shapes[0][1] // 2, *(min(CELL, size - size // 2) for size in shapes[0])
    )
    here, there = one.image.read(middle)[0], two.image.read(middle)[0]
    return bool(np.array_equal(here, there) and np.ptp(here) > 0)


def mostly_known(site: Site) -> NDArray[np.bool_]:
    return np.asarray(site.counts.sum(axis=2) > CELL * CELL / 2)


def boxes_meet(one: Any, two: Any) -> bool:
    from pyproj import Transformer

    left, bottom, right, top = Transformer.from_crs(one.crs, two.crs, always_xy=True).transform_bounds(
        *one.bounds
    )
    other = two.bounds
    return bool(left < other[2] and right > other[0] and bottom < other[3] and top > other[1])


def pixels_at(grid: Any, other: Any, xs: NDArray[Any], ys: NDArray[Any]) -> NDArray[np.float64]:
    """Rows and columns of a grid at places given in the CRS of another."""
    from pyproj import Transformer

    there = Transformer.from_crs(other.crs, grid.crs, always_xy=True).transform(xs, ys)
    a, b, c, d, e, f, *_ = ~grid.transform
    return np.array([d * there[0] + e * there[1] + f, a * there[0] + b * there[1] + c])
