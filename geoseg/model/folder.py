"""Where models live: a folder (local, on the hub, or shipped with geoseg) with weights and a card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.model.card import Card

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
        """The class of segmentation_models_pytorch and its arguments, as `save_pretrained` writes them."""
        path = self.weights.parent / CONFIG
        try:
            config = json.loads(path.read_text())
            return {**config, "encoder_weights": None}
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path}: the model's architecture cannot be read ({error})") from error

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the weights or anything on the card changes."""
        digest = hashlib.sha256(self.weights.read_bytes())
        digest.update(self.card.to_json().encode())
        return digest.hexdigest()

    @cached_property
    def check_patches(self) -> NDArray[Any] | None:
        """Raw patches (patch, band, row, col) on which the model's precision is judged, if it has any."""
        path = self.weights.parent / CHECK
        return np.load(path, allow_pickle=False) if path.exists() else None


def find_model(name: str) -> Model:
    """A model by path, by built-in name or by hub name (`owner/model`)."""
    path = Path(name)
    if path.is_file():
        return model_file(path)
    if path.is_dir():
        return model_folder(path, name)
    if (BUILTIN / name / CARD).exists():
        return model_folder(BUILTIN / name, name)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return model_folder(fetched(name), name)
    raise InputError(
        f"--model {name}: no such folder and no built-in model; built in are {', '.join(builtin_names())}"
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
        from geoseg.model.onnx import card_inside

        return card_inside(weights)
    raise InputError(
        f"{weights.parent}: has no {CARD}, so nothing says which bands, resolution and scaling the model expects; "
        "write one (README, 'Your own model')"
    )


def checked(model: Model) -> Model:
    """Refuse weights that are not those the card was written for."""
    expected = model.card.weights_sha256
    if expected and hashlib.sha256(model.weights.read_bytes()).hexdigest() != expected:
        raise InputError(
            f"{model.weights}: damaged or exchanged: its sha256 is not the one on the card; get it again"
        )
    return model


def fetched(name: str) -> Path:
    """A model of the Hugging Face hub, in the local cache."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[CARD, CONFIG, WEIGHTS, ONNX, CHECK]))
    except Exception as error:  # the hub's client raises errors of many libraries
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--model {name}: neither a folder nor reachable on the hub ({reason}); built in are "
            f"{', '.join(builtin_names())}"
        ) from error


def save_model(folder: Path, network: Any, card: Card, check: NDArray[Any] | None = None) -> Model:
    """Write a network of segmentation_models_pytorch and its card as a model folder."""
    from dataclasses import replace

    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CARD).write_text(replace(card, weights_sha256=sha256).to_json(), encoding="utf-8")
    if check is not None:
        np.save(folder / CHECK, check)
    return model_folder(folder, str(folder))
