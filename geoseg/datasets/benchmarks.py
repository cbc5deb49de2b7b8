"""Data sets that are known by name: Inria and SpaceNet as they are unpacked, and synthetic places with exact truth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geoseg.datasets.builder import DatasetBuilder, ImageLabelPair, Origin, SplitRule, find_pairs
from geoseg.datasets.classes import parse_class_table
from geoseg.datasets.images import read_image_info
from geoseg.datasets.masks import MaskOptions, prepare_masks
from geoseg.datasets.schema import Dataset, refuse_repeated
from geoseg.datasets.vectors import VectorOptions, prepare_vectors
from geoseg.errors import InputError
from geoseg.io.atomic import replace_files
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.scene import SyntheticScene, write_scene

APART_M = 1000.0
"""Ground between two synthetic places, so that the audit finds none that they share."""


@dataclass(frozen=True)
class SyntheticOptions:
    """How many places to draw, how large, and from which seed on."""

    origin: Origin
    splits: SplitRule
    scenes: int = 4
    size: int = 1024
    seed: int = 0
    gsd_m: float = 0.3

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.size < 1:
            raise InputError(
                f"{self.scenes} scenes of {self.size} pixels: there must be at least one of one pixel"
            )


def prepare_synthetic(options: SyntheticOptions, builder: DatasetBuilder) -> Dataset:
    """Draw the places and make a data set of them; images and truth lie in its folder."""
    folder = builder.folder / "images"
    folder.mkdir(parents=True, exist_ok=True)
    apart_m = options.size * options.gsd_m + APART_M
    calls = [
        {
            "layout": Layout(options.seed + number, options.gsd_m),
            "size": options.size,
            "photo": folder / f"place{options.seed + number:03}.tif",
            "south_m": number * apart_m,
        }
        for number in range(options.scenes)
    ]
    pairs = builder.run_all("Drawing places", draw_place, calls, "places")
    table = parse_class_table("background=,building=*")
    vectors = VectorOptions(
        options.origin, table, ("red", "green", "blue"), options.gsd_m, splits=options.splits
    )
    return prepare_vectors(pairs, vectors, builder)


def draw_place(layout: Layout, size: int, photo: Path, south_m: float) -> ImageLabelPair:
    """Draw one place and its truth, unless they are there, so far south that it shares no ground with the others."""
    truth, scene = photo.with_suffix(".truth.gpkg"), SyntheticScene(layout, size, size, south_m)
    if not (photo.exists() and truth.exists() and read_image_info(photo).grid == scene.grid):
        with replace_files(photo) as folder:
            write_scene(scene, folder / photo.name, folder / truth.name)
    return ImageLabelPair(photo.stem, photo, truth)


SPACENET_IMAGES = ("**/PS-RGB/*.tif", "**/RGB-PanSharpen/*.tif", "**/PS-RGBNIR/*.tif")
SPACENET_LABELS = ("**/geojson_buildings/*.geojson", "**/geojson/buildings/*.geojson")
SPACENET_NAME = re.compile(r"(AOI_\d+_[A-Za-z]+).*?_((?:\d+_\d+_tile_\d+)|(?:img-?\d+))$")


INRIA_LICENCE = "Inria Aerial Image Labeling terms of use (US imagery public domain; see the data set's page)"
INRIA_SOURCE = "https://project.inria.fr/aerialimagelabeling/"
INRIA_GSD_M = 0.3
INRIA_NAME = re.compile(r"[a-z]+(?:-[a-z]+)*(\d+)")
INRIA_VALIDATION_TILES = range(1, 6)


def find_spacenet_pairs(source: Path) -> list[ImageLabelPair]:
    """The images and labels below a folder, such as PS-RGB/..._AOI_2_Vegas_PS-RGB_img7.tif."""
    images, labels = (
        index_by_tile(match_first_pattern(source, SPACENET_IMAGES)),
        index_by_tile(match_first_pattern(source, SPACENET_LABELS)),
    )
    if not images or not labels:
        raise InputError(
            f"{source}: expected SpaceNet's PS-RGB/*_AOI_2_Vegas_*_img7.tif and geojson_buildings/*_img7.geojson, or "
            f"patterns, e.g. `images` '*.tif' `labels` '*.geojson'; found {describe_spacenet_folder(source)}"
        )
    lonely = sorted(labels.keys() - images.keys())
    if lonely:
        raise InputError(
            f"{labels[lonely[0]]}: has no image {lonely[0]} in PS-RGB ({len(lonely)} such labels)"
        )
    return [ImageLabelPair(name, images[name], label) for name, label in sorted(labels.items())]


def match_first_pattern(source: Path, patterns: Iterable[str]) -> list[Path]:
    return next((found for pattern in patterns if (found := sorted(source.glob(pattern)))), [])


def index_by_tile(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by their area and number, where their name tells these."""
    fits = [(SPACENET_NAME.search(path.stem), path) for path in paths]
    named = [("_".join(fit.groups()), path) for fit, path in fits if fit]
    refuse_repeated((name for name, _ in named), "SpaceNet image")
    return dict(named)


def describe_spacenet_folder(source: Path) -> str:
    return list_contents(source) if source.is_dir() else "no folder"


@dataclass(frozen=True)
class InriaOptions:
    """What is to be made of the Inria images. Without a rule for cities, the first five images of each city validate."""

    origin: Origin
    cities: SplitRule | None = None


def prepare_inria(source: Path, options: InriaOptions, builder: DatasetBuilder) -> Dataset:
    """Make a data set of the training images; the test images have no labels."""
    pairs = find_pairs(find_train_folder(source), "images/*.tif", "gt/*.tif")
    first_five = [pair.name for pair in pairs if is_validation_tile(pair.name, pair.image)]
    masks = MaskOptions(
        options.origin,
        parse_class_table("background=0,building=255"),
        ("red", "green", "blue"),
        INRIA_GSD_M,
        r"^[a-z]+(?:-[a-z]+)*" if options.cities else r"^.+$",
        options.cities or SplitRule(validation=first_five, share=0),
    )
    return prepare_masks(pairs, masks, builder)


def find_train_folder(source: Path) -> Path:
    """Where images and gt lie: at the source itself, in its train folder, or in the archive's."""
    for folder in (source, source / "train", source / "AerialImageDataset" / "train"):
        if (folder / "images").is_dir() and (folder / "gt").is_dir():
            return folder
    raise InputError(
        f"{source}: expected AerialImageDataset/train with images and gt, found {describe_inria_folder(source)}"
    )


def describe_inria_folder(source: Path) -> str:
    """What lies in a folder, and in its folder for training, if it has one."""
    if not source.is_dir():
        return "no folder"
    for folder in (source / "AerialImageDataset" / "train", source / "train"):
        if folder.is_dir():
            return f"{folder.relative_to(source).as_posix()} (which holds {list_contents(folder)})"
    return list_contents(source)


def list_contents(folder: Path) -> str:
    """The first names in a folder."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def is_validation_tile(name: str, path: Path) -> bool:
    """Whether an image, whose name tells its city and its number there, is one of the first five of its city."""
    fit = INRIA_NAME.fullmatch(name)
    if not fit:
        raise InputError(f"{path}: expected a name like austin12.tif: the city, then a number")
    return int(fit.group(1)) in INRIA_VALIDATION_TILES
