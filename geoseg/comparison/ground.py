"""The ground on which two layers are compared: where both were looked at, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.comparison.layers import ComparedLayer, Flags, Polygons
from geoseg.errors import InputError
from geoseg.footprints.antimeridian import find_full_turn, move_near
from geoseg.footprints.measure import FloatArray, transform_polygons
from geoseg.footprints.polygons import mend_polygons
from geoseg.io.addresses import is_vector_file, parse_layer_path
from geoseg.io.layers import parse_layer_crs, read_layer
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid, find_transformer
from geoseg.raster.mask import open_mask
from geoseg.regions.polygons import make_valid_polygons

POINTS_AT_ONCE = 200_000
"""A point takes a tenth of a kilobyte while it is looked for."""


class Ground(Protocol):
    """Knows which points of the plane lie on it."""

    @property
    def name(self) -> str: ...

    def holds(self, points: FloatArray) -> Flags: ...


@dataclass(frozen=True)
class BoxGround:
    """The rectangle that the boxes of two layers share."""

    bounds: tuple[float, float, float, float]
    name: str = "the rectangle in which both layers have footprints"

    def holds(self, points: FloatArray) -> Flags:
        left, bottom, right, top = self.bounds
        x, y = points.T
        return np.asarray((x >= left) & (x <= right) & (y >= bottom) & (y <= top))


@dataclass(frozen=True)
class PolygonGround:
    """What lies in some polygons of the plane."""

    name: str
    polygons: Polygons

    def holds(self, points: FloatArray) -> Flags:
        held = np.zeros(len(points), dtype=bool)
        for start in range(0, len(points), POINTS_AT_ONCE):
            # Polygons are what is asked with, since that is what shapely makes ready for many questions.
            tree = shapely.STRtree(shapely.points(points[start : start + POINTS_AT_ONCE]))
            held[start + tree.query(self.polygons, predicate="intersects")[1]] = True
        return held


KnownRows = Callable[[], Iterator[tuple[slice, NDArray[np.bool_]]]]


@dataclass(frozen=True)
class RasterGround:
    """The known pixels of a raster, which come some rows at a time."""

    name: str
    grid: Grid
    known_rows: KnownRows
    plane: CRS

    def holds(self, points: FloatArray) -> Flags:
        x, y = find_transformer(self.plane, self.grid.crs).transform(*points.T)
        x = move_near(x, self.grid.centre[0], find_full_turn(self.grid.crs))
        col, row = (np.floor(each).astype(np.int64) for each in ~self.grid.transform @ (x, y))
        inside = (row >= 0) & (row < self.grid.height) & (col >= 0) & (col < self.grid.width)
        held = np.zeros(len(points), dtype=bool)
        for rows, known in self.known_rows():
            here = np.flatnonzero(inside & (row >= rows.start) & (row < rows.stop))
            held[here] = known[row[here] - rows.start, col[here]]
        return held


@dataclass(frozen=True)
class CommonGround:
    """What lies on each of several grounds."""

    grounds: Sequence[Ground]

    @property
    def name(self) -> str:
        return " and ".join(ground.name for ground in self.grounds)

    def holds(self, points: FloatArray) -> Flags:
        held = np.ones(len(points), dtype=bool)
        for ground in self.grounds:
            held &= ground.holds(points)
        return held


def open_ground(source: str, plane: CRS) -> Ground:
    """Ground from a file: polygons, or a raster whose pixels that are not nodata were looked at."""
    if not is_vector_file(source):
        return open_raster_ground(source, plane)
    path, layer = parse_layer_path(source)
    frame = read_layer(path, layer)
    crs = parse_layer_crs(frame.crs, path)
    shapes = make_valid_polygons(np.asarray(frame.geometry.array), crs, Path(source))
    shapes = transform_polygons(shapes, crs, plane)
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise InputError(
            f"`area` {source}: reaches beyond what can be measured beside the footprints; is its CRS right?"
        )
    parts = shapely.get_parts(mend_polygons(shapes))
    if not len(parts):
        raise InputError(f"`area` {source}: holds no polygon, so there is no ground to compare on")
    return PolygonGround(source, parts)


def open_raster_ground(source: str, plane: CRS) -> RasterGround:
    """The pixels of a mask that are not unknown."""
    mask = open_mask(source)

    def read_known() -> Iterator[tuple[slice, NDArray[np.bool_]]]:
        for rows in mask.strips():
            yield rows, mask.read(rows)[0] != NODATA

    return RasterGround(source, mask.grid, read_known, plane)


def find_shared_box(a: ComparedLayer, b: ComparedLayer) -> BoxGround:
    """The rectangle in which both layers have footprints; where there is none, why."""
    for layer in (a, b):
        if not len(layer):
            raise InputError(
                f"{layer.name}: holds no footprint, so nobody knows where it was looked; give that ground: `area` "
                "polygons or a mask"
            )
    one, other = np.array(a.bounds), np.array(b.bounds)
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    if (low > high).any():
        apart_m = float(np.hypot(*np.maximum(low - high, 0)))
        raise InputError(
            f"{a.name} and {b.name}: lie {apart_m / 1000:,.1f} km apart, so there is nothing to compare; is the CRS "
            "of both the right one?"
        )
    return BoxGround((*map(float, low), *map(float, high)))  # type: ignore[arg-type]
