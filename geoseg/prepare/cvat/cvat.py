"""CVAT's exports: annotations.xml beside images, in a folder or a zip archive, of one task or of a whole project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.landclass import LandClass
from geoseg.prepare.classes import COLORS
from geoseg.prepare.coco.coco import CocoSet, find_parts, prepare_coco
from geoseg.prepare.coco.contents import BACKGROUND, refuse_escaping
from geoseg.prepare.cvat.archive import is_archive, unpacked
from geoseg.prepare.cvat.shapes import drawn
from geoseg.prepare.cvat.xml import AnnotatedImage, Annotations, Shape, read_annotations
from geoseg.prepare.dataset import IGNORE, Dataset, Item
from geoseg.prepare.making import Origin, Workshop, seen_from
from geoseg.prepare.picture import picture, write_label
from geoseg.prepare.splits import SplitRule
from geoseg.raster.grid import Window

FILE = "annotations.xml"
IGNORED = "ignore"


@dataclass(frozen=True)
class CvatSet:
    """What is to be made of CVAT files. Shapes with the label `ignore` say that nothing is known there.

    Where a shape has the attribute named in `attribute`, its value is the class; elsewhere the label is.
    """

    origin: Origin
    gsd_m: float
    bands: tuple[str, ...] = ("red", "green", "blue")
    splits: SplitRule = field(default_factory=SplitRule)
    attribute: str | None = None

    def class_of(self, shape: Shape) -> str:
        return shape.attributes.get(self.attribute or "", "") or shape.label


def prepare_cvat(source: Path, wanted: CvatSet, workshop: Workshop) -> Dataset:
    """Make a data set of everything CVAT exported to a place, be it its own XML or COCO."""
    workshop.refuse_finished()
    folder = unpacked(source, workshop.folder / "source") if is_archive(source) else source
    files = sorted(folder.glob(f"**/{FILE}")) if folder.is_dir() else [folder]
    if files:
        return prepare_tasks(source, files, wanted, workshop)
    if not list(folder.glob("**/*.json")):
        raise InputError(f"{source}: expected CVAT's {FILE} (export as CVAT for images 1.1), found none")
    # In CVAT people mark a shape as a crowd to have it written as run lengths.
    coco = CocoSet(wanted.origin, wanted.gsd_m, wanted.bands, wanted.splits, crowds="draw")
    return prepare_coco(find_parts(folder, None), coco, workshop)


def prepare_tasks(source: Path, files: Sequence[Path], wanted: CvatSet, workshop: Workshop) -> Dataset:
    """Make a data set of CVAT's XML files."""
    with workshop.recipe(kind="cvat", source=source, wanted=repr(wanted)):
        tasks = [(file, read_annotations(file)) for file in files]
        classes = class_list([annotations for _, annotations in tasks], wanted)
        values = {each.name: value for value, each in enumerate(classes)} | {IGNORED: IGNORE}
        calls = [
            call | {"values": values, "wanted": wanted, "folder": workshop.folder}
            for file, annotations in tasks
            for call in images_of(file, annotations, workshop)
        ]
        if not calls:
            raise InputError(f"{source}: none of its images is there; export the task with its images")
        items = workshop.all_done("Drawing shapes", labelled, calls)
        splits = wanted.splits.of([item.place for item in items])
        dataset = Dataset(
            wanted.origin.name, wanted.origin.licence, wanted.origin.attribution, wanted.origin.source,
            wanted.gsd_m, wanted.bands, tuple(classes),
            tuple(replace(item, split=splits[item.place]) for item in items), workshop.folder,
        )  # fmt: skip
        return workshop.finish(dataset)


def class_list(tasks: Sequence[Annotations], wanted: CvatSet) -> list[LandClass]:
    """Background, then the labels in their order, or what the attribute offers for them, and what else is used."""
    offered = [
        name
        for task in tasks
        for label in task.labels
        for name in task.choices.get((label, wanted.attribute or ""), [label])
    ]
    used = [
        wanted.class_of(shape)
        for task in tasks
        for image in task.images
        for shape in image.shapes
        if shape.label in task.labels
    ]
    names = [name for name in dict.fromkeys([*offered, *used]) if name not in (IGNORED, BACKGROUND.name)]
    return [BACKGROUND, *(LandClass(name, COLORS[(1 + i) % len(COLORS)]) for i, name in enumerate(names))]


def images_of(file: Path, annotations: Annotations, workshop: Workshop) -> Iterator[dict[str, Any]]:
    """Each image of a file that is on disk, and what is drawn on it."""
    if annotations.others:
        workshop.narrator.warn(
            f"{file}: {annotations.others:,} points, lines and the like have no area; left out"
        )
    names: set[tuple[str, str]] = set()
    for image in annotations.images:
        refuse_escaping(image.name, file)
        if (image.task, image.name) in names:
            raise InputError(f"{file}: image {image.name} is there twice")
        names.add((image.task, image.name))
        refuse_strangers(file, image, annotations)
        path = found(file, image)
        if path is None:
            workshop.narrator.warn(f"{file}: image {image.name} is not beside it; left out")
        else:
            yield {"file": file, "path": path, "image": image}


def refuse_strangers(file: Path, image: AnnotatedImage, annotations: Annotations) -> None:
    for shape in image.shapes:
        if shape.label not in annotations.labels and shape.label != IGNORED:
            raise InputError(f"{file}: {image.name}: label {shape.label} is not among the task's labels")


def found(file: Path, image: AnnotatedImage) -> Path | None:
    """Where an image lies: CVAT puts it into images, or into images and its subset."""
    for folder in (file.parent / "images", file.parent / "images" / "default", file.parent):
        if (folder / image.name).is_file():
            return folder / image.name
    return None


def labelled(
    file: Path, path: Path, image: AnnotatedImage, values: dict[str, int], wanted: CvatSet, folder: Path
) -> Item:
    """Write the label of an image, unless it is there, and make an item of both."""
    shown = picture(path)
    if shown.shape != (image.height, image.width):
        raise InputError(
            f"{path}: is {shown.width} x {shown.height} pixels, but {file} speaks of {image.width} x {image.height}"
        )
    stem = "_".join(part for part in (image.task, Path(image.name).with_suffix("").as_posix()) if part)
    label = Path("labels") / f"{stem.replace('/', '_')}.tif"
    if not (folder / label).exists():
        shapes = [(shape, values[wanted.class_of(shape)]) for shape in image.shapes]
        whole = Window(0, 0, image.height, image.width)
        write_label(folder / label, shown, [(whole, drawn_label(file, image, shapes))])
    gsd_m = None if shown.grid else wanted.gsd_m
    return Item(seen_from(path, folder), label.as_posix(), stem, gsd_m=gsd_m)


def drawn_label(file: Path, image: AnnotatedImage, shapes: Sequence[tuple[Shape, int]]) -> NDArray[np.uint8]:
    """An image's class values: shapes of a higher z-order lie above the others."""
    label = np.zeros((image.height, image.width), np.uint8)
    try:
        for shape, value in sorted(shapes, key=lambda each: each[0].z_order):
            label[drawn(shape, image.height, image.width)] = value
    except InputError as error:
        raise InputError(f"{file}: {image.name}: {error}") from error
    return label
