"""The options that say how footprints are made, shared by the commands that make them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
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
        help="Part buildings that have grown together, at their necks or where the probability dips.",
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


def footprint_options(command: Command) -> Command:
    """Give a command all of these options, in this order."""
    return reduce(lambda made, option: option(made), reversed(OPTIONS), command)


def recipe_wishes(options: dict[str, Any]) -> dict[str, Any]:
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
    split, connectivity = options.pop("split"), options.pop("connectivity")
    wishes["split"] = True if split else None
    wishes["connectivity"] = int(connectivity) if connectivity else None
    return {name: value for name, value in wishes.items() if value is not None}
