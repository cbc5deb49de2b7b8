"""Rows of a layer kept on disk until the file can be written in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely

from geoseg.footprints.files.columns import Column

ROWS = 65_536
GEOMETRY = "geometry"
MULTIPOLYGON = 6
ONE_PART = b"\x01\x06\x00\x00\x00\x01\x00\x00\x00"
KINDS = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "yes/no": pa.bool_()}


class Spool:
    """Takes frames of any length and gives them back as batches of equal length.

    So memory stays small, and what is made of the batches does not depend on how the rows arrived.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.rows = 0
        self.bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.multiple = False
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._file: pa.ipc.RecordBatchStreamWriter | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(*([OSError] if error else [])):  # a full disk was already told
                self._file.close()

    @property
    def schema(self) -> pa.Schema:
        """The columns of the first frame, the geometry last; every declared column when no frame came."""
        return self._schema or arrow_schema([column.name for column in self.columns], self.columns)

    @property
    def geometry_type(self) -> str:
        """Polygon, or MultiPolygon if one of the rows is."""
        return "MultiPolygon" if self.multiple else "Polygon"

    def append(self, frame: gpd.GeoDataFrame) -> None:
        """Take the next rows, with the columns of the first frame."""
        if self._schema is None:
            names = [str(name) for name in frame.columns if name != frame.geometry.name]
            self._schema = arrow_schema(names, self.columns)
        if len(frame):
            self.rows += len(frame)
            low, high = self.bounds[:2], self.bounds[2:]
            box = frame.total_bounds
            self.bounds = np.concatenate([np.fmin(low, box[:2]), np.fmax(high, box[2:])])
            self.multiple |= bool((shapely.get_type_id(frame.geometry.array) == MULTIPOLYGON).any())
            self._waiting.append(arrow_batch(frame, self._schema))
            self._store(only_full=True)

    def finish(self) -> None:
        """Take no more rows."""
        self._store(only_full=False)
        if self._file is not None:
            self._file.close()
            self._file = None

    def reader(self) -> pa.RecordBatchReader:
        """Every row, in batches of equal length; all geometries multipolygons if one of them is."""
        batches = map(with_multipolygons, self._stored()) if self.multiple else self._stored()
        return pa.RecordBatchReader.from_batches(self.schema, batches)

    def _stored(self) -> Iterator[pa.RecordBatch]:
        if self.path.exists():
            with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as batches:
                yield from batches

    def _store(self, only_full: bool) -> None:
        waiting = sum(batch.num_rows for batch in self._waiting)
        ready = waiting - waiting % ROWS if only_full else waiting
        if not ready:
            return
        table = pa.Table.from_batches(self._waiting).combine_chunks()
        if self._file is None:
            self._file = pa.ipc.new_stream(str(self.path), self.schema)
        self._file.write_table(table.slice(0, ready), max_chunksize=ROWS)
        self._waiting = table.slice(ready).to_batches()


def arrow_schema(names: Sequence[str], columns: Sequence[Column]) -> pa.Schema:
    """The types of the named columns, with the geometry as the last."""
    kinds = {column.name: KINDS[column.kind] for column in columns}
    geometry = pa.field(GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    return pa.schema([pa.field(name, kinds[name]) for name in names if name in kinds] + [geometry])


def arrow_batch(frame: gpd.GeoDataFrame, schema: pa.Schema) -> pa.RecordBatch:
    """A frame's rows in the types of a schema."""
    values = [
        pa.array(np.asarray(frame[name]), type=schema.field(name).type, from_pandas=True)
        for name in schema.names[:-1]
    ]
    shapes = pa.array(shapely.to_wkb(frame.geometry.array, include_srid=False), type=pa.binary())
    return pa.RecordBatch.from_arrays([*values, shapes], schema=schema)


def with_multipolygons(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, each polygon as a multipolygon of one part."""
    shapes = [
        shape if shape[1] == MULTIPOLYGON else ONE_PART + shape
        for shape in batch.column(GEOMETRY).to_pylist()
    ]
    return batch.set_column(
        len(batch.schema) - 1, batch.schema.field(GEOMETRY), pa.array(shapes, pa.binary())
    )
