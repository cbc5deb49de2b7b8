"""`geoseg sample`: places to look at, from which areas and numbers follow with their intervals."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_command
from geoseg.cli.options import add_out_option, take_options
from geoseg.workflows.options import SampleOptions


@click.command("sample", cls=GroupedCommand)
@click.argument("footprints", type=click.Path(path_type=Path))
@add_out_option("Write the places here: .gpkg (with a form for QGIS), or .csv for points.")
@wrap_command
@take_options(SampleOptions)
def command(*, footprints: Path, out: Path, as_json: bool, options: SampleOptions) -> None:
    """Draw places at random over a map of FOOTPRINTS, for a person to say what is there.

    Points give areas: fill in `answer` with the class that is there, `not`, or `unsure`. Squares give the number of buildings: mark every
    building in a square, then tick `done`. `geoseg stats --samples` computes error-adjusted figures from them. The places stand in
    random order: the first of them are a sample, too.

    \b
    Examples:
      geoseg sample buildings.gpkg --mask mask.tif --points 300 --out points.gpkg
      geoseg sample buildings.gpkg --mask mask.tif --probability probability.tif --half-width 10% --out points.gpkg
      geoseg sample buildings.gpkg --mask mask.tif --squares 20 --side 20 --out squares.gpkg
    """
    from geoseg.workflows.sample import draw_sample

    result = draw_sample(footprints, out, options)
    print_result(result.summary, as_json, str(result))
