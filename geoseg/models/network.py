"""Torch networks from model folders: their architecture, their weights, and the derived bands that they compute themselves."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import InputError, shorten_error
from geoseg.models.card import Card
from geoseg.models.formulas import Formula
from geoseg.models.store import Model
from geoseg.models.unet import PlainUnet

OWN_NETWORKS: dict[str, type[nn.Module]] = {"PlainUnet": PlainUnet}

# Where checkpoints of training programs keep the weights among other things.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")


def load_network(model: Model) -> nn.Module:
    """The model's network with its weights, in evaluation mode and full precision."""
    network = build_network(model)
    weights = read_weights(model.weights)
    try:
        network.load_state_dict({name: convert_to_float32(tensor) for name, tensor in weights.items()})
    except RuntimeError as error:
        raise InputError(
            f"{model.weights}: does not fit the architecture in config.json ({shorten_error(error)})"
        ) from error
    return add_derived_bands(network, model.card).eval()


def add_derived_bands(network: nn.Module, card: Card) -> nn.Module:
    """The network as it stands behind a card: taking a scene's own bands, computing the derived ones itself."""
    if not card.derived:
        return network
    mean, std = (
        [values[i % len(values)] for i in range(len(card.bands))]
        for values in (card.scaling.mean, card.scaling.std)
    )
    try:
        return DerivedBandsNetwork(network, card.bands, card.derived, mean, std)
    except ValueError as error:
        raise InputError(f"model {card.name}: {error}") from error


class DerivedBandsNetwork(nn.Module):
    """A network that sees derived bands after a scene's own.

    It takes the normalised bands, brings them back to the card's range of 0 to 1, in which formulas are meant, and
    cuts each result to the range its card gives it, laid out from -1 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        bands: Sequence[str],
        derived: Sequence[Any],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.network = network
        self.bands = tuple(bands)
        self.derived = [(Formula.parse(band.formula, bands), band.low, band.high) for band in derived]
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1), False)

    def forward(self, inputs: Tensor) -> Any:
        return self.network(torch.cat([inputs, *self.derive(inputs)], dim=1))

    def derive(self, inputs: Tensor) -> list[Tensor]:
        scaled = inputs.float() * self.std + self.mean
        named = {name: scaled[:, i : i + 1] for i, name in enumerate(self.bands)}
        return [
            ((formula(named).clamp(low, high) - low) * (2 / (high - low)) - 1).to(inputs.dtype)
            for formula, low, high in self.derived
        ]


def convert_to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def build_network(model: Model, **changes: int) -> nn.Module:
    """An untrained network of the model's architecture, with some of its arguments changed."""
    arguments = {n: value for n, value in model.architecture.items() if not n.startswith("_")} | changes
    kind = str(model.architecture.get("_model_class", "Unet"))
    folder, known = model.weights.parent, list_architectures()
    if kind not in known:
        raise InputError(f"{folder}: unknown architecture {kind!r}; known are {', '.join(sorted(known))}")
    try:
        return known[kind](**arguments, **({} if kind in OWN_NETWORKS else {"encoder_weights": None}))
    except Exception as error:  # encoders come from many libraries
        raise InputError(
            f"{folder}: config.json does not describe a {kind} ({shorten_error(error)})"
        ) from error


def list_architectures() -> dict[str, type[nn.Module]]:
    """The networks of segmentation_models_pytorch by name, and our own."""
    import segmentation_models_pytorch as smp

    found = {name: getattr(smp, name) for name in dir(smp)}
    return OWN_NETWORKS | {
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
        return (
            load_file(path)
            if path.suffix == ".safetensors"
            else extract_state_dict(load_checkpoint_file(path))
        )
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused: it holds more than plain tensors, and loading it could run code that it brings along; "
            "ask its author for the state dict alone, best as .safetensors"
        ) from error
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{path}: damaged or not a weights file ({shorten_error(error)})") from error


def load_checkpoint_file(path: Path) -> object:
    """A checkpoint of torch, read without running anything in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old ways of pickling
        return torch.load(path, map_location="cpu", weights_only=True)


def extract_state_dict(checkpoint: object) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may keep them among other things."""
    if not isinstance(checkpoint, dict):
        raise TypeError("it holds no state dict")
    state = next(
        (checkpoint[entry] for entry in STATE_DICT_KEYS if isinstance(checkpoint.get(entry), dict)),
        checkpoint,
    )
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
