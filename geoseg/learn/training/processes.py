"""One process or several, started by torch's own launcher: `torchrun --nproc-per-node 4 -m geoseg train ...`.

Plain DistributedDataParallel: the loop stays visible, and every loss here is a mean over patches, so that the mean of
the processes' gradients is the gradient of the whole batch. Batch normalisation looks at the patches of all processes. What
remains is the order in which numbers are added up: the first losses agree to seven digits. Adam makes the most of the
smallest gradients, so that with batch normalisation losses then drift apart by a few thousandths; with SGD they agree to 1e-4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.errors import InputError
from geoseg.learn.training.shared_statistics import with_shared_statistics

PATIENCE = timedelta(minutes=60)


@dataclass(frozen=True)
class Team:
    """The processes that train together, and which of them this is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, numbers: range) -> range:
        """The part of a batch that falls to this process."""
        count = -(-len(numbers) // self.size)
        return numbers[self.rank * count : (self.rank + 1) * count]

    def joined(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is trained by all."""
        if self.size == 1:
            return network
        network = with_shared_statistics(network, device)
        # An encoder of less depth than it could have holds layers that nothing asks.
        return DistributedDataParallel(
            network, [device.index] if device.type == "cuda" else None, find_unused_parameters=True
        )

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def told(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The leading process's own values, so that all go by the same."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return [float(value) for value in shared]

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()


def unshared(network: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Keep gradients to oneself until the last piece of a batch."""
    if isinstance(network, DistributedDataParallel) and not last:
        return network.no_sync()
    return nullcontext()


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Meet the other processes, where the launcher started several."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), size)
        distributed.barrier()  # nobody leaves while others still have work
    finally:
        distributed.destroy_process_group()


def own_device(request: str) -> torch.device:
    """The device that a setting means; several processes of a machine take a GPU each."""
    from geoseg.model.runtime import find_devices

    found = find_devices(request)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if rank >= len(found) and found[0].startswith("cuda"):
        raise InputError(
            f"--device {request}: {len(found)} GPUs, but a process number {rank + 1}; start fewer"
        )
    device = torch.device(found[rank % len(found)])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
