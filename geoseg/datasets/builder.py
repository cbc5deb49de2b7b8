"""How a data set is made from images and labels: found in pairs, shared out to splits by place, finished with an audit."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geoseg.datasets.options import Split
from geoseg.datasets.schema import DATASET_FILE, Dataset, refuse_repeated, write_dataset
from geoseg.errors import InputError
from geoseg.io.access import lock_folder
from geoseg.io.addresses import parse_layer_path
from geoseg.io.atomic import replace_text
from geoseg.io.staging import sweep_staging_folders
from geoseg.parallel import WorkerPool, count_processors
from geoseg.progress import track
from geoseg.raster.lists import PICTURE_SUFFIXES

log = logging.getLogger(__name__)

IMAGE_FOLDERS = ("images", "image", "img", "sat", "original_images", "JPEGImages")
LABEL_FOLDERS = ("masks", "mask", "labels", "label", "gt", "map", "label_images", "SegmentationClass")


@dataclass(frozen=True)
class ImageLabelPair:
    """An image and its label. `name` is what their file names have in common."""

    name: str
    image: Path
    label: Path


def find_pairs(source: Path, images: str | None, labels: str | None) -> list[ImageLabelPair]:
    """Pair the files of a folder by the part of their names that `*` stands for in two patterns.

    Without patterns the usual folders are looked for: images and masks, img and gt, and so on.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    image_files = match_files(source, images or guess_pattern(source, IMAGE_FOLDERS, "`images`"))
    label_files = match_files(source, labels or guess_pattern(source, LABEL_FOLDERS, "`labels`"))
    label_paths = set(label_files.values())
    image_files = {name: path for name, path in image_files.items() if path not in label_paths}
    lonely = sorted(label_files.keys() - image_files.keys())
    if lonely:
        raise InputError(
            f"{label_files[lonely[0]]}: has no image of the same name ({len(lonely)} such labels)"
        )
    return [ImageLabelPair(name, image_files[name], path) for name, path in sorted(label_files.items())]


def guess_pattern(source: Path, folders: Iterable[str], option: str) -> str:
    for folder in folders:
        if (source / folder).is_dir():
            return f"{folder}/*"
    raise InputError(
        f"{source}: holds no folder {' or '.join(folders)}; say where the files are, e.g. {option} '*.tif' or "
        f"{option} 'folder/*.tif'"
    )


def match_files(source: Path, pattern: str) -> dict[str, Path]:
    """Files below a folder that fit a pattern, by what its last `*` stands for (and the folders, for `**`)."""
    if pattern.count("*") - 2 * pattern.count("**") > 1:
        raise InputError(f"{pattern}: write one * for the part of the name that image and label share")
    files = [
        path
        for path in sorted(source.glob(pattern))
        if path.is_file() and (path.suffix.lower() in PICTURE_SUFFIXES or not pattern.endswith("*"))
    ]
    names = [extract_key(path.relative_to(source).as_posix(), pattern) for path in files]
    refuse_repeated(map(flatten_name, names), f"{source}: an image or label that would be named")
    found = dict(zip(names, files, strict=True))
    if not found:
        raise InputError(f"{source}: no file fits {pattern}")
    return found


def extract_key(name: str, pattern: str) -> str:
    """What the stars of a pattern stand for in a name; the suffix does not count."""
    stars = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "([^/]*)")
    fit = re.fullmatch(stars, name)
    parts = [part or "" for part in fit.groups()] if fit and fit.groups() else [name]
    joined = "".join(parts)
    return os.path.splitext(joined)[0] if pattern.endswith("*") else joined


def flatten_name(name: str) -> str:
    """A name for a file of one folder."""
    return name.replace("/", "_")


def pair_with_label(source: Path, images: str | None, label: Path) -> list[ImageLabelPair]:
    """Every image of a folder with one and the same label file, or layer of a file (`FILE:LAYER`)."""
    if not parse_layer_path(str(label))[0].exists():
        raise InputError(f"{label}: no such file")
    found = match_files(source, images or guess_pattern(source, IMAGE_FOLDERS, "`images`"))
    return [ImageLabelPair(name, path, label) for name, path in sorted(found.items())]


def find_places(names: Iterable[str], pattern: str | None) -> dict[str, str]:
    """The place of each name: what a regular expression finds in it, else its folder, else the name itself."""
    return {name: find_place(name, pattern) for name in names}


def find_place(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name.rpartition("/")[0] or name
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise InputError(f"`place` {pattern}: not a regular expression ({error})") from error
    if not found:
        raise InputError(f"`place` {pattern}: finds nothing in the name {name}")
    return found.group(1) if found.groups() else found.group(0)


@dataclass(frozen=True)
class SplitRule:
    """Named places go where they are named; of the rest a share validates, but never all: then nothing would be learnt.

    The same places always fall the same way.
    """

    validation: Collection[str] = ()
    test: Collection[str] = ()
    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(f"`validation_share` {self.share:g}: must be from 0 to below 1")
        both = set(self.validation) & set(self.test)
        if both:
            raise InputError(f"place {min(both)} is named for validation and for test")

    def of(self, places: Collection[str]) -> Mapping[str, Split]:
        """The split of each place."""
        for named in (*self.validation, *self.test):
            if named not in places:
                raise InputError(f"{named}: no such place; there are {', '.join(sorted(set(places))[:12])}")
        free = sorted(set(places) - set(self.validation) - set(self.test), key=hash_place)
        count = 0 if self.validation else min(round(self.share * len(free)), max(0, len(free) - 1))
        validating = {*self.validation, *free[:count]}
        return {name: choose_split(name, validating, self.test) for name in places}


def hash_place(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()


def choose_split(place: str, validation: Collection[str], test: Collection[str]) -> Split:
    if place in test:
        return "test"
    return "validation" if place in validation else "train"


T = TypeVar("T")

JOB_FILE = ".recipe.json"
UNKNOWN = "unknown"
WORTH_PROCESSES = 16
LABEL_SUFFIXES = (".tif", ".fgb")


@dataclass(frozen=True)
class Origin:
    """What a data set is called, where it comes from and what its users owe."""

    name: str
    licence: str = UNKNOWN
    attribution: str = UNKNOWN
    source: str = UNKNOWN


@dataclass(frozen=True)
class DatasetBuilder:
    """Where a data set is made, by how many processes, and who is told of it."""

    folder: Path
    workers: int | None = None
    overwrite: bool = False

    @contextmanager
    def begin(self, **job: Any) -> Iterator[None]:
        """Begin, or go on with, the data set that a job describes; it is under way until `end`."""
        file, text = self.folder / JOB_FILE, json.dumps(job, default=str, sort_keys=True)
        is_begun = file.exists() and file.read_text(encoding="utf-8") == text
        if not is_begun:
            self.refuse_finished()
        with lock_folder(self.folder):
            for folder, _, _ in os.walk(self.folder):
                sweep_staging_folders(Path(folder))
            if not is_begun:
                self.clear()
                replace_text(file, text)
            yield

    def end(self) -> None:
        """The data set is made and audited: the same command has nothing more to do."""
        (self.folder / JOB_FILE).unlink(missing_ok=True)

    def refuse_finished(self) -> None:
        """Refuse to begin where a data set is, unless it may be replaced."""
        if (self.folder / DATASET_FILE).exists() and not self.overwrite:
            raise InputError(f"{self.folder}: holds a data set already; use `overwrite`, or another `out`")

    def clear(self) -> None:
        """Drop the labels of an earlier data set, and nothing else."""
        (self.folder / DATASET_FILE).unlink(missing_ok=True)
        for label in (self.folder / "labels").glob("**/*.*"):
            if label.suffix in LABEL_SUFFIXES:
                label.unlink()

    def run_all(
        self, what: str, work: Callable[..., T], calls: Sequence[Mapping[str, Any]], unit: str = "images"
    ) -> list[T]:
        """The results of one call after another, in their order, worked on by several processes."""
        return list(self.run_each(what, work, calls, unit))

    def run_each(
        self, what: str, work: Callable[..., T], calls: Sequence[Mapping[str, Any]], unit: str = "images"
    ) -> Iterator[T]:
        """The same as they come, for results too large to be kept all."""
        count = min(count_processors(), len(calls)) if self.workers is None else self.workers
        if self.workers is None and len(calls) < WORTH_PROCESSES:
            count = 0
        with WorkerPool[T](count) as pool, track(what, len(calls), unit) as done:
            for call in calls:
                pool.submit(work, **call)
                yield from count_results(pool.take_ready(), done)
            yield from count_results(pool.take_rest(), done)

    def finish(self, dataset: Dataset) -> Dataset:
        """Write `dataset.toml`: from now on the data set is there."""
        if UNKNOWN in (dataset.licence, dataset.source):
            log.warning(
                f"{dataset.name}: licence or source is unknown; say `licence` and `origin`, they go into {DATASET_FILE}"
            )
        write_dataset(dataset, self.folder)
        return dataset


def is_written(path: Path) -> bool:
    """Whether an image that lies in a folder of the data set was written for the one under way, not an earlier one."""
    begun = path.parent.parent / JOB_FILE
    return path.exists() and path.stat().st_mtime_ns >= begun.stat().st_mtime_ns


def count_results(results: Iterable[T], done: Callable[[float], None]) -> Iterator[T]:
    for result in results:
        done(1)
        yield result


def relativize_path(path: Path, folder: Path) -> str:
    """A path for `dataset.toml`: relative where the file lies inside the data set, else absolute."""
    absolute = path.resolve()
    inside = absolute.is_relative_to(folder.resolve())
    return os.path.relpath(absolute, folder.resolve()) if inside else str(absolute)
