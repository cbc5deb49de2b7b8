"""The card that an ONNX file brings along, in its metadata: geoseg's own, or what the keys of the QGIS plugin Deepness say.

Deepness divides pixels by 255, then applies mean and std; it ignores geoseg's key.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import InputError
from geoseg.models.card import Card, Scaling
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.onnx_graph import OnnxGraph, read_onnx_graph
from geoseg.raster.palette import ClassEntry
from geoseg.records import parse_json

CARD_KEY = "geoseg_card"
CLASS_COLORS = ("#000000", "#e4572e", "#4c9f70", "#5b7db1", "#f3b61f", "#8e6c8a", "#76b7b2", "#9c755f")
PHOTO_BANDS = ("red", "green", "blue", "nir")
OVERLAP_PERCENT = 12


def read_onnx_card(path: Path) -> Card:
    """The card that a file brings along: geoseg's own, or what Deepness's keys amount to."""
    graph = read_onnx_graph(path)
    written = graph.metadata
    if CARD_KEY in written:
        return Card.parse(written[CARD_KEY], str(path))
    if not {"class_names", "resolution"} <= set(written):
        raise InputError(
            f"{path}: neither a card.json beside it nor metadata inside it say what it expects; write a card.json"
        )
    try:
        return make_card(OnnxMetadata(written), path.stem, graph)
    except (InputError, ValueError, TypeError, SyntaxError) as error:
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
            return parse_json(text)
        except ValueError:
            return parse_literal(key, text)


def parse_literal(key: str, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(f"{key} is {text[:40]!r}, which is no JSON") from None


def make_card(metadata: OnnxMetadata, name: str, network: OnnxGraph) -> Card:
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
