"""Which footprints are in several files because scenes overlap, and which of them stays.

Two footprints of different files are one building where at least half of the smaller one lies in the other. The one that an
edge or missing data may have cut goes; of two whole ones (or two cut ones) the less confident; else the one of the later file.
A footprint goes only for one that stays: else two halves of a house would go, one for the whole house and that for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.comparison.groups import select_linked
from geoseg.footprints.antimeridian import find_full_turn, lay_near, unwrap_polygons
from geoseg.footprints.measure import Extent, FloatArray, make_equal_area_crs, transform_polygons
from geoseg.footprints.polygons import mend_polygons
from geoseg.footprints.vector_files import VectorFile
from geoseg.raster.grid import WGS84
from geoseg.scores.outlines import FootprintOutlines, OutlineOverlaps

Ints = NDArray[np.int64]
CUT = ("touches_edge", "touches_nodata")
TRUE = ("true", "1", "1.0")
SURE = "confidence"
TURN = find_full_turn(WGS84)


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
        box = Extent.around(WGS84, every).bounds if len(every) else np.full(4, np.nan)
        return cls(file, rows, np.array(box))


def find_lonlat_boxes(shapes: NDArray[np.object_], crs: CRS) -> FloatArray:
    """Boxes around shapes, in degrees."""
    return np.asarray(shapely.bounds(convert_to_lonlat(shapes, crs)).reshape(-1, 4))


def convert_to_lonlat(shapes: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """Shapes in longitude and latitude; x comes first in every file, whatever its CRS says of the order.

    Those that cross the antimeridian go on beyond it.
    """
    if crs.equals(WGS84, ignore_axis_order=True):
        return unwrap_polygons(shapes, TURN)
    return transform_polygons(shapes, crs, WGS84)


@dataclass(frozen=True)
class RankedOutlines:
    """Footprints with their numbers, and how each stands against its duplicates: the lowest rank stays."""

    numbers: Ints
    outlines: FootprintOutlines
    ranks: FloatArray


def find_duplicates(scenes: Sequence[ScannedFile]) -> list[Ints]:
    """Of each file the rows whose building another one tells better."""
    starts = np.cumsum([0, *(scene.rows for scene in scenes)])
    links = [np.empty((2, 0), dtype=np.int64)]
    for one, other, box in find_shared_boxes(scenes):
        plane = make_equal_area_crs(Extent(WGS84, (*map(float, box),)))  # type: ignore[arg-type]
        ranked = (read_ranked(scenes[number], number, starts[number], box, plane) for number in (one, other))
        links.append(link_doubles(*ranked))
    losers = find_losers(*np.concatenate(links, axis=1))
    stops = np.searchsorted(losers, starts)
    return [losers[stops[n] : stops[n + 1]] - starts[n] for n in range(len(scenes))]


def find_shared_boxes(scenes: Sequence[ScannedFile]) -> Iterator[tuple[int, int, FloatArray]]:
    """Pairs of files whose boxes meet, on whichever side of the antimeridian they are written, and the box that they share."""
    boxes = np.array([scene.box for scene in scenes])
    tree = shapely.STRtree(shapely.box(*boxes.T))
    for turn in (-TURN, 0.0, TURN):
        moved = boxes + np.array([turn, 0, turn, 0])
        others, ones = tree.query(shapely.box(*moved.T), predicate="intersects")
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            if one < other:
                low = np.maximum(boxes[one, :2], moved[other, :2])
                yield one, other, np.concatenate([low, np.minimum(boxes[one, 2:], moved[other, 2:])])


def read_ranked(scene: ScannedFile, place: int, first: int, box: FloatArray, plane: CRS) -> RankedOutlines:
    """The footprints of a file that touch a box; they are numbered from `first`, `place` is that of the file among all."""
    known = [name for name in (*CUT, SURE) if name in scene.file.fields]
    numbers, shapes, ranks = [np.empty(0, np.int64)], [np.empty(0, dtype=object)], [np.empty((0, 3))]
    for frame in scene.file.pieces(known):
        outlines = convert_to_lonlat(np.asarray(frame.geometry.array), scene.file.crs)
        outlines = lay_near(outlines, (box[0] + box[2]) / 2, TURN)
        bounds = shapely.bounds(outlines).reshape(-1, 4)
        here = np.flatnonzero((bounds[:, :2] <= box[2:]).all(axis=1) & (bounds[:, 2:] >= box[:2]).all(axis=1))
        numbers.append(first + here)
        shapes.append(mend_polygons(transform_polygons(outlines[here], WGS84, plane)))
        ranks.append(rank_footprints(frame.iloc[here], place))
        first += len(frame)
    polygons = np.concatenate(shapes)
    plain = np.zeros(len(polygons))
    return RankedOutlines(
        np.concatenate(numbers),
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


def link_doubles(one: RankedOutlines, other: RankedOutlines) -> Ints:
    """The footprints of two files that are one building: the numbers of the better ones, then of the worse ones."""
    pairs = OutlineOverlaps.between(one.outlines, other.outlines, least_shared=0)
    areas = shapely.area(one.outlines.polygons), shapely.area(other.outlines.polygons)
    pairs = select_linked(pairs, *areas)
    first, second = one.ranks[pairs.predicted], other.ranks[pairs.true]
    # The ranks of two files differ in the last number at least.
    decisive = np.argmax(first != second, axis=1)
    pair = np.arange(len(decisive))
    is_second = first[pair, decisive] > second[pair, decisive]
    numbers = np.stack([one.numbers[pairs.predicted], other.numbers[pairs.true]])
    return np.where(is_second, numbers[::-1], numbers)


def find_losers(better: Ints, worse: Ints) -> Ints:
    """The numbers of footprints that go, in ascending order: each for a better one that stays."""
    numbers, places = np.unique(np.stack([better, worse]), return_inverse=True)
    better, worse = places.reshape(2, -1)
    goes = np.zeros(len(numbers), dtype=bool)
    while len(better):
        is_beaten = np.zeros(len(numbers), dtype=bool)
        is_beaten[worse] = True
        goes[worse[~is_beaten[better]]] = True
        undecided = ~(goes[better] | goes[worse])
        better, worse = better[undecided], worse[undecided]
    return np.asarray(numbers[goes])
