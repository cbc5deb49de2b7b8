"""Models on a CPU through OpenVINO: it reads ONNX files, and takes raw pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import Layout, opset13
from openvino.preprocess import PrePostProcessor
from openvino.utils.types import get_element_type

from geoseg.errors import InputError, shorten_error
from geoseg.models.backends.base import Precision, RawPatches, RuntimeKind
from geoseg.models.backends.host import GraphRuntime, find_graph_obstacle
from geoseg.models.normalisation import Normalisation, make_fixed_normalisation
from geoseg.models.store import Model, choose_cache_folder
from geoseg.parallel import count_threads

PRECISION_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}


def find_version() -> str:
    return str(openvino.__version__).split("-")[0]


def find_obstacle(model: Model, device: str) -> str | None:
    obstacle = find_graph_obstacle(model, "openvino", device)
    if obstacle is None:
        try:
            read_network(model.onnx)
        except RuntimeError as error:
            return f"{model.onnx}: OpenVINO cannot read it ({shorten_error(error)})"
    return obstacle


def list_precisions(device: str) -> Sequence[Precision]:
    del device  # it runs on the CPU only
    return ["bf16", "fp32"] if "BF16" in list_capabilities() else ["fp32"]


def list_capabilities() -> list[str]:
    found: list[str] = get_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


class OpenVinoRuntime(GraphRuntime):
    """An ONNX file in OpenVINO, the normalisation built into the network."""

    def __init__(self, model: Model, patches: RawPatches, precision: Precision) -> None:
        super().__init__(model, patches)
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": count_threads(),
            **choose_cache(model, patches),
        }
        network = read_network(self.graph.path).clone()
        try:
            network.reshape([1, len(model.card.bands), patches.side, patches.side])
            network = build_in_normalisation(network, patches.normalisation, patches.dtype)
            compiled = get_core().compile_model(network, "CPU", settings)
        except RuntimeError as error:
            raise InputError(
                f"{self.graph.path}: cannot be run on a patch of {patches.side} pixels "
                f"({shorten_error(error)}); try another `patch`"
            ) from error
        self.idle: SimpleQueue[RequestSlot] = SimpleQueue()
        for _ in range(self.streams):
            self.idle.put(RequestSlot(compiled))

    def compute(self, patch: NDArray[Any]) -> NDArray[np.float32]:
        slot = self.idle.get()
        try:
            return slot.compute(patch)
        finally:
            self.idle.put(slot)


class RequestSlot:
    """A request of a network that is made once and used again and again, by one thread at a time.

    It is made where the network is: what OpenVINO's Python does at first use waits for ever if two threads do it at a time.
    """

    def __init__(self, compiled: Any) -> None:
        self.request = compiled.create_infer_request()
        self.inputs = self.request.get_input_tensor(0).data
        _ = self.request.get_output_tensor(0).data

    def compute(self, patch: NDArray[Any]) -> NDArray[np.float32]:
        self.inputs[...] = patch
        self.request.start_async()
        self.request.wait()
        answer: NDArray[np.float32] = self.request.get_output_tensor(0).data.copy()
        return answer


def open_runtime(model: Model, patches: RawPatches, kind: RuntimeKind) -> OpenVinoRuntime:
    return OpenVinoRuntime(model, patches, kind.precision)


def choose_cache(model: Model, patches: RawPatches) -> dict[str, str]:
    """Where OpenVINO keeps what it compiled for this kind of processor, so that later runs begin sooner.

    Scenes that are stretched have a scale each, and would fill the disk.
    """
    if patches.normalisation != make_fixed_normalisation(model.card):
        return {}
    return {"CACHE_DIR": str(choose_cache_folder("-".join(["openvino", *list_capabilities()])))}


def read_network(path: Path) -> Any:
    """A network as its file has it, to be cloned; read once, as long as the file stays as it is."""
    return read_network_version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def read_network_version(path: Path, mtime_ns: int) -> Any:
    del mtime_ns
    return get_core().read_model(path)


def build_in_normalisation(network: Any, normalisation: Normalisation, dtype: str) -> Any:
    """Build the normalisation into a network, so that raw pixels of a type go in, and float32 comes out."""
    stages = PrePostProcessor(network)
    pixels, steps = stages.input(), stages.input().preprocess()
    pixels.tensor().set_element_type(get_element_type(np.dtype(dtype).type)).set_layout(Layout("NCHW"))
    pixels.model().set_layout(Layout("NCHW"))
    steps.convert_element_type(get_element_type(np.float32))
    if normalisation.clip:
        steps.custom(lambda values: clip_values(values, normalisation))
    steps.mean(list(normalisation.neutral)).scale([1 / gain for gain in normalisation.gain])
    steps.convert_element_type(network.input().get_element_type())
    stages.output(0).tensor().set_element_type(get_element_type(np.float32))
    return stages.build()


def clip_values(values: Any, normalisation: Normalisation) -> Any:
    low, high = (
        np.array(limits, np.float32).reshape(1, -1, 1, 1)
        for limits in (normalisation.low, normalisation.high)
    )
    return opset13.minimum(opset13.maximum(values, low), high).output(0)


@cache
def get_core() -> Any:
    return openvino.Core()
