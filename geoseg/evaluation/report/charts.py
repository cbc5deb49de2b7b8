"""Charts of scores with their intervals, confusion, reliability and thresholds, for the pages of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from geoseg.evaluation.measures import ScoreEstimate
from geoseg.evaluation.results import Evaluation
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import divide

BARS = {
    "IoU": "iou", "boundary IoU": "boundary_iou", "F1": "footprint_f1", "PQ": "pq", "boundary F1 at 1 m": "boundary_f1_100cm",
}  # fmt: skip
PALEST = 0.25
MOST_WRITTEN = 8
INK, PALE_INK, GRID, WHISKER = "#333333", "#777777", "#dddddd", "#555555"
SMALL, TINY = 8, 7


def tidy_axes(axes: Any, title: str = "") -> None:
    """Leave what tells something: no frame, a pale grid behind the marks."""
    axes.set_title(title, fontsize=10, color=INK)
    axes.tick_params(labelsize=SMALL, length=0, colors=INK)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_class_bars(axes: Any, evaluation: Evaluation) -> None:
    """Scores of each class but the background with their intervals, in the class's colour."""
    labels = {label: name for label, name in BARS.items() if name in evaluation.measures.scores}
    present = [index for index in find_present_classes(evaluation) if index > 0]
    for row, index in enumerate(present):
        for step, name in enumerate(labels.values()):
            estimate = evaluation.measures.estimate(name, index)
            if not np.isnan(estimate.value):
                place, shade = row * (len(labels) + 1) + step, 1 - (1 - PALEST) * step / len(labels)
                axes.barh(
                    place, estimate.value, color=evaluation.classes[index].color, alpha=shade, height=0.9
                )
                draw_interval(axes, estimate, place)
    middles = [row * (len(labels) + 1) + (len(labels) - 1) / 2 for row in range(len(present))]
    tidy_axes(axes, "scores")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(middles, [evaluation.classes[index].name for index in present])
    axes.set_xlabel("from dark to pale: " + ", ".join(labels), fontsize=TINY)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)


def draw_interval(axes: Any, estimate: ScoreEstimate, place: float, color: str = WHISKER) -> None:
    """The interval of a score as a whisker."""
    axes.errorbar(
        estimate.value, place, xerr=compute_error_bar(estimate), color=color, capsize=2, linewidth=1, zorder=3
    )


def find_present_classes(evaluation: Evaluation) -> list[int]:
    """Classes that truth or prediction holds."""
    total = evaluation.counts.confusion.total()
    return np.flatnonzero(total.true + total.predicted).tolist()


def compute_error_bar(estimate: ScoreEstimate) -> Any:
    """How far an interval goes below and above its value."""
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    return np.nan_to_num(np.maximum([[below], [above]], 0))


def draw_confusion(axes: Any, evaluation: Evaluation) -> None:
    """For each true class, the share taken for each class."""
    present = find_present_classes(evaluation)
    counts = evaluation.counts.confusion.total().counts[np.ix_(present, present)]
    shares = np.nan_to_num(divide(counts, counts.sum(axis=1, keepdims=True)))
    names = [evaluation.classes[index].name for index in present]
    tidy_axes(axes, "confusion")
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=TINY)
    axes.set_yticks(range(len(names)), names, fontsize=TINY)
    axes.set_xlabel("predicted", fontsize=SMALL)
    axes.set_ylabel("true", fontsize=SMALL)
    if len(names) <= MOST_WRITTEN:
        for (row, col), value in np.ndenumerate(shares):
            color = "white" if value > 0.5 else INK
            axes.text(col, row, f"{value:.1%}", ha="center", va="center", color=color, fontsize=SMALL)


def draw_reliability(axes: Any, evaluation: Evaluation) -> None:
    """Predicted probabilities against observed shares."""
    tidy_axes(axes, "reliability")
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    axes.set_xlabel("predicted probability", fontsize=SMALL)
    axes.set_ylabel("observed share", fontsize=SMALL)
    for name, color, counts in list_probabilities(evaluation):
        bins = counts.reliability()
        axes.plot(bins.predicted, bins.observed, marker="o", markersize=3, color=color, label=name)
    draw_legend(axes)


def draw_sweep(axes: Any, evaluation: Evaluation) -> None:
    """IoU at each threshold."""
    tidy_axes(axes, "IoU by threshold")
    axes.set_xlabel("threshold", fontsize=SMALL)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for name, color, counts in list_probabilities(evaluation):
        sweep = counts.sweep()
        axes.plot(sweep.thresholds, sweep.iou, color=color, label=name)
    draw_legend(axes)


def list_probabilities(evaluation: Evaluation) -> Iterator[tuple[str, str, ProbabilityCounts]]:
    """Name, colour and counts of each class whose probabilities are known."""
    for index, entry in enumerate(evaluation.classes):
        counts = evaluation.get_probability(index)
        if counts is not None:
            yield entry.name, entry.color, counts


def draw_legend(axes: Any) -> None:
    """Names of the lines, or a word on why there are none."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=TINY, frameon=False)
    else:
        axes.text(0.5, 0.5, "no probabilities given", ha="center", va="center", fontsize=SMALL)
