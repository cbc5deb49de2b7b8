"""Masks and probabilities on disk, read strip by strip for statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.windows import Window as RasterWindow

from geoseg.errors import InputError
from geoseg.footprints.regions.pixels import NODATA, PROBABILITY_STEP
from geoseg.footprints.regions.statistics import RegionStatistics
from geoseg.narrator import Narrator
from geoseg.raster.gdal import open_raster
from geoseg.raster.grid import Grid, Window

PIXELS_AT_ONCE = 16_000_000


@dataclass(frozen=True)
class SurveyRasters:
    """An open mask and an open probability of the same grid; either may be missing."""

    grid: Grid
    mask: Any = None
    probability: Any = None

    @classmethod
    @contextmanager
    def opened(cls, mask: Path | None, probability: Path | None) -> Iterator[SurveyRasters | None]:
        """Open what there is; none if there is neither."""
        with ExitStack() as stack:
            both = [
                stack.enter_context(open_raster(str(path), str(path))) if path else None
                for path in (mask, probability)
            ]
            grids = [grid_of(raster) for raster in both if raster is not None]
            if len(set(grids)) > 1:
                raise InputError(f"{mask} and {probability} lie on different grids; give a matching pair")
            yield cls(grids[0], *both) if grids else None

    def add_to(self, statistics: RegionStatistics, narrator: Narrator) -> None:
        """Feed every strip to the statistics."""
        bands = None if self.probability is None else class_bands(self.probability, statistics.names)
        height = max(1, PIXELS_AT_ONCE // self.grid.width)
        with narrator.task("Reading rasters", self.grid.height, "rows") as done:
            for row in range(0, self.grid.height, height):
                window = Window(row, 0, min(height, self.grid.height - row), self.grid.width)
                seen = None if self.mask is None else read_mask(self.mask, window)
                likely = None if bands is None else read_probability(self.probability, bands, window)
                statistics.add_strip(window, seen, likely)
                done(window.height)


def grid_of(raster: Any) -> Grid:
    """Where the pixels of a raster lie."""
    if raster.crs is None:
        raise InputError(f"{raster.name} has no CRS; assign its own with gdal_edit.py -a_srs")
    return Grid(CRS.from_wkt(raster.crs.to_wkt()), raster.transform, raster.height, raster.width)


def class_bands(probability: Any, names: Sequence[str]) -> list[int]:
    """Which band of a probability belongs to each class."""
    if probability.count == 1 and len(names) == 1:
        return [1]
    described = {name: index for index, name in enumerate(probability.descriptions, start=1)}
    if set(names) <= set(described):
        return [described[name] for name in names]
    if len(names) == 1 and probability.count == 2:
        return [2]
    raise InputError(
        f"{probability.name}: its {probability.count} bands do not say which is which of {', '.join(names)}; "
        "describe each band with its class"
    )


def read_mask(raster: Any, window: Window) -> NDArray[np.uint8]:
    """A window of a mask as our own bytes: 255 where nothing was seen.

    Many masks call the background nodata, so that it is clear on a map; it was seen all the same.
    """
    values = raster.read(1, window=pixels_of(window))
    unseen = values == (raster.nodata or NODATA)
    return np.where(unseen, NODATA, 0).astype(np.uint8)


def read_probability(
    raster: Any, bands: Sequence[int], window: Window
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """A window of a probability: as our own bytes where it is that, else as floats from 0 to 1."""
    values = raster.read(list(bands), window=pixels_of(window))
    if values.dtype == np.uint8 and raster.scales[0] == PROBABILITY_STEP:
        return np.asarray(values)
    valid = raster.read_masks(bands[0], window=pixels_of(window)) > 0
    scaled = np.where(valid, values * np.float32(raster.scales[0]) + np.float32(raster.offsets[0]), np.nan)
    if np.nanmax(scaled, initial=0.0) > 1 or np.nanmin(scaled, initial=0.0) < 0:
        raise InputError(
            f"{raster.name}: values are not probabilities from 0 to 1; set the scale of its bands"
        )
    return np.asarray(scaled, dtype=np.float32)


def pixels_of(window: Window) -> RasterWindow:
    """A window as rasterio has it."""
    return RasterWindow(window.col, window.row, window.width, window.height)
