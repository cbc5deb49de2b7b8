"""Networks to train: any of segmentation_models_pytorch, a plain U-Net of our own, or one that a model starts from.

Also which encoders there are, and how the photographs were scaled that their weights were trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import InputError, shorten_error
from geoseg.models.architecture import is_allowed
from geoseg.models.card import Card
from geoseg.models.network import (
    OWN_NETWORKS,
    build_network,
    convert_to_float32,
    list_architectures,
    read_tensors,
    read_weights,
)
from geoseg.models.store import Model, find_model
from geoseg.models.unet import PlainUnet
from geoseg.raster.bands import RGB, find_color
from geoseg.scores.calibration import TemperatureScaling
from geoseg.training.options import TrainOptions

log = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TIMM_PREFIX = "tu-"
NAMES_IN_TIMM = {
    "inceptionv4": "inception_v4",
    "inceptionresnetv2": "inception_resnet_v2",
    "xception": "legacy_xception",
}
"""Encoders of segmentation_models_pytorch that timm has as well, under another name."""


def find_photo_scaling(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and spread of red, green and blue, from 0 to 1, as an encoder's weights expect them; mostly ImageNet's.

    What timm tells without a network; the library of encoders itself would ask a hub.
    """
    from timm.models import get_pretrained_cfg

    name = encoder.removeprefix(TIMM_PREFIX).removeprefix("timm-")
    known = get_pretrained_cfg(NAMES_IN_TIMM.get(name, name))
    if known is None or len(known.mean) != len(IMAGENET_MEAN):
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(known.mean), tuple(known.std)


def refuse_unknown_encoder(encoder: str) -> None:
    """Refuse a name that no encoder has, and tell the nearest ones."""
    known = list_encoders(encoder)
    if encoder in known or ":" in encoder or encoder.startswith("timm-"):
        return
    near = get_close_matches(encoder, known, n=4, cutoff=0.4)
    told = f"near it are {', '.join(near)}" if near else f"some are {', '.join(known[:4])}"
    raise InputError(
        f"`encoder` {encoder}: unknown; {told}; all are listed by segmentation_models_pytorch, and those of timm are "
        f"written {TIMM_PREFIX}NAME"
    )


def list_encoders(encoder: str) -> list[str]:
    """The encoders of the library that a name is of; where it goes on with a set of weights, so do they."""
    if encoder.startswith(TIMM_PREFIX):
        from timm import list_models, list_pretrained

        return [TIMM_PREFIX + name for name in (list_pretrained() if "." in encoder else list_models())]
    from segmentation_models_pytorch.encoders import get_encoder_names

    return list(get_encoder_names())


PLAIN = "unet-plain"
SHAPE = ("architecture", "encoder", "arguments")
WEIGHT_FILES = {".safetensors", ".pth", ".pt", ".bin"}


def refuse_unknown_network(settings: TrainOptions) -> None:
    """Refuse names of networks and of weights that are nowhere, before any label is read for them."""
    if settings.start_from:
        find_model(settings.start_from)
    elif settings.architecture != PLAIN:
        find_architecture(settings.architecture)
        refuse_unknown_encoder(settings.encoder)
    for name, value in settings.architecture_arguments.items():
        if not is_allowed(name, value):
            raise InputError(
                f"`arguments` {name} {value!r}: is no argument that a model may be read back with"
            )
    if is_weights_file(settings.weights) and not Path(settings.weights).is_file():
        raise InputError(f"`weights` {settings.weights}: no such file")


def find_unused_network_options(settings: TrainOptions) -> list[str]:
    """Complaints about an architecture that is asked for beside a model to start from, which has its own."""
    asked = [name for name in SHAPE if getattr(settings, name) != getattr(TrainOptions(), name)]
    return [
        f"`{name}` {getattr(settings, name)}: not used, since `start_from` {settings.start_from} has its own"
        for name in asked
        if settings.start_from
    ]


def is_weights_file(weights: str) -> bool:
    return Path(weights).suffix in WEIGHT_FILES


def create_network(settings: TrainOptions, card: Card) -> nn.Module:
    """The network that the settings ask for, fit for the card's bands and classes."""
    if settings.start_from:
        return adapt_network(find_model(settings.start_from), card)
    given = {"in_channels": card.inputs, "classes": len(card.outputs), **settings.architecture_arguments}
    try:
        if settings.architecture == PLAIN:
            return PlainUnet(**given)
        if is_weights_file(settings.weights):
            return create_from_weights_file(settings, given, card)
        return create_pretrained(settings, given)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"`architecture` {settings.architecture} `encoder` {settings.encoder}: {shorten_error(error)}"
        ) from error


def create_pretrained(settings: TrainOptions, given: dict[str, Any]) -> nn.Module:
    """A network of segmentation_models_pytorch; from scratch where its encoder's weights cannot be had."""
    kind = find_architecture(settings.architecture)
    if not settings.from_scratch:
        # Encoders of timm know one set of weights each, and want no name of it.
        wanted = True if settings.encoder.startswith(TIMM_PREFIX) else settings.weights
        log.info(
            f"Weights    {settings.weights} for {settings.encoder}, from the hub if they are not here yet"
        )
        try:
            with silence_hub():
                return kind(settings.encoder, encoder_weights=wanted, **given)
        except (KeyError, TypeError):
            raise
        except Exception as error:  # noqa: BLE001 - hubs fail in the ways of many libraries
            reason = shorten_error(error)[:120].rstrip(" .")
            log.warning(
                f"`weights` {settings.weights}: cannot be had for {settings.encoder} ({reason}); from scratch"
            )
    return kind(settings.encoder, encoder_weights=None, **given)


@contextmanager
def silence_hub() -> Iterator[None]:
    """The hub's client tells each of its many attempts; what comes of them is told here, in one line."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def create_from_weights_file(settings: TrainOptions, given: dict[str, Any], card: Card) -> nn.Module:
    """A network whose encoder starts from weights on disk, as they were learnt on photographs."""
    path = Path(settings.weights)
    network = find_architecture(settings.architecture)(settings.encoder, encoder_weights=None, **given)
    encoder = network.get_submodule("encoder")
    found = match_tensors(read_tensors(path), encoder.state_dict())
    if found is None:
        raise InputError(f"`weights` {path}: does not fit the encoder {settings.encoder}")
    inputs = match_channels(RGB, list_channels(card))
    encoder.load_state_dict(
        {name: fit_tensor(found[name], fresh, inputs, []) for name, fresh in encoder.state_dict().items()}
    )
    return network


def match_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Given weights under the names that are wanted, or None if they are of something else.

    Programs name the same layers differently but list them in the same order; what follows the wanted ones, such as the
    layers that told cats from dogs, is left out.
    """
    same = wanted.keys() <= given.keys()
    chosen = dict(zip(wanted, [given[name] for name in wanted] if same else given.values(), strict=False))
    fits = len(chosen) == len(wanted) and all(
        chosen[name].dim() == fresh.dim()
        and chosen[name].shape[:1] == fresh.shape[:1]
        and chosen[name].shape[2:] == fresh.shape[2:]
        for name, fresh in wanted.items()
    )
    return chosen if fits else None


def find_architecture(name: str) -> type[nn.Module]:
    """An architecture by its name, however it is written: deeplabv3+, DeepLabV3Plus, deeplab-v3-plus."""
    known = {
        simplify_name(each): kind for each, kind in list_architectures().items() if each not in OWN_NETWORKS
    }
    found = known.get(simplify_name(name))
    if found is None:
        raise InputError(f"`architecture` {name}: unknown; known are {PLAIN}, {', '.join(sorted(known))}")
    return found


def simplify_name(name: str) -> str:
    return "".join(c for c in name.lower().replace("+", "plus") if c.isalnum())


def adapt_network(model: Model, card: Card) -> nn.Module:
    """The network of another model with its weights, its first and last layers fitted to other bands and classes."""
    if model.is_onnx:
        raise InputError(
            f"`start_from` {model.name}: ONNX models cannot be trained; start from a torch model"
        )
    network = build_network(model, in_channels=card.inputs, classes=len(card.outputs))
    old = {name: convert_to_float32(tensor) for name, tensor in read_weights(model.weights).items()}
    fresh = network.state_dict()
    inputs = match_channels(list_channels(model.card), list_channels(card))
    outputs = match_channels(model.card.outputs, card.outputs)
    fitted = {name: fit_tensor(old.get(name), tensor, inputs, outputs) for name, tensor in fresh.items()}
    network.load_state_dict(fitted)
    strange = sum(1 for name, tensor in fresh.items() if name not in old or old[name].dim() != tensor.dim())
    if strange:
        log.warning(f"`start_from` {model.name}: {strange} of {len(fresh)} layers start anew")
    return network


def list_channels(card: Card) -> list[str]:
    """What each input channel of a network shows, by colour where its name stands for one: B4 is red."""
    return [find_color(name) for name in (*card.bands, *(band.name for band in card.derived))]


def match_channels(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """For each new channel the old one of its name, or None."""
    return [old.index(name) if name in old else None for name in new]


def fit_tensor(
    old: Tensor | None, fresh: Tensor, inputs: list[int | None], outputs: list[int | None]
) -> Tensor:
    """Old weights in the shape of fresh ones: channels go by name, new ones start from the mean of the old."""
    if old is None or old.dim() != fresh.dim():
        return fresh
    if old.shape == fresh.shape and inputs == [*range(len(inputs))] and outputs == [*range(len(outputs))]:
        return old
    if (
        old.dim() == 4
        and fresh.shape[1] == len(inputs)
        and old.shape[0] == fresh.shape[0]
        and old.shape[2:] == fresh.shape[2:]
    ):
        mean = old.mean(1)
        return torch.stack([mean if i is None or i >= old.shape[1] else old[:, i] for i in inputs], 1)
    if fresh.dim() and fresh.shape[0] == len(outputs) and old.shape[1:] == fresh.shape[1:]:
        return torch.stack(
            [fresh[j] if i is None or i >= len(old) else old[i] for j, i in enumerate(outputs)]
        )
    return old if old.shape == fresh.shape else fresh


def apply_temperature(network: nn.Module, scaling: TemperatureScaling, channels: int) -> None:
    """Change a network's logits of classes, its first channels, inside its last layer, so that its probabilities come true."""
    head = network.get_submodule("segmentation_head")
    last = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)][-1]
    assert last.bias is not None, "the last layer of every architecture has a bias"
    with torch.no_grad():
        last.weight[:channels] /= scaling.temperature
        last.bias[:channels] = last.bias[:channels] / scaling.temperature + scaling.offset
