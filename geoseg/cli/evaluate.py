"""`geoseg evaluate`: how good a prediction is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli import console
from geoseg.errors import InputError
from geoseg.narrator import Narrator

if TYPE_CHECKING:
    from geoseg.learn.evaluation.question import Question


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
@console.command
def command(
    *,
    against: str | None,
    regions: str | None,
    boundary: int | None,
    page: Path | None,
    overwrite: bool,
    narrator: Narrator,
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
    from geoseg.learn.evaluation import evaluate, tables
    from geoseg.learn.evaluation.question import Question

    if page:
        from geoseg.learn.evaluation.page import refuse_page, write_page

        refuse_page(page, overwrite)
    question = Question(**options)
    both = (
        [question] if against is None else [question, replace(question, predicted=against, probability=None)]
    )
    refuse_unseen_image(both, page)
    with evaluate.opened_together(both, narrator) as comparisons:
        found = [
            evaluate.evaluate(comparison, each, regions, boundary, narrator)
            for comparison, each in zip(comparisons, both, strict=True)
        ]
        apart = None if against is None else evaluate.difference(*found)
        if page:
            write_page(page, found[0], comparisons[0], apart)
    if apart:
        console.result(apart.summary, as_json, tables.difference_text(apart))
    else:
        console.result(found[0].summary, as_json, tables.evaluation_text(found[0]))


def refuse_unseen_image(questions: Sequence[Question], page: Path | None) -> None:
    """An image is there to be predicted or to be shown."""
    image = questions[0].image
    if image and not page and not any(question.asks_a_model for question in questions):
        raise InputError(
            f"--image {image}: neither a model nor a page would look at it; add --page scores.png"
        )
