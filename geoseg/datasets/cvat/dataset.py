"""Training sets from CVAT's exports: annotations.xml beside images, in a folder or a zip archive, of one task or many."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule, flatten_name, relativize_path
from geoseg.datasets.classes import BACKGROUND, CLASS_COLORS, IGNORE_NAME
from geoseg.datasets.coco.dataset import CocoOptions, find_coco_files, prepare_coco
from geoseg.datasets.cvat.annotations import (
    CvatAnnotations,
    CvatImage,
    CvatShape,
    draw_shape,
    read_annotations,
)
from geoseg.datasets.images import read_image_info, write_label
from geoseg.datasets.schema import IGNORE, Dataset, Item, refuse_repeated
from geoseg.errors import InputError
from geoseg.io.archives import is_archive, refuse_escaping_path, unpack_archive
from geoseg.raster.grid import Window
from geoseg.raster.palette import ClassEntry

log = logging.getLogger(__name__)

ANNOTATIONS_FILE = "annotations.xml"


@dataclass(frozen=True)
class CvatOptions:
    """What is to be made of CVAT files. Shapes with the label `ignore` say that nothing is known there.

    Where a shape has the attribute named in `attribute`, its value is the class; elsewhere the label is.
    """

    origin: Origin
    gsd_m: float
    bands: tuple[str, ...] = ("red", "green", "blue")
    splits: SplitRule = field(default_factory=SplitRule)
    attribute: str | None = None

    def name_class(self, shape: CvatShape) -> str:
        return shape.attributes.get(self.attribute or "", "") or shape.label


def prepare_cvat(source: Path, options: CvatOptions, builder: DatasetBuilder) -> Dataset:
    """Make a data set of everything CVAT exported to a place, be it its own XML or COCO."""
    builder.refuse_finished()
    folder = unpack_archive(source, builder.folder / "source") if is_archive(source) else source
    files = sorted(folder.glob(f"**/{ANNOTATIONS_FILE}")) if folder.is_dir() else [folder]
    if files:
        return prepare_tasks(source, files, options, builder)
    if not list(folder.glob("**/*.json")):
        raise InputError(
            f"{source}: expected CVAT's {ANNOTATIONS_FILE} (export as CVAT for images 1.1), found none"
        )
    # In CVAT people mark a shape as a crowd to have it written as run lengths.
    coco = CocoOptions(options.origin, options.gsd_m, options.bands, options.splits, crowds="draw")
    return prepare_coco(find_coco_files(folder, None), coco, builder)


def prepare_tasks(
    source: Path, files: Sequence[Path], options: CvatOptions, builder: DatasetBuilder
) -> Dataset:
    """Make a data set of CVAT's XML files."""
    with builder.begin(kind="cvat", source=source, options=repr(options)):
        tasks = [(file, read_annotations(file)) for file in files]
        classes = list_classes([annotations for _, annotations in tasks], options)
        values = {each.name: value for value, each in enumerate(classes)} | {IGNORE_NAME: IGNORE}
        calls = [
            call | {"values": values, "options": options, "folder": builder.folder}
            for file, annotations in tasks
            for call in find_images(file, annotations)
        ]
        if not calls:
            raise InputError(f"{source}: none of its images is there; export the task with its images")
        labels = (name_label(call["image"]) for call in calls)
        refuse_repeated(labels, f"{source}: an image whose label would be named")
        items = builder.run_all("Drawing shapes", write_image_label, calls)
        splits = options.splits.of([item.place for item in items])
        dataset = Dataset(
            options.origin.name, options.origin.licence, options.origin.attribution, options.origin.source,
            options.gsd_m, options.bands, tuple(classes),
            tuple(replace(item, split=splits[item.place]) for item in items), builder.folder,
        )  # fmt: skip
        return builder.finish(dataset)


def list_classes(tasks: Sequence[CvatAnnotations], options: CvatOptions) -> list[ClassEntry]:
    """Background, then the labels in their order, or what the attribute offers for them, and what else is used."""
    offered = [
        name
        for task in tasks
        for label in task.labels
        for name in task.choices.get((label, options.attribute or ""), [label])
    ]
    used = [
        options.name_class(shape)
        for task in tasks
        for image in task.images
        for shape in image.shapes
        if shape.label in task.labels
    ]
    names = [name for name in dict.fromkeys([*offered, *used]) if name not in (IGNORE_NAME, BACKGROUND.name)]
    return [
        BACKGROUND,
        *(ClassEntry(name, CLASS_COLORS[(1 + i) % len(CLASS_COLORS)]) for i, name in enumerate(names)),
    ]


def find_images(file: Path, annotations: CvatAnnotations) -> Iterator[dict[str, Any]]:
    """Each image of a file that is on disk, and what is drawn on it."""
    if annotations.others:
        log.warning(f"{file}: {annotations.others:,} points, lines and the like have no area; left out")
    names: set[tuple[str, str]] = set()
    for image in annotations.images:
        refuse_escaping_path(image.name, file)
        if (image.task, image.name) in names:
            raise InputError(f"{file}: image {image.name} is there twice")
        names.add((image.task, image.name))
        refuse_unknown_labels(file, image, annotations)
        path = find_image(file, image)
        if path is None:
            log.warning(f"{file}: image {image.name} is not beside it; left out")
        else:
            yield {"file": file, "path": path, "image": image}


def refuse_unknown_labels(file: Path, image: CvatImage, annotations: CvatAnnotations) -> None:
    for shape in image.shapes:
        if shape.label not in annotations.labels and shape.label != IGNORE_NAME:
            raise InputError(f"{file}: {image.name}: label {shape.label} is not among the task's labels")


def find_image(file: Path, image: CvatImage) -> Path | None:
    """Where an image lies: CVAT puts it into images, or into images and its subset."""
    for folder in (file.parent / "images", file.parent / "images" / "default", file.parent):
        if (folder / image.name).is_file():
            return folder / image.name
    return None


def write_image_label(
    file: Path, path: Path, image: CvatImage, values: dict[str, int], options: CvatOptions, folder: Path
) -> Item:
    """Write the label of an image, unless it is there, and make an item of both."""
    shown = read_image_info(path)
    if shown.shape != (image.height, image.width):
        raise InputError(
            f"{path}: is {shown.width} x {shown.height} pixels, but {file} speaks of {image.width} x {image.height}"
        )
    label = Path("labels") / f"{name_label(image)}.tif"
    if not (folder / label).exists():
        shapes = [(shape, values[options.name_class(shape)]) for shape in image.shapes]
        whole = Window(0, 0, image.height, image.width)
        write_label(folder / label, shown, [(whole, draw_label(file, image, shapes))])
    gsd_m = None if shown.grid else options.gsd_m
    return Item(relativize_path(path, folder), label.as_posix(), name_place(image), gsd_m=gsd_m)


def name_place(image: CvatImage) -> str:
    """The place that splits go by: the task and the name of the image."""
    return "_".join(filter(None, (image.task, Path(image.name).with_suffix("").as_posix())))


def name_label(image: CvatImage) -> str:
    return flatten_name(name_place(image))


def draw_label(file: Path, image: CvatImage, shapes: Sequence[tuple[CvatShape, int]]) -> NDArray[np.uint8]:
    """An image's class values: shapes of a higher z-order lie above the others."""
    label = np.zeros((image.height, image.width), np.uint8)
    try:
        for shape, value in sorted(shapes, key=lambda each: each[0].z_order):
            label[draw_shape(shape, image.height, image.width)] = value
    except InputError as error:
        raise InputError(f"{file}: {image.name}: {error}") from error
    return label
