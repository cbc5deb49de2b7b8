"""What a COCO file holds, read piece by piece: its images, its categories, and its annotations sorted by image."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TextIO

import numpy as np

from geoseg.errors import InputError
from geoseg.landclass import LandClass
from geoseg.prepare.classes import COLORS, IGNORED
from geoseg.prepare.coco.stream import elements
from geoseg.prepare.dataset import IGNORE, Split
from geoseg.prepare.making import Workshop

BUCKET_BYTES = 2**20
MOST_BUCKETS = 200
MOST_PIXELS = 2**30
BACKGROUND = LandClass("background", "#000000")


@dataclass(frozen=True)
class Part:
    """One COCO file, the folder of its images, and the split its place in the source names."""

    annotations: Path
    images: Path
    name: str = ""
    split: Split | None = None


@dataclass(frozen=True)
class Photo:
    """An image as a COCO file describes it."""

    number: int
    name: str
    height: int
    width: int

    @property
    def stem(self) -> str:
        """What its label is called."""
        return Path(self.name).with_suffix("").as_posix().replace("/", "_")


@dataclass(frozen=True)
class Contents:
    """What a COCO file holds, but for its annotations, which lie sorted in `buckets`."""

    photos: Mapping[int, Photo]
    categories: Mapping[int, str]
    buckets: Sequence[Path]

    @cached_property
    def classes(self) -> tuple[LandClass, ...]:
        """Background, then the categories in the order of their numbers; those of one name are one class."""
        names = dict.fromkeys(self.categories[number] for number in sorted(self.categories))
        others = [name for name in names if name not in (BACKGROUND.name, IGNORED)]
        return (
            BACKGROUND,
            *(LandClass(name, COLORS[(1 + i) % len(COLORS)]) for i, name in enumerate(others)),
        )

    @cached_property
    def values(self) -> Mapping[int, int]:
        """The class value of each category's number."""
        known = {each.name: value for value, each in enumerate(self.classes)} | {IGNORED: IGNORE}
        return {number: known[name] for number, name in self.categories.items()}


def read(part: Part, folder: Path, workshop: Workshop) -> Contents:
    """Sort a COCO file's annotations into buckets by image, and keep the rest."""
    size = part.annotations.stat().st_size
    buckets = [folder / f"{number:03}.jsonl" for number in range(min(MOST_BUCKETS, 1 + size // BUCKET_BYTES))]
    photos: dict[int, Photo] = {}
    categories: dict[int, str] = {}
    noted = Noted()
    with ExitStack() as stack, workshop.narrator.task("Reading JSON", size / 1e6, "MB") as heard:
        files = [stack.enter_context(bucket.open("w", encoding="utf-8")) for bucket in buckets]
        for key, value, text in elements(part.annotations, heard):
            if key == "images":
                note_photo(photos, value, part)
            elif key == "categories":
                note_category(categories, value, part)
            elif key == "annotations":
                noted.take(value, text, files, part)
    check(part, photos, categories, noted)
    tell_strangers(part, photos, noted, workshop)
    return Contents(photos, categories, buckets)


class Noted:
    """What is kept in mind of each annotation: its own number, its image's and its category's."""

    def __init__(self) -> None:
        self.numbers, self.images = array("q"), array("q")
        self.used = Counter[int]()

    def take(self, value: Any, text: str, files: Sequence[TextIO], part: Part) -> None:
        """Take note of an annotation, and put it into its bucket."""
        try:
            number = int(value.get("id", -1 - len(self.numbers)))
            image, category = int(value["image_id"]), int(value["category_id"])
            self.numbers.append(number)
            self.images.append(image)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{part.annotations}: an annotation lacks image_id or category_id: {text[:80]}"
            ) from error
        self.used[category] += 1
        files[image % len(files)].write(text.replace("\n", " ") + "\n")


def note_photo(photos: dict[int, Photo], value: Any, part: Part) -> None:
    try:
        photo = Photo(int(value["id"]), str(value["file_name"]), int(value["height"]), int(value["width"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{part.annotations}: an image lacks id, file_name, height or width: {str(value)[:80]}"
        ) from error
    if photo.number in photos:
        raise InputError(f"{part.annotations}: image id {photo.number} is there twice")
    if not (photo.height > 0 < photo.width and photo.height * photo.width <= MOST_PIXELS):
        raise InputError(
            f"{part.annotations}: image {photo.name} is {photo.width} x {photo.height} pixels; that cannot be"
        )
    refuse_escaping(photo.name, part.annotations)
    photos[photo.number] = photo


def refuse_escaping(name: str, path: Path) -> None:
    """Refuse a file name that would lead out of its folder."""
    for kind in (PurePosixPath(name), PureWindowsPath(name)):
        if kind.is_absolute() or kind.drive or ".." in kind.parts:
            raise InputError(f"{path}: the file name {name} leads out of the folder of images; mend the file")


def note_category(categories: dict[int, str], value: Any, part: Part) -> None:
    try:
        number, name = int(value["id"]), str(value["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{part.annotations}: a category lacks id or name: {str(value)[:80]}") from error
    if number in categories:
        raise InputError(f"{part.annotations}: category id {number} is there twice")
    categories[number] = name


def check(part: Part, photos: Mapping[int, Photo], categories: Mapping[int, str], noted: Noted) -> None:
    """Refuse a file whose parts contradict each other."""
    if not photos:
        raise InputError(f"{part.annotations}: not a COCO file: it lists no images")
    if not categories:
        raise InputError(f"{part.annotations}: not a COCO file of shapes: it lists no categories")
    if len(set(categories.values())) >= IGNORE:
        raise InputError(f"{part.annotations}: lists {len(categories)} categories; labels hold {IGNORE - 1}")
    unknown = sorted(noted.used.keys() - categories.keys())
    if unknown:
        raise InputError(
            f"{part.annotations}: {noted.used[unknown[0]]} annotations are of category {unknown[0]}, "
            "which it does not list"
        )
    ids, counts = np.unique(np.array(noted.numbers, np.int64), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{part.annotations}: annotation id {ids[counts > 1][0]} is there twice")


def tell_strangers(part: Part, photos: Mapping[int, Photo], noted: Noted, workshop: Workshop) -> None:
    strangers = ~np.isin(np.array(noted.images, np.int64), np.array(list(photos), np.int64))
    if strangers.any():
        workshop.narrator.warn(
            f"{part.annotations}: {int(strangers.sum()):,} annotations are of images that it does not list; left out"
        )
