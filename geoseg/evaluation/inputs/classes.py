"""Which classes a comparison is in, and what the values of prediction and truth stand for among them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.progress import list_names
from geoseg.raster.mask import Mask, find_classes
from geoseg.raster.palette import ClassEntry

if TYPE_CHECKING:
    from geoseg.models.card import Card

log = logging.getLogger(__name__)


IDENTITY = np.arange(256, dtype=np.uint8)


BACKGROUND, BUILDING = ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e")
COLORS = ("#4c78a8", "#54a24b", "#eeca3b", "#b279a2", "#72b7b2", "#9d755d", "#ff9da6")

Lookup = NDArray[np.uint8]
"""For each value of a raster, the number of its class in the comparison."""


@dataclass(frozen=True)
class ClassScheme:
    """The classes that a prediction or a truth distinguishes, the first of them its background."""

    source: str
    classes: tuple[ClassEntry, ...]
    named: bool = True
    """Whether it names them itself; a mask does not."""
    numbered: bool = True
    """Whether they have numbers of their own; words in a column have none."""

    @property
    def are_all(self) -> bool:
        """Whether these are all classes it could ever hold, rather than those that it happens to hold."""
        return self.named and self.numbered

    @property
    def listed(self) -> str:
        return list_names([entry.name for entry in self.classes[1:]])


@dataclass(frozen=True)
class ClassLegend:
    """The classes of a comparison, and for each value (or band of probability) of both inputs the number of its class."""

    classes: tuple[ClassEntry, ...]
    predicted: Lookup = field(default_factory=lambda: IDENTITY)
    true: Lookup = field(default_factory=lambda: IDENTITY)


def match_classes(predicted: ClassScheme, true: ClassScheme) -> ClassLegend:
    """The classes that prediction and truth are compared in.

    Where either has numbers only, numbers tell which are the same. Else names do, and a class that only one of the two
    knows counts as background. Where each knows one class, the two mean the same by it.
    """
    if predicted.numbered and true.numbered and not (predicted.named and true.named):
        return ClassLegend(
            max(true, predicted, key=lambda scheme: (scheme.named, len(scheme.classes))).classes
        )
    if len(predicted.classes) == len(true.classes) == 2:
        warn_of_other_name(predicted, true)
        return ClassLegend((true if true.named else predicted).classes)
    known = {entry.name for entry in predicted.classes[1:]}
    if not any(entry.name in known for entry in true.classes[1:]):
        return merge_into_one_class(predicted, true)
    kept = [entry for entry in true.classes[1:] if entry.name in known or not predicted.are_all]
    classes = (true.classes[0], *kept)
    report_left_out(predicted, true, classes)
    report_left_out(true, predicted, classes)
    numbers = {entry.name: number for number, entry in enumerate(classes)}
    return ClassLegend(classes, map_values(predicted.classes, numbers), map_values(true.classes, numbers))


def warn_of_other_name(predicted: ClassScheme, true: ClassScheme) -> None:
    predicted_name, true_name = predicted.classes[1].name, true.classes[1].name
    if predicted.named and true.named and predicted_name != true_name:
        log.warning(
            f"{predicted.source} knows {predicted_name}, {true.source} {true_name}; they are taken for the same"
        )


def report_left_out(scheme: ClassScheme, other: ClassScheme, classes: Sequence[ClassEntry]) -> None:
    compared = {entry.name for entry in classes}
    left_out = [entry.name for entry in scheme.classes[1:] if entry.name not in compared]
    if left_out:
        log.info(
            f"{list_names(left_out)} of {scheme.source}: not known to {other.source}, so counted as background"
        )


def merge_into_one_class(predicted: ClassScheme, true: ClassScheme) -> ClassLegend:
    """Names that the other one does not know are kinds of its class, if it has one only; else there is no telling."""
    for many, one in ((predicted, true), (true, predicted)):
        if not many.numbered and len(one.classes) == 2:
            log.warning(f"{many.source}: {many.listed} all count as {one.classes[1].name}")
            merged = np.minimum(IDENTITY, 1)
            lookups = {"predicted": merged} if many is predicted else {"true": merged}
            return ClassLegend(one.classes, **lookups)
    raise InputError(
        f"{predicted.source}: knows {predicted.listed}, but {true.source} {true.listed}; they share no class"
    )


def map_values(classes: Sequence[ClassEntry], numbers: Mapping[str, int]) -> Lookup:
    """For each value of a raster, the number of its class."""
    lookup = IDENTITY.copy()
    lookup[: len(classes)] = [0, *(numbers.get(entry.name, 0) for entry in classes[1:])]
    return lookup


def read_model_classes(model: str, card: Card) -> ClassScheme:
    return ClassScheme(model, tuple(ClassEntry(entry.name, entry.color) for entry in card.classes))


def read_mask_classes(mask: Mask) -> ClassScheme:
    """A mask does not name its classes; how many there are, its values tell, and the bands of its probability."""
    values = find_classes(mask) if mask.threshold is None else []
    bands = len(mask.probability.bands) if mask.probability else 0
    return ClassScheme(mask.path, make_numbered_classes(max([1, bands - 1, *values])), named=False)


def make_numbered_classes(highest: int) -> tuple[ClassEntry, ...]:
    """Names for classes that have numbers only."""
    others = (ClassEntry(f"class {n}", COLORS[n % len(COLORS)]) for n in range(2, highest + 1))
    return (BACKGROUND, BUILDING, *others)


def make_named_classes(words: Sequence[str]) -> tuple[ClassEntry, ...]:
    """Classes that are called so in a column."""
    return (
        BACKGROUND,
        *(
            BUILDING if word == BUILDING.name else ClassEntry(word, COLORS[n % len(COLORS)])
            for n, word in enumerate(words)
        ),
    )
