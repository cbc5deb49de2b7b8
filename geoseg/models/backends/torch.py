"""Models on a GPU or CPU through PyTorch: the reference for every other backend."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geoseg.models.backends.base import Precision
from geoseg.models.card import Card
from geoseg.models.normalisation import Normalisation


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


class NormalisedNetwork(nn.Module):
    """A network that takes raw pixel values."""

    gain: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.clip = normalisation.clip
        for name in ("gain", "offset", "low", "high"):
            values = torch.tensor(getattr(normalisation, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, -1, 1, 1))

    def forward(self, raw: Tensor) -> Tensor:
        values = raw.float()
        if self.clip:
            values = values.clamp(self.low, self.high)
        probabilities: Tensor = self.network(values * self.gain + self.offset)
        return probabilities


LOWER_PRECISIONS: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchRuntime:
    """A torch module on a device: the reference for every other engine."""

    def __init__(self, network: nn.Module, device: str = "cpu", precision: Precision = "fp32") -> None:
        self.device = torch.device(device)
        self.lower = LOWER_PRECISIONS.get(precision)
        self.network = network.eval().to(self.device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, raw: Tensor) -> Tensor:
        patches = raw.to(self.device, non_blocking=True)
        # A CPU is faster with one patch at a time, whose features its caches hold.
        portions = torch.split(patches, 1) if self.device.type == "cpu" else [patches]
        with torch.autocast(self.device.type, dtype=self.lower, enabled=self.lower is not None):
            return torch.cat([self.network(portion).float() for portion in portions])
