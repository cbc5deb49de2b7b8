"""Which patches are read: drawn at random to train on, from a grid to validate on. The same seed and number give the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.reading.sites import CELL, Site
from geoseg.errors import InputError
from geoseg.raster.grid import Window
from geoseg.training.patches.augmentation import AugmentationRecipe
from geoseg.training.patches.pose import Pose, draw_pose

AS_THEY_ARE = AugmentationRecipe()


@dataclass(frozen=True)
class SamplingWeights:
    """What is drawn more often than its share of the ground.

    The pixel in whose middle a patch is drawn is of class c with a probability in proportion to `classes[c]` times the
    pixels of c. Cells that hold only background count `empty` times. Places count by area to the power `1 - places`.
    """

    classes: tuple[float, ...]
    empty: float = 1.0
    places: float = 0.0


def parse_class_factors(request: str, names: Sequence[str], counts: NDArray[np.int64]) -> tuple[float, ...]:
    """How much more often each class is to be drawn: `auto` draws all alike, `road=3` a class three times as often."""
    if request == "auto":
        return tuple(float(counts.sum() / count) if count else 0.0 for count in counts)
    factors = dict.fromkeys(names, 1.0)
    for part in filter(None, (part.strip() for part in request.split(","))):
        name, _, number = part.partition("=")
        if name.strip() not in factors:
            raise InputError(
                f"`oversample` {request}: no class {name.strip()!r}; there are {', '.join(names)}"
            )
        try:
            factors[name.strip()] = float(number)
        except ValueError:
            factors[name.strip()] = -1.0
        if not 0 <= factors[name.strip()] < float("inf"):
            raise InputError(f"`oversample` {request}: write it like {names[-1]}=3")
    return tuple(factors.values())


@dataclass(frozen=True)
class RandomPatches:
    """An endless row of patches, drawn at random; the number of a patch and the seed decide which it is."""

    sites: tuple[Site, ...]
    side: int
    balance: SamplingWeights
    seed: int
    recipe: AugmentationRecipe = AS_THEY_ARE

    def pose(self, number: int) -> Pose:
        """How the patch of a number lies."""
        return draw_pose(self.recipe, self.seed, number)

    def place(self, number: int) -> tuple[int, Window]:
        """Which site a patch is drawn from, and what has to be read for it."""
        site, row, col, _ = self.middle(number)
        height, width = self.sites[site].image.shape
        side = self.pose(number).compute_read_side(self.side)
        return site, Window(choose_start(row, side, height), choose_start(col, side, width), side, side)

    def middle(self, number: int) -> tuple[int, int, int, int]:
        """The pixel around which a patch is drawn: its site, row, column and class."""
        chance = np.random.default_rng([self.seed, number])
        drawn = int(
            np.searchsorted(
                self.cumulative_weights, chance.random() * self.cumulative_weights[-1], side="right"
            )
        )
        index = int(np.searchsorted(self.starts, drawn, side="right")) - 1
        site = self.sites[index]
        cell, wanted = divmod(drawn - self.starts[index], site.counts.shape[2])
        window = make_cell_window(int(cell), site)
        if site.counts[divmod(int(cell), site.counts.shape[1])][wanted] == window.height * window.width:
            anywhere = [int(chance.integers(size)) for size in (window.height, window.width)]
            return index, window.row + anywhere[0], window.col + anywhere[1], int(wanted)
        rows, cols = np.nonzero(site.labels.read(window) == wanted)
        # A label that is resampled with its window may differ by a pixel from the strip it was counted in.
        at = int(chance.integers(len(rows))) if len(rows) else -1
        row, col = (rows[at], cols[at]) if at >= 0 else (window.height // 2, window.width // 2)
        return index, window.row + int(row), window.col + int(col), int(wanted)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each site's entries begin in the row of all cells and classes."""
        return np.cumsum([0, *(site.counts.size for site in self.sites[:-1])])

    @cached_property
    def cumulative_weights(self) -> NDArray[np.float64]:
        """Running sums of the weight of each class in each cell of each site."""
        areas: dict[str, int] = {}
        for site in self.sites:
            areas[site.place] = areas.get(site.place, 0) + site.known
        weights = [self.weights(site) / areas[site.place] ** self.balance.places for site in self.sites]
        total = np.cumsum(np.concatenate(weights))
        if not total[-1] > 0:
            raise InputError("`oversample` leaves no pixel to draw; give some class a factor above zero")
        return total

    def weights(self, site: Site) -> NDArray[np.float64]:
        weights = site.counts * np.array(self.balance.classes) * (site.item.weight or 1.0)
        only_background = site.counts[..., 1:].sum(axis=2) == 0
        weights[only_background] *= self.balance.empty
        return np.asarray(weights.ravel())


def make_cell_window(cell: int, site: Site) -> Window:
    row, col = (int(i) * CELL for i in divmod(cell, site.counts.shape[1]))
    height, width = site.image.shape
    return Window(row, col, min(CELL, height - row), min(CELL, width - col))


def choose_start(middle: int, side: int, size: int) -> int:
    """Where a patch around a pixel begins: inside the image if it fits, in its middle if it does not."""
    return (size - side) // 2 if side >= size else min(max(0, middle - side // 2), size - side)


@dataclass(frozen=True)
class GridPatches:
    """All patches of a grid over some sites that hold labels, in order; the last ones of a row reach beyond the image."""

    sites: tuple[Site, ...]
    side: int

    def __len__(self) -> int:
        return len(self.places)

    def pose(self, _: int) -> Pose:
        """Patches of a grid lie as the image does."""
        return Pose()

    def place(self, number: int) -> tuple[int, Window]:
        """Which site a patch is of, and where."""
        return self.places[number]

    @cached_property
    def places(self) -> list[tuple[int, Window]]:
        return [
            (i, window)
            for i, site in enumerate(self.sites)
            for window in list_windows(site, self.side)
            if has_labels(site, window)
        ]

    def choose_evenly(self, most: int) -> list[int]:
        """The numbers of at most so many patches, evenly spread."""
        return sorted({int(number) for number in np.linspace(0, len(self) - 1, min(most, len(self))).round()})


def list_windows(site: Site, side: int) -> Iterator[Window]:
    height, width = site.image.shape
    for row in range(0, height, side):
        for col in range(0, width, side):
            yield Window(row, col, side, side)


def has_labels(site: Site, window: Window) -> bool:
    rows = slice(window.row // CELL, -(-window.stop_row // CELL))
    cols = slice(window.col // CELL, -(-window.stop_col // CELL))
    return bool(site.counts[rows, cols].any())
