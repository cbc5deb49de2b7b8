"""An evaluation on one page: windows of the scenes, scores per class, confusion, reliability and thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from geoseg.errors import InputError
from geoseg.evaluation.counting import TileCounts, TileGrid
from geoseg.evaluation.measures import ScoreEstimate
from geoseg.evaluation.results import Difference, Evaluation
from geoseg.evaluation.sides import Comparison, EvaluationPair, Side
from geoseg.evaluation.tables import format_headlines
from geoseg.io.access import check_writable
from geoseg.io.atomic import explain_write_errors, replace_files
from geoseg.raster.bands import find_rgb_bands
from geoseg.raster.grid import Grid, Window
from geoseg.raster.palette import ClassEntry
from geoseg.raster.source import make_rasterio_crs, open_raster
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import divide
from geoseg.scores.pictures import (
    INCH_PER_PANEL,
    INCH_PER_ROW,
    Bytes,
    ComparisonPanels,
    color_classes,
    color_errors,
    draw_panels,
    score_tiles,
    stretch_values,
)

WINDOW_SIDE = 512


def make_example_panels(comparison: Comparison, counted: TileCounts) -> Iterator[ComparisonPanels]:
    """Two windows that show what to expect: one as good as half of all tiles, and one of the worst tenth."""
    scores = score_tiles(counted.confusion)
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return
    ranked = known[np.argsort(scores[known], kind="stable")]
    chosen = {"typical": ranked[len(ranked) // 2], "poor": ranked[len(ranked) // 10]}
    for what, tile in dict(zip(chosen.values(), chosen, strict=True)).items():
        pair, window = locate_tile(int(what), comparison.pairs)
        yield make_panels(f"{tile} (mean IoU {scores[what]:.2f})", pair, window, comparison.classes)


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


def read_classes(side: Side, window: Window) -> Bytes:
    rows, cols = window.slices
    return side.read(rows).classes[:, cols]


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


def read_band_names(dataset: Any) -> list[str]:
    """What a file calls its bands: by a description, else by a colour."""
    described = zip(dataset.descriptions, dataset.colorinterp, strict=True)
    return [text or meant.name for text, meant in described if meant != ColorInterp.alpha]


DPI = 110


BARS = {"IoU": "iou", "Dice": "dice", "boundary IoU": "boundary_iou", "footprint F1": "footprint_f1"}
MOST_WRITTEN = 8


def check_page_path(path: Path, overwrite: bool) -> None:
    """Find every fault of the page before the work goes into it."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a page's name must end in .png")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; use `overwrite` to replace it")
    check_writable(path)


def write_page(
    path: Path, found: Evaluation, comparison: Comparison, apart: Difference | None = None
) -> None:
    """Draw an evaluation, and in words how it differs from another, and write it, whole or not at all."""
    pieces = list(make_example_panels(comparison, found.tally))
    figure = draw_page(found, pieces, list_headlines(apart) if apart else ())
    with replace_files(path) as folder, explain_write_errors(path):
        figure.savefig(folder / path.name, dpi=DPI)


def list_headlines(apart: Difference) -> list[str]:
    """How much better one is than the other."""
    one, other = (Path(each.question.predicted).name for each in (apart.one, apart.other))
    return [f"{one} minus {other}", *format_headlines(apart)]


def draw_page(found: Evaluation, pieces: Sequence[ComparisonPanels], below: Sequence[str] = ()) -> Figure:
    """The page of an evaluation, with some lines below its title."""
    rows = len(pieces) + 1
    figure = Figure(figsize=(4 * INCH_PER_PANEL, 0.5 + INCH_PER_ROW * rows), layout="constrained")
    title = f"{Path(found.question.predicted).name} against {Path(found.question.truth).name}"
    figure.suptitle("\n".join([title, *below]))
    axes = figure.subplots(rows, 4, squeeze=False)
    for row, piece in zip(axes, pieces, strict=False):
        draw_panels(row, piece)
    draw_bars(axes[-1][0], found)
    draw_confusion(axes[-1][1], found)
    draw_reliability(axes[-1][2], found)
    draw_sweep(axes[-1][3], found)
    return figure


def draw_bars(axes: Any, found: Evaluation) -> None:
    """Scores of each class with their intervals, in the class's colour."""
    labels = {label: name for label, name in BARS.items() if name in found.measures.scores}
    present = find_present_classes(found)
    for row, index in enumerate(present):
        for step, score in enumerate(labels.values()):
            estimate = found.measures.estimate(score, index)
            if not np.isnan(estimate.value):
                place = row * (len(labels) + 1) + step
                colour = found.classes[index].color
                axes.barh(place, estimate.value, color=colour, alpha=1 - 0.2 * step, height=0.9)
                axes.errorbar(
                    estimate.value, place, xerr=compute_error_bar(estimate), color="#888888", capsize=2
                )
    middles = [row * (len(labels) + 1) + (len(labels) - 1) / 2 for row in range(len(present))]
    axes.set_yticks(middles, [found.classes[index].name for index in present], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_title("from dark to pale: " + ", ".join(labels), fontsize=8)


def find_present_classes(found: Evaluation) -> list[int]:
    """Classes that truth or prediction holds."""
    total = found.tally.confusion.total()
    return np.flatnonzero(total.true + total.predicted).tolist()


def compute_error_bar(estimate: ScoreEstimate) -> Any:
    """How far an interval goes below and above its value."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    return np.nan_to_num(np.maximum([[below], [above]], 0))


def draw_confusion(axes: Any, found: Evaluation) -> None:
    """For each true class, the share taken for each class."""
    present = find_present_classes(found)
    counts = found.tally.confusion.total().counts[np.ix_(present, present)]
    shares = np.nan_to_num(divide(counts, counts.sum(axis=1, keepdims=True)))
    names = [found.classes[index].name for index in present]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("taken for", fontsize=8)
    axes.set_ylabel("is", fontsize=8)
    axes.set_title("confusion", fontsize=10)
    if len(names) <= MOST_WRITTEN:
        for (row, col), value in np.ndenumerate(shares):
            colour = "white" if value > 0.5 else "black"
            axes.text(col, row, f"{value:.1%}", ha="center", va="center", color=colour, fontsize=8)


def draw_reliability(axes: Any, found: Evaluation) -> None:
    """What was said against what came true."""
    axes.set_title("reliability", fontsize=10)
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    axes.set_xlabel("probability said", fontsize=8)
    axes.set_ylabel("share that is so", fontsize=8)
    for name, colour, counts in list_probabilities(found):
        bins = counts.reliability()
        axes.plot(bins.said, bins.came_true, marker="o", markersize=3, color=colour, label=name)
    draw_legend(axes)


def draw_sweep(axes: Any, found: Evaluation) -> None:
    """IoU at each threshold."""
    axes.set_title("IoU by threshold", fontsize=10)
    axes.set_xlabel("threshold", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for name, colour, counts in list_probabilities(found):
        sweep = counts.sweep()
        axes.plot(sweep.thresholds, sweep.iou, color=colour, label=name)
    draw_legend(axes)


def list_probabilities(found: Evaluation) -> list[tuple[str, str, ProbabilityCounts]]:
    """Name, colour and counts of each class whose probabilities are known."""
    known = found.tally.probability
    if known is None:
        return []
    tables = [ProbabilityCounts(known.counts[:, index]).total() for index in range(len(found.classes))]
    return [
        (entry.name, entry.color, table)
        for entry, table in zip(found.classes, tables, strict=True)
        if table.counts[1].any()
    ]


def draw_legend(axes: Any) -> None:
    """Names of the lines, or a word on why there are none."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "no probabilities given", ha="center", va="center", fontsize=8)
