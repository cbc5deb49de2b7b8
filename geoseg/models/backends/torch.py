"""Models on a GPU or CPU through PyTorch: the reference for every other backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.models.backends.base import DeviceMemoryError, Precision, RawPatches, RuntimeKind
from geoseg.models.card import Card
from geoseg.models.network import load_network
from geoseg.models.normalisation import Normaliser
from geoseg.models.store import Model

LOWER_PRECISIONS: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def find_version() -> str:
    return torch.__version__


def find_obstacle(model: Model, device: str) -> str | None:
    del device  # torch runs on every device
    return f"{model.weights}: an ONNX model runs on the CPU, and not in torch" if model.is_onnx else None


def list_precisions(device: str) -> Sequence[Precision]:
    if device.startswith("cuda"):
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ["bf16", "fp16", "fp32"] if has_bf16 else ["fp16", "fp32"]
    if device == "mps":
        return ["fp16", "fp32"]
    return ["bf16", "fp32"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ["fp32"]


def open_runtime(model: Model, patches: RawPatches, kind: RuntimeKind) -> TorchRuntime:
    device = TorchDevice(kind.device)
    network = ProbabilityNetwork(load_network(model), model.card)
    return TorchRuntime(network, Normaliser(patches.normalisation, device.upload), device, kind.precision)


class ProbabilityNetwork(nn.Module):
    """A network that answers with the probabilities of classes and, behind them, what separates buildings."""

    def __init__(self, network: nn.Module, card: Card) -> None:
        super().__init__()
        self.network = network
        self.activation = card.activation
        self.channels = len(card.outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        answer = self.network(inputs)
        logits: Tensor = (answer[0] if isinstance(answer, tuple) else answer)[:, : self.channels].float()
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)


@dataclass(frozen=True)
class TorchDevice:
    """A GPU, or the processor as torch sees it. What can be under way while Python goes on, is."""

    name: str
    xp: ClassVar[Any] = torch

    def upload(self, values: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(values)
        tensor = tensor.pin_memory() if self.name.startswith("cuda") else tensor
        return tensor.to(self.name, non_blocking=True)

    def download(self, values: Tensor) -> Callable[[], NDArray[Any]]:
        if not values.is_cuda:
            return lambda: values.cpu().numpy()
        fetched = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        fetched.copy_(values, non_blocking=True)
        arrived = torch.cuda.current_stream(values.device).record_event()

        def wait() -> NDArray[Any]:
            arrived.synchronize()
            return fetched.numpy()

        return wait


class TorchRuntime:
    """A torch module on a device."""

    streams = 1  # a GPU goes on while Python does, and torch shares a CPU out by itself

    def __init__(
        self, network: nn.Module, normalise: Normaliser, device: TorchDevice, precision: Precision = "fp32"
    ) -> None:
        self.device = device
        self.normalise = normalise
        self.kind = torch.device(device.name).type
        self.lower = LOWER_PRECISIONS.get(precision)
        self.network = network.eval().to(device.name).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, raw: Tensor) -> Tensor:
        # A CPU is faster with one patch at a time, whose features its caches hold.
        portions = torch.split(raw, 1) if self.kind == "cpu" else [raw]
        try:
            with torch.autocast(self.kind, dtype=self.lower, enabled=self.lower is not None):
                return torch.cat([self.network(self.normalise(each.float())).float() for each in portions])
        except torch.cuda.OutOfMemoryError:
            raise DeviceMemoryError(
                f"the GPU's memory does not hold one patch of {raw.shape[-1]} pixels; use a smaller `patch`"
            ) from None
