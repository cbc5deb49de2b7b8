"""`geoseg stats`: buildings and areas per region."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_resuming_command
from geoseg.cli.options import add_out_option, take_options
from geoseg.options import REGIONS
from geoseg.workflows.options import StatsOptions


@click.command("stats", cls=GroupedCommand)
@click.argument("footprints", type=click.Path(path_type=Path))
@add_option(
    REGIONS,
    "--regions",
    required=True,
    metavar="FILE[:LAYER]|grid:1km",
    help="Polygons to count in, or squares of a grid.",
)
@add_out_option("Put the layer `regions` into this file.  [default: that of the footprints]", required=False)
@wrap_resuming_command(lambda given: bool(given["dask"] or given["workers"]))
@take_options(StatsOptions)
def command(
    *, footprints: Path, regions: str, out: Path | None, as_json: bool, options: StatsOptions
) -> None:
    """Count FOOTPRINTS per region, in true square metres.

    The table becomes the layer `regions` of the GeoPackage (a file beside it for other formats). One row per region and
    class: buildings, built area, seen area, share, sizes, confidence, expected area.

    The footprints in all files of a folder are counted together, by several workers if you like; name a file for the
    table with --out or --csv.

    \b
    Examples:
      geoseg stats buildings.gpkg --regions wards.gpkg --csv wards.csv
      geoseg stats buildings.gpkg --regions grid:1km --mask mask.tif --probability probability.tif
      geoseg stats results/ --regions wards.gpkg --csv wards.csv --workers 4
    """
    from geoseg.workflows.stats import count_regions

    target = out if footprints.is_dir() else out or footprints
    result = count_regions(footprints, regions, target, options)
    print_result(result.summary, as_json, str(result))
