"""What can be asked of a prediction; what is left out is decided from the scene, the model and the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geoseg.options import (
    AT_LEAST_ONE,
    BETWEEN_ZERO_AND_ONE,
    INPUTS,
    MODEL,
    RESOURCES,
    ZERO_OR_MORE,
    Options,
    define_option,
)

Augmentation = Literal["none", "flips", "d4"]

DEFAULT_MODEL = "default"


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Options):
    """How a model is run over a scene."""

    model: str = define_option(
        DEFAULT_MODEL,
        "A built-in name, a folder, an .onnx file, or owner/model on the Hugging Face hub.",
        group=MODEL,
    )
    threshold: float | None = define_option(
        None,
        "Probability from which a pixel counts as building.  [default: the model's]",
        BETWEEN_ZERO_AND_ONE,
        group=MODEL,
    )
    gsd: str | float = define_option(
        "auto",
        "Pixel size to work at: auto, native or metres. Of a photograph without a place: the size of its pixels in metres.",
        group=MODEL,
    )
    patch: int | None = define_option(
        None,
        "Side of a patch in pixels.  [default: the model's, or up to half as much again where fewer pixels are then computed twice]",
        AT_LEAST_ONE,
        group=MODEL,
    )
    overlap: int | None = define_option(
        None,
        "Pixels that neighbouring patches share.  [default: an eighth of `patch`, or of the model's]",
        ZERO_OR_MORE,
        group=MODEL,
    )
    tta: Augmentation = define_option(
        "none",
        "Average over mirrored and turned views of each patch: flips takes 4 times, d4 8 times as long.",
        group=MODEL,
    )
    bands: str | None = define_option(
        None, "Bands in the model's order, by number or name, e.g. 4,3,2.", group=INPUTS
    )
    date: str | None = define_option(
        None,
        "When the image was taken: a day such as 2026-05-04, or the first and the last: 2026-05-04/2026-05-06.  "
        "[default: what its tags or its STAC item say]",
        group=INPUTS,
        metavar="DATE",
    )
    assume_crs: str | None = define_option(
        None,
        "CRS of a scene that does not say it, or says a wrong one, e.g. EPSG:32633.",
        group=INPUTS,
        metavar="CRS",
    )
    on_read_error: Literal["stop", "nodata"] = define_option(
        "stop", "What to do about damaged parts of a scene.", group=INPUTS
    )
    device: str = define_option(
        "auto", "auto, cpu, cuda, cuda:1, mps, or several: cuda:0,cuda:1.", group=RESOURCES
    )
    engine: Literal["auto", "torch", "openvino", "onnx"] = define_option(
        "auto", "What runs the network.", group=RESOURCES
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = define_option(
        "auto", "Arithmetic; auto takes the fastest that leaves the answers as they are.", group=RESOURCES
    )
    batch: int | None = define_option(
        None,
        "Patches at a time.  [default: as many as the device holds]",
        AT_LEAST_ONE,
        group=RESOURCES,
    )
