"""Torch networks from model folders, and what they compute from raw pixels: probabilities."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.errors import InputError
from geoseg.model.card import Activation
from geoseg.model.folder import Model
from geoseg.model.normalisation import Normalisation


def load_network(model: Model) -> nn.Module:
    """The model's network with its weights, in evaluation mode and full precision."""
    network = build(model)
    weights = read_weights(model.weights)
    try:
        network.load_state_dict(
            {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in weights.items()
            }
        )
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(
            f"{model.weights}: does not fit the architecture in config.json ({first})"
        ) from error
    return network.eval()


def build(model: Model) -> nn.Module:
    """An untrained network of the model's architecture."""
    import segmentation_models_pytorch as smp

    arguments = dict(model.architecture)
    kind = arguments.pop("_model_class", "Unet")
    known = {
        name
        for name in dir(smp)
        if isinstance(getattr(smp, name), type) and issubclass(getattr(smp, name), nn.Module)
    }
    if kind not in known:
        raise InputError(
            f"{model.weights.parent}: unknown architecture {kind!r}; known are {', '.join(sorted(known))}"
        )
    try:
        network: nn.Module = getattr(smp, kind)(**arguments)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{model.weights.parent}: config.json does not describe a {kind} ({error})"
        ) from error
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights as plain tensors; a file that would run code is refused."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, because loading it could run code it brings along; ask its author for plain weights "
            "(a state dict or .safetensors)"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: damaged or not a weights file ({' '.join(str(error).split())[:120]})"
        ) from error
    return plain_state(state, path)


def plain_state(state: object, path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint, whether it is the whole file or one entry of it."""
    if isinstance(state, dict):
        inner = state.get("state_dict", state.get("model", state))
        if isinstance(inner, dict) and inner and all(isinstance(value, Tensor) for value in inner.values()):
            return {str(name).removeprefix("module."): value for name, value in inner.items()}
    raise InputError(f"{path}: holds no state dict of tensors")


class Activated(nn.Module):
    """A network that answers with probabilities."""

    def __init__(self, network: nn.Module, activation: Activation) -> None:
        super().__init__()
        self.network = network
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs).float()
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
