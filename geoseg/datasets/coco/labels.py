"""From COCO's polygons, run lengths and boxes to the labels of an image, as a mask or as a layer of polygons."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from rasterio.features import shapes as traced

from geoseg.datasets.coco.reader import CocoImage
from geoseg.datasets.images import ImageInfo, read_image_info, write_label
from geoseg.datasets.polygons import LAYER_SUFFIX, LabelPolygons, write_polygon_label
from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError
from geoseg.footprints.polygons import apply_affine, keep_polygonal_parts
from geoseg.raster.grid import Grid, Window, make_placeholder_grid

FARTHEST_PIXELS = 10**6
"""A corner farther out is an error; COCO's tools walk every pixel of an outline, and crash on infinite ones."""

Mask = NDArray[np.bool_]


def draw_segmentation(segmentation: Any, height: int, width: int) -> Mask:
    """The pixels (row, col) of an annotation's segmentation, a list of polygons or run lengths, as COCO draws it."""
    if isinstance(segmentation, Mapping):
        return decode_run_lengths(segmentation, height, width)
    polygons = [corners.ravel().tolist() for corners in parse_polygons(segmentation)]
    drawn: Mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    return drawn.astype(bool)


def parse_polygons(segmentation: Any) -> list[NDArray[np.float64]]:
    """The corners (x, y) of each polygon of a segmentation, in pixels from the image's upper left corner."""
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str) or not len(segmentation):
        raise InputError(
            f"segmentation is {str(segmentation)[:40] or 'empty'}, neither polygons nor run lengths"
        )
    return [parse_polygon(polygon) for polygon in segmentation]


def convert_bbox(corner_and_size: Any) -> list[list[float]]:
    """A COCO bounding box (x, y, width, height) as a segmentation."""
    try:
        x, y, width, height = map(float, corner_and_size)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"bbox is {str(corner_and_size)[:40]}, not four numbers") from error
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def parse_polygon(polygon: Any) -> NDArray[np.float64]:
    """A polygon's corners (x, y)."""
    try:
        numbers = np.asarray(polygon, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"a polygon holds something other than numbers: {str(polygon)[:40]}") from error
    if numbers.ndim != 1 or len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
        raise InputError(f"a polygon needs three or more pairs of numbers, not {str(polygon)[:40]}")
    if np.abs(numbers).max() > FARTHEST_PIXELS:
        raise InputError(f"a polygon reaches {np.abs(numbers).max():g} pixels away from its image")
    return numbers.reshape(-1, 2)


def decode_run_lengths(written: Mapping[str, Any], height: int, width: int) -> Mask:
    """The pixels of run lengths, plain or compressed, column by column and beginning outside."""
    size, counts = written.get("size"), written.get("counts")
    if size is not None and size != [height, width]:
        raise InputError(f"run lengths are for an image of {size}, not of {[height, width]} (height, width)")
    runs = expand_runs(counts.encode()) if isinstance(counts, str) else parse_runs(counts)
    pixels = height * width
    # Each run is looked at too, since the sum of very long ones overflows.
    if runs.sum() != pixels or ((runs < 0) | (runs > pixels)).any():
        raise InputError(
            f"run lengths cover {sum(runs.tolist())} pixels of an image of {pixels}; the file is damaged"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def parse_runs(counts: Any) -> NDArray[np.int64]:
    try:
        runs = np.asarray(counts, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"run lengths are {str(counts)[:40]}, not whole numbers") from error
    if runs.ndim != 1:
        raise InputError(f"run lengths are {str(counts)[:40]}, not a list of whole numbers")
    return runs


def expand_runs(text: bytes) -> NDArray[np.int64]:
    """Run lengths from COCO's compressed text: five bits a character, lowest first, a sixth for "more to come".

    From the fourth number on, each is the difference from the number two before it. It is read here since pycocotools
    writes beyond its memory where the text is damaged.
    """
    letters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(letters) == 0 or (letters < 0).any() or (letters > 63).any() or letters[-1] & 32:
        raise InputError(f"run lengths are {text[:40]!r}, not COCO's compressed text")
    ends = np.nonzero((letters & 32) == 0)[0]
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins > 11).any():
        raise InputError(f"run lengths are {text[:40]!r}, with numbers beyond any image")
    place = np.arange(len(letters)) - np.repeat(begins, ends - begins + 1)
    numbers = np.add.reduceat((letters & 31) << (5 * place), begins)
    numbers -= np.where(letters[ends] & 16, np.int64(1) << (5 * (ends - begins + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def outline_segmentation(segmentation: Any, height: int, width: int) -> shapely.MultiPolygon:
    """The outline of an annotation's segmentation, valid and within the image."""
    if isinstance(segmentation, Mapping):
        parts = trace_mask(decode_run_lengths(segmentation, height, width))
    else:
        parts = np.array([shapely.Polygon(corners) for corners in parse_polygons(segmentation)], object)
    whole = shapely.union_all(shapely.make_valid(parts))
    inside = keep_polygonal_parts(
        np.array([shapely.intersection(whole, shapely.box(0, 0, width, height))], object)
    )
    return shapely.MultiPolygon(shapely.get_parts(inside).tolist())


def trace_mask(mask: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The outlines of a mask's pieces, along the edges of its pixels."""
    pieces = [shapely.geometry.shape(piece) for piece, _ in traced(mask.astype(np.uint8), mask=mask)]
    return np.array(pieces, object)


COVERS_NOTHING = "covers nothing of its image"

T = TypeVar("T")


@dataclass(frozen=True)
class CocoShape:
    """What an annotation draws: where, and which class value; IGNORE says that nobody knows what is there."""

    value: int
    annotation: Mapping[str, Any]

    @property
    def segmentation(self) -> Any:
        """Polygons or run lengths; an annotation that has neither draws its box."""
        written = self.annotation.get("segmentation")
        return written if written or "bbox" not in self.annotation else convert_bbox(self.annotation["bbox"])


@dataclass(frozen=True)
class CategoryMapping:
    """The class value of each category. Crowds are groups that nobody drew one by one: unknown, unless asked for."""

    values: Mapping[int, int]
    draw_crowds: bool = False

    def shapes(self, annotations: Sequence[Mapping[str, Any]]) -> list[CocoShape]:
        """What annotations draw, from below to above: first what is unknown, then each in its order."""
        found = [CocoShape(self.value(each), each) for each in annotations]
        return sorted(found, key=lambda shape: shape.value != IGNORE)

    def value(self, annotation: Mapping[str, Any]) -> int:
        if annotation.get("iscrowd") and not self.draw_crowds:
            return IGNORE
        return self.values[int(annotation["category_id"])]


class CocoLabelWriter(Protocol):
    """A way to write labels."""

    def path(self, photo: CocoImage) -> Path:
        """Where an image's label lies."""

    def write(self, photo: CocoImage, shapes: Sequence[CocoShape]) -> list[str]:
        """Write an image's label; returns why some shapes could not be drawn."""


@dataclass(frozen=True)
class CocoMaskWriter:
    """Labels as rasters of class values, each pixel as COCO's own tools draw it."""

    folder: Path

    def path(self, photo: CocoImage) -> Path:
        return self.folder / f"{photo.stem}.tif"

    def write(self, photo: CocoImage, shapes: Sequence[CocoShape]) -> list[str]:
        label, unusable = np.zeros((photo.height, photo.width), np.uint8), list[str]()
        for value, mask in convert_usable(shapes, lambda each: draw_pixels(each, photo), unusable):
            label[mask] = value
        path = self.path(photo)
        like = ImageInfo(path, photo.height, photo.width, 1, "uint8", None)
        write_label(path, like, [(Window(0, 0, photo.height, photo.width), label)])
        return unusable


@dataclass(frozen=True)
class CocoLayerWriter:
    """Labels as polygons, on the map where the image lies on one, else on the plane of the image itself.

    Where something is unknown, a second layer tells what is known.
    """

    folder: Path
    images: Path
    names: Sequence[str]
    gsd_m: float

    def path(self, photo: CocoImage) -> Path:
        return self.folder / f"{photo.stem}{LAYER_SUFFIX}"

    def write(self, photo: CocoImage, shapes: Sequence[CocoShape]) -> list[str]:
        unusable: list[str] = []
        found = list(convert_usable(shapes, lambda each: draw_outline(each, photo), unusable))
        grid = self.grid(photo)
        write_polygon_label(self.path(photo), georeference_shapes(found, grid), self.names, grid)
        return unusable

    def grid(self, photo: CocoImage) -> Grid:
        path = self.images / photo.name
        image = read_image_info(path)
        if image.shape != (photo.height, photo.width):
            raise InputError(
                f"{path}: is {image.width} x {image.height} pixels, but its COCO file speaks of "
                f"{photo.width} x {photo.height}"
            )
        return image.grid or make_placeholder_grid(image.shape, self.gsd_m)


def draw_pixels(segmentation: Any, photo: CocoImage) -> Mask:
    mask = draw_segmentation(segmentation, photo.height, photo.width)
    if not mask.any():
        raise InputError(COVERS_NOTHING)
    return mask


def draw_outline(segmentation: Any, photo: CocoImage) -> shapely.MultiPolygon:
    shape = outline_segmentation(segmentation, photo.height, photo.width)
    if shape.is_empty:
        raise InputError(COVERS_NOTHING)
    return shape


def convert_usable(
    shapes: Sequence[CocoShape], made: Callable[[Any], T], unusable: list[str]
) -> Iterator[tuple[int, T]]:
    """Each shape's value and what is made of it; those that are broken are put down in `unusable`."""
    for shape in shapes:
        try:
            yield shape.value, made(shape.segmentation)
        except InputError as error:
            unusable.append(f"annotation {shape.annotation.get('id')}: {error}")


def georeference_shapes(found: Sequence[tuple[int, shapely.MultiPolygon]], grid: Grid) -> LabelPolygons:
    """Shapes in pixels (x right, y down), each after its value, as polygons on a grid."""
    shapes = np.array([shape for _, shape in found], object)
    return LabelPolygons(
        apply_affine(shapes, grid.transform), np.array([value for value, _ in found], np.uint8)
    )


def draw_bucket(
    bucket: Path, photos: Sequence[CocoImage], meaning: CategoryMapping, labels: CocoLabelWriter
) -> list[str]:
    """Write the labels of the images whose annotations lie in a bucket; returns why some could not be drawn."""
    missing = {photo.number: photo for photo in photos if not labels.path(photo).exists()}
    annotations = read_bucket(bucket, missing.keys()) if missing else {}
    return [
        complaint
        for number, photo in missing.items()
        for complaint in labels.write(photo, meaning.shapes(annotations.get(number, [])))
    ]


def read_bucket(bucket: Path, numbers: Any) -> Mapping[int, list[Mapping[str, Any]]]:
    """The annotations in a bucket of some images, by the image's number."""
    found: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    with bucket.open(encoding="utf-8") as lines:
        for annotation in map(json.loads, lines):
            if int(annotation["image_id"]) in numbers:
                found[int(annotation["image_id"])].append(annotation)
    return found
