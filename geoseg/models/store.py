"""Where models live: a folder (local, on the hub, or shipped with geoseg) with weights and a card.

Torch trains and runs the weights; on a CPU the same network runs as an ONNX file, which lies beside them. What is worked
out once per model and machine (files that were not there, measured precision) lies in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import INSTALL_HUB, GeosegError, InputError, shorten_error
from geoseg.io.access import check_writable
from geoseg.io.arrays import map_array
from geoseg.io.atomic import explain_write_errors, replace_files, replace_text
from geoseg.models.architecture import read_architecture
from geoseg.models.card import Card
from geoseg.models.onnx_card import read_onnx_card
from geoseg.models.onnx_graph import OnnxGraph, read_onnx_graph

log = logging.getLogger(__name__)

BUILTIN = Path(__file__).parent / "builtin"

CARD_FILE = "card.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
ONNX_FILE = "model.onnx"
CHECK_FILE = "check.npy"

SOURCE_KEY = "geoseg_network"
"""Where the metadata of an ONNX file say what it was made from."""


@dataclass(frozen=True)
class Model:
    """A model on disk: its card, its weights and, for a torch model, the architecture they belong to."""

    name: str
    card: Card = field(repr=False)
    weights: Path

    @property
    def is_onnx(self) -> bool:
        return self.weights.suffix == ".onnx"

    @cached_property
    def architecture(self) -> dict[str, Any]:
        """The class of the network and its arguments, as `save_pretrained` writes them.

        No weights are downloaded for it, and the activation is the card's affair.
        """
        return read_architecture(self.weights.parent / CONFIG_FILE)

    @cached_property
    def weights_sha256(self) -> str:
        try:
            with self.weights.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.weights}: cannot be read ({error.strerror}); get it again") from error

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the weights, the architecture or anything on the card changes."""
        architecture = None if self.is_onnx else self.architecture
        everything = [self.weights_sha256, architecture, self.card.to_json()]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()

    @cached_property
    def network_sha256(self) -> str:
        """Changes whenever the network's answers could: weights, architecture, and the derived bands that it computes."""
        card, derived = self.card, [asdict(band) for band in self.card.derived]
        seen = [card.bands, derived, card.scaling.mean, card.scaling.std] if derived else []
        weights = card.weights_sha256 or self.weights_sha256
        everything = [weights, self.architecture, card.activation, seen]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()

    @property
    def onnx(self) -> Path:
        return self.graph.path

    @cached_property
    def graph(self) -> OnnxGraph:
        """The network as an ONNX file: the model itself, the file beside its weights, or one made of them and kept."""
        if self.is_onnx:
            return read_onnx_graph(self.weights)
        beside = self.weights.parent / ONNX_FILE
        twin = self.read_twin(beside)
        if twin:
            return twin
        kept = self.read_twin(self.kept_onnx)
        if kept is None:
            raise InputError(f"{self.weights}: has no {ONNX_FILE} beside it, which engines of a CPU run")
        if beside.exists():
            log.warning(f"{beside}: not used, since it was not made from this {self.weights.name}")
        return kept

    @cached_property
    def kept_onnx(self) -> Path:
        """Where an ONNX file made of the weights is kept, for this machine and user."""
        return choose_cache_folder("onnx") / f"{self.network_sha256[:24]}.onnx"

    def read_twin(self, path: Path) -> OnnxGraph | None:
        """An ONNX file if it is there, whole, and made from this very network."""
        with suppress(InputError):
            graph = read_onnx_graph(path)
            return graph if graph.metadata.get(SOURCE_KEY) == self.network_sha256 else None
        return None

    @cached_property
    def check_patches(self) -> NDArray[Any] | None:
        """Raw patches (patch, band, row, col) on which the model's precision is judged, if it has any."""
        path = self.weights.parent / CHECK_FILE
        if not path.exists():
            return None
        patches = np.array(map_array(path))
        bands = len(self.card.bands)
        if patches.ndim != 4 or patches.shape[1] != bands or patches.shape[2] != patches.shape[3]:
            raise InputError(f"{path}: holds {patches.shape}, not square patches of {bands} bands; delete it")
        return patches


def find_model(name: str) -> Model:
    """A model by built-in name, by path or by hub name (`owner/model`)."""
    path = Path(name)
    if name in list_builtin_models():
        return open_model_folder(BUILTIN / name, name)
    if path.is_file():
        return open_model_file(path)
    if path.is_dir():
        return open_model_folder(path, name)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return open_model_folder(download_model(name), name)
    raise InputError(
        f"model {name}: no such folder and no built-in model; built in are {', '.join(list_builtin_models())}"
    )


def list_builtin_models() -> list[str]:
    return sorted(path.parent.name for path in BUILTIN.glob(f"*/{CARD_FILE}"))


def open_model_folder(folder: Path, name: str) -> Model:
    for weights in (folder / WEIGHTS_FILE, folder / ONNX_FILE, *sorted(folder.glob("*.pth"))):
        if weights.exists():
            return check_model(Model(name, read_card_beside(weights), weights))
    raise InputError(f"{folder}: holds no model: {WEIGHTS_FILE}, {ONNX_FILE} or a .pth file is missing")


def open_model_file(path: Path) -> Model:
    if path.suffix not in (".safetensors", ".onnx", ".pth", ".pt"):
        raise InputError(
            f"{path}: not a model; give a folder, an .onnx file or a .pth file with a card beside it"
        )
    if path.name == ONNX_FILE and (path.parent / WEIGHTS_FILE).exists():
        path = path.parent / WEIGHTS_FILE  # whose twin it is
    return check_model(Model(str(path), read_card_beside(path), path))


def read_card_beside(weights: Path) -> Card:
    card = weights.parent / CARD_FILE
    if card.exists():
        return Card.read(card)
    if weights.suffix == ".onnx":
        return read_onnx_card(weights)
    raise InputError(
        f"{weights.parent}: has no {CARD_FILE}, so nothing says which bands, resolution and scaling the model expects; "
        "write one: the page 'The model card' in docs/pages/reference/card.md lists its fields"
    )


def check_model(model: Model) -> Model:
    """Refuse weights that are not those the card was written for, and a card that contradicts the network."""
    expected = model.card.weights_sha256
    is_twin = model.is_onnx and model.read_twin(model.weights)  # of weights that were left out
    if expected and model.weights_sha256 != expected and not is_twin:
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
            f"{model.weights.parent}: {CARD_FILE} names {card.inputs} bands, but {CONFIG_FILE} a network of {bands}"
        )
    if outputs != len(card.outputs):
        raise InputError(
            f"{model.weights.parent}: {CARD_FILE} names {len(card.outputs)} outputs ({', '.join(card.outputs)}), but {CONFIG_FILE} "
            f"a network of {outputs}"
        )


def download_model(name: str) -> Path:
    """A model of the Hugging Face hub, in the local cache."""
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise InputError(
            f"model {name}: neither a folder nor built in ({', '.join(list_builtin_models())}); the hub is asked with "
            f"huggingface_hub: {INSTALL_HUB}"
        ) from error
    try:
        return Path(
            snapshot_download(
                name, allow_patterns=[CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, ONNX_FILE, CHECK_FILE]
            )
        )
    except Exception as error:  # the hub's client raises errors of many libraries
        raise InputError(
            f"model {name}: neither a folder nor reachable on the hub ({shorten_error(error)}); built in are "
            f"{', '.join(list_builtin_models())}"
        ) from error


def save_model(folder: Path, network: Any, card: Card, check: NDArray[Any] | None = None) -> Model:
    """Write a network (of segmentation_models_pytorch, or a plain U-Net) and its card as a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (CARD_FILE, ONNX_FILE, CHECK_FILE):  # until all is there, it is no model
        (folder / stale).unlink(missing_ok=True)
    weights = folder / WEIGHTS_FILE
    with replace_files(weights) as unfinished, explain_write_errors(weights):
        network.save_pretrained(unfinished)
        (unfinished / "README.md").unlink(missing_ok=True)  # it speaks for the library, not for this model
        # The library keeps weights from other users.
        shutil.copymode(unfinished / CONFIG_FILE, unfinished / WEIGHTS_FILE)
        if check is not None:
            np.save(unfinished / CHECK_FILE, check)
    written = replace(card, weights_sha256=Model(card.name, card, folder / WEIGHTS_FILE).weights_sha256)
    replace_text(folder / CARD_FILE, written.to_json())
    return open_model_folder(folder, str(folder))


def find_cache_folder() -> Path:
    """The user's cache for geoseg; `GEOSEG_CACHE` moves it."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("GEOSEG_CACHE") or user_cache_path("geoseg"))


def choose_cache_folder(name: str) -> Path:
    """A folder of the cache; where that cannot be written, one that goes with this process."""
    folder = find_cache_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder / name)
    except (OSError, GeosegError):
        return Path(make_scratch_folder().name)
    return folder


@cache
def make_scratch_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="geoseg-", ignore_cleanup_errors=True)


def write_cache_text(path: Path, text: str) -> None:
    """Keep a small text; a cache that cannot be written is no reason to stop."""
    with suppress(OSError, GeosegError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
