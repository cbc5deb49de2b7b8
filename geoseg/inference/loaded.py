"""A model that is ready to run, found and opened once for as many scenes as there are."""

from __future__ import annotations

from dataclasses import dataclass, field

from geoseg.inference.options import PredictOptions
from geoseg.models.backends.base import RawPatches, Runtime, RuntimeKind
from geoseg.models.precision import choose_runtime
from geoseg.models.runtime import find_devices, open_runtime
from geoseg.models.store import Model

MOST_OPEN = 4
"""Runtimes kept open per device: scenes that are stretched have one each, and would fill the memory."""


@dataclass(frozen=True)
class LoadedModel:
    """A model, and the devices, engine and precision that run it."""

    model: Model
    kinds: tuple[RuntimeKind, ...]
    place: str | None = None
    """Where the devices are, if not in this machine."""
    _opened: dict[tuple[RawPatches, RuntimeKind], Runtime] = field(default_factory=dict, compare=False)

    def open_runtime(self, patches: RawPatches, kind: RuntimeKind) -> Runtime:
        """What runs it on one kind of raw patches; the same as last time, where it is open still."""
        runtime = self._opened.pop((patches, kind), None) or open_runtime(self.model, patches, kind)
        self._opened[patches, kind] = runtime
        while len(self._opened) > MOST_OPEN * len(self.kinds):
            del self._opened[next(iter(self._opened))]
        return runtime


def load_model(model: Model, options: PredictOptions) -> LoadedModel:
    """Find what runs a model, or say in one line why nothing does."""
    devices = ["cpu"] if model.is_onnx and options.device == "auto" else find_devices(options.device)
    kind = choose_runtime(model, devices[0], options.engine, options.precision)
    return LoadedModel(model, tuple(RuntimeKind(device, kind.engine, kind.precision) for device in devices))
