"""Images with label rasters of other grids: Sentinel-2 with ESM, GHSL, WSF or WorldCover, in any CRS and resolution.

Each pixel of an image is sampled at a lattice of points, as fine as the label's own pixels; the share of points in a
class is the class's fraction there. What fraction makes the pixel one of the class, a threshold says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoseg.errors import InputError
from geoseg.prepare.classes import ClassTable
from geoseg.prepare.dataset import IGNORE, Dataset
from geoseg.prepare.making import Workshop
from geoseg.prepare.masks import MaskSet, labelled_pictures
from geoseg.prepare.pairs import Pair, flat
from geoseg.prepare.picture import Picture, known_pixels, opened, picture, read_from, write_label
from geoseg.raster.gdal import rasterio_crs
from geoseg.raster.grid import Grid, Window

PIECE = 512
MOST_POINTS = 16
DRIFT = 0.1


@dataclass(frozen=True)
class LabelSet(MaskSet):
    """What is to be made of images and label rasters of other grids.

    A pixel is of the class with the largest fraction among those but the first, if together they reach `threshold`.
    It is ignored where more than half of its points, or the image itself, are unknown.
    """

    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise InputError(f"--threshold {self.threshold:g}: must be above 0 and at most 1")


@dataclass(frozen=True)
class Warped:
    """An image's new label: the area share of each class by the source, and by the label's pixels."""

    image: Picture
    by_fraction: NDArray[np.float64]
    by_pixel: NDArray[np.float64]


def prepare_labels(pairs: Sequence[Pair], wanted: LabelSet, workshop: Workshop) -> Dataset:
    """Make a data set of images and label rasters, each label warped to its image's pixels."""
    with workshop.recipe(kind="labels", pairs=[pair.image for pair in pairs], wanted=repr(wanted)):
        calls = [{"pair": pair, "wanted": wanted, "folder": workshop.folder} for pair in pairs]
        warped = workshop.all_done("Warping labels", warp, calls)
        tell_shares(warped, wanted, workshop)
        names = [pair.name for pair in pairs]
        return workshop.finish(
            labelled_pictures(names, [each.image for each in warped], wanted, workshop.folder)
        )


def tell_shares(warped: Sequence[Warped], wanted: LabelSet, workshop: Workshop) -> None:
    """Say how the share of each class came through, and warn where the threshold changed it."""
    before = np.sum([each.by_fraction for each in warped], axis=0)
    after = np.sum([each.by_pixel for each in warped], axis=0)
    if not before.sum() or not after.sum():
        return
    shares = zip(wanted.table.classes, before / before.sum(), after / after.sum(), strict=True)
    for land_class, source, label in shares:
        line = f"{land_class.name}: {source:.1%} of the ground by the source, {label:.1%} by the label"
        drifted = abs(label - source) > DRIFT * source
        (workshop.narrator.warn if drifted else workshop.narrator.say)(line)


def warp(pair: Pair, wanted: LabelSet, folder: Path) -> Warped:
    """Write the label of one image, and tell how the share of each class came through."""
    image, source = picture(pair.image), picture(pair.label)
    grid = image.grid
    if grid is None or source.grid is None:
        raise InputError(f"{pair.image if grid is None else pair.label}: has no place on Earth")
    count = len(wanted.table.classes)
    totals = np.zeros((2, count))
    points = points_along(grid, source.grid)

    def pieces() -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        with opened(pair.image) as pixels, opened(pair.label) as label:
            for window in image.windows(PIECE):
                fractions = class_fractions(label, pair.label, grid, window, points, wanted.table)
                classes = thresholded(fractions, wanted.threshold)
                unknown = ~known_pixels(pixels, window, len(wanted.bands))
                classes[unknown] = IGNORE
                totals[0] += fractions[:, classes != IGNORE].sum(axis=1)
                totals[1] += np.bincount(classes.ravel(), minlength=256)[:count]
                yield window, classes

    write_label(folder / "labels" / f"{flat(pair.name)}.tif", image, pieces())
    return Warped(image, *totals)


def points_along(image: Grid, label: Grid) -> int:
    """How many points to sample along a pixel's side: as many as the label has pixels there, at least two."""
    return int(np.clip(ceil(round(image.gsd_m / label.gsd_m, 2)), 2, MOST_POINTS))


def class_fractions(
    label: Any, path: Path, grid: Grid, window: Window, points: int, table: ClassTable
) -> NDArray[np.float64]:
    """The share of each class (class, row, col) in each pixel of a window; they sum to one where all is known."""
    classes = table.of_values(sampled(label, grid.window(window), points), path)
    blocks = classes.reshape(window.height, points, window.width, points)
    values = range(len(table.classes))
    return np.stack([(blocks == value).mean(axis=(1, 3)) for value in values])


def sampled(label: Any, grid: Grid, points: int) -> NDArray[Any]:
    """The label's values at a lattice of points in every pixel of a grid."""
    finer = grid.transform @ Affine.scale(1 / points)
    nodata = label.nodata if label.nodata is not None else 0
    with WarpedVRT(
        label, crs=rasterio_crs(grid.crs), transform=finer, height=grid.height * points,
        width=grid.width * points, resampling=Resampling.nearest, nodata=nodata, tolerance=0.01,
    ) as warped:  # fmt: skip
        values: NDArray[Any] = read_from(warped, None)[0]
    return values


def thresholded(fractions: NDArray[np.float64], threshold: float) -> NDArray[np.uint8]:
    """Class values from fractions."""
    known = fractions.sum(axis=0)
    others = fractions[1:].sum(axis=0)
    strongest = fractions[1:].argmax(axis=0) + 1 if len(fractions) > 1 else np.zeros_like(known)
    share = others / np.maximum(known, 1e-9)
    classes = np.where(share >= threshold - 1e-9, strongest, 0).astype(np.uint8)
    classes[known < 0.5] = IGNORE
    return classes
