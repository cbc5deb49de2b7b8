"""The arithmetic that a network is trained and validated in: full precision, or 16 bits where a device is quick at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]

LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Arithmetic:
    """Runs networks on a kind of device in a precision."""

    device_type: str = "cpu"
    precision: Precision = "fp32"

    def __call__(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """A network's logits (patch, channel, row, col), in full precision whatever they were computed in."""
        lower = LOWER.get(self.precision)
        with torch.autocast(self.device_type, dtype=lower, enabled=lower is not None):
            logits: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits.float()


class FullPrecisionDepthwise(nn.Conv2d):
    """A depthwise convolution that stays in full precision where its neighbours are in 16 bits.

    oneDNN's backward of depthwise convolutions takes up to 19 times as long in bf16 as in fp32, which is two thirds of
    a step of EfficientNet-Lite0 (tests/benchmarks/training.py).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float()).to(inputs.dtype)


def quicken(network: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """Let each layer of a network train in the precision in which it is quickest; weights stay as they are."""
    if arithmetic == Arithmetic("cpu", "bf16"):
        for module in network.modules():
            if type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
                module.__class__ = FullPrecisionDepthwise
    return network


def arithmetic_of(request: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Arithmetic:
    """The arithmetic that is asked for, else bf16 where the device is quick at it."""
    return Arithmetic(device.type, quickest(device) if request == "auto" else request)


def quickest(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    quick = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if quick else "fp32"
