"""Where models live: a folder (local, on the hub, or shipped with geoseg) with weights and a card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.model.card import Card
from geoseg.model.reason import reason

BUILTIN = Path(__file__).parent / "builtin"
DEFAULT = "default"

CARD = "card.json"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
CHECK = "check.npy"


@dataclass(frozen=True)
class Model:
    """A model on disk: its card, its weights and, for a torch model, the architecture they belong to."""

    name: str
    card: Card
    weights: Path

    @property
    def is_onnx(self) -> bool:
        return self.weights.suffix == ".onnx"

    @cached_property
    def architecture(self) -> dict[str, Any]:
        """The class of the network and its arguments, as `save_pretrained` writes them.

        No weights are downloaded for it, and the activation is the card's affair.
        """
        path = self.weights.parent / CONFIG
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: the model's architecture cannot be read ({reason(error)})") from error
        if not isinstance(config, dict):
            raise InputError(f"{path}: the model's architecture cannot be read (it is not a JSON object)")
        return {
            name: value for name, value in config.items() if name not in ("activation", "encoder_weights")
        }

    @cached_property
    def weights_sha256(self) -> str:
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the weights, the architecture or anything on the card changes."""
        architecture = None if self.is_onnx else self.architecture
        everything = [self.weights_sha256, architecture, self.card.to_json()]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()

    @cached_property
    def check_patches(self) -> NDArray[Any] | None:
        """Raw patches (patch, band, row, col) on which the model's precision is judged, if it has any."""
        path = self.weights.parent / CHECK
        if not path.exists():
            return None
        try:
            patches: NDArray[Any] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path}: cannot be read ({reason(error)}); delete it or get it again"
            ) from error
        bands = len(self.card.bands)
        if patches.ndim != 4 or patches.shape[1] != bands or patches.shape[2] != patches.shape[3]:
            raise InputError(f"{path}: holds {patches.shape}, not square patches of {bands} bands; delete it")
        return patches


def find_model(name: str) -> Model:
    """A model by built-in name, by path or by hub name (`owner/model`)."""
    path = Path(name)
    if name in builtin_names():
        return model_folder(BUILTIN / name, name)
    if path.is_file():
        return model_file(path)
    if path.is_dir():
        return model_folder(path, name)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return model_folder(fetched(name), name)
    raise InputError(
        f"model {name}: no such folder and no built-in model; built in are {', '.join(builtin_names())}"
    )


def builtin_names() -> list[str]:
    return sorted(path.parent.name for path in BUILTIN.glob(f"*/{CARD}"))


def model_folder(folder: Path, name: str) -> Model:
    for weights in (folder / WEIGHTS, folder / ONNX, *sorted(folder.glob("*.pth"))):
        if weights.exists():
            return checked(Model(name, card_beside(weights), weights))
    raise InputError(f"{folder}: holds no model: {WEIGHTS}, {ONNX} or a .pth file is missing")


def model_file(path: Path) -> Model:
    if path.suffix not in (".safetensors", ".onnx", ".pth", ".pt"):
        raise InputError(
            f"{path}: not a model; give a folder, an .onnx file or a .pth file with a card beside it"
        )
    return checked(Model(str(path), card_beside(path), path))


def card_beside(weights: Path) -> Card:
    card = weights.parent / CARD
    if card.exists():
        return Card.read(card)
    if weights.suffix == ".onnx":
        from geoseg.model.deepness import card_inside

        return card_inside(weights)
    raise InputError(
        f"{weights.parent}: has no {CARD}, so nothing says which bands, resolution and scaling the model expects; "
        "write one (README, 'Your own model')"
    )


def checked(model: Model) -> Model:
    """Refuse weights that are not those the card was written for, and a card that contradicts the network."""
    expected = model.card.weights_sha256
    if expected and model.weights_sha256 != expected:
        raise InputError(
            f"{model.weights}: damaged or exchanged: its sha256 is not the one on the card; get it again"
        )
    if not model.is_onnx:
        refuse_contradiction(model)
    return model


def refuse_contradiction(model: Model) -> None:
    config, card = model.architecture, model.card
    bands, outputs = config.get("in_channels", 3), config.get("classes", 1)
    if bands != card.inputs:
        raise InputError(
            f"{model.weights.parent}: {CARD} names {card.inputs} bands, but {CONFIG} a network of {bands}"
        )
    if outputs != len(card.outputs):
        raise InputError(
            f"{model.weights.parent}: {CARD} names {len(card.outputs)} outputs ({', '.join(card.outputs)}), but {CONFIG} "
            f"a network of {outputs}"
        )


def fetched(name: str) -> Path:
    """A model of the Hugging Face hub, in the local cache."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[CARD, CONFIG, WEIGHTS, ONNX, CHECK]))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise InputError(
            f"model {name}: neither a folder nor reachable on the hub ({reason(error)}); built in are "
            f"{', '.join(builtin_names())}"
        ) from error


def save_model(folder: Path, network: Any, card: Card, check: NDArray[Any] | None = None) -> Model:
    """Write a network (of segmentation_models_pytorch, or a plain U-Net) and its card as a model folder."""
    readme = folder / "README.md"
    had_readme = readme.exists()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)  # until all is there, it is no model
    network.save_pretrained(folder)
    if not had_readme:
        readme.unlink(missing_ok=True)  # it speaks for the library, not for this model
    (folder / CHECK).unlink(missing_ok=True)
    if check is not None:
        np.save(folder / CHECK, check)
    written = replace(card, weights_sha256=Model(card.name, card, folder / WEIGHTS).weights_sha256)
    unfinished = folder / f".{CARD}"
    unfinished.write_text(written.to_json(), encoding="utf-8")
    unfinished.replace(folder / CARD)
    return model_folder(folder, str(folder))
