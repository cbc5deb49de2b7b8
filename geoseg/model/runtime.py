"""What runs a model: from raw patches to probabilities on a device, by an engine, in a precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from geoseg.errors import InputError
from geoseg.model.folder import Model
from geoseg.model.network import Activated, Normalised, load_network
from geoseg.model.normalisation import Normalisation

Engine = Literal["torch", "openvino", "onnx"]
Precision = Literal["fp32", "bf16", "fp16"]

LOWER: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime(Protocol):
    """Raw patches (patch, band, row, col) in, probabilities (patch, class, row, col) in float32 out."""

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


class TorchRuntime:
    """A torch module on a device: the reference for every other engine."""

    def __init__(self, network: nn.Module, device: str = "cpu", precision: Precision = "fp32") -> None:
        self.device = torch.device(device)
        self.lower = LOWER.get(precision)
        self.network = network.eval().to(self.device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, raw: Tensor) -> Tensor:
        patches = raw.to(self.device, non_blocking=True)
        # A CPU is faster with one patch at a time, whose features its caches hold.
        portions = torch.split(patches, 1) if self.device.type == "cpu" else [patches]
        with torch.autocast(self.device.type, dtype=self.lower, enabled=self.lower is not None):
            return torch.cat([self.network(portion).float() for portion in portions])


@dataclass(frozen=True)
class RawPatches:
    """The patches a runtime is fed: their side in pixels, their type and how they are normalised."""

    side: int
    dtype: str
    normalisation: Normalisation


def open_runtime(model: Model, patches: RawPatches, kind: RuntimeKind) -> Runtime:
    """Load a model for one kind of raw patches."""
    if kind.engine == "onnx":
        from geoseg.model.onnx import OnnxRuntime

        return OnnxRuntime(model, patches.normalisation, patches.side)
    if kind.engine == "openvino":
        from geoseg.model.openvino import OpenVinoRuntime, converted, taking_raw_values

        network = converted(model, patches.side)
        return OpenVinoRuntime(
            taking_raw_values(network, patches.normalisation, patches.dtype), kind.precision
        )
    network = Activated(load_network(model), model.card)
    return TorchRuntime(Normalised(network, patches.normalisation), kind.device, kind.precision)


def find_devices(request: str) -> list[str]:
    """The devices that `--device` means, or one line on why there is none. All GPUs of a machine share a scene."""
    if request == "auto":
        return available("cuda") or available("mps") or ["cpu"]
    named = [item.strip() for item in request.split(",")]
    for name in named:
        if not available(name):
            raise InputError(f"--device {name}: not there; this machine has {', '.join(all_devices())}")
    devices = list(dict.fromkeys(device for name in named for device in available(name)))
    if len({torch.device(device).type for device in devices}) > 1:
        raise InputError(f"--device {request}: give devices of one kind, such as cuda:0,cuda:1")
    return devices


def available(name: str) -> list[str]:
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "cuda":
        return gpus
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [device for device in [*gpus, *mps, "cpu"] if device == name]


def all_devices() -> list[str]:
    return available("cuda") + available("mps") + ["cpu"]


def device_name(device: str) -> str:
    """What a person calls a device."""
    if device.startswith("cuda"):
        return f"GPU {device.removeprefix('cuda:')} ({torch.cuda.get_device_name(device)})"
    return "GPU (Apple)" if device == "mps" else f"CPU ({torch.get_num_threads()} threads)"


def unused_gpu() -> str | None:
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
