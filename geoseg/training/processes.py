"""One process or several, started by torch's own launcher: `torchrun --nproc-per-node 4 -m geoseg train ...`.

Plain DistributedDataParallel: the loop stays visible, and every loss here is a mean over patches, so that the mean of
the processes' gradients is the gradient of the whole batch. Batch normalisation uses the patches of all processes: torch's
own way needs GPUs; elsewhere the mean and the spread of each channel are added up here. What remains is the order in which
numbers are added up: the first losses agree to seven digits. Adam makes the most of the smallest gradients, so that with
batch normalisation losses then drift apart by a few thousandths; with SGD they agree to 1e-4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.errors import InputError


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by what all processes see, each of which has as many patches.

    Those of timm have an activation and a dropout of their own behind them.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        normalised = self.normalise_over_processes(inputs) if self.training else super().forward(inputs)
        for name in ("drop", "act"):
            if hasattr(self, name):
                normalised = getattr(self, name)(normalised)
        return normalised

    def normalise_over_processes(self, inputs: Tensor) -> Tensor:
        values = inputs.float()
        mean = average_over_processes(values.mean((0, 2, 3)))
        off = values - mean[:, None, None]
        variance = average_over_processes(off.square().mean((0, 2, 3)))
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


class ProcessMean(torch.autograd.Function):
    """The mean over the processes. What each makes of it comes back to all of them in the same way."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return ProcessMean.forward(_, gradient)


def average_over_processes(tensor: Tensor) -> Tensor:
    mean: Tensor = ProcessMean.apply(tensor)
    return mean


def share_batch_statistics(network: nn.Module, device: torch.device) -> nn.Module:
    """A network whose batch normalisations, if it has some, look at the patches of all processes."""
    if device.type == "cuda":
        from timm import layers  # torch's own conversion would drop timm's activations

        converted: nn.Module = layers.convert_sync_batchnorm(network)  # type: ignore[attr-defined,no-untyped-call]
        return converted
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SharedBatchNorm
    return network


GROUP_TIMEOUT = timedelta(minutes=60)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, and which of them this is."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, numbers: range) -> range:
        """The part of a batch that falls to this process."""
        count = -(-len(numbers) // self.size)
        return numbers[self.rank * count : (self.rank + 1) * count]

    def wrap_network(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is trained by all."""
        if self.size == 1:
            return network
        network = share_batch_statistics(network, device)
        # An encoder of less depth than it could have holds layers that nothing asks.
        return DistributedDataParallel(
            network, [device.index] if device.type == "cuda" else None, find_unused_parameters=True
        )

    def sum_over_processes(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def broadcast(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The leading process's own values, so that all go by the same."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return [float(value) for value in shared]

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()


def delay_gradient_sync(network: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Keep gradients to oneself until the last piece of a batch."""
    if isinstance(network, DistributedDataParallel) and not last:
        return network.no_sync()
    return nullcontext()


@contextmanager
def join_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Meet the other processes, where the launcher started several."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=GROUP_TIMEOUT)
    try:
        yield ProcessGroup(distributed.get_rank(), size)
        distributed.barrier()  # nobody leaves while others still have work
    finally:
        distributed.destroy_process_group()


def choose_device(request: str) -> torch.device:
    """The device that a setting means; several processes of a machine take a GPU each."""
    from geoseg.models.runtime import find_devices

    found = find_devices(request)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if rank >= len(found) and found[0].startswith("cuda"):
        raise InputError(
            f"`device` {request}: {len(found)} GPUs, but a process number {rank + 1}; start fewer"
        )
    device = torch.device(found[rank % len(found)])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
