"""`geoseg publish`: the footprints of many scenes as one data set."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_command
from geoseg.cli.options import add_out_option, take_options
from geoseg.workflows.options import PublishOptions


@click.command("publish", cls=GroupedCommand)
@click.argument("footprints", nargs=-1, required=True)
@add_out_option(
    "Write GeoParquet here: a file, or with --partition a folder of files.", "FILE.parquet|FOLDER"
)
@wrap_command
@take_options(PublishOptions)
def command(*, footprints: tuple[str, ...], out: Path, as_json: bool, options: PublishOptions) -> None:
    """Write the FOOTPRINTS of many scenes as one data set: GeoParquet in longitude and latitude, sorted by place.

    FOOTPRINTS are files, or folders of them, as `geoseg infer scenes/ --out results/` leaves them. Where scenes overlap,
    each building is kept once. Memory hardly grows with the number of footprints.

    \b
    Examples:
      geoseg publish results/ --out country.parquet --tiles country.pmtiles
      geoseg publish results/ --partition quadkey:6 --out country
    """
    from geoseg.workflows.publish import publish_footprints

    result = publish_footprints(footprints, out, options)
    print_result(result.summary, as_json, str(result))
