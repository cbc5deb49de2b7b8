"""What is settled after training, against brute force."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made import card
from squares import array_set, quick
from torch import Tensor, nn

from geoseg.scores.calibration import LOGITS, TemperatureScaling, find_best_min_area
from geoseg.scores.confusion import Confusion
from geoseg.training.answers import keep_answers
from geoseg.training.processes import ProcessGroup
from geoseg.training.run import open_run
from geoseg.training.tuning import (
    PatchResult,
    Tuner,
    choose_min_area,
    choose_temperature_scaling,
    find_whole_pieces,
)
from geoseg.training.validation import ValidationResult

MASKS = arrays(np.bool_, (9, 9), elements=st.sampled_from([True, True, False]))
LABELS = arrays(np.uint8, (9, 9), elements=st.sampled_from([1, 1, 1, 0, 0, 255]))

Piece = frozenset[tuple[int, int]]


def flood(flags: np.ndarray) -> list[Piece]:
    """Sets of pixels that are joined by their sides, found one by one."""
    left = set(map(tuple, np.argwhere(flags).tolist()))
    found = []
    while left:
        piece, waiting = set(), deque([left.pop()])
        while waiting:
            row, col = waiting.popleft()
            piece.add((row, col))
            near = {(row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)} & left
            left -= near
            waiting.extend(near)
        found.append(frozenset(piece))
    return found


def is_cut(piece: Piece, truth: np.ndarray) -> bool:
    """Whether a piece has a side on the edge or on unknown ground."""
    around = {
        (row + down, col + right) for row, col in piece for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
    }
    size = len(truth)
    return any(
        not (0 <= row < size and 0 <= col < size) or truth[row, col] == 255 for row, col in around - piece
    )


@given(MASKS, LABELS)
def test_whole_pieces_are_those_found_one_by_one(predicted: np.ndarray, truth: np.ndarray) -> None:
    mine, theirs = flood(predicted & (truth != 255)), flood(truth == 1)
    partners = [(a, b) for a in mine for b in theirs if 2 * len(a & b) >= len(a | b)]
    whole = [a for a in mine if not is_cut(a, truth) and not any(p is a and is_cut(b, truth) for p, b in partners)]  # fmt: skip
    counted = [
        b for b in theirs if not is_cut(b, truth) and not any(p is b and a not in whole for a, p in partners)
    ]
    found = find_whole_pieces(predicted, truth)
    assert sorted(found.predicted) == sorted(map(len, whole))
    assert sorted(found.true) == sorted(map(len, counted))
    right = [len(a) for a in whole if any(p is a for p, _ in partners)]
    assert sorted(found.predicted[found.right]) == sorted(right)


def scattered(chance: np.random.Generator, specks: int) -> PatchResult:
    """A patch of sheds and houses, half of the sheds missed, and specks where nothing is."""
    truth = np.zeros((120, 120), np.uint8)
    for at in range(6, 110, 16):
        truth[at : at + 3, 6:9] = truth[at : at + 4, 20:23] = 1
        truth[at : at + 10, 40:52] = 1
    predicted = truth == 1
    predicted[:, 20:23] = False
    for row, col in chance.integers([4, 60], [112, 112], (specks, 2)):
        predicted[row : row + 4, col : col + 4] = True
    return PatchResult(0, find_whole_pieces(predicted, truth), Confusion.empty(2))


def test_sheds_are_kept_however_many_specks_there_are() -> None:
    """The best score alone would leave out all that is smaller than a house."""
    look = scattered(np.random.default_rng(0), 60)
    smallest = choose_min_area([look], gsd_m=0.5)
    every_size = np.unique(look.pieces.predicted)
    scores = [
        2 * look.pieces.right[look.pieces.predicted >= size].sum()
        / ((look.pieces.predicted >= size).sum() + len(look.pieces.true))
        for size in every_size
    ]  # fmt: skip
    assert every_size[int(np.argmax(scores))] > 16
    assert smallest <= 9 * 0.25


def test_the_smallest_area_is_in_square_metres() -> None:
    looks = [scattered(np.random.default_rng(seed), 2) for seed in (1, 2)]
    sizes = [np.concatenate([getattr(look.pieces, side) for look in looks]) for side in ("predicted", "true")]
    right = np.concatenate([look.pieces.right for look in looks])
    assert choose_min_area(looks, 2.0) == find_best_min_area(sizes[0] * 4.0, right, sizes[1] * 4.0)[0]


def test_without_buildings_no_area_is_too_small() -> None:
    nothing = find_whole_pieces(np.zeros((5, 5), bool), np.zeros((5, 5), np.uint8))
    assert choose_min_area([PatchResult(0, nothing, Confusion.empty(2))], 0.3) == 0.0
    assert choose_min_area([], 0.3) == 0.0


def counted(odds: np.ndarray) -> ValidationResult:
    empty = np.zeros((1, 1, 2, 251), np.int64)
    return ValidationResult(("a",), Confusion.empty(2), empty, odds, 0.0, np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("side", [0, 1])
def test_where_all_ground_is_alike_probabilities_stay_as_they_are(side: int) -> None:
    odds = np.zeros((2, len(LOGITS)), np.int64)
    odds[side, 500:530] = 7
    assert choose_temperature_scaling(counted(odds), card()) == TemperatureScaling()


class Levels(nn.Module):
    """Takes each of the towns' brightnesses for a class."""

    def __init__(self, levels: list[float]) -> None:
        super().__init__()
        self.levels = torch.tensor(levels).view(1, -1, 1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return (
            -(inputs[:, :1] - self.levels).abs() if self.levels.shape[1] > 1 else inputs[:, :1] - self.levels
        )


def judge(folder: Path, classes: int, network: nn.Module) -> Tuner:
    array_set(folder / "data", classes=classes)
    settings = quick(low=0.0, high=200.0, validation_patches=3)
    run = open_run(folder / "data", folder / "run", settings, torch.device("cpu"), ProcessGroup())
    return Tuner(run, keep_answers(run, network, folder), 0.5)


def test_the_smallest_area_is_that_of_all_validation_patches(tmp_path: Path) -> None:
    one = judge(tmp_path, 2, Levels([0.0]))
    looks = one.results()
    assert sorted(look.number for look in looks) == list(range(16))
    assert sum(len(look.pieces.true) for look in looks) > 0


def test_several_classes_have_no_smallest_area(tmp_path: Path) -> None:
    """Specks would best be dropped from the first class, but whole objects of the second with them."""
    truth = np.zeros((64, 64), np.uint8)
    truth[4:14, 4:14] = truth[4:14, 30:40] = 1
    predicted = truth.copy()
    predicted[30:60:6, 8] = 1
    assert choose_min_area([judge(tmp_path / "two", 2, Levels([0.0])).look(0, predicted, truth)], 1.0) == 100
    several = judge(tmp_path / "three", 3, Levels([-1.0, 0.0, 1.0]))
    assert choose_min_area([several.look(0, predicted, truth)], 1.0) == 0
    looks = several.results()
    assert len(looks) == 3
    assert all(look.confusion.counts.shape == (3, 3) for look in looks)
