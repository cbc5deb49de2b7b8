"""How well a network does on places that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.datasets.schema import IGNORE
from geoseg.errors import GeosegError
from geoseg.raster.coding import PROBABILITY_STEPS
from geoseg.scores.calibration import LOGITS, ProbabilityCounts
from geoseg.scores.confusion import Confusion, average_classes
from geoseg.training.losses import LossSum, make_loss_inputs
from geoseg.training.optimizer import MixedPrecision
from geoseg.training.patches.batches import Batch, BatchTransform, PreparedBatch
from geoseg.training.processes import ProcessGroup

SAMPLED = 64


@dataclass(frozen=True)
class ValidationResult:
    """What was counted: a confusion table and levels of probability for each place, and some logits with their truth.

    `levels` (place, class, truth, level) counts probabilities of each class in 250ths; a yes/no model has one class, and
    its logits are counted more finely in `odds` (truth, logit). `loss` is 0 where none was asked for.
    """

    places: tuple[str, ...]
    confusion: Confusion
    levels: NDArray[np.int64]
    odds: NDArray[np.int64]
    loss: float
    logits: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def score(self) -> float:
        """What is to be high: IoU of the buildings of a yes/no model, else the mean of all classes."""
        return compute_target_iou(self.confusion.total())

    def at(self, threshold: float) -> ValidationResult:
        """The same of a yes/no model, had it this threshold."""
        return replace(self, confusion=ProbabilityCounts(self.levels[:, 0]).confusion(threshold))


def compute_target_iou(confusion: Confusion) -> float:
    iou = confusion.iou
    score = iou[1] if len(iou) == 2 else average_classes(iou)
    return 0.0 if np.isnan(score) else float(score)


class ValidationCounter:
    """Counts on the device; only tables come back."""

    def __init__(self, places: int, outputs: int, device: torch.device) -> None:
        self.classes = max(2, outputs)
        self.confusion = torch.zeros(places * self.classes**2, dtype=torch.int64, device=device)
        self.levels = torch.zeros(
            places * outputs * 2 * (PROBABILITY_STEPS + 1), dtype=torch.int64, device=device
        )
        self.odds = torch.zeros(2 * len(LOGITS), dtype=torch.int64, device=device)
        self.loss = torch.zeros(2, dtype=torch.float64, device=device)
        self.sampled: list[tuple[Tensor, Tensor]] = []

    def add(self, logits: Tensor, labels: Tensor, places: Tensor, ignore: int = IGNORE) -> None:
        known = labels != ignore
        truth, where = labels.long()[known], places[:, None, None].expand_as(labels)[known]
        scores = logits.movedim(1, -1)[known]
        yes_no = scores.shape[1] == 1
        probabilities = scores.sigmoid() if yes_no else scores.softmax(1)
        predicted = (probabilities[:, 0] >= 0.5).long() if yes_no else scores.argmax(1)
        pairs = (where * self.classes + truth) * self.classes + predicted
        self.confusion += torch.bincount(pairs, minlength=len(self.confusion))
        self.add_levels(probabilities, truth, where)
        if yes_no:
            self.add_odds(scores[:, 0], truth)
        step = max(1, len(truth) // (SAMPLED * len(labels)))
        self.sampled.append((scores[::step].cpu(), truth[::step].cpu()))

    def add_levels(self, probabilities: Tensor, truth: Tensor, places: Tensor) -> None:
        outputs = probabilities.shape[1]
        of_class = torch.arange(outputs, device=truth.device) + (1 if outputs == 1 else 0)
        table = (places[:, None] * outputs + torch.arange(outputs, device=truth.device)) * 2
        pairs = (table + (truth[:, None] == of_class)) * (PROBABILITY_STEPS + 1) + (
            probabilities * PROBABILITY_STEPS
        ).round().long()
        self.levels += torch.bincount(pairs.flatten(), minlength=len(self.levels))

    def add_odds(self, logits: Tensor, truth: Tensor) -> None:
        first, step = float(LOGITS[0]), float(LOGITS[1] - LOGITS[0])
        nearest = ((logits - first) / step).round().long().clamp(0, len(LOGITS) - 1)
        self.odds += torch.bincount(truth * len(LOGITS) + nearest, minlength=len(self.odds))

    def result(self, places: tuple[str, ...], processes: ProcessGroup) -> ValidationResult:
        confusion, levels, odds, loss = (
            processes.sum_over_processes(each).cpu()
            for each in (self.confusion, self.levels, self.odds, self.loss)
        )
        table = confusion.view(len(places), self.classes, self.classes).numpy()
        logits = torch.cat([scores for scores, _ in self.sampled]) if self.sampled else torch.zeros(0, 1)
        truth = torch.cat([true for _, true in self.sampled]) if self.sampled else torch.zeros(0).long()
        return ValidationResult(
            places,
            Confusion(table),
            levels.view(len(places), -1, 2, PROBABILITY_STEPS + 1).numpy(),
            odds.view(2, -1).numpy(),
            float(loss[0] / loss[1].clamp(min=1)),
            logits.squeeze(1).numpy() if logits.shape[1] == 1 else logits.numpy(),
            truth.numpy(),
        )


@dataclass(frozen=True)
class Validator:
    """Runs networks over validation patches. `places` are those of each site, `channels` those that are about classes.

    Its loss is the one that is trained with, classes weighing alike, but against labels as they are: smoothed ones
    would hold a right answer against a network.
    """

    transform: BatchTransform
    criterion: LossSum
    class_weights: Tensor | None
    places: tuple[str, ...]
    channels: int
    ignore: int
    device: torch.device
    group: ProcessGroup
    mixed_precision: MixedPrecision

    @torch.inference_mode()
    def __call__(self, network: nn.Module, batches: Iterable[Batch]) -> ValidationResult:
        """Count over this process's batches, and add up what all have counted."""
        counter = self.make_counter()
        for batch in batches:
            prepared = self.transform(batch)
            logits = self.predict(network, prepared)
            counter.add(logits, prepared.labels, self.number_places(batch.sites), self.ignore)
            loss = self.criterion(
                make_loss_inputs(
                    logits, prepared.labels, self.class_weights, weight=prepared.weight, ignore=self.ignore
                )
            )
            counter.loss += torch.stack(
                [loss.double() * len(batch), torch.ones_like(loss).double() * len(batch)]
            )
        return counter.result(self.place_names, self.group)

    @torch.inference_mode()
    def predict(self, network: nn.Module, prepared: PreparedBatch) -> Tensor:
        """A network's logits of classes (patch, class, row, col), which must be numbers."""
        network.eval()
        logits = self.mixed_precision(network, prepared.inputs)[:, : self.channels]
        if not torch.isfinite(logits).all():
            raise GeosegError(
                "the network answers validation patches with what is no number; train with a lower `learning_rate`, "
                "`clip` 1 or `precision` fp32"
            )
        return logits

    @property
    def place_names(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.places)))

    def number_places(self, sites: Tensor) -> Tensor:
        """The number of the place of each site, in the order of their names."""
        number = {name: i for i, name in enumerate(self.place_names)}
        return torch.tensor([number[self.places[i]] for i in sites.tolist()], device=self.device)

    def make_counter(self) -> ValidationCounter:
        return ValidationCounter(len(self.place_names), self.channels, self.device)
