"""Scores as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan

from geoseg.evaluation.measures import Measures, ScoreEstimate
from geoseg.evaluation.results import Difference, Evaluation

PIXEL_COLUMNS = {
    "IoU": "iou", "Dice": "dice", "precision": "precision", "recall": "recall", "boundary IoU": "boundary_iou",
}  # fmt: skip
FOOTPRINT_COLUMNS = {
    "precision": "footprint_precision", "recall": "footprint_recall", "F1": "footprint_f1", "AP": "ap", "AR": "ar",
}  # fmt: skip
SIZE_COLUMNS = {
    "small, to 32² px": "ap_small", "medium": "ap_medium", "large, from 96² px": "ap_large",
}  # fmt: skip
ERROR_COLUMNS = {
    "count error": "count_error", "area error": "area_error", "ECE": "ece", "Brier": "brier",
}  # fmt: skip
HEADLINES = {
    "IoU": "iou", "boundary IoU": "boundary_iou", "footprint F1": "footprint_f1", "area error": "area_error",
}  # fmt: skip
MOST_REGIONS = 20
NAME, GAP = 18, 2


def format_evaluation(found: Evaluation) -> str:
    """All scores of one prediction."""
    pixels = int(found.tally.confusion.pixels.sum())
    units = f"{found.draws.units} {found.draws.unit}{'' if found.draws.units == 1 else 's'}"
    drawn = (
        f"in brackets the 95 % interval over {units}"
        if found.draws.has_intervals
        else f"{units}: too few to tell how sure the scores are"
    )
    heading = [
        f"{found.question.predicted} against {found.question.truth}",
        f"{pixels / 1e6:,.2f} million pixels known to both; {drawn}",
    ]
    names = [entry.name for entry in found.classes]
    accuracy = f"overall accuracy {format_score(found.measures.overall_accuracy)}"
    blocks = [
        heading,
        [*format_block("pixels", PIXEL_COLUMNS, found.measures, names, mean=True), accuracy],
        format_block("footprints", FOOTPRINT_COLUMNS, found.measures, names),
        format_block("AP by size", SIZE_COLUMNS, found.measures, names),
        format_block("trust", ERROR_COLUMNS, found.measures, names),
        format_best_settings(found),
        format_regions(found),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def format_difference(found: Difference) -> str:
    """Both predictions, and the difference between them."""
    names = [entry.name for entry in found.one.classes]
    title = f"{found.title}, both where each of them and the truth are known"
    blocks = [
        format_block("pixels", PIXEL_COLUMNS, found.measures, names, mean=True, kind=format_gain),
        format_block("footprints", FOOTPRINT_COLUMNS, found.measures, names, kind=format_gain),
        format_block("AP by size", SIZE_COLUMNS, found.measures, names, kind=format_gain),
        format_block("trust", ERROR_COLUMNS, found.measures, names, kind=format_gain),
    ]
    lines = "\n\n".join("\n".join(lines) for lines in blocks if lines)
    return "\n\n".join([format_evaluation(found.one), format_evaluation(found.other), title, lines])


def format_block(
    title: str,
    columns: dict[str, str],
    measures: Measures,
    names: Sequence[str],
    mean: bool = False,
    kind: Callable[[ScoreEstimate], str] | None = None,
) -> list[str]:
    """A heading and one line for each class that has such scores, in columns as wide as they need to be."""
    known = {label: name for label, name in columns.items() if name in measures.scores}
    rows = {name: [measures.estimate(score, at) for score in known.values()] for at, name in enumerate(names)}
    if mean:
        rows["mean"] = [measures.mean(score) for score in known.values()]
    kinds = [format_share if label.endswith("error") else kind or format_score for label in known]
    written = {
        name: [kind(estimate) for kind, estimate in zip(kinds, estimates, strict=True)]
        for name, estimates in rows.items()
        if not all(isnan(estimate.value) for estimate in estimates)
    }
    table = [list(known), *written.values()]
    widths = [max(map(len, column)) + GAP for column in zip(*table, strict=True)]
    return [
        f"{name:{NAME}.{NAME}}"
        + "".join(f"{text:>{width}}" for text, width in zip(cells, widths, strict=True))
        for name, cells in zip([title, *written], table, strict=True)
        if written
    ]


def format_score(estimate: ScoreEstimate) -> str:
    """A score and its interval."""
    if isnan(estimate.value):
        return "-"
    interval = "" if isnan(estimate.low) else f" ({estimate.low:.3f}-{estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"


def format_gain(estimate: ScoreEstimate) -> str:
    """A difference of scores and its interval, with signs."""
    if isnan(estimate.value):
        return "-"
    interval = "" if isnan(estimate.low) else f" ({estimate.low:+.3f} {estimate.high:+.3f})"
    return f"{estimate.value:+.3f}{interval}"


def format_share(estimate: ScoreEstimate) -> str:
    """A relative error and its interval."""
    if isnan(estimate.value):
        return "-"
    interval = "" if isnan(estimate.low) else f" ({estimate.low:+.1%} {estimate.high:+.1%})"
    return f"{estimate.value:+.1%}{interval}"


def format_best_settings(found: Evaluation) -> list[str]:
    """The threshold and the smallest area that would have been best for each class."""
    lines = []
    for entry in found.summary["classes"][1:]:
        if "best_threshold" in entry:
            best = entry["best_threshold"]
            lines.append(
                f"best threshold for {entry['name']}: {best['threshold']:.3f} (IoU {best['iou']:.3f})"
            )
        if "best_min_area" in entry:
            best = entry["best_min_area"]
            lines.append(
                f"best minimum area for {entry['name']}: {best['area_m2']:.1f} m² (F1 {best['f1']:.3f})"
            )
    return lines


def format_regions(found: Evaluation) -> list[str]:
    """Counts and areas per region, where there are several."""
    lines: list[str] = []
    for name, errors in found.regions.items():
        rows = errors.rows
        if len(rows) > 1:
            lines.append(
                f"{name:{NAME}.{NAME}}{'predicted':>12}{'true':>12}{'error':>9}{'m²':>14}{'true m²':>14}{'error':>9}"
            )
            lines += [
                f"{row['region']:{NAME}.{NAME}}{row['predicted']:12,}{row['true']:12,}{format_error(row['count_error'])}"
                f"{row['predicted_m2']:14,.0f}{row['true_m2']:14,.0f}{format_error(row['area_error'])}"
                for row in rows[:MOST_REGIONS]
            ]
            lines += [f"... and {len(rows) - MOST_REGIONS} more"] if len(rows) > MOST_REGIONS else []
    return lines


def format_headlines(found: Difference) -> list[str]:
    """The difference in what matters most, a line for each class."""
    lines = []
    for at, entry in enumerate(found.one.classes[1:], start=1):
        scores = {label: name for label, name in HEADLINES.items() if name in found.measures.scores}
        told = [
            f"{label} {(format_share if label.endswith('error') else format_gain)(found.measures.estimate(name, at))}"
            for label, name in scores.items()
        ]
        lines.append(f"{entry.name}: {', '.join(told)}")
    return lines


def format_error(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:+9.1%}"
