"""Writes torch models as ONNX files: those that a CPU runs, and those for the QGIS plugin Deepness."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from geoseg.errors import GeosegError, InputError, shorten_error
from geoseg.io.atomic import replace_file
from geoseg.models.backends.base import GRAPH_ENGINES, RawPatches, Runtime, RuntimeKind
from geoseg.models.backends.torch import ProbabilityNetwork
from geoseg.models.network import load_network
from geoseg.models.normalisation import Normalisation
from geoseg.models.onnx_card import make_metadata
from geoseg.models.runtime import open_runtime
from geoseg.models.store import SOURCE_KEY, Model

LARGEST_DIFFERENCE = 1e-3
SMALLEST_HALF = 16
"""Numbers that are few are not worth an operation that widens them."""


def export_onnx(model: Model, out: Path, overwrite: bool = False) -> float:
    """Write a model for Deepness, its card inside; returns the largest difference to torch on random patches."""
    refuse_export(model, out, overwrite)
    alone = replace(model, card=replace(model.card, separators=()))  # the plugin knows classes only
    network = ProbabilityNetwork(load_network(model), alone.card).eval()
    return write_checked(network, alone, out, make_metadata(alone.card), any_size=False)


def write_model_onnx(model: Model, path: Path) -> float:
    """Write the ONNX file that stands for a model on a CPU: every output, and patches of any size."""
    network = ProbabilityNetwork(load_network(model), model.card).eval()
    return write_checked(network, model, path, {SOURCE_KEY: model.network_sha256}, any_size=True)


def refuse_export(model: Model, out: Path, overwrite: bool) -> None:
    if model.is_onnx:
        raise InputError(f"{model.weights}: is an ONNX model already")
    if out.suffix != ".onnx":
        raise InputError(f"`out` {out}: give a name that ends in .onnx")
    if not out.parent.is_dir():
        raise InputError(f"`out` {out}: the folder {out.parent} does not exist")
    if out.exists() and not overwrite:
        raise InputError(f"`out` {out}: exists already; use `overwrite` to replace it")


def write_checked(
    network: nn.Module, model: Model, out: Path, metadata: Mapping[str, str], any_size: bool
) -> float:
    """Write a network as ONNX where its answers are those of torch, and return how far they are from them."""
    example = make_example_patches(model)
    try:
        document = convert_network(network, example, any_size)
    except Exception as error:  # whatever torch's exporters meet in a network
        raise GeosegError(
            f"{out}: torch cannot write this network as ONNX ({shorten_error(error)})"
        ) from error
    keep_in_half(document)
    for key, value in metadata.items():
        document.metadata_props.add(key=key, value=value)
    with replace_file(out) as unfinished:
        onnx.save(document, unfinished)
        difference = measure_largest_difference(network, example, replace(model, weights=unfinished))
        if not difference <= LARGEST_DIFFERENCE:
            raise GeosegError(
                f"{out}: not written, since its answers differ from the torch model's by {difference:.2g}"
            )
    return difference


def make_example_patches(model: Model) -> Tensor:
    """Two patches of the model's own size, since a batch of one would be taken for a fixed size."""
    shape = (2, len(model.card.bands), model.card.patch, model.card.patch)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def convert_network(network: nn.Module, example: Tensor, any_size: bool) -> ModelProto:
    """A network as torch's older exporter writes it, or where that fails, as the newer one does.

    The older one takes a second, not a minute, leaves weights as they are, and any size of patches open.
    """
    with warnings.catch_warnings(), silence_exporter():
        warnings.simplefilter("ignore")  # tracing warns of every Python number, the older exporter of its age
        try:
            return trace_network(network, example, any_size)
        except Exception:  # noqa: BLE001 - whatever it meets in a network
            return export_network(network, example)


@contextmanager
def silence_exporter() -> Iterator[None]:
    """Keep the older exporter from printing the whole network where it gives up."""
    with mock.patch.object(torch._C, "_jit_onnx_log", create=True):
        yield


def trace_network(network: nn.Module, example: Tensor, any_size: bool) -> ModelProto:
    axes = {0: "batch", **({2: "rows", 3: "cols"} if any_size else {})}
    written = BytesIO()  # a disk that fails must not look like a network that this exporter cannot write
    torch.onnx.export(
        network, (example,), written, dynamo=False,  # type: ignore[arg-type]  # the older one takes streams
        input_names=["input"], output_names=["output"],
        dynamic_axes={"input": axes, "output": axes}, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # for inference, convolutions would swallow normalisations
    )  # fmt: skip
    return onnx.load_from_string(written.getvalue())


def export_network(network: nn.Module, example: Tensor) -> ModelProto:
    program = torch.onnx.export(
        network, (example,), dynamo=True, verbose=False, input_names=["input"], output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert program is not None
    return program.model_proto


def keep_in_half(document: ModelProto) -> None:
    """Keep weights of 16 bit in 16 bit; engines widen them as they load."""
    wider = []
    for weights in document.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.size > SMALLEST_HALF and is_half(values):
            name, half = weights.name, f"{weights.name}.half"
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
            wider.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    nodes = [*wider, *document.graph.node]
    del document.graph.node[:]
    document.graph.node.extend(nodes)


def is_half(values: NDArray[np.float32]) -> bool:
    """Whether 16 bit hold values exactly."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())


def measure_largest_difference(network: nn.Module, example: Tensor, written: Model) -> float:
    """How far the file's answers are from the network's, patch by patch as they will be asked for."""
    side, bands = example.shape[-1], example.shape[1]
    as_it_is = Normalisation((1.0,) * bands, (0.0,) * bands, (0.0,) * bands, (0.0,) * bands, clip=False)
    answers = open_written(written, RawPatches(side, "float32", as_it_is))(example.numpy())
    with torch.inference_mode():
        expected = torch.cat([network(patch[None]) for patch in example])
    return float(np.abs(expected.numpy() - answers).max())


def open_written(written: Model, patches: RawPatches) -> Runtime:
    """An ONNX file in the first engine that takes it."""
    refused = []
    for engine in GRAPH_ENGINES:
        try:
            return open_runtime(written, patches, RuntimeKind("cpu", engine, "fp32"))
        except InputError as error:
            refused.append(str(error))
    raise InputError(refused[0])
