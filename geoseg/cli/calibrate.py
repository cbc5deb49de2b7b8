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
    help="Answered points of `geoseg sample --probability`; the probability must be that of this model.",
)
@add_option(
    OUTPUTS,
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of the new model.",
)
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Replace a model that exists.")
@wrap_command
def command(*, model: str, samples: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Make a copy of MODEL whose probabilities are right for a region, by sample points there.

    Confidence and expected area change with them. What the model finds stays the same, since its threshold is changed,
    too. The new card says how far the probabilities were off at the points before, and how far they are off now, measured
    on points that the change was not made from.

    \b
    Examples:
      geoseg calibrate runs/roofs --samples points.gpkg --out runs/roofs-here
      geoseg calibrate default --samples accra.gpkg --out models/default-accra --overwrite
    """
    with explain_missing_torch("calibrating"):
        from geoseg.evaluation.calibrate import calibrate_model

    result = calibrate_model(model, samples, out, overwrite)
    print_result(result.summary, as_json, str(result))
