"""What is tuned on the validation patches after training: calibration, threshold and the smallest area."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError
from geoseg.models.card import Card
from geoseg.scores.calibration import (
    LOGITS,
    ProbabilityCounts,
    TemperatureScaling,
    find_best_min_area,
    find_best_threshold,
    fit_temperature,
    fit_temperature_scaling,
)
from geoseg.scores.confusion import Confusion
from geoseg.training.answers import AnsweredBatch, KeptAnswers
from geoseg.training.run import TrainingRun
from geoseg.training.validation import ValidationResult

log = logging.getLogger(__name__)

MATCHED = 0.5
DOUBT = 0.02
"""How close a probability must be to the one that decides for arithmetic in 16 bits to move it to the other side: the
largest differences that were measured are of 0.03."""

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


def choose_temperature_scaling(found: ValidationResult, card: Card) -> TemperatureScaling:
    """What makes probabilities come true; nothing where validation holds only one side of the question."""
    if card.class_channels == 1:
        return (
            fit_temperature_scaling(LOGITS, found.odds)
            if found.odds.any(axis=1).all()
            else TemperatureScaling()
        )
    return (
        TemperatureScaling(fit_temperature(found.logits, found.truth))
        if len(found.truth)
        else TemperatureScaling()
    )


def choose_threshold(found: ValidationResult, card: Card) -> float:
    """The threshold of the best IoU; one half where there is nothing to tell."""
    if card.class_channels > 1:
        return 0.5
    try:
        return find_best_threshold(ProbabilityCounts(found.levels))[0]
    except InputError as error:
        log.warning(f"{error}; the threshold stays 0.5")
        return 0.5


@dataclass(frozen=True)
class WholePieces:
    """Whole connected pieces of a predicted mask and of the true one, in pixels, and which predicted ones are right."""

    predicted: Ints
    right: Flags
    true: Ints


NO_PIECES = WholePieces(np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.int64))


@dataclass(frozen=True)
class PatchResult:
    """What one validation patch shows: its number, the pieces of what a yes/no model seeks, and its confusion table.

    `unsure` is the share of its pixels that are close to being of another class.
    """

    number: int
    pieces: WholePieces
    confusion: Confusion
    unsure: float = 0.0


@dataclass(frozen=True)
class Tuner:
    """A network's answers in classes, patch by patch; what has no label is 255."""

    run: TrainingRun
    answers: KeptAnswers
    threshold: float

    def results(self) -> list[PatchResult]:
        """All validation patches (of several processes: this one's) of a yes/no model; of several classes, some."""
        most = None if self.is_binary else self.run.settings.validation_patches
        wanted = set(self.run.choose_validation(most))
        return [
            replace(self.look(number, predicted, truth), unsure=unsure)
            for answer in self.answers
            for (number, predicted, truth), unsure in zip(
                self.classify(answer), self.measure_doubt(answer.logits), strict=True
            )
            if number in wanted
        ]

    def measure_doubt(self, logits: torch.Tensor) -> list[float]:
        """The share of each patch's pixels that are close to being of another class."""
        if self.is_binary:
            margin = (logits[:, 0].sigmoid() - self.threshold).abs()
        else:
            first, second = logits.softmax(1).topk(2, dim=1).values.unbind(1)
            margin = (first - second) / 2
        shares: list[float] = (margin < DOUBT).float().mean((1, 2)).tolist()
        return shares

    def look(self, number: int, predicted: Bytes, truth: Bytes) -> PatchResult:
        pieces = find_whole_pieces(predicted == 1, truth) if self.is_binary else NO_PIECES
        return PatchResult(
            number, pieces, count_confusion(truth, predicted, max(2, self.run.card.class_channels))
        )

    @property
    def is_binary(self) -> bool:
        return self.run.card.class_channels == 1

    def classify(self, answer: AnsweredBatch) -> Iterator[tuple[int, Bytes, Bytes]]:
        """Number, predicted classes and true ones of each patch."""
        truth = torch.where(answer.labels == self.run.ground.dataset.ignore, IGNORE, answer.labels)
        columns = answer.numbers.tolist(), self.decide(answer.logits).cpu().numpy(), truth.cpu().numpy()
        yield from zip(*columns, strict=True)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        if self.is_binary:
            return (logits[:, 0].sigmoid() >= self.threshold).byte()
        return logits.argmax(1).byte()


def count_confusion(truth: Bytes, predicted: Bytes, classes: int) -> Confusion:
    table = Confusion.empty(classes)
    table.add(truth, predicted)
    return table


def choose_min_area(results: Sequence[PatchResult], gsd_m: float) -> float:
    """The smallest area worth keeping of what a yes/no model seeks, in square metres; never more than most of it have.

    0 with several classes: what is too small for a house is not so for a tree, and one area holds for all of them.
    """
    pieces = [look.pieces for look in results]
    predicted, true = (
        concatenate_columns([getattr(each, side) for each in pieces]) * gsd_m**2
        for side in ("predicted", "true")
    )
    right = concatenate_columns([each.right for each in pieces]).astype(bool)
    return floor(find_best_min_area(predicted, right, true)[0] * 100) / 100


def concatenate_columns(columns: Iterable[NDArray[np.generic]]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *columns]).astype(np.float64)


def find_whole_pieces(predicted: Flags, truth: Bytes) -> WholePieces:
    """The pieces that end neither at the patch's edge nor at unknown ground; right ones share half with a true one."""
    known = truth != IGNORE
    mine, count = ndimage.label(predicted & known)
    theirs, true = ndimage.label(truth == 1)
    both = np.bincount((mine * (true + 1) + theirs).ravel(), minlength=(count + 1) * (true + 1))
    meeting = both.reshape(count + 1, true + 1)
    sizes, others = meeting.sum(1), meeting.sum(0)
    iou = meeting / np.maximum(sizes[:, None] + others[None, :] - meeting, 1)
    rim = ndimage.binary_dilation(~known, border_value=1)
    # A piece belongs with its partner: where one of them is cut off, neither counts.
    wanted, partner = find_uncut(theirs, rim, true), iou[1:, 1:] >= MATCHED
    chosen = find_uncut(mine, rim, count) & ~(partner & ~wanted).any(axis=1)
    counted = wanted & ~(partner & ~chosen[:, None]).any(axis=0)
    return WholePieces(sizes[1:][chosen], partner[chosen].any(axis=1), others[1:][counted])


def find_uncut(pieces: NDArray[np.int32], rim: Flags, count: int) -> Flags:
    """Which pieces, numbered from 1, hold no pixel of the rim."""
    whole = np.ones(count + 1, dtype=bool)
    whole[pieces[rim]] = False
    return whole[1:]
