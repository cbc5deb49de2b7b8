"""`geoseg runs`: what a folder of training runs holds."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_command
from geoseg.options import OUTPUTS


@click.command("runs", cls=GroupedCommand)
@click.argument("folder", type=click.Path(path_type=Path))
@add_option(
    OUTPUTS,
    "--curves",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw loss and validation IoU of all runs over each other.",
)
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Replace a picture that exists.")
@wrap_command
def command(*, folder: Path, curves: Path | None, overwrite: bool, as_json: bool) -> None:
    """List all training runs below FOLDER, the best first: IoU, Dice, time, places, and the settings that differ.

    IoU and Dice are the best that were measured during training. A run that has not finished shows how far it is.

    \b
    Examples:
      geoseg runs runs/
      geoseg runs runs/ --curves curves.png
    """
    from geoseg.io.access import Output, check_outputs
    from geoseg.training.runs import draw_runs, find_runs, format_runs, summarize_runs

    if curves:
        check_outputs([Output("a picture", curves, (".png",), overwrite)], [])
    runs = find_runs(folder)
    if curves:
        draw_runs(runs, curves)
    print_result(summarize_runs(runs), as_json, format_runs(runs))
