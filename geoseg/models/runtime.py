"""Opens models to run them, and finds the devices to run them on."""

from __future__ import annotations

import torch

from geoseg.errors import InputError
from geoseg.models.backends.base import RawPatches, Runtime, RuntimeKind
from geoseg.models.backends.torch import NormalisedNetwork, ProbabilityNetwork, TorchRuntime
from geoseg.models.network import load_network
from geoseg.models.store import Model


def open_runtime(model: Model, patches: RawPatches, kind: RuntimeKind) -> Runtime:
    """Load a model for one kind of raw patches."""
    if kind.engine == "onnx":
        from geoseg.models.backends.onnx import OnnxRuntime

        return OnnxRuntime(model, patches.normalisation, patches.side)
    if kind.engine == "openvino":
        from geoseg.models.backends.openvino import (
            OpenVinoRuntime,
            build_in_normalisation,
            load_converted_network,
        )

        network = load_converted_network(model, patches.side)
        return OpenVinoRuntime(
            build_in_normalisation(network, patches.normalisation, patches.dtype), kind.precision
        )
    network = ProbabilityNetwork(load_network(model), model.card)
    return TorchRuntime(NormalisedNetwork(network, patches.normalisation), kind.device, kind.precision)


def find_devices(request: str) -> list[str]:
    """The devices that `device` means, or one line on why there is none. All GPUs of a machine share a scene."""
    if request == "auto":
        return list_available("cuda") or list_available("mps") or ["cpu"]
    named = [item.strip() for item in request.split(",")]
    for name in named:
        if not list_available(name):
            raise InputError(f"`device` {name}: not there; this machine has {', '.join(list_devices())}")
    devices = list(dict.fromkeys(device for name in named for device in list_available(name)))
    if len({torch.device(device).type for device in devices}) > 1:
        raise InputError(f"`device` {request}: give devices of one kind, such as cuda:0,cuda:1")
    return devices


def list_available(name: str) -> list[str]:
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "cuda":
        return gpus
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [device for device in [*gpus, *mps, "cpu"] if device == name]


def list_devices() -> list[str]:
    return list_available("cuda") + list_available("mps") + ["cpu"]


def describe_device(device: str) -> str:
    """What a person calls a device."""
    if device.startswith("cuda"):
        return f"GPU {device.removeprefix('cuda:')} ({torch.cuda.get_device_name(device)})"
    return "GPU (Apple)" if device == "mps" else f"CPU ({torch.get_num_threads()} threads)"


def explain_unused_gpu() -> str | None:
    """Why a GPU that this machine seems to have cannot be used, or None when there is none."""
    from pathlib import Path
    from shutil import which

    if torch.cuda.is_available() or not (which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()):
        return None
    if torch.version.cuda is None:
        return "this machine has an NVIDIA GPU but PyTorch is a CPU build; install a CUDA build of torch to use it"
    return (
        f"this machine has an NVIDIA GPU but PyTorch (CUDA {torch.version.cuda}) cannot use it; "
        "the driver may be too old: nvidia-smi tells its version"
    )
