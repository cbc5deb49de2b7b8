"""Which footprints are in several files because scenes overlap, and which of them stays.

Two footprints of different files are one building where at least half of the smaller one lies in the other. The one that an
edge or missing data may have cut goes; of two whole ones (or two cut ones) the less confident; else the one of the later file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.comparison.groups import select_linked
from geoseg.footprints.measure import Extent, FloatArray, make_equal_area_crs, transform_polygons
from geoseg.footprints.polygons import mend_polygons
from geoseg.footprints.vector_files import VectorFile
from geoseg.raster.grid import WGS84
from geoseg.scores.outlines import FootprintOutlines, OutlineOverlaps

Ints = NDArray[np.int64]
CUT = ("touches_edge", "touches_nodata")
TRUE = ("true", "1", "1.0")
SURE = "confidence"


@dataclass(frozen=True)
class ScannedFile:
    """A file of footprints, and the box in degrees in which they lie."""

    file: VectorFile
    rows: int
    box: FloatArray

    @classmethod
    def scan(cls, file: VectorFile) -> ScannedFile:
        """Read where a file's footprints lie."""
        boxes, rows = [np.empty((0, 4))], 0
        for frame in file.pieces([]):
            rows += len(frame)
            if len(frame):
                boxes.append(find_lonlat_boxes(np.asarray(frame.geometry.array), file.crs))
        every = np.concatenate(boxes)
        every = every[np.isfinite(every).all(axis=1)]
        box = (
            np.concatenate([every[:, :2].min(axis=0), every[:, 2:].max(axis=0)])
            if len(every)
            else np.full(4, np.nan)
        )
        return cls(file, rows, box)


def find_lonlat_boxes(shapes: NDArray[np.object_], crs: CRS) -> FloatArray:
    """Boxes around shapes, in degrees."""
    return np.asarray(shapely.bounds(convert_to_lonlat(shapes, crs)).reshape(-1, 4))


def convert_to_lonlat(shapes: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """Shapes in longitude and latitude; x comes first in every file, whatever its CRS says of the order."""
    if crs.equals(WGS84, ignore_axis_order=True):
        return shapes
    return transform_polygons(shapes, crs, WGS84)


@dataclass(frozen=True)
class RankedOutlines:
    """Footprints of a file with their row numbers, and how each stands against its duplicates: the lowest rank stays."""

    rows: Ints
    outlines: FootprintOutlines
    ranks: NDArray[np.float64]


def find_duplicates(scenes: Sequence[ScannedFile]) -> list[Ints]:
    """Of each file the rows whose building another one tells better."""
    dropped: list[list[Ints]] = [[np.empty(0, dtype=np.int64)] for _ in scenes]
    boxes = shapely.box(*np.array([scene.box for scene in scenes]).T)
    pairs = shapely.STRtree(boxes).query(boxes, predicate="intersects").T
    for one, other in pairs[pairs[:, 0] < pairs[:, 1]].tolist():
        left, bottom, right, top = (boxes[one] & boxes[other]).bounds
        plane = make_equal_area_crs(Extent(WGS84, (left, bottom, right, top)))
        box = np.array([left, bottom, right, top])
        ranked = [read_ranked(scenes[number], number, box, plane) for number in (one, other)]
        for number, losers in zip((one, other), find_losers(*ranked), strict=True):
            dropped[number].append(losers)
    return [np.unique(np.concatenate(rows)) for rows in dropped]


def read_ranked(scene: ScannedFile, number: int, box: FloatArray, plane: CRS) -> RankedOutlines:
    """The footprints of a file that touch a box."""
    known = [name for name in (*CUT, SURE) if name in scene.file.fields]
    rows, shapes, ranks = [np.empty(0, np.int64)], [np.empty(0, dtype=object)], [np.empty((0, 3))]
    start = 0
    for frame in scene.file.pieces(known):
        outlines = convert_to_lonlat(np.asarray(frame.geometry.array), scene.file.crs)
        bounds = shapely.bounds(outlines).reshape(-1, 4)
        here = np.flatnonzero((bounds[:, :2] <= box[2:]).all(axis=1) & (bounds[:, 2:] >= box[:2]).all(axis=1))
        rows.append(start + here)
        shapes.append(mend_polygons(transform_polygons(outlines[here], WGS84, plane)))
        ranks.append(rank_footprints(frame.iloc[here], number))
        start += len(frame)
    polygons = np.concatenate(shapes)
    plain = np.zeros(len(polygons))
    return RankedOutlines(
        np.concatenate(rows),
        FootprintOutlines(polygons, plain.astype(np.int64), plain),
        np.concatenate(ranks),
    )


def rank_footprints(frame: gpd.GeoDataFrame, number: int) -> FloatArray:
    """Whether each may be cut, how unsure it is, and its file: the lowest stays."""
    none = np.zeros(len(frame))
    cut = sum((find_true(frame[name]) for name in CUT if name in frame), start=none)
    sure = none
    if SURE in frame:
        sure = pd.to_numeric(frame[SURE], errors="coerce").fillna(-1).to_numpy(np.float64)
    return np.column_stack([cut > 0, -sure, none + number])


def find_true(column: pd.Series) -> FloatArray:
    """1 where a column says yes, as a truth value, a number, or in words, as CSV files do."""
    words = column.astype(str).str.lower()
    return np.asarray(words.isin(TRUE), dtype=np.float64)


def find_losers(one: RankedOutlines, other: RankedOutlines) -> tuple[Ints, Ints]:
    """The rows of two files that go because the other one has their building, too."""
    pairs = OutlineOverlaps.between(one.outlines, other.outlines, least_shared=0)
    areas = shapely.area(one.outlines.polygons), shapely.area(other.outlines.polygons)
    pairs = select_linked(pairs, *areas)
    first, second = one.ranks[pairs.predicted], other.ranks[pairs.true]
    # The ranks of two files differ in the last number at least.
    decisive = np.argmax(first != second, axis=1)
    pair = np.arange(len(decisive))
    loses = first[pair, decisive] > second[pair, decisive]
    return np.unique(one.rows[pairs.predicted[loses]]), np.unique(other.rows[pairs.true[~loses]])
