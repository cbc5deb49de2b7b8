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

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.model.card import Card

BACKGROUND, BUILDING = LandClass("background", "#000000"), LandClass("building", "#e4572e")
COLOURS = ("#4c78a8", "#54a24b", "#eeca3b", "#b279a2", "#72b7b2", "#9d755d", "#ff9da6")

Meaning = NDArray[np.uint8]


def land_classes(card: Card) -> tuple[LandClass, ...]:
    return tuple(LandClass(entry.name, entry.color) for entry in card.classes)


@dataclass(frozen=True)
class Legend:
    """The classes of a comparison, and which of them the values of each side stand for."""

    classes: tuple[LandClass, ...]
    predicted: Meaning = field(default_factory=lambda: SAME)
    true: Meaning = field(default_factory=lambda: SAME)


def shared_classes(predicted: Sequence[LandClass], true: Sequence[LandClass], model: str) -> Legend:
    """The classes that both sides know.

    A class that only one side knows counts as background. Two sides of one class each mean the same by it.
    """
    if len(predicted) == len(true) == 2:
        return Legend(tuple(true))
    names = [entry.name for entry in predicted[1:]]
    both = [entry for entry in true[1:] if entry.name in names]
    if not both:
        raise InputError(
            f"{model}: knows {', '.join(names)}, but the truth {', '.join(entry.name for entry in true[1:])}; "
            "they share no class"
        )
    classes = (true[0], *both)
    numbers = {entry.name: number for number, entry in enumerate(classes)}
    return Legend(classes, meaning_of(predicted, numbers), meaning_of(true, numbers))


def meaning_of(classes: Sequence[LandClass], numbers: Mapping[str, int]) -> Meaning:
    """For each value of a raster, the number of its class."""
    meaning = SAME.copy()
    meaning[: len(classes)] = [0, *(numbers.get(entry.name, 0) for entry in classes[1:])]
    return meaning


def classes_in(masks: Sequence[Mask]) -> tuple[LandClass, ...]:
    """Names for the classes of masks that do not say them."""
    values = [value for mask in masks if mask.threshold is None for value in values_in(mask)]
    highest = max(values, default=1)
    others = (LandClass(f"class {n}", COLOURS[n % len(COLOURS)]) for n in range(2, highest + 1))
    return (BACKGROUND, BUILDING, *others)


def class_numbers(
    frame: gpd.GeoDataFrame, class_field: str | None, numbers: Mapping[str, int], source: str
) -> NDArray[np.int64]:
    """The class of each polygon: by its name in a column; all are of class 1 where no column tells."""
    if class_field is None:
        return np.ones(len(frame), dtype=np.int64)
    if class_field not in frame:
        raise InputError(f"{source}: has no column {class_field}, which should hold the classes")
    named = frame[class_field].astype(str)
    unknown = sorted(set(named) - set(numbers))
    if unknown:
        raise InputError(f"{source}: class {unknown[0]!r} in {class_field} is none of {', '.join(numbers)}")
    return np.asarray(named.map(numbers), dtype=np.int64)
