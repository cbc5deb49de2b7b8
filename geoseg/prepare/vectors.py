"""Scenes with polygons of buildings: SpaceNet, OpenStreetMap, Microsoft, Google, Overture and the like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.prepare.dataset import IGNORE, Dataset
from geoseg.prepare.making import Workshop, scratch
from geoseg.prepare.masks import MaskSet, bands_to_use, labelled_pictures
from geoseg.prepare.outlines import SUFFIX, Form, with_outlines, write_outlines
from geoseg.prepare.pairs import Pair
from geoseg.prepare.picture import Picture, known_pixels, opened, picture, write_label
from geoseg.prepare.polygons import ClassReader, Polygons, class_reader, valid
from geoseg.prepare.vector_files import VectorFile, open_vectors
from geoseg.raster.grid import Grid, Window


@dataclass(frozen=True)
class VectorSet(MaskSet):
    """What is to be made of pairs of scenes and polygons.

    `class_field` holds the words that the class table knows, and polygons in which it is empty are left out; without
    it every polygon is of the last class. Outside the polygons of `labelled` nothing is known, inside them what no
    polygon covers is background. `form` says whether labels are rasters or layers of the polygons themselves.
    """

    class_field: str | None = None
    labelled: Path | None = None
    form: Form = "vectors"

    @property
    def suffix(self) -> str:
        return SUFFIX if self.form == "vectors" else super().suffix

    @property
    def columns(self) -> list[str]:
        """The fields to read."""
        return [self.class_field] if self.class_field else []


@dataclass(frozen=True)
class Reading:
    """The polygons near a grid, and how those of the file fared."""

    polygons: Polygons
    read: int
    mended: int
    unnamed: int


@dataclass(frozen=True)
class Drawing:
    """A label drawn from polygons, and how many of a file of its own lie beside it."""

    image: Picture
    polygons: int
    outside: int
    mended: int
    unnamed: int


def prepare_vectors(pairs: Sequence[Pair], wanted: VectorSet, workshop: Workshop) -> Dataset:
    """Make a data set of scenes and polygons: the polygons are drawn on each scene's own pixels."""
    with workshop.recipe(kind="vectors", pairs=[pair.image for pair in pairs], wanted=repr(wanted)):
        with scratch(workshop.folder / ".spool") as spool:
            shared = shared_files(pairs, wanted, spool, workshop)
            calls = [
                {"pair": pair, "wanted": wanted, "folder": workshop.folder, "shared": shared.get(pair.label)}
                for pair in pairs
            ]
            drawings = workshop.all_done("Drawing polygons", drawn, calls)
        tell(drawings, workshop)
        names = [pair.name for pair in pairs]
        dataset = labelled_pictures(names, [each.image for each in drawings], wanted, workshop.folder)
        return workshop.finish(outlined(dataset) if wanted.form == "vectors" else dataset)


def outlined(dataset: Dataset) -> Dataset:
    """The data set whose labels are layers instead of masks."""
    return replace(dataset, items=tuple(with_outlines(item, dataset.folder) for item in dataset.items))


def shared_files(
    pairs: Sequence[Pair], wanted: VectorSet, spool: Path, workshop: Workshop
) -> Mapping[Path, VectorFile]:
    """The label files of more than one scene. Those that do not find by place are read once, instead of for each."""
    counts = Counter(pair.label for pair in pairs)
    files = {path: open_vectors(path) for path, count in counts.items() if count > 1}
    slow = [path for path, file in files.items() if not file.indexed]
    with workshop.narrator.task("Sorting polygons by place", len(slow), "files") as done:
        for number, path in enumerate(slow):
            grids = [placed(pair)[1] for pair in pairs if pair.label == path]
            files[path] = files[path].indexed_near(grids, wanted.columns, spool / f"{number}.gpkg")
            done(1)
    return files


def tell(drawings: Sequence[Drawing], workshop: Workshop) -> None:
    polygons, outside = sum(each.polygons for each in drawings), sum(each.outside for each in drawings)
    mended, unnamed = sum(each.mended for each in drawings), sum(each.unnamed for each in drawings)
    workshop.narrator.say(f"{polygons:,} polygons drawn")
    if outside:
        workshop.narrator.warn(f"{outside:,} polygons lie outside their image and were left out")
    if mended:
        workshop.narrator.warn(f"{mended:,} polygons cross themselves and were mended")
    if unnamed:
        workshop.narrator.warn(f"{unnamed:,} polygons do not say their class and were left out")
    if not polygons:
        workshop.narrator.warn("no polygon lies on any image; do both say the right CRS?")


def drawn(pair: Pair, wanted: VectorSet, folder: Path, shared: VectorFile | None) -> Drawing:
    """Write the label of one scene, unless it is there, and tell how its polygons fared."""
    image, grid = placed(pair)
    bands_to_use(image, wanted.bands)
    file = shared or open_vectors(pair.label)
    near = polygons_of(file, grid, wanted)
    polygons = near.polygons.on(grid)
    label = folder / wanted.label(pair.name)
    if not label.exists():
        write(label, image, grid, polygons, wanted)
    known = file.count if file.count is not None and not shared else None
    outside = 0 if known is None else known - near.read + len(near.polygons) - len(polygons)
    return Drawing(image, len(polygons), outside, near.mended, near.unnamed)


def write(label: Path, image: Picture, grid: Grid, polygons: Polygons, wanted: VectorSet) -> None:
    """Write a label in the form that is wanted."""
    areas = read_areas(wanted.labelled, grid) if wanted.labelled else None
    if wanted.form == "vectors":
        write_outlines(label, polygons, [each.name for each in wanted.table.classes], grid, areas)
    else:
        write_label(label, image, class_values(image, class_reader(grid, polygons, areas), len(wanted.bands)))


def placed(pair: Pair) -> tuple[Picture, Grid]:
    image = picture(pair.image)
    if image.grid is None:
        raise InputError(f"{pair.image}: has no place on Earth, so polygons cannot be drawn on it; use masks")
    return image, image.grid


def read_polygons(path: Path, grid: Grid, wanted: VectorSet) -> Polygons:
    """The polygons of a vector file near a grid, in its CRS, valid, with their class values."""
    return polygons_of(open_vectors(path), grid, wanted).polygons


def polygons_of(file: VectorFile, grid: Grid, wanted: VectorSet) -> Reading:
    layer = file.near(grid, wanted.columns)
    shapes = layer.geometry.to_numpy()
    drawable = np.isin(shapely.get_type_id(shapes), (3, 6)) & ~shapely.is_empty(shapes)
    named = drawable & layer[wanted.class_field].notna().to_numpy() if wanted.class_field else drawable
    crossed = ~shapely.is_valid(shapes[named])
    mended = valid(shapes[named])
    if wanted.class_field:
        values = wanted.table.of_words(layer[wanted.class_field].to_numpy()[named], file.name)
    else:
        values = np.full(len(mended), len(wanted.table.classes) - 1, np.uint8)
    there = ~shapely.is_empty(mended)
    polygons = Polygons.drawn_in_order(mended[there], values[there])
    return Reading(polygons, len(layer), int((crossed & there).sum()), int((drawable & ~named).sum()))


def read_areas(path: Path, grid: Grid) -> Polygons:
    """The polygons near a grid within which everything is labelled."""
    shapes = valid(open_vectors(path).near(grid, []).geometry.to_numpy())
    there = shapes[~shapely.is_empty(shapes)]
    return Polygons(there, np.ones(len(there), np.uint8))


def class_values(image: Picture, read: ClassReader, bands: int) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """The classes of an image's windows; what the image does not show has none."""
    with opened(image.path) as dataset:
        for window in image.windows():
            values = read(window)
            values[~known_pixels(dataset, window, bands)] = IGNORE
            yield window, values
