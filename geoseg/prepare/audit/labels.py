"""Labels as the audit reads them: class values by window, whether they lie in a raster or are drawn from polygons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.prepare.classes import ClassTable
from geoseg.prepare.dataset import Dataset, Item
from geoseg.prepare.making import Origin
from geoseg.prepare.picture import SUFFIXES, Picture, opened, picture, read_window
from geoseg.prepare.polygons import ClassReader, class_reader
from geoseg.prepare.vectors import VectorSet, read_areas, read_polygons
from geoseg.raster.grid import Grid, Window, crs_name, made_up_grid

ASTRAY_PIXELS = 1.0


def is_vector(item: Item) -> bool:
    return not item.label.lower().endswith(SUFFIXES)


def check_label(dataset: Dataset, item: Item, image: Picture) -> None:
    """Refuse a label that is not made for its image."""
    if is_vector(item):
        return
    label = picture(dataset.label_path(item))
    if image.shape != label.shape:
        raise InputError(
            f"{item.label}: is {label.width} x {label.height} pixels, its image {image.width} x {image.height}"
        )
    if label.bands != 1:
        raise InputError(
            f"{item.label}: has {label.bands} bands, but a label has one, of class values; "
            "geoseg prepare masks turns colours into them"
        )
    if image.grid and label.grid:
        refuse_other_ground(item.label, image.grid, label.grid)


def refuse_other_ground(name: str, image: Grid, label: Grid) -> None:
    """A label that says it lies elsewhere belongs to another image, or one of the two has a wrong georeference."""
    if image.crs != label.crs:
        raise InputError(f"{name}: is in {crs_name(label.crs)}, its image in {crs_name(image.crs)}")
    corners = ((0, 0), (image.width, image.height))
    off = max(
        np.hypot(*(np.subtract(~image.transform @ (label.transform @ corner), corner))) for corner in corners
    )
    if off > ASTRAY_PIXELS:
        raise InputError(f"{name}: lies {off:,.1f} pixels off its image by its georeference")


def label_reader(dataset: Dataset, item: Item, image: Picture) -> ClassReader:
    """What reads the class values of an item's label in a window of its image."""
    if is_vector(item):
        return drawn_label(dataset, item, image)
    path = dataset.label_path(item)

    def read(window: Window) -> NDArray[np.uint8]:
        values: NDArray[np.uint8] = read_window(path, window)[0].astype(np.uint8)
        return values

    return read


def drawn_label(dataset: Dataset, item: Item, image: Picture) -> ClassReader:
    grid = image.grid or made_up_grid(image.shape, item.gsd_m or dataset.gsd_m)
    meanings = {each.name: value for value, each in enumerate(dataset.classes)}
    table = ClassTable(dataset.classes, meanings)
    wanted = VectorSet(Origin(dataset.name), table, dataset.bands, class_field=item.class_field)
    polygons = read_polygons(dataset.label_path(item), grid, wanted)
    areas = read_areas(dataset.folder / item.labelled, grid) if item.labelled else None
    return class_reader(grid, polygons, areas)


def palette_of(dataset: Dataset, item: Item, values: Iterable[int]) -> Mapping[int, str]:
    """The colours that a label's own colour table gives its values, if it has one."""
    path = dataset.label_path(item)
    if is_vector(item) or path.suffix == ".npy":
        return {}
    with opened(path) as label:
        try:
            palette = label.colormap(1)
        except ValueError:
            return {}
    return {value: "#{:02x}{:02x}{:02x}".format(*palette[value][:3]) for value in values if value in palette}
