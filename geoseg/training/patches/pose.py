"""How a patch lies on the ground: mirrored, rotated and scaled. Drawn and applied where patches are read.

So no more is read than a patch shows, and whatever follows from its labels is computed on its own pixels alone. What
happens to a patch follows from its number and the seed, so that runs can be repeated, resumed and spread over processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, exp, log, radians, sin

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg.training.patches.augmentation import AugmentationRecipe

STREAM = 1
"""Poses draw from a stream of their own: what else is drawn for a patch leaves them as they are."""
MARGIN = 2
"""Pixels that interpolation wants around the outermost ones."""


@dataclass(frozen=True)
class Pose:
    """How one patch is laid: mirrored, then turned by quarters, then turned freely and enlarged by `scale`."""

    mirrored: bool = False
    quarter_turns: int = 0
    angle_deg: float = 0.0
    scale: float = 1.0

    @property
    def is_free(self) -> bool:
        """Whether pixels fall between those that are read."""
        return self.angle_deg != 0 or self.scale != 1

    def compute_read_side(self, side: int) -> int:
        """How much must be read for a patch of `side` pixels, so that its corners are there as well."""
        if not self.is_free:
            return side
        angle = radians(self.angle_deg)
        reach = side / self.scale * (abs(cos(angle)) + abs(sin(angle)))
        return ceil(reach / 2 + MARGIN) * 2


def draw_pose(recipe: AugmentationRecipe, seed: int, number: int) -> Pose:
    """The pose of the patch of a number."""
    chance = np.random.default_rng([seed, number, STREAM])
    mirrored, turns = chance.uniform() < 0.5, int(chance.integers(4))
    angle = float(chance.uniform(-recipe.angle, recipe.angle))
    scale = exp(chance.uniform(log(recipe.scale[0]), log(recipe.scale[1])))
    if not recipe.turns:
        # A patch mirrored and turned by a half is mirrored upside down.
        mirrored, turns = mirrored and recipe.flips, turns // 2 * 2 * recipe.flips
    return Pose(mirrored, turns, angle, scale)


def lay_image(values: NDArray[np.float32], pose: Pose, side: int) -> NDArray[np.float32]:
    """An image (band, row, col), read as the pose asks for, as the patch shows it."""
    return transform_planes(values, pose, side, "bilinear")


def lay_labels(planes: Sequence[NDArray[np.generic]], pose: Pose, side: int) -> list[NDArray[np.float32]]:
    """Planes (row, col) that keep their values: each pixel of the patch takes the nearest one's."""
    stacked = np.stack([np.asarray(plane, np.float32) for plane in planes])
    return list(transform_planes(stacked, pose, side, "nearest"))


def transform_planes(planes: NDArray[np.float32], pose: Pose, side: int, how: str) -> NDArray[np.float32]:
    turned = np.rot90(planes[..., ::-1] if pose.mirrored else planes, pose.quarter_turns, (-2, -1))
    if not pose.is_free:
        return np.ascontiguousarray(turned)
    whole = torch.from_numpy(np.ascontiguousarray(turned))[None]
    return functional.grid_sample(
        whole, make_sampling_grid(pose, side, whole.shape[-1]), how, "reflection", align_corners=False
    )[0].numpy()


def make_sampling_grid(pose: Pose, side: int, side_read: int) -> Tensor:
    """Where each pixel of the patch lies in what was read, as `grid_sample` counts: from -1 to 1."""
    angle, reach = radians(pose.angle_deg), side / side_read / pose.scale
    matrix = [[cos(angle) * reach, -sin(angle) * reach, 0.0], [sin(angle) * reach, cos(angle) * reach, 0.0]]
    return functional.affine_grid(torch.tensor([matrix]), [1, 1, side, side], align_corners=False)
