"""Work that two processes share; started processes import this by its name, which a test module has not."""

from __future__ import annotations

import torch
from torch import distributed, nn

from geoseg.training.processes import share_batch_statistics

CPU = torch.device("cpu")


def network(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), kind(8), nn.Conv2d(8, 2, 3))


def patches(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(1)) * 3 + 5


def meeting(rank: int, size: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=size)


def gradients(trained: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    trained(inputs).square().mean().backward()
    return [parameter.grad for parameter in trained.parameters() if parameter.grad is not None]


def half_of_the_work(rank: int, folder: str) -> None:
    meeting(rank, 2, folder)
    ours = share_batch_statistics(network(nn.BatchNorm2d), CPU)
    own = gradients(ours, patches(8)[rank * 4 : rank * 4 + 4])
    torch.save((own, ours.state_dict()), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
