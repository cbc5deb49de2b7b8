"""Labels of COCO's images: masks of class values, or layers of polygons that carry the names of their classes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import shapely

from geoseg.errors import InputError
from geoseg.prepare.coco.contents import Photo
from geoseg.prepare.coco.outlines import outlined
from geoseg.prepare.coco.shapes import Mask, box, drawn
from geoseg.prepare.dataset import IGNORE
from geoseg.prepare.outlines import SUFFIX, write_outlines
from geoseg.prepare.picture import Picture, picture, write_label
from geoseg.prepare.polygons import Polygons
from geoseg.raster.grid import Grid, Window, made_up_grid

NOTHING = "covers nothing of its image"

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """What an annotation draws: where, and which class value; IGNORE says that nobody knows what is there."""

    value: int
    annotation: Mapping[str, Any]

    @property
    def segmentation(self) -> Any:
        """Polygons or run lengths; an annotation that has neither draws its box."""
        written = self.annotation.get("segmentation")
        return written if written or "bbox" not in self.annotation else box(self.annotation["bbox"])


@dataclass(frozen=True)
class Meaning:
    """The class value of each category. Crowds are groups that nobody drew one by one: unknown, unless asked for."""

    values: Mapping[int, int]
    draw_crowds: bool = False

    def shapes(self, annotations: Sequence[Mapping[str, Any]]) -> list[Shape]:
        """What annotations draw, from below to above: first what is unknown, then each in its order."""
        found = [Shape(self.value(each), each) for each in annotations]
        return sorted(found, key=lambda shape: shape.value != IGNORE)

    def value(self, annotation: Mapping[str, Any]) -> int:
        if annotation.get("iscrowd") and not self.draw_crowds:
            return IGNORE
        return self.values[int(annotation["category_id"])]


class Labels(Protocol):
    """A way to write labels."""

    def path(self, photo: Photo) -> Path:
        """Where an image's label lies."""

    def write(self, photo: Photo, shapes: Sequence[Shape]) -> list[str]:
        """Write an image's label; returns why some shapes could not be drawn."""


@dataclass(frozen=True)
class Masks:
    """Labels as rasters of class values, each pixel as COCO's own tools draw it."""

    folder: Path

    def path(self, photo: Photo) -> Path:
        return self.folder / f"{photo.stem}.tif"

    def write(self, photo: Photo, shapes: Sequence[Shape]) -> list[str]:
        label, unusable = np.zeros((photo.height, photo.width), np.uint8), list[str]()
        for value, mask in usable(shapes, lambda each: pixels(each, photo), unusable):
            label[mask] = value
        path = self.path(photo)
        like = Picture(path, photo.height, photo.width, 1, "uint8", None)
        write_label(path, like, [(Window(0, 0, photo.height, photo.width), label)])
        return unusable


@dataclass(frozen=True)
class Layers:
    """Labels as polygons, on the map where the image lies on one, else on the plane of the image itself.

    Where something is unknown, a second layer tells what is known.
    """

    folder: Path
    images: Path
    names: Sequence[str]
    gsd_m: float

    def path(self, photo: Photo) -> Path:
        return self.folder / f"{photo.stem}{SUFFIX}"

    def write(self, photo: Photo, shapes: Sequence[Shape]) -> list[str]:
        unusable: list[str] = []
        found = list(usable(shapes, lambda each: outline(each, photo), unusable))
        grid = self.grid(photo)
        write_outlines(self.path(photo), on_map(found, grid), self.names, grid)
        return unusable

    def grid(self, photo: Photo) -> Grid:
        path = self.images / photo.name
        image = picture(path)
        if image.shape != (photo.height, photo.width):
            raise InputError(
                f"{path}: is {image.width} x {image.height} pixels, but its COCO file speaks of "
                f"{photo.width} x {photo.height}"
            )
        return image.grid or made_up_grid(image.shape, self.gsd_m)


def pixels(segmentation: Any, photo: Photo) -> Mask:
    mask = drawn(segmentation, photo.height, photo.width)
    if not mask.any():
        raise InputError(NOTHING)
    return mask


def outline(segmentation: Any, photo: Photo) -> shapely.MultiPolygon:
    shape = outlined(segmentation, photo.height, photo.width)
    if shape.is_empty:
        raise InputError(NOTHING)
    return shape


def usable(shapes: Sequence[Shape], made: Callable[[Any], T], unusable: list[str]) -> Iterator[tuple[int, T]]:
    """Each shape's value and what is made of it; those that are broken are put down in `unusable`."""
    for shape in shapes:
        try:
            yield shape.value, made(shape.segmentation)
        except InputError as error:
            unusable.append(f"annotation {shape.annotation.get('id')}: {error}")


def on_map(found: Sequence[tuple[int, shapely.MultiPolygon]], grid: Grid) -> Polygons:
    """Shapes in pixels (x right, y down), each after its value, as polygons on a grid."""
    shapes = np.array([shape for _, shape in found], object)
    placed = shapely.transform(shapes, lambda x, y: grid.transform @ (x, y), interleaved=False)
    return Polygons(placed, np.array([value for value, _ in found], np.uint8))


def draw_bucket(bucket: Path, photos: Sequence[Photo], meaning: Meaning, labels: Labels) -> list[str]:
    """Write the labels of the images whose annotations lie in a bucket; returns why some could not be drawn."""
    missing = {photo.number: photo for photo in photos if not labels.path(photo).exists()}
    annotations = annotations_of(bucket, missing.keys()) if missing else {}
    return [
        complaint
        for number, photo in missing.items()
        for complaint in labels.write(photo, meaning.shapes(annotations.get(number, [])))
    ]


def annotations_of(bucket: Path, numbers: Any) -> Mapping[int, list[Mapping[str, Any]]]:
    """The annotations in a bucket of some images, by the image's number."""
    found: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    with bucket.open(encoding="utf-8") as lines:
        for annotation in map(json.loads, lines):
            if int(annotation["image_id"]) in numbers:
                found[int(annotation["image_id"])].append(annotation)
    return found
