"""CVAT's exports: annotations.xml beside images, in a folder or a zip archive, of one task or of a whole project."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.landclass import LandClass
from geoseg.prepare.classes import COLORS
from geoseg.prepare.coco.contents import BACKGROUND, refuse_escaping
from geoseg.prepare.cvat.shapes import drawn
from geoseg.prepare.cvat.xml import AnnotatedImage, Annotations, read_annotations
from geoseg.prepare.dataset import IGNORE, Dataset, Item
from geoseg.prepare.making import Origin, Workshop, seen_from
from geoseg.prepare.picture import picture, write_label
from geoseg.prepare.splits import SplitRule
from geoseg.raster.grid import Window

FILE = "annotations.xml"
IGNORED = "ignore"


@dataclass(frozen=True)
class CvatSet:
    """What is to be made of CVAT files. Shapes with the label `ignore` say that nothing is known there."""

    origin: Origin
    gsd_m: float
    bands: tuple[str, ...] = ("red", "green", "blue")
    splits: SplitRule = field(default_factory=SplitRule)


def prepare_cvat(source: Path, wanted: CvatSet, workshop: Workshop) -> Dataset:
    """Make a data set of everything CVAT exported to a place."""
    with workshop.recipe(kind="cvat", source=source, wanted=repr(wanted)):
        folder = unpacked(source, workshop.folder / "source") if zipfile.is_zipfile(source) else source
        files = sorted(folder.glob(f"**/{FILE}")) if folder.is_dir() else [folder]
        if not files:
            raise InputError(f"{source}: expected CVAT's {FILE} (export as CVAT for images 1.1), found none")
        tasks = [(file, read_annotations(file)) for file in files]
        classes = class_list([annotations for _, annotations in tasks])
        items = [
            each for file, annotations in tasks for each in made(file, annotations, classes, wanted, workshop)
        ]
        if not items:
            raise InputError(f"{source}: none of its images is there; export the task with its images")
        splits = wanted.splits.of([item.place for item in items])
        dataset = Dataset(
            wanted.origin.name, wanted.origin.licence, wanted.origin.attribution, wanted.origin.source,
            wanted.gsd_m, wanted.bands, tuple(classes),
            tuple(replace(item, split=splits[item.place]) for item in items), workshop.folder,
        )  # fmt: skip
        return workshop.finish(dataset)


def unpacked(archive: Path, folder: Path) -> Path:
    """The files of a zip archive in a folder, none of them outside it."""
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            refuse_escaping(name, archive)
        shutil.rmtree(folder, ignore_errors=True)
        files.extractall(folder)
    return folder


def class_list(tasks: Sequence[Annotations]) -> list[LandClass]:
    names = dict.fromkeys(
        name for task in tasks for name in task.labels if name not in (IGNORED, BACKGROUND.name)
    )
    return [BACKGROUND, *(LandClass(name, COLORS[(1 + i) % len(COLORS)]) for i, name in enumerate(names))]


def made(
    file: Path, annotations: Annotations, classes: Sequence[LandClass], wanted: CvatSet, workshop: Workshop
) -> list[Item]:
    """Draw the labels of a file's images, and list them as items."""
    values = {each.name: value for value, each in enumerate(classes)} | {IGNORED: IGNORE}
    if annotations.others:
        workshop.narrator.warn(
            f"{file}: {annotations.others:,} points, lines and the like have no area; left out"
        )
    items, names = [], set()
    for image in annotations.images:
        refuse_escaping(image.name, file)
        if (image.task, image.name) in names:
            raise InputError(f"{file}: image {image.name} is there twice")
        names.add((image.task, image.name))
        path = found(file, image)
        if path is None:
            workshop.narrator.warn(f"{file}: image {image.name} is not beside it; left out")
            continue
        items.append(labelled(file, path, image, values, wanted, workshop))
    return items


def found(file: Path, image: AnnotatedImage) -> Path | None:
    """Where an image lies: CVAT puts it into images, or into images and its subset."""
    for folder in (file.parent / "images", file.parent / "images" / "default", file.parent):
        if (folder / image.name).is_file():
            return folder / image.name
    return None


def labelled(
    file: Path, path: Path, image: AnnotatedImage, values: dict[str, int], wanted: CvatSet, workshop: Workshop
) -> Item:
    shown = picture(path)
    if shown.shape != (image.height, image.width):
        raise InputError(
            f"{path}: is {shown.width} x {shown.height} pixels, but {file} speaks of {image.width} x {image.height}"
        )
    stem = "_".join(part for part in (image.task, Path(image.name).with_suffix("").as_posix()) if part)
    label = Path("labels") / f"{stem.replace('/', '_')}.tif"
    if not (workshop.folder / label).exists():
        whole = Window(0, 0, image.height, image.width)
        write_label(workshop.folder / label, shown, [(whole, drawn_label(file, image, values))])
    gsd_m = None if shown.grid else wanted.gsd_m
    return Item(seen_from(path, workshop.folder), label.as_posix(), stem, gsd_m=gsd_m)


def drawn_label(file: Path, image: AnnotatedImage, values: dict[str, int]) -> NDArray[np.uint8]:
    """An image's class values: shapes of a higher z-order lie above the others."""
    label = np.zeros((image.height, image.width), np.uint8)
    for shape in sorted(image.shapes, key=lambda shape: shape.z_order):
        if shape.label not in values:
            raise InputError(f"{file}: {image.name}: label {shape.label} is not among the task's labels")
        try:
            label[drawn(shape, image.height, image.width)] = values[shape.label]
        except InputError as error:
            raise InputError(f"{file}: {image.name}: {error}") from error
    return label
