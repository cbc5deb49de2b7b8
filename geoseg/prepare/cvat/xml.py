"""CVAT's XML 1.1 for images, read shape by shape and without trusting it: no document types, no entities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from geoseg.errors import InputError

SHAPES = {"polygon", "box", "ellipse", "mask"}
OTHER_SHAPES = {"polyline", "points", "cuboid", "skeleton", "tag"}


@dataclass(frozen=True)
class Shape:
    """One annotation: its kind, its label and what its tag says."""

    kind: str
    label: str
    given: Mapping[str, str]
    attributes: Mapping[str, str]

    @property
    def z_order(self) -> int:
        return int(self.given.get("z_order", 0))


@dataclass
class AnnotatedImage:
    """One image of a task, and its shapes."""

    name: str
    height: int
    width: int
    task: str
    shapes: list[Shape] = field(default_factory=list)


@dataclass
class Annotations:
    """What a CVAT file holds. `others` counts shapes without an area.

    `choices` has, by label and attribute, what people could choose from.
    """

    labels: list[str] = field(default_factory=list)
    choices: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    images: list[AnnotatedImage] = field(default_factory=list)
    others: int = 0


class Reading:
    """The state of reading a file, tag after tag."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = Annotations()
        self.tags: list[str] = []
        self.text = ""
        self.task = ""
        self.shape: Shape | None = None
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
            image = AnnotatedImage(
                given["name"], int(given["height"]), int(given["width"]), given.get("task_id", self.task)
            )
        except (KeyError, ValueError) as error:
            raise InputError(f"{self.path}: an image lacks name, width or height: {dict(given)}") from error
        self.found.images.append(image)

    def begin_shape(self, tag: str, given: dict[str, str]) -> None:
        if tag in OTHER_SHAPES:
            self.found.others += 1
            return
        if "label" not in given:
            raise InputError(f"{self.path}: a {tag} of {self.found.images[-1].name} has no label")
        self.attributes = {}
        self.shape = Shape(tag, given["label"], given, self.attributes)

    def hear(self, text: str) -> None:
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


def read_annotations(path: Path) -> Annotations:
    """All shapes of a CVAT file."""
    reading = Reading(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reading.begin
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.hear
    parser.StartDoctypeDeclHandler = refusal(path)
    parser.EntityDeclHandler = refusal(path)
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise InputError(f"{path}: not XML that can be read to its end ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return reading.found


def refusal(path: Path) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise InputError(
            f"{path}: declares a document type or entities, which CVAT never does; refused as unsafe"
        )

    return refuse
