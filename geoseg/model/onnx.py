"""ONNX models: run through onnxruntime, written from torch models, with a card beside or inside the file.

The keys inside the file are those of the QGIS plugin Deepness, so that one file serves both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geoseg.errors import GeosegError, InputError
from geoseg.model.card import Card, LandClass, Scaling
from geoseg.model.folder import Model
from geoseg.model.network import Activated, Normalised, load_network
from geoseg.model.normalisation import Normalisation

COLOURS = ("#000000", "#e4572e", "#4c9f70", "#5b7db1", "#f3b61f", "#8e6c8a", "#76b7b2", "#9c755f")
LARGEST_DIFFERENCE = 1e-3


class OnnxRuntime:
    """An ONNX network on the CPU, one patch at a time."""

    device = torch.device("cpu")

    def __init__(self, model: Model, normalisation: Normalisation, patch: int) -> None:
        self.session = open_session(model.weights)
        self.input = self.session.get_inputs()[0].name
        refuse_other_size(model, self.session.get_inputs()[0].shape, patch)
        self.normalised = Normalised(AsModule(self.run), normalisation)
        self.activation = (
            None if self.answers_with_probabilities(len(model.card.bands), patch) else model.card.activation
        )

    def __call__(self, raw: Tensor) -> Tensor:
        with torch.inference_mode():
            answers = torch.cat([self.normalised(patch[None]) for patch in raw])
        if self.activation is None:
            return answers
        return answers.sigmoid() if self.activation == "sigmoid" else answers.softmax(1)

    def run(self, inputs: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(None, {self.input: inputs.contiguous().numpy()})[0]).float()

    def answers_with_probabilities(self, bands: int, patch: int) -> bool:
        """Whether the activation is already inside the file, judged on fixed noise."""
        answer = self.run(torch.randn(1, bands, patch, patch, generator=torch.Generator().manual_seed(0)) * 3)
        within = bool(answer.min() >= 0) and bool(answer.max() <= 1)
        return within and (answer.shape[1] == 1 or bool((answer.sum(1) - 1).abs().max() < 1e-3))


class AsModule(torch.nn.Module):
    """A function as a torch module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


@cache
def open_session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: ONNX models need onnxruntime: pip install 'geoseg[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not an ONNX model that can be read ({reason})") from error


def refuse_other_size(model: Model, shape: Sequence[int | str | None], patch: int) -> None:
    """A network of fixed size takes patches of that size only."""
    if len(shape) != 4:
        raise InputError(
            f"{model.weights}: its input has {len(shape)} dimensions, not batch, bands, rows and columns"
        )
    bands, rows, cols = shape[1:]
    if isinstance(bands, int) and bands != len(model.card.bands):
        raise InputError(f"{model.weights}: takes {bands} bands, but its card names {len(model.card.bands)}")
    for size in (rows, cols):
        if isinstance(size, int) and size != patch:
            raise InputError(
                f"{model.weights}: takes patches of {cols} x {rows} pixels only; use --patch {size}"
            )


def card_inside(path: Path) -> Card:
    """The card that a file's metadata amount to."""
    session = open_session(path)
    raw = session.get_modelmeta().custom_metadata_map
    if "class_names" not in raw or "resolution" not in raw:
        raise InputError(
            f"{path}: neither a card.json beside it nor metadata inside it say what it expects; write a card.json"
        )
    try:
        keys = {name: json.loads(text) for name, text in raw.items() if name in KEYS}
        return card_of(keys, path, session)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(
            f"{path}: its metadata cannot be understood ({error}); write a card.json beside it"
        ) from error


KEYS = frozenset(
    {"model_type", "class_names", "resolution", "tiles_size", "tiles_overlap", "standardization_mean",
     "standardization_std", "seg_thresh"}
)  # fmt: skip


def card_of(keys: Mapping[str, Any], path: Path, session: Any) -> Card:
    if keys.get("model_type", "Segmentor") != "Segmentor":
        raise ValueError(f"it is a {keys['model_type']}, not a Segmentor")
    bands, size = session.get_inputs()[0].shape[1:3]
    outputs = session.get_outputs()[0].shape[1]
    names = class_names(keys["class_names"], outputs)
    gsd_m = float(keys["resolution"]) / 100
    return Card(
        name=path.stem,
        bands=tuple(["red", "green", "blue", "nir"][:bands])
        if bands <= 4
        else tuple(f"band{i + 1}" for i in range(bands)),
        classes=tuple(LandClass(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names)),
        gsd_m=gsd_m,
        gsd_range_m=(gsd_m / 2, gsd_m * 2),
        patch=int(keys.get("tiles_size", size if isinstance(size, int) else 512)),
        scaling=Scaling(
            mean=tuple(keys.get("standardization_mean", (0.0,))),
            std=tuple(keys.get("standardization_std", (1.0,))),
        ),
        activation="sigmoid" if outputs == 1 else "softmax",
        threshold=float(keys.get("seg_thresh", 0.5)),
    )


def class_names(written: Any, outputs: int) -> list[str]:
    """Names by class; a network of one channel has the background unwritten or first."""
    ordered = (
        [written[key] for key in sorted(written, key=int)] if isinstance(written, dict) else list(written)
    )
    names = [str(name) for name in ordered]
    if outputs == 1:
        return ["background", names[-1]]
    if len(names) != outputs:
        raise ValueError(f"{len(names)} class names for {outputs} channels")
    return names


def export_onnx(model: Model, out: Path) -> float:
    """Write a model as ONNX with Deepness's keys; returns the largest difference to torch on a random patch."""
    if model.is_onnx:
        raise InputError(f"{model.weights}: is an ONNX model already")
    network = Activated(load_network(model), model.card.activation).eval()
    patch = model.card.patch
    example = (
        torch.rand(1, len(model.card.bands), patch, patch, generator=torch.Generator().manual_seed(0)) * 2 - 1
    )
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.onnx")
    try:
        write_onnx(network, example, unfinished)
        add_metadata(unfinished, model.card)
        difference = largest_difference(network, example, unfinished)
        if difference > LARGEST_DIFFERENCE:
            raise GeosegError(
                f"{out}: not written, since its answers differ from the torch model's by {difference:.2g}"
            )
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return difference


def write_onnx(network: torch.nn.Module, example: Tensor, path: Path) -> None:
    import warnings

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every Python number it fixes
        torch.onnx.export(
            network, (example,), path, dynamo=False, input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )  # fmt: skip


def add_metadata(path: Path, card: Card) -> None:
    import onnx

    scaling = card.scaling
    bands = len(card.bands)
    keys = {
        "model_type": "Segmentor",
        "class_names": {str(i): entry.name for i, entry in enumerate(card.classes)},
        "resolution": card.gsd_m * 100,
        "tiles_size": card.patch,
        "tiles_overlap": 12.5,
        "standardization_mean": list(np.broadcast_to(scaling.mean, bands)),
        "standardization_std": list(np.broadcast_to(scaling.std, bands)),
        "seg_thresh": card.threshold,
    }
    document = onnx.load(path)
    for name, value in keys.items():
        document.metadata_props.add(key=name, value=json.dumps(value, default=float))
    onnx.save(document, path)


def largest_difference(network: torch.nn.Module, example: Tensor, path: Path) -> float:
    session = open_session.__wrapped__(path)
    with torch.inference_mode():
        expected = network(example).numpy()
    return float(np.abs(session.run(None, {"input": example.numpy()})[0] - expected).max())
