"""`geoseg evaluate`: how good a prediction is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.console import print_result, wrap_command
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.evaluation.options import EvaluateOptions


@click.command("evaluate")
@click.argument("predicted", metavar="MODEL|MASK|FOOTPRINTS")
@click.argument("truth")
@click.option("--image", metavar="FILE", help="The image that a model predicts; shown on the page.")
@click.option("--against", metavar="MODEL|MASK|FOOTPRINTS", help="A second prediction: tells the difference.")
@click.option(
    "--probability", metavar="FILE", help="The probability of a predicted mask: tells its calibration."
)
@click.option(
    "--threshold", type=float, help="Probability from which a pixel counts.  [default: the model's]"
)
@click.option(
    "--min-area", "min_area_m2", type=float, metavar="M2", help="Leave out smaller predicted footprints."
)
@click.option("--area", metavar="FILE", help="Polygons within which the truth is complete.")
@click.option("--regions", metavar="FILE[:LAYER]|grid:1km", help="Count and measure per region.")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="Which part of a data set.  [default: validation]",
)
@click.option(
    "--place", "places", multiple=True, help="Only this place of a data set; may be given several times."
)
@click.option(
    "--gsd", "gsd_m", type=float, metavar="M", help="Pixel size, where no raster says it.  [default: 0.3]"
)
@click.option(
    "--boundary",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Width of boundaries for boundary IoU.  [default: 2 % of the diagonal, at most 14]",
)
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps, for a model.  [default: auto]")
@click.option("--page", type=click.Path(path_type=Path), help="Draw all of it onto this PNG page.")
@click.option("--overwrite", is_flag=True, help="Replace a page that is there already.")
@wrap_command
def command(
    *,
    against: str | None,
    regions: str | None,
    boundary: int | None,
    page: Path | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Tell how well a prediction agrees with TRUTH: pixels, outlines, footprints, counts, areas, probabilities.

    The prediction is a model, a mask, a probability (with --threshold) or footprints. TRUTH is a mask, footprints, or a
    data set with its dataset.toml: a model then predicts its validation images, and of other predictions there is a
    folder with one for each image, of the same name. All scores come with the interval they would vary in on other
    tiles or places.

    \b
    Examples:
      geoseg evaluate mask.tif truth.tif
      geoseg evaluate buildings.gpkg truth.geojson --area surveyed.geojson --regions wards.gpkg
      geoseg evaluate runs/my-model data/accra --page scores.png
      geoseg evaluate runs/my-model data/accra --against default --json
    """
    from geoseg.evaluation.options import EvaluateOptions
    from geoseg.evaluation.results import compare_evaluations, evaluate_comparison, open_comparisons
    from geoseg.evaluation.tables import format_difference, format_evaluation

    if page:
        from geoseg.evaluation.page import check_page_path, write_page

        check_page_path(page, overwrite)
    question = EvaluateOptions(**options)
    both = (
        [question] if against is None else [question, replace(question, predicted=against, probability=None)]
    )
    check_image_is_used(both, page)
    with open_comparisons(both) as comparisons:
        found = [
            evaluate_comparison(comparison, each, regions, boundary)
            for comparison, each in zip(comparisons, both, strict=True)
        ]
        apart = None if against is None else compare_evaluations(*found)
        if page:
            write_page(page, found[0], comparisons[0], apart)
    if apart:
        print_result(apart.summary, as_json, format_difference(apart))
    else:
        print_result(found[0].summary, as_json, format_evaluation(found[0]))


def check_image_is_used(questions: Sequence[EvaluateOptions], page: Path | None) -> None:
    """An image is there to be predicted or to be shown."""
    image = questions[0].image
    if image and not page and not any(question.runs_model for question in questions):
        raise InputError(
            f"--image {image}: neither a model nor a page would look at it; add --page scores.png"
        )
