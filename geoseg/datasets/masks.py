"""Training sets from folders of images and masks, where a mask holds a value or a colour for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.builder import (
    DatasetBuilder,
    ImageLabelPair,
    Origin,
    SplitRule,
    find_places,
    flatten_name,
    is_written,
    relativize_path,
)
from geoseg.datasets.classes import ClassTable
from geoseg.datasets.images import (
    ImageInfo,
    open_image,
    read_image_info,
    read_pixels,
    read_resized,
    read_valid_mask,
    resize_info,
    write_label,
    write_resized,
)
from geoseg.datasets.schema import IGNORE, Dataset, Item
from geoseg.errors import InputError
from geoseg.raster.bands import Band, list_bands, match_bands
from geoseg.raster.grid import Window


@dataclass(frozen=True)
class MaskOptions:
    """What is to be made of pairs of images and masks. `size` (height, width) asks for smaller copies."""

    origin: Origin
    table: ClassTable
    bands: tuple[str, ...]
    gsd_m: float | None = None
    place: str | None = None
    splits: SplitRule = field(default_factory=SplitRule)
    size: tuple[int, int] | None = None

    @property
    def suffix(self) -> str:
        """What the names of labels end in."""
        return ".tif"

    def label(self, name: str) -> str:
        """Where the label of a name lies in the data set."""
        return f"labels/{flatten_name(name)}{self.suffix}"


def prepare_masks(pairs: Sequence[ImageLabelPair], options: MaskOptions, builder: DatasetBuilder) -> Dataset:
    """Make a data set of images and masks; the images stay where they are, unless another size is asked for."""
    with builder.begin(kind="masks", pairs=[pair.image for pair in pairs], options=repr(options)):
        calls = [{"pair": pair, "options": options, "folder": builder.folder} for pair in pairs]
        pictures = builder.run_all("Reading masks", convert_mask, calls)
        names = [pair.name for pair in pairs]
        dataset = assemble_dataset(names, pictures, options, builder.folder)
        return builder.finish(dataset)


def assemble_dataset(
    names: Sequence[str], pictures: Sequence[ImageInfo], options: MaskOptions, folder: Path
) -> Dataset:
    """A data set of pictures whose labels lie in the folder `labels` under the same names."""
    place_of = find_places(names, options.place)
    split_of = options.splits.of(list(place_of.values()))
    items = [
        Item(
            image=relativize_path(image.path, folder),
            label=options.label(name),
            place=place_of[name],
            split=split_of[place_of[name]],
            gsd_m=None if image.grid else image.gsd_m,
        )
        for name, image in zip(names, pictures, strict=True)
    ]
    return Dataset(
        name=options.origin.name,
        licence=options.origin.licence,
        attribution=options.origin.attribution,
        source=options.origin.source,
        gsd_m=choose_gsd(pictures, options),
        bands=options.bands,
        classes=options.table.classes,
        items=tuple(items),
        folder=folder,
    )


def choose_gsd(pictures: Sequence[ImageInfo], options: MaskOptions) -> float:
    """The resolution that was asked for, else the middle one of the images'; copies of another size have their own."""
    if options.gsd_m and not options.size:
        return options.gsd_m
    known = sorted(gsd for image in pictures if (gsd := image.gsd_m))
    if not known:
        raise InputError(f"{pictures[0].path}: does not say its resolution; say it in metres, e.g. `gsd` 0.5")
    return round(known[len(known) // 2], 4)


def convert_mask(pair: ImageLabelPair, options: MaskOptions, folder: Path) -> ImageInfo:
    """Write the label of one pair, unless it is there, and tell what its image is."""
    image, mask = inspect_pair(pair, options.bands)
    image = replace(image, stated_gsd_m=options.gsd_m)
    label = folder / options.label(pair.name)
    if options.size:
        image = copy_image(image, options, folder / "images" / f"{flatten_name(pair.name)}.tif")
    if not label.exists():
        pieces = read_resized_classes(pair, options) if options.size else read_classes(pair, mask, options)
        write_label(label, image, pieces)
    return image


def copy_image(image: ImageInfo, options: MaskOptions, path: Path) -> ImageInfo:
    """Write the image in the size that is asked for, unless that is done already, and tell what the copy is."""
    if path.exists() and path.samefile(image.path):
        raise InputError(f"`out`: a copy of {path} would lie over the image itself; choose another folder")
    assert options.size
    copy = replace(resize_info(image, options.size), path=path, bands=len(options.bands), names=())
    if not is_written(path):
        write_resized(image, select_bands(image, options.bands), copy)
    return copy


def inspect_pair(pair: ImageLabelPair, bands: Sequence[str]) -> tuple[ImageInfo, ImageInfo]:
    """An image and its mask, which must be of one size."""
    image, mask = read_image_info(pair.image), read_image_info(pair.label)
    if image.shape != mask.shape:
        raise InputError(
            f"{pair.label}: is {mask.width} x {mask.height} pixels, but its image {pair.image} "
            f"{image.width} x {image.height}; they must match"
        )
    select_bands(image, bands)
    return image, mask


def select_bands(image: ImageInfo, names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of an image's bands that training will use by some names; refused if it could not tell them."""
    if len(names) > image.bands:
        raise InputError(f"{image.path}: has {image.bands} bands, fewer than {', '.join(names)}")
    with open_image(image.path) as dataset:
        own = list_bands(dataset)
    try:
        return match_bands(own, names, str(image.path))
    except InputError as error:
        raise InputError(
            f"{image.path}: has the bands {', '.join(map(str, own))}, which are not {', '.join(names)}; {suggest_bands(own, names)}"
        ) from error


def suggest_bands(own: Sequence[Band], names: Sequence[str]) -> str:
    """What to do about bands that answer to none of some names."""
    alpha = next((band.number for band in own if band.is_alpha), None)
    if alpha and len(own) == len(names):
        return f"band {alpha} is marked as alpha; if it is none, say so: gdal_edit.py -colorinterp_{alpha} undefined FILE"
    named = ",".join(band.description or f"b{band.number}" for band in own)
    return f"name them as the file does, or all in their order, e.g. `bands` {named}"


def read_classes(
    pair: ImageLabelPair, mask: ImageInfo, options: MaskOptions
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    with open_image(pair.label) as label, open_image(pair.image) as image:
        for window in mask.windows():
            classes = classify_values(read_pixels(label, window), label, pair.label, options.table)
            classes[~read_valid_mask(image, window, len(options.bands))] = IGNORE
            yield window, classes


def read_resized_classes(
    pair: ImageLabelPair, options: MaskOptions
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    size = options.size or (0, 0)
    with open_image(pair.label) as label, open_image(pair.image) as image:
        classes = classify_values(read_resized(pair.label, size), label, pair.label, options.table)
        whole = Window(0, 0, image.height, image.width)
        classes[~read_valid_mask(image, whole, len(options.bands), size)] = IGNORE
    yield Window(0, 0, *size), classes


def classify_values(values: NDArray[Any], label: Any, path: Path, table: ClassTable) -> NDArray[np.uint8]:
    """Class values of a mask's pixels (band, row, col); what it calls nodata is ignored, unless the table names it."""
    if table.by_color:
        return table.map_colors(expand_palette(values, label, path), path)
    numbers = select_single_band(values, path)
    classes = np.full(numbers.shape, IGNORE, np.uint8)
    known = ~table.find_unknown(numbers, label.nodata)
    classes[known] = table.map_values(numbers[known], path)
    return classes


def select_single_band(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """The one band of a mask of values; bands that are all the same count as one."""
    if len(values) > 1 and not (values[:3] == values[0]).all():
        raise InputError(
            f"{path}: is a mask of colours; name a colour for each class, such as building=#ff0000"
        )
    values_only: NDArray[Any] = values[0]
    return values_only


def expand_palette(values: NDArray[np.uint8], label: Any, path: Path) -> NDArray[np.uint8]:
    """The colours of a mask, through its palette where it has one."""
    if len(values) >= 3:
        return values
    try:
        palette = label.colormap(1)
    except ValueError as error:
        raise InputError(
            f"{path}: has no colours; name a number for each class, such as building=1"
        ) from error
    table = np.array([palette.get(value, (0, 0, 0))[:3] for value in range(256)], np.uint8)
    return np.moveaxis(table[values[0]], -1, 0)
