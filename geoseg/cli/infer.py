"""`geoseg infer`: a scene becomes a class raster, probabilities and building polygons."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_resuming_command
from geoseg.cli.options import FOOTPRINT_FILE, add_out_option, take_options
from geoseg.options import RESOURCES
from geoseg.workflows.options import InferOptions


@click.command("infer", cls=GroupedCommand)
@click.argument("scene", nargs=-1, required=True)
@add_out_option(
    f"{FOOTPRINT_FILE}; or for each scene into a folder.", "FILE|FOLDER/", required=False, kind=str
)
@add_option(
    RESOURCES,
    "--dry-run",
    is_flag=True,
    help="Show the plan, and how much memory, disk and time it takes, and stop.",
)
@wrap_resuming_command()
@take_options(InferOptions)
def command(
    *, scene: tuple[str, ...], out: str | None, dry_run: bool, as_json: bool, options: InferOptions
) -> None:
    """Find the buildings of SCENE and write them as footprints with true areas, and as rasters.

    SCENE is a GeoTIFF or anything else GDAL reads, also inside a zip or on the web. Several files, or a folder of
    GeoTIFFs, are read as one scene; where they overlap, the first wins. A .txt file (one scene a line) or a STAC item
    collection (.json) stands for the scenes that it names.

    If an output is a folder (one that exists, or a name that ends in /), each scene gets files of its own, and
    manifest.csv lists the result of each. Repeat the command, and only what is missing is done.

    A run that was stopped continues when the same command is given again.

    \b
    Examples:
      geoseg infer scene.tif --out buildings.gpkg
      geoseg infer tiles/ --mask mask.tif --probability probability.tif
      geoseg infer scenes/*.tif --out results/
      geoseg infer sentinel.tif --bands B4,B3,B2,B8 --model sentinel2-builtup --mask built.tif
    """
    from geoseg.cli.main import return_large_buffers
    from geoseg.workflows.estimates import estimate_scenes
    from geoseg.workflows.infer import estimate_infer, infer_scene
    from geoseg.workflows.scenes import infer_scenes, wants_folder
    from geoseg.workflows.shares import infer_share

    return_large_buffers()
    file = None if out is None else Path(out)
    if wants_folder(out, options):
        if dry_run:
            needs = estimate_scenes(scene, out, options)
            print_result(needs.summary, as_json, str(needs))
            raise SystemExit(1 if needs.summary["failed"] else 0)
        results = infer_scenes(scene, out, options)
        print_result(results.summary, as_json, str(results))
        raise SystemExit(1 if results.failed else 0)
    if dry_run:
        needed = estimate_infer(scene, file, options)
        print_result(needed.summary, as_json, str(needed))
    elif options.shard is not None:
        share = infer_share(scene, file, options)
        print_result(share.summary, as_json, str(share))
    else:
        result = infer_scene(scene, file, options)
        print_result(result.summary, as_json, str(result))
