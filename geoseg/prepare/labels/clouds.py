"""Where an image shows clouds, their shadows or nothing: by the scene classification of Sentinel-2, or any cloud mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.prepare.labels.fractions import sampled
from geoseg.prepare.picture import Picture, opened
from geoseg.raster.grid import Grid, Window

# No data, defective, cloud shadow, cloud of medium and of high probability, thin cirrus, snow.
UNCLEAR = (0, 1, 3, 8, 9, 10, 11)
SCENE_CLASSES = "SCL"


@dataclass(frozen=True)
class Clouds:
    """What to go by: the name of a band of the images, and the values that mean that the ground is not to be seen."""

    band: str = SCENE_CLASSES
    is_required: bool = False
    values: tuple[int, ...] = UNCLEAR

    def number_in(self, image: Picture) -> int | None:
        """Which band of an image it is, if it has it."""
        names = [name.lower() for name in image.names]
        if self.band.lower() in names:
            return names.index(self.band.lower()) + 1
        if self.is_required:
            held = ", ".join(name for name in image.names if name) or "none with a name"
            raise InputError(f"{image.path}: has no band {self.band} for --cloud; it has {held}")
        return None


def parsed_values(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise InputError(f"--cloud-values {text}: write whole numbers, e.g. '0 1 3 8 9 10 11'")
    return tuple(map(int, words))


@dataclass(frozen=True)
class Cover:
    """Cloud cover of one image, opened for reading: a raster of its own, or a band of the image."""

    raster: Any
    band: int | None
    values: tuple[int, ...]

    def hides(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window show something else than ground; beyond a cloud raster nothing is known."""
        if self.raster is None:
            return np.zeros((window.height, window.width), dtype=bool)
        if self.band:
            values = self.raster.read(self.band, window=as_slices(window))
            return np.isin(values, self.values)
        values, known = sampled(self.raster, grid.window(window), 1)
        return np.isin(values, self.values) | ~known


def as_slices(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.row, window.stop_row), (window.col, window.stop_col)


@contextmanager
def cover_of(image: Picture, separate: Path | None, clouds: Clouds) -> Iterator[Cover]:
    """Open what tells the cloud cover of an image, if anything does."""
    number = None if separate else clouds.number_in(image)
    path = separate or (image.path if number else None)
    with ExitStack() as open_files:
        raster = open_files.enter_context(opened(path)) if path else None
        yield Cover(raster, number, clouds.values)
