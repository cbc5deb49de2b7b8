"""The fastest way to run a model on a device whose answers stay those of full precision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from geoseg.errors import InputError
from geoseg.models.backends.base import Engine, Precision, RawPatches, RuntimeKind
from geoseg.models.backends.openvino import get_openvino_version, is_openvino_installed, supports_bf16
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import describe_device, open_runtime
from geoseg.models.store import Model, find_cache_folder, write_cache_text

EngineRequest = Literal["auto", "torch", "openvino", "onnx"]
PrecisionRequest = Literal["auto", "fp32", "bf16", "fp16"]

MEAN_DIFFERENCE = 0.002
FLIPPED_SHARE = 0.001


@dataclass(frozen=True)
class AnswerDifference:
    """How far a way of running a model is from torch in full precision, on the model's check patches."""

    mean_difference: float
    flipped_share: float

    @property
    def is_small(self) -> bool:
        return self.mean_difference <= MEAN_DIFFERENCE and self.flipped_share <= FLIPPED_SHARE


def choose_runtime(
    model: Model, device: str, engine: EngineRequest, precision: PrecisionRequest
) -> RuntimeKind:
    """What to run: as asked where the user asked, else the fastest that is close enough."""
    if model.is_onnx:
        return choose_onnx_runtime(model, device, engine, precision)
    kinds = list_candidates(device, engine, precision)
    if precision != "auto":
        return kinds[0]
    return next(kind for kind in kinds if kind.precision == "fp32" or is_close_enough(model, kind))


def is_close_enough(model: Model, kind: RuntimeKind) -> bool:
    return model.check_patches is not None and find_difference(model, kind).is_small


def choose_onnx_runtime(
    model: Model, device: str, engine: EngineRequest, precision: PrecisionRequest
) -> RuntimeKind:
    if engine not in ("auto", "onnx") or precision not in ("auto", "fp32") or device != "cpu":
        raise InputError(
            f"{model.weights}: an ONNX model runs as it is, on the CPU; leave out --engine, --precision and --device"
        )
    return RuntimeKind("cpu", "onnx", "fp32")


def list_candidates(device: str, engine: EngineRequest, precision: PrecisionRequest) -> list[RuntimeKind]:
    """The ways to run a torch model on a device, the fastest first (measured: tests/benchmarks/engines.py)."""
    ways = [
        RuntimeKind(device, name, precise)
        for name in list_engines(device, engine)
        for precise in list_precisions(device, name)
        if precision in ("auto", precise)
    ]
    if not ways:
        raise InputError(
            f"--engine {engine} --precision {precision}: not possible on {describe_device(device)}; use auto"
        )
    return ways


def list_engines(device: str, engine: EngineRequest) -> Sequence[Engine]:
    if engine == "onnx":
        raise InputError("--engine onnx: the model is a torch model; export it first: geoseg models export")
    if engine == "torch" or (engine == "auto" and (device != "cpu" or not is_openvino_installed())):
        return ["torch"]
    if device != "cpu":
        raise InputError(f"--engine openvino: runs on the CPU only, not on {device}")
    if not is_openvino_installed():
        raise InputError("--engine openvino: not installed: pip install openvino")
    return ["openvino"]


def list_precisions(device: str, engine: Engine) -> Sequence[Precision]:
    if engine == "openvino":
        return ["bf16", "fp32"] if supports_bf16() else ["fp32"]
    if device.startswith("cuda"):
        return (
            ["bf16", "fp16", "fp32"]
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else ["fp16", "fp32"]
        )
    if device == "mps":
        return ["fp16", "fp32"]
    return ["bf16", "fp32"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ["fp32"]


def find_difference(model: Model, kind: RuntimeKind) -> AnswerDifference:
    """Compare with torch in full precision, once per model and machine."""
    path = make_cache_path(model, kind)
    with suppress(OSError, ValueError, TypeError):
        return AnswerDifference(**json.loads(path.read_text()))
    measured = measure_difference(model, kind)
    write_cache_text(path, json.dumps(asdict(measured)))
    return measured


def make_cache_path(model: Model, kind: RuntimeKind) -> Path:
    """Where the closeness is noted: all that it depends on is in the name."""
    version = get_openvino_version() if kind.engine == "openvino" else torch.__version__
    key = f"{model.fingerprint[:24]}-{kind.engine}-{version}-{kind.precision}-{describe_device(kind.device)}"
    return find_cache_folder() / "precision" / f"{''.join(c if c.isalnum() else '-' for c in key)}.json"


def measure_difference(model: Model, kind: RuntimeKind) -> AnswerDifference:
    expected = compute_answers(model, RuntimeKind(kind.device, "torch", "fp32"))
    answered = compute_answers(model, kind)
    flipped = decide_classes(model, expected) != decide_classes(model, answered)
    return AnswerDifference(float((expected - answered).abs().mean()), float(flipped.float().mean()))


def compute_answers(model: Model, kind: RuntimeKind) -> Tensor:
    """Probabilities on the check patches, one after another to need little memory."""
    assert model.check_patches is not None
    raw = torch.from_numpy(model.check_patches)
    patches = RawPatches(raw.shape[-1], str(model.check_patches.dtype), make_fixed_normalisation(model.card))
    runtime = open_runtime(model, patches, kind)
    return torch.cat([runtime(patch[None]).cpu() for patch in raw])


def decide_classes(model: Model, probabilities: Tensor) -> Tensor:
    if model.card.activation == "sigmoid":
        return probabilities[:, 0] >= model.card.threshold
    return probabilities.argmax(1)
