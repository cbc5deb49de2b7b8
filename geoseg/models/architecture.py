"""The architecture that a model folder names: a network of segmentation_models_pytorch or of our own, and its arguments.

What a stranger wrote there reaches the constructors of two large libraries, some of whose arguments read files, ask servers or
unpickle. So only arguments that shape a network pass, with values that a network can have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, shorten_error
from geoseg.records import parse_json

NAME = re.compile(r"[A-Za-z0-9_.+-]{1,100}")
"""Encoders of timm may also be addresses (hf-hub:..., local-dir:...), which a model has no need of."""
LARGEST_SIZE = 16384
LARGEST_COUNTS = {"encoder_depth": 8, "in_channels": 1024, "classes": 1024}
MOST_ENTRIES = 16

DROPPED = {"activation", "encoder_weights"}
"""Known from the card, and not to be downloaded."""
SIZES = {
    "encoder_output_stride", "decoder_channels", "decoder_atrous_rates", "decoder_fusion_channels", "decoder_pab_channels",
    "decoder_pyramid_channels", "decoder_segmentation_channels", "decoder_intermediate_channels", "encoder_output_indices",
    "psp_out_channels", "upsampling", "width", "img_size",
}  # fmt: skip
NAMES = {
    "_model_class", "encoder_name", "decoder_attention_type", "decoder_interpolation", "decoder_merge_policy",
    "decoder_readout",
}  # fmt: skip
SHARES = {"decoder_dropout", "decoder_aspp_dropout", "psp_dropout", "drop_rate", "drop_path_rate"}
SWITCHES = {"decoder_aspp_separable", "dynamic_img_size"}
TABLES = {"decoder_use_norm", "decoder_use_batchnorm", "psp_use_batchnorm", "aux_params"}
CONVOLUTIONAL = re.compile("resne|efficientnet|mobilenet|mobileone|regnet|densenet|vgg|convnext")
"""In names of encoders: they take images of any size, while many transformers take one alone."""


def read_architecture(path: Path) -> dict[str, Any]:
    """The class of a network and its arguments, as `save_pretrained` writes them, or one line on what is wrong with them."""
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the model's architecture cannot be read ({shorten_error(error)})"
        ) from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: the model's architecture cannot be read (it is not a JSON object)")
    given = {name: value for name, value in config.items() if name not in DROPPED}
    for name, value in given.items():
        if not is_allowed(name, value):
            raise InputError(
                f"{path}: {name} {shorten_value(value)}: is no argument that a network may have from a file; take it out if "
                "the network does not need it"
            )
    return given


def takes_any_size(architecture: Mapping[str, Any]) -> bool:
    """Whether a network is known to give the same answers in larger patches."""
    encoder = architecture.get("encoder_name")
    return encoder is None or CONVOLUTIONAL.search(encoder) is not None


def is_allowed(name: str, value: Any) -> bool:
    """Whether an argument shapes a network, and has a value for that; nothing stands for its default."""
    if name in LARGEST_COUNTS:
        fits = is_size(value, LARGEST_COUNTS[name])
    elif name in SIZES:
        fits = are_few(value, lambda each: is_size(each, LARGEST_SIZE, least=0))
    elif name in SHARES:
        fits = is_number(value) and 0 <= value <= 1
    elif name in TABLES:
        fits = are_few(list(value.values()) if isinstance(value, Mapping) else value, is_plain)
    elif name in SWITCHES:
        fits = isinstance(value, bool)
    else:
        fits = name in NAMES and is_name(value)
    return fits or value is None


def are_few(value: Any, test: Callable[[Any], bool]) -> bool:
    """Whether a value, or each of a short list of them, passes a test."""
    entries = value if isinstance(value, list) else [value]
    return len(entries) <= MOST_ENTRIES and all(map(test, entries))


def is_plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool)
        or is_name(value)
        or (is_number(value) and abs(value) <= LARGEST_SIZE)
    )


def is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_size(value: Any, most: int, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def shorten_value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
