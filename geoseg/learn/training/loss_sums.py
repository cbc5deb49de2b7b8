"""Sums of losses as they are asked for: `0.5 * bce + focal(gamma=2)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from geoseg.errors import InputError
from geoseg.learn.limits import ABOVE_ZERO, SHARE, ZERO_OR_MORE, Limits
from geoseg.learn.settings import Settings, flag
from geoseg.learn.training.losses import (
    Compared,
    binary_cross_entropy,
    boundary,
    cross_entropy,
    dice,
    focal,
    jaccard,
    lovasz,
    tversky,
    unified_focal,
    unified_focal_asymmetric,
)


@dataclass(frozen=True)
class Kind:
    """A loss that can be asked for, which values its parameters can have, and which settings it heeds."""

    loss: Callable[..., Tensor]
    limits: Mapping[str, Limits] = field(default_factory=dict)
    heeds: frozenset[str] = frozenset()


HEEDED = ("class_weights", "label_smoothing")
BOTH, SMOOTHING = frozenset(HEEDED), frozenset({"label_smoothing"})
SMOOTH = {"smooth": ZERO_OR_MORE}
UNIFIED = {"weight": SHARE, "delta": SHARE, "gamma": SHARE}
LOSSES = {
    "bce": Kind(binary_cross_entropy, heeds=BOTH),
    "cross-entropy": Kind(cross_entropy, heeds=BOTH),
    "focal": Kind(focal, {"gamma": ZERO_OR_MORE}, BOTH),
    "dice": Kind(dice, SMOOTH),
    "jaccard": Kind(jaccard, SMOOTH),
    "tversky": Kind(tversky, {"alpha": ABOVE_ZERO, "beta": ABOVE_ZERO} | SMOOTH),
    "lovasz": Kind(lovasz),
    "unified-focal": Kind(unified_focal, UNIFIED, SMOOTHING),
    "unified-focal-asymmetric": Kind(unified_focal_asymmetric, UNIFIED, SMOOTHING),
    "boundary": Kind(boundary, heeds=BOTH),
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

    def __call__(self, pair: Compared) -> Tensor:
        return self.factor * LOSSES[self.name].loss(pair, **self.values).mean()


@dataclass(frozen=True)
class LossSum:
    """A sum of losses, such as `0.5 * bce + dice`."""

    text: str
    terms: tuple[LossTerm, ...]

    def __call__(self, pair: Compared) -> Tensor:
        return torch.stack([term(pair) for term in self.terms]).sum()

    @property
    def needs_weights(self) -> bool:
        """Whether patches must bring how much each of their pixels counts."""
        return any(term.name == "boundary" for term in self.terms)

    def heeds(self, setting: str) -> bool:
        return any(setting in LOSSES[term.name].heeds for term in self.terms)


def unused(loss: LossSum, settings: Settings) -> list[str]:
    """Complaints about settings that were given, but change nothing in a loss."""
    given = [name for name in HEEDED if getattr(settings, name)]
    return [
        f"{flag(name)} {getattr(settings, name)}: changes nothing in the loss {loss.text}; only losses of single pixels "
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
        raise InputError(f"--loss {text}: {error}") from error


def parse_term(part: str) -> LossTerm:
    found = TERM.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} cannot be read; write it like 0.5 * bce + focal(gamma=2)")
    name = found["name"]
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known are {', '.join(LOSSES)}")
    factor = number(found["factor"] or "1", f"the factor of {name}", ABOVE_ZERO)
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
        yield found[1], number(found[2], f"{found[1]} of {name}", limits[found[1]])


def number(text: str, what: str, limits: Limits) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{what} is {text.strip()!r}, which is no number") from error
    if value not in limits:
        raise ValueError(f"{what} is {text.strip()}; give {limits.words}")
    return value
