"""An evaluation on one page: pieces of the scenes, scores per class, confusion, reliability and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from geoseg.errors import InputError
from geoseg.footprints.files.replacing import plain_errors, replacing
from geoseg.learn.evaluation.evaluate import Difference, Evaluation
from geoseg.learn.evaluation.measures import Estimate
from geoseg.learn.evaluation.pieces import Piece, telling_pieces
from geoseg.learn.evaluation.question import Comparison
from geoseg.learn.evaluation.tables import headlines
from geoseg.learn.scores.calibrate import ProbabilityCounts
from geoseg.learn.scores.confusion import ratio
from geoseg.writable import check_writable

DPI = 110
INCH_PER_PIECE, INCH_PER_ROW = 3.6, 4.2
BARS = {"IoU": "iou", "Dice": "dice", "boundary IoU": "boundary_iou", "footprint F1": "footprint_f1"}
MOST_WRITTEN = 8


def refuse_page(path: Path, overwrite: bool) -> None:
    """Find every fault of the page before the work goes into it."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a page's name must end in .png")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; use --overwrite to replace it")
    check_writable(path)


def write_page(
    path: Path, found: Evaluation, comparison: Comparison, apart: Difference | None = None
) -> None:
    """Draw an evaluation, and in words how it differs from another, and write it, whole or not at all."""
    pieces = list(telling_pieces(comparison, found.tally))
    figure = drawn(found, pieces, headlines_of(apart) if apart else ())
    with replacing(path) as folder, plain_errors(path):
        figure.savefig(folder / path.name, dpi=DPI)


def headlines_of(apart: Difference) -> list[str]:
    """How much better one is than the other."""
    one, other = (Path(each.question.predicted).name for each in (apart.one, apart.other))
    return [f"{one} minus {other}", *headlines(apart)]


def drawn(found: Evaluation, pieces: Sequence[Piece], below: Sequence[str] = ()) -> Figure:
    """The page of an evaluation, with some lines below its title."""
    rows = len(pieces) + 1
    figure = Figure(figsize=(4 * INCH_PER_PIECE, 0.5 + INCH_PER_ROW * rows), layout="constrained")
    title = f"{Path(found.question.predicted).name} against {Path(found.question.truth).name}"
    figure.suptitle("\n".join([title, *below]))
    axes = figure.subplots(rows, 4, squeeze=False)
    for row, piece in zip(axes, pieces, strict=False):
        draw_piece(row, piece)
    draw_bars(axes[-1][0], found)
    draw_confusion(axes[-1][1], found)
    draw_reliability(axes[-1][2], found)
    draw_sweep(axes[-1][3], found)
    return figure


def draw_piece(row: Sequence[Any], piece: Piece) -> None:
    """Image, truth, prediction and errors side by side."""
    pictures = {
        piece.title: piece.image,
        "truth": piece.truth,
        "prediction": piece.predicted,
        "red: too much, blue: missed, violet: mixed up": piece.errors,
    }
    for axes, (title, picture) in zip(row, pictures.items(), strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
        if picture is not None:
            axes.imshow(picture, interpolation="nearest")


def draw_bars(axes: Any, found: Evaluation) -> None:
    """Scores of each class with their intervals, in the class's colour."""
    labels = {label: name for label, name in BARS.items() if name in found.measures.scores}
    present = present_classes(found)
    for row, index in enumerate(present):
        for step, score in enumerate(labels.values()):
            estimate = found.measures.estimate(score, index)
            if not np.isnan(estimate.value):
                place = row * (len(labels) + 1) + step
                colour = found.classes[index].color
                axes.barh(place, estimate.value, color=colour, alpha=1 - 0.2 * step, height=0.9)
                axes.errorbar(estimate.value, place, xerr=reach(estimate), color="#888888", capsize=2)
    middles = [row * (len(labels) + 1) + (len(labels) - 1) / 2 for row in range(len(present))]
    axes.set_yticks(middles, [found.classes[index].name for index in present], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_title("from dark to pale: " + ", ".join(labels), fontsize=8)


def present_classes(found: Evaluation) -> list[int]:
    """Classes that truth or prediction holds."""
    total = found.tally.confusion.total()
    return np.flatnonzero(total.true + total.predicted).tolist()


def reach(estimate: Estimate) -> Any:
    """How far an interval goes below and above its value."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    return np.nan_to_num(np.maximum([[below], [above]], 0))


def draw_confusion(axes: Any, found: Evaluation) -> None:
    """For each true class, the share taken for each class."""
    present = present_classes(found)
    counts = found.tally.confusion.total().counts[np.ix_(present, present)]
    shares = np.nan_to_num(ratio(counts, counts.sum(axis=1, keepdims=True)))
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
    for name, colour, counts in probabilities(found):
        bins = counts.reliability()
        axes.plot(bins.said, bins.came_true, marker="o", markersize=3, color=colour, label=name)
    legend(axes)


def draw_sweep(axes: Any, found: Evaluation) -> None:
    """IoU at each threshold."""
    axes.set_title("IoU by threshold", fontsize=10)
    axes.set_xlabel("threshold", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for name, colour, counts in probabilities(found):
        sweep = counts.sweep()
        axes.plot(sweep.thresholds, sweep.iou, color=colour, label=name)
    legend(axes)


def probabilities(found: Evaluation) -> list[tuple[str, str, ProbabilityCounts]]:
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


def legend(axes: Any) -> None:
    """Names of the lines, or a word on why there are none."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "no probabilities given", ha="center", va="center", fontsize=8)
