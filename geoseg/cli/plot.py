"""`geoseg plot`: a picture of images, masks and polygons."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_command
from geoseg.cli.options import add_out_option, take_options
from geoseg.options import OUTPUTS
from geoseg.reports.options import PlotOptions


@click.command("plot", cls=GroupedCommand)
@click.argument("layers", nargs=-1, required=True)
@add_out_option("The picture to write: .png, .jpg, .webp, .pdf or .svg.")
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Replace a picture that exists.")
@wrap_command
@take_options(PlotOptions)
def command(
    *, layers: tuple[str, ...], out: Path, overwrite: bool, as_json: bool, options: PlotOptions
) -> None:
    """Draw LAYERS over one another into a picture, the first at the bottom.

    Layers are images, masks, probabilities, footprints and regions (FILE or FILE:LAYER). The picture shows all of the first
    raster, or a window of it, with a scale bar, north, a legend and the attribution.

    \b
    Examples:
      geoseg plot scene.tif buildings.gpkg --out picture.png
      geoseg plot scene.tif buildings.gpkg buildings.gpkg:regions --color-by area --out picture.jpg
    """
    from geoseg.reports.plot import write_plot

    write_plot(layers, out, options, overwrite)
    print_result({"out": str(out)}, as_json, str(out))
