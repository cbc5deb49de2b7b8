"""COCO files: images, categories and annotations in one JSON file, as crowdAI, Roboflow, CVAT and many others write."""

from __future__ import annotations

import json
import shutil
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.prepare.classes import COLORS
from geoseg.prepare.coco.shapes import drawn
from geoseg.prepare.coco.stream import elements
from geoseg.prepare.dataset import Dataset, Item, LandClass, Split, refuse_repeated
from geoseg.prepare.making import Origin, Workshop, seen_from
from geoseg.prepare.picture import Picture, write_label
from geoseg.prepare.splits import SplitRule
from geoseg.raster.grid import Window

BUCKET_BYTES = 2**20
MOST_BUCKETS = 200
BACKGROUND = LandClass("background", "#000000")


@dataclass(frozen=True)
class Part:
    """One COCO file, the folder of its images, and the split its place in the source names."""

    annotations: Path
    images: Path
    name: str = ""
    split: Split | None = None


@dataclass(frozen=True)
class Photo:
    """An image as a COCO file describes it."""

    number: int
    name: str
    height: int
    width: int


@dataclass(frozen=True)
class CocoSet:
    """What is to be made of COCO files. `every` and `limit` take a part of the images."""

    origin: Origin
    gsd_m: float
    bands: tuple[str, ...] = ("red", "green", "blue")
    splits: SplitRule = field(default_factory=SplitRule)
    limit: int | None = None
    every: int = 1


@dataclass(frozen=True)
class Contents:
    """What a COCO file holds, but for its annotations, which lie sorted in `buckets`."""

    photos: Mapping[int, Photo]
    classes: Mapping[int, LandClass]
    buckets: Sequence[Path]
    annotations: int


def find_parts(source: Path, images: Path | None) -> list[Part]:
    """The COCO files at a place: a file, or a folder with folders such as train and val."""
    if source.is_file():
        return [Part(source, images or beside(source))]
    files = sorted(path for path in source.glob("**/*.json") if "small" not in path.stem)
    if not files:
        raise InputError(
            f"{source}: expected a COCO file, or a folder with one (annotation.json beside images), found no .json"
        )
    named = [Part(path, images or beside(path), path.parent.name, split_named(path)) for path in files]
    return named if len(named) > 1 else [Part(files[0], images or beside(files[0]))]


def beside(path: Path) -> Path:
    """Where the images of a COCO file usually lie."""
    for folder in (
        path.parent / "images",
        path.parent.parent / "images" / path.stem,
        path.parent.parent / "images",
    ):
        if folder.is_dir():
            return folder
    return path.parent


def split_named(path: Path) -> Split | None:
    words = f"{path.parent.name} {path.stem}".lower()
    if "test" in words:
        return "test"
    return "validation" if "val" in words else "train" if "train" in words else None


def prepare_coco(parts: Sequence[Part], wanted: CocoSet, workshop: Workshop) -> Dataset:
    """Make a data set of COCO files, the JSON read piece by piece."""
    with workshop.recipe(kind="coco", parts=[part.annotations for part in parts], wanted=repr(wanted)):
        items: list[Item] = []
        classes: list[LandClass] = []
        for part in parts:
            with spool(workshop.folder / ".spool") as folder:
                contents = read(part, folder, workshop)
                known = class_list(contents)
                if classes and known != classes:
                    raise InputError(
                        f"{part.annotations}: its categories differ from those of {parts[0].annotations}"
                    )
                classes = known
                items += made(part, contents, wanted, workshop)
        dataset = Dataset(
            wanted.origin.name, wanted.origin.licence, wanted.origin.attribution, wanted.origin.source,
            wanted.gsd_m, wanted.bands, tuple(classes), tuple(items), workshop.folder,
        )  # fmt: skip
        return workshop.finish(dataset)


@contextmanager
def spool(folder: Path) -> Iterator[Path]:
    """A folder for sorted annotations, gone in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read(part: Part, folder: Path, workshop: Workshop) -> Contents:
    """Sort a COCO file's annotations into buckets by image, and keep the rest."""
    size = part.annotations.stat().st_size
    buckets = [folder / f"{number:03}.jsonl" for number in range(min(MOST_BUCKETS, 1 + size // BUCKET_BYTES))]
    photos: dict[int, Photo] = {}
    classes: dict[int, LandClass] = {}
    numbers, used = array("q"), Counter[int]()
    with ExitStack() as stack, workshop.narrator.task("Reading JSON", size / 1e6, "MB") as heard:
        files = [stack.enter_context(bucket.open("w", encoding="utf-8")) for bucket in buckets]
        for key, value, text in elements(part.annotations, heard):
            if key == "images":
                note_photo(photos, value, part)
            elif key == "categories":
                note_category(classes, value, part)
            elif key == "annotations":
                note_annotation(value, text, files, used, part)
                numbers.append(int(value.get("id", -1 - len(numbers))))
    check(part, photos, classes, numbers, used)
    return Contents(photos, classes, buckets, len(numbers))


def note_photo(photos: dict[int, Photo], value: Any, part: Part) -> None:
    try:
        photo = Photo(int(value["id"]), str(value["file_name"]), int(value["height"]), int(value["width"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{part.annotations}: an image lacks id, file_name, height or width: {str(value)[:80]}"
        ) from error
    if photo.number in photos:
        raise InputError(f"{part.annotations}: image id {photo.number} is there twice")
    refuse_escaping(photo.name, part.annotations)
    photos[photo.number] = photo


def refuse_escaping(name: str, path: Path) -> None:
    """Refuse a file name that would lead out of its folder."""
    for kind in (PurePosixPath(name), PureWindowsPath(name)):
        if kind.is_absolute() or kind.drive or ".." in kind.parts:
            raise InputError(f"{path}: the file name {name} leads out of the folder of images; mend the file")


def note_category(classes: dict[int, LandClass], value: Any, part: Part) -> None:
    try:
        number, name = int(value["id"]), str(value["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{part.annotations}: a category lacks id or name: {str(value)[:80]}") from error
    if number in classes:
        raise InputError(f"{part.annotations}: category id {number} is there twice")
    classes[number] = LandClass(name, COLORS[(1 + len(classes)) % len(COLORS)])


def note_annotation(value: Any, text: str, files: Sequence[TextIO], used: Counter[int], part: Part) -> None:
    try:
        image, category = int(value["image_id"]), int(value["category_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{part.annotations}: an annotation lacks image_id or category_id: {text[:80]}"
        ) from error
    used[category] += 1
    files[image % len(files)].write(text.replace("\n", " ") + "\n")


def check(
    part: Part, photos: Mapping[int, Photo], classes: Mapping[int, LandClass], numbers: array[int], used: Counter[int]
) -> None:  # fmt: skip
    """Refuse a file whose parts contradict each other."""
    if not photos:
        raise InputError(f"{part.annotations}: not a COCO file: it lists no images")
    unknown = sorted(used.keys() - classes.keys())
    if unknown:
        raise InputError(
            f"{part.annotations}: {used[unknown[0]]} annotations are of category {unknown[0]}, which it does not list"
        )
    ids, counts = np.unique(np.array(numbers, np.int64), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{part.annotations}: annotation id {ids[counts > 1][0]} is there twice")


def class_list(contents: Contents) -> list[LandClass]:
    return [BACKGROUND, *(contents.classes[number] for number in sorted(contents.classes))]


def made(part: Part, contents: Contents, wanted: CocoSet, workshop: Workshop) -> list[Item]:
    """Draw the labels of a part's images, and list them as items."""
    chosen = list(map(contents.photos.get, sorted(contents.photos)[:: wanted.every][: wanted.limit]))
    photos = {photo.number: photo for photo in chosen if photo and (part.images / photo.name).is_file()}
    refuse_repeated(map(stem, photos.values()), f"{part.annotations}: an image that would be named")
    tell_missing(part, len(chosen) - len(photos), workshop)
    values = {number: 1 + index for index, number in enumerate(sorted(contents.classes))}
    folder = workshop.folder / "labels" / part.name
    calls = [
        {
            "bucket": bucket,
            "photos": [photo for photo in photos.values() if photo.number % len(contents.buckets) == number],
            "values": values,
            "folder": folder,
        }
        for number, bucket in enumerate(contents.buckets)
    ]
    unusable = workshop.all_done("Drawing annotations", draw_bucket, calls, "parts")
    tell_unusable(part, [each for some in unusable for each in some], workshop)
    places = [f"{part.name}/{stem(photo)}".strip("/") for photo in photos.values()]
    split_of = {} if part.split else wanted.splits.of(places)
    return [
        Item(
            image=seen_from(part.images / photo.name, workshop.folder),
            label=(Path("labels") / part.name / f"{stem(photo)}.tif").as_posix(),
            place=place,
            split=part.split or split_of[place],
            gsd_m=wanted.gsd_m,
        )
        for place, photo in zip(places, photos.values(), strict=True)
    ]


def stem(photo: Photo) -> str:
    return Path(photo.name).with_suffix("").as_posix().replace("/", "_")


def tell_missing(part: Part, missing: int, workshop: Workshop) -> None:
    if missing:
        workshop.narrator.warn(f"{part.annotations}: {missing:,} images are not in {part.images}; left out")


def tell_unusable(part: Part, unusable: Sequence[str], workshop: Workshop) -> None:
    if unusable:
        workshop.narrator.warn(
            f"{part.annotations}: {len(unusable):,} annotations cannot be drawn and were left out; first: {unusable[0]}"
        )


def draw_bucket(bucket: Path, photos: Sequence[Photo], values: Mapping[int, int], folder: Path) -> list[str]:
    """Write the labels of the images whose annotations lie in a bucket; returns why some could not be drawn."""
    unusable: list[str] = []
    missing = [photo for photo in photos if not (folder / f"{stem(photo)}.tif").exists()]
    if not missing:
        return unusable
    numbers = {photo.number for photo in missing}
    shapes = defaultdict(list)
    with bucket.open(encoding="utf-8") as lines:
        for annotation in map(json.loads, lines):
            if int(annotation["image_id"]) in numbers:
                shapes[int(annotation["image_id"])].append(annotation)
    for photo in missing:
        label = drawn_label(photo, shapes[photo.number], values, unusable)
        path = folder / f"{stem(photo)}.tif"
        whole = Window(0, 0, photo.height, photo.width)
        write_label(path, Picture(path, photo.height, photo.width, 1, "uint8", None), [(whole, label)])
    return unusable


def drawn_label(
    photo: Photo, annotations: Sequence[Mapping[str, Any]], values: Mapping[int, int], unusable: list[str]
) -> NDArray[np.uint8]:
    """An image's class values: later annotations lie above earlier ones."""
    label = np.zeros((photo.height, photo.width), np.uint8)
    for annotation in annotations:
        try:
            mask = drawn(annotation.get("segmentation"), photo.height, photo.width)
            label[mask] = values[int(annotation["category_id"])]
        except InputError as error:
            unusable.append(f"annotation {annotation.get('id')}: {error}")
    return label
