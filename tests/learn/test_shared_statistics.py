"""Batch normalisation over several processes: one process is the oracle, and torch's own is that of one."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import distributed, multiprocessing, nn

from geoseg.learn.training.shared_statistics import SharedBatchNorm, with_shared_statistics

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
KINDS = [nn.BatchNorm2d, BatchNormAct2d, lambda count: nn.BatchNorm2d(count, affine=False, momentum=None)]


def network(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), kind(8), nn.Conv2d(8, 2, 3))


def patches(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(1)) * 3 + 5


def meeting(rank: int, size: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=size)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    meeting(0, 1, str(tmp_path))
    yield
    distributed.destroy_process_group()


def gradients(trained: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    trained(inputs).square().mean().backward()
    return [parameter.grad for parameter in trained.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("alone")
def test_one_process_normalises_as_torch_does(kind: type[nn.Module]) -> None:
    plain = network(kind)
    ours = with_shared_statistics(deepcopy(plain), CPU)
    assert isinstance(ours[1], SharedBatchNorm)  # type: ignore[index]
    for one, other in zip(gradients(plain, patches(4)), gradients(ours, patches(4)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert plain.state_dict().keys() == ours.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.eval()(patches(2)), plain.eval()(patches(2)), rtol=1e-4, atol=1e-5)


def half_of_the_work(rank: int, folder: str) -> None:
    meeting(rank, 2, folder)
    ours = with_shared_statistics(network(nn.BatchNorm2d), CPU)
    own = gradients(ours, patches(8)[rank * 4 : rank * 4 + 4])
    torch.save((own, ours.state_dict()), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_normalise_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(half_of_the_work, (str(tmp_path),), nprocs=2)
    (one, state), (other, same) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)
    )
    whole = network(nn.BatchNorm2d)
    for own, first, second in zip(gradients(whole, patches(8)), one, other, strict=True):
        torch.testing.assert_close((first + second) / 2, own, rtol=1e-4, atol=1e-6)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6)
        assert torch.equal(state[name], same[name])


def test_on_gpus_activations_within_normalisations_are_kept() -> None:
    plain = network(BatchNormAct2d).eval()
    converted = with_shared_statistics(deepcopy(plain), CUDA)
    assert isinstance(converted[1], nn.SyncBatchNorm)  # type: ignore[index]
    torch.testing.assert_close(converted(patches(2)), plain(patches(2)))
