"""`geoseg vectorize`: building footprints from a mask or a probability."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.console import print_result, wrap_command
from geoseg.cli.options import add_footprint_options, pop_footprint_options
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.raster.mask import Mask
    from geoseg.workflows.vectorize import VectorizeSummary


WORTH_PROCESSES_MPX = 100
MOST_WORKERS = 16


@click.command("vectorize")
@click.argument("mask")
@click.option(
    "--out",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="Where the footprints go: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp.",
)
@click.option(
    "--probability",
    metavar="FILE",
    help="The model's probability, pixel by pixel as the mask: gives each footprint its confidence.",
)
@click.option(
    "--threshold",
    type=float,
    help="MASK holds probabilities or heights: pixels from this value on are building.",
)
@click.option("--band", type=int, help="Which band of MASK to read, where it has several.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="VALUE=NAME",
    help="What a value of the mask is called, e.g. 2=industrial; give it once for each.  [default: 1=building]",
)
@click.option("--assume-crs", metavar="CRS", help="CRS of a mask that does not say it.")
@add_footprint_options
@click.option("--image", type=click.Path(path_type=Path), help="The image below it all in the QGIS project.")
@click.option("--overwrite", is_flag=True, help="Replace footprints that are there already.")
@click.option("--strip", "strip_rows", type=click.IntRange(1), metavar="ROWS", help="Rows read at once.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="Worker processes; 0 does all in one.  [default: as the size of the mask and the computer suggest]",
)
@wrap_command
def command(
    *,
    mask: str,
    out: Path,
    probability: str | None,
    threshold: float | None,
    band: int | None,
    classes: tuple[str, ...],
    assume_crs: str | None,
    qgis_project: Path | None,
    image: Path | None,
    overwrite: bool,
    strip_rows: int | None,
    workers: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn MASK into building footprints with true areas.

    MASK is any raster that GDAL reads: 0 is background, other values are classes; 255 is unknown where the file says
    so, else 0 and 255 are a plain black and white mask. Memory depends on the width of the raster, not on its height,
    and the file is the same, byte by byte, for any --strip and --workers.

    \b
    Examples:
      geoseg vectorize mask.tif --out buildings.gpkg
      geoseg vectorize mask.tif --probability probability.tif --regions wards.gpkg --out buildings.gpkg
      geoseg vectorize probability.tif --threshold 0.4 --split touching --out buildings.fgb
    """
    from geoseg.footprints.write.geopackage import check_replaceable
    from geoseg.footprints.write.project import QgisProject, write_project
    from geoseg.raster.mask import open_mask
    from geoseg.workflows.options import VectorizeOptions
    from geoseg.workflows.vectorize import vectorize_mask

    if qgis_project:
        check_replaceable(qgis_project, (), overwrite)
    opened = open_mask(mask, band=band, threshold=threshold, probability=probability, assume_crs=assume_crs)
    wishes = pop_footprint_options(options)
    names = parse_class_names(classes) or make_class_names(opened, wishes.get("regions"))
    summary = vectorize_mask(
        opened,
        out,
        VectorizeOptions(names=names, **wishes),
        workers=choose_workers(opened) if workers is None else workers,
        strip_rows=strip_rows,
        overwrite=overwrite,
    )
    if qgis_project:
        rasters = Path(probability) if probability else None, Path(mask)
        write_project(QgisProject(out, image, *rasters), qgis_project, overwrite)
    print_result({"out": str(out), **asdict(summary)}, as_json, format_summary(summary, out))


def parse_class_names(classes: tuple[str, ...]) -> dict[int, str]:
    """Class names from VALUE=NAME."""
    pairs = [entry.partition("=") for entry in classes]
    for entry, (value, _, name) in zip(classes, pairs, strict=True):
        if not (value.isdecimal() and 1 <= int(value) <= 254 and name.strip()):
            raise InputError(f"--class {entry}: write VALUE=NAME with a value of 1 to 254, e.g. 1=building")
    return {int(value): name.strip() for value, _, name in pairs}


def make_class_names(mask: Mask, regions: str | None) -> dict[int, str]:
    """Names for the classes of a mask whose names nobody gave; statistics need to know them beforehand."""
    from geoseg.raster.mask import find_classes

    values = find_classes(mask) if regions and mask.threshold is None else []
    return {1: "building"} | {value: f"class {value}" for value in values if value > 1}


def choose_workers(mask: Mask) -> int:
    """As many processes as there are processors, where the mask is large enough to repay their start."""
    from geoseg.parallel import count_processors

    return 0 if mask.grid.megapixels < WORTH_PROCESSES_MPX else min(count_processors(), MOST_WORKERS)


def format_summary(summary: VectorizeSummary, out: Path) -> str:
    """The outcome for people."""
    dropped = f", {summary.dropped:,} smaller ones left out" if summary.dropped else ""
    regions = f"\n{summary.regions:,} regions in the layer regions" if summary.regions is not None else ""
    return f"{out}: {summary.footprints:,} footprints, {summary.area_m2:,.1f} m²{dropped}{regions}"
