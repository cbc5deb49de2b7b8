"""`geoseg prepare`: other people's images and labels become training sets, audited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli import console
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.narrator import Narrator
    from geoseg.prepare.coco.coco import Crowds
    from geoseg.prepare.dataset import Dataset
    from geoseg.prepare.making import Origin, Workshop
    from geoseg.prepare.outlines import Form
    from geoseg.prepare.splits import SplitRule

RGB = "red,green,blue"
PATH = click.Path(path_type=Path)


@click.group("prepare")
def command() -> None:
    """Turn images and labels of many kinds into training sets, and audit them."""


def making(run: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that makes a data set."""
    for option in reversed(
        (
            click.option("--out", "-o", required=True, type=PATH, help="Folder for the data set."),
            click.option("--name", help="What the data set is called.  [default: the folder's name]"),
            click.option("--licence", help="Licence of images and labels; goes into dataset.toml."),
            click.option("--attribution", help="Whom users must name; goes into dataset.toml."),
            click.option("--source", "origin", help="Where the data come from: a DOI or an address."),
            click.option("--validation", multiple=True, metavar="PLACE", help="A place to validate on."),
            click.option("--test", multiple=True, metavar="PLACE", help="A place to keep for testing."),
            click.option(
                "--validation-share",
                "share",
                default=0.2,
                show_default=True,
                help="Share of the places that validates, where none is named.",
            ),
            click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes."),
            click.option("--overwrite", is_flag=True, help="Replace the data set that is there."),
        )
    ):
        run = option(run)
    return run


def pictured(run: Callable[..., Any]) -> Callable[..., Any]:
    """The options of images that lie in files of their own."""
    for option in reversed(
        (
            click.option("--images", metavar="PATTERN", help="Images below SOURCE, e.g. 'img/*.tif'."),
            click.option(
                "--labels", metavar="PATTERN", help="Labels below SOURCE; * is what both names share."
            ),
            click.option("--bands", default=RGB, show_default=True, help="Names of the bands, in order."),
            click.option(
                "--gsd", "gsd_m", type=float, help="Metres per pixel to train at.  [default: theirs]"
            ),
            click.option(
                "--place", metavar="REGEX", help="Finds the place in a file's name, e.g. 'tile\\d+'."
            ),
        )
    ):
        run = option(run)
    return run


def as_form(default: Form) -> Callable[..., Any]:
    """The option of labels that can be written as pixels or as outlines."""
    return click.option(
        "--as",
        "form",
        type=click.Choice(["masks", "vectors"]),
        default=default,
        show_default=True,
        help="Labels as rasters, or as polygons (FlatGeobuf) with the field class.",
    )


def workshop_of(options: dict[str, Any], narrator: Narrator) -> Workshop:
    from geoseg.prepare.making import Workshop

    return Workshop(options["out"], options["workers"], options["overwrite"], narrator)


def origin_of(options: dict[str, Any], **known: str) -> Origin:
    from geoseg.prepare.making import Origin

    said = {
        "licence": options["licence"],
        "attribution": options["attribution"],
        "source": options["origin"],
    }
    name = options["name"] or options["out"].resolve().name
    return Origin(name, **(known | {key: value for key, value in said.items() if value}))


def splits_of(options: dict[str, Any]) -> SplitRule:
    from geoseg.prepare.splits import SplitRule

    return SplitRule(options["validation"], options["test"], options["share"])


def bands_of(text: str) -> tuple[str, ...]:
    return tuple(band.strip() for band in text.split(",") if band.strip())


def finished(dataset: Dataset, options: dict[str, Any], narrator: Narrator, as_json: bool) -> None:
    """Audit what was made, and tell both."""
    from geoseg.prepare.audit.audit import audit

    report(audit(dataset, options["workers"], narrator), as_json)


def report(audited: Any, as_json: bool) -> None:
    console.result(audited.summary, as_json, "\n".join(audited.lines))


@command.command("masks")
@click.argument("source", type=PATH)
@pictured
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
@making
@console.command
def masks(
    *, source: Path, images: str | None, labels: str | None, bands: str, gsd_m: float | None, place: str | None,
    table: str, size: str | None, narrator: Narrator, as_json: bool, **options: Any,
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
    from geoseg.prepare.classes import class_table
    from geoseg.prepare.masks import MaskSet, prepare_masks
    from geoseg.prepare.pairs import find_pairs

    wanted = MaskSet(
        origin_of(options), class_table(table), bands_of(bands), gsd_m, place, splits_of(options), parsed_size(size)
    )  # fmt: skip
    dataset = prepare_masks(find_pairs(source, images, labels), wanted, workshop_of(options, narrator))
    finished(dataset, options, narrator, as_json)


def parsed_size(size: str | None) -> tuple[int, int] | None:
    """Height and width from WIDTHxHEIGHT."""
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--size {size}: write WIDTHxHEIGHT, e.g. 368x368")
    return int(parts[1]), int(parts[0])


@command.command("vectors")
@click.argument("source", type=PATH)
@pictured
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
@as_form("vectors")
@making
@console.command
def vectors(
    *, source: Path, images: str | None, labels: str | None, bands: str, gsd_m: float | None, place: str | None,
    footprints: Path | None, class_field: str | None, table: str, labelled: Path | None,
    form: Form, narrator: Narrator, as_json: bool, **options: Any,
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
    from geoseg.prepare.classes import class_table
    from geoseg.prepare.pairs import find_pairs, with_one_label
    from geoseg.prepare.spacenet import spacenet_pairs
    from geoseg.prepare.vectors import VectorSet, prepare_vectors

    if footprints:
        pairs = with_one_label(source, images, footprints)
    else:
        pairs = find_pairs(source, images, labels) if images or labels else spacenet_pairs(source)
    wanted = VectorSet(
        origin_of(options), class_table(table), bands_of(bands), gsd_m, place, splits_of(options),
        class_field=class_field, labelled=labelled, form=form,
    )  # fmt: skip
    finished(prepare_vectors(pairs, wanted, workshop_of(options, narrator)), options, narrator, as_json)


@command.command("coco")
@click.argument("source", type=PATH)
@click.option("--images", type=PATH, help="Folder of the images.  [default: images beside the JSON file]")
@click.option("--bands", default=RGB, show_default=True, help="Names of the bands, in order.")
@click.option("--gsd", "gsd_m", type=float, required=True, help="Metres per pixel, e.g. 0.3 for crowdAI.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take N images of each file at most.")
@click.option("--every", type=click.IntRange(1), default=1, metavar="N", help="Take every Nth image.")
@as_form("masks")
@click.option(
    "--crowds",
    type=click.Choice(["ignore", "draw"]),
    default="ignore",
    show_default=True,
    help="Whether regions marked iscrowd are left out of training or drawn as their category.",
)
@making
@console.command
def coco(
    *, source: Path, images: Path | None, bands: str, gsd_m: float, limit: int | None, every: int,
    form: Form, crowds: Crowds, narrator: Narrator, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """A COCO file, or a folder of them: polygons and run lengths, crowds, any number of categories.

    Categories become classes in the order of their numbers, later annotations lie above earlier ones, and a category
    called ignore marks ground that nobody labelled. Missing images are counted and left out.

    \b
    Examples:
      geoseg prepare coco crowdai --gsd 0.3 --out crowdai-set
      geoseg prepare coco instances.json --images photos --gsd 0.1 --limit 1000 --out small-set
    """
    from geoseg.prepare.coco.coco import CocoSet, find_parts, prepare_coco

    wanted = CocoSet(
        origin_of(options), gsd_m, bands_of(bands), splits_of(options), limit, every, form, crowds
    )
    finished(
        prepare_coco(find_parts(source, images), wanted, workshop_of(options, narrator)),
        options,
        narrator,
        as_json,
    )


@command.command("inria")
@click.argument("source", type=PATH)
@click.option("--by-city", is_flag=True, help="Validate on whole cities: see --validation.")
@making
@console.command
def inria(*, source: Path, by_city: bool, narrator: Narrator, as_json: bool, **options: Any) -> None:
    """The Inria Aerial Image Labeling data set, as it comes out of its archive.

    The first five images of every city validate, as in the data set's own paper; with --by-city whole cities do.
    """
    from geoseg.prepare.inria import LICENCE, SOURCE, InriaSet, prepare_inria

    origin = origin_of(options, licence=LICENCE, source=SOURCE, attribution="Maggiori et al. 2017, Inria")
    wanted = InriaSet(origin, splits_of(options) if by_city else None)
    finished(prepare_inria(source, wanted, workshop_of(options, narrator)), options, narrator, as_json)


@command.command("cvat")
@click.argument("source", type=PATH)
@click.option("--bands", default=RGB, show_default=True, help="Names of the bands, in order.")
@click.option("--gsd", "gsd_m", type=float, required=True, help="Metres per pixel to train at.")
@click.option(
    "--attribute", metavar="NAME", help="Attribute whose value is a shape's class.  [default: its label]"
)
@making
@console.command
def cvat(
    *, source: Path, bands: str, gsd_m: float, attribute: str | None, narrator: Narrator, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """What CVAT exported as "CVAT for images 1.1" or as COCO: a folder, a zip archive or annotations.xml itself.

    Polygons, boxes, ellipses and masks become pixels; the label ignore marks ground that nobody labelled.
    """
    from geoseg.prepare.cvat.cvat import CvatSet, prepare_cvat

    wanted = CvatSet(origin_of(options), gsd_m, bands_of(bands), splits_of(options), attribute)
    finished(prepare_cvat(source, wanted, workshop_of(options, narrator)), options, narrator, as_json)


@command.command("sentinel-esm")
@click.argument("source", type=PATH)
@pictured
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
@making
@console.command
def sentinel_esm(
    *, source: Path, images: str | None, labels: str | None, bands: str, gsd_m: float | None, place: str | None,
    tiles: str | None, table: str, threshold: float, cloud: str | None, cloud_values: str, reflectance: str | None,
    narrator: Narrator, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Sentinel-2 images with ESM, GHSL, WSF or WorldCover rasters, in any CRS and resolution.

    Clouds, their shadows and snow are ignored. Images come as 10,000 x reflectance, whatever their processing baseline.

    \b
    Examples:
      geoseg prepare sentinel-esm pairs --images 's2/*.tif' --labels 'esm/*.tif' --bands B2,B3,B4,B8 --out esm-set
      geoseg prepare sentinel-esm s2 --images '*.tif' --label-tiles ESM/ --cloud SCL --bands B2,B3,B4,B8 --out esm-set
    """
    from geoseg.prepare.classes import class_table
    from geoseg.prepare.labels.clouds import Clouds, parsed_values
    from geoseg.prepare.labels.labels import LabelSet, prepare_labels
    from geoseg.prepare.labels.reflectance import parsed_reflectance
    from geoseg.prepare.labels.sources import Patterns, find_sources

    rasters = cloud if cloud and "*" in cloud else None
    clouds = Clouds(
        cloud if cloud and not rasters else "SCL", bool(cloud and not rasters), parsed_values(cloud_values)
    )
    wanted = LabelSet(
        origin_of(options), class_table(table), bands_of(bands), gsd_m, place, splits_of(options), None,
        threshold, clouds, parsed_reflectance(reflectance) if reflectance else None,
    )  # fmt: skip
    sources = find_sources(source, Patterns(images, labels, tiles, rasters))
    finished(prepare_labels(sources, wanted, workshop_of(options, narrator)), options, narrator, as_json)


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
@console.command
def cvat_export(
    *, scene: Path, footprints: Path, out: Path, probability: Path | None, count: int, size: int, label: str,
    narrator: Narrator, as_json: bool,
) -> None:  # fmt: skip
    """Pieces of SCENE with FOOTPRINTS as shapes, for a person to correct in CVAT.

    Make a task of OUT/images, upload OUT/annotations.xml as CVAT 1.1, correct it, export it as CVAT for images 1.1 and
    bring it back with geoseg prepare cvat.
    """
    from geoseg.prepare.cvat.export import Tiles, export_tiles

    shapes = export_tiles(scene, footprints, out, Tiles(count, size, probability, label), narrator)
    console.result({"out": str(out), "shapes": shapes}, as_json, f"{out}: {shapes:,} shapes")


@command.command("demo")
@click.option("--scenes", type=click.IntRange(1), default=4, show_default=True, help="How many places.")
@click.option("--size", type=click.IntRange(1), default=1024, show_default=True, help="Pixels along a side.")
@click.option("--seed", default=0, show_default=True, help="The first place; the others follow.")
@click.option("--gsd", "gsd_m", default=0.3, show_default=True, help="Metres per pixel.")
@making
@console.command
def demo(
    *, scenes: int, size: int, seed: int, gsd_m: float, narrator: Narrator, as_json: bool, **options: Any
) -> None:
    """Made-up places with the exact truth about their buildings, to try everything without any download."""
    from geoseg.prepare.demo import DemoSet, prepare_demo

    origin = origin_of(options, licence="CC0-1.0", attribution="geoseg", source="drawn by geoseg demo-scene")
    wanted = DemoSet(origin, splits_of(options), scenes, size, seed, gsd_m)
    finished(prepare_demo(wanted, workshop_of(options, narrator)), options, narrator, as_json)


@command.command("audit")
@click.argument("dataset", type=PATH)
@click.option("--fix", is_flag=True, help="Drop duplicates and unusable items, and move leaking ones.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes.")
@console.command
def audit_(*, dataset: Path, fix: bool, workers: int | None, narrator: Narrator, as_json: bool) -> None:
    """Look for what spoils training: duplicates, shared ground between splits, shifted or empty labels."""
    from geoseg.prepare.audit.audit import audit
    from geoseg.prepare.audit.fix import fixed
    from geoseg.prepare.dataset import read_dataset

    audited = audit(read_dataset(dataset), workers, narrator)
    if fix:
        audited = fixed(audited)
    report(audited, as_json)
