"""`geoseg demo-scene`: draw an aerial photograph of a made-up place, with the exact truth about its buildings."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_command
from geoseg.errors import InputError
from geoseg.options import OUTPUTS


@click.command("demo-scene", cls=GroupedCommand)
@click.argument("out", type=click.Path(path_type=Path))
@add_option(
    OUTPUTS,
    "--size",
    default="1024",
    show_default=True,
    help="Pixels: WIDTHxHEIGHT, or one number for a square.",
)
@add_option(
    OUTPUTS,
    "--seed",
    default=0,
    show_default=True,
    help="Which place to draw: its streets, its houses, its light.",
)
@add_option(OUTPUTS, "--gsd", "gsd_m", default=0.3, show_default=True, help="Metres on the ground per pixel.")
@add_option(
    OUTPUTS,
    "--truth",
    type=click.Path(path_type=Path),
    help="The file for the outlines of the buildings.  [default: OUT.truth.gpkg]",
)
@wrap_command
def command(*, out: Path, size: str, seed: int, gsd_m: float, truth: Path | None, as_json: bool) -> None:
    """Draw OUT.tif, an aerial photograph of a made-up place, and the truth about its buildings.

    The same seed and size give the same bytes, and a larger scene of the same seed holds the smaller one in its
    upper left corner.

    \b
    Examples:
      geoseg demo-scene town.tif
      geoseg demo-scene large.tif --size 4000x3000 --seed 7 --gsd 0.5 --truth houses.gpkg
    """
    width, height = parse_size(size)
    from geoseg.synthetic.landscape import Layout
    from geoseg.synthetic.scene import SyntheticScene, write_scene

    truth = truth or out.with_suffix(".truth.gpkg")
    count = write_scene(SyntheticScene(Layout(seed, gsd_m), height, width), out, truth)
    summary = {"scene": str(out), "truth": str(truth), "width": width, "height": height, "buildings": count}
    print_result(summary, as_json, f"{out}: {width} x {height} pixels\n{truth}: {count} buildings")


def parse_size(size: str) -> tuple[int, int]:
    """Width and height from WIDTHxHEIGHT or one number."""
    parts = size.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--size {size} is not a size; write WIDTHxHEIGHT such as 2048x1024, or one number")
    return int(parts[0]), int(parts[-1])
