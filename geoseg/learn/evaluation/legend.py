"""Which classes a comparison is in, and what the values of each side stand for among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.trace.mask import Mask, values_in
from geoseg.landclass import LandClass
from geoseg.learn.evaluation.sides import SAME
from geoseg.narrator import QUIET, Narrator, listed

if TYPE_CHECKING:
    from geoseg.model.card import Card

BACKGROUND, BUILDING = LandClass("background", "#000000"), LandClass("building", "#e4572e")
COLOURS = ("#4c78a8", "#54a24b", "#eeca3b", "#b279a2", "#72b7b2", "#9d755d", "#ff9da6")

Meaning = NDArray[np.uint8]


@dataclass(frozen=True)
class Words:
    """The classes that one side tells apart, the first of them its background."""

    source: str
    classes: tuple[LandClass, ...]
    named: bool = True
    """Whether it names them itself; a mask does not."""
    numbered: bool = True
    """Whether their numbers are its own; words in a column have none."""

    @property
    def are_all(self) -> bool:
        """Whether these are all classes it could ever hold, rather than those that it happens to hold."""
        return self.named and self.numbered

    @property
    def listed(self) -> str:
        return listed([entry.name for entry in self.classes[1:]])


@dataclass(frozen=True)
class Legend:
    """The classes of a comparison, and which of them each side's values (and bands of probability) stand for."""

    classes: tuple[LandClass, ...]
    predicted: Meaning = field(default_factory=lambda: SAME)
    true: Meaning = field(default_factory=lambda: SAME)


def agreed(predicted: Words, true: Words, narrator: Narrator = QUIET) -> Legend:
    """The classes that two sides are compared in.

    Where either has numbers only, numbers tell which are the same. Else names do, and a class that only one side knows
    counts as background. Two sides of one class each mean the same by it.
    """
    if predicted.numbered and true.numbered and not (predicted.named and true.named):
        return Legend(max(true, predicted, key=lambda words: (words.named, len(words.classes))).classes)
    if len(predicted.classes) == len(true.classes) == 2:
        warn_of_other_name(predicted, true, narrator)
        return Legend((true if true.named else predicted).classes)
    known = {entry.name for entry in predicted.classes[1:]}
    if not any(entry.name in known for entry in true.classes[1:]):
        return as_one_class(predicted, true, narrator)
    kept = [entry for entry in true.classes[1:] if entry.name in known or not predicted.are_all]
    classes = (true.classes[0], *kept)
    for side, other in ((predicted, true), (true, predicted)):
        tell_left_out(side, other, classes, narrator)
    numbers = {entry.name: number for number, entry in enumerate(classes)}
    return Legend(classes, meaning_of(predicted.classes, numbers), meaning_of(true.classes, numbers))


def warn_of_other_name(predicted: Words, true: Words, narrator: Narrator) -> None:
    said, meant = predicted.classes[1].name, true.classes[1].name
    if predicted.named and true.named and said != meant:
        narrator.warn(f"{predicted.source} knows {said}, {true.source} {meant}; they are taken for the same")


def tell_left_out(side: Words, other: Words, classes: Sequence[LandClass], narrator: Narrator) -> None:
    compared = {entry.name for entry in classes}
    left_out = [entry.name for entry in side.classes[1:] if entry.name not in compared]
    if left_out:
        narrator.say(
            f"{listed(left_out)} of {side.source}: not known to {other.source}, so counted as background"
        )


def as_one_class(predicted: Words, true: Words, narrator: Narrator) -> Legend:
    """Words that the other side does not know are kinds of its class, if it has one only; else there is no telling."""
    for many, one in ((predicted, true), (true, predicted)):
        if not many.numbered and len(one.classes) == 2:
            narrator.warn(f"{many.source}: {many.listed} all count as {one.classes[1].name}")
            merged = np.minimum(SAME, 1)
            meanings = {"predicted": merged} if many is predicted else {"true": merged}
            return Legend(one.classes, **meanings)
    raise InputError(
        f"{predicted.source}: knows {predicted.listed}, but {true.source} {true.listed}; they share no class"
    )


def meaning_of(classes: Sequence[LandClass], numbers: Mapping[str, int]) -> Meaning:
    """For each value of a raster, the number of its class."""
    meaning = SAME.copy()
    meaning[: len(classes)] = [0, *(numbers.get(entry.name, 0) for entry in classes[1:])]
    return meaning


def words_of_model(model: str, card: Card) -> Words:
    return Words(model, tuple(LandClass(entry.name, entry.color) for entry in card.classes))


def words_of_mask(mask: Mask) -> Words:
    """A mask does not name its classes; how many there are, its values tell, and the bands of its probability."""
    values = values_in(mask) if mask.threshold is None else []
    bands = len(mask.probability.bands) if mask.probability else 0
    return Words(mask.path, numbered_classes(max([1, bands - 1, *values])), named=False)


def numbered_classes(highest: int) -> tuple[LandClass, ...]:
    """Names for classes that have numbers only."""
    others = (LandClass(f"class {n}", COLOURS[n % len(COLOURS)]) for n in range(2, highest + 1))
    return (BACKGROUND, BUILDING, *others)


def worded_classes(words: Sequence[str]) -> tuple[LandClass, ...]:
    """Classes that are called so in a column."""
    return (
        BACKGROUND,
        *(
            BUILDING if word == BUILDING.name else LandClass(word, COLOURS[n % len(COLOURS)])
            for n, word in enumerate(words)
        ),
    )
