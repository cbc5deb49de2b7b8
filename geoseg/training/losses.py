"""Sums of losses, written as `0.5 * bce + focal(gamma=2)`: the names and parameters there are, and how they are parsed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError
from geoseg.options import ABOVE_ZERO, SHARE, ZERO_OR_MORE, Limits
from geoseg.raster.coding import PROBABILITY_STEPS
from geoseg.training.options import TrainOptions

SMALLEST = 1e-7
BOUNDARY_POSITIVE = 2.0
"""A pixel of a boundary counts as two others: one in ten is one."""
DISTANCE_BETA = 0.1
"""Errors above a tenth of the deepest count in proportion, smaller ones less: the exact wall is uncertain by a pixel."""


@dataclass(frozen=True)
class LossInputs:
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
    def is_binary(self) -> bool:
        return self.logs.shape[1] == 2

    def average_pixels(self, loss: Tensor) -> Tensor:
        """The mean over known pixels of each patch of a loss (patch, class, pixel) summed over classes."""
        known = self.known.sum((1, 2)).clamp(min=1)
        return (loss * self.known).sum((1, 2)) / known

    def average_classes(self, loss: Tensor) -> Tensor:
        """The mean of a loss (patch, class) over the classes it is about.

        A yes/no model is about its one class; else all classes that the patch's truth holds are meant.
        """
        if self.is_binary:
            return loss[:, 1]
        present = (self.truth.sum(2) > 0).float()
        return (loss * present).sum(1) / present.sum(1).clamp(min=1)


def make_loss_inputs(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    weight: Tensor | None = None,
    ignore: int = IGNORE,
) -> LossInputs:
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
    return LossInputs(
        logs,
        truth,
        truth * (1 - smoothing) + known * smoothing / classes,
        known,
        torch.ones_like(known) if weight is None else weight.flatten(1).unsqueeze(1).float(),
        torch.ones(classes, device=logits.device)
        if class_weights is None
        else class_weights.to(logits.device),
    )


def cross_entropy(pair: LossInputs) -> Tensor:
    """Cross-entropy, pixel by pixel; each class with its weight."""
    return pair.average_pixels(-pair.target * pair.logs * expand_class_weights(pair))


def binary_cross_entropy(pair: LossInputs) -> Tensor:
    """Each class against all others; of a yes/no model this is its cross-entropy."""
    if pair.is_binary:
        return cross_entropy(pair)
    others = torch.log1p(-pair.logs.exp().clamp(max=1 - SMALLEST))
    classes = pair.logs.shape[1]
    loss = -(pair.target * pair.logs + (pair.known - pair.target) * others) * expand_class_weights(pair)
    return pair.average_pixels(loss) / classes


def focal_loss(pair: LossInputs, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that looks away from what is certain already (Lin et al. 2017)."""
    return pair.average_pixels(
        -pair.target * pair.logs * compute_focal_factor(pair, gamma) * expand_class_weights(pair)
    )


def dice_loss(pair: LossInputs, smooth: float = 1.0) -> Tensor:
    """One less the Dice score of the patch."""
    hits, missed, wrong = compute_overlaps(pair)
    return pair.average_classes(compute_error_share(2 * hits, missed + wrong, smooth))


def jaccard_loss(pair: LossInputs, smooth: float = 1.0) -> Tensor:
    """One less the intersection over union of the patch."""
    hits, missed, wrong = compute_overlaps(pair)
    return pair.average_classes(compute_error_share(hits, missed + wrong, smooth))


def tversky_loss(pair: LossInputs, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0) -> Tensor:
    """Dice with a price of its own for false alarms (`alpha`) and for what is missed (`beta`)."""
    hits, missed, wrong = compute_overlaps(pair)
    return pair.average_classes(compute_error_share(hits, alpha * wrong + beta * missed, smooth))


def lovasz_loss(pair: LossInputs) -> Tensor:
    """The Lovász extension of intersection over union (Berman et al. 2018), patch by patch."""
    errors, order = (pair.truth - pair.probabilities).abs().sort(dim=2, descending=True)
    return pair.average_classes(
        (errors * compute_lovasz_gradient(pair.truth.gather(2, order), pair.known.sum(2))).sum(2)
    )


def compute_lovasz_gradient(truth: Tensor, known: Tensor) -> Tensor:
    """How much each error, from the largest down, takes from the intersection over union."""
    true = truth.sum(2, keepdim=True)
    ranks = torch.arange(1, truth.shape[2] + 1, device=truth.device).minimum(known.unsqueeze(2))
    found = truth.cumsum(2)
    lost = 1 - (true - found) / (true + ranks - found).clamp(min=1)
    return torch.diff(lost, dim=2, prepend=torch.zeros_like(lost[:, :, :1]))


def unified_focal_loss(
    pair: LossInputs, weight: float = 0.5, delta: float = 0.6, gamma: float = 0.5
) -> Tensor:
    """The symmetric unified focal loss (Yeung et al. 2022): a focal and a focal Tversky loss in one.

    `gamma` from 0 (cross-entropy and Tversky) to 1 (most focal), `delta` what misses cost against false alarms.
    """
    focus = torch.full_like(pair.class_weights, gamma)
    return combine_focal_and_tversky(pair, weight, delta, focus, focus)


def asymmetric_unified_focal_loss(
    pair: LossInputs, weight: float = 0.5, delta: float = 0.6, gamma: float = 0.5
) -> Tensor:
    """The asymmetric unified focal loss: the background alone is played down, the rare classes alone are enhanced."""
    rare = find_rare_classes(pair)
    return combine_focal_and_tversky(pair, weight, delta, gamma * ~rare, gamma * rare)


def combine_focal_and_tversky(
    pair: LossInputs, weight: float, delta: float, damping: Tensor, enhancement: Tensor
) -> Tensor:
    """Single pixels and regions, of which `weight` is the share; how much of each class is played down, and enhanced."""
    pixels = (
        -pair.target
        * pair.logs
        * compute_focal_factor(pair, damping[:, None])
        * weigh_rare_classes(pair, delta)
    )
    hits, missed, wrong = compute_overlaps(pair)
    distance = compute_error_share(hits, delta * missed + (1 - delta) * wrong, 0.0).clamp(min=SMALLEST)
    regions = distance ** (1 - enhancement)
    return weight * regions.mean(1) + (1 - weight) * pair.average_pixels(pixels)


def weighted_cross_entropy(pair: LossInputs) -> Tensor:
    """Cross-entropy in which gaps between buildings and small buildings count more (Ronneberger et al. 2015)."""
    return pair.average_pixels(-pair.target * pair.logs * expand_class_weights(pair) * pair.weight)


def boundary_loss(logits: Tensor, boundary: Tensor) -> Tensor:
    """Cross-entropy of buildings' boundaries (patch, row, col), which are few and so count more."""
    known = boundary != IGNORE
    positive = torch.tensor(BOUNDARY_POSITIVE, device=logits.device)
    loss = functional.binary_cross_entropy_with_logits(
        logits, boundary.clamp(max=1).float(), reduction="none", pos_weight=positive
    )
    return average_patches(loss, known)


def distance_loss(logits: Tensor, distance: Tensor) -> Tensor:
    """How far the distance to a building's boundary (patch, row, col), in 250ths, is from the one that is said."""
    known = distance != IGNORE
    said, true = logits.sigmoid(), distance.clamp(max=PROBABILITY_STEPS).float() / PROBABILITY_STEPS
    return average_patches(functional.smooth_l1_loss(said, true, reduction="none", beta=DISTANCE_BETA), known)


def average_patches(loss: Tensor, known: Tensor) -> Tensor:
    """The mean over patches of the mean over each one's known pixels."""
    counted = (loss * known).sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
    return counted.mean()


def expand_class_weights(pair: LossInputs) -> Tensor:
    return pair.class_weights[None, :, None]


def compute_focal_factor(pair: LossInputs, gamma: float | Tensor) -> Tensor:
    """How far each probability is from certainty, to a power; never quite zero, where powers have no slope."""
    return (1 - pair.logs.exp()).clamp(min=SMALLEST) ** gamma


def weigh_rare_classes(pair: LossInputs, delta: float) -> Tensor:
    """`delta` for rare classes, the rest for the background."""
    return torch.where(find_rare_classes(pair), delta, 1 - delta)[:, None]


def find_rare_classes(pair: LossInputs) -> Tensor:
    """All classes but the first, the background."""
    return torch.arange(pair.logs.shape[1], device=pair.logs.device) > 0


def compute_error_share(right: Tensor, wrong: Tensor, smooth: float) -> Tensor:
    """The share of what is wrong; none where there is nothing at all. The smoother, the less small patches tell."""
    return wrong / (right + wrong + max(smooth, SMALLEST))


def compute_overlaps(pair: LossInputs) -> tuple[Tensor, Tensor, Tensor]:
    """For each patch and class: what was met, what was missed and what was wrongly claimed, in pixels."""
    probabilities = pair.probabilities
    hits = (probabilities * pair.truth).sum(2)
    return hits, pair.truth.sum(2) - hits, probabilities.sum(2) - hits


def compute_balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weights of classes from how many pixels each has: rarer ones more, by the square root, one on average.

    The plain inverse would let a class of a few pixels drown all others.
    """
    raw = [1 / math.sqrt(count) if count else 0.0 for count in counts]
    total = sum(count * weight for count, weight in zip(counts, raw, strict=True))
    return [weight * sum(counts) / total for weight in raw] if total else [1.0] * len(counts)


@dataclass(frozen=True)
class LossKind:
    """A loss that can be asked for, which values its parameters can have, and which settings it heeds."""

    loss: Callable[..., Tensor]
    limits: Mapping[str, Limits] = field(default_factory=dict)
    heeds: frozenset[str] = frozenset()


HEEDED = ("class_weights", "label_smoothing")
BOTH, SMOOTHING = frozenset(HEEDED), frozenset({"label_smoothing"})
SMOOTH = {"smooth": ZERO_OR_MORE}
UNIFIED = {"weight": SHARE, "delta": SHARE, "gamma": SHARE}
LOSSES = {
    "bce": LossKind(binary_cross_entropy, heeds=BOTH),
    "cross-entropy": LossKind(cross_entropy, heeds=BOTH),
    "focal": LossKind(focal_loss, {"gamma": ZERO_OR_MORE}, BOTH),
    "dice": LossKind(dice_loss, SMOOTH),
    "jaccard": LossKind(jaccard_loss, SMOOTH),
    "tversky": LossKind(tversky_loss, {"alpha": ABOVE_ZERO, "beta": ABOVE_ZERO} | SMOOTH),
    "lovasz": LossKind(lovasz_loss),
    "unified-focal": LossKind(unified_focal_loss, UNIFIED, SMOOTHING),
    "unified-focal-asymmetric": LossKind(asymmetric_unified_focal_loss, UNIFIED, SMOOTHING),
    "boundary": LossKind(weighted_cross_entropy, heeds=BOTH),
}
DEFAULTS = {True: "bce + dice", False: "cross-entropy + dice"}
PLUS = re.compile(r"(?<![\d.][eE])\+")  # not that of 1e+3
TERM = re.compile(r"(?:(?P<factor>[^*]+)\*)?\s*(?P<name>[a-z-]+)\s*(?:\((?P<values>[^()]*)\))?")
VALUE = re.compile(r"\s*([a-z]+)\s*=\s*(\S+)\s*")


@dataclass(frozen=True)
class LossTerm:
    """A loss with its parameters, and its share in a sum."""

    factor: float
    name: str
    values: dict[str, float]

    def __call__(self, pair: LossInputs) -> Tensor:
        return self.factor * LOSSES[self.name].loss(pair, **self.values).mean()


@dataclass(frozen=True)
class LossSum:
    """A sum of losses, such as `0.5 * bce + dice`."""

    text: str
    terms: tuple[LossTerm, ...]

    def __call__(self, pair: LossInputs) -> Tensor:
        return torch.stack([term(pair) for term in self.terms]).sum()

    @property
    def needs_weights(self) -> bool:
        """Whether patches must bring how much each of their pixels counts."""
        return any(term.name == "boundary" for term in self.terms)

    def heeds(self, setting: str) -> bool:
        return any(setting in LOSSES[term.name].heeds for term in self.terms)


def find_unused_loss_options(loss: LossSum, settings: TrainOptions) -> list[str]:
    """Complaints about settings that were given, but change nothing in a loss."""
    given = [name for name in HEEDED if getattr(settings, name)]
    return [
        f"`{name}` {getattr(settings, name)}: changes nothing in the loss {loss.text}; only losses of single pixels "
        f"heed it, such as {', '.join(kind for kind in LOSSES if name in LOSSES[kind].heeds)}"
        for name in given
        if not loss.heeds(name)
    ]


def parse_loss(text: str, yes_no: bool) -> LossSum:
    """A loss from its description; `auto` is cross-entropy and dice."""
    described = DEFAULTS[yes_no] if text == "auto" else text
    try:
        return LossSum(described, tuple(parse_term(part.strip()) for part in PLUS.split(described)))
    except ValueError as error:
        raise InputError(f"`loss` {text}: {error}") from error


def parse_term(part: str) -> LossTerm:
    found = TERM.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} cannot be read; write it like 0.5 * bce + focal(gamma=2)")
    name = found["name"]
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known are {', '.join(LOSSES)}")
    factor = parse_number(found["factor"] or "1", f"the factor of {name}", ABOVE_ZERO)
    return LossTerm(factor, name, dict(parse_values(name, found["values"] or "")))


def parse_values(name: str, text: str) -> Iterator[tuple[str, float]]:
    """The parameters of a loss, each within its limits."""
    limits = LOSSES[name].limits
    for part in filter(str.strip, text.split(",")):
        found = VALUE.fullmatch(part)
        if found is None:
            raise ValueError(f"parameters of {name} are written like (gamma=2)")
        if found[1] not in limits:
            raise ValueError(f"{name} has no parameter {found[1]!r}; it has {', '.join(limits) or 'none'}")
        yield found[1], parse_number(found[2], f"{found[1]} of {name}", limits[found[1]])


def parse_number(text: str, what: str, limits: Limits) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{what} is {text.strip()!r}, which is no number") from error
    if value not in limits:
        raise ValueError(f"{what} is {text.strip()}; give {limits.words}")
    return value
