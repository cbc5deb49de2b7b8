"""Class tables: which values, colours or words in somebody's labels mean which class."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError
from geoseg.progress import list_names
from geoseg.raster.palette import ClassEntry

BACKGROUND = ClassEntry("background", "#000000")
CLASS_COLORS = (
    "#000000", "#e4572e", "#2e86ab", "#f6ae2d", "#5b8c5a", "#8e5572", "#4c5b5c", "#c2c5aa", "#f26419", "#33658a",
)  # fmt: skip
IGNORE_NAME = "ignore"
ANY_LABEL = "*"
NUMBER = re.compile(r"-?\d+")
HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
PERCENT_LABEL = re.compile(r"[1-9]\d*%")

BUILT_IN_TABLES = {
    "building": "background=0,building=*",
    "dubai": "land=#8429f6,building=#3c1098,road=#6ec1e4,vegetation=#fedd3a,water=#e2a929,ignore=#9b9b9b",
    "massachusetts": "background=#000000,building=#ff0000",
    "esm": "other=1,non-residential=250,residential=255,ignore=0",
    "esm-built": "other=1,building=250 255,ignore=0",
    "ghsl": "other=0,built-up=100%,ignore=255 65535",
    "ghsl-class": "open=1 2 3 4 5,residential=11 12 13 14 15,non-residential=21 22 23 24 25,ignore=0 255",
    "worldcover": "other=10 20 30 40 60 70 80 90 95 100,built-up=50,ignore=0",
    "wsf": "other=0,settlement=255",
}


@dataclass(frozen=True)
class ClassTable:
    """Classes in the order of their value, and the labels that mean each: whole numbers, #rrggbb or words.

    `*` among the labels of a class stands for every label that no other class names, and `100%` for whole numbers up
    to 100 that are shares of the second class, as GHS-BUILT-S has square metres of each 100.
    """

    classes: tuple[ClassEntry, ...]
    meanings: Mapping[str, int]

    @property
    def by_color(self) -> bool:
        return any(label.startswith("#") for label in self.meanings)

    @property
    def full(self) -> int | None:
        """The value that means all of a pixel, where values are shares of the second class."""
        return next((int(label[:-1]) for label in self.meanings if PERCENT_LABEL.fullmatch(label)), None)

    @property
    def otherwise(self) -> int | None:
        """The class of labels that the table does not name, if there is one."""
        return self.meanings.get(ANY_LABEL)

    def map_values(self, values: NDArray[Any], name: object) -> NDArray[np.uint8]:
        """Class values of a label's whole numbers (row, col)."""
        if values.dtype.kind == "f" and (values != np.floor(values)).any():
            raise InputError(
                f"{name}: holds {values[values != np.floor(values)].flat[0]:g}, but a mask of classes holds whole numbers"
            )
        known = {int(label): value for label, value in self.meanings.items() if NUMBER.fullmatch(label)}
        return self._look_up(values.astype(np.int64), known, name, str)

    def find_unknown(self, values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
        """Which of a label's numbers tell nothing: NaN, and what its file calls nodata if the table does not name it."""
        unknown = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
        if nodata is not None and format_word(float(nodata)) not in self.meanings:
            unknown |= values == nodata
        return unknown

    def map_colors(self, values: NDArray[np.uint8], name: object) -> NDArray[np.uint8]:
        """Class values of a label's colours (band, row, col)."""
        red, green, blue = values[:3].astype(np.int64)
        known = {int(label[1:], 16): value for label, value in self.meanings.items() if label.startswith("#")}
        return self._look_up(red << 16 | green << 8 | blue, known, name, lambda value: f"#{value:06x}")

    def map_words(self, words: Iterable[Any], name: object) -> NDArray[np.uint8]:
        """Class values of labels given as words, as a field of a vector file holds them."""
        labels = [format_word(word) for word in words]
        values = [self.meanings.get(label.lower(), self.otherwise) for label in labels]
        unknown = sorted({label for label, value in zip(labels, values, strict=True) if value is None})
        if unknown:
            raise InputError(self._describe_unknown(name, unknown))
        return np.array(values, np.uint8)

    def _look_up(
        self, values: NDArray[np.int64], known: Mapping[int, int], name: object, written: Any
    ) -> NDArray[np.uint8]:
        labels = np.array(sorted(known), np.int64)
        classes = np.array([known[label] for label in sorted(known)], np.uint8)
        found = np.isin(values, labels)
        if self.otherwise is None and not found.all():
            raise InputError(
                self._describe_unknown(name, [written(value) for value in np.unique(values[~found])])
            )
        looked_up = np.full(values.shape, self.otherwise or 0, np.uint8)
        looked_up[found] = classes[np.searchsorted(labels, values[found])]
        return looked_up

    def _describe_unknown(self, name: object, unknown: list[str]) -> str:
        return (
            f"{name}: holds {list_names(unknown)}, which the class table does not name; name it in `classes`, give it to "
            f"{IGNORE_NAME}, or let one class take the rest, e.g. background=*"
        )


def format_word(word: Any) -> str:
    """A field's value as people write it; whole numbers come as 1.0 where a field has gaps."""
    return str(int(word)) if isinstance(word, float) and word.is_integer() else str(word)


def parse_class_table(text: str) -> ClassTable:
    """A table by its built-in name, from a CSV file (name, labels, color), or written out: `a=0 2,b=1,ignore=255`."""
    if text in BUILT_IN_TABLES:
        return parse_table_text(BUILT_IN_TABLES[text])
    if text.endswith(".csv"):
        return read_table_csv(Path(text))
    return parse_table_text(text)


def parse_table_text(text: str) -> ClassTable:
    rows = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and sign for name, sign, _ in rows):
        raise InputError(
            f"`classes` {text}: write NAME=LABELS,NAME=LABELS such as background=0,building=255,ignore=7, "
            f"or name a .csv file or one of {', '.join(BUILT_IN_TABLES)}"
        )
    return build_table((name.strip(), labels.split(), None) for name, _, labels in rows)


def read_table_csv(path: Path) -> ClassTable:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return build_table((row["name"], row["labels"].split(), row.get("color")) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: not a class table ({error}); it needs the columns name, labels and, if you like, color"
        ) from error


def build_table(rows: Iterable[tuple[str, list[str], str | None]]) -> ClassTable:
    classes: list[ClassEntry] = []
    meanings: dict[str, int] = {}
    for name, labels, color in rows:
        value = IGNORE if name == IGNORE_NAME else len(classes)
        if name != IGNORE_NAME:
            classes.append(ClassEntry(name, color or choose_color(labels, value)))
        for label in map(str.lower, labels):
            if label in meanings:
                raise InputError(f"class table: {label} is given to two classes")
            if label.startswith("#") and not HEX_COLOR.fullmatch(label):
                raise InputError(f"class table: {name}: {label} is not a colour written like #c0392b")
            meanings[label] = value
    if not classes:
        raise InputError("class table: names no class")
    if len(classes) > IGNORE:
        raise InputError(f"class table: names {len(classes)} classes; labels hold {IGNORE}")
    return ClassTable(tuple(classes), meanings)


def choose_color(labels: list[str], value: int) -> str:
    """A class's own colour where it has one, else one of ours."""
    own = [label.lower() for label in labels if HEX_COLOR.fullmatch(label)]
    return own[0] if own else CLASS_COLORS[value % len(CLASS_COLORS)]
