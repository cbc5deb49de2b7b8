"""`geoseg vectorize`: building footprints from a mask or a probability."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, print_result, wrap_resuming_command
from geoseg.cli.options import FOOTPRINT_FILE, add_out_option, take_options
from geoseg.workflows.options import VectorizeOptions


@click.command("vectorize", cls=GroupedCommand)
@click.argument("mask")
@add_out_option(f"{FOOTPRINT_FILE}.")
@wrap_resuming_command(lambda given: bool(given["dask"] or given["shard"]))
@take_options(VectorizeOptions)
def command(*, mask: str, out: Path, as_json: bool, options: VectorizeOptions) -> None:
    """Turn MASK into building footprints with true areas.

    MASK is any raster that GDAL reads: 0 is background, other values are classes; 255 is unknown where the file says
    so, else 0 and 255 are a plain black and white mask. Memory depends on the width of the raster, hardly on its height,
    and the file is the same, byte for byte, for any --strip and --workers.

    \b
    Examples:
      geoseg vectorize mask.tif --out buildings.gpkg
      geoseg vectorize mask.tif --probability probability.tif --regions wards.gpkg --out buildings.gpkg
      geoseg vectorize probability.tif --threshold 0.4 --split touching --out buildings.fgb
    """
    from geoseg.workflows.vectorize import vectorize, vectorize_share

    result = vectorize(mask, out, options) if options.shard is None else vectorize_share(mask, out, options)
    print_result(result.summary, as_json, str(result))
