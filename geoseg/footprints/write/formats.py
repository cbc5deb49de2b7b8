"""Writes one layer into one file, in the format that the file's name asks for."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
from pyogrio.errors import DataSourceError
from pyogrio.raw import write_arrow
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.write.spool import GEOMETRY, Spool
from geoseg.raster.grid import format_crs

log = logging.getLogger(__name__)

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
        pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields)) for batch in spool.reader()
    )
    with set_gdal_options(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        write_arrow(
            pa.RecordBatchReader.from_batches(pa.schema(fields), batches),
            str(path),
            layer=layer.name,
            geometry_name=GEOMETRY,
            geometry_type=spool.geometry_type,
            crs=layer.crs and (format_crs(layer.crs) if layer.crs.to_authority() else layer.crs.to_wkt()),
            **options,
        )
    read_back = None if path.suffix.lower() == ".shp" else layer.name
    written = pyogrio.read_info(path, layer=read_back, force_feature_count=True)["features"]
    if written != spool.rows:
        raise DataSourceError(f"only {written} of {spool.rows} features arrived")


@contextmanager
def set_gdal_options() -> Iterator[None]:
    """Let GDAL write as `GDAL_OPTIONS` say."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in GDAL_OPTIONS}
    pyogrio.set_gdal_config_options(GDAL_OPTIONS)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
