"""Scores as tables for a terminal: of one prediction, or a row for each of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.evaluation.measures import Measures, ScoreEstimate
from geoseg.progress import format_count

if TYPE_CHECKING:
    from geoseg.evaluation.results import Evaluation, EvaluationResult

MOST_ROWS = 20
NAME, GAP = 18, 2
LONGEST_NAME = 32
"""Of a path, which a table shows the end of; classes, places and regions have their whole names."""
WITHOUT_CONFIDENCE = "no average precision: its footprints have no confidence to rank them by"


@dataclass(frozen=True)
class ScoreColumn:
    """A score as people read it: what it is called, how it is written, and whether a higher one is better.

    None: best is zero or, of a ratio, one.
    """

    label: str
    pattern: str = ".3f"
    higher_is_better: bool | None = True
    heading: str = ""

    @property
    def title(self) -> str:
        """What it is called where no table around it tells what it is of."""
        return self.heading or self.label

    @property
    def is_share(self) -> bool:
        """Whether it goes from 0 to 1."""
        return self.pattern == ".3f"

    @property
    def is_error(self) -> bool:
        """Whether it is a relative error."""
        return self.pattern.endswith("%")

    def format(self, estimate: ScoreEstimate, sign: str = "") -> str:
        """A score, or with a sign a difference of scores, and its interval."""
        if isnan(estimate.value):
            return "-"
        sign = sign or ("+" if self.is_error else "")
        value, low, high = (
            format(number, sign + self.pattern) for number in (estimate.value, estimate.low, estimate.high)
        )
        return value if isnan(estimate.low) else f"{value} ({low}{' ' if sign else '-'}{high})"


COLUMNS = {
    "iou": ScoreColumn("IoU"),
    "dice": ScoreColumn("Dice"),
    "precision": ScoreColumn("precision"),
    "recall": ScoreColumn("recall"),
    "boundary_iou": ScoreColumn("boundary IoU"),
    "footprint_precision": ScoreColumn("precision"),
    "footprint_recall": ScoreColumn("recall"),
    "footprint_f1": ScoreColumn("F1", heading="footprint F1"),
    "pq": ScoreColumn("PQ"),
    "sq": ScoreColumn("SQ"),
    "rq": ScoreColumn("RQ"),
    "ap": ScoreColumn("AP"),
    "ap50": ScoreColumn("AP50"),
    "ar": ScoreColumn("AR"),
    "ap_small": ScoreColumn("small, to 32² px"),
    "ap_medium": ScoreColumn("medium"),
    "ap_large": ScoreColumn("large, from 96² px"),
    "c_iou": ScoreColumn("C-IoU"),
    "n_ratio": ScoreColumn("N ratio", ".2f", None),
    "polis_m": ScoreColumn("PoLiS m", ".2f", False),
    "max_tangent_deg": ScoreColumn("tangent °", ".1f", False, heading="max tangent angle °"),
    "boundary_f1_25cm": ScoreColumn("F1 at 0.25 m", heading="boundary F1 at 0.25 m"),
    "boundary_f1_50cm": ScoreColumn("F1 at 0.5 m", heading="boundary F1 at 0.5 m"),
    "boundary_f1_100cm": ScoreColumn("F1 at 1 m", heading="boundary F1 at 1 m"),
    "count_error": ScoreColumn("count error", ".1%", None),
    "area_error": ScoreColumn("area error", ".1%", None),
    "ece": ScoreColumn("ECE", ".3f", False),
    "brier": ScoreColumn("Brier", ".3f", False),
}
BOUNDARIES = ("boundary_f1_25cm", "boundary_f1_50cm", "boundary_f1_100cm")
BLOCKS = {
    "pixels": ("iou", "dice", "precision", "recall", "boundary_iou"),
    "footprints": ("footprint_precision", "footprint_recall", "footprint_f1", "pq", "sq"),
    "by confidence": ("ap", "ap50", "ar"),
    "AP by size": ("ap_small", "ap_medium", "ap_large"),
    "outlines": ("c_iou", "n_ratio", "polis_m", "max_tangent_deg"),
    "boundaries": BOUNDARIES,
    "totals": ("count_error", "area_error", "ece", "brier"),
}
"""The tables of one prediction: a row for each class."""
COMPARED_BLOCKS = {
    "pixels": ("iou", "boundary_iou", "precision", "recall"),
    "footprints": ("footprint_f1", "pq", "ap50"),
    "outlines": ("c_iou", "n_ratio", "polis_m", "max_tangent_deg"),
    "boundaries": BOUNDARIES,
    "totals": ("count_error", "area_error", "ece", "brier"),
}
"""The tables of several: a row for each prediction."""
PLACE_SCORES = ("iou", "footprint_f1", "pq", "boundary_f1_100cm")
COMPARED_PLACE_SCORES = ("iou", "footprint_f1")

Row = tuple[str, ...]


def format_result(result: EvaluationResult) -> str:
    """All scores of one prediction, or the main scores of several beside each other."""
    return format_comparison(result) if result.differences else format_evaluation(result.evaluations[0])


def format_evaluation(evaluation: Evaluation) -> str:
    """All scores of one prediction."""
    heading = [f"{evaluation.name} against {evaluation.request.truth}", *describe_ground(evaluation)]
    heading += [] if evaluation.has_confidence else [WITHOUT_CONFIDENCE]
    pixels, *others = (format_classes(evaluation, title, names) for title, names in BLOCKS.items())
    accuracy = f"overall accuracy {COLUMNS['recall'].format(evaluation.measures.overall_accuracy)}"
    blocks = [
        heading,
        [*pixels, accuracy],
        *others,
        format_best_settings(evaluation),
        *format_places(evaluation),
        format_regions(evaluation),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def describe_ground(evaluation: Evaluation) -> list[str]:
    """On how much ground was compared, and what the brackets are."""
    pixels, draws = int(evaluation.counts.confusion.pixels.sum()), evaluation.draws
    units = format_count(draws.units, draws.unit)
    interval = (
        f"in brackets the 95 % interval over {units}"
        if draws.has_intervals
        else f"{units}: too few to tell how sure the scores are"
    )
    return [f"{pixels / 1e6:,.2f} million pixels known to both; {interval}"]


def format_classes(evaluation: Evaluation, title: str, names: Sequence[str]) -> list[str]:
    """A table with a row for each class that has such scores, and for pixels one for their mean."""
    measures = evaluation.measures
    known = measures.list_known(names)
    estimates = {
        entry.name: [measures.estimate(name, index) for name in known]
        for index, entry in enumerate(evaluation.classes)
    }
    if title == "pixels":
        estimates["mean"] = [measures.mean(name) for name in known]
    rows = [
        (label, *(COLUMNS[name].format(each) for name, each in zip(known, own, strict=True)))
        for label, own in estimates.items()
        if not all(isnan(each.value) for each in own)
    ]
    return align_rows([(title, *(COLUMNS[name].label for name in known)), *rows]) if rows else []


def format_places(evaluation: Evaluation) -> Iterator[list[str]]:
    """For each class, a table with a row for each place, where there are several."""
    places = evaluation.places
    for index, entry in enumerate(evaluation.classes[1:] if len(places) > 1 else (), start=1):
        names = evaluation.measures.list_known(PLACE_SCORES)
        rows = [
            (place, *(COLUMNS[name].format(scores.estimate(name, index)) for name in names))
            for place, scores in places.items()
        ]
        yield align_rows([(f"{entry.name}: places", *(COLUMNS[name].label for name in names)), *rows])


def format_comparison(result: EvaluationResult) -> str:
    """The main scores of several predictions, each with what it scores more than its references."""
    first = result.evaluations[0]
    names = [cut_name(name) for name in shorten_names([each.name for each in result.evaluations])]
    heading = [
        f"{len(names)} predictions against {result.truth}, each where all of them and the truth are known",
        *describe_ground(first),
        "below a prediction, how it differs from another; * where the paired interval leaves out zero",
        *(
            f"{name}: {WITHOUT_CONFIDENCE}"
            for name, each in zip(names, result.evaluations, strict=True)
            if not each.has_confidence
        ),
    ]
    blocks = [heading]
    for index, entry in enumerate(first.classes[1:], start=1):
        for title, scores in COMPARED_BLOCKS.items():
            known = [
                name for name in scores if any(name in each.measures.scores for each in result.evaluations)
            ]
            rows = list(list_compared_rows(result, names, known, index)) if known else []
            header = (f"{entry.name}: {title}", *(COLUMNS[name].label for name in known))
            blocks.append(align_rows([header, *rows]) if rows else [])
        blocks += format_compared_places(result, names, index)
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def list_compared_rows(
    result: EvaluationResult, names: Sequence[str], scores: Sequence[str], index: int
) -> Iterator[Row]:
    """A row for each prediction, and below it one for each difference to another."""
    name_of = {id(each): name for each, name in zip(result.evaluations, names, strict=True)}
    for evaluation in result.evaluations:
        yield (name_of[id(evaluation)], *format_scores(evaluation.measures, scores, index))
        for difference in result.find_differences(evaluation):
            cells = format_differences(difference.measures, scores, index)
            yield (f"  minus {name_of[id(difference.other)]}", *cells)


def format_scores(measures: Measures, names: Sequence[str], index: int) -> Iterator[str]:
    for name in names:
        yield COLUMNS[name].format(measures.estimate(name, index)) if name in measures.scores else "-"


def format_differences(measures: Measures, names: Sequence[str], index: int) -> Iterator[str]:
    """Differences of scores; those whose interval leaves out zero are marked."""
    for name in names:
        if name not in measures.scores:
            yield "-"
            continue
        estimate = measures.estimate(name, index)
        yield COLUMNS[name].format(estimate, "+") + ("*" if estimate.leaves_out_zero else "")


def format_compared_places(result: EvaluationResult, names: Sequence[str], index: int) -> Iterator[list[str]]:
    """For each main score, a table with a row for each place and a column for each prediction."""
    by_prediction = [evaluation.places for evaluation in result.evaluations]
    places = list(by_prediction[0])
    for score in COMPARED_PLACE_SCORES if len(places) > 1 else ():
        title = f"{result.evaluations[0].classes[index].name}: {COLUMNS[score].label} by place"
        rows = [
            (place, *(COLUMNS[score].format(each[place].estimate(score, index)) for each in by_prediction))
            for place in places
        ]
        yield align_rows([(title, *(cut_name(name, 24) for name in names)), *rows])


def shorten_names(paths: Sequence[str]) -> list[str]:
    """Predictions by the last parts of their paths, as many as it takes to tell them apart."""
    parts = [Path(path).parts or (path,) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


def cut_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that is not too long for a table; its end tells more than its beginning."""
    return name if len(name) <= longest else f"...{name[3 - longest :]}"


def align_rows(rows: Sequence[Row]) -> list[str]:
    """Rows in columns as wide as they need to be, the first of them to the left."""
    first = max(NAME, *(len(row[0]) for row in rows))
    widths = [max(map(len, column)) + GAP for column in zip(*(row[1:] for row in rows), strict=True)]
    return [
        f"{row[0]:{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
        for row in rows
    ]


def format_best_settings(evaluation: Evaluation) -> list[str]:
    """The threshold and the smallest area that would have been best for each class."""
    lines = []
    for entry in evaluation.summary["classes"][1:]:
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


def format_regions(evaluation: Evaluation) -> list[str]:
    """Counts and areas per region, where there are several."""
    lines: list[str] = []
    for name, errors in evaluation.regions.items():
        rows = errors.rows
        if len(rows) > 1:
            first = max(NAME, len(name), *(len(row["region"]) for row in rows[:MOST_ROWS]))
            lines.append(
                f"{name:{first}}{'predicted':>12}{'true':>12}{'error':>9}{'m²':>14}{'true m²':>14}{'error':>9}"
            )
            lines += [
                f"{row['region']:{first}}{row['predicted']:12,}{row['true']:12,}{format_error(row['count_error'])}"
                f"{row['predicted_m2']:14,.0f}{row['true_m2']:14,.0f}{format_error(row['area_error'])}"
                for row in rows[:MOST_ROWS]
            ]
            lines += [f"... and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    return lines


def format_error(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:+9.1%}"
