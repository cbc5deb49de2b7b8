"""An evaluation on one page: windows of the scenes, scores per class, confusion, reliability and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from geoseg.evaluation.inputs.maps import Comparison
from geoseg.evaluation.report.charts import draw_class_bars, draw_confusion, draw_reliability, draw_sweep
from geoseg.evaluation.report.comparison import draw_comparison, make_contested_pictures
from geoseg.evaluation.report.panels import make_example_panels
from geoseg.evaluation.results import Evaluation, EvaluationResult
from geoseg.io.atomic import explain_write_errors, replace_files
from geoseg.scores.pictures import INCH_PER_PANEL, INCH_PER_ROW, ComparisonPanels, draw_panels

DPI = 110


def write_page(path: Path, result: EvaluationResult, comparisons: Sequence[Comparison]) -> None:
    """Draw one evaluation, or several beside each other, and write the page, whole or not at all."""
    if result.differences:
        figure = draw_comparison(result, list(make_contested_pictures(result, comparisons)))
    else:
        evaluation = result.evaluations[0]
        figure = draw_evaluation(evaluation, list(make_example_panels(comparisons[0], evaluation.counts)))
    with replace_files(path) as folder, explain_write_errors(path):
        figure.savefig(folder / path.name, dpi=DPI)


def draw_evaluation(evaluation: Evaluation, panels: Sequence[ComparisonPanels]) -> Figure:
    """The page of one evaluation."""
    rows = len(panels) + 1
    figure = Figure(figsize=(4 * INCH_PER_PANEL, 0.5 + INCH_PER_ROW * rows), layout="constrained")
    figure.suptitle(f"{Path(evaluation.name).name} against {Path(evaluation.request.truth).name}")
    axes = figure.subplots(rows, 4, squeeze=False)
    for row, windows in zip(axes, panels, strict=False):
        draw_panels(row, windows)
    draw_class_bars(axes[-1][0], evaluation)
    draw_confusion(axes[-1][1], evaluation)
    draw_reliability(axes[-1][2], evaluation)
    draw_sweep(axes[-1][3], evaluation)
    return figure
