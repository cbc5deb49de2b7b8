"""The schema of a training set: images with labels, classes, licence and splits, kept as `dataset.toml`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any, get_args

from geoseg.datasets.options import Split
from geoseg.errors import InputError
from geoseg.io.atomic import replace_text
from geoseg.raster.coding import NODATA
from geoseg.raster.palette import ClassEntry
from geoseg.records import parse_toml, read_record, require

SPLITS: tuple[Split, ...] = get_args(Split)

DATASET_FILE = "dataset.toml"
IGNORE = NODATA


def choose_unnamed_class(classes: Sequence[object]) -> int:
    """The class of polygons where no field tells it: the first behind the background."""
    return min(1, len(classes) - 1)


@dataclass(frozen=True)
class Item:
    """An image and its label.

    `place` is what splits go by. `gsd_m` is the ground size of the image's pixels, where its file cannot tell it.
    A vector label names the field that holds the class and, in `labelled`, the polygons it is complete in. A label of
    pixels may have a second file beside it, `buildings`, that holds the number of the building each pixel lies in, so
    that a model can learn where one ends. `weight` says how often a patch is drawn here for one drawn elsewhere.
    """

    image: str
    label: str
    place: str
    split: Split = "train"
    gsd_m: float | None = None
    class_field: str | None = None
    labelled: str | None = None
    buildings: str | None = None
    weight: float | None = None

    def __post_init__(self) -> None:
        require(
            bool(self.image and self.label), f"item {self.image or self.label}: needs an image and a label"
        )
        require(self.place.strip() != "", f"item {self.image}: has no place")
        require(
            self.split in SPLITS,
            f"item {self.image}: split is {self.split!r}, not one of {', '.join(SPLITS)}",
        )
        require(
            self.gsd_m is None or self.gsd_m > 0,
            f"item {self.image}: gsd_m is {self.gsd_m}, must be above zero",
        )
        require(
            self.weight is None or 0 < self.weight < inf,
            f"item {self.image}: weight is {self.weight}, must be above zero",
        )


@dataclass(frozen=True)
class Dataset:
    """Images and labels for training. `gsd_m` is the resolution to train at; paths of items start at `folder`."""

    name: str
    licence: str
    attribution: str
    source: str
    gsd_m: float
    bands: tuple[str, ...]
    classes: tuple[ClassEntry, ...]
    items: tuple[Item, ...]
    folder: Path = Path()
    ignore: int = IGNORE

    def __post_init__(self) -> None:
        require(self.gsd_m > 0, f"gsd_m is {self.gsd_m}, must be above zero")
        require(len(self.bands) > 0, "bands is empty; name the bands in order, such as red, green, blue")
        require(1 <= len(self.classes) <= IGNORE, f"{len(self.classes)} classes; there must be 1 to {IGNORE}")
        require(0 <= self.ignore <= IGNORE, f"ignore is {self.ignore}, must be a byte")
        require(self.ignore >= len(self.classes), f"ignore is {self.ignore}, which is also a class")
        refuse_repeated((each.name for each in self.classes), "class")
        refuse_scattered_places(self.items)

    def image_path(self, item: Item) -> Path:
        return self.folder / item.image

    def label_path(self, item: Item) -> Path:
        return self.folder / item.label

    def split(self, name: Split) -> tuple[Item, ...]:
        """The items of one split."""
        return tuple(item for item in self.items if item.split == name)


def refuse_repeated(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        require(name not in seen, f"{what} {name} is there twice")
        seen.add(name)


def refuse_scattered_places(items: Iterable[Item]) -> None:
    """A place in two splits would let a model be tested on ground it was trained on."""
    splits: dict[str, str] = {}
    for item in items:
        known = splits.setdefault(item.place, item.split)
        require(
            known == item.split,
            f"place {item.place} is in the splits {known} and {item.split}; keep it in one",
        )


def read_dataset(path: str | Path) -> Dataset:
    """The data set in a folder, or that a `dataset.toml` describes."""
    file = Path(path) / DATASET_FILE if Path(path).is_dir() else Path(path)
    try:
        written = parse_toml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no {DATASET_FILE}; make one with geoseg prepare") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as a data set ({error})") from error
    try:
        return replace(read_record(Dataset, written), folder=file.parent)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def write_dataset(dataset: Dataset, folder: Path) -> Path:
    """Write `dataset.toml` into a folder, whole or not at all; the same data set gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / DATASET_FILE
    replace_text(file, "".join(format_dataset(dataset)))
    return file


def format_dataset(dataset: Dataset) -> Iterator[str]:
    yield from format_table(dataset, ("name", "licence", "attribution", "source", "gsd_m", "bands", "ignore"))
    for entry in dataset.classes:
        yield "\n[[classes]]\n"
        yield from format_table(entry, ("name", "color"))
    for item in dataset.items:
        yield "\n[[items]]\n"
        yield from format_table(item, [field.name for field in fields(Item)])


def format_table(value: Any, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if getattr(value, name) is not None:
            # JSON writes text, numbers and lists as TOML does, but for one character.
            written = json.dumps(getattr(value, name), ensure_ascii=False).replace("\x7f", "\\u007f")
            yield f"{name} = {written}\n"
