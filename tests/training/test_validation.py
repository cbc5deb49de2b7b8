"""What validation counts, against the same by hand."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import array_set, quick
from torch import Tensor, nn

from geoseg.training.processes import ProcessGroup
from geoseg.training.run import open_run


class Undecided(nn.Module):
    """Says the same probability everywhere."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.logit = log(probability / (1 - probability))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.full_like(inputs[:, :1], self.logit)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("asked", "weights"), [("", (1, 1)), ("0.5,4", (0.5, 4))])
def test_the_validation_loss_weighs_classes_as_training_does_but_smooths_nothing(
    asked: str, weights: tuple[float, float], smoothing: float, tmp_path: Path
) -> None:
    array_set(tmp_path / "data")
    settings = quick(loss="bce", class_weights=asked, label_smoothing=smoothing)
    run = open_run(tmp_path / "data", tmp_path / "run", settings, torch.device("cpu"), ProcessGroup())
    found = run.make_validator()(Undecided(0.8), run.validation_batches())
    share = (np.load(tmp_path / "data" / "c-labels.npy") == 1).mean()
    expected = -(share * weights[1] * log(0.8) + (1 - share) * weights[0] * log(0.2))
    assert found.loss == pytest.approx(expected, rel=1e-5)
