"""What is settled on the validation patches once the weights are: calibration, threshold and the smallest area."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from geoseg.errors import InputError
from geoseg.learn.patches.augment import RECIPES
from geoseg.learn.patches.batches import Batch, BatchTransform, Ready
from geoseg.learn.scores.calibrate import (
    LOGITS,
    Cooling,
    ProbabilityCounts,
    best_min_area,
    best_threshold,
    fit_cooling,
    fit_temperature,
)
from geoseg.learn.scores.confusion import Confusion
from geoseg.learn.training.losses import IGNORE
from geoseg.learn.training.run import Run
from geoseg.learn.training.validation import Validation
from geoseg.model.card import Card
from geoseg.narrator import Narrator

MATCHED = 0.5

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


def cooling_for(found: Validation, card: Card) -> Cooling:
    """What makes probabilities come true; nothing where validation holds only one side of the question."""
    if card.class_channels == 1:
        return fit_cooling(LOGITS, found.odds) if found.odds.any(axis=1).all() else Cooling()
    return Cooling(fit_temperature(found.logits, found.truth)) if len(found.truth) else Cooling()


def threshold_for(found: Validation, card: Card, narrator: Narrator) -> float:
    """The threshold of the best IoU; one half where there is nothing to tell."""
    if card.class_channels > 1:
        return 0.5
    try:
        return best_threshold(ProbabilityCounts(found.levels))[0]
    except InputError as error:
        narrator.warn(f"{error}; the threshold stays 0.5")
        return 0.5


@dataclass(frozen=True)
class Whole:
    """Whole connected pieces of a predicted mask and of the true one, in pixels, and which predicted ones are right."""

    predicted: Ints
    right: Flags
    true: Ints


NO_PIECES = Whole(np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Look:
    """What one validation patch shows: its number, the pieces of what a yes/no model seeks, and its confusion table."""

    number: int
    pieces: Whole
    confusion: Confusion


@dataclass(frozen=True)
class Judge:
    """A network's answers in classes, patch by patch; what has no label is 255."""

    run: Run
    network: nn.Module
    threshold: float

    def looks(self) -> list[Look]:
        """All validation patches (of several processes: this one's) of a yes/no model; of several classes, some."""
        most = None if self.is_yes_no else self.run.settings.validation_patches
        return [
            self.look(number, predicted, truth)
            for batch in self.run.validation_batches(most)
            for number, predicted, truth in self.answers(batch)
        ]

    def look(self, number: int, predicted: Bytes, truth: Bytes) -> Look:
        pieces = whole_pieces(predicted == 1, truth) if self.is_yes_no else NO_PIECES
        return Look(number, pieces, confusion_of(truth, predicted, max(2, self.run.card.class_channels)))

    @property
    def is_yes_no(self) -> bool:
        return self.run.card.class_channels == 1

    def answers(self, batch: Batch) -> Iterator[tuple[int, Bytes, Bytes]]:
        """Number, predicted classes and true ones of each patch."""
        ready = self.transform(batch)
        truth = torch.where(ready.labels == self.run.ground.dataset.ignore, IGNORE, ready.labels)
        columns = batch.numbers.tolist(), self.predicted(ready).cpu().numpy(), truth.cpu().numpy()
        yield from zip(*columns, strict=True)

    @property
    def transform(self) -> BatchTransform:
        return self.run.transform(RECIPES["none"])

    @torch.inference_mode()
    def predicted(self, ready: Ready) -> torch.Tensor:
        self.network.eval()
        logits = self.run.arithmetic(self.network, ready.inputs)[:, : self.run.card.class_channels]
        if self.is_yes_no:
            return (logits[:, 0].sigmoid() >= self.threshold).byte()
        return logits.argmax(1).byte()


def confusion_of(truth: Bytes, predicted: Bytes, classes: int) -> Confusion:
    table = Confusion.empty(classes)
    table.add(truth, predicted)
    return table


def min_area_for(looks: Sequence[Look], gsd_m: float) -> float:
    """The smallest area worth keeping of what a yes/no model seeks, in square metres; never more than most of it have.

    0 with several classes: what is too small for a house is not so for a tree, and one area holds for all of them.
    """
    pieces = [look.pieces for look in looks]
    predicted, true = (
        joined([getattr(each, side) for each in pieces]) * gsd_m**2 for side in ("predicted", "true")
    )
    right = joined([each.right for each in pieces]).astype(bool)
    return floor(best_min_area(predicted, right, true)[0] * 100) / 100


def joined(columns: Iterable[NDArray[np.generic]]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *columns]).astype(np.float64)


def whole_pieces(predicted: Flags, truth: Bytes) -> Whole:
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
    wanted, partner = uncut(theirs, rim, true), iou[1:, 1:] >= MATCHED
    chosen = uncut(mine, rim, count) & ~(partner & ~wanted).any(axis=1)
    counted = wanted & ~(partner & ~chosen[:, None]).any(axis=0)
    return Whole(sizes[1:][chosen], partner[chosen].any(axis=1), others[1:][counted])


def uncut(pieces: NDArray[np.int32], rim: Flags, count: int) -> Flags:
    """Which pieces, numbered from 1, hold no pixel of the rim."""
    whole = np.ones(count + 1, dtype=bool)
    whole[pieces[rim]] = False
    return whole[1:]
