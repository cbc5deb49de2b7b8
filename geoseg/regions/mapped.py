"""What a map of footprints says of each pixel: its class, whether it was seen, and how probable a building is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.burn import FootprintBurner
from geoseg.raster.coding import FINE_STEP, PROBABILITY_STEP, find_unknown
from geoseg.raster.grid import Window
from geoseg.raster.plan import Strip
from geoseg.regions.files import FootprintLayer, StatsRasters
from geoseg.regions.statistics import find_seen_pixels

Floats32 = NDArray[np.float32]
DIGEST_LETTERS = 16


class MapDigest:
    """Tells whether footprints are the same: a digest of their outlines and classes, in their order."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, footprints: gpd.GeoDataFrame) -> None:
        outlines = shapely.to_wkb(np.asarray(footprints.geometry.array), output_dimension=2, byte_order=1)
        self._sum.update(b"".join(outline for outline in outlines if outline))
        self._sum.update("\n".join(footprints["class"]).encode())

    def __str__(self) -> str:
        return self._sum.hexdigest()[:DIGEST_LETTERS]


class FootprintMap:
    """Footprints on the pixels of a mask or probability, read strip by strip; `folder` keeps them meanwhile.

    A pixel is of the class of the footprint that holds its middle. The mask says where ground was seen, as in `stats`.
    """

    def __init__(self, layer: FootprintLayer, rasters: StatsRasters, folder: Path) -> None:
        self.classes = tuple(layer.classes)
        self.rasters = rasters
        self._digest = MapDigest()
        self._burner = FootprintBurner(
            rasters.grid, {name: n for n, name in enumerate(self.classes, 1)}, folder
        )
        for frame in layer.frames():
            self._digest.add(frame)
            shapes = frame.geometry
            self._burner.add(frame[~(shapes.isna() | shapes.is_empty)])

    @property
    def digest(self) -> str:
        return str(self._digest)

    def strips(self) -> Iterator[tuple[Window, NDArray[np.int16], Floats32 | None]]:
        """Windows of all rows, top to bottom; the class of each pixel, -1 where nothing was seen; and the probability."""
        for window, mask, likely in self.rasters.strips(self.classes):
            classes = self._burner.draw(self.rasters.grid, Strip(0, window.row, window.stop_row))
            mapped = np.where(find_seen_pixels(mask, likely), classes.astype(np.int16), np.int16(-1))
            built = None if likely is None else np.minimum(scale_probabilities(likely).sum(axis=0), 1)
            yield window, mapped, built


def scale_probabilities(band: NDArray[np.generic]) -> Floats32:
    """Probabilities from 0 to 1; nan where they are not known."""
    step = {"uint8": PROBABILITY_STEP, "uint16": FINE_STEP}.get(band.dtype.name, 1.0)
    scaled = band.astype(np.float32) * np.float32(step)
    scaled[find_unknown(band)] = np.nan
    return scaled
