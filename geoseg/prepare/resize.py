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


def resized_image(original: Picture, bands: tuple[int, ...], size: tuple[int, int], out: Path) -> Picture:
    """Write a copy of some of an image's bands in another size, unless it is there."""
    smaller = replace(resized_picture(original, size), path=out, bands=len(bands), names=())
    if not out.exists():
        kernel = Resampling.average if size[0] < original.height else Resampling.cubic
        with opened(original.path) as dataset:
            values = dataset.read(list(bands), out_shape=(len(bands), *size), resampling=kernel)
        # Bands without colours are taken in their order; by colours a fourth band would pass for alpha.
        pieces = [(Window(0, 0, *size), values)]
        write_raster(out, smaller, len(bands), original.dtype, pieces, photometric="MINISBLACK", alpha="NO")
    return smaller
