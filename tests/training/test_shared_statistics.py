"""Batch normalisation over several processes, of which there is one here: torch's own is the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from halves import CPU, gradients, meeting, network, patches
from timm.layers import BatchNormAct2d
from torch import distributed, nn

from geoseg.training.processes import SharedBatchNorm, share_batch_statistics

CUDA = torch.device("cuda")
KINDS = [nn.BatchNorm2d, BatchNormAct2d, lambda count: nn.BatchNorm2d(count, affine=False, momentum=None)]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    meeting(0, 1, str(tmp_path))
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("alone")
def test_one_process_normalises_as_torch_does(kind: type[nn.Module]) -> None:
    plain = network(kind)
    ours = share_batch_statistics(deepcopy(plain), CPU)
    assert isinstance(ours[1], SharedBatchNorm)  # type: ignore[index]
    for one, other in zip(gradients(plain, patches(4)), gradients(ours, patches(4)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert plain.state_dict().keys() == ours.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.eval()(patches(2)), plain.eval()(patches(2)), rtol=1e-4, atol=1e-5)


def test_on_gpus_activations_within_normalisations_are_kept() -> None:
    plain = network(BatchNormAct2d).eval()
    converted = share_batch_statistics(deepcopy(plain), CUDA)
    assert isinstance(converted[1], nn.SyncBatchNorm)  # type: ignore[index]
    torch.testing.assert_close(converted(patches(2)), plain(patches(2)))
