"""Making a data set: labels drawn side by side, each whole or not there, and `dataset.toml` at the very end.

A folder without `dataset.toml` is unfinished: the same command goes on where it stopped, another one starts over.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geoseg.errors import InputError
from geoseg.footprints.trace.workers import Workers, available_processors
from geoseg.narrator import QUIET, Narrator
from geoseg.prepare.dataset import FILE, Dataset, write_dataset

T = TypeVar("T")

RECIPE = ".recipe.json"
UNKNOWN = "unknown"
WORTH_PROCESSES = 16
LABELS = (".tif", ".fgb")


@dataclass(frozen=True)
class Origin:
    """What a data set is called, where it comes from and what its users owe."""

    name: str
    licence: str = UNKNOWN
    attribution: str = UNKNOWN
    source: str = UNKNOWN


@dataclass(frozen=True)
class Workshop:
    """Where a data set is made, by how many processes, and who hears of it."""

    folder: Path
    workers: int | None = None
    overwrite: bool = False
    narrator: Narrator = QUIET

    @contextmanager
    def recipe(self, **recipe: Any) -> Iterator[None]:
        """Begin, or go on with, the data set that a recipe describes."""
        file, text = self.folder / RECIPE, json.dumps(recipe, default=str, sort_keys=True)
        self.refuse_finished()
        if not (file.exists() and file.read_text(encoding="utf-8") == text):
            self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        yield
        file.unlink()

    def refuse_finished(self) -> None:
        """Refuse to begin where a data set is, unless it may be replaced."""
        if (self.folder / FILE).exists() and not self.overwrite:
            raise InputError(f"{self.folder}: holds a data set already; use --overwrite, or another --out")

    def clear(self) -> None:
        """Drop the labels of an earlier data set, and nothing else."""
        (self.folder / FILE).unlink(missing_ok=True)
        for label in (self.folder / "labels").glob("**/*.*"):
            if label.suffix in LABELS:
                label.unlink()

    def all_done(
        self, what: str, work: Callable[..., T], calls: Sequence[Mapping[str, Any]], unit: str = "images"
    ) -> list[T]:
        """The results of one call after another, in their order, worked on by several processes."""
        return list(self.each_done(what, work, calls, unit))

    def each_done(
        self, what: str, work: Callable[..., T], calls: Sequence[Mapping[str, Any]], unit: str = "images"
    ) -> Iterator[T]:
        """The same as they come, for results too large to be kept all."""
        count = min(available_processors(), len(calls)) if self.workers is None else self.workers
        if self.workers is None and len(calls) < WORTH_PROCESSES:
            count = 0
        with Workers[T](count) as pool, self.narrator.task(what, len(calls), unit) as done:
            for call in calls:
                pool.submit(work, **call)
                yield from counted(pool.ready(), done)
            yield from counted(pool.rest(), done)

    def finish(self, dataset: Dataset) -> Dataset:
        """Write `dataset.toml`: from now on the data set is there."""
        if UNKNOWN in (dataset.licence, dataset.source):
            self.narrator.warn(
                f"{dataset.name}: licence or source is unknown; say --licence and --source, they go into {FILE}"
            )
        write_dataset(dataset, self.folder)
        return dataset


def counted(results: Iterable[T], done: Callable[[float], None]) -> Iterator[T]:
    for result in results:
        done(1)
        yield result


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder for what is needed on the way only; it is empty at first, and gone in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seen_from(path: Path, folder: Path) -> str:
    """A path for `dataset.toml`: relative where the file lies inside the data set, else absolute."""
    absolute = path.resolve()
    inside = absolute.is_relative_to(folder.resolve())
    return os.path.relpath(absolute, folder.resolve()) if inside else str(absolute)
