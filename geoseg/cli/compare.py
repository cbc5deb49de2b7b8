"""`geoseg compare`: what became of each building."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_command
from geoseg.cli.options import add_out_option, take_options
from geoseg.workflows.options import CompareOptions


@click.command("compare", cls=GroupedCommand)
@click.argument("a")
@click.argument("b")
@add_out_option("Write the layer `changes` here: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp.")
@wrap_command
@take_options(CompareOptions)
def command(*, a: str, b: str, out: Path, as_json: bool, options: CompareOptions) -> None:
    """Find what became of the footprints A in the footprints B: same, changed, only in A, only in B, split, merged.

    A and B are footprints of any program: of another date or model, of OpenStreetMap, Overture, Microsoft or Google.
    They are compared on common ground only. A shift of all of B against A is no change: it is estimated, reported and
    removed.

    \b
    Examples:
      geoseg compare buildings.gpkg osm.gpkg --out changes.gpkg
      geoseg compare 2024.gpkg 2026.gpkg --area mask.tif --regions wards.gpkg --csv wards.csv --out changes.gpkg
    """
    from geoseg.workflows.compare import compare_footprints

    result = compare_footprints(a, b, out, options)
    print_result(result.summary, as_json, str(result))
