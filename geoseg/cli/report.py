"""`geoseg report`: footprints as a page to look at."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_command
from geoseg.cli.options import add_out_option, take_options
from geoseg.reports.options import ReportOptions


@click.command("report", cls=GroupedCommand)
@click.argument("footprints", type=click.Path(path_type=Path))
@add_out_option("The page to write.", "FILE.html")
@wrap_command
@take_options(ReportOptions)
def command(*, footprints: Path, out: Path, as_json: bool, options: ReportOptions) -> None:
    """Make an HTML page about FOOTPRINTS: totals, a map, a table per region, histograms, and their origin.

    It is one HTML file that opens in any browser and loads nothing from the internet, so it can be sent and kept.

    \b
    Examples:
      geoseg report buildings.gpkg --image scene.tif --out report.html
      geoseg report buildings.gpkg --image scene.tif --probability probability.tif --title "Ward 7" --out ward7.html
    """
    from geoseg.reports.report import write_report

    write_report(footprints, out, options)
    print_result({"out": str(out)}, as_json, str(out))
