"""CVAT's annotations: its XML 1.1 for images, and the pixels of its shapes.

The XML is read without trusting it: no document types, no entities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, radians, sin
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry import Polygon
from shapely.validation import make_valid

from geoseg.errors import InputError

SHAPES = {"polygon", "box", "ellipse", "mask"}
OTHER_SHAPES = {"polyline", "points", "cuboid", "skeleton", "tag"}


ELLIPSE_CORNERS = 64

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CvatShape:
    """One annotation: its kind, its label and what its tag says."""

    kind: str
    label: str
    given: Mapping[str, str]
    attributes: Mapping[str, str]

    @property
    def z_order(self) -> int:
        return int(self.given.get("z_order", 0))


@dataclass
class CvatImage:
    """One image of a task, and its shapes."""

    name: str
    height: int
    width: int
    task: str
    shapes: list[CvatShape] = field(default_factory=list)


@dataclass
class CvatAnnotations:
    """What a CVAT file holds. `others` counts shapes without an area.

    `choices` has, by label and attribute, what people could choose from.
    """

    labels: list[str] = field(default_factory=list)
    choices: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    images: list[CvatImage] = field(default_factory=list)
    others: int = 0


class AnnotationParser:
    """The state of reading a file, tag after tag."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = CvatAnnotations()
        self.tags: list[str] = []
        self.text = ""
        self.task = ""
        self.shape: CvatShape | None = None
        self.attributes: dict[str, str] = {}
        self.label = ""
        self.attribute = ""

    def begin(self, tag: str, given: dict[str, str]) -> None:
        if not self.tags and tag != "annotations":
            raise InputError(
                f"{self.path}: not CVAT's XML for images: it begins with <{tag}>, not <annotations>"
            )
        if tag == "track":
            raise InputError(f"{self.path}: is CVAT's XML for videos; export the task as CVAT for images 1.1")
        self.tags.append(tag)
        self.text = ""
        if tag == "image":
            self.begin_image(given)
        elif tag in SHAPES | OTHER_SHAPES and self.inside_image:
            self.begin_shape(tag, given)
        elif tag == "attribute":
            self.attribute = given.get("name", "")

    @property
    def inside_image(self) -> bool:
        return "image" in self.tags

    def begin_image(self, given: Mapping[str, str]) -> None:
        try:
            image = CvatImage(
                given["name"], int(given["height"]), int(given["width"]), given.get("task_id", self.task)
            )
        except (KeyError, ValueError) as error:
            raise InputError(f"{self.path}: an image lacks name, width or height: {dict(given)}") from error
        self.found.images.append(image)

    def begin_shape(self, tag: str, given: dict[str, str]) -> None:
        if tag in OTHER_SHAPES:
            self.found.others += 1
            return
        try:
            int(given.get("z_order", 0))
        except ValueError as error:
            raise InputError(
                f"{self.path}: z_order {given['z_order'][:40]} of a {tag} is no whole number"
            ) from error
        if "label" not in given:
            raise InputError(f"{self.path}: a {tag} of {self.found.images[-1].name} has no label")
        self.attributes = {}
        self.shape = CvatShape(tag, given["label"], given, self.attributes)

    def add_text(self, text: str) -> None:
        self.text += text

    def end(self, tag: str) -> None:
        self.tags.pop()
        if self.tags[-2:] == ["labels", "label"] and tag == "name":
            self.end_label()
        elif self.tags[-3:] == ["label", "attributes", "attribute"]:
            self.end_choice(tag)
        elif tag == "id" and self.tags[-1:] == ["task"]:
            self.task = self.text
        elif tag == "attribute" and self.shape is not None:
            self.attributes[self.attribute] = self.text
        elif self.shape is not None and tag == self.shape.kind:
            self.found.images[-1].shapes.append(self.shape)
            self.shape = None

    def end_label(self) -> None:
        self.label = self.text
        if self.label not in self.found.labels:
            self.found.labels.append(self.label)

    def end_choice(self, tag: str) -> None:
        if tag == "name":
            self.attribute = self.text
        elif tag == "values" and self.text.strip():
            self.found.choices[self.label, self.attribute] = self.text.split("\n")


def read_annotations(path: Path) -> CvatAnnotations:
    """All shapes of a CVAT file."""
    reading = AnnotationParser(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reading.begin
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.add_text
    parser.StartDoctypeDeclHandler = make_refusal(path)
    parser.EntityDeclHandler = make_refusal(path)
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise InputError(f"{path}: not XML that can be read to its end ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return reading.found


def make_refusal(path: Path) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise InputError(
            f"{path}: declares a document type or entities, which CVAT never does; refused as unsafe"
        )

    return refuse


def draw_shape(shape: CvatShape, height: int, width: int) -> Mask:
    """The pixels (row, col) whose centres lie in a shape; run lengths are taken as they are."""
    try:
        if shape.kind == "mask":
            return decode_run_lengths(shape, height, width)
        return fill_outline(OUTLINE_READERS[shape.kind](shape), height, width)
    except (KeyError, ValueError, OverflowError) as error:
        raise InputError(
            f"a {shape.kind} of {shape.label} lacks a number or has a broken one ({error})"
        ) from error


def fill_outline(corners: NDArray[np.float64], height: int, width: int) -> Mask:
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(f"{len(corners)} corners")
    shape = make_valid(Polygon(corners))
    if shape.area == 0:
        return np.zeros((height, width), dtype=bool)
    mask: Mask = rasterize([(shape, 1)], out_shape=(height, width), dtype="uint8") == 1
    return mask


def read_number(shape: CvatShape, name: str, default: str | None = None) -> float:
    return float(shape.given[name] if default is None else shape.given.get(name, default))


def read_polygon(shape: CvatShape) -> NDArray[np.float64]:
    pairs = [pair.split(",") for pair in shape.given["points"].split(";")]
    return np.array([(float(x), float(y)) for x, y in pairs])


def read_box(shape: CvatShape) -> NDArray[np.float64]:
    left, top, right, bottom = (read_number(shape, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return rotate_corners(corners, shape)


def read_ellipse(shape: CvatShape) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
    radii = read_number(shape, "rx"), read_number(shape, "ry")
    centre = read_number(shape, "cx"), read_number(shape, "cy")
    return rotate_corners(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + centre, shape)


OUTLINE_READERS = {"polygon": read_polygon, "box": read_box, "ellipse": read_ellipse}


def rotate_corners(corners: NDArray[np.float64], shape: CvatShape) -> NDArray[np.float64]:
    """Turned about their middle by the shape's rotation, clockwise as seen on the screen."""
    angle = radians(read_number(shape, "rotation", "0"))
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    turn = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    rotated: NDArray[np.float64] = (corners - middle) @ turn + middle
    return rotated


def decode_run_lengths(shape: CvatShape, height: int, width: int) -> Mask:
    """Run lengths, row by row inside the mask's own box and beginning outside."""
    left, top, across, down = (int(shape.given[name]) for name in ("left", "top", "width", "height"))
    runs = np.array([int(run) for run in shape.given["rle"].split(",")])
    if runs.sum() != across * down or (runs < 0).any():
        raise ValueError(f"runs of {runs.sum()} pixels in a box of {across * down}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(down, across)
    mask = np.zeros((height, width), dtype=bool)
    first_row, first_col = max(0, -top), max(0, -left)
    part = inside[first_row : max(first_row, height - top), first_col : max(first_col, width - left)]
    row, col = max(0, top), max(0, left)
    mask[row : row + part.shape[0], col : col + part.shape[1]] = part
    return mask
