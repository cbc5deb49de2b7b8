"""`geoseg evaluate`: how good a prediction is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from geoseg.cli import console
from geoseg.narrator import Narrator


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
    default="validation",
    show_default=True,
    help="Which part of a data set.",
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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
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
        from geoseg.learn.evaluation.page import refuse_page

        refuse_page(page, overwrite)
    question = Question(**options)
    with evaluate.opened(question, narrator) as comparison:
        found = evaluate.evaluate(comparison, question, regions, boundary, narrator)
        if page:
            from geoseg.learn.evaluation.page import write_page

            write_page(page, found, comparison)
    if against is None:
        console.result(found.summary, as_json, tables.evaluation_text(found))
        return
    question = replace(question, predicted=against, probability=None)
    with evaluate.opened(question, narrator) as comparison:
        other = evaluate.evaluate(comparison, question, regions, boundary, narrator)
    apart = evaluate.difference(found, other)
    console.result(apart.summary, as_json, tables.difference_text(apart))
