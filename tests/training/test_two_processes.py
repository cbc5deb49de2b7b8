"""Two processes do what one would: torch's own launcher starts them once for all that is tested here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from app_server import find_free_port
from halves import gradients, network, patches
from squares import array_set, quick, read_losses
from torch import nn

from geoseg.models.store import find_model
from geoseg.training.trainer import train_model

pytestmark = pytest.mark.usefixtures("one_thread")

# Plain SGD in small steps: sums of another order differ in the last digit, and nothing here makes more of that. (Adam
# divides by the size of gradients, so that with batch normalisation the smallest differences grow.)
SMALL_RESNET: dict[str, Any] = {
    "architecture": "unet", "encoder": "resnet18", "weights": "none", "optimizer": "sgd", "momentum": 0.0,
    "learning_rate": 1e-3, "arguments": '{"encoder_depth": 3, "decoder_channels": [32, 16, 8]}',
}  # fmt: skip
NETWORKS = {"plain": {}, "resnet": SMALL_RESNET}
WORK = """
import os, sys
from halves import half_of_the_work
from geoseg.cli.train import command
from geoseg.training import trained_model
trained_model.draw_pictures = lambda *_: ()
half_of_the_work(int(os.environ["RANK"]), ".")
for run, port in zip(sys.argv[1::2], sys.argv[2::2]):
    command(["data", "--config", f"{run}.toml", "--quiet", "--out", run], standalone_mode=False)
    # Where they met, they would find their addresses of then: the next time they meet elsewhere.
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": port}
"""


def train(folder: Path, name: str) -> None:
    settings = quick(steps=10, validate_every=5, loss="bce + dice + 0.5 * lovasz", **NETWORKS[name])
    (folder / f"{name}.toml").write_text(settings.to_toml())
    train_model(folder / "data", folder / "one" / name, settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process in `one`, those of two beside it, and what came of halves of a batch."""
    folder = tmp_path_factory.mktemp("processes")
    array_set(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.training.trained_model.draw_pictures", lambda *_: ())
        for name in NETWORKS:
            train(folder, name)
    (folder / "work.py").write_text(WORK)
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(find_free_port())]
    work = ["work.py", *(each for name in NETWORKS for each in (name, str(find_free_port())))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *work],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_they_train_as_one(folder: Path, name: str) -> None:
    """Also with batch normalisation, whose statistics are those of the whole batch."""
    one, two = read_losses(folder / "one" / name), read_losses(folder / name)
    assert [step for step, _ in one] == [step for step, _ in two]
    assert one[0][1] == pytest.approx(two[0][1], rel=1e-5)
    assert np.allclose([loss for _, loss in one], [loss for _, loss in two], rtol=1e-4)
    cards = [find_model(str(each / name)).card for each in (folder / "one", folder)]
    scores = [card.metrics["validation"]["classes"]["building"]["iou"] for card in cards]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_they_normalise_as_one_with_the_whole_batch(folder: Path) -> None:
    (one, state), (other, same) = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    whole = network(nn.BatchNorm2d)
    for own, first, second in zip(gradients(whole, patches(8)), one, other, strict=True):
        torch.testing.assert_close((first + second) / 2, own, rtol=1e-4, atol=1e-6)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6)
        assert torch.equal(state[name], same[name])
