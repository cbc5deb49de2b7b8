"""What can be asked of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.datasets.options import Split
from geoseg.options import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    FINITE,
    INPUTS,
    MODEL,
    OUTPUTS,
    PLACES,
    REGIONS,
    RESOURCES,
    ZERO_OR_MORE,
    Options,
    define_option,
)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """What can be asked of `evaluate`."""

    against: tuple[str, ...] = define_option(
        (),
        "Compare every prediction with this one; once for each.  [default: the first prediction]",
        group=INPUTS,
        metavar="PREDICTION",
    )
    image: str | None = define_option(
        None, "The image that a model predicts; shown on the page.", group=INPUTS, metavar="FILE"
    )
    probability: str | None = define_option(
        None,
        "The probability raster of the first prediction, if that is a mask: gives the scores of its probabilities.",
        group=INPUTS,
        metavar="FILE",
    )
    area: str | None = define_option(
        None, "Polygons within which the truth is complete.", group=INPUTS, metavar="FILE"
    )
    gsd_m: float | None = define_option(
        None,
        "Pixel size in metres, where no raster says it.  [default: 0.3]",
        ABOVE_ZERO,
        group=INPUTS,
        metavar="M",
    )
    split: Split | None = define_option(
        None, "Which part of a data set.  [default: validation]", group=PLACES
    )
    places: tuple[str, ...] = define_option(
        (),
        "Only this place of a data set; once for each.",
        group=PLACES,
        flags=("--place",),
        metavar="PLACE",
    )
    threshold: float | None = define_option(
        None, "Probability from which a pixel counts.  [default: the model's]", FINITE, group=MODEL
    )
    min_area_m2: float | None = define_option(
        None,
        "Leave out predicted footprints smaller than this many square metres.  [default: the model's, else none]",
        ZERO_OR_MORE,
        group=MODEL,
        metavar="M2",
    )
    boundary: int | None = define_option(
        None,
        "Width of boundaries for boundary IoU, in pixels.  [default: 2 % of the diagonal, at most 14]",
        AT_LEAST_ONE,
        group=MODEL,
        metavar="PIXELS",
    )
    regions: str | None = define_option(
        None, "Count and measure per region.", group=REGIONS, metavar="FILE[:LAYER]|grid:1km"
    )
    page: Path | None = define_option(
        None, "Draw all of it onto this PNG page.", group=OUTPUTS, metavar="FILE.png"
    )
    overwrite: bool = define_option(False, "Replace a page that exists.", group=OUTPUTS)
    device: str | None = define_option(
        None, "auto, cpu, cuda, cuda:1 or mps, for a model.  [default: auto]", group=RESOURCES
    )
