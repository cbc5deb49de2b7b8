"""Torch networks from model folders, and what they compute from raw pixels: probabilities."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.errors import InputError
from geoseg.model.bands import WithDerivedBands
from geoseg.model.card import Card
from geoseg.model.folder import Model
from geoseg.model.normalisation import Normalisation
from geoseg.model.plain_unet import PlainUnet
from geoseg.model.reason import reason

OWN: dict[str, type[nn.Module]] = {"PlainUnet": PlainUnet}

# Where checkpoints of training programs keep the weights among other things.
ENTRIES = ("state_dict", "model_state_dict", "model")


def load_network(model: Model) -> nn.Module:
    """The model's network with its weights, in evaluation mode and full precision."""
    network = build(model)
    weights = read_weights(model.weights)
    try:
        network.load_state_dict({name: full_precision(tensor) for name, tensor in weights.items()})
    except RuntimeError as error:
        raise InputError(
            f"{model.weights}: does not fit the architecture in config.json ({reason(error)})"
        ) from error
    return with_derived_bands(network, model.card).eval()


def with_derived_bands(network: nn.Module, card: Card) -> nn.Module:
    """The network as it stands behind a card: taking a scene's own bands, computing the derived ones itself."""
    if not card.derived:
        return network
    mean, std = (
        [values[i % len(values)] for i in range(len(card.bands))]
        for values in (card.scaling.mean, card.scaling.std)
    )
    try:
        return WithDerivedBands(network, card.bands, card.derived, mean, std)
    except ValueError as error:
        raise InputError(f"model {card.name}: {error}") from error


def full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def build(model: Model, **changes: int) -> nn.Module:
    """An untrained network of the model's architecture, with some of its arguments changed."""
    arguments = {n: value for n, value in model.architecture.items() if not n.startswith("_")} | changes
    kind = str(model.architecture.get("_model_class", "Unet"))
    folder, known = model.weights.parent, architectures()
    if kind not in known:
        raise InputError(f"{folder}: unknown architecture {kind!r}; known are {', '.join(sorted(known))}")
    try:
        return known[kind](**arguments, **({} if kind in OWN else {"encoder_weights": None}))
    except Exception as error:  # encoders come from many libraries
        raise InputError(f"{folder}: config.json does not describe a {kind} ({reason(error)})") from error


def architectures() -> dict[str, type[nn.Module]]:
    """The networks of segmentation_models_pytorch by name, and our own."""
    import segmentation_models_pytorch as smp

    found = {name: getattr(smp, name) for name in dir(smp)}
    return OWN | {
        name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, nn.Module)
    }


def read_weights(path: Path) -> dict[str, Tensor]:
    """A network's weights as plain tensors; a file that would run code is refused."""
    tensors = read_tensors(path)
    if path.suffix == ".safetensors":
        return tensors
    wrapper = next((name.split("encoder.")[0] for name in tensors if "encoder." in name), None)
    if wrapper is None:
        raise InputError(f"{path}: not a weights file (it holds no state dict of a network with an encoder)")
    return {name.removeprefix(wrapper): value for name, value in tensors.items() if name.startswith(wrapper)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file by name, in its order; a file that would run code is refused."""
    from safetensors.torch import load_file

    try:
        return load_file(path) if path.suffix == ".safetensors" else plain_state(unpickled(path))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused: it holds more than plain tensors, and loading it could run code that it brings along; "
            "ask its author for the state dict alone, best as .safetensors"
        ) from error
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{path}: damaged or not a weights file ({reason(error)})") from error


def unpickled(path: Path) -> object:
    """A checkpoint of torch, read without running anything in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old ways of pickling
        return torch.load(path, map_location="cpu", weights_only=True)


def plain_state(checkpoint: object) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may keep them among other things."""
    if not isinstance(checkpoint, dict):
        raise TypeError("it holds no state dict")
    state = next(
        (checkpoint[entry] for entry in ENTRIES if isinstance(checkpoint.get(entry), dict)), checkpoint
    )
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


class Activated(nn.Module):
    """A network that answers with the probabilities of classes."""

    def __init__(self, network: nn.Module, card: Card) -> None:
        super().__init__()
        self.network = network
        self.activation = card.activation
        self.channels = card.class_channels

    def forward(self, inputs: Tensor) -> Tensor:
        answer = self.network(inputs)
        logits: Tensor = (answer[0] if isinstance(answer, tuple) else answer)[:, : self.channels].float()
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


class Normalised(nn.Module):
    """A network that takes raw pixel values."""

    gain: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.clip = normalisation.clip
        for name in ("gain", "offset", "low", "high"):
            values = torch.tensor(getattr(normalisation, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, -1, 1, 1))

    def forward(self, raw: Tensor) -> Tensor:
        values = raw.float()
        if self.clip:
            values = values.clamp(self.low, self.high)
        probabilities: Tensor = self.network(values * self.gain + self.offset)
        return probabilities
