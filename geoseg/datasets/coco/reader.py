"""Reads COCO files of any size: the JSON one element at a time, and its annotations sorted by image into small files."""

from __future__ import annotations

import json
import logging
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from geoseg.datasets.classes import BACKGROUND, CLASS_COLORS, IGNORE_NAME
from geoseg.datasets.options import Split
from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError, shorten_error
from geoseg.io.archives import refuse_escaping_path
from geoseg.progress import track
from geoseg.raster.palette import ClassEntry
from geoseg.records import refuse_half_characters

log = logging.getLogger(__name__)

CHUNK = 2**22
LARGEST = 2**29
BLANK = re.compile(r"[ \t\r\n]*")


BUCKET_BYTES = 2**20
MOST_BUCKETS = 200
MOST_PIXELS = 2**30


class JsonReader:
    """The text of a JSON file through a window that moves on as values are taken out of it."""

    def __init__(self, file: TextIO, path: Path, advance: Callable[[float], None], chunk: int) -> None:
        self.file, self.path, self.advance, self.chunk = file, path, advance, chunk
        self.text, self.at = "", 0
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Take in more of the file; false at its end."""
        chunk = self.file.read(self.chunk)
        self.advance(len(chunk) / 1e6)
        self.text, self.at = self.text[self.at :] + chunk, 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is not blank."""
        while True:
            self.at = BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                raise InputError(f"{self.path}: ends in the middle; the file is cut off, get it again")

    def take(self, expected: str) -> str:
        found = self.peek()
        if found not in expected:
            raise InputError(f"{self.path}: not JSON: {found!r} stands where one of {expected} should")
        self.at += 1
        return found

    def value(self) -> tuple[Any, str]:
        """The next value, and the text it was written as."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
                if self.text.find("\\u", self.at, end) >= 0:
                    refuse_half_characters(value)
            except json.JSONDecodeError as error:
                self.widen(error)
                continue
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{self.path}: not JSON that can be read ({shorten_error(error)})"
                ) from error
            # A number at the end of the window may go on beyond it.
            if end == len(self.text) and self.more():
                continue
            written, self.at = self.text[self.at : end], end
            return value, written

    def widen(self, error: json.JSONDecodeError) -> None:
        """Take in more text because a value did not end, unless it is plainly broken."""
        if len(self.text) - self.at > LARGEST:
            raise InputError(f"{self.path}: not JSON that can be read ({error.msg})") from error
        broken = error.pos < len(self.text) - 64 and "Unterminated" not in error.msg
        if broken:
            raise InputError(f"{self.path}: not JSON ({error.msg})") from error
        if not self.more():
            raise InputError(f"{self.path}: ends in the middle; the file is cut off, get it again") from error


def read_elements(
    path: Path, advance: Callable[[float], None] = lambda megabytes: None, chunk: int = CHUNK
) -> Iterator[tuple[str, Any, str]]:
    """Each element of the lists in a JSON object, as (key, value, text); other values come whole."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from read_members(JsonReader(file, path, advance, chunk))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def read_members(reader: JsonReader) -> Iterator[tuple[str, Any, str]]:
    if reader.peek() != "{":
        raise InputError(
            f"{reader.path}: not a COCO file: it must be a JSON object with images and annotations"
        )
    reader.take("{")
    if reader.peek() == "}":
        return
    while True:
        key, _ = reader.value()
        reader.take(":")
        if reader.peek() == "[":
            yield from read_list(reader, str(key))
        else:
            yield (str(key), *reader.value())
        if reader.take(",}") == "}":
            return


def read_list(reader: JsonReader, key: str) -> Iterator[tuple[str, Any, str]]:
    reader.take("[")
    if reader.peek() == "]":
        reader.take("]")
        return
    while True:
        yield (key, *reader.value())
        if reader.take(",]") == "]":
            return


@dataclass(frozen=True)
class CocoFile:
    """One COCO file, the folder of its images, and the split its place in the source names."""

    annotations: Path
    images: Path
    name: str = ""
    split: Split | None = None


@dataclass(frozen=True)
class CocoImage:
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
class CocoContents:
    """What a COCO file holds, but for its annotations, which lie sorted in `buckets`."""

    photos: Mapping[int, CocoImage]
    categories: Mapping[int, str]
    buckets: Sequence[Path]

    @cached_property
    def classes(self) -> tuple[ClassEntry, ...]:
        """Background, then the categories in the order of their numbers; those of one name are one class."""
        names = dict.fromkeys(self.categories[number] for number in sorted(self.categories))
        others = [name for name in names if name not in (BACKGROUND.name, IGNORE_NAME)]
        return (
            BACKGROUND,
            *(ClassEntry(name, CLASS_COLORS[(1 + i) % len(CLASS_COLORS)]) for i, name in enumerate(others)),
        )

    @cached_property
    def values(self) -> Mapping[int, int]:
        """The class value of each category's number."""
        known = {each.name: value for value, each in enumerate(self.classes)} | {IGNORE_NAME: IGNORE}
        return {number: known[name] for number, name in self.categories.items()}


def read_contents(part: CocoFile, folder: Path) -> CocoContents:
    """Sort a COCO file's annotations into buckets by image, and keep the rest."""
    size = part.annotations.stat().st_size
    buckets = [folder / f"{number:03}.jsonl" for number in range(min(MOST_BUCKETS, 1 + size // BUCKET_BYTES))]
    photos: dict[int, CocoImage] = {}
    categories: dict[int, str] = {}
    noted = AnnotationIndex()
    with ExitStack() as stack, track("Reading JSON", size / 1e6, "MB") as advance:
        files = [stack.enter_context(bucket.open("w", encoding="utf-8")) for bucket in buckets]
        for key, value, text in read_elements(part.annotations, advance):
            if key == "images":
                add_image(photos, value, part)
            elif key == "categories":
                add_category(categories, value, part)
            elif key == "annotations":
                noted.take(value, text, files, part)
    check_contents(part, photos, categories, noted)
    warn_about_strangers(part, photos, noted)
    return CocoContents(photos, categories, buckets)


class AnnotationIndex:
    """What is kept in mind of each annotation: its own number, its image's and its category's."""

    def __init__(self) -> None:
        self.numbers, self.images = array("q"), array("q")
        self.used = Counter[int]()

    def take(self, value: Any, text: str, files: Sequence[TextIO], part: CocoFile) -> None:
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


def add_image(photos: dict[int, CocoImage], value: Any, part: CocoFile) -> None:
    try:
        photo = CocoImage(
            int(value["id"]), str(value["file_name"]), int(value["height"]), int(value["width"])
        )
        array("q", [photo.number])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{part.annotations}: an image lacks id, file_name, height or width: {str(value)[:80]}"
        ) from error
    if photo.number in photos:
        raise InputError(f"{part.annotations}: image id {photo.number} is there twice")
    if not (photo.height > 0 < photo.width and photo.height * photo.width <= MOST_PIXELS):
        raise InputError(
            f"{part.annotations}: image {photo.name} is {photo.width} x {photo.height} pixels; that cannot be"
        )
    refuse_escaping_path(photo.name, part.annotations)
    photos[photo.number] = photo


def add_category(categories: dict[int, str], value: Any, part: CocoFile) -> None:
    try:
        number, name = int(value["id"]), str(value["name"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{part.annotations}: a category lacks id or name: {str(value)[:80]}") from error
    if number in categories:
        raise InputError(f"{part.annotations}: category id {number} is there twice")
    categories[number] = name


def check_contents(
    part: CocoFile, photos: Mapping[int, CocoImage], categories: Mapping[int, str], noted: AnnotationIndex
) -> None:
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


def warn_about_strangers(part: CocoFile, photos: Mapping[int, CocoImage], noted: AnnotationIndex) -> None:
    strangers = ~np.isin(np.array(noted.images, np.int64), np.array(list(photos), np.int64))
    if strangers.any():
        log.warning(
            f"{part.annotations}: {int(strangers.sum()):,} annotations are of images that it does not list; left out"
        )
