"""`geoseg evaluate`: how good predictions are."""

from __future__ import annotations

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_command
from geoseg.cli.options import take_options
from geoseg.evaluation.options import EvaluateOptions


@click.command("evaluate", cls=GroupedCommand)
@click.argument("predictions", metavar="PREDICTION...", nargs=-1, required=True)
@click.argument("truth")
@wrap_command
@take_options(EvaluateOptions)
def command(*, predictions: tuple[str, ...], truth: str, as_json: bool, options: EvaluateOptions) -> None:
    """Measure how well predictions agree with TRUTH: pixels, outlines, footprints, counts, areas, probabilities.

    A PREDICTION is a model (a training run, a built-in name), a mask, a probability (with --threshold) or footprints. TRUTH is
    a mask, footprints, or a data set (dataset.toml): a model then predicts its validation images. Other predictions of a
    data set are a folder with a file for each image, of the same name.

    Several predictions stand in one table, and each is compared with the first, or with those that --against names. Scores
    have a 95 % interval: how much they would vary on other tiles or places.

    \b
    Examples:
      geoseg evaluate mask.tif truth.tif
      geoseg evaluate buildings.gpkg truth.geojson --area surveyed.geojson --regions wards.gpkg
      geoseg evaluate runs/my-model data/accra --page scores.png
      geoseg evaluate default runs/a runs/b data/accra --page comparison.png
      geoseg evaluate runs/a data/accra --against default --against runs/b --json
    """
    from geoseg.evaluation.run import evaluate_predictions

    result = evaluate_predictions(predictions, truth, options)
    print_result(result.summary, as_json, str(result))
