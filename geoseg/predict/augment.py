"""Test-time augmentation: the mean answer over mirrored and turned patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geoseg.model.runtime import Runtime

Augmentation = Literal["none", "flips", "d4"]

# (quarter turns, then mirrored left to right)
VIEWS: dict[Augmentation, Sequence[tuple[int, bool]]] = {
    "none": [(0, False)],
    "flips": [(0, False), (0, True), (2, False), (2, True)],
    "d4": [(turns, mirrored) for turns in range(4) for mirrored in (False, True)],
}


@dataclass(frozen=True)
class AugmentedRuntime:
    """A runtime that looks at each patch in several ways."""

    runtime: Runtime
    augmentation: Augmentation

    @property
    def device(self) -> torch.device:
        return self.runtime.device

    def __call__(self, raw: Tensor) -> Tensor:
        views = VIEWS[self.augmentation]
        answers = [back(self.runtime(seen_as(raw, *view)), *view) for view in views]
        return torch.stack(answers).mean(0)


def seen_as(patches: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = patches.rot90(turns, (2, 3)) if turns else patches
    return turned.flip(3) if mirrored else turned


def back(patches: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = patches.flip(3) if mirrored else patches
    return turned.rot90(-turns, (2, 3)) if turns else turned
