"""Models on a CPU through OpenVINO: converted once, kept in the user's cache, fed raw pixels."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.errors import GeosegError
from geoseg.io.atomic import replace_files
from geoseg.models.backends.torch import ProbabilityNetwork
from geoseg.models.network import load_network
from geoseg.models.normalisation import Normalisation
from geoseg.models.store import Model, find_cache_folder

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoRuntime:
    """One patch at a time, so that a patch's result cannot depend on its neighbours in a batch."""

    device = torch.device("cpu")

    def __init__(self, network: Any, precision: str) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self.request = get_core().compile_model(network, "CPU", settings).create_infer_request()

    def __call__(self, raw: Tensor) -> Tensor:
        return torch.cat([self.answer(patch[None]) for patch in raw.contiguous().numpy()])

    def answer(self, patch: NDArray[Any]) -> Tensor:
        """The engine reads the patch where it lies; its own answer is good until the next patch."""
        return torch.from_numpy(
            self.request.infer({0: patch}, share_inputs=True, share_outputs=True)[0].copy()
        )


def load_converted_network(model: Model, patch: int) -> Any:
    """The model as an OpenVINO network for normalised patches, from the cache when it was converted before."""
    name = f"{model.fingerprint[:24]}-{patch}-{len(model.card.outputs)}-{get_openvino_version()}.xml"
    path = find_cache_folder() / "openvino" / name
    network = read_cached_network(path)
    if network is None:
        network = convert_network(model, patch)
        write_cached_network(network, path)
    return network


def read_cached_network(path: Path) -> Any:
    """A network converted before, or None when there is none or it is damaged."""
    if not (path.exists() and path.with_suffix(".bin").exists()):
        return None
    with suppress(RuntimeError):
        return get_core().read_model(path)
    return None


def convert_network(model: Model, patch: int) -> Any:
    """Trace the torch network at one patch size."""
    import openvino

    network = ProbabilityNetwork(load_network(model), model.card).eval()
    example = torch.zeros(1, len(model.card.bands), patch, patch)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every Python number it fixes
        network(example)
        return openvino.convert_model(
            network, example_input=example, input=[1, len(model.card.bands), patch, patch]
        )


def write_cached_network(network: Any, path: Path) -> None:
    """Write a converted network so that another process never sees half of it: weights first, by renaming.

    A cache that cannot be written costs a conversion each time, no more.
    """
    import openvino

    with suppress(OSError, RuntimeError, GeosegError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_files(path) as folder:  # in the order of names: .bin before .xml
            openvino.save_model(network, folder / path.name, compress_to_fp16=False)


def build_in_normalisation(network: Any, normalisation: Normalisation, dtype: str) -> Any:
    """Build the normalisation into a network, so that raw pixels of a type go in."""
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor
    from openvino.utils.types import get_element_type

    stages = PrePostProcessor(network)
    stages.input().tensor().set_element_type(get_element_type(np.dtype(dtype).type)).set_layout(
        Layout("NCHW")
    )
    stages.input().model().set_layout(Layout("NCHW"))
    stages.input().preprocess().convert_element_type(get_element_type(np.float32))
    if normalisation.clip:
        stages.input().preprocess().custom(lambda values: clip_values(values, normalisation))
    stages.input().preprocess().mean(list(normalisation.neutral)).scale(
        [1 / gain for gain in normalisation.gain]
    )
    return stages.build()


def clip_values(values: Any, normalisation: Normalisation) -> Any:
    from openvino import opset13 as operations

    low, high = (
        np.array(limits, np.float32).reshape(1, -1, 1, 1)
        for limits in (normalisation.low, normalisation.high)
    )
    return operations.minimum(operations.maximum(values, low), high).output(0)


@cache
def get_core() -> Any:
    import openvino

    return openvino.Core()


def is_openvino_installed() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def get_openvino_version() -> str:
    import openvino

    return str(openvino.__version__).split("-")[0]


def supports_bf16() -> bool:
    return "BF16" in get_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
