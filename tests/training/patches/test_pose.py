from __future__ import annotations

import numpy as np
import pytest

from geoseg.training.patches.augmentation import RECIPES, AugmentationRecipe
from geoseg.training.patches.pose import Pose, draw_pose, lay_image, lay_labels

CHANCE = np.random.default_rng(2)
IMAGE = CHANCE.uniform(0.1, 0.9, (3, 48, 48)).astype(np.float32)


def test_turns_are_the_eight_of_a_square_and_labels_turn_alike() -> None:
    seen = set()
    for number in range(400):
        pose = draw_pose(AugmentationRecipe(turns=True), 0, number)
        image = lay_image(IMAGE, pose, 48)
        eight = [np.rot90(view, k, (-2, -1)) for view in (IMAGE, IMAGE[..., ::-1]) for k in range(4)]
        seen.add(next(i for i, each in enumerate(eight) if np.array_equal(image, each)))
        assert np.array_equal(lay_labels([IMAGE[1]], pose, 48)[0], image[1])
    assert seen == set(range(8))


def test_free_turns_move_a_spot_where_geometry_says() -> None:
    image = np.zeros((1, 65, 65), np.float32)
    image[0, 32, 52] = 1  # twenty pixels right of the middle
    turned = lay_image(image, Pose(angle_deg=90.0), 65)
    row, col = np.unravel_index(int(turned[0].argmax()), (65, 65))
    assert (abs(row - 32), col) == (20, 32)
    assert np.array_equal(lay_labels([image[0]], Pose(angle_deg=90.0), 65)[0] > 0.5, turned[0] > 0.5)


@pytest.mark.parametrize("side", [64, 32])
def test_scaling_up_enlarges(side: int) -> None:
    label = np.zeros((64, 64), np.float32)
    label[24:40, 24:40] = 1
    assert lay_labels([label], Pose(scale=2.0), side)[0].sum() == 32 * 32


def test_labels_keep_their_values_whatever_the_pose() -> None:
    labels = CHANCE.integers(0, 2, (70, 70)) * 70_001
    laid = lay_labels([labels], Pose(True, 1, 33.0, 1.3), 48)[0]
    assert laid.shape == (48, 48)
    assert set(np.unique(laid)) == {0.0, 70_001.0}


@pytest.mark.parametrize("preset", ["none", "light", "strong"])
def test_what_is_read_holds_the_whole_patch(preset: str) -> None:
    """Outside of what is read lies nothing that the patch shows: with a border of another value it does not change."""
    for number in range(40):
        pose = draw_pose(RECIPES[preset], 3, number)  # type: ignore[index]
        side = pose.compute_read_side(32)
        inner = np.zeros((1, side, side), np.float32)
        framed = np.pad(inner, ((0, 0), (8, 8), (8, 8)), constant_values=1)
        assert lay_image(inner, pose, 32).shape == (1, 32, 32)
        if pose.is_free:
            assert lay_image(framed, pose, 32).max() == 0
    assert Pose(scale=0.5).compute_read_side(100) >= 200
    assert Pose(scale=2.0).compute_read_side(100) < 60


def test_a_pose_follows_from_its_number_and_the_seed() -> None:
    assert draw_pose(RECIPES["strong"], 1, 5) == draw_pose(RECIPES["strong"], 1, 5)
    assert draw_pose(RECIPES["strong"], 1, 5) != draw_pose(RECIPES["strong"], 2, 5)
    assert draw_pose(RECIPES["none"], 1, 5) == Pose()


def test_flips_mirror_in_both_directions_alike_and_nothing_else() -> None:
    """Four ways to lie, each in a quarter of the patches, none of them turned by a quarter."""
    square = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    wanted = [square, square[..., ::-1], square[:, ::-1], square[:, ::-1, ::-1]]
    laid = [lay_image(square, draw_pose(RECIPES["flips"], 1, number), 3) for number in range(400)]
    counts = [sum(np.array_equal(each, one) for each in laid) for one in wanted]
    assert sum(counts) == 400
    assert min(counts) > 70
