"""Batch normalisation over the patches of all processes, so that several train as one would.

Torch's own way needs GPUs; elsewhere the mean and the spread of each channel are added up here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by what all processes see, each of which has as many patches.

    Those of timm have an activation and a dropout of their own behind them.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        normalised = self.over_all(inputs) if self.training else super().forward(inputs)
        for name in ("drop", "act"):
            if hasattr(self, name):
                normalised = getattr(self, name)(normalised)
        return normalised

    def over_all(self, inputs: Tensor) -> Tensor:
        values = inputs.float()
        mean = mean_of_all(values.mean((0, 2, 3)))
        off = values - mean[:, None, None]
        variance = mean_of_all(off.square().mean((0, 2, 3)))
        self.note(
            mean.detach(), variance.detach(), inputs.numel() // len(mean) * distributed.get_world_size()
        )
        normalised = off * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            normalised = normalised * self.weight[:, None, None] + self.bias[:, None, None]
        return normalised.to(inputs.dtype)

    @torch.no_grad()
    def note(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Take the statistics into the running ones; the variance as that of more than the sample."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = float(1 / self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), share)


class MeanOfAll(torch.autograd.Function):
    """The mean over the processes. What each makes of it comes back to all of them in the same way."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return MeanOfAll.forward(_, gradient)


def mean_of_all(tensor: Tensor) -> Tensor:
    mean: Tensor = MeanOfAll.apply(tensor)
    return mean


def with_shared_statistics(network: nn.Module, device: torch.device) -> nn.Module:
    """A network whose batch normalisations, if it has some, look at the patches of all processes."""
    if device.type == "cuda":
        from timm import layers  # torch's own conversion would drop timm's activations

        converted: nn.Module = layers.convert_sync_batchnorm(network)  # type: ignore[attr-defined,no-untyped-call]
        return converted
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SharedBatchNorm
    return network
