"""Models on a CPU through onnxruntime: where OpenVINO is not installed, or cannot read a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from geoseg.errors import InputError, shorten_error
from geoseg.models.backends.base import Precision, RawPatches, RuntimeKind
from geoseg.models.backends.host import GraphRuntime, find_graph_obstacle
from geoseg.models.normalisation import Normaliser
from geoseg.models.store import Model
from geoseg.parallel import count_threads

SILENT = 4


def find_version() -> str:
    return str(onnxruntime.__version__)


def find_obstacle(model: Model, device: str) -> str | None:
    return find_graph_obstacle(model, "onnx", device)


def list_precisions(device: str) -> Sequence[Precision]:
    del device
    return ["fp32"]


class OnnxRuntime(GraphRuntime):
    """An ONNX file in onnxruntime, pixels normalised by numpy."""

    def __init__(self, model: Model, patches: RawPatches) -> None:
        super().__init__(model, patches)
        self.session = open_session(self.graph.path, max(1, count_threads() // self.streams))
        self.normalise = Normaliser(patches.normalisation)

    def compute(self, patch: NDArray[Any]) -> NDArray[np.float32]:
        inputs = self.normalise(patch.astype(np.float32)).astype(self.graph.dtype)
        try:
            answer: NDArray[Any] = self.session.run(None, {self.graph.input_name: inputs})[0]
        except Exception as error:  # onnxruntime's errors share no base class
            raise InputError(
                f"{self.graph.path}: cannot be run on a patch of {self.patches.side} pixels "
                f"({shorten_error(error)}); try another `patch`"
            ) from error
        return answer.astype(np.float32, copy=False)


def open_runtime(model: Model, patches: RawPatches, kind: RuntimeKind) -> OnnxRuntime:
    del kind  # always in full precision
    return OnnxRuntime(model, patches)


def open_session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = SILENT
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise InputError(f"{path}: onnxruntime cannot read it ({shorten_error(error)})") from error
