"""The Inria Aerial Image Labeling data set: 36 images of 5000 x 5000 pixels for each of five cities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError
from geoseg.prepare.classes import class_table
from geoseg.prepare.dataset import Dataset
from geoseg.prepare.making import Origin, Workshop
from geoseg.prepare.masks import MaskSet, prepare_masks
from geoseg.prepare.pairs import find_pairs
from geoseg.prepare.splits import SplitRule

LICENCE = "Inria Aerial Image Labeling terms of use (US imagery public domain; see the data set's page)"
SOURCE = "https://project.inria.fr/aerialimagelabeling/"
GSD_M = 0.3
TILE = re.compile(r"([a-z]+(?:-[a-z]+)*)(\d+)")
VALIDATING = range(1, 6)


@dataclass(frozen=True)
class InriaSet:
    """What is to be made of it. Without a rule for cities, the first five images of every city validate."""

    origin: Origin
    cities: SplitRule | None = None


def prepare_inria(source: Path, wanted: InriaSet, workshop: Workshop) -> Dataset:
    """Make a data set of the training images; the test images have no labels."""
    pairs = find_pairs(train_folder(source), "images/*.tif", "gt/*.tif")
    first_five = [pair.name for pair in pairs if validates(pair.name, pair.image)]
    masks = MaskSet(
        wanted.origin,
        class_table("background=0,building=255"),
        ("red", "green", "blue"),
        GSD_M,
        r"^[a-z]+(?:-[a-z]+)*" if wanted.cities else r"^.+$",
        wanted.cities or SplitRule(validation=first_five, share=0),
    )
    return prepare_masks(pairs, masks, workshop)


def train_folder(source: Path) -> Path:
    """Where images and gt lie: at the source itself, in its train folder, or in the archive's."""
    for folder in (source, source / "train", source / "AerialImageDataset" / "train"):
        if (folder / "images").is_dir() and (folder / "gt").is_dir():
            return folder
    raise InputError(
        f"{source}: expected AerialImageDataset/train with images and gt, found {description(source)}"
    )


def description(source: Path) -> str:
    """What lies in a folder, and in its folder for training, if it has one."""
    if not source.is_dir():
        return "no folder"
    for folder in (source / "AerialImageDataset" / "train", source / "train"):
        if folder.is_dir():
            return f"{folder.relative_to(source).as_posix()} (which holds {listing(folder)})"
    return listing(source)


def listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def tile(name: str, path: Path) -> tuple[str, int]:
    """City and number of an image, as its name tells them."""
    fit = TILE.fullmatch(name)
    if not fit:
        raise InputError(f"{path}: expected a name like austin12.tif: the city, then a number")
    return fit.group(1), int(fit.group(2))


def validates(name: str, path: Path) -> bool:
    return tile(name, path)[1] in VALIDATING
