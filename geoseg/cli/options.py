"""Options that commands share, and what the library is given for them: footprints, and the data sets that prepare writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule
    from geoseg.datasets.polygons import LabelForm


Command = TypeVar("Command", bound=Callable[..., Any])

FOOTPRINT_OPTIONS = (
    click.option(
        "--min-area",
        "min_area_m2",
        type=float,
        metavar="M2",
        help="Leave out footprints smaller than this many true square metres; 0 keeps all.  [default: 5, or the model's]",
    ),
    click.option(
        "--max-hole",
        "max_hole_m2",
        type=float,
        metavar="M2",
        help="Fill holes up to this size. Holes of --min-area and more always stay: they may hold a building.  [default: 2]",
    ),
    click.option(
        "--regularize/--no-regularize",
        default=None,
        help="Straight walls and right angles; shared walls stay shared.  [default: on for pixels finer than 1 m]",
    ),
    click.option(
        "--simplify",
        "simplify_m",
        type=float,
        metavar="M",
        help="Leave out details of outlines up to this many metres across.  [default: none]",
    ),
    click.option(
        "--split",
        type=click.Choice(["touching"]),
        help="Separate buildings that have grown together by shape alone: at necks, or where the probability dips.",
    ),
    click.option(
        "--no-split",
        is_flag=True,
        help="Keep buildings that have grown together in one piece.  "
        "[default: separate them where the model tells their boundaries]",
    ),
    click.option(
        "--connectivity",
        type=click.Choice(["4", "8"]),
        help="4: one building is joined by the sides of pixels; 8: by corners, too.  [default: 4]",
    ),
    click.option(
        "--crs", metavar="CRS", help="CRS of the footprints, e.g. EPSG:4326.  [default: the raster's]"
    ),
    click.option(
        "--area-crs",
        metavar="CRS",
        help="Projected CRS in which areas are measured.  [default: an equal-area one centred on the data]",
    ),
    click.option(
        "--regions",
        metavar="FILE[:LAYER]|grid:1km",
        help="Count per region as well: a vector file, or squares; becomes the layer `regions`.",
    ),
    click.option("--region-id", metavar="COLUMN", help="The column that names a region."),
    click.option(
        "--qgis-project",
        type=click.Path(path_type=Path),
        metavar="FILE.qgz",
        help="Write a QGIS project that opens footprints, regions and rasters together.",
    ),
)


def add_footprint_options(command: Command) -> Command:
    """Give a command all of these options, in this order."""
    return reduce(lambda made, option: option(made), reversed(FOOTPRINT_OPTIONS), command)


def pop_footprint_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a recipe out of a command's options: what the user left out is not among them."""
    names = (
        "min_area_m2",
        "max_hole_m2",
        "regularize",
        "simplify_m",
        "crs",
        "area_crs",
        "regions",
        "region_id",
    )
    wishes = {name: options.pop(name) for name in names}
    split, no_split, connectivity = (options.pop(name) for name in ("split", "no_split", "connectivity"))
    if split and no_split:
        raise InputError(f"--split {split} and --no-split say the opposite; give one of them")
    wishes["split"] = "never" if no_split else split
    wishes["connectivity"] = int(connectivity) if connectivity else None
    return {name: value for name, value in wishes.items() if value is not None}


RGB = "red,green,blue"
PATH = click.Path(path_type=Path)


def add_dataset_options(run: Callable[..., Any]) -> Callable[..., Any]:
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


def add_image_options(run: Callable[..., Any]) -> Callable[..., Any]:
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


def make_form_option(default: LabelForm) -> Callable[..., Any]:
    """The option of labels that can be written as pixels or as outlines."""
    return click.option(
        "--as",
        "form",
        type=click.Choice(["masks", "vectors"]),
        default=default,
        show_default=True,
        help="Labels as rasters, or as polygons (FlatGeobuf) with the field class.",
    )


def make_builder(options: dict[str, Any]) -> DatasetBuilder:
    from geoseg.datasets.builder import DatasetBuilder

    return DatasetBuilder(options["out"], options["workers"], options["overwrite"])


def make_origin(options: dict[str, Any], **known: str) -> Origin:
    from geoseg.datasets.builder import Origin

    said = {
        "licence": options["licence"],
        "attribution": options["attribution"],
        "source": options["origin"],
    }
    name = options["name"] or options["out"].resolve().name
    return Origin(name, **(known | {key: value for key, value in said.items() if value}))


def make_split_rule(options: dict[str, Any]) -> SplitRule:
    from geoseg.datasets.builder import SplitRule

    return SplitRule(options["validation"], options["test"], options["share"])


def parse_bands(text: str) -> tuple[str, ...]:
    return tuple(band.strip() for band in text.split(",") if band.strip())
