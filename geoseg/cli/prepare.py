"""`geoseg prepare`: images and labels from elsewhere become training sets, audited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from geoseg.cli.console import (
    CommandGroup,
    GroupedCommand,
    add_option,
    print_result,
    wrap_command,
    wrap_resuming_command,
)
from geoseg.cli.options import PATH, add_out_option, take_options
from geoseg.datasets.options import KINDS, DatasetOptions
from geoseg.options import INPUTS, OUTPUTS, RESOURCES

NOWHERE = Path()
"""The source of places that are drawn."""


@click.group("prepare", cls=CommandGroup)
def command() -> None:
    """Turn images and labels of many kinds into training sets, and audit them.

    \b
    Examples:
      geoseg prepare vectors scenes --images '*.tif' --footprints osm.gpkg --out town-set
      geoseg prepare audit town-set
    """


def add_kind(kind: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a subcommand of a kind of source; the function it decorates only says what the kind is."""

    def decorate(described: Callable[..., None]) -> click.Command:
        @wrap_resuming_command()
        @take_options(KINDS[kind])
        def run(*, out: Path, as_json: bool, options: DatasetOptions, source: Path = NOWHERE) -> None:
            from geoseg.datasets.prepare import prepare_dataset

            result = prepare_dataset(source, out, options)
            print_result(result.summary, as_json, str(result))

        run = add_out_option("Folder for the data set.", "FOLDER")(run)
        if kind != "demo":
            run = click.argument("source", type=PATH)(run)
        return command.command(kind, cls=GroupedCommand, help=described.__doc__)(run)

    return decorate


@add_kind("masks")
def masks() -> None:
    """Folders of images and masks, where a mask holds a value or a colour for each class.

    Classes are numbered as --classes names them, the background first, whatever their values in the masks; values given
    to ignore, such as a 0 for undefined, take no part in training.

    \b
    Examples:
      geoseg prepare masks WHU --images 'image/*' --labels 'label/*' --gsd 0.3 --out whu
      geoseg prepare masks dubai --classes dubai --place 'tile\\d+' --gsd 0.8 --out dubai-set
      geoseg prepare masks s2 --images '*.tif' --labels '*_classes.png' --bands B4,B3,B2,B8 --gsd 10
        --classes 'vegetation=2,built-up=1,water=3,ignore=0' --out s2-set
    """


@add_kind("vectors")
def vectors() -> None:
    """Scenes with polygons of buildings, in any CRS: GeoJSON, GeoPackage, FlatGeobuf, GeoParquet, CSV and the like.

    Without patterns SOURCE is a folder of SpaceNet. One file for all, even of a whole country, is read around the
    images only; a layer of several is named as FILE:LAYER. Polygons whose class field is empty are left out. Labels are
    the polygons themselves, so that training can separate houses that stand wall to wall; --as masks writes rasters.

    \b
    Examples:
      geoseg prepare vectors town --images '*.tif' --labels '*_buildings.geojson' --out town-set
      geoseg prepare vectors scenes --images '*.tif' --footprints osm.gpkg --labelled mapped.gpkg --out osm-set
      geoseg prepare vectors scenes --images '*.tif' --footprints ghana.csv.gz --out google-set
      geoseg prepare vectors SN2_Vegas --out vegas
    """


@add_kind("coco")
def coco() -> None:
    """A COCO file, or a folder of them: polygons and run lengths, crowds, any number of categories.

    Categories become classes in the order of their numbers, later annotations lie above earlier ones, and a category
    called ignore marks ground that nobody labelled. Missing images are counted and left out.

    \b
    Examples:
      geoseg prepare coco crowdai --gsd 0.3 --out crowdai-set
      geoseg prepare coco instances.json --images photos --gsd 0.1 --limit 1000 --out small-set
    """


@add_kind("inria")
def inria() -> None:
    """The Inria Aerial Image Labeling data set, as it comes out of its archive.

    The first five images of every city validate, as in the data set's own paper; with --by-city whole cities do.

    \b
    Examples:
      geoseg prepare inria AerialImageDataset --out inria-set
      geoseg prepare inria AerialImageDataset --by-city --out inria-cities
    """


@add_kind("cvat")
def cvat() -> None:
    """What CVAT exported as "CVAT for images 1.1" or as COCO: a folder, a zip archive or annotations.xml itself.

    Polygons, boxes, ellipses and masks become pixels; the label ignore marks ground that nobody labelled.

    \b
    Examples:
      geoseg prepare cvat task_12.zip --gsd 0.2 --out corrected
      geoseg prepare cvat exported/annotations.xml --gsd 0.2 --overwrite --out corrected
    """


@add_kind("sentinel-esm")
def sentinel_esm() -> None:
    """Sentinel-2 images with ESM, GHSL, WSF or WorldCover rasters, in any CRS and resolution.

    Clouds, their shadows and snow are ignored. Images come as 10,000 x reflectance, whatever their processing baseline.

    \b
    Examples:
      geoseg prepare sentinel-esm pairs --images 's2/*.tif' --labels 'esm/*.tif' --bands B2,B3,B4,B8 --out esm-set
      geoseg prepare sentinel-esm s2 --images '*.tif' --label-tiles ESM/ --cloud SCL --bands B2,B3,B4,B8 --out esm-set
    """


@add_kind("export")
def export() -> None:
    """The folder of a geoseg export with one picture and one mask: both are cut into pieces.

    Bands, resolution, licence and attribution come from the records beside the layers. Pairs that geoseg export --pairs
    wrote are a data set already.

    \b
    Examples:
      geoseg export --bbox 15,48,15.1,48.1 --label ghsl --out vienna-west
      geoseg prepare export vienna-west --out vienna-set
    """


@add_kind("demo")
def demo() -> None:
    """Made-up places with the exact truth about their buildings, to try everything without any download.

    \b
    Examples:
      geoseg prepare demo --out demo-set
      geoseg prepare demo --scenes 20 --seed 3 --out larger-set
    """


@command.command("cvat-export", cls=GroupedCommand)
@click.argument("scene", type=PATH)
@click.argument("footprints", type=PATH)
@add_option(OUTPUTS, "--out", "-o", required=True, type=PATH, help="Folder for images and annotations.xml.")
@add_option(
    INPUTS,
    "--probability",
    type=PATH,
    help="The probability raster of geoseg infer: finds where the model is least sure.",
)
@add_option(
    OUTPUTS, "--count", type=click.IntRange(1), default=20, show_default=True, help="How many pieces."
)
@add_option(
    OUTPUTS, "--size", type=click.IntRange(32), default=512, show_default=True, help="Pixels along a side."
)
@add_option(OUTPUTS, "--label", default="building", show_default=True, help="Name of the footprints in CVAT.")
@wrap_command
def cvat_export(
    *, scene: Path, footprints: Path, out: Path, probability: Path | None, count: int, size: int, label: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Write pieces of SCENE with FOOTPRINTS as shapes, for a person to correct in CVAT.

    Make a task of OUT/images, upload OUT/annotations.xml as CVAT 1.1, correct it, export it as CVAT for images 1.1 and
    bring it back with geoseg prepare cvat.

    \b
    Examples:
      geoseg prepare cvat-export scene.tif buildings.gpkg --out to-correct
      geoseg prepare cvat-export scene.tif buildings.gpkg --probability probability.tif --count 50 --out to-correct
    """
    from geoseg.datasets.cvat.export import CvatExportOptions, export_tiles

    shapes = export_tiles(scene, footprints, out, CvatExportOptions(count, size, probability, label))
    print_result({"out": str(out), "shapes": shapes}, as_json, f"{out}: {shapes:,} shapes")


@command.command("audit", cls=GroupedCommand)
@click.argument("dataset", type=PATH)
@add_option(
    OUTPUTS,
    "--fix",
    is_flag=True,
    help="Remove duplicates and unusable items, and bring places that share ground into one split.",
)
@add_option(
    RESOURCES,
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="Worker processes.  [default: one for each processor]",
)
@wrap_command
def audit(*, dataset: Path, fix: bool, workers: int | None, as_json: bool) -> None:
    """Look for errors that harm a training: duplicates, shared ground between splits, shifted or empty labels.

    \b
    Examples:
      geoseg prepare audit town-set
      geoseg prepare audit town-set --fix --workers 4
    """
    from geoseg.datasets.audit.run import audit_dataset, fix_dataset, warn_about_leaks
    from geoseg.datasets.schema import read_dataset

    audited = audit_dataset(read_dataset(dataset), workers)
    if fix:
        audited = fix_dataset(audited, workers)
    warn_about_leaks(audited)
    print_result(audited.summary, as_json, "\n".join(audited.lines))
