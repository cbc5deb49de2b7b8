"""GeoParquet 1.1 as country-wide data sets have it: rows sorted by place, a box beside each outline, small row groups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geoseg.footprints.measure import FloatArray
from geoseg.footprints.write.spool import FOOTPRINT_COLUMNS, GEOMETRY, KINDS

ROW_GROUP = 49_152
"""Rows that a reader fetches at least: what geoparquet-io advises for sorted files, so that a town is a few requests."""
BOX = "bbox"
SIDES = ("xmin", "ymin", "xmax", "ymax")
BOX_TYPE = pa.struct([(side, pa.float64()) for side in SIDES])
SOURCES_TYPE = pa.list_(
    pa.struct(
        [("property", pa.string()), ("dataset", pa.string()), ("record_id", pa.string()),
         ("update_time", pa.string()), ("confidence", pa.float64())]
    )
)  # fmt: skip
PLAIN_COLUMNS = tuple(column for column in FOOTPRINT_COLUMNS if column.name not in ("id", "region"))
SOURCE = "source"


@dataclass(frozen=True)
class PublishedSchema:
    """The columns of the files, with names of geoseg or, where `overture` is set, of Overture Maps."""

    names: tuple[str, ...]
    overture: bool = False

    @property
    def spooled(self) -> pa.Schema:
        """What is sorted: the columns that the sources have, before they get their final names."""
        kinds = {column.name: KINDS[column.kind] for column in PLAIN_COLUMNS}
        columns = [(name, kinds[name]) for name in self.names]
        own = [("source_id", pa.string()), (SOURCE, pa.string()), (BOX, BOX_TYPE), (GEOMETRY, pa.binary())]
        return pa.schema([("key", pa.uint64()), ("sequence", pa.int64()), *columns, *own])

    def finish(self, rows: pa.Table, first: int) -> pa.Table:
        """Rows with their final columns; ids are numbered in the order of the files."""
        columns = {name: rows.column(name) for name in self.names}
        numbers = pa.array(np.arange(first, first + rows.num_rows))
        box, outlines = rows.column(BOX), rows.column(GEOMETRY)
        if not self.overture:
            columns = {"id": numbers, **columns, SOURCE: rows.column(SOURCE)}
            return pa.table({**columns, BOX: box, GEOMETRY: outlines})
        sources = make_sources(rows)
        known = {name: column for name, column in columns.items() if name != "class"}
        return pa.table(
            {"id": numbers.cast(pa.string()), GEOMETRY: outlines, BOX: box, "sources": sources, **known}
        )


def make_sources(rows: pa.Table) -> pa.Array:
    """Overture's column of where each footprint comes from."""
    count = rows.num_rows
    none = pa.nulls(count, pa.string())
    sure = rows.column("confidence") if "confidence" in rows.column_names else pa.nulls(count, pa.float64())
    days = rows.column("image_date") if "image_date" in rows.column_names else none
    files, numbers = (rows.column(name).to_pylist() for name in (SOURCE, "source_id"))
    record = [f"{file}:{number}" for file, number in zip(files, numbers, strict=True)]
    parts = [pa.array([""] * count), pa.array(["geoseg"] * count), pa.array(record), days, sure]
    flat = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in parts]
    inner = pa.StructArray.from_arrays(flat, fields=list(SOURCES_TYPE.value_type))
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32)), inner)


class PublishedFile:
    """A GeoParquet file of rows in a box, written some at a time."""

    def __init__(self, path: Path, title: str, box: FloatArray) -> None:
        self.path = path
        self.rows = 0
        self._about = {"geo": json.dumps(describe_geometry(box)), "title": title}
        self._waiting: list[pa.Table] = []
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> PublishedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write(only_full=False)
        if self._file is not None:
            self._file.close()

    def append(self, rows: pa.Table) -> None:
        """Write the next rows in whole row groups."""
        self._waiting.append(rows)
        self.rows += rows.num_rows
        self._write(only_full=True)

    def _write(self, only_full: bool) -> None:
        waiting = sum(each.num_rows for each in self._waiting)
        ready = waiting - waiting % ROW_GROUP if only_full else waiting
        if not ready:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        if self._file is None:
            self._file = pq.ParquetWriter(
                self.path, table.schema.with_metadata(self._about), compression="zstd"
            )
        self._file.write_table(table.slice(0, ready), row_group_size=ROW_GROUP)
        self._waiting = [table.slice(ready)] if ready < waiting else []


def describe_geometry(box: FloatArray) -> dict[str, object]:
    """The metadata of GeoParquet 1.1, with the column of boxes that readers filter by."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"],
        "bbox": box.tolist(),
        "covering": {"bbox": {side: [BOX, side] for side in SIDES}},
    }
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
