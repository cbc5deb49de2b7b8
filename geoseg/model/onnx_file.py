"""ONNX files as they lie on disk: opened, and asked what goes in and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.model.reason import reason

Size = int | None
"""A length along one axis; None where the file leaves it open."""

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


@dataclass(frozen=True)
class Signature:
    """What a network takes and gives: axes are batch, band or class, row and column."""

    input_name: str
    dtype: str
    takes: tuple[Size, Size, Size, Size]
    gives: tuple[Size, Size, Size, Size]


def open_session(path: Path, threads: int = 1) -> Any:
    """An ONNX file ready to run on the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: ONNX models need onnxruntime: pip install 'geoseg[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise InputError(f"{path}: not an ONNX model that can be read ({reason(error)})") from error


def signature(session: Any, path: Path) -> Signature:
    """What an open file takes and gives, or one line on why no scene can be fed to it."""
    inputs, answer = session.get_inputs(), session.get_outputs()[0]
    if len(inputs) != 1:
        raise InputError(f"{path}: takes {len(inputs)} inputs, not one image")
    if inputs[0].type not in TYPES:
        raise InputError(f"{path}: takes {inputs[0].type}; export it with an input of float32")
    takes = four_axes(inputs[0].shape, f"{path}: its input")
    if takes[0] not in (None, 1):
        raise InputError(f"{path}: takes {takes[0]} patches at a time; export it for a batch of 1")
    return Signature(
        inputs[0].name, TYPES[inputs[0].type], takes, four_axes(answer.shape, f"{path}: its output")
    )


def four_axes(shape: list[int | str | None], what: str) -> tuple[Size, Size, Size, Size]:
    if len(shape) != 4:
        raise InputError(f"{what} has {len(shape)} dimensions, not batch, bands, rows and columns")
    batch, channels, rows, cols = (size if isinstance(size, int) else None for size in shape)
    return batch, channels, rows, cols
