"""`geoseg infer`: a scene becomes a class raster, probabilities and building polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli.console import print_result, wrap_command
from geoseg.cli.options import add_footprint_options, pop_footprint_options


@click.command("infer")
@click.argument("scene", nargs=-1, required=True)
@click.option(
    "--out",
    "-o",
    "footprints",
    type=click.Path(path_type=Path),
    help="Write building footprints here: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp.",
)
@click.option(
    "--mask", type=click.Path(path_type=Path), help="Write the class of each pixel to this GeoTIFF."
)
@click.option("--probability", type=click.Path(path_type=Path), help="Write probabilities to this GeoTIFF.")
@click.option(
    "--all-outputs",
    type=click.Path(path_type=Path),
    help="Write every output of the model to this GeoTIFF: probabilities, then boundary and distance where it has them.",
)
@click.option(
    "--model", default="default", show_default=True, help="Built-in name, folder, .onnx file or hub name."
)
@click.option("--bands", help="Bands in the model's order, by number or name, e.g. 4,3,2.")
@click.option(
    "--gsd", default="auto", show_default=True, help="Pixel size to work at: auto, native or metres."
)
@click.option("--patch", type=int, help="Side of a patch in pixels. [default: the model's]")
@click.option(
    "--overlap", type=int, help="Pixels that neighbouring patches share. [default: an eighth of a patch]"
)
@click.option("--threshold", type=float, help="Probability from which a pixel counts. [default: the model's]")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:1, mps, or several: cuda:0,cuda:1.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "openvino", "onnx"]),
    default="auto",
    show_default=True,
    help="What runs the network.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; auto takes the fastest that leaves the answers as they are.",
)
@click.option("--batch", type=int, help="Patches at a time. [default: as many as the device holds]")
@click.option(
    "--tta",
    type=click.Choice(["none", "flips", "d4"]),
    default="none",
    show_default=True,
    help="Average over mirrored and turned views: 4 or 8 times slower, a little better.",
)
@click.option("--assume-crs", help="CRS of a scene that does not say, e.g. EPSG:32633.")
@click.option(
    "--on-read-error",
    type=click.Choice(["stop", "nodata"]),
    default="stop",
    show_default=True,
    help="What to do about damaged parts of a scene.",
)
@add_footprint_options
@click.option("--dry-run", is_flag=True, help="Tell the plan, memory, disk and time, and stop.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@wrap_command
def command(
    *,
    scene: tuple[str, ...],
    footprints: Path | None,
    mask: Path | None,
    probability: Path | None,
    all_outputs: Path | None,
    qgis_project: Path | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the buildings of SCENE and write them as footprints with true areas, and as rasters.

    SCENE is a GeoTIFF or anything else GDAL reads, also inside a zip or on the web. Several files, or a folder of
    GeoTIFFs, are read as one scene; where they overlap, the first wins.

    A run that was stopped goes on where it was when the same command is given again.

    \b
    Examples:
      geoseg infer scene.tif --out buildings.gpkg
      geoseg infer tiles/ --mask mask.tif --probability probability.tif
      geoseg infer sentinel.tif --bands B4,B3,B2,B8 --model sentinel2-builtup --mask built.tif
    """
    from geoseg.cli.main import return_large_buffers
    from geoseg.inference.job import InferOptions
    from geoseg.workflows.infer import InferOutputs, estimate_infer, infer

    return_large_buffers()

    outputs = InferOutputs(footprints, mask, probability, qgis_project, overwrite, all_outputs)
    recipe = pop_footprint_options(options)
    wishes = InferOptions(**options)
    if dry_run:
        needed = estimate_infer(scene, outputs, wishes)
        print_result(needed.summary, as_json, str(needed))
    else:
        done = infer(scene, outputs, wishes, recipe)
        print_result(done.summary, as_json, str(done))
