"""Writes one layer into one file, in the format that the file's name asks for."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
from pyogrio.errors import DataSourceError
from pyogrio.raw import write_arrow
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.write.spool import GEOMETRY, Spool
from geoseg.io.layers import ROWS_AT_ONCE, TABLE_HEAD
from geoseg.raster.grid import format_crs

log = logging.getLogger(__name__)

INDEX_TRIGGERS = 6
"""What keeps a spatial index up to date, as GeoPackage 1.2 has it."""
TABLE_MARKS = b"\r\x1a"
"""What stands behind the fields of a shapefile's table, and at its end."""
GDAL_ROWS = 4_096
"""For GDAL, to which batches make no difference: traced outlines take some kilobytes each."""

FIXED_DATE = (
    "2000-01-01T00:00:00.000Z"  # files say when they were written; ours must not, to be the same every time
)

GDAL_OPTIONS = {
    "OGR_CURRENT_DATE": FIXED_DATE,
    # A file is put on disk as a whole before it gets its name, so SQLite need not wait for the disk in between.
    "OGR_SQLITE_SYNCHRONOUS": "OFF",
    "OGR_SQLITE_CACHE": "64",  # MB; with 200 it is no faster
}


@dataclass(frozen=True)
class VectorLayer:
    """What a layer is: its name for programs, its title and description for people."""

    name: str
    title: str
    description: str
    crs: CRS | None
    """None: it lies nowhere on Earth; its coordinates are those of a picture."""


def write_geopackage(spool: Spool, path: Path, layer: VectorLayer) -> None:
    """GeoPackage in its 1.2 layout, which QGIS of 2021 opens without a remark; other layers in the file stay."""
    options = {"IDENTIFIER": layer.title, "DESCRIPTION": layer.description, "GEOMETRY_NAME": "geom"}
    write_by_gdal(
        spool, path, layer, driver="GPKG", dataset_options={"VERSION": "1.2"}, layer_options=options
    )
    check_index(path, layer.name)


def check_index(path: Path, table: str) -> None:
    """Make sure that a layer has its extent, its number of rows, its spatial index, and what keeps these up to date.

    GDAL goes on in silence where a write of these fails, which a disk refuses for a moment, as over a network.
    """
    query = "SELECT name FROM sqlite_master WHERE tbl_name IN (?, ?)"
    with closing(sqlite3.connect(path)) as base:
        found = {name for (name,) in base.execute(query, [table, f"rtree_{table}_geom"])}
        indexed = (
            f"rtree_{table}_geom" in found
            and base.execute(
                f'SELECT (SELECT count(*) FROM "rtree_{table}_geom_rowid") = count("geom") FROM "{table}"'  # noqa: S608
            ).fetchone()[0]
        )
        counted = base.execute(
            f'SELECT feature_count = (SELECT count(*) FROM "{table}") FROM gpkg_ogr_contents WHERE table_name = ?',  # noqa: S608
            [table],
        ).fetchone()
        placed = base.execute(
            f'SELECT min_x IS NOT NULL OR NOT EXISTS (SELECT "geom" FROM "{table}" WHERE "geom" IS NOT NULL) '  # noqa: S608
            "FROM gpkg_contents WHERE table_name = ?", [table],
        ).fetchone()  # fmt: skip
    if counted != (1,):
        raise DataSourceError(f"the number of rows of {table} did not arrive")
    if placed != (1,):
        raise DataSourceError(f"the extent of {table} did not arrive")
    counters = {f"trigger_{when}_feature_count_{table}" for when in ("insert", "delete")}
    triggers = [name for name in found if name.startswith(f"rtree_{table}_geom_")]
    if not indexed or not counters <= found or len(triggers) < INDEX_TRIGGERS:
        raise DataSourceError(f"the spatial index of {table} did not arrive")


def write_flatgeobuf(spool: Spool, path: Path, layer: VectorLayer) -> None:
    """FlatGeobuf with its spatial index."""
    options = {"TITLE": layer.title, "DESCRIPTION": layer.description}
    write_by_gdal(spool, path, layer, driver="FlatGeobuf", layer_options=options)


def write_geojson(spool: Spool, path: Path, layer: VectorLayer) -> None:
    """GeoJSON as RFC 7946 has it: longitude and latitude, cut at the antimeridian; of a picture, its own coordinates."""
    options = {"DESCRIPTION": layer.description, **({"RFC7946": "YES"} if layer.crs else {})}
    write_by_gdal(spool, path, layer, driver="GeoJSON", layer_options=options)


def write_shapefile(spool: Spool, path: Path, layer: VectorLayer) -> None:
    """Shapefile, its field names fitted into ten letters."""
    fitted = {
        column.name: column.fitted_name for column in spool.columns if column.name in spool.schema.names
    }
    changed = [f"{name} as {short}" for name, short in fitted.items() if name != short]
    if changed:
        log.warning(f"a shapefile's field names hold ten letters: {', '.join(changed)}")
    options = {"ENCODING": "UTF-8", "DBF_DATE_LAST_UPDATE": FIXED_DATE[:10]}
    write_by_gdal(spool, path, layer, driver="ESRI Shapefile", names=fitted, layer_options=options)
    check_table(path.with_suffix(".dbf"))


def check_table(path: Path) -> None:
    """Make sure that all of a shapefile's table arrived: where a write failed, GDAL leaves a gap in silence."""
    with path.open("rb") as file:
        rows, start, width = TABLE_HEAD.unpack(file.read(TABLE_HEAD.size))
        file.seek(start - 1)
        end_of_fields = file.read(1)
        pieces = iter(lambda: file.read(width * ROWS_AT_ONCE), b"")
        sound = sum(len(piece) for piece in pieces if b"\0" not in piece)
        file.seek(-1, os.SEEK_END)
        marks = end_of_fields + file.read(1)
    if sound < rows * width or marks != TABLE_MARKS:
        raise DataSourceError(f"not all rows of {path.name} arrived")


def write_geoparquet(spool: Spool, path: Path, layer: VectorLayer) -> None:
    """GeoParquet 1.1, geometry as WKB."""
    column = {
        "encoding": "WKB",
        "geometry_types": [spool.geometry_type] if spool.rows else [],
        "crs": layer.crs and layer.crs.to_json_dict(),
        **({"bbox": spool.bounds.tolist()} if spool.rows else {}),
    }
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    about = {"geo": json.dumps(geo), "title": layer.title, "description": layer.description}
    with pq.ParquetWriter(path, spool.schema.with_metadata(about), compression="zstd") as file:
        for batch in spool.reader():
            file.write_batch(batch)


WRITERS: Mapping[str, Callable[[Spool, Path, VectorLayer], None]] = {
    ".gpkg": write_geopackage,
    ".fgb": write_flatgeobuf,
    ".geojson": write_geojson,
    ".parquet": write_geoparquet,
    ".shp": write_shapefile,
}


def check_format(path: Path) -> None:
    """Refuse a file name whose format cannot be written."""
    if path.suffix.lower() not in WRITERS:
        raise InputError(
            f"{path}: footprints are written as {', '.join(WRITERS)}; choose one of these endings"
        )


def write_layer(spool: Spool, path: Path, layer: VectorLayer) -> None:
    """Write every row of a finished spool as one layer."""
    WRITERS[path.suffix.lower()](spool, path, layer)


def write_by_gdal(
    spool: Spool, path: Path, layer: VectorLayer, names: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Stream a spool through GDAL, and make sure that every row arrived."""
    fields = [field.with_name((names or {}).get(field.name, field.name)) for field in spool.schema]
    batches = (
        pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))
        for batch in spool.reader(GDAL_ROWS)
    )
    with set_gdal_options(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        write_batches(
            pa.schema(fields),
            batches,
            path,
            layer=layer.name,
            geometry_name=GEOMETRY,
            geometry_type=spool.geometry_type,
            crs=layer.crs and (format_crs(layer.crs) if layer.crs.to_authority() else layer.crs.to_wkt()),
            **options,
        )
    name = None if path.suffix.lower() == ".shp" else layer.name
    check_arrived(path, name, spool.rows, options["layer_options"].get("DESCRIPTION", ""))


def write_batches(schema: pa.Schema, batches: Iterator[pa.RecordBatch], path: Path, **options: Any) -> None:
    """Let GDAL write batches. What ends these, such as a signal, reaches it as an error of a stream: so it is raised anew."""
    ended: list[BaseException] = []

    def read() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:
            ended.append(error)
            raise

    try:
        write_arrow(pa.RecordBatchReader.from_batches(schema, read()), str(path), **options)
    except Exception:
        if ended:
            raise ended[0] from None
        raise


def write_frame(frame: geopandas.GeoDataFrame, path: Path, layer: str, **options: Any) -> None:
    """Write a few rows as a layer, and make sure that all of them arrived."""
    with set_gdal_options():
        pyogrio.write_dataframe(frame, path, layer=layer, **options)
    check_arrived(path, layer, len(frame))
    if path.suffix == ".gpkg":
        check_index(path, layer)


def check_arrived(path: Path, layer: str | None, rows: int, description: str = "") -> None:
    """Make sure that every row can be read back, and the description, and that GDAL finds nothing to remark on the file."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", RuntimeWarning)
        told = pyogrio.read_info(path, layer=layer)["layer_metadata"] or {}
        with pyogrio.open_arrow(path, layer=layer, use_pyarrow=True) as (_, batches):
            written = sum(map(len, batches))
    if remarks:
        raise DataSourceError(f"not all of it arrived ({remarks[0].message})")
    if written != rows:
        raise DataSourceError(f"only {written} of {rows} features arrived")
    if told.get("DESCRIPTION", "") != description:
        raise DataSourceError("its description did not arrive")


@contextmanager
def set_gdal_options(**others: str) -> Iterator[None]:
    """Let GDAL write as `GDAL_OPTIONS` say, and others."""
    options = GDAL_OPTIONS | others
    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(options)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
