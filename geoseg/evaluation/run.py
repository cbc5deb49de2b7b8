"""Evaluates predictions: opens them beside their truth, counts, scores, compares and draws."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import InputError
from geoseg.evaluation.counting import TileCounts, count_pair
from geoseg.evaluation.inputs.maps import Comparison
from geoseg.evaluation.inputs.pairing import build_comparisons
from geoseg.evaluation.inputs.requests import EvaluationRequest, make_requests
from geoseg.evaluation.measures import BootstrapDraws, compute_measures
from geoseg.evaluation.options import EvaluateOptions
from geoseg.evaluation.regions import assign_places, assign_regions, compute_region_errors
from geoseg.evaluation.results import Evaluation, EvaluationResult, compare_predictions
from geoseg.io.access import Output, check_outputs
from geoseg.io.trust import vouch_for_folder

log = logging.getLogger(__name__)

PAGE_SUFFIXES = (".png",)


def evaluate_predictions(
    predictions: Sequence[str], truth: str, options: EvaluateOptions
) -> EvaluationResult:
    """Score one or more predictions of the same truth, and draw the page that was asked for."""
    if options.page:
        page = Output("a page", options.page, PAGE_SUFFIXES, options.overwrite)
        check_outputs([page], [*predictions, *options.against, truth])
    requests = make_requests(predictions, truth, options)
    with open_comparisons(requests) as comparisons:
        evaluations = [
            evaluate_comparison(comparison, request)
            for comparison, request in zip(comparisons, requests, strict=True)
        ]
        result = compare_predictions(evaluations, len(options.against))
        if options.page:
            draw_page(result, comparisons, options.page)
    return result


@contextmanager
def open_comparisons(requests: Sequence[EvaluationRequest]) -> Iterator[tuple[Comparison, ...]]:
    """The pairs of several predictions of one truth, on the same pixels and where all of them know something.

    What was made for them vanishes when the block ends.
    """
    with (
        tempfile.TemporaryDirectory(prefix="geoseg-evaluate-") as scratch,
        vouch_for_folder(Path(scratch)),
    ):
        yield build_comparisons(requests, Path(scratch))


def evaluate_comparison(comparison: Comparison, request: EvaluationRequest) -> Evaluation:
    """Compare all pairs, and score them."""
    classes, options = comparison.classes, request.options
    counts = TileCounts.concatenate(
        [count_pair(pair, len(classes), options.boundary) for pair in comparison.pairs]
    )
    check_ground(counts, request)
    draws = BootstrapDraws.of(counts)
    assigned = (
        assign_places(counts)
        if options.regions is None
        else assign_regions(options.regions, counts, comparison)
    )
    errors = {
        entry.name: compute_region_errors(counts, index, assigned)
        for index, entry in enumerate(classes)
        if index > 0
    }
    return Evaluation(request, classes, counts, draws, compute_measures(counts, draws), errors)


def check_ground(counts: TileCounts, request: EvaluationRequest) -> None:
    """Refuse a prediction and a truth of different places; warn of a truth in which nothing is to be found."""
    total = counts.confusion.total()
    if not total.pixels:
        raise InputError(
            f"{request.predicted} and {request.truth} know no pixel in common; do they lie at the same place?"
        )
    if not total.true[1:].any():
        log.warning(
            f"{request.truth}: is background wherever both are known, so there is nothing to find; only false alarms "
            "can be counted"
        )


def draw_page(result: EvaluationResult, comparisons: Sequence[Comparison], path: Path) -> None:
    from geoseg.evaluation.report.page import write_page  # matplotlib takes a second to import

    write_page(path, result, comparisons)
