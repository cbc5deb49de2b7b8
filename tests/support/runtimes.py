"""What engines answer to raw patches, as numpy arrays."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from geoseg.models.backends.base import GRAPH_ENGINES, Engine, Precision, RawPatches, Runtime, RuntimeKind
from geoseg.models.normalisation import Normalisation, make_fixed_normalisation
from geoseg.models.precision import make_graph
from geoseg.models.runtime import open_runtime
from geoseg.models.store import Model


def ask(runtime: Runtime, raw: NDArray[Any]) -> NDArray[Any]:
    """What a runtime answers to raw patches, brought back from its device."""
    device = runtime.device
    return device.download(runtime(device.upload(raw)))()


def answer(
    model: Model,
    raw: NDArray[Any],
    engine: Engine = "openvino",
    normalisation: Normalisation | None = None,
    precision: Precision = "fp32",
) -> NDArray[Any]:
    """What a model answers to raw patches (patch, band, row, col)."""
    scale = normalisation or make_fixed_normalisation(model.card)
    if engine in GRAPH_ENGINES:
        make_graph(model)
    patches = RawPatches(raw.shape[-1], str(raw.dtype), scale)
    return ask(open_runtime(model, patches, RuntimeKind("cpu", engine, precision)), raw)
