"""Exports torch models as ONNX files that geoseg and the QGIS plugin Deepness run."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from geoseg.errors import GeosegError, InputError, shorten_error
from geoseg.io.atomic import replace_file
from geoseg.models.backends.torch import ProbabilityNetwork
from geoseg.models.network import load_network
from geoseg.models.onnx_file import make_metadata, open_onnx_session
from geoseg.models.store import Model

LARGEST_DIFFERENCE = 1e-3


def export_onnx(model: Model, out: Path, overwrite: bool = False) -> float:
    """Write a model as ONNX, its probabilities included; returns the largest difference to torch on random patches."""
    refuse_export(model, out, overwrite)
    classes_alone = replace(model.card, separators=())
    network = ProbabilityNetwork(load_network(model), classes_alone).eval()
    example = make_example_patches(model)
    with replace_file(out) as unfinished:
        write_onnx(network, example, make_metadata(model.card), unfinished)
        difference = measure_largest_difference(network, example, unfinished)
        if not difference <= LARGEST_DIFFERENCE:
            raise GeosegError(
                f"{out}: not written, since its answers differ from the torch model's by {difference:.2g}"
            )
    return difference


def refuse_export(model: Model, out: Path, overwrite: bool) -> None:
    if model.is_onnx:
        raise InputError(f"{model.weights}: is an ONNX model already")
    if out.suffix != ".onnx":
        raise InputError(f"--to {out}: give a name that ends in .onnx")
    if not out.parent.is_dir():
        raise InputError(f"--to {out}: the folder {out.parent} does not exist")
    if out.exists() and not overwrite:
        raise InputError(f"--to {out}: exists already; use --overwrite to replace it")


def make_example_patches(model: Model) -> Tensor:
    """Two patches of the model's own size, since a batch of one would be taken for a fixed size."""
    shape = (2, len(model.card.bands), model.card.patch, model.card.patch)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def write_onnx(network: torch.nn.Module, example: Tensor, metadata: dict[str, str], path: Path) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError("writing ONNX needs more: pip install 'geoseg[onnx]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations inside torch
        try:
            program = torch.onnx.export(
                network, (example,), dynamo=True, verbose=False, input_names=["input"], output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
        except Exception as error:  # whatever the exporter meets in a network
            raise GeosegError(f"torch cannot write this network as ONNX ({shorten_error(error)})") from error
    assert program is not None
    document = program.model_proto
    for key, value in metadata.items():
        document.metadata_props.add(key=key, value=value)
    onnx.save(document, path)


def measure_largest_difference(network: torch.nn.Module, example: Tensor, path: Path) -> float:
    """How far the file's answers are from the network's, patch by patch as they will be asked for."""
    session = open_onnx_session(path, torch.get_num_threads())
    differences = []
    for patch in example:
        with torch.inference_mode():
            expected = network(patch[None])
        answer = session.run(None, {"input": patch[None].numpy()})[0]
        differences.append(float((expected - torch.from_numpy(answer)).abs().max()))
    return max(differences)
