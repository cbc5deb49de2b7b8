"""Opens models to run them, and finds the devices to run them on. Torch is loaded only where a GPU or a model needs it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import cast

from geoseg.errors import INSTALL_TORCH, InputError
from geoseg.models.backends.base import Backend, Engine, RawPatches, Runtime, RuntimeKind
from geoseg.models.store import Model
from geoseg.parallel import count_threads
from geoseg.progress import format_count

log = logging.getLogger(__name__)

INSTALL_COMMANDS: dict[Engine, str] = {
    "torch": INSTALL_TORCH,
    "openvino": "pip install openvino",
    "onnx": "pip install onnxruntime",
}


UNWANTED = "openvino.tools.ovc"
"""OpenVINO's converter, which its import brings: it takes most of that time, and tells Google of each import."""


def load_backend(engine: Engine) -> Backend:
    """The module of an engine, which loads its library."""
    try:
        with leave_out(UNWANTED):
            return cast("Backend", import_module(f"geoseg.models.backends.{engine}"))
    except ImportError as error:
        raise InputError(f"`engine` {engine}: not installed: {INSTALL_COMMANDS[engine]}") from error


@contextmanager
def leave_out(name: str) -> Iterator[None]:
    """Let a module that is not there yet not be found by those that could have a use for it."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # which is how Python is told so
    try:
        yield
    finally:
        del sys.modules[name]


def open_runtime(model: Model, patches: RawPatches, kind: RuntimeKind) -> Runtime:
    """Load a model for one kind of raw patches."""
    return load_backend(kind.engine).open_runtime(model, patches, kind)


def find_devices(request: str) -> list[str]:
    """The devices that `device` means, or one line on why there is none. All GPUs of a machine share a scene."""
    gpus = [] if request == "cpu" else list_gpus()
    if request == "auto":
        return gpus or [use_cpu()]
    there = [*gpus, "cpu"]
    devices = {
        device: kind for name in request.split(",") for device, kind in match_devices(name.strip(), there)
    }
    if len(set(devices.values())) > 1:
        raise InputError(f"`device` {request}: give devices of one kind, such as cuda:0,cuda:1")
    return list(devices)


def match_devices(name: str, there: list[str]) -> list[tuple[str, str]]:
    """Devices of a name such as cuda or cuda:1, each with its kind."""
    kinds = [(device, device.partition(":")[0]) for device in there]
    matching = [(device, kind) for device, kind in kinds if name in (device, kind)]
    if not matching:
        hint = "" if is_torch_installed() else f"; a GPU needs PyTorch: {INSTALL_TORCH}"
        raise InputError(f"`device` {name}: not there; this machine has {', '.join(there)}{hint}")
    return matching


def list_gpus() -> list[str]:
    """The GPUs that torch can use. It takes seconds to load, and is asked only where there may be one."""
    if sys.modules.get("torch") is None and not (may_have_gpu() and is_torch_installed()):
        return []
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else []


def use_cpu() -> str:
    """The device that is left, with a warning where a GPU lies idle."""
    idle = explain_unused_gpu()
    if idle:
        log.warning(idle)
    return "cpu"


def describe_device(device: str) -> str:
    """What a person calls a device."""
    if device.startswith("cuda"):
        import torch

        return f"GPU {device.removeprefix('cuda:')} ({torch.cuda.get_device_name(device)})"
    return "GPU (Apple)" if device == "mps" else f"CPU ({format_count(count_threads(), 'thread')})"


def explain_unused_gpu() -> str | None:
    """Why a GPU that this machine seems to have cannot be used, or None when there is none."""
    if not has_nvidia_driver():
        return None
    if not is_torch_installed():
        return f"this machine has an NVIDIA GPU but PyTorch, which could use it, is not installed: {INSTALL_TORCH}"
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return "this machine has an NVIDIA GPU but PyTorch is a CPU build; install a CUDA build of torch to use it"
    return (
        f"this machine has an NVIDIA GPU but PyTorch (CUDA {torch.version.cuda}) cannot use it; "
        "the driver may be too old: nvidia-smi tells its version"
    )


def is_torch_installed() -> bool:
    return find_spec("torch") is not None


def has_nvidia_driver() -> bool:
    return bool(which("nvidia-smi")) or Path("/proc/driver/nvidia/version").exists()


def may_have_gpu() -> bool:
    """Whether anything hints at a GPU: a driver of NVIDIA or of AMD, the one that Windows lends to Linux, or Apple."""
    drivers = ("/dev/kfd", "/dev/dxg")
    return has_nvidia_driver() or sys.platform == "darwin" or any(Path(path).exists() for path in drivers)
