"""ONNX models on a CPU through onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from geoseg.errors import InputError, shorten_error
from geoseg.models.backends.torch import NormalisedNetwork
from geoseg.models.normalisation import Normalisation
from geoseg.models.onnx_file import OnnxSignature, open_onnx_session, read_signature
from geoseg.models.store import Model


class OnnxRuntime:
    """An ONNX network on the CPU, one patch at a time."""

    device = torch.device("cpu")

    def __init__(self, model: Model, normalisation: Normalisation, patch: int) -> None:
        self.path = model.weights
        self.session = open_onnx_session(model.weights, torch.get_num_threads())
        self.signature = read_signature(self.session, model.weights)
        refuse_input_mismatch(model, self.signature, patch)
        self.normalised = NormalisedNetwork(FunctionModule(self.run), normalisation)
        noise = torch.randn(
            1, len(model.card.bands), patch, patch, generator=torch.Generator().manual_seed(0)
        )
        answer = self.run(noise * 3)
        refuse_output_mismatch(model, answer, patch)
        self.activation = None if are_probabilities(answer) else model.card.activation

    def __call__(self, raw: Tensor) -> Tensor:
        with torch.inference_mode():
            answers = torch.cat([self.normalised(patch[None]) for patch in raw])
        if self.activation is None:
            return answers
        return answers.sigmoid() if self.activation == "sigmoid" else answers.softmax(1)

    def run(self, inputs: Tensor) -> Tensor:
        values = inputs.contiguous().numpy().astype(self.signature.dtype)
        try:
            answer = self.session.run(None, {self.signature.input_name: values})[0]
        except Exception as error:  # onnxruntime's errors share no base class
            side = inputs.shape[-1]
            raise InputError(
                f"{self.path}: cannot be run on a patch of {side} pixels ({shorten_error(error)}); try another --patch"
            ) from error
        return torch.from_numpy(answer).float()


class FunctionModule(torch.nn.Module):
    """A function as a torch module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def are_probabilities(answer: Tensor) -> bool:
    """Whether the activation is inside the file already: nothing else stays between 0 and 1 on noise."""
    return bool(answer.min() >= 0) and bool(answer.max() <= 1)


def refuse_input_mismatch(model: Model, network: OnnxSignature, patch: int) -> None:
    """A network of fixed size takes patches of that size only."""
    _, bands, rows, cols = network.takes
    if bands not in (None, len(model.card.bands)):
        raise InputError(f"{model.weights}: takes {bands} bands, but its card names {len(model.card.bands)}")
    if rows != cols:
        raise InputError(f"{model.weights}: takes patches of {rows} x {cols} pixels; geoseg's are square")
    if rows not in (None, patch):
        raise InputError(f"{model.weights}: takes patches of {rows} pixels only; use --patch {rows}")


def refuse_output_mismatch(model: Model, answer: Tensor, patch: int) -> None:
    expected = (1, len(model.card.outputs), patch, patch)
    if tuple(answer.shape) != expected:
        raise InputError(
            f"{model.weights}: answers a patch of {patch} pixels with {' x '.join(map(str, answer.shape[1:]))} values "
            f"(classes, rows, columns), but its card wants {' x '.join(map(str, expected[1:]))}"
        )
