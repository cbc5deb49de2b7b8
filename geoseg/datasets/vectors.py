"""Training sets from scenes and polygons of buildings: OpenStreetMap, Microsoft, Google, Overture, SpaceNet and the like."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.datasets.builder import DatasetBuilder, ImageLabelPair
from geoseg.datasets.images import ImageInfo, open_image, read_image_info, read_valid_mask, write_label
from geoseg.datasets.masks import MaskOptions, assemble_dataset, select_bands
from geoseg.datasets.polygons import (
    LAYER_SUFFIX,
    ClassReader,
    LabelForm,
    LabelPolygons,
    add_layer_fields,
    make_class_reader,
    repair_polygons,
    write_polygon_label,
)
from geoseg.datasets.schema import IGNORE, Dataset, choose_unnamed_class
from geoseg.errors import InputError
from geoseg.footprints.polygons import POLYGONAL
from geoseg.footprints.vector_files import VectorFile, open_vector_file
from geoseg.io.staging import create_scratch_folder
from geoseg.progress import track
from geoseg.raster.grid import Grid, Window

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VectorOptions(MaskOptions):
    """What is to be made of pairs of scenes and polygons.

    `class_field` holds the words that the class table knows, and polygons in which it is empty are left out; without
    it every polygon is of the class behind the background. Outside the polygons of `labelled` nothing is known, inside them what no
    polygon covers is background. `form` says whether labels are rasters or layers of the polygons themselves.
    """

    class_field: str | None = None
    labelled: Path | None = None
    form: LabelForm = "vectors"

    @property
    def suffix(self) -> str:
        return LAYER_SUFFIX if self.form == "vectors" else super().suffix

    @property
    def columns(self) -> list[str]:
        """The fields to read."""
        return [self.class_field] if self.class_field else []


@dataclass(frozen=True)
class PolygonSelection:
    """The polygons near a grid, and how those of the file fared."""

    polygons: LabelPolygons
    read: int
    mended: int
    unnamed: int


@dataclass(frozen=True)
class VectorLabelSummary:
    """A label drawn from polygons, and how many of a file of its own lie beside it."""

    image: ImageInfo
    polygons: int
    outside: int
    mended: int
    unnamed: int


def prepare_vectors(
    pairs: Sequence[ImageLabelPair], options: VectorOptions, builder: DatasetBuilder
) -> Dataset:
    """Make a data set of scenes and polygons: the polygons are drawn on each scene's own pixels."""
    with builder.begin(kind="vectors", pairs=[pair.image for pair in pairs], options=repr(options)):
        with create_scratch_folder(builder.folder / ".spool") as spool:
            shared = open_shared_files(pairs, options, spool)
            calls = [
                {"pair": pair, "options": options, "folder": builder.folder, "shared": shared.get(pair.label)}
                for pair in pairs
            ]
            drawings = builder.run_all("Drawing polygons", convert_polygons, calls)
        report_polygons(drawings)
        names = [pair.name for pair in pairs]
        dataset = assemble_dataset(names, [each.image for each in drawings], options, builder.folder)
        return builder.finish(use_layer_labels(dataset) if options.form == "vectors" else dataset)


def use_layer_labels(dataset: Dataset) -> Dataset:
    """The data set whose labels are layers instead of masks."""
    return replace(dataset, items=tuple(add_layer_fields(item, dataset.folder) for item in dataset.items))


def open_shared_files(
    pairs: Sequence[ImageLabelPair], options: VectorOptions, spool: Path
) -> Mapping[Path, VectorFile]:
    """The label files of more than one scene. Those that do not find by place are read once, instead of for each."""
    counts = Counter(pair.label for pair in pairs)
    files = {path: open_vector_file(path) for path, count in counts.items() if count > 1}
    slow = [path for path, file in files.items() if not file.indexed]
    with track("Sorting polygons by place", len(slow), "files") as done:
        for number, path in enumerate(slow):
            grids = [read_image_grid(pair)[1] for pair in pairs if pair.label == path]
            files[path] = files[path].copy_near(grids, options.columns, spool / f"{number}.gpkg")
            done(1)
    return files


def report_polygons(drawings: Sequence[VectorLabelSummary]) -> None:
    polygons, outside = sum(each.polygons for each in drawings), sum(each.outside for each in drawings)
    mended, unnamed = sum(each.mended for each in drawings), sum(each.unnamed for each in drawings)
    log.info(f"{polygons:,} polygons drawn")
    if outside:
        log.warning(f"{outside:,} polygons lie outside their image and were left out")
    if mended:
        log.warning(f"{mended:,} polygons cross themselves and were mended")
    if unnamed:
        log.warning(f"{unnamed:,} polygons do not say their class and were left out")
    if not polygons:
        log.warning("no polygon lies on any image; do both say the right CRS?")


def convert_polygons(
    pair: ImageLabelPair, options: VectorOptions, folder: Path, shared: VectorFile | None
) -> VectorLabelSummary:
    """Write the label of one scene, unless it is there, and tell how its polygons fared."""
    image, grid = read_image_grid(pair)
    select_bands(image, options.bands)
    file = shared or open_vector_file(pair.label)
    near = select_polygons(file, grid, options)
    polygons = near.polygons.select_touching(grid)
    label = folder / options.label(pair.name)
    if not label.exists():
        write_vector_label(label, image, grid, polygons, options)
    known = file.count if file.count is not None and not shared else None
    outside = 0 if known is None else known - near.read + len(near.polygons) - len(polygons)
    return VectorLabelSummary(image, len(polygons), outside, near.mended, near.unnamed)


def write_vector_label(
    label: Path, image: ImageInfo, grid: Grid, polygons: LabelPolygons, options: VectorOptions
) -> None:
    """Write a label in the form that is wanted."""
    areas = read_areas(options.labelled, grid) if options.labelled else None
    if options.form == "vectors":
        write_polygon_label(label, polygons, [each.name for each in options.table.classes], grid, areas)
    else:
        write_label(
            label, image, draw_windows(image, make_class_reader(grid, polygons, areas), len(options.bands))
        )


def read_image_grid(pair: ImageLabelPair) -> tuple[ImageInfo, Grid]:
    image = read_image_info(pair.image)
    if image.grid is None:
        raise InputError(f"{pair.image}: has no place on Earth, so polygons cannot be drawn on it; use masks")
    return image, image.grid


def read_polygons(path: Path, grid: Grid, options: VectorOptions) -> LabelPolygons:
    """The polygons of a vector file near a grid, in its CRS, valid, with their class values."""
    return select_polygons(open_vector_file(path), grid, options).polygons


def select_polygons(file: VectorFile, grid: Grid, options: VectorOptions) -> PolygonSelection:
    layer = file.near(grid, options.columns)
    shapes = layer.geometry.to_numpy()
    drawable = np.isin(shapely.get_type_id(shapes), POLYGONAL) & ~shapely.is_empty(shapes)
    named = drawable & layer[options.class_field].notna().to_numpy() if options.class_field else drawable
    crossed = ~shapely.is_valid(shapes[named])
    mended = repair_polygons(shapes[named])
    if options.class_field:
        values = options.table.map_words(layer[options.class_field].to_numpy()[named], file.name)
    else:
        values = np.full(len(mended), choose_unnamed_class(options.table.classes), np.uint8)
    there = ~shapely.is_empty(mended)
    polygons = LabelPolygons.stack(mended[there], values[there])
    return PolygonSelection(
        polygons, len(layer), int((crossed & there).sum()), int((drawable & ~named).sum())
    )


def read_areas(path: Path, grid: Grid) -> LabelPolygons:
    """The polygons near a grid within which everything is labelled."""
    shapes = repair_polygons(open_vector_file(path).near(grid, []).geometry.to_numpy())
    there = shapes[~shapely.is_empty(shapes)]
    return LabelPolygons(there, np.ones(len(there), np.uint8))


def draw_windows(
    image: ImageInfo, read: ClassReader, bands: int
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """The classes of an image's windows; what the image does not show has none."""
    with open_image(image.path) as dataset:
        for window in image.windows():
            values = read(window)
            values[~read_valid_mask(dataset, window, bands)] = IGNORE
            yield window, values
