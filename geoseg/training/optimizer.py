"""What moves the weights, how fast, and in which arithmetic: the optimizer, its schedule, running means, 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.backends.base import Precision
from geoseg.models.backends.torch import LOWER_PRECISIONS
from geoseg.training.options import PrecisionSetting, TrainOptions

ONE_CYCLE_START = 25
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_END = 1e-4
"""As in torch's own OneCycleLR: it begins at a 25th of the highest rate, and rises for three tenths of the run."""


def create_optimizer(network: nn.Module, settings: TrainOptions) -> torch.optim.Optimizer:
    """The optimizer asked for; biases and the scales of normalisations are not pulled to zero."""
    matrices = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    kinds: dict[str, type[Any]] = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "adamax": torch.optim.Adamax,
    }
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, settings.learning_rate, settings.momentum, nesterov=settings.momentum > 0
        )
    optimizer: torch.optim.Optimizer = kinds[settings.optimizer](groups, lr=settings.learning_rate)
    return optimizer


def count_done_steps(step: int, seconds: float, settings: TrainOptions) -> float:
    """How many steps count as done: those taken, or their share by the clock where a run has only so many minutes."""
    by_clock = settings.steps * seconds / (60 * settings.minutes) if settings.minutes else 0.0
    return max(step, min(by_clock, settings.steps))


def compute_learning_rate(step: int, reached: float, settings: TrainOptions, drops: int) -> float:
    """The learning rate of a step when so many count as done; `drops` is how often the schedule plateau lowered it."""
    warmth = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    done = reached / settings.steps
    if settings.schedule == "one-cycle":
        return settings.learning_rate * compute_one_cycle(done)
    factor = {
        "cosine": (1 + cos(pi * done)) / 2,
        "constant": 1.0,
        "step": settings.drop ** int(reached // settings.step_every),
        "plateau": settings.drop**drops,
    }[settings.schedule]
    return settings.learning_rate * warmth * factor


def compute_one_cycle(done: float) -> float:
    """First up, then down to almost nothing, both along a cosine (Smith and Topin 2019)."""
    rise = ONE_CYCLE_RISE
    if done < rise:
        return (1 + (ONE_CYCLE_START - 1) * (1 - cos(pi * done / rise)) / 2) / ONE_CYCLE_START
    return max(ONE_CYCLE_END, (1 + cos(pi * (done - rise) / (1 - rise))) / 2)


@dataclass
class ValidationHistory:
    """What validations have shown so far."""

    best: float = float("-inf")
    best_step: int = 0
    without: int = 0
    drops: int = 0
    last: float = float("nan")

    def note(self, step: int, score: float, patience: int) -> bool:
        """Take note of a validation; whether it is the best so far."""
        self.last = score
        if score > self.best:
            self.best, self.best_step, self.without = score, step, 0
            return True
        self.without += 1
        if patience and self.without % patience == 0:
            self.drops += 1
        return False


class WeightAverage:
    """A running mean of a network's weights, which often does better than the weights themselves."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network; faster in the beginning, when the mean is still of the first weights."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            mean = self.state[name]
            if mean.is_floating_point():
                mean.lerp_(tensor.detach(), share)
            else:
                mean.copy_(tensor)


@dataclass(frozen=True)
class MixedPrecision:
    """Runs networks on a kind of device in a precision."""

    device_type: str = "cpu"
    precision: Precision = "fp32"

    def __call__(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """A network's logits (patch, channel, row, col), in full precision whatever they were computed in."""
        lower = LOWER_PRECISIONS.get(self.precision)
        with torch.autocast(self.device_type, dtype=lower, enabled=lower is not None):
            logits: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits.float()


class FullPrecisionDepthwise(nn.Conv2d):
    """A depthwise convolution that stays in full precision where its neighbours are in 16 bits.

    oneDNN's backward of depthwise convolutions takes up to 19 times as long in bf16 as in fp32, which is two thirds of
    a step of EfficientNet-Lite0.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float()).to(inputs.dtype)


def speed_up_layers(network: nn.Module, arithmetic: MixedPrecision) -> nn.Module:
    """Let each layer of a network train in the precision in which it is quickest; weights stay as they are."""
    if arithmetic == MixedPrecision("cpu", "bf16"):
        for module in network.modules():
            if type(module) is nn.Conv2d and module.groups == module.in_channels > 1:
                module.__class__ = FullPrecisionDepthwise
    return network


def choose_precision(request: PrecisionSetting, device: torch.device) -> MixedPrecision:
    """The arithmetic that is asked for, else bf16 where the device is quick at it."""
    return MixedPrecision(device.type, find_fastest_precision(device) if request == "auto" else request)


def find_fastest_precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    quick = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if quick else "fp32"
