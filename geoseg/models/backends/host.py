"""What the engines of a CPU share: networks from ONNX files on numpy arrays, one patch at a time in each stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GeosegError, InputError
from geoseg.models.backends.base import Array, RawPatches
from geoseg.models.card import Activation, Card
from geoseg.models.onnx_graph import OnnxGraph
from geoseg.models.store import Model
from geoseg.parallel import count_threads

TOLERANCE = 1e-4
"""How far beyond 0 to 1 rounding may carry a probability."""


@dataclass(frozen=True)
class HostDevice:
    """The processor and its memory, where nothing needs to be moved."""

    name: str = "cpu"
    xp: ClassVar[Any] = np

    def upload(self, values: NDArray[Any]) -> Array:
        return values

    def download(self, values: Array) -> Callable[[], NDArray[Any]]:
        return lambda: values


HOST = HostDevice()


STREAMED_PIXELS = 8 * 512**2
"""So many pixels at most are in streams at a time, since each takes some 100 to 200 bytes of memory in a network's layers."""


def count_streams(side: int, many: bool) -> int:
    """How many patches are worked on at a time: one a thread takes a seventh less of the processor (measured) than all at one."""
    return max(1, min(count_threads(), STREAMED_PIXELS // side**2)) if many else 1


def find_graph_obstacle(model: Model, engine: str, device: str) -> str | None:
    """Why no engine of a CPU can run a model, or None."""
    if device != "cpu":
        return f"`engine` {engine}: runs on the CPU only, not on {device}"
    try:
        _ = model.graph
    except GeosegError as error:
        return str(error)
    return None


class GraphRuntime(ABC):
    """A network from an ONNX file.

    It runs one patch at a time, so that a patch's result cannot depend on its neighbours in a batch. Several threads may each
    run one: cores that work on a patch each need not wait for one another.
    """

    device = HOST

    def __init__(self, model: Model, patches: RawPatches) -> None:
        self.model = model
        self.patches = patches
        self.graph = model.graph
        self.streams = count_streams(patches.side, patches.many)
        refuse_input_mismatch(self.graph, model.card, patches.side)

    @abstractmethod
    def compute(self, patch: NDArray[Any]) -> NDArray[np.float32]:
        """The network's own answer to a raw patch (1, band, row, col), in an array of its own."""

    def __call__(self, raw: Array) -> Array:
        answers = [self.predict(patch[None]) for patch in raw]
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def predict(self, patch: NDArray[Any]) -> NDArray[np.float32]:
        answer = self.compute(patch)
        refuse_output_mismatch(self.graph, self.model.card, answer.shape, self.patches.side)
        return activate(answer, self.activation)

    @cached_property
    def activation(self) -> Activation | None:
        """What is left to be done to answers: nothing where the file does it itself."""
        inside = self.graph.gives_probabilities
        if inside is None:
            inside = are_probabilities(self.compute(draw_noise(self.patches)))
        return None if inside else self.model.card.activation


def are_probabilities(answer: NDArray[np.float32]) -> bool:
    """Whether the activation is inside the file already: nothing else stays between 0 and 1 on noise."""
    return bool(answer.min() >= -TOLERANCE) and bool(answer.max() <= 1 + TOLERANCE)


def draw_noise(patches: RawPatches) -> NDArray[Any]:
    """A raw patch that is three times as varied as what networks are trained on."""
    scale, dtype = patches.normalisation, np.dtype(patches.dtype)
    noise = np.random.default_rng(0).normal(0, 3, (1, len(scale.gain), patches.side, patches.side))
    neutral, gain = (np.array(values)[:, None, None] for values in (scale.neutral, scale.gain))
    values = neutral + noise / gain
    if dtype.kind in "iu":
        values = values.round().clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.asarray(values, dtype)


def activate(answer: NDArray[np.float32], activation: Activation | None) -> NDArray[np.float32]:
    """Answers as probabilities; the answers are used up."""
    values: NDArray[np.float32]
    if activation == "softmax":
        powers = np.exp(answer - answer.max(1, keepdims=True))
        values = powers / powers.sum(1, keepdims=True)
    elif activation == "sigmoid":
        values = 0.5 * np.tanh(0.5 * answer) + 0.5  # which never overflows
    else:
        values = answer.clip(0, 1, out=answer)
    return values


def refuse_input_mismatch(graph: OnnxGraph, card: Card, side: int) -> None:
    """A network of fixed size takes patches of that size only."""
    _, bands, rows, cols = graph.takes
    if bands not in (None, len(card.bands)):
        raise InputError(f"{graph.path}: takes {bands} bands, but its card names {len(card.bands)}")
    if rows != cols:
        raise InputError(f"{graph.path}: takes patches of {rows} x {cols} pixels; geoseg's are square")
    if rows not in (None, side):
        raise InputError(f"{graph.path}: takes patches of {rows} pixels only; use `patch` {rows}")


def refuse_output_mismatch(graph: OnnxGraph, card: Card, shape: tuple[int, ...], side: int) -> None:
    expected = (1, len(card.outputs), side, side)
    if shape != expected:
        raise InputError(
            f"{graph.path}: answers a patch of {side} pixels with {' x '.join(map(str, shape[1:]))} values "
            f"(classes, rows, columns), but its card wants {' x '.join(map(str, expected[1:]))}"
        )
