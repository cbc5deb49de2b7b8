"""Pieces of a comparison as pictures: image, truth, prediction and errors, in the colours of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from geoseg.bandnames import shown
from geoseg.landclass import LandClass
from geoseg.learn.evaluation.question import Comparison
from geoseg.learn.evaluation.sides import Side
from geoseg.learn.evaluation.tally import Pair, Tally, Tiles
from geoseg.learn.scores.calibrate import UNKNOWN
from geoseg.learn.scores.confusion import Confusion, Floats, macro
from geoseg.raster.gdal import open_raster, rasterio_crs
from geoseg.raster.grid import Grid, Window

Bytes = NDArray[np.uint8]

SIDE = 512
LEAST_SHARE = 0.02
UNKNOWN_RGB = (255, 255, 255)
FALSE_ALARM, MISS, MIX_UP = (214, 39, 40), (31, 119, 180), (148, 103, 189)
SHOWN_PERCENTILES = (2, 98)


@dataclass(frozen=True)
class Piece:
    """A window of a scene seen four ways, each (row, col, 3); `image` is None where there is none."""

    title: str
    image: Bytes | None
    truth: Bytes
    predicted: Bytes
    errors: Bytes


def telling_pieces(comparison: Comparison, counted: Tally) -> Iterator[Piece]:
    """Two windows that show what to expect: one as good as half of all tiles, and one of the worst tenth."""
    scores = tile_scores(counted.confusion)
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return
    ranked = known[np.argsort(scores[known], kind="stable")]
    chosen = {"typical": ranked[len(ranked) // 2], "poor": ranked[len(ranked) // 10]}
    for what, tile in dict(zip(chosen.values(), chosen, strict=True)).items():
        pair, window = place_of(int(what), comparison.pairs)
        yield piece(f"{tile} (mean IoU {scores[what]:.2f})", pair, window, comparison.classes)


def tile_scores(tables: Confusion) -> Floats:
    """Mean IoU of each tile without the background; nan where there is next to nothing but background."""
    share = tables.true[:, 1:].sum(axis=1) / np.maximum(tables.pixels, 1)
    return np.where(share >= LEAST_SHARE, macro(tables.iou[:, 1:]), np.nan)


def place_of(tile: int, pairs: Sequence[Pair]) -> tuple[Pair, Window]:
    """Which scene a tile is of, and a window around its middle."""
    for pair in pairs:
        tiles = Tiles(*pair.grid.shape)
        if tile < tiles.number:
            row, col = divmod(tile, tiles.across)
            return pair, around((row + 0.5) * tiles.side, (col + 0.5) * tiles.side, pair.grid)
        tile -= tiles.number
    raise AssertionError("every tile is of a scene")


def around(row: float, col: float, grid: Grid) -> Window:
    """A window of the grid, as near around a pixel as its edges let it."""
    height, width = min(SIDE, grid.height), min(SIDE, grid.width)
    top = min(max(0, int(row) - height // 2), grid.height - height)
    left = min(max(0, int(col) - width // 2), grid.width - width)
    return Window(top, left, height, width)


def piece(title: str, pair: Pair, window: Window, classes: Sequence[LandClass]) -> Piece:
    """A window of a pair in pictures."""
    truth, predicted = seen(pair.truth, window), seen(pair.predicted, window)
    image = photo(pair.image, pair.grid.window(window), pair.bands) if pair.image else None
    return Piece(
        title,
        image,
        coloured(truth, classes),
        coloured(predicted, classes),
        errors(truth, predicted, classes),
    )


def seen(side: Side, window: Window) -> Bytes:
    rows, cols = window.slices
    return side.read(rows).classes[:, cols]


def coloured(classes: Bytes, legend: Sequence[LandClass]) -> Bytes:
    """Classes in their colours; unknown is white."""
    colours = np.full((256, 3), UNKNOWN_RGB, dtype=np.uint8)
    colours[: len(legend)] = [entry.rgb for entry in legend]
    return colours[classes]


def errors(truth: Bytes, predicted: Bytes, legend: Sequence[LandClass]) -> Bytes:
    """What is right in a pale shade of its class; false alarms red, misses blue, mix-ups of two classes violet."""
    picture = (coloured(truth, legend) // 3 + 170).astype(np.uint8)
    wrong = truth != predicted
    picture[wrong & (truth == 0)] = FALSE_ALARM
    picture[wrong & (predicted == 0)] = MISS
    picture[wrong & (truth > 0) & (predicted > 0)] = MIX_UP
    picture[(truth == UNKNOWN) | (predicted == UNKNOWN)] = UNKNOWN_RGB
    return picture


def photo(path: str, grid: Grid, names: Sequence[str] = ()) -> Bytes:
    """An image on a grid in red, green and blue, its values spread over what a screen can show.

    `names` are those of its bands, where they are known better than the file tells them.
    """
    with (
        open_raster(path, path) as dataset,
        WarpedVRT(
            dataset, crs=rasterio_crs(grid.crs), transform=grid.transform, height=grid.height, width=grid.width,
            resampling=Resampling.bilinear,
        ) as warped,
    ):  # fmt: skip
        bands = shown(names if len(names) == dataset.count else names_in(dataset))
        values = warped.read([band + 1 for band in bands]).astype(np.float64)
    return on_screen(values)


def names_in(dataset: Any) -> list[str]:
    """What a file calls its bands: by a description, else by a colour."""
    described = zip(dataset.descriptions, dataset.colorinterp, strict=True)
    return [text or meant.name for text, meant in described if meant != ColorInterp.alpha]


def on_screen(values: NDArray[np.floating[Any]]) -> Bytes:
    """Red, green and blue (band, row, col) spread over what a screen can show."""
    low, high = np.nanpercentile(values, SHOWN_PERCENTILES)
    spread = (values - low) / max(high - low, 1e-9)
    levels = np.rint(np.nan_to_num(spread).clip(0, 1) * 255).astype(np.uint8)
    return np.asarray(levels.transpose(1, 2, 0))
