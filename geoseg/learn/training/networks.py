"""Networks to train: any of segmentation_models_pytorch, a plain U-Net of our own, or one that a model starts from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.bandnames import PHOTO, colour
from geoseg.errors import InputError
from geoseg.learn.encoders import refuse_unknown_encoder
from geoseg.learn.scores.calibrate import Cooling
from geoseg.learn.settings import Settings, flag
from geoseg.model.card import Card
from geoseg.model.folder import Model, find_model
from geoseg.model.network import OWN, architectures, build, full_precision, read_tensors, read_weights
from geoseg.model.plain_unet import PlainUnet
from geoseg.model.reason import reason
from geoseg.narrator import Narrator

PLAIN = "unet-plain"
SHAPE = ("architecture", "encoder", "arguments")
WEIGHT_FILES = {".safetensors", ".pth", ".pt", ".bin"}


def refuse_unknown(settings: Settings) -> None:
    """Refuse names of networks and of weights that are nowhere, before any label is read for them."""
    if settings.start_from:
        find_model(settings.start_from)
    elif settings.architecture != PLAIN:
        architecture(settings.architecture)
        refuse_unknown_encoder(settings.encoder)
    if names_file(settings.weights) and not Path(settings.weights).is_file():
        raise InputError(f"--weights {settings.weights}: no such file")


def unused_shape(settings: Settings) -> list[str]:
    """Complaints about an architecture that is asked for beside a model to start from, which has its own."""
    asked = [name for name in SHAPE if getattr(settings, name) != getattr(Settings(), name)]
    return [
        f"{flag(name)} {getattr(settings, name)}: not used, since --from {settings.start_from} has its own"
        for name in asked
        if settings.start_from
    ]


def names_file(weights: str) -> bool:
    return Path(weights).suffix in WEIGHT_FILES


def new_network(settings: Settings, card: Card, narrator: Narrator) -> nn.Module:
    """The network that the settings ask for, fit for the card's bands and classes."""
    if settings.start_from:
        return started_from(find_model(settings.start_from), card, narrator)
    given = {"in_channels": card.inputs, "classes": len(card.outputs), **settings.architecture_arguments}
    try:
        if settings.architecture == PLAIN:
            return PlainUnet(**given)
        if names_file(settings.weights):
            return with_file(settings, given, card)
        return with_encoder(settings, given, narrator)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"--architecture {settings.architecture} --encoder {settings.encoder}: {reason(error)}"
        ) from error


def with_encoder(settings: Settings, given: dict[str, Any], narrator: Narrator) -> nn.Module:
    """A network of segmentation_models_pytorch; from scratch where its encoder's weights cannot be had."""
    kind = architecture(settings.architecture)
    if not settings.from_scratch:
        # Encoders of timm know one set of weights each, and want no name of it.
        wanted = True if settings.encoder.startswith("tu-") else settings.weights
        narrator.say(
            f"Weights    {settings.weights} for {settings.encoder}, from the hub if they are not here yet"
        )
        try:
            with quiet_hub():
                return kind(settings.encoder, encoder_weights=wanted, **given)
        except (KeyError, TypeError):
            raise
        except Exception as error:  # noqa: BLE001 - hubs fail in the ways of many libraries
            narrator.warn(
                f"--weights {settings.weights}: cannot be had for {settings.encoder} ({reason(error)[:120]}); "
                "from scratch"
            )
    return kind(settings.encoder, encoder_weights=None, **given)


@contextmanager
def quiet_hub() -> Iterator[None]:
    """The hub's client tells each of its many attempts; what comes of them is told here, in one line."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def with_file(settings: Settings, given: dict[str, Any], card: Card) -> nn.Module:
    """A network whose encoder starts from weights on disk, as they were learnt on photographs."""
    path = Path(settings.weights)
    network = architecture(settings.architecture)(settings.encoder, encoder_weights=None, **given)
    encoder = network.get_submodule("encoder")
    found = by_name(read_tensors(path), encoder.state_dict())
    if found is None:
        raise InputError(f"--weights {path}: does not fit the encoder {settings.encoder}")
    inputs = matching(PHOTO, channels(card))
    encoder.load_state_dict(
        {name: fitted_to(found[name], fresh, inputs, []) for name, fresh in encoder.state_dict().items()}
    )
    return network


def by_name(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
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


def architecture(name: str) -> type[nn.Module]:
    """An architecture by its name, however it is written: deeplabv3+, DeepLabV3Plus, deeplab-v3-plus."""
    known = {plain(each): kind for each, kind in architectures().items() if each not in OWN}
    found = known.get(plain(name))
    if found is None:
        raise InputError(f"--architecture {name}: unknown; known are {PLAIN}, {', '.join(sorted(known))}")
    return found


def plain(name: str) -> str:
    return "".join(c for c in name.lower().replace("+", "plus") if c.isalnum())


def started_from(model: Model, card: Card, narrator: Narrator) -> nn.Module:
    """The network of another model with its weights, its first and last layers fitted to other bands and classes."""
    if model.is_onnx:
        raise InputError(
            f"--start-from {model.name}: ONNX models cannot be trained; start from a torch model"
        )
    network = build(model, in_channels=card.inputs, classes=len(card.outputs))
    old = {name: full_precision(tensor) for name, tensor in read_weights(model.weights).items()}
    fresh = network.state_dict()
    inputs = matching(channels(model.card), channels(card))
    outputs = matching(model.card.outputs, card.outputs)
    fitted = {name: fitted_to(old.get(name), tensor, inputs, outputs) for name, tensor in fresh.items()}
    network.load_state_dict(fitted)
    strange = sum(1 for name, tensor in fresh.items() if name not in old or old[name].dim() != tensor.dim())
    if strange:
        narrator.warn(f"--start-from {model.name}: {strange} of {len(fresh)} layers start anew")
    return network


def channels(card: Card) -> list[str]:
    """What each input channel of a network shows, by colour where its name stands for one: B4 is red."""
    return [colour(name) for name in (*card.bands, *(band.name for band in card.derived))]


def matching(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """For each new channel the old one of its name, or None."""
    return [old.index(name) if name in old else None for name in new]


def fitted_to(
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


def cooled(network: nn.Module, cooling: Cooling, channels: int) -> None:
    """Change a network's logits of classes, its first channels, inside its last layer, so that its probabilities come true."""
    head = network.get_submodule("segmentation_head")
    last = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)][-1]
    assert last.bias is not None, "the last layer of every architecture has a bias"
    with torch.no_grad():
        last.weight[:channels] /= cooling.temperature
        last.bias[:channels] = last.bias[:channels] / cooling.temperature + cooling.offset
