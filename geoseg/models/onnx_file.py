"""ONNX files as they lie on disk: what goes in, what comes out, and the card that they bring along.

The card is geoseg's own, in a metadata key of its own, or what the metadata of the QGIS plugin Deepness amounts to.
Deepness divides pixels by 255, then applies mean and std; it ignores geoseg's key.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import InputError, shorten_error
from geoseg.models.card import Card, Scaling
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.raster.palette import ClassEntry

AxisSize = int | None
"""A length along one axis; None where the file leaves it open."""

ONNX_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


@dataclass(frozen=True)
class OnnxSignature:
    """What a network takes and gives: axes are batch, band or class, row and column."""

    input_name: str
    dtype: str
    takes: tuple[AxisSize, AxisSize, AxisSize, AxisSize]
    gives: tuple[AxisSize, AxisSize, AxisSize, AxisSize]


def open_onnx_session(path: Path, threads: int = 1) -> Any:
    """An ONNX file ready to run on the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: ONNX models need onnxruntime: pip install 'geoseg[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise InputError(f"{path}: not an ONNX model that can be read ({shorten_error(error)})") from error


def read_signature(session: Any, path: Path) -> OnnxSignature:
    """What an open file takes and gives, or one line on why no scene can be fed to it."""
    inputs, answer = session.get_inputs(), session.get_outputs()[0]
    if len(inputs) != 1:
        raise InputError(f"{path}: takes {len(inputs)} inputs, not one image")
    if inputs[0].type not in ONNX_TYPES:
        raise InputError(f"{path}: takes {inputs[0].type}; export it with an input of float32")
    takes = parse_axes(inputs[0].shape, f"{path}: its input")
    if takes[0] not in (None, 1):
        raise InputError(f"{path}: takes {takes[0]} patches at a time; export it for a batch of 1")
    return OnnxSignature(
        inputs[0].name, ONNX_TYPES[inputs[0].type], takes, parse_axes(answer.shape, f"{path}: its output")
    )


def parse_axes(shape: list[int | str | None], what: str) -> tuple[AxisSize, AxisSize, AxisSize, AxisSize]:
    if len(shape) != 4:
        raise InputError(f"{what} has {len(shape)} dimensions, not batch, bands, rows and columns")
    batch, channels, rows, cols = (size if isinstance(size, int) else None for size in shape)
    return batch, channels, rows, cols


CARD_KEY = "geoseg_card"
CLASS_COLORS = ("#000000", "#e4572e", "#4c9f70", "#5b7db1", "#f3b61f", "#8e6c8a", "#76b7b2", "#9c755f")
PHOTO_BANDS = ("red", "green", "blue", "nir")
OVERLAP_PERCENT = 12


def read_onnx_card(path: Path) -> Card:
    """The card that a file brings along: geoseg's own, or what Deepness's keys amount to."""
    session = open_onnx_session(path)
    written: dict[str, str] = session.get_modelmeta().custom_metadata_map
    if CARD_KEY in written:
        return Card.parse(written[CARD_KEY], str(path))
    if not {"class_names", "resolution"} <= set(written):
        raise InputError(
            f"{path}: neither a card.json beside it nor metadata inside it say what it expects; write a card.json"
        )
    try:
        return make_card(OnnxMetadata(written), path.stem, read_signature(session, path))
    except (ValueError, TypeError, SyntaxError) as error:
        raise InputError(
            f"{path}: its metadata cannot be understood ({error}); write a card.json beside it"
        ) from error


class OnnxMetadata:
    """Values by key; JSON, or in old files Python's way of writing it."""

    def __init__(self, written: Mapping[str, str]) -> None:
        self.written = written

    def __call__(self, key: str, otherwise: Any = None) -> Any:
        text = self.written.get(key)
        if text is None:
            return otherwise
        try:
            return json.loads(text)
        except ValueError:
            return parse_literal(key, text)


def parse_literal(key: str, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(f"{key} is {text[:40]!r}, which is no JSON") from None


def make_card(metadata: OnnxMetadata, name: str, network: OnnxSignature) -> Card:
    kind = str(metadata("model_type", "Segmentor")).capitalize()
    if kind != "Segmentor":
        raise ValueError(f"it is a {kind}, not a Segmentor")
    _, bands, side, _ = network.takes
    outputs = network.gives[1]
    if bands is None or outputs is None:
        raise ValueError("it leaves open how many bands it takes or how many classes it gives")
    names = parse_class_names(metadata("class_names"), outputs)
    gsd_m = float(metadata("resolution")) / 100
    return Card(
        name=name,
        bands=PHOTO_BANDS[:bands]
        if bands <= len(PHOTO_BANDS)
        else tuple(f"band{i + 1}" for i in range(bands)),
        classes=tuple(
            ClassEntry(label, CLASS_COLORS[i % len(CLASS_COLORS)]) for i, label in enumerate(names)
        ),
        gsd_m=gsd_m,
        gsd_range_m=(gsd_m / 2, gsd_m * 2),
        patch=int(metadata("tiles_size", metadata("tile_size", side or 512))),
        scaling=Scaling(
            mean=tuple(map(float, metadata("standardization_mean", (0.0,)))),
            std=tuple(map(float, metadata("standardization_std", (1.0,)))),
        ),
        activation="sigmoid" if outputs == 1 else "softmax",
        threshold=float(metadata("seg_thresh", 0.5)),
    )


def parse_class_names(written: Any, outputs: int) -> list[str]:
    """Names by class; a network of one channel has the background unwritten or first."""
    ordered = [written[key] for key in sorted(written, key=int)] if isinstance(written, dict) else written
    if not isinstance(ordered, list) or not ordered:
        raise ValueError("class_names holds no names")
    names = [str(name) for name in ordered]
    if outputs == 1:
        return ["background", names[-1]]
    if len(names) != outputs:
        raise ValueError(f"{len(names)} class names for {outputs} channels")
    return names


def make_metadata(card: Card) -> dict[str, str]:
    """What a file says to Deepness, and to geoseg, about a model; it answers with classes alone."""
    scale = make_fixed_normalisation(card)
    neutral, gain = np.array(scale.neutral), np.array(scale.gain)
    keys = {
        "model_type": "Segmentor",
        "class_names": {str(i): entry.name for i, entry in enumerate(card.classes)},
        "resolution": card.gsd_m * 100,
        # The plugin's manual names the first, its code the second.
        "tiles_size": card.patch,
        "tile_size": card.patch,
        "tiles_overlap": OVERLAP_PERCENT,
        "standardization_mean": (neutral / 255).tolist(),
        "standardization_std": (1 / gain / 255).tolist(),
        "seg_thresh": card.threshold,
    }
    own = replace(card, weights_sha256="", separators=()).to_json()
    return {CARD_KEY: own} | {name: json.dumps(value) for name, value in keys.items()}
