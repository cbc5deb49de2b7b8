"""COCO files: images, categories and annotations in one JSON file, as crowdAI, Roboflow, CVAT and many others write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from geoseg.errors import InputError
from geoseg.landclass import LandClass
from geoseg.prepare.coco.contents import Contents, Part, Photo, read
from geoseg.prepare.coco.drawing import Layers, Masks, Meaning, draw_bucket
from geoseg.prepare.dataset import Dataset, Item, Split, refuse_repeated
from geoseg.prepare.making import Origin, Workshop, scratch, seen_from
from geoseg.prepare.outlines import Form, with_outlines
from geoseg.prepare.splits import SplitRule

Crowds = Literal["ignore", "draw"]


@dataclass(frozen=True)
class CocoSet:
    """What is to be made of COCO files. `every` and `limit` take a part of the images.

    Crowds (`iscrowd`) are regions in which nobody drew the single buildings; scores leave them out, and so does
    training, unless they are to be drawn as their category.
    """

    origin: Origin
    gsd_m: float
    bands: tuple[str, ...] = ("red", "green", "blue")
    splits: SplitRule = field(default_factory=SplitRule)
    limit: int | None = None
    every: int = 1
    form: Form = "masks"
    crowds: Crowds = "ignore"


def find_parts(source: Path, images: Path | None) -> list[Part]:
    """The COCO files at a place: a file, or a folder with folders such as train and val."""
    if source.is_file():
        return [Part(source, images or beside(source))]
    files = sorted(path for path in source.glob("**/*.json") if not path.stem.endswith("-small"))
    if not files:
        raise InputError(
            f"{source}: expected a COCO file, or a folder with one (annotation.json beside images), found no .json"
        )
    if len(files) == 1:
        return [Part(files[0], images or beside(files[0]))]
    folders = [path.parent.name for path in files]
    names = folders if len(set(folders)) == len(files) else [flat_name(path, source) for path in files]
    return [
        Part(path, images or beside(path), name, split_named(path))
        for path, name in zip(files, names, strict=True)
    ]


def flat_name(path: Path, source: Path) -> str:
    return "_".join(path.relative_to(source).with_suffix("").parts)


def beside(path: Path) -> Path:
    """Where the images of a COCO file usually lie."""
    for folder in (
        path.parent / "images",
        path.parent.parent / "images" / path.stem,
        path.parent.parent / "images" / path.stem.removeprefix("instances_"),
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
        classes: tuple[LandClass, ...] = ()
        for part in parts:
            with scratch(workshop.folder / ".spool") as folder:
                contents = read(part, folder, workshop)
                if classes and contents.classes != classes:
                    raise InputError(
                        f"{part.annotations}: its categories differ from those of {parts[0].annotations}"
                    )
                classes = contents.classes
                items += made(part, contents, wanted, workshop)
        dataset = Dataset(
            wanted.origin.name, wanted.origin.licence, wanted.origin.attribution, wanted.origin.source,
            wanted.gsd_m, wanted.bands, classes, tuple(items), workshop.folder,
        )  # fmt: skip
        return workshop.finish(dataset)


def made(part: Part, contents: Contents, wanted: CocoSet, workshop: Workshop) -> list[Item]:
    """Draw the labels of a part's images, and list them as items."""
    photos = present(part, contents, wanted, workshop)
    labels = labels_of(part, contents, wanted, workshop.folder)
    draw(part, contents, photos, labels, wanted, workshop)
    places = [f"{part.name}/{photo.stem}".strip("/") for photo in photos]
    split_of = {} if part.split else wanted.splits.of(places)
    return [
        replace(
            item(photo, part, labels, wanted, workshop.folder),
            place=place,
            split=part.split or split_of[place],
        )
        for place, photo in zip(places, photos, strict=True)
    ]


def draw(
    part: Part, contents: Contents, photos: Sequence[Photo], labels: Masks | Layers, wanted: CocoSet, workshop: Workshop
) -> None:  # fmt: skip
    """Write the labels of some images, one bucket of annotations after another."""
    meaning, shares = Meaning(contents.values, wanted.crowds == "draw"), defaultdict(list)
    for photo in photos:
        shares[photo.number % len(contents.buckets)].append(photo)
    calls = [
        {"bucket": contents.buckets[number], "photos": some, "meaning": meaning, "labels": labels}
        for number, some in shares.items()
    ]
    unusable = workshop.all_done("Drawing annotations", draw_bucket, calls, "parts")
    tell_unusable(part, [each for some in unusable for each in some], workshop)


def item(photo: Photo, part: Part, labels: Masks | Layers, wanted: CocoSet, folder: Path) -> Item:
    """An image and its label, both as they lie on disk."""
    made = Item(
        image=seen_from(part.images / photo.name, folder),
        label=seen_from(labels.path(photo), folder),
        place=photo.stem,
        gsd_m=wanted.gsd_m,
    )
    return with_outlines(made, folder) if isinstance(labels, Layers) else made


def present(part: Part, contents: Contents, wanted: CocoSet, workshop: Workshop) -> list[Photo]:
    """The chosen images of a part that are on disk."""
    chosen = [contents.photos[number] for number in sorted(contents.photos)[:: wanted.every][: wanted.limit]]
    photos = [photo for photo in chosen if (part.images / photo.name).is_file()]
    refuse_repeated((photo.stem for photo in photos), f"{part.annotations}: an image that would be named")
    tell_missing(part, len(chosen) - len(photos), workshop)
    return photos


def labels_of(part: Part, contents: Contents, wanted: CocoSet, folder: Path) -> Masks | Layers:
    """How the labels of a part are written."""
    place = folder / "labels" / part.name
    if wanted.form == "masks":
        return Masks(place)
    return Layers(place, part.images, [each.name for each in contents.classes], wanted.gsd_m)


def tell_missing(part: Part, missing: int, workshop: Workshop) -> None:
    if missing:
        workshop.narrator.warn(f"{part.annotations}: {missing:,} images are not in {part.images}; left out")


def tell_unusable(part: Part, unusable: Sequence[str], workshop: Workshop) -> None:
    if unusable:
        workshop.narrator.warn(
            f"{part.annotations}: {len(unusable):,} annotations cannot be drawn and were left out; first: {unusable[0]}"
        )
