"""Training sets from COCO files: images, categories and annotations in one JSON file, as crowdAI, Roboflow and CVAT write."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule, relativize_path
from geoseg.datasets.coco.labels import CategoryMapping, CocoLayerWriter, CocoMaskWriter, draw_bucket
from geoseg.datasets.coco.reader import CocoContents, CocoFile, CocoImage, read_contents
from geoseg.datasets.options import Split
from geoseg.datasets.polygons import LabelForm, add_layer_fields
from geoseg.datasets.schema import Dataset, Item, refuse_repeated
from geoseg.errors import InputError
from geoseg.io.staging import create_scratch_folder
from geoseg.progress import format_count
from geoseg.raster.palette import ClassEntry

log = logging.getLogger(__name__)

Crowds = Literal["ignore", "draw"]


@dataclass(frozen=True)
class CocoOptions:
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
    form: LabelForm = "masks"
    crowds: Crowds = "ignore"


def find_coco_files(source: Path, images: Path | None) -> list[CocoFile]:
    """The COCO files at a place: a file, or a folder with folders such as train and val."""
    if source.is_file():
        return [CocoFile(source, images or find_image_folder(source))]
    # crowdAI has a sample of its annotations beside them: annotation-small.json.
    files = sorted(path for path in source.glob("**/*.json") if not path.stem.endswith("-small"))
    if not files:
        raise InputError(
            f"{source}: expected a COCO file, or a folder with one (annotation.json beside images), found no .json"
        )
    if len(files) == 1:
        return [CocoFile(files[0], images or find_image_folder(files[0]))]
    folders = [path.parent.name for path in files]
    names = folders if len(set(folders)) == len(files) else [make_file_name(path, source) for path in files]
    return [
        CocoFile(path, images or find_image_folder(path), name, guess_split(path))
        for path, name in zip(files, names, strict=True)
    ]


def make_file_name(path: Path, source: Path) -> str:
    return "_".join(path.relative_to(source).with_suffix("").parts)


def find_image_folder(path: Path) -> Path:
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


def guess_split(path: Path) -> Split | None:
    words = f"{path.parent.name} {path.stem}".lower()
    if "test" in words:
        return "test"
    return "validation" if "val" in words else "train" if "train" in words else None


def prepare_coco(parts: Sequence[CocoFile], options: CocoOptions, builder: DatasetBuilder) -> Dataset:
    """Make a data set of COCO files, the JSON read piece by piece."""
    refuse_useless_splits(parts, options.splits)
    with builder.begin(kind="coco", parts=[part.annotations for part in parts], options=repr(options)):
        items: list[Item] = []
        classes: tuple[ClassEntry, ...] = ()
        for part in parts:
            with create_scratch_folder(builder.folder / ".spool") as folder:
                contents = read_contents(part, folder)
                if classes and contents.classes != classes:
                    raise InputError(
                        f"{part.annotations}: its categories differ from those of {parts[0].annotations}"
                    )
                classes = contents.classes
                items += make_items(part, contents, options, builder)
        if not items:
            raise InputError(
                f"{parts[0].annotations}: none of its images is in {parts[0].images}; say with `images` where they are"
            )
        dataset = Dataset(
            options.origin.name, options.origin.licence, options.origin.attribution, options.origin.source,
            options.gsd_m, options.bands, classes, tuple(items), builder.folder,
        )  # fmt: skip
        return builder.finish(dataset)


def refuse_useless_splits(parts: Sequence[CocoFile], splits: SplitRule) -> None:
    """Named places have no say where the folders name the splits."""
    named = {"validation": splits.validation, "test": splits.test}
    for option, places in named.items():
        if places and all(part.split for part in parts):
            folders = ", ".join(f"{part.name} is {part.split}" for part in parts)
            raise InputError(
                f"`{option}` {min(places)}: the folders name the splits ({folders}); leave it out"
            )


def make_items(
    part: CocoFile, contents: CocoContents, options: CocoOptions, builder: DatasetBuilder
) -> list[Item]:
    """Draw the labels of a part's images, and list them as items."""
    photos = select_images(part, contents, options)
    labels = choose_writer(part, contents, options, builder.folder)
    draw_labels(part, contents, photos, labels, options, builder)
    places = [f"{part.name}/{photo.stem}".strip("/") for photo in photos]
    split_of = {} if part.split else options.splits.of(places)
    return [
        replace(
            make_item(photo, part, labels, options, builder.folder),
            place=place,
            split=part.split or split_of[place],
        )
        for place, photo in zip(places, photos, strict=True)
    ]


def draw_labels(
    part: CocoFile,
    contents: CocoContents,
    photos: Sequence[CocoImage],
    labels: CocoMaskWriter | CocoLayerWriter,
    options: CocoOptions,
    builder: DatasetBuilder,
) -> None:
    """Write the labels of some images, one bucket of annotations after another."""
    meaning, shares = CategoryMapping(contents.values, options.crowds == "draw"), defaultdict(list)
    for photo in photos:
        shares[photo.number % len(contents.buckets)].append(photo)
    calls = [
        {"bucket": contents.buckets[number], "photos": some, "meaning": meaning, "labels": labels}
        for number, some in shares.items()
    ]
    unusable = builder.run_all("Drawing annotations", draw_bucket, calls, "parts")
    warn_about_unusable(part, [each for some in unusable for each in some])


def make_item(
    photo: CocoImage,
    part: CocoFile,
    labels: CocoMaskWriter | CocoLayerWriter,
    options: CocoOptions,
    folder: Path,
) -> Item:
    """An image and its label, both as they lie on disk."""
    made = Item(
        image=relativize_path(part.images / photo.name, folder),
        label=relativize_path(labels.path(photo), folder),
        place=photo.stem,
        gsd_m=options.gsd_m,
    )
    return add_layer_fields(made, folder) if isinstance(labels, CocoLayerWriter) else made


def select_images(part: CocoFile, contents: CocoContents, options: CocoOptions) -> list[CocoImage]:
    """The chosen images of a part that are on disk."""
    chosen = [
        contents.photos[number] for number in sorted(contents.photos)[:: options.every][: options.limit]
    ]
    photos = [photo for photo in chosen if (part.images / photo.name).is_file()]
    refuse_repeated((photo.stem for photo in photos), f"{part.annotations}: an image that would be named")
    warn_about_missing(part, len(chosen) - len(photos))
    return photos


def choose_writer(
    part: CocoFile, contents: CocoContents, options: CocoOptions, folder: Path
) -> CocoMaskWriter | CocoLayerWriter:
    """How the labels of a part are written."""
    place = folder / "labels" / part.name
    if options.form == "masks":
        return CocoMaskWriter(place)
    return CocoLayerWriter(place, part.images, [each.name for each in contents.classes], options.gsd_m)


def warn_about_missing(part: CocoFile, missing: int) -> None:
    if missing:
        log.warning(
            f"{part.annotations}: {format_count(missing, 'image')} not in {part.images}, and left out"
        )


def warn_about_unusable(part: CocoFile, unusable: Sequence[str]) -> None:
    if unusable:
        log.warning(
            f"{part.annotations}: {len(unusable):,} annotations cannot be drawn and were left out; first: {unusable[0]}"
        )
