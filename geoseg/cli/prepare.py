"""`geoseg prepare`: images and labels from elsewhere become training sets, audited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.console import print_result, wrap_command
from geoseg.cli.options import (
    PATH,
    RGB,
    add_dataset_options,
    add_image_options,
    make_builder,
    make_form_option,
    make_origin,
    make_split_rule,
    parse_bands,
)
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.datasets.coco.dataset import Crowds
    from geoseg.datasets.polygons import LabelForm
    from geoseg.datasets.schema import Dataset


@click.group("prepare")
def command() -> None:
    """Turn images and labels of many kinds into training sets, and audit them."""


def audit_and_print(dataset: Dataset, options: dict[str, Any], as_json: bool) -> None:
    """Audit what was made, and tell both."""
    from geoseg.datasets.audit.run import audit_dataset

    print_audit(audit_dataset(dataset, options["workers"]), as_json)


def print_audit(audited: Any, as_json: bool) -> None:
    print_result(audited.summary, as_json, "\n".join(audited.lines))


@command.command("masks")
@click.argument("source", type=PATH)
@add_image_options
@click.option(
    "--classes",
    "table",
    default="building",
    show_default=True,
    help="NAME=LABELS,... such as land=0,roof=1 2,ignore=255 or roof=#ff0000; a .csv file; or dubai, "
    "massachusetts, building.",
)
@click.option(
    "--size", metavar="WIDTHxHEIGHT", help="Make copies of this size.  [default: use the files as they are]"
)
@add_dataset_options
@wrap_command
def masks(
    *, source: Path, images: str | None, labels: str | None, bands: str, gsd_m: float | None, place: str | None,
    table: str, size: str | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
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
    from geoseg.datasets.builder import find_pairs
    from geoseg.datasets.classes import parse_class_table
    from geoseg.datasets.masks import MaskOptions, prepare_masks

    wanted = MaskOptions(
        make_origin(options), parse_class_table(table), parse_bands(bands), gsd_m, place, make_split_rule(options), parse_size(size)
    )  # fmt: skip
    dataset = prepare_masks(find_pairs(source, images, labels), wanted, make_builder(options))
    audit_and_print(dataset, options, as_json)


def parse_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from WIDTHxHEIGHT."""
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--size {size}: write WIDTHxHEIGHT, e.g. 368x368")
    return int(parts[1]), int(parts[0])


@command.command("vectors")
@click.argument("source", type=PATH)
@add_image_options
@click.option("--footprints", type=PATH, help="One file of polygons for all images, instead of --labels.")
@click.option("--class-field", metavar="FIELD", help="Field of the polygons that holds their class.")
@click.option(
    "--classes",
    "table",
    default="background=,building=*",
    show_default=True,
    help="NAME=WORDS,... what the class field holds for each class; the first is background.",
)
@click.option(
    "--labelled", type=PATH, help="Polygons within which every building is drawn; outside is ignored."
)
@make_form_option("vectors")
@add_dataset_options
@wrap_command
def vectors(
    *, source: Path, images: str | None, labels: str | None, bands: str, gsd_m: float | None, place: str | None,
    footprints: Path | None, class_field: str | None, table: str, labelled: Path | None,
    form: LabelForm, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Scenes with polygons of buildings, in any CRS: GeoJSON, GeoPackage, FlatGeobuf, GeoParquet, CSV and the like.

    Without patterns SOURCE is a folder of SpaceNet. One file for all, even of a whole country, is read around the
    images only; a layer of several is named as FILE:LAYER. Polygons whose class field is empty are left out. Labels are
    the polygons themselves, so that training can keep houses apart that stand wall to wall; --as masks burns them.

    \b
    Examples:
      geoseg prepare vectors town --images '*.tif' --labels '*_buildings.geojson' --out town-set
      geoseg prepare vectors scenes --images '*.tif' --footprints osm.gpkg --labelled mapped.gpkg --out osm-set
      geoseg prepare vectors scenes --images '*.tif' --footprints ghana.csv.gz --out google-set
      geoseg prepare vectors SN2_Vegas --out vegas
    """
    from geoseg.datasets.benchmarks import find_spacenet_pairs
    from geoseg.datasets.builder import find_pairs, pair_with_label
    from geoseg.datasets.classes import parse_class_table
    from geoseg.datasets.vectors import VectorOptions, prepare_vectors

    if footprints:
        pairs = pair_with_label(source, images, footprints)
    else:
        pairs = find_pairs(source, images, labels) if images or labels else find_spacenet_pairs(source)
    wanted = VectorOptions(
        make_origin(options), parse_class_table(table), parse_bands(bands), gsd_m, place, make_split_rule(options),
        class_field=class_field, labelled=labelled, form=form,
    )  # fmt: skip
    audit_and_print(prepare_vectors(pairs, wanted, make_builder(options)), options, as_json)


@command.command("coco")
@click.argument("source", type=PATH)
@click.option("--images", type=PATH, help="Folder of the images.  [default: images beside the JSON file]")
@click.option("--bands", default=RGB, show_default=True, help="Names of the bands, in order.")
@click.option("--gsd", "gsd_m", type=float, required=True, help="Metres per pixel, e.g. 0.3 for crowdAI.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take N images of each file at most.")
@click.option("--every", type=click.IntRange(1), default=1, metavar="N", help="Take every Nth image.")
@make_form_option("masks")
@click.option(
    "--crowds",
    type=click.Choice(["ignore", "draw"]),
    default="ignore",
    show_default=True,
    help="Whether regions marked iscrowd are left out of training or drawn as their category.",
)
@add_dataset_options
@wrap_command
def coco(
    *, source: Path, images: Path | None, bands: str, gsd_m: float, limit: int | None, every: int,
    form: LabelForm, crowds: Crowds, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """A COCO file, or a folder of them: polygons and run lengths, crowds, any number of categories.

    Categories become classes in the order of their numbers, later annotations lie above earlier ones, and a category
    called ignore marks ground that nobody labelled. Missing images are counted and left out.

    \b
    Examples:
      geoseg prepare coco crowdai --gsd 0.3 --out crowdai-set
      geoseg prepare coco instances.json --images photos --gsd 0.1 --limit 1000 --out small-set
    """
    from geoseg.datasets.coco.dataset import CocoOptions, find_coco_files, prepare_coco

    wanted = CocoOptions(
        make_origin(options), gsd_m, parse_bands(bands), make_split_rule(options), limit, every, form, crowds
    )
    audit_and_print(
        prepare_coco(find_coco_files(source, images), wanted, make_builder(options)), options, as_json
    )


@command.command("inria")
@click.argument("source", type=PATH)
@click.option("--by-city", is_flag=True, help="Validate on whole cities: see --validation.")
@add_dataset_options
@wrap_command
def inria(*, source: Path, by_city: bool, as_json: bool, **options: Any) -> None:
    """The Inria Aerial Image Labeling data set, as it comes out of its archive.

    The first five images of every city validate, as in the data set's own paper; with --by-city whole cities do.
    """
    from geoseg.datasets.benchmarks import INRIA_LICENCE, INRIA_SOURCE, InriaOptions, prepare_inria

    origin = make_origin(
        options, licence=INRIA_LICENCE, source=INRIA_SOURCE, attribution="Maggiori et al. 2017, Inria"
    )
    wanted = InriaOptions(origin, make_split_rule(options) if by_city else None)
    audit_and_print(prepare_inria(source, wanted, make_builder(options)), options, as_json)


@command.command("cvat")
@click.argument("source", type=PATH)
@click.option("--bands", default=RGB, show_default=True, help="Names of the bands, in order.")
@click.option("--gsd", "gsd_m", type=float, required=True, help="Metres per pixel to train at.")
@click.option(
    "--attribute", metavar="NAME", help="Attribute whose value is a shape's class.  [default: its label]"
)
@add_dataset_options
@wrap_command
def cvat(
    *, source: Path, bands: str, gsd_m: float, attribute: str | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """What CVAT exported as "CVAT for images 1.1" or as COCO: a folder, a zip archive or annotations.xml itself.

    Polygons, boxes, ellipses and masks become pixels; the label ignore marks ground that nobody labelled.
    """
    from geoseg.datasets.cvat.dataset import CvatOptions, prepare_cvat

    wanted = CvatOptions(make_origin(options), gsd_m, parse_bands(bands), make_split_rule(options), attribute)
    audit_and_print(prepare_cvat(source, wanted, make_builder(options)), options, as_json)


@command.command("sentinel-esm")
@click.argument("source", type=PATH)
@add_image_options
@click.option(
    "--label-tiles",
    "tiles",
    metavar="PATH",
    help="A label raster, a folder or a pattern of its tiles for all images, instead of --labels.",
)
@click.option(
    "--classes",
    "table",
    default="esm",
    show_default=True,
    help="What the label's values mean: esm, esm-built, ghsl (square metres of each 100), ghsl-class, worldcover, "
    "wsf, a .csv file, or NAME=VALUES,...",
)
@click.option(
    "--threshold",
    default=0.5,
    show_default=True,
    help="Fraction of a pixel from which it is of a class other than the first.",
)
@click.option(
    "--cloud",
    metavar="WHERE",
    help="Where clouds are told: rasters below SOURCE, e.g. 'scl/*.tif', or a band's name.  [default: the band SCL, "
    "where there is one]",
)
@click.option(
    "--cloud-values",
    default="0 1 3 8 9 10 11",
    show_default=True,
    help="Values there that hide the ground; by default SCL's.",
)
@click.option(
    "--reflectance",
    metavar="SCALE,OFFSET",
    help="Reflectance = SCALE x value + OFFSET, e.g. 0.0001,-0.1.  [default: as each file says]",
)
@add_dataset_options
@wrap_command
def sentinel_esm(
    *, source: Path, images: str | None, labels: str | None, bands: str, gsd_m: float | None, place: str | None,
    tiles: str | None, table: str, threshold: float, cloud: str | None, cloud_values: str, reflectance: str | None,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Sentinel-2 images with ESM, GHSL, WSF or WorldCover rasters, in any CRS and resolution.

    Clouds, their shadows and snow are ignored. Images come as 10,000 x reflectance, whatever their processing baseline.

    \b
    Examples:
      geoseg prepare sentinel-esm pairs --images 's2/*.tif' --labels 'esm/*.tif' --bands B2,B3,B4,B8 --out esm-set
      geoseg prepare sentinel-esm s2 --images '*.tif' --label-tiles ESM/ --cloud SCL --bands B2,B3,B4,B8 --out esm-set
    """
    from geoseg.datasets.classes import parse_class_table
    from geoseg.datasets.sentinel.dataset import (
        SentinelOptions,
        SourcePatterns,
        find_sources,
        prepare_sentinel,
    )
    from geoseg.datasets.sentinel.reflectance import CloudOptions, parse_cloud_values, parse_reflectance

    rasters = cloud if cloud and "*" in cloud else None
    clouds = CloudOptions(
        cloud if cloud and not rasters else "SCL",
        bool(cloud and not rasters),
        parse_cloud_values(cloud_values),
    )
    wanted = SentinelOptions(
        make_origin(options), parse_class_table(table), parse_bands(bands), gsd_m, place, make_split_rule(options), None,
        threshold, clouds, parse_reflectance(reflectance) if reflectance else None,
    )  # fmt: skip
    sources = find_sources(source, SourcePatterns(images, labels, tiles, rasters))
    audit_and_print(prepare_sentinel(sources, wanted, make_builder(options)), options, as_json)


@command.command("cvat-export")
@click.argument("scene", type=PATH)
@click.argument("footprints", type=PATH)
@click.option("--out", "-o", required=True, type=PATH, help="Folder for images and annotations.xml.")
@click.option(
    "--probability", type=PATH, help="What geoseg infer wrote: finds where the model is least sure."
)
@click.option("--count", type=click.IntRange(1), default=20, show_default=True, help="How many pieces.")
@click.option("--size", type=click.IntRange(32), default=512, show_default=True, help="Pixels along a side.")
@click.option("--label", default="building", show_default=True, help="What CVAT is to call the footprints.")
@wrap_command
def cvat_export(
    *, scene: Path, footprints: Path, out: Path, probability: Path | None, count: int, size: int, label: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Pieces of SCENE with FOOTPRINTS as shapes, for a person to correct in CVAT.

    Make a task of OUT/images, upload OUT/annotations.xml as CVAT 1.1, correct it, export it as CVAT for images 1.1 and
    bring it back with geoseg prepare cvat.
    """
    from geoseg.datasets.cvat.export import CvatExportOptions, export_tiles

    shapes = export_tiles(scene, footprints, out, CvatExportOptions(count, size, probability, label))
    print_result({"out": str(out), "shapes": shapes}, as_json, f"{out}: {shapes:,} shapes")


@command.command("demo")
@click.option("--scenes", type=click.IntRange(1), default=4, show_default=True, help="How many places.")
@click.option("--size", type=click.IntRange(1), default=1024, show_default=True, help="Pixels along a side.")
@click.option("--seed", default=0, show_default=True, help="The first place; the others follow.")
@click.option("--gsd", "gsd_m", default=0.3, show_default=True, help="Metres per pixel.")
@add_dataset_options
@wrap_command
def demo(*, scenes: int, size: int, seed: int, gsd_m: float, as_json: bool, **options: Any) -> None:
    """Made-up places with the exact truth about their buildings, to try everything without any download."""
    from geoseg.datasets.benchmarks import SyntheticOptions, prepare_synthetic

    origin = make_origin(
        options, licence="CC0-1.0", attribution="geoseg", source="drawn by geoseg demo-scene"
    )
    wanted = SyntheticOptions(origin, make_split_rule(options), scenes, size, seed, gsd_m)
    audit_and_print(prepare_synthetic(wanted, make_builder(options)), options, as_json)


@command.command("audit")
@click.argument("dataset", type=PATH)
@click.option("--fix", is_flag=True, help="Drop duplicates and unusable items, and move leaking ones.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes.")
@wrap_command
def audit(*, dataset: Path, fix: bool, workers: int | None, as_json: bool) -> None:
    """Look for what spoils training: duplicates, shared ground between splits, shifted or empty labels."""
    from geoseg.datasets.audit.run import audit_dataset, fix_dataset
    from geoseg.datasets.schema import read_dataset

    audited = audit_dataset(read_dataset(dataset), workers)
    if fix:
        audited = fix_dataset(audited)
    print_audit(audited, as_json)
