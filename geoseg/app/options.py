"""What can be asked of the app, and how its server passes that on to its pages."""

from __future__ import annotations

import os
from dataclasses import dataclass

from geoseg.options import INPUTS, MODEL, RESOURCES, Limits, Options, define_option
from geoseg.records import parse_toml

OPTIONS_VARIABLE = "GEOSEG_APP"
"""In the environment, as TOML: pages are scripts, which take no arguments."""


@dataclass(frozen=True, kw_only=True)
class AppOptions(Options):
    """What can be asked of `app`."""

    allow: tuple[str, ...] = define_option(
        (),
        "Let people open images of this folder, and of those below it, by their path; once for each folder.",
        group=INPUTS,
        metavar="FOLDER",
    )
    upload_mb: int = define_option(
        500,
        "The largest file that may be uploaded, in megabytes.",
        Limits("1 to 10000", 1, 10_000),
        group=INPUTS,
        flags=("--upload",),
        metavar="MB",
    )
    most_mpx: int = define_option(
        1000,
        "The largest image that is taken, in megapixels.",
        Limits("1 to 100000", 1, 100_000),
        group=INPUTS,
        flags=("--most-mpx",),
        metavar="MPX",
    )
    model: tuple[str, ...] = define_option(
        (), "Offer this model beside the built-in ones; once for each.", group=MODEL, metavar="MODEL"
    )
    points: str | None = define_option(
        None,
        "Let people answer these points of geoseg sample (.gpkg); what they say is written into the file at once. "
        "Give --image, too.",
        group=INPUTS,
        metavar="POINTS.gpkg",
    )
    image: str | None = define_option(
        None, "The image that lies below the points.", group=INPUTS, metavar="IMAGE"
    )
    port: int = define_option(
        8501, "Port of the page.", Limits("1 to 65535", 1, 65_535), group=RESOURCES, metavar="PORT"
    )
    address: str = define_option(
        "localhost",
        "Who can see the page: localhost is this computer alone, 0.0.0.0 everybody who reaches it.",
        group=RESOURCES,
        metavar="ADDRESS",
    )
    browser: bool = define_option(
        True, "Open the page in the browser, or only print its address.  [default: on]", group=RESOURCES,
        flags=("--browser/--no-browser",),
    )  # fmt: skip


def read_app_options() -> AppOptions:
    """The options of the server that runs this page."""
    return AppOptions().replace(parse_toml(os.environ.get(OPTIONS_VARIABLE, "")))
