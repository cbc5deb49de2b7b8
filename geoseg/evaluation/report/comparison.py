"""Several predictions of one truth on one page: scores, paired differences, curves, places, and where they differ most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, isnan
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from geoseg.evaluation.inputs.maps import Comparison
from geoseg.evaluation.measures import Measures, ScoreEstimate
from geoseg.evaluation.report.charts import INK, PALE_INK, SMALL, TINY, draw_interval, draw_legend, tidy_axes
from geoseg.evaluation.report.panels import find_contested_tile, locate_tile, make_panels
from geoseg.evaluation.report.tables import (
    COLUMNS,
    MOST_ROWS,
    ScoreColumn,
    cut_name,
    shorten_names,
)
from geoseg.evaluation.results import Difference, EvaluationResult
from geoseg.progress import format_count
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Floats
from geoseg.scores.pictures import Bytes

SCORES = (
    "iou", "boundary_iou", "footprint_f1", "pq", "ap50", "boundary_f1_100cm",
    "c_iou", "polis_m", "max_tangent_deg", "n_ratio", "count_error", "area_error",
)  # fmt: skip
"""A small chart each, in rows of six."""
DIFFERENCES = ("iou", "boundary_iou", "footprint_f1", "pq", "ap50", "boundary_f1_100cm", "c_iou")
"""Scores from 0 to 1, whose differences share an axis."""
PLACE_SCORES = ("iou", "footprint_f1")
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Bright colours that colour-blind people can tell apart (Paul Tol)."""
TitledPicture = tuple[str, Bytes]

CHARTS_ALONG = PICTURES_ALONG = 6
PAGE_INCHES, PICTURE_INCHES, TITLE_INCHES = 16.0, 2.9, 0.6
LONGEST_LABEL = 22
ROW_LETTERS = 18
"""A row's name that is longer goes on in a second line: beginnings of classes are often alike."""
LARGEST_ERROR, LARGEST_RATIO = 1.0, 2.0
"""Charts of errors and of ratios end here, so that one wild prediction does not hide the others."""


def draw_comparison(result: EvaluationResult, pictures: Sequence[TitledPicture] = ()) -> Figure:
    """The page of several predictions, with some pictures at its foot."""
    page = ComparisonPage(result)
    heights = [page.charts_inches, page.middle_inches, PICTURE_INCHES * ceil(len(pictures) / PICTURES_ALONG)]
    figure = Figure((PAGE_INCHES, TITLE_INCHES + sum(heights)), layout=ConstrainedLayoutEngine(wspace=0.05))
    figure.suptitle(page.title, fontsize=14, color=INK)
    filled = [height for height in heights if height]
    charts, middle, *below = figure.subfigures(len(filled), 1, height_ratios=filled, squeeze=False)[:, 0]
    charts.suptitle(page.subtitle, fontsize=9, color=PALE_INK)
    page.draw_scores(charts)
    page.draw_middle(middle)
    for rows in below:
        draw_pictures(rows, pictures)
    return figure


@dataclass(frozen=True)
class ComparisonPage:
    """Draws the parts of the page that show figures."""

    result: EvaluationResult

    @cached_property
    def names(self) -> list[str]:
        names = shorten_names([evaluation.name for evaluation in self.result.evaluations])
        return [cut_name(name, LONGEST_LABEL) for name in names]

    @cached_property
    def colors(self) -> list[Any]:
        """A colour for each prediction."""
        count = len(self.names)
        return list(COLORS[:count]) if count <= len(COLORS) else list(colormaps["tab20"](range(count)))

    @property
    def title(self) -> str:
        return f"{len(self.names)} predictions against {Path(self.result.truth).name}"

    @property
    def subtitle(self) -> str:
        draws = self.result.evaluations[0].draws
        pixels = int(self.result.evaluations[0].counts.confusion.pixels.sum())
        ground = f"{pixels / 1e6:,.2f} million pixels known to all"
        units = format_count(draws.units, draws.unit)
        whiskers = (
            f"whiskers: 95 % interval over {units}" if draws.has_intervals else f"{units}: no intervals"
        )
        return f"{ground}; {whiskers}"

    @cached_property
    def scores(self) -> list[str]:
        """The scores that any prediction has."""
        return [name for name in SCORES if any(name in e.measures.scores for e in self.result.evaluations)]

    @property
    def charts_inches(self) -> float:
        return ceil(len(self.scores) / CHARTS_ALONG) * (1.1 + 0.22 * len(self.names))

    @property
    def middle_inches(self) -> float:
        return max(3.6, 1.2 + 0.26 * len(self.rows))

    def estimate(self, measures: Measures, name: str) -> ScoreEstimate:
        """The score of the only class; of several, their mean."""
        if name not in measures.scores:
            return ScoreEstimate(*[float("nan")] * 3)
        classes = self.result.evaluations[0].classes
        return measures.estimate(name, 1) if len(classes) == 2 else measures.mean(name)

    def draw_scores(self, figure: Any) -> None:
        """A chart of bars for each score, a bar for each prediction."""
        rows = ceil(len(self.scores) / CHARTS_ALONG)
        axes = figure.subplots(rows, CHARTS_ALONG, squeeze=False).ravel()
        for at, (chart, name) in enumerate(zip(axes, self.scores, strict=False)):
            estimates = [self.estimate(evaluation.measures, name) for evaluation in self.result.evaluations]
            self._draw_bars(chart, COLUMNS[name], estimates)
            set_score_limits(chart, COLUMNS[name])
            if at % CHARTS_ALONG:
                chart.set_yticklabels([])
        for chart in axes[len(self.scores) :]:
            chart.set_axis_off()

    def _draw_bars(self, axes: Any, column: ScoreColumn, estimates: Sequence[ScoreEstimate]) -> None:
        """A bar, a whisker and at the right end the figure for each prediction."""
        tidy_axes(axes, column.title)
        axes.grid(visible=False, axis="y")
        for place, (estimate, color) in enumerate(zip(estimates, self.colors, strict=True)):
            if not isnan(estimate.value):
                axes.barh(place, estimate.value, color=color, height=0.72)
                draw_interval(axes, estimate, place)
            value = column.format(ScoreEstimate(estimate.value, float("nan"), float("nan")))
            axes.text(
                1.03, place, value, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL, color=INK
            )  # fmt: skip
        axes.set_yticks(range(len(self.names)), self.names)
        axes.set_ylim(len(self.names) - 0.4, -0.6)

    def draw_middle(self, figure: Any) -> None:
        """Differences and curves; and tables by place or class or, where there is one only, what thresholds change."""
        differences, curves, *others = figure.subplots(1, 4, width_ratios=(1.2, 1, 0.9, 0.9))
        self.draw_differences(differences)
        self.draw_curves(curves)
        if len(self.rows) > 1:
            for axes, name in zip(others, PLACE_SCORES, strict=True):
                self.draw_table(axes, name)
        else:
            self.draw_thresholds(others[0])
            self.draw_reliability(others[1])

    def draw_differences(self, axes: Any) -> None:
        """How much higher each prediction scores than its reference, with the paired interval; hollow where that holds zero."""
        names = [name for name in DIFFERENCES if name in self.scores]
        step = 0.7 / len(self.result.differences)
        tidy_axes(axes, "paired differences")
        for number, difference in enumerate(self.result.differences):
            for row, name in enumerate(names):
                estimate = self.estimate(difference.measures, name)
                if not isnan(estimate.value):
                    self._draw_difference(axes, difference, estimate, row - 0.35 + (number + 0.5) * step)
            axes.plot([], [], "o", color=self._color_of(difference), label=self._title_of(difference))
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(names)), [COLUMNS[name].title for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("hollow where the interval holds zero", fontsize=TINY, color=PALE_INK)
        axes.legend(fontsize=TINY, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)

    def _draw_difference(
        self, axes: Any, difference: Difference, estimate: ScoreEstimate, place: float
    ) -> None:
        color = self._color_of(difference)
        draw_interval(axes, estimate, place, color)
        face = color if estimate.leaves_out_zero else "white"
        axes.plot(estimate.value, place, "o", color=color, markerfacecolor=face, markersize=5, zorder=4)

    def _find(self, evaluation: object) -> int:
        return next(at for at, each in enumerate(self.result.evaluations) if each is evaluation)

    def _color_of(self, difference: Difference) -> Any:
        return self.colors[self._find(difference.one)]

    def _title_of(self, difference: Difference) -> str:
        one, other = (self.names[self._find(each)] for each in (difference.one, difference.other))
        return f"{one} minus {other}"

    def list_probabilities(self) -> Iterator[tuple[str, Any, ProbabilityCounts]]:
        """Name, colour and probabilities of the first class of each prediction that has any."""
        for evaluation, name, color in zip(self.result.evaluations, self.names, self.colors, strict=True):
            counts = evaluation.get_probability(1)
            if counts is not None:
                yield name, color, counts

    @property
    def class_name(self) -> str:
        """The class that curves are of."""
        classes = self.result.evaluations[0].classes
        return "" if len(classes) == 2 else f": {classes[1].name}"

    def draw_curves(self, axes: Any) -> None:
        """Precision and recall of pixels at every threshold, with a dot where the prediction stands."""
        tidy_axes(axes, f"precision and recall{self.class_name}")
        for _, color, counts in self.list_probabilities():
            sweep = counts.sweep()
            axes.plot(sweep.recall, sweep.precision, color=color, linewidth=1.5)
        for evaluation, color in zip(self.result.evaluations, self.colors, strict=True):
            recall, precision = (evaluation.measures.estimate(s, 1).value for s in ("recall", "precision"))
            axes.plot(recall, precision, "o", color=color, markersize=6, zorder=4, clip_on=False)
        label_unit_axes(axes, "recall of pixels", "precision of pixels")

    def draw_thresholds(self, axes: Any) -> None:
        """IoU of pixels at every threshold."""
        tidy_axes(axes, "IoU by threshold")
        for name, color, counts in self.list_probabilities():
            sweep = counts.sweep()
            axes.plot(sweep.thresholds, sweep.iou, color=color, linewidth=1.5, label=name)
        label_unit_axes(axes, "threshold", "IoU of pixels")
        draw_legend(axes)

    def draw_reliability(self, axes: Any) -> None:
        """Predicted probabilities against observed shares."""
        tidy_axes(axes, "reliability")
        axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
        for name, color, counts in self.list_probabilities():
            bins = counts.reliability()
            axes.plot(bins.predicted, bins.observed, "o-", markersize=3, color=color, label=name)
        label_unit_axes(axes, "predicted probability", "observed share")
        draw_legend(axes)

    @cached_property
    def rows(self) -> list[str]:
        """What the tables have a row for: places or, where there is one only, classes."""
        first = self.result.evaluations[0]
        places = list(first.places)
        return places[:MOST_ROWS] if len(places) > 1 else [entry.name for entry in first.classes[1:]]

    def make_table(self, name: str) -> Floats:
        """A score of each prediction (columns) at each place or of each class (rows)."""
        columns = []
        for evaluation in self.result.evaluations:
            places = evaluation.places
            if len(places) > 1:
                columns.append([self.estimate(places[place], name).value for place in self.rows])
            else:
                classes = range(1, len(evaluation.classes))
                columns.append([evaluation.measures.estimate(name, index).value for index in classes])
        return np.array(columns).T

    def draw_table(self, axes: Any, name: str) -> None:
        """A table whose cells are the darker the higher the score is; the best of a row is bold."""
        values = self.make_table(name)
        several = len(self.result.evaluations[0].places) > 1
        tidy_axes(axes, f"{COLUMNS[name].title} by {'place' if several else 'class'}")
        axes.grid(visible=False)
        axes.imshow(values, cmap="Greens", vmin=0, vmax=1.25, aspect="auto")
        axes.set_xticks(range(len(self.names)), self.names, rotation=30, ha="right", fontsize=TINY)
        axes.set_yticks(range(len(self.rows)), [fill(row, ROW_LETTERS) for row in self.rows], fontsize=TINY)
        for (row, col), value in np.ndenumerate(values):
            best = value == np.nanmax(values[row]) if not np.isnan(values[row]).all() else False
            text, weight = ("-" if isnan(value) else f"{value:.3f}"), "bold" if best else "normal"
            axes.text(col, row, text, ha="center", va="center", fontsize=SMALL, weight=weight, color=INK)


def set_score_limits(axes: Any, column: ScoreColumn) -> None:
    """How far a chart of a score reaches, and which way is better."""
    if column.is_share:
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
    elif column.higher_is_better is None:
        most, ideal = (LARGEST_ERROR, 0) if column.is_error else (LARGEST_RATIO, 1)
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -most), min(max(high, ideal), most))
        axes.axvline(ideal, color=INK, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    if column.is_error:
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    better = {True: "higher is better", False: "lower is better", None: "best at the line"}
    axes.set_xlabel(better[column.higher_is_better], fontsize=TINY, color=PALE_INK)


def label_unit_axes(axes: Any, across: str, up: str) -> None:
    """Axes that both go from 0 to 1."""
    axes.set_xlabel(across, fontsize=SMALL, color=INK)
    axes.set_ylabel(up, fontsize=SMALL, color=INK)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def make_contested_pictures(
    result: EvaluationResult, comparisons: Sequence[Comparison]
) -> Iterator[TitledPicture]:
    """The window in which predictions differ most: its image, the truth, and the errors of each."""
    found = find_contested_tile([evaluation.counts.confusion for evaluation in result.evaluations])
    if found is None:
        return
    (tile, scores), names = found, ComparisonPage(result).names
    for at, (comparison, name, score) in enumerate(zip(comparisons, names, scores, strict=True)):
        pair, window = locate_tile(tile, comparison.pairs)
        panels = make_panels("", pair, window, comparison.classes)
        if at == 0 and panels.image is not None:
            yield "where they differ most", panels.image
        if at == 0:
            yield f"truth, {pair.place}", panels.truth
        yield f"{name}: mean IoU {score:.2f}", panels.errors


def draw_pictures(figure: Any, pictures: Sequence[TitledPicture]) -> None:
    """Pictures in rows, each below its title."""
    rows = ceil(len(pictures) / PICTURES_ALONG)
    axes = figure.subplots(rows, PICTURES_ALONG, squeeze=False).ravel()
    for each in axes:
        each.set_axis_off()
    for each, (title, picture) in zip(axes, pictures, strict=False):
        each.set_title(title, fontsize=SMALL, color=INK)
        each.imshow(picture, interpolation="nearest")
    figure.supxlabel("errors: red too much, blue missed, violet mixed up", fontsize=SMALL, color=PALE_INK)
