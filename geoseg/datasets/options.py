"""What can be asked of `prepare`, for each kind of source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.options import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    BELOW_ONE,
    INPUTS,
    LABELS,
    OUTPUTS,
    PLACES,
    RESOURCES,
    ZERO_OR_MORE,
    Options,
    define_option,
)

RGB = "red,green,blue"

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(Options):
    """What every data set is asked for."""

    name: str | None = define_option(
        None, "What the data set is called.  [default: the folder's name]", group=OUTPUTS
    )
    licence: str | None = define_option(
        None, "Licence of images and labels; goes into dataset.toml.", group=OUTPUTS
    )
    attribution: str | None = define_option(
        None, "Whom users of the data must name; goes into dataset.toml.", group=OUTPUTS
    )
    origin: str | None = define_option(
        None, "Where the data come from: a DOI or an address.", group=OUTPUTS, flags=("--source",)
    )
    overwrite: bool = define_option(False, "Replace the data set that is there.", group=OUTPUTS)
    validation: tuple[str, ...] = define_option(
        (), "A place to validate on; once for each.", group=PLACES, metavar="PLACE"
    )
    test: tuple[str, ...] = define_option(
        (), "A place to keep for the test split; once for each.", group=PLACES, metavar="PLACE"
    )
    validation_share: float = define_option(
        0.2, "Share of the places to validate on, where --validation names none.", BELOW_ONE, group=PLACES
    )
    workers: int | None = define_option(
        None,
        "Worker processes.  [default: one for each processor]",
        ZERO_OR_MORE,
        group=RESOURCES,
        metavar="N",
    )


@dataclass(frozen=True, kw_only=True)
class ImageOptions(DatasetOptions):
    """What is asked of images that lie in files of their own."""

    images: str | None = define_option(
        None, "Images below SOURCE, e.g. 'img/*.tif'.", group=INPUTS, metavar="PATTERN"
    )
    labels: str | None = define_option(
        None,
        "Labels below SOURCE, e.g. 'mask/*.png'; * stands for the part of the name that image and label share.",
        group=INPUTS,
        metavar="PATTERN",
    )
    bands: str = define_option(RGB, "Names of the bands, in order.", group=LABELS)
    gsd: float | None = define_option(
        None, "Metres per pixel to train at.  [default: that of the images]", ABOVE_ZERO, group=LABELS
    )
    place: str | None = define_option(
        None, "Finds the place in a file's name, e.g. 'tile\\d+'.", group=PLACES, metavar="REGEX"
    )


@dataclass(frozen=True, kw_only=True)
class MaskSetOptions(ImageOptions):
    """What can be asked of `prepare masks`."""

    classes: str = define_option(
        "building",
        "NAME=LABELS,... such as land=0,roof=1 2,ignore=255 or roof=#ff0000; a .csv file; or dubai, massachusetts, "
        "building.",
        group=LABELS,
    )
    size: str | None = define_option(
        None,
        "Make copies of this size.  [default: use the files as they are]",
        group=LABELS,
        metavar="WIDTHxHEIGHT",
    )


@dataclass(frozen=True, kw_only=True)
class VectorSetOptions(ImageOptions):
    """What can be asked of `prepare vectors`."""

    footprints: str | None = define_option(
        None,
        "One file of polygons for all images, instead of --labels.",
        group=INPUTS,
        metavar="FILE[:LAYER]",
    )
    class_field: str | None = define_option(
        None, "Field of the polygons that holds their class.", group=LABELS, metavar="FIELD"
    )
    classes: str = define_option(
        "background=,building=*",
        "NAME=WORDS,... what the class field holds for each class; the first is background.",
        group=LABELS,
    )
    labelled: Path | None = define_option(
        None,
        "Polygons within which every building is drawn; outside is ignored.",
        group=INPUTS,
        metavar="FILE",
    )
    form: Literal["masks", "vectors"] = define_option(
        "vectors",
        "Labels as rasters, or as polygons (FlatGeobuf) with the field class.",
        group=OUTPUTS,
        flags=("--as",),
    )


@dataclass(frozen=True, kw_only=True)
class CocoSetOptions(DatasetOptions):
    """What can be asked of `prepare coco`."""

    images: Path | None = define_option(
        None,
        "Folder of the images.  [default: images beside the JSON file]",
        group=INPUTS,
        metavar="FOLDER",
    )
    bands: str = define_option(RGB, "Names of the bands, in order.", group=LABELS)
    gsd: float | None = define_option(
        None, "Metres per pixel, e.g. 0.3 for crowdAI; must be given.", ABOVE_ZERO, group=LABELS
    )
    limit: int | None = define_option(
        None, "Take N images of each file at most.", AT_LEAST_ONE, group=INPUTS, metavar="N"
    )
    every: int = define_option(1, "Take every Nth image.", AT_LEAST_ONE, group=INPUTS, metavar="N")
    form: Literal["masks", "vectors"] = define_option(
        "masks",
        "Labels as rasters, or as polygons (FlatGeobuf) with the field class.",
        group=OUTPUTS,
        flags=("--as",),
    )
    crowds: Literal["ignore", "draw"] = define_option(
        "ignore",
        "Whether regions marked iscrowd are left out of training or drawn as their category.",
        group=LABELS,
    )


@dataclass(frozen=True, kw_only=True)
class InriaSetOptions(DatasetOptions):
    """What can be asked of `prepare inria`."""

    by_city: bool = define_option(
        False, "Validate on whole cities, as --validation or --validation-share says.", group=PLACES
    )


@dataclass(frozen=True, kw_only=True)
class CvatSetOptions(DatasetOptions):
    """What can be asked of `prepare cvat`."""

    bands: str = define_option(RGB, "Names of the bands, in order.", group=LABELS)
    gsd: float | None = define_option(
        None, "Metres per pixel to train at; must be given.", ABOVE_ZERO, group=LABELS
    )
    attribute: str | None = define_option(
        None,
        "Attribute whose value is a shape's class.  [default: its label]",
        group=LABELS,
        metavar="NAME",
    )


@dataclass(frozen=True, kw_only=True)
class SentinelSetOptions(ImageOptions):
    """What can be asked of `prepare sentinel-esm`."""

    label_tiles: str | None = define_option(
        None,
        "A label raster, a folder or a pattern of its tiles for all images, instead of --labels.",
        group=INPUTS,
        metavar="PATH",
    )
    classes: str = define_option(
        "esm",
        "What the label's values mean: esm, esm-built, ghsl (square metres of each 100), ghsl-class, worldcover, wsf, a "
        ".csv file, or NAME=VALUES,...",
        group=LABELS,
    )
    threshold: float = define_option(
        0.5, "Fraction of a pixel from which it is of a class other than the first.", group=LABELS
    )
    cloud: str | None = define_option(
        None,
        "Where clouds are marked: rasters below SOURCE, e.g. 'scl/*.tif', or the name of a band.  [default: the band SCL, where "
        "there is one]",
        group=INPUTS,
        metavar="WHERE",
    )
    cloud_values: str = define_option(
        "0 1 3 8 9 10 11", "Values of --cloud that hide the ground; by default those of SCL.", group=LABELS
    )
    reflectance: str | None = define_option(
        None,
        "Reflectance = SCALE x value + OFFSET, e.g. 0.0001,-0.1.  [default: as each file says]",
        group=LABELS,
        metavar="SCALE,OFFSET",
    )


@dataclass(frozen=True, kw_only=True)
class ExportSetOptions(DatasetOptions):
    """What can be asked of `prepare export`."""

    side: int = define_option(
        512, "Side of the pieces that layers are cut into, in pixels.", AT_LEAST_ONE, group=LABELS
    )


@dataclass(frozen=True, kw_only=True)
class SyntheticSetOptions(DatasetOptions):
    """What can be asked of `prepare demo`."""

    scenes: int = define_option(4, "How many places.", AT_LEAST_ONE, group=INPUTS)
    size: int = define_option(1024, "Pixels along a side.", AT_LEAST_ONE, group=INPUTS)
    seed: int = define_option(0, "The first place; the others follow.", group=INPUTS)
    gsd: float = define_option(0.3, "Metres per pixel.", ABOVE_ZERO, group=INPUTS)


KINDS: Mapping[str, type[DatasetOptions]] = {
    "masks": MaskSetOptions,
    "vectors": VectorSetOptions,
    "coco": CocoSetOptions,
    "inria": InriaSetOptions,
    "cvat": CvatSetOptions,
    "sentinel-esm": SentinelSetOptions,
    "export": ExportSetOptions,
    "demo": SyntheticSetOptions,
}
"""What a source can be, and what is asked of it."""
