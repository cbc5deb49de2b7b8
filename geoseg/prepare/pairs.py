"""Which label belongs to which image: the files' names say so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError
from geoseg.footprints.regions.regions import path_and_layer
from geoseg.prepare.dataset import refuse_repeated
from geoseg.prepare.picture import SUFFIXES

IMAGE_FOLDERS = ("images", "image", "img", "sat", "original_images", "JPEGImages")
LABEL_FOLDERS = ("masks", "mask", "labels", "label", "gt", "map", "label_images", "SegmentationClass")


@dataclass(frozen=True)
class Pair:
    """An image and its label. `name` is what their file names have in common."""

    name: str
    image: Path
    label: Path


def find_pairs(source: Path, images: str | None, labels: str | None) -> list[Pair]:
    """Pair the files of a folder by the part of their names that `*` stands for in two patterns.

    Without patterns the usual folders are looked for: images and masks, img and gt, and so on.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    image_files = matches(source, images or guessed(source, IMAGE_FOLDERS, "--images"))
    label_files = matches(source, labels or guessed(source, LABEL_FOLDERS, "--labels"))
    label_paths = set(label_files.values())
    image_files = {name: path for name, path in image_files.items() if path not in label_paths}
    lonely = sorted(label_files.keys() - image_files.keys())
    if lonely:
        raise InputError(
            f"{label_files[lonely[0]]}: has no image of the same name ({len(lonely)} such labels)"
        )
    return [Pair(name, image_files[name], path) for name, path in sorted(label_files.items())]


def guessed(source: Path, folders: Iterable[str], option: str) -> str:
    for folder in folders:
        if (source / folder).is_dir():
            return f"{folder}/*"
    raise InputError(
        f"{source}: holds no folder {' or '.join(folders)}; say where the files are, e.g. {option} 'folder/*.tif'"
    )


def matches(source: Path, pattern: str) -> dict[str, Path]:
    """Files below a folder that fit a pattern, by what its last `*` stands for (and the folders, for `**`)."""
    if pattern.count("*") - 2 * pattern.count("**") > 1:
        raise InputError(f"{pattern}: write one * for the part of the name that image and label share")
    files = [
        path
        for path in sorted(source.glob(pattern))
        if path.is_file() and (path.suffix.lower() in SUFFIXES or not pattern.endswith("*"))
    ]
    names = [key(path.relative_to(source).as_posix(), pattern) for path in files]
    refuse_repeated(map(flat, names), f"{source}: an image or label that would be named")
    found = dict(zip(names, files, strict=True))
    if not found:
        raise InputError(f"{source}: no file fits {pattern}")
    return found


def key(name: str, pattern: str) -> str:
    """What the stars of a pattern stand for in a name; the suffix does not count."""
    stars = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "([^/]*)")
    fit = re.fullmatch(stars, name)
    parts = [part or "" for part in fit.groups()] if fit and fit.groups() else [name]
    joined = "".join(parts)
    return os.path.splitext(joined)[0] if pattern.endswith("*") else joined


def places(names: Iterable[str], pattern: str | None) -> dict[str, str]:
    """The place of each name: what a regular expression finds in it, else its folder, else the name itself."""
    return {name: place(name, pattern) for name in names}


def place(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name.rpartition("/")[0] or name
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise InputError(f"--place {pattern}: not a regular expression ({error})") from error
    if not found:
        raise InputError(f"--place {pattern}: finds nothing in the name {name}")
    return found.group(1) if found.groups() else found.group(0)


def flat(name: str) -> str:
    """A name for a file of one folder."""
    return name.replace("/", "_")


def with_one_label(source: Path, images: str | None, label: Path) -> list[Pair]:
    """Every image of a folder with one and the same label file, or layer of a file (`FILE:LAYER`)."""
    if not path_and_layer(str(label))[0].exists():
        raise InputError(f"{label}: no such file")
    found = matches(source, images or guessed(source, IMAGE_FOLDERS, "--images"))
    return [Pair(name, path, label) for name, path in sorted(found.items())]
