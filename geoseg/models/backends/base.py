"""What every backend is: a device, an engine and a precision; raw patches go in, probabilities come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from geoseg.models.normalisation import Normalisation

Engine = Literal["torch", "openvino", "onnx"]
Precision = Literal["fp32", "bf16", "fp16"]


class Runtime(Protocol):
    """Raw patches (patch, band, row, col) in, probabilities (patch, channel, row, col) in float32 out.

    The channels are the outputs that the card names: those of the classes first, then the separators.
    """

    @property
    def device(self) -> torch.device: ...

    def __call__(self, raw: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class RuntimeKind:
    """Which device, engine and precision."""

    device: str
    engine: Engine
    precision: Precision

    def __str__(self) -> str:
        return f"{self.engine} {self.precision} on {self.device}"


@dataclass(frozen=True)
class RawPatches:
    """The patches a runtime is fed: their side in pixels, their type and how they are normalised."""

    side: int
    dtype: str
    normalisation: Normalisation
