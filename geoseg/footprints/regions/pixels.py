"""What the rasters say of each region: how much of it was seen, and how much built area is to be expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.footprints.areas.measure import (
    LONGEST_STRAIGHT_M,
    AreaCrs,
    Floats,
    PixelAreas,
    Polygons,
    metres_per_unit,
    transformed,
)
from geoseg.footprints.areas.turns import brought_near, full_turn, laid_out
from geoseg.footprints.regions.regions import Regions, merged
from geoseg.footprints.valid import mended, polygonal
from geoseg.raster.grid import Grid, Window

BLOCK_PIXELS = 4_000_000
NODATA = 255
PROBABILITY_STEP = 0.004
NOWHERE = -1


class RegionPixels:
    """Adds up pixels by region, strip by strip; a pixel belongs to the region its middle lies in.

    The area of a region inside the image is that of its polygon; pixels only say what part of it was seen, and with
    which probabilities. So a region that was seen wholly has exactly its own area.
    """

    def __init__(self, regions: Regions, grid: Grid, area: AreaCrs, bands: int) -> None:
        self.grid = grid
        self._pixel_areas = area.pixel_areas(grid)
        self._shapes = shapes_on(grid, regions)
        self._areas = area.areas(self._shapes, grid.crs)
        self._layers = apart(self._shapes)
        self._all = np.zeros(len(regions))
        self._seen = np.zeros(len(regions))
        self._expected = np.zeros((bands, len(regions)))
        self._has_probability = False

    def add(self, window: Window, seen: NDArray[np.bool_], probability: NDArray[np.generic] | None) -> None:
        """Add a window: which of its pixels were seen, and the probability of each class, (band, row, col)."""
        self._has_probability |= probability is not None
        for rows in blocks(window):
            block = Window(window.row + rows.start, window.col, rows.stop - rows.start, window.width)
            bands = None if probability is None else probability[:, rows]
            self._add_block(block, seen[rows], bands)

    def _add_block(self, window: Window, seen: NDArray[np.bool_], bands: NDArray[np.generic] | None) -> None:
        for layer in self._layers:
            runs = Runs.of(self._burned(layer, window), window, self._pixel_areas)
            self._all += runs.sums(np.ones_like(seen), len(self._all))
            self._seen += runs.sums(seen, len(self._all))
            for index, band in enumerate(() if bands is None else bands):
                self._expected[index] += runs.probabilities(band, seen, len(self._all))

    def _burned(self, layer: NDArray[np.intp], window: Window) -> NDArray[np.int32]:
        """Which region of a layer each pixel of a window belongs to."""
        grid = self.grid.window(window)
        left, bottom, right, top = grid.bounds
        here = shapely.clip_by_rect(self._shapes[layer], left, bottom, right, top)
        held = ~shapely.is_empty(here)
        if not held.any():
            return np.full(grid.shape, NOWHERE, dtype=np.int32)
        burned: NDArray[np.int32] = rasterize(
            zip(here[held], layer[held].tolist(), strict=True),
            out_shape=grid.shape,
            transform=grid.transform,
            fill=NOWHERE,
            dtype="int32",
        )
        return burned

    @property
    def seen_m2(self) -> Floats:
        """Area of each region that has data; none (nan) for a region in which no pixel's middle lies."""
        return self._of_polygon(self._seen)

    @property
    def expected_m2(self) -> Floats | None:
        """Sum of probability times area, (band, region); none where no probability was given."""
        return self._of_polygon(self._expected) if self._has_probability else None

    def _of_polygon(self, sums: Floats) -> Floats:
        """Sums over pixels brought to the area of the polygon, to a thousandth of a square metre."""
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(self._areas > 0, sums / self._all, 0.0)
        return np.asarray(np.round(part * self._areas, 3), dtype=np.float64)


@dataclass(frozen=True)
class Runs:
    """Neighbours in a row that belong to the same region, for quick sums.

    A run is so short that its pixels are of one size: that of its middle.
    """

    starts: NDArray[np.intp]
    owners: NDArray[np.int32]
    pixel_m2: Floats

    @classmethod
    def of(cls, burned: NDArray[np.int32], window: Window, sizes: PixelAreas) -> Runs:
        fresh = np.ones(burned.shape, dtype=bool)
        fresh[:, 1:] = burned[:, 1:] != burned[:, :-1]
        fresh[:, -window.col % sizes.col_step :: sizes.col_step] = True
        starts = np.flatnonzero(fresh)
        lengths = np.diff(starts, append=burned.size)
        row, col = np.divmod(starts, window.width)
        pixel_m2 = sizes.at(window.row + row + 0.5, window.col + col + lengths / 2)
        return cls(starts, burned.ravel()[starts], pixel_m2)

    def sums(self, values: NDArray[np.generic], regions: int) -> Floats:
        """Sum of value times area over the pixels of each region."""
        kind = np.float64 if values.dtype.kind == "f" else np.int64
        sums = np.add.reduceat(values.ravel(), self.starts, dtype=kind) * self.pixel_m2
        inside = self.owners != NOWHERE
        return np.bincount(self.owners[inside], sums[inside], regions).astype(np.float64)

    def probabilities(self, band: NDArray[np.generic], seen: NDArray[np.bool_], regions: int) -> Floats:
        """Sum of probability times area over the seen pixels of each region."""
        if band.dtype == np.uint8:
            return PROBABILITY_STEP * self.sums(np.where(seen & (band != NODATA), band, 0), regions)
        return self.sums(np.where(seen, np.nan_to_num(band.astype(np.float64), nan=0.0), 0.0), regions)


def shapes_on(grid: Grid, regions: Regions) -> Polygons:
    """What of each region lies inside the image, in the image's CRS."""
    near = regions.near(grid)
    longest = LONGEST_STRAIGHT_M / 4 / metres_per_unit(regions.crs)
    moved = transformed(shapely.segmentize(near, longest), regions.crs, grid.crs)
    turn = full_turn(grid.crs)
    left, _, right, _ = grid.bounds
    parts, owners = shapely.get_parts(moved, return_index=True)
    parts = mended(brought_near(laid_out(parts, turn), (left + right) / 2, turn))
    corners = [
        grid.transform @ corner for corner in ((0, 0), (grid.width, 0), grid.shape[::-1], (0, grid.height))
    ]
    return polygonal(shapely.intersection(merged(parts, owners, len(near)), shapely.Polygon(corners)))


def apart(shapes: Polygons) -> list[NDArray[np.intp]]:
    """Shapes in as few layers as it takes for none to overlap another in its layer."""
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    real = (first < second) & ~shapely.touches(shapes[first], shapes[second])
    rivals: dict[int, set[int]] = {}
    for low, high in zip(first[real].tolist(), second[real].tolist(), strict=True):
        rivals.setdefault(high, set()).add(low)
    layer_of: list[int] = []
    for index in range(len(shapes)):
        taken = {layer_of[rival] for rival in rivals.get(index, ())}
        layer_of.append(next(layer for layer in range(len(shapes)) if layer not in taken))
    layers = np.array(layer_of, dtype=np.intp)
    return [np.flatnonzero(layers == layer) for layer in range(int(layers.max(initial=-1)) + 1)]


def blocks(window: Window) -> Iterator[slice]:
    """Rows of a window in runs that take little memory, cut at the same rows of the raster whatever the window is."""
    height = max(1, BLOCK_PIXELS // window.width)
    cuts = range((window.row // height + 1) * height, window.stop_row, height)
    edges = [window.row, *cuts, window.stop_row]
    for start, stop in pairwise(edges):
        yield slice(start - window.row, stop - window.row)
