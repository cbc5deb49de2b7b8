"""What cannot work is told before the first step, and before anything is written."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from geoseg.errors import InputError
from geoseg.learn.training.run import Run
from geoseg.model.reason import reason


def rehearse(run: Run, network: nn.Module) -> None:
    """Draw a place, and show the network two patches of nothing."""
    run.patches().place(0)
    settings, side = run.settings, run.settings.patch
    inputs = torch.zeros(min(2, settings.batch // settings.accumulate), run.card.inputs, side, side)
    try:
        answer = deepcopy(network).train()(inputs)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"--patch {side}, --batch {settings.batch}: the network cannot be trained on such patches "
            f"({reason(error)}); try a multiple of 32, and two patches or more at a time"
        ) from error
    if answer.shape[1:] != (len(run.card.outputs), side, side):
        raise InputError(
            f"--patch {side}: the network answers with {tuple(answer.shape[2:])} pixels; try a multiple of 32"
        )
