"""The fastest way to run a model on a device whose answers stay those of full precision."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GeosegError, InputError, explain_missing_torch
from geoseg.models.backends.base import GRAPH_ENGINES, Engine, RawPatches, RuntimeKind
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import describe_device, load_backend, open_runtime
from geoseg.models.store import ONNX_FILE, Model, find_cache_folder, write_cache_text

log = logging.getLogger(__name__)

EngineRequest = Literal["auto", "torch", "openvino", "onnx"]
PrecisionRequest = Literal["auto", "fp32", "bf16", "fp16"]

CPU_ENGINES: tuple[Engine, ...] = (*GRAPH_ENGINES, "torch")
"""The fastest first (measured: tests/benchmarks/encoders.py)."""

MEAN_DIFFERENCE = 0.002
FLIPPED_SHARE = 0.003
"""Of the pixels of check patches, which are those of which a model is least sure. `default` in bf16: 0.16 % there, 0.13 % on scenes
of five places, where the built area changes by 0.15 %: a hundredth of what a model errs by."""


@dataclass(frozen=True)
class AnswerDifference:
    """How far a precision's answers are from those of full precision, on the model's check patches."""

    mean_difference: float
    flipped_share: float

    @property
    def is_small(self) -> bool:
        return self.mean_difference <= MEAN_DIFFERENCE and self.flipped_share <= FLIPPED_SHARE


def choose_runtime(
    model: Model, device: str, engine: EngineRequest, precision: PrecisionRequest
) -> RuntimeKind:
    """What to run: as asked where the user asked, else the fastest that is close enough."""
    chosen = choose_engine(model, device, engine)
    kinds = list_kinds(device, chosen, precision)
    if precision != "auto":
        return kinds[0]
    return next(kind for kind in kinds if kind.precision == "fp32" or is_close_enough(model, kind))


def choose_engine(model: Model, device: str, request: EngineRequest) -> Engine:
    """The fastest engine that can run a model on a device, or one line on why none can."""
    engines = (request,) if request != "auto" else CPU_ENGINES if device == "cpu" else ("torch",)
    obstacles = []
    for engine in engines:
        obstacle = find_obstacle(model, engine, device)
        if obstacle is None:
            return engine
        obstacles.append(obstacle)
    raise InputError(obstacles[0])


def find_obstacle(model: Model, engine: Engine, device: str) -> str | None:
    """Why an engine cannot run a model on a device, or None."""
    try:
        backend = load_backend(engine)
        if device == "cpu" and engine in GRAPH_ENGINES:
            make_graph(model)
        return backend.find_obstacle(model, device)
    except GeosegError as error:
        return str(error)


def make_graph(model: Model) -> None:
    """Give a torch model the ONNX file that engines of a CPU run, where it has none."""
    with suppress(InputError):
        _ = model.graph
        return
    if model.is_onnx:
        return
    with explain_missing_torch(f"{model.weights}: has no {ONNX_FILE} beside it; making one"):
        from geoseg.models.export import write_model_onnx
    log.info(f"Model   {model.card.name} is converted for the CPU, once")
    write_model_onnx(model, model.kept_onnx)


def list_kinds(device: str, engine: Engine, precision: PrecisionRequest) -> list[RuntimeKind]:
    """The precisions that an engine has on a device, the fastest first."""
    precisions = load_backend(engine).list_precisions(device)
    kinds = [RuntimeKind(device, engine, each) for each in precisions if precision in ("auto", each)]
    if not kinds:
        raise InputError(
            f"`engine` {engine} `precision` {precision}: not possible on {describe_device(device)}; use auto"
        )
    return kinds


def is_close_enough(model: Model, kind: RuntimeKind) -> bool:
    return can_be_checked(model, kind.engine) and find_difference(model, kind).is_small


def can_be_checked(model: Model, engine: Engine) -> bool:
    """Whether a model has check patches, and of a size that its network takes."""
    if model.check_patches is None:
        return False
    return engine == "torch" or model.graph.takes[2] in (None, model.check_patches.shape[-1])


def find_difference(model: Model, kind: RuntimeKind) -> AnswerDifference:
    """Compare with full precision, once per model and machine."""
    path = make_cache_path(model, kind)
    with suppress(OSError, ValueError, TypeError):
        return AnswerDifference(**json.loads(path.read_text()))
    measured = measure_difference(model, kind)
    write_cache_text(path, json.dumps(asdict(measured)))
    return measured


def make_cache_path(model: Model, kind: RuntimeKind) -> Path:
    """Where the closeness is noted: all that it depends on is in the name."""
    version = load_backend(kind.engine).find_version()
    key = f"{model.fingerprint[:24]}-{kind.engine}-{version}-{kind.precision}-{describe_device(kind.device)}"
    return find_cache_folder() / "precision" / f"{''.join(c if c.isalnum() else '-' for c in key)}.json"


def measure_difference(model: Model, kind: RuntimeKind) -> AnswerDifference:
    expected = compute_answers(model, replace(kind, precision="fp32"))
    answered = compute_answers(model, kind)
    flipped = decide_classes(model, expected) != decide_classes(model, answered)
    return AnswerDifference(float(np.abs(expected - answered).mean()), float(flipped.mean()))


def compute_answers(model: Model, kind: RuntimeKind) -> NDArray[np.float32]:
    """Probabilities on the check patches, one after another to need little memory."""
    raw = model.check_patches
    assert raw is not None
    patches = RawPatches(raw.shape[-1], str(raw.dtype), make_fixed_normalisation(model.card))
    runtime = open_runtime(model, patches, kind)
    device = runtime.device
    return np.concatenate([device.download(runtime(device.upload(patch[None])))() for patch in raw])


def decide_classes(model: Model, probabilities: NDArray[np.float32]) -> NDArray[Any]:
    if model.card.activation == "sigmoid":
        return np.asarray(probabilities[:, 0] >= model.card.threshold)
    return np.asarray(probabilities.argmax(1))
