"""Losses: how wrong a batch of answers is. Each is a function of the same view on answers and truth.

Every loss is the mean over patches of a loss of each patch alone. So a batch gives the same gradient whether it is
computed at once, in pieces (accumulation) or by several processes. Pixels whose label is unknown count nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.learn.patches.separation import STEPS

IGNORE = 255
SMALLEST = 1e-7
BOUNDARY_POSITIVE = 2.0
"""A pixel of a boundary counts as two others: one in ten is one."""
DISTANCE_BETA = 0.1
"""Errors above a tenth of the deepest count in proportion, smaller ones less: the exact wall is uncertain by a pixel."""


@dataclass(frozen=True)
class Compared:
    """Answers beside the truth, each (patch, class, pixel); yes/no models have two classes here as well.

    `logs` are logarithms of probabilities, `truth` is one for the class of a pixel and zero for unknown pixels, `target`
    is the truth less certain when smoothed, as the losses of single pixels want it, `known` (patch, 1, pixel) says
    which are known, `weight` (patch, 1, pixel) how much each counts, and `class_weights` (class) how much each class
    counts in the losses of single pixels.
    """

    logs: Tensor
    truth: Tensor
    target: Tensor
    known: Tensor
    weight: Tensor
    class_weights: Tensor

    @property
    def probabilities(self) -> Tensor:
        return self.logs.exp() * self.known

    @property
    def is_yes_no(self) -> bool:
        return self.logs.shape[1] == 2

    def pixel_mean(self, loss: Tensor) -> Tensor:
        """The mean over known pixels of each patch of a loss (patch, class, pixel) summed over classes."""
        known = self.known.sum((1, 2)).clamp(min=1)
        return (loss * self.known).sum((1, 2)) / known

    def sought_mean(self, loss: Tensor) -> Tensor:
        """The mean of a loss (patch, class) over the classes it is about.

        A yes/no model is about its one class; else all classes that the patch's truth holds are meant.
        """
        if self.is_yes_no:
            return loss[:, 1]
        present = (self.truth.sum(2) > 0).float()
        return (loss * present).sum(1) / present.sum(1).clamp(min=1)


def compared(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    weight: Tensor | None = None,
    ignore: int = IGNORE,
) -> Compared:
    """Set logits (patch, channel, row, col) beside labels (patch, row, col)."""
    scores = logits.float().flatten(2)
    logs = (
        torch.cat([functional.logsigmoid(-scores), functional.logsigmoid(scores)], 1)
        if logits.shape[1] == 1
        else functional.log_softmax(scores, 1)
    )
    flat = labels.flatten(1).long()
    known = (flat != ignore).unsqueeze(1).float()
    classes = logs.shape[1]
    truth = functional.one_hot(torch.where(flat == ignore, 0, flat), classes).transpose(1, 2) * known
    return Compared(
        logs,
        truth,
        truth * (1 - smoothing) + known * smoothing / classes,
        known,
        torch.ones_like(known) if weight is None else weight.flatten(1).unsqueeze(1).float(),
        torch.ones(classes, device=logits.device)
        if class_weights is None
        else class_weights.to(logits.device),
    )


def cross_entropy(pair: Compared) -> Tensor:
    """Cross-entropy, pixel by pixel; each class with its weight."""
    return pair.pixel_mean(-pair.target * pair.logs * by_class(pair))


def binary_cross_entropy(pair: Compared) -> Tensor:
    """Each class against all others; of a yes/no model this is its cross-entropy."""
    if pair.is_yes_no:
        return cross_entropy(pair)
    others = torch.log1p(-pair.logs.exp().clamp(max=1 - SMALLEST))
    classes = pair.logs.shape[1]
    loss = -(pair.target * pair.logs + (pair.known - pair.target) * others) * by_class(pair)
    return pair.pixel_mean(loss) / classes


def focal(pair: Compared, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that looks away from what is certain already (Lin et al. 2017)."""
    return pair.pixel_mean(-pair.target * pair.logs * doubt(pair, gamma) * by_class(pair))


def dice(pair: Compared, smooth: float = 1.0) -> Tensor:
    """One less the Dice score of the patch."""
    hits, missed, wrong = overlaps(pair)
    return pair.sought_mean(amiss(2 * hits, missed + wrong, smooth))


def jaccard(pair: Compared, smooth: float = 1.0) -> Tensor:
    """One less the intersection over union of the patch."""
    hits, missed, wrong = overlaps(pair)
    return pair.sought_mean(amiss(hits, missed + wrong, smooth))


def tversky(pair: Compared, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0) -> Tensor:
    """Dice with a price of its own for false alarms (`alpha`) and for what is missed (`beta`)."""
    hits, missed, wrong = overlaps(pair)
    return pair.sought_mean(amiss(hits, alpha * wrong + beta * missed, smooth))


def lovasz(pair: Compared) -> Tensor:
    """The Lovász extension of intersection over union (Berman et al. 2018), patch by patch."""
    errors, order = (pair.truth - pair.probabilities).abs().sort(dim=2, descending=True)
    return pair.sought_mean((errors * lovasz_slope(pair.truth.gather(2, order), pair.known.sum(2))).sum(2))


def lovasz_slope(truth: Tensor, known: Tensor) -> Tensor:
    """How much each error, from the largest down, takes from the intersection over union."""
    true = truth.sum(2, keepdim=True)
    ranks = torch.arange(1, truth.shape[2] + 1, device=truth.device).minimum(known.unsqueeze(2))
    found = truth.cumsum(2)
    lost = 1 - (true - found) / (true + ranks - found).clamp(min=1)
    return torch.diff(lost, dim=2, prepend=torch.zeros_like(lost[:, :, :1]))


def unified_focal(pair: Compared, weight: float = 0.5, delta: float = 0.6, gamma: float = 0.5) -> Tensor:
    """The symmetric unified focal loss (Yeung et al. 2022): a focal and a focal Tversky loss in one.

    `gamma` from 0 (cross-entropy and Tversky) to 1 (most focal), `delta` what misses cost against false alarms.
    """
    focus = torch.full_like(pair.class_weights, gamma)
    return focal_and_tversky(pair, weight, delta, focus, focus)


def unified_focal_asymmetric(
    pair: Compared, weight: float = 0.5, delta: float = 0.6, gamma: float = 0.5
) -> Tensor:
    """The asymmetric unified focal loss: the background alone is played down, the rare classes alone are enhanced."""
    rare = is_rare(pair)
    return focal_and_tversky(pair, weight, delta, gamma * ~rare, gamma * rare)


def focal_and_tversky(
    pair: Compared, weight: float, delta: float, damping: Tensor, enhancement: Tensor
) -> Tensor:
    """Single pixels and regions, of which `weight` is the share; how much of each class is played down, and enhanced."""
    pixels = -pair.target * pair.logs * doubt(pair, damping[:, None]) * importance(pair, delta)
    hits, missed, wrong = overlaps(pair)
    distance = amiss(hits, delta * missed + (1 - delta) * wrong, 0.0).clamp(min=SMALLEST)
    regions = distance ** (1 - enhancement)
    return weight * regions.mean(1) + (1 - weight) * pair.pixel_mean(pixels)


def boundary(pair: Compared) -> Tensor:
    """Cross-entropy in which gaps between buildings and small buildings count more (Ronneberger et al. 2015)."""
    return pair.pixel_mean(-pair.target * pair.logs * by_class(pair) * pair.weight)


def boundary_loss(logits: Tensor, boundary: Tensor) -> Tensor:
    """Cross-entropy of buildings' boundaries (patch, row, col), which are few and so count more."""
    known = boundary != IGNORE
    positive = torch.tensor(BOUNDARY_POSITIVE, device=logits.device)
    loss = functional.binary_cross_entropy_with_logits(
        logits, boundary.clamp(max=1).float(), reduction="none", pos_weight=positive
    )
    return mean_of_patches(loss, known)


def distance_loss(logits: Tensor, distance: Tensor) -> Tensor:
    """How far the distance to a building's boundary (patch, row, col), in 250ths, is from the one that is said."""
    known = distance != IGNORE
    said, true = logits.sigmoid(), distance.clamp(max=STEPS).float() / STEPS
    return mean_of_patches(functional.smooth_l1_loss(said, true, reduction="none", beta=DISTANCE_BETA), known)


def mean_of_patches(loss: Tensor, known: Tensor) -> Tensor:
    """The mean over patches of the mean over each one's known pixels."""
    counted = (loss * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    return counted.mean()


def by_class(pair: Compared) -> Tensor:
    return pair.class_weights[None, :, None]


def doubt(pair: Compared, gamma: float | Tensor) -> Tensor:
    """How far each probability is from certainty, to a power; never quite zero, where powers have no slope."""
    return (1 - pair.logs.exp()).clamp(min=SMALLEST) ** gamma


def importance(pair: Compared, delta: float) -> Tensor:
    """`delta` for rare classes, the rest for the background."""
    return torch.where(is_rare(pair), delta, 1 - delta)[:, None]


def is_rare(pair: Compared) -> Tensor:
    """All classes but the first, the background."""
    return torch.arange(pair.logs.shape[1], device=pair.logs.device) > 0


def amiss(right: Tensor, wrong: Tensor, smooth: float) -> Tensor:
    """The share of what is wrong; none where there is nothing at all. The smoother, the less small patches tell."""
    return wrong / (right + wrong + max(smooth, SMALLEST))


def overlaps(pair: Compared) -> tuple[Tensor, Tensor, Tensor]:
    """For each patch and class: what was met, what was missed and what was wrongly claimed, in pixels."""
    probabilities = pair.probabilities
    hits = (probabilities * pair.truth).sum(2)
    return hits, pair.truth.sum(2) - hits, probabilities.sum(2) - hits


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weights of classes from how many pixels each has: rarer ones more, by the square root, one on average.

    The plain inverse would let a class of a few pixels drown all others.
    """
    raw = [1 / math.sqrt(count) if count else 0.0 for count in counts]
    total = sum(count * weight for count, weight in zip(counts, raw, strict=True))
    return [weight * sum(counts) / total for weight in raw] if total else [1.0] * len(counts)
