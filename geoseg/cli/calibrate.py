"""`geoseg calibrate`: a model's probabilities brought to come true in a region."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_command
from geoseg.errors import explain_missing_torch
from geoseg.options import INPUTS, OUTPUTS


@click.command("calibrate", cls=GroupedCommand)
@click.argument("model")
@add_option(
    INPUTS,
    "--samples",
    type=click.Path(path_type=Path),
    required=True,
    help="Answered points of `geoseg sample --probability`; the probability must be this model's.",
)
@add_option(
    OUTPUTS,
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of the new model.",
)
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Replace a model that is there.")
@wrap_command
def command(*, model: str, samples: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Write MODEL anew for a region: with probabilities that come true at sample points there.

    Confidence and expected area follow. What the model finds stays the same: its threshold moves along. The new card says how
    far probabilities were from coming true at the points, and how far they are now on points left out.

    \b
    Examples:
      geoseg calibrate runs/roofs --samples points.gpkg --out runs/roofs-here
      geoseg calibrate default --samples accra.gpkg --out models/default-accra --overwrite
    """
    with explain_missing_torch("calibrating"):
        from geoseg.evaluation.calibrate import calibrate_model

    result = calibrate_model(model, samples, out, overwrite)
    print_result(result.summary, as_json, str(result))
