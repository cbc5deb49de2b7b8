"""Windows of scenes as pictures: image, truth, predictions and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoseg.evaluation.counting import TileCounts, TileGrid
from geoseg.evaluation.inputs.maps import ClassMap, Comparison, EvaluationPair
from geoseg.raster.bands import find_rgb_bands
from geoseg.raster.display import stretch_values
from geoseg.raster.grid import Grid, Window
from geoseg.raster.palette import ClassEntry
from geoseg.raster.source import make_rasterio_crs, open_raster, read_band_names
from geoseg.scores.confusion import Confusion, Floats
from geoseg.scores.pictures import (
    Bytes,
    ComparisonPanels,
    color_classes,
    color_errors,
    score_tiles,
)

WINDOW_SIDE = 512


def make_example_panels(comparison: Comparison, counts: TileCounts) -> Iterator[ComparisonPanels]:
    """Two windows that show what to expect: one as good as half of all tiles, and one of the worst tenth."""
    scores = score_tiles(counts.confusion)
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return
    ranked = known[np.argsort(scores[known], kind="stable")]
    chosen = {"typical": ranked[len(ranked) // 2], "poor": ranked[len(ranked) // 10]}
    for tile, kind in dict(zip(chosen.values(), chosen, strict=True)).items():
        pair, window = locate_tile(int(tile), comparison.pairs)
        yield make_panels(f"{kind} (mean IoU {scores[tile]:.2f})", pair, window, comparison.classes)


def find_contested_tile(confusions: Sequence[Confusion]) -> tuple[int, Floats] | None:
    """The tile whose mean IoU differs most between predictions, and those IoU; none where nothing is to be found."""
    scores = np.stack([score_tiles(confusion) for confusion in confusions])
    spread = np.where(np.isnan(scores).any(axis=0), -1.0, np.ptp(scores, axis=0))
    tile = int(np.argmax(spread))
    return (tile, scores[:, tile]) if spread[tile] >= 0 else None


def locate_tile(tile: int, pairs: Sequence[EvaluationPair]) -> tuple[EvaluationPair, Window]:
    """Which scene a tile is of, and a window around its middle."""
    for pair in pairs:
        tiles = TileGrid(*pair.grid.shape)
        if tile < tiles.number:
            row, col = divmod(tile, tiles.across)
            return pair, center_window((row + 0.5) * tiles.side, (col + 0.5) * tiles.side, pair.grid)
        tile -= tiles.number
    raise AssertionError("every tile is of a scene")


def center_window(row: float, col: float, grid: Grid) -> Window:
    """A window of the grid, as near around a pixel as its edges let it."""
    height, width = min(WINDOW_SIDE, grid.height), min(WINDOW_SIDE, grid.width)
    top = min(max(0, int(row) - height // 2), grid.height - height)
    left = min(max(0, int(col) - width // 2), grid.width - width)
    return Window(top, left, height, width)


def make_panels(
    title: str, pair: EvaluationPair, window: Window, classes: Sequence[ClassEntry]
) -> ComparisonPanels:
    """A window of a pair in pictures."""
    truth, predicted = read_classes(pair.truth, window), read_classes(pair.predicted, window)
    image = read_photo(pair.image, pair.grid.window(window), pair.bands) if pair.image else None
    return ComparisonPanels(
        title,
        image,
        color_classes(truth, classes),
        color_classes(predicted, classes),
        color_errors(truth, predicted, classes),
    )


def read_classes(class_map: ClassMap, window: Window) -> Bytes:
    rows, cols = window.slices
    return class_map.read(rows).classes[:, cols]


def read_photo(path: str, grid: Grid, names: Sequence[str] = ()) -> Bytes:
    """An image on a grid in red, green and blue, its values spread over what a screen can show.

    `names` are those of its bands, where they are known better than the file tells them.
    """
    with (
        open_raster(path, path) as dataset,
        WarpedVRT(
            dataset, crs=make_rasterio_crs(grid.crs), transform=grid.transform, height=grid.height, width=grid.width,
            resampling=Resampling.bilinear,
        ) as warped,
    ):  # fmt: skip
        bands = find_rgb_bands(names if len(names) == dataset.count else read_band_names(dataset))
        values = warped.read([band + 1 for band in bands]).astype(np.float64)
    return stretch_values(values)
