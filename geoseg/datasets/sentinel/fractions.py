"""How much of every pixel of an image each class covers, by label rasters of any CRS and resolution.

Each pixel is sampled at a lattice of points, as fine as the label's own pixels; the share of points in a class is the
class's fraction there. What fraction makes the pixel one of the class, a threshold says.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoseg.datasets.classes import ClassTable
from geoseg.datasets.images import read_pixels
from geoseg.datasets.schema import IGNORE
from geoseg.errors import InputError
from geoseg.raster.grid import Grid
from geoseg.raster.source import make_rasterio_crs

MOST_POINTS = 16
TOLERANCE_PIXELS = 0.01
"""How far, in a label's pixels, a point may miss its place: GDAL interpolates between points it projects exactly."""

Fractions = NDArray[np.float64]


def count_points(image: Grid, label: Grid) -> int:
    """How many points to sample along a pixel's side: as many as the label has pixels there, at least two."""
    return int(np.clip(ceil(round(image.gsd_m / label.gsd_m, 2)), 2, MOST_POINTS))


def compute_fractions(
    labels: Sequence[Any], grid: Grid, points: int, table: ClassTable, tolerance: float = TOLERANCE_PIXELS
) -> Fractions:
    """The share of each class (class, row, col) in each pixel; they sum to one where all is known.

    Where several open labels lie over each other, the first that knows wins.
    """
    meant = np.full((grid.height * points, grid.width * points), np.nan, np.float32)
    for label in labels:
        open_ground = np.isnan(meant)
        if open_ground.any():
            meant[open_ground] = sample_label(label, grid, points, table, tolerance)[open_ground]
    blocks = meant.reshape(grid.height, points, grid.width, points)
    if table.full:
        known = ~np.isnan(blocks)
        covered = np.where(known, blocks, 0)
        return np.stack([(known - covered).mean(axis=(1, 3)), covered.mean(axis=(1, 3), dtype=np.float64)])
    return np.stack([(blocks == value).mean(axis=(1, 3)) for value in range(len(table.classes))])


def sample_label(
    label: Any, grid: Grid, points: int, table: ClassTable, tolerance: float
) -> NDArray[np.float32]:
    """What a label means at a lattice of points: a class value or, by such a table, a share; NaN where unknown."""
    values, known = sample_raster(label, grid, points, tolerance)
    path = Path(label.name)
    known &= ~table.find_unknown(values, label.nodata)
    meant = np.full(values.shape, np.nan, np.float32)
    meant[known] = (
        convert_shares(values[known], table, path)
        if table.full
        else convert_classes(values[known], table, path)
    )
    return meant


def convert_classes(values: NDArray[Any], table: ClassTable, path: Path) -> NDArray[np.float32]:
    found = table.map_values(values, path)
    return np.where(found == IGNORE, np.nan, found).astype(np.float32)


def convert_shares(values: NDArray[Any], table: ClassTable, path: Path) -> NDArray[np.float32]:
    """The share of the second class by values from nothing to `table.full`."""
    assert table.full
    whole = (values >= 0) & (values <= table.full)
    ignored = [int(label) for label, value in table.meanings.items() if value == IGNORE and label.isdecimal()]
    strange = ~whole & ~np.isin(values, ignored)
    if strange.any():
        raise InputError(
            f"{path}: holds {values[strange][0]:g}, but the class table takes its values for shares from 0 to "
            f"{table.full}; name it among the ignored ones, e.g. ignore={values[strange][0]:g}"
        )
    return np.where(whole, values / table.full, np.nan).astype(np.float32)


def sample_raster(
    label: Any, grid: Grid, points: int, tolerance: float = TOLERANCE_PIXELS
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """An open raster's values at a lattice of points in every pixel of a grid, and which points lie inside it."""
    if label.count != 1:
        raise InputError(f"{label.name}: has {label.count} bands; a label raster has one, of class values")
    finer = grid.transform @ Affine.scale(1 / points)
    with WarpedVRT(
        label, crs=make_rasterio_crs(grid.crs), transform=finer, height=grid.height * points,
        width=grid.width * points, resampling=Resampling.nearest, tolerance=tolerance,
        src_nodata=None, nodata=None, add_alpha=True,
    ) as warped:  # fmt: skip
        values, inside = read_pixels(warped, None)
    known: NDArray[np.bool_] = (inside != 0) & ~np.isnan(values)
    return values, known


def apply_threshold(fractions: Fractions, threshold: float) -> NDArray[np.uint8]:
    """Class values from fractions."""
    known = fractions.sum(axis=0)
    others = fractions[1:].sum(axis=0)
    strongest = fractions[1:].argmax(axis=0) + 1 if len(fractions) > 1 else np.zeros_like(known)
    share = others / np.maximum(known, 1e-9)
    chosen = np.where(share >= threshold - 1e-9, strongest, 0).astype(np.uint8)
    chosen[known < 0.5] = IGNORE
    return chosen
