"""Encoders by name: which there are, and how the photographs were scaled that they learnt from."""

from __future__ import annotations

from difflib import get_close_matches

from geoseg.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OF_TIMM = "tu-"
NAMES_IN_TIMM = {
    "inceptionv4": "inception_v4",
    "inceptionresnetv2": "inception_resnet_v2",
    "xception": "legacy_xception",
}
"""Encoders of segmentation_models_pytorch that timm has as well, under another name."""


def photo_scaling(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and spread of red, green and blue, from 0 to 1, as an encoder's weights expect them; mostly ImageNet's.

    What timm tells without a network; the library of encoders itself would ask a hub.
    """
    from timm.models import get_pretrained_cfg

    name = encoder.removeprefix(OF_TIMM).removeprefix("timm-")
    known = get_pretrained_cfg(NAMES_IN_TIMM.get(name, name))
    if known is None or len(known.mean) != len(IMAGENET_MEAN):
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(known.mean), tuple(known.std)


def refuse_unknown_encoder(encoder: str) -> None:
    """Refuse a name that no encoder has, and tell the nearest ones."""
    known = names_like(encoder)
    if encoder in known or ":" in encoder or encoder.startswith("timm-"):
        return
    near = get_close_matches(encoder, known, n=4, cutoff=0.4)
    told = f"near it are {', '.join(near)}" if near else f"some are {', '.join(known[:4])}"
    raise InputError(
        f"--encoder {encoder}: unknown; {told}; all are listed by segmentation_models_pytorch, and those of timm are "
        f"written {OF_TIMM}NAME"
    )


def names_like(encoder: str) -> list[str]:
    """The encoders of the library that a name is of; where it goes on with a set of weights, so do they."""
    if encoder.startswith(OF_TIMM):
        from timm import list_models, list_pretrained

        return [OF_TIMM + name for name in (list_pretrained() if "." in encoder else list_models())]
    from segmentation_models_pytorch.encoders import get_encoder_names

    return list(get_encoder_names())
