"""A layer of footprints made ready to be compared: numbers of each outline in memory, the outlines themselves on disk.

So a country of footprints takes some hundred bytes of memory each, whatever their shapes are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import find_full_turn, unwrap_polygons
from geoseg.footprints.measure import Extent, FloatArray, make_equal_area_crs, transform_polygons
from geoseg.footprints.polygons import POLYGONAL, keep_polygonal_parts, mend_polygons
from geoseg.footprints.vector_files import VectorFile, open_vector_file
from geoseg.io.atomic import explain_write_errors
from geoseg.io.layers import read_days, read_words
from geoseg.progress import Advance, ignore, track

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Polygons = NDArray[np.object_]

ATTRIBUTES = {
    "id": ("id", "osm_id", "full_id", "osm_way_id", "full_plus_code"),
    "class": ("class",),
    "date": ("image_date", "capture_dates_range"),
}
"""Where the files of geoseg, OpenStreetMap, Overture, Google and Microsoft keep them; the first that is there is read."""
TEXTS = pa.schema([(name, pa.string()) for name in ATTRIBUTES])
MEASURES = 9
"""A box, an area, a middle and a point."""


class OutlineStore:
    """Outlines on disk, found by their numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with explain_write_errors(path):
            self._file: BinaryIO = path.open("wb+")
        self._sizes: list[Ints] = []
        self._starts: Ints = np.zeros(1, dtype=np.int64)

    def append(self, polygons: Polygons) -> None:
        written = shapely.to_wkb(polygons, include_srid=False)
        self._sizes.append(np.fromiter(map(len, written), dtype=np.int64, count=len(written)))
        with explain_write_errors(self._path):
            self._file.write(b"".join(written))

    def finish(self) -> None:
        """Take no more outlines."""
        with explain_write_errors(self._path):
            self._file.flush()
        self._starts = np.concatenate([[0], np.cumsum(np.concatenate([[], *self._sizes]))]).astype(np.int64)
        self._sizes = []

    def read(self, numbers: Ints) -> Polygons:
        """Some outlines, in the order in which they are asked for."""
        found = np.empty(len(numbers), dtype=object)
        sizes = self._starts[numbers + 1] - self._starts[numbers]
        for place in np.argsort(numbers, kind="stable"):
            self._file.seek(self._starts[numbers[place]])
            found[place] = self._file.read(sizes[place])
        return np.asarray(shapely.from_wkb(found), dtype=object)

    def close(self) -> None:
        with suppress(OSError):  # what the disk refused has been told
            self._file.close()


@dataclass(frozen=True)
class ComparedLayer:
    """Footprints in a plane of metres that keeps areas. `points` lie inside the outlines, `middles` need not.

    `attributes` hold what the file says of each, as text: id, class, date. `moved` is added to all that is read.
    """

    name: str
    crs: CRS
    plane: CRS
    store: OutlineStore
    boxes: FloatArray
    areas: FloatArray
    middles: FloatArray
    points: FloatArray
    attributes: pa.Table
    moved: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The box around all footprints."""
        low, high = self.boxes[:, :2].min(axis=0), self.boxes[:, 2:].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def move(self, east_m: float, north_m: float) -> ComparedLayer:
        """The same layer a little further east and north."""
        step = np.array([east_m, north_m])
        return replace(
            self,
            boxes=self.boxes + np.tile(step, 2),
            middles=self.middles + step,
            points=self.points + step,
            moved=(self.moved[0] + east_m, self.moved[1] + north_m),
        )

    def read(self, numbers: Ints) -> Polygons:
        """Some outlines in the plane."""
        outlines = self.store.read(numbers)
        if not any(self.moved):
            return outlines
        return np.asarray(shapely.transform(outlines, lambda places: places + np.array(self.moved)))

    def read_texts(self, name: str, numbers: Ints) -> NDArray[np.object_]:
        """What the file says of some footprints; None where it does not."""
        return np.array(self.attributes.column(name).take(pa.array(numbers)).to_pylist(), dtype=object)


def choose_plane(*sources: str) -> CRS:
    """An equal-area plane at the place of the first footprints of the first layer that has some."""
    for source in sources:
        file = open_vector_file(Path(source))
        for frame in file.pieces([]):
            shapes = unwrap_polygons(np.asarray(frame.geometry.array), find_full_turn(file.crs))
            boxes = shapely.bounds(shapes).reshape(-1, 4)
            boxes = boxes[np.isfinite(boxes).all(axis=1)]
            if len(boxes):
                return make_equal_area_crs(Extent.around(file.crs, boxes))
    raise InputError(f"{' and '.join(sources)}: hold no footprint, so there is nothing to compare")


def read_compared_layer(source: str, plane: CRS, outlines: Path, cleanup: ExitStack) -> ComparedLayer:
    """Read a layer once; its outlines are kept in the file `outlines`, which `cleanup` closes."""
    file = open_vector_file(Path(source))
    columns = find_attributes(file.fields)
    store = OutlineStore(outlines)
    cleanup.callback(store.close)
    cleaner = OutlineCleaner(source, plane)
    measures: list[FloatArray] = []
    texts: list[pa.RecordBatch] = []
    with follow_rows(file) as done:
        for frame in file.pieces(sorted(set(columns.values()))):
            kept, polygons = cleaner.clean(frame, file.crs)
            store.append(polygons)
            measures.append(measure_outlines(polygons))
            texts.append(read_texts(frame, columns, kept, cleaner.rows))
            done(len(frame))
    store.finish()
    cleaner.report()
    every = np.concatenate([np.empty((0, MEASURES)), *measures])
    boxes, areas, middles, points = np.split(every, (4, 5, 7), axis=1)
    table = pa.Table.from_batches(texts, TEXTS).combine_chunks()
    return ComparedLayer(source, file.crs, plane, store, boxes, areas[:, 0], middles, points, table)


def follow_rows(file: VectorFile) -> AbstractContextManager[Advance]:
    """Progress over the rows of a file, where it tells how many it has."""
    if file.count:
        return track(f"Reading {file.name}", file.count, "footprints")
    return nullcontext(ignore)


def find_attributes(fields: Sequence[str]) -> dict[str, str]:
    """Which column of a file holds each of the attributes."""
    found = {name: next((each for each in known if each in fields), "") for name, known in ATTRIBUTES.items()}
    return {name: column for name, column in found.items() if column}


def read_texts(frame: gpd.GeoDataFrame, columns: Mapping[str, str], kept: Flags, rows: int) -> pa.RecordBatch:
    """The attributes of kept footprints as text; without an id of their own they are numbered as in the file."""
    first = rows - len(frame) + 1
    readers = {"date": read_days}
    texts = {name: readers.get(name, read_words)(frame[column][kept]) for name, column in columns.items()}
    texts.setdefault("id", [str(number) for number in np.arange(first, rows + 1)[kept]])
    none = [None] * int(kept.sum())
    return pa.RecordBatch.from_arrays(
        [pa.array(texts.get(name, none), pa.string()) for name in TEXTS.names], schema=TEXTS
    )


def measure_outlines(polygons: Polygons) -> FloatArray:
    """Of each outline its box, area, middle, and a point inside: nine numbers."""
    middles, points = (
        shapely.get_coordinates(find(polygons)) for find in (shapely.centroid, shapely.point_on_surface)
    )
    return np.column_stack([shapely.bounds(polygons).reshape(-1, 4), shapely.area(polygons), middles, points])


class OutlineCleaner:
    """Takes polygons to a plane, mends them, and counts what it left out."""

    def __init__(self, source: str, plane: CRS) -> None:
        self.source = source
        self.plane = plane
        self.rows = self.mended = self.others = self.empty = 0

    def clean(self, frame: gpd.GeoDataFrame, crs: CRS) -> tuple[Flags, Polygons]:
        """Which rows have an outline, and these outlines, valid and in the plane."""
        shapes = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
        is_polygon = np.isin(shapely.get_type_id(shapes), POLYGONAL)
        self.rows += len(shapes)
        self.others += int((~is_polygon & ~shapely.is_missing(shapes)).sum())
        shapes = np.where(is_polygon, shapes, shapely.Polygon())
        self.mended += int((~shapely.is_valid(shapes)).sum())
        moved = transform_polygons(mend_polygons(shapes), crs, self.plane)
        is_reached = np.isfinite(shapely.bounds(moved)).all(axis=1)
        flat = mend_polygons(np.where(is_reached, moved, shapely.Polygon()))
        kept = is_polygon & (shapely.area(flat) > 0)
        self.empty += int((is_polygon & ~kept).sum())
        return kept, keep_polygonal_parts(flat[kept])

    def report(self) -> None:
        """Say what was mended and left out."""
        told = (
            (self.mended, "polygons had invalid geometry and were repaired"),
            (self.others, "features are points or lines and were left out"),
            (self.empty, "polygons have no area and were left out"),
        )
        for count, what in told:
            if count:
                log.warning(f"{self.source}: {count:,} of {self.rows:,} {what}")
        if self.others and self.others == self.rows:
            raise InputError(f"{self.source}: holds points or lines only; footprints are polygons")
