"""What moves the weights, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import nn

from geoseg.learn.settings import Settings

ONE_CYCLE_START = 25


def optimizer_for(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
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


def reached(step: int, seconds: float, settings: Settings) -> float:
    """How many steps count as done: those taken, or their share by the clock where a run has only so many minutes."""
    by_clock = settings.steps * seconds / (60 * settings.minutes) if settings.minutes else 0.0
    return max(step, min(by_clock, settings.steps))


def rate_at(step: int, reached: float, settings: Settings, drops: int) -> float:
    """The learning rate of a step when so many count as done; `drops` is how often the schedule plateau lowered it."""
    warmth = min(1.0, (step + 1) / (settings.warmup + 1))
    done = reached / settings.steps
    if settings.schedule == "one-cycle":
        return settings.learning_rate * one_cycle(done)
    factor = {
        "cosine": (1 + cos(pi * done)) / 2,
        "constant": 1.0,
        "step": settings.drop ** int(reached // settings.step_every),
        "plateau": settings.drop**drops,
    }[settings.schedule]
    return settings.learning_rate * warmth * factor


def one_cycle(done: float) -> float:
    """Up for the first third, then down to almost nothing, both along a cosine (Smith and Topin 2019)."""
    rise = 0.3
    if done < rise:
        return (1 + (ONE_CYCLE_START - 1) * (1 - cos(pi * done / rise)) / 2) / ONE_CYCLE_START
    return max(1e-4, (1 + cos(pi * (done - rise) / (1 - rise))) / 2)


@dataclass
class Progress:
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


class Average:
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
