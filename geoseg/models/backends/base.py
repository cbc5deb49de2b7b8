"""What every backend is: a device, an engine and a precision; raw patches go in, probabilities come out.

On a CPU patches are numpy arrays, on a GPU torch tensors. Code that takes either keeps to what both understand alike: slices,
operators, and functions of `Device.xp`, which is numpy or torch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from geoseg.errors import GeosegError
from geoseg.models.normalisation import Normalisation
from geoseg.models.store import Model

Engine = Literal["torch", "openvino", "onnx"]
GRAPH_ENGINES: tuple[Engine, ...] = ("openvino", "onnx")
"""Those of a CPU, which run ONNX files."""
Precision = Literal["fp32", "bf16", "fp16"]
Array = Any
"""A numpy array or a torch tensor."""


class Device(Protocol):
    """Where arrays lie, and how they come there and back."""

    @property
    def name(self) -> str: ...

    @property
    def xp(self) -> Any:
        """The library whose functions its arrays understand."""

    def upload(self, values: NDArray[Any]) -> Array: ...

    def download(self, values: Array) -> Callable[[], NDArray[Any]]:
        """Set out to fetch an array; the result waits until it is there."""


class DeviceMemoryError(GeosegError):
    """The memory of a device does not hold so many patches at a time."""


class Runtime(Protocol):
    """Raw patches (patch, band, row, col) in, probabilities (patch, channel, row, col) in float32 out.

    The channels are the outputs that the card names: those of the classes first, then the separators. Where the device's memory
    does not hold all patches at a time it raises DeviceMemoryError, and can be asked for fewer.
    """

    @property
    def device(self) -> Device: ...

    @property
    def streams(self) -> int:
        """How many threads may call it at a time, each with a batch of its own."""

    def __call__(self, raw: Array) -> Array: ...


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
    """The patches a runtime is fed: their side in pixels, their type and how they are normalised.

    Of `many` each core of a CPU takes one of its own; of few all cores share one.
    """

    side: int
    dtype: str
    normalisation: Normalisation
    many: bool = False


class Backend(Protocol):
    """What each module beside this one offers: one engine."""

    def find_version(self) -> str: ...

    def find_obstacle(self, model: Model, device: str) -> str | None:
        """Why the engine cannot run a model on a device, or None when it can."""

    def list_precisions(self, device: str) -> Sequence[Precision]:
        """The precisions that the engine has there, the fastest first."""

    def open_runtime(self, model: Model, patches: RawPatches, kind: RuntimeKind) -> Runtime: ...
