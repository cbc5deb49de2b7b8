"""Smaller copies of images and masks, for photographs far finer than the model needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling

from geoseg.prepare.picture import Picture, opened, write_raster
from geoseg.raster.grid import Grid, Window


def resized_picture(original: Picture, size: tuple[int, int]) -> Picture:
    """The same picture in another number of pixels (height, width)."""
    height, width = size
    grid = original.grid and Grid(
        original.grid.crs,
        original.grid.transform @ Affine.scale(original.width / width, original.height / height),
        height,
        width,
    )
    return replace(original, height=height, width=width, grid=grid)


def resized_values(path: Path, size: tuple[int, int]) -> NDArray[Any]:
    """A mask's values (band, row, col) in another size, each the value of one old pixel."""
    with opened(path) as dataset:
        values: NDArray[Any] = dataset.read(out_shape=(dataset.count, *size), resampling=Resampling.nearest)
    return values


def resized_image(original: Picture, size: tuple[int, int], out: Path) -> Picture:
    """Write a copy of an image in another size, unless it is there."""
    smaller = replace(resized_picture(original, size), path=out)
    if not out.exists():
        kernel = Resampling.average if size[0] < original.height else Resampling.cubic
        with opened(original.path) as dataset:
            values = dataset.read(out_shape=(dataset.count, *size), resampling=kernel)
        write_raster(out, smaller, original.bands, original.dtype, [(Window(0, 0, *size), values)])
    return smaller
