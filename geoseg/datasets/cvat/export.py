"""Exports pieces of a scene where the model is least sure, with its footprints as shapes to correct in CVAT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.datasets.builder import Origin
from geoseg.datasets.classes import BACKGROUND, IGNORE_NAME, parse_class_table
from geoseg.datasets.images import ImageInfo, read_image_info, read_window, stretch_colors, write_raster
from geoseg.datasets.polygons import outline_grid
from geoseg.datasets.reading.images import find_source_window
from geoseg.datasets.reading.labels import refuse_other_ground
from geoseg.datasets.vectors import VectorOptions, read_polygons
from geoseg.errors import InputError
from geoseg.footprints.polygons import apply_affine
from geoseg.io.access import check_writable
from geoseg.io.atomic import replace_text
from geoseg.progress import track
from geoseg.raster.coding import PROBABILITY_STEP, PROBABILITY_STEPS
from geoseg.raster.grid import Grid, Window

UNSURE = 0.25
"""A pixel is doubtful whose probability is nearer to one half than to 0 or 1."""


@dataclass(frozen=True)
class CvatExportOptions:
    """How many pieces to write, and how large. `probability` is what the model wrote beside its mask."""

    count: int = 20
    size: int = 512
    probability: Path | None = None
    label: str = "building"


def export_tiles(scene: Path, footprints: Path, out: Path, options: CvatExportOptions) -> int:
    """Write images and annotations.xml into a folder, ready for CVAT; returns how many shapes there are."""
    image = read_image_info(scene)
    if image.grid is None:
        raise InputError(f"{scene}: has no place on Earth, so footprints cannot be laid over it")
    (out / "images").mkdir(parents=True, exist_ok=True)
    check_writable(out / "annotations.xml")
    table = parse_class_table(f"background=,{options.label}=*")
    shapes = read_polygons(footprints, image.grid, VectorOptions(Origin(""), table, ("",))).shapes
    windows = choose_windows(image, image.grid, shapes, options)
    tree, count, parts = shapely.STRtree(shapes), 0, []
    with track("Writing pieces", len(windows), "pieces") as done:
        for number, window in enumerate(windows):
            name = f"{scene.stem}_r{window.row}_c{window.col}.tif"
            write_piece(image, image.grid, window, out / "images" / name)
            near = shapes[
                np.sort(tree.query(outline_grid(image.grid.window(window)), predicate="intersects"))
            ]
            polygons = list(cut_polygons(near, image.grid, window, options.label))
            parts.append(format_image(number, name, window, polygons))
            count += len(polygons)
            done(1)
    replace_text(out / "annotations.xml", format_annotations(parts, options.label))
    return count


def choose_windows(
    image: ImageInfo, grid: Grid, shapes: NDArray[np.object_], options: CvatExportOptions
) -> list[Window]:
    """The windows where the model is least sure; without its probability, those with the most footprints."""
    windows = [
        each for each in image.windows(options.size) if min(each.height, each.width) * 2 >= options.size
    ]
    windows = windows or list(image.windows(options.size))
    scores = (
        measure_doubt(options.probability, grid, windows)
        if options.probability
        else count_shapes(shapes, grid, windows)
    )
    order = np.argsort(-scores, kind="stable")[: options.count]
    return [windows[index] for index in sorted(order.tolist())]


def measure_doubt(path: Path, grid: Grid, windows: Sequence[Window]) -> NDArray[np.float64]:
    """The share of doubtful pixels in each window, at the probability's own resolution."""
    probability = read_image_info(path)
    if probability.dtype != "uint8":
        raise InputError(
            f"{path}: holds {probability.dtype}, not bytes; give the probability that geoseg infer wrote for this scene"
        )
    if probability.grid is None:
        raise InputError(f"{path}: has no place on Earth; give the probability that geoseg infer wrote")
    refuse_other_ground(path, probability.grid, grid)
    scores = []
    for window in windows:
        own = Window.from_slices(*find_source_window(window, probability.shape, grid.shape))
        values = read_window(path, own)[0]
        unsure = np.abs(values * PROBABILITY_STEP - 0.5) < UNSURE
        scores.append(float((unsure & (values <= PROBABILITY_STEPS)).mean()))
    return np.array(scores)


def count_shapes(shapes: NDArray[np.object_], grid: Grid, windows: Sequence[Window]) -> NDArray[np.float64]:
    tree = shapely.STRtree(shapes)
    return np.array([float(len(tree.query(outline_grid(grid.window(window))))) for window in windows])


def write_piece(image: ImageInfo, grid: Grid, window: Window, path: Path) -> None:
    """One piece as an image that CVAT shows and that still knows its place on Earth."""
    place = grid.window(window)
    values = read_window(image.path, window)[:3]
    shown = (
        values
        if image.dtype == "uint8"
        else np.moveaxis(stretch_colors(values) * 255, -1, 0).astype(np.uint8)
    )
    piece = ImageInfo(path, window.height, window.width, len(shown), "uint8", place)
    write_raster(path, piece, len(shown), "uint8", [(Window(0, 0, window.height, window.width), shown)])


def cut_polygons(
    shapes: NDArray[np.object_], grid: Grid, window: Window, label: str
) -> Iterator[tuple[str, int, NDArray[np.float64]]]:
    """Outlines in the piece's own pixels, cut at its edges: label, z-order and corners.

    CVAT's polygons have no holes, so a courtyard is a polygon of background that lies above its building.
    """
    moved = apply_affine(shapes, ~grid.window(window).transform)
    inside = shapely.intersection(moved, shapely.box(0, 0, window.width, window.height))
    parts = shapely.get_parts(inside)
    for part in parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]:
        yield label, 0, np.asarray(part.exterior.coords)[:-1]
        for courtyard in part.interiors:
            yield BACKGROUND.name, 1, np.asarray(courtyard.coords)[:-1]


def format_image(
    number: int, name: str, window: Window, polygons: Sequence[tuple[str, int, NDArray[np.float64]]]
) -> str:
    shapes = "\n".join(
        f'    <polygon label={quoteattr(label)} source="auto" occluded="0" points="{format_points(corners)}" z_order="{z}"/>'
        for label, z, corners in polygons
    )
    return f'  <image id="{number}" name={quoteattr(name)} width="{window.width}" height="{window.height}">\n{shapes}\n  </image>'


def format_points(corners: NDArray[np.float64]) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in corners)


def format_annotations(images: Sequence[str], label: str) -> str:
    labels = "".join(
        f"<label><name>{escape(name)}</name></label>" for name in (label, BACKGROUND.name, IGNORE_NAME)
    )
    body = "\n".join(images)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        f"  <meta><job><labels>{labels}</labels></job></meta>\n{body}\n</annotations>\n"
    )
