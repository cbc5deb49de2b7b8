"""Many small image and label pairs for training: where they lie, and which are kept apart for validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from gee.geotiff import as_rasterio
from geoseg.errors import GeosegError, InputError
from geoseg.raster.grid import Grid, Window

NOTHING = 255
MOST_BLANK = 0.05
PLACE_SIDE = 4
FEWEST_PLACES = 10


@dataclass(frozen=True)
class PairRule:
    """Which chips are wanted: how many, how large, how much built, and how many for validation."""

    count: int
    seed: int = 0
    side: int = 300
    least_built: float = 0.17
    most_built: float = 0.85
    validation: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1_000_000:
            raise InputError(f"--pairs {self.count} must lie between 1 and 1000000")
        if not 16 <= self.side <= 4096:
            raise InputError(f"--chip {self.side} must lie between 16 and 4096 pixels")
        if not 0 <= self.least_built < self.most_built <= 1:
            raise InputError("--built must be two percentages from 0 to 100, the lower first: --built 17,85")
        if not 0 <= self.validation < 1:
            raise InputError(f"--validation {self.validation * 100:g} must lie between 0 and 100 percent")

    @property
    def wanted(self) -> dict[str, int]:
        """How many pairs go to which folder."""
        validation = round(self.count * self.validation)
        return {"train": self.count - validation, "validation": validation}


@dataclass(frozen=True)
class Chip:
    """One pair: where it lies in the grid, the place it belongs to, and how much of it is built."""

    window: Window
    place: int
    built: float

    @property
    def name(self) -> str:
        return f"{self.window.row:07d}_{self.window.col:07d}"


def built_shares(label: Path, side: int) -> NDArray[np.float64]:
    """How much of each chip of a label is built, row by row; not a number where too much is unknown."""
    with rasterio.open(label) as mask:
        rows, cols = mask.height // side, mask.width // side
        if not rows or not cols:
            raise InputError(
                f"an area of {mask.width} x {mask.height} pixels holds no chip of {side}: use --chip"
            )
        shares = [row_shares(mask, Window(row * side, 0, side, cols * side)) for row in range(rows)]
    return np.array(shares)


def row_shares(mask: rasterio.DatasetReader, strip: Window) -> NDArray[np.float64]:
    """The shares of one row of chips."""
    try:
        codes = mask.read(1, window=as_rasterio(strip))
    except RasterioError as error:
        raise GeosegError(
            f"{mask.name} is damaged: {error}; delete it and run the same command again"
        ) from None
    chips = codes.reshape(strip.height, -1, strip.height)
    known = (chips != NOTHING).mean(axis=(0, 2))
    built = (chips == 1).sum(axis=(0, 2)) / np.maximum((chips != NOTHING).sum(axis=(0, 2)), 1)
    return np.where(known >= 1 - MOST_BLANK, built, np.nan)


def candidates(shares: NDArray[np.float64], rule: PairRule) -> dict[str, list[Chip]]:
    """All chips that fit, in the order in which they are drawn, for training and for validation."""
    fits = (shares >= rule.least_built) & (shares <= rule.most_built)
    if not fits.any():
        raise InputError(
            f"none of the {shares.size} chips is {rule.least_built:.0%} to {rule.most_built:.0%} built: they run "
            f"{spread(shares)}; widen --built, or choose another area"
        )
    draw = np.random.default_rng(rule.seed)
    places = places_of(shares.shape)
    apart = set_apart(fits, places, rule.validation, draw)
    splits = {"train": fits & ~grown(apart), "validation": fits & apart}
    return {split: list(drawn(chosen, shares, places, rule.side, draw)) for split, chosen in splits.items()}


def spread(shares: NDArray[np.float64]) -> str:
    """The range of shares in words."""
    if np.isnan(shares).all():
        return "over ground that the label does not know"
    return f"from {np.nanmin(shares):.0%} to {np.nanmax(shares):.0%}"


def places_of(shape: tuple[int, int]) -> NDArray[np.int64]:
    """A number for each chip: neighbours in a block share it."""
    side = next((side for side in range(PLACE_SIDE, 1, -1) if blocks(shape, side) >= FEWEST_PLACES), 1)
    rows, cols = np.indices(shape)
    return np.asarray(rows // side * -(-shape[1] // side) + cols // side, np.int64)


def blocks(shape: tuple[int, int], side: int) -> int:
    """How many blocks of this side there are."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def set_apart(
    fits: NDArray[np.bool_], places: NDArray[np.int64], share: float, draw: np.random.Generator
) -> NDArray[np.bool_]:
    """The chips of whole places, drawn until they hold the share for validation."""
    order = draw.permutation(np.unique(places[fits]))
    counts = np.array([(places[fits] == place).sum() for place in order])
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.isin(places, order[before < share * fits.sum()])


def grown(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The chips and all their neighbours, so that what is left lies a whole chip away."""
    rows, cols = chosen.shape
    padded = np.pad(chosen, 1)
    shifts = [padded[row : row + rows, col : col + cols] for row in range(3) for col in range(3)]
    return np.asarray(np.any(shifts, axis=0))


def drawn(
    chosen: NDArray[np.bool_],
    shares: NDArray[np.float64],
    places: NDArray[np.int64],
    side: int,
    draw: np.random.Generator,
) -> Iterator[Chip]:
    """The chosen chips in random order."""
    for row, col in draw.permutation(np.argwhere(chosen)):
        window = Window(int(row) * side, int(col) * side, side, side)
        yield Chip(window, int(places[row, col]), float(shares[row, col]))


def blank_share(pixels: NDArray[np.generic], nodata: float) -> float:
    """How much of a picture is nodata in any band."""
    return float((pixels == nodata).any(axis=0).mean())


def index_line(split: str, chip: Chip, grid: Grid) -> list[str]:
    """A chip's line in the index."""
    left, bottom, right, top = grid.window(chip.window).bounds
    edges = [f"{edge:.10g}" for edge in (left, bottom, right, top)]
    return [split, chip.name, str(chip.place), f"{chip.built:.4f}", *edges]


INDEX_HEADER = ["split", "name", "place", "built_share", "left", "bottom", "right", "top"]
