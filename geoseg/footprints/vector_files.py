"""Reads polygons near a place from vector files of any size and many formats.

GDAL reads GeoPackage, FlatGeobuf, Shapefile, GeoJSON (whole or a feature a line), OpenStreetMap's extracts and CSV with
outlines as text, packed by gzip or not; pyarrow reads GeoParquet.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyogrio
import shapely
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import find_full_turn, lay_near
from geoseg.footprints.write.formats import write_frame
from geoseg.footprints.write.geopackage import BUILDINGS
from geoseg.io.addresses import PARQUET_SUFFIXES, parse_layer_path
from geoseg.io.atomic import explain_write_errors
from geoseg.io.layers import (
    explain_read_errors,
    parse_layer_crs,
    refuse_far_coordinates,
    refuse_missing_rows,
)
from geoseg.io.trust import check_vector_source
from geoseg.raster.grid import WGS84, Grid, find_transformer, format_crs
from geoseg.records import parse_json

GEOJSON_LINES_SUFFIXES = (".geojsonl", ".geojsons", ".jsonl", ".ndjson")
GEOMETRY_COLUMNS = "geometry,wkt,geom,the_geom"
ROWS_AT_ONCE = 65_536

Box = tuple[float, float, float, float]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class VectorFile:
    """A layer of polygons. `count` is how many features it has, where that is known; `indexed` files find by place."""

    name: str
    crs: CRS
    fields: tuple[str, ...]
    count: int | None
    indexed: bool

    def near(self, grid: Grid, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        """The features whose boxes touch a grid's, in the grid's CRS and where the grid lies, with some of their fields."""
        self.refuse_unknown(columns)
        found = [self.within(box, columns) for box in list_boxes(grid, self.crs, self.name)]
        rows = found[0] if len(found) == 1 else pandas.concat(found, ignore_index=True)
        placed = rows.to_crs(grid.crs)
        shapes = lay_near(placed.geometry.to_numpy(), grid.centre[0], find_full_turn(grid.crs))
        return placed.set_geometry(shapes, crs=grid.crs)

    def refuse_unknown(self, columns: Sequence[str]) -> None:
        missing = [column for column in columns if column not in self.fields]
        if missing:
            raise InputError(
                f"{self.name}: has no field {missing[0]}; it has {', '.join(self.fields) or 'none'}"
            )

    def within(self, box: Box, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        """The features whose boxes touch a box in the file's own CRS."""
        raise NotImplementedError

    def pieces(
        self, columns: Sequence[str], rows_at_once: int = ROWS_AT_ONCE
    ) -> Iterator[geopandas.GeoDataFrame]:
        """All features, some at a time."""
        raise NotImplementedError

    def copy_near(
        self, grids: Sequence[Grid], columns: Sequence[str], out: Path, rows_at_once: int = ROWS_AT_ONCE
    ) -> VectorFile:
        """A copy of what lies near any of some grids, which finds by place: the whole file is read once only."""
        self.refuse_unknown(columns)
        near = [shapely.box(*box) for grid in grids for box in list_boxes(grid, self.crs, self.name)]
        boxes = shapely.STRtree(near)
        kept = [select_touching(piece, boxes) for piece in self.pieces(columns, rows_at_once)]
        empty = geopandas.GeoDataFrame({name: [] for name in columns}, geometry=[], crs=self.crs)
        rows = pandas.concat(kept) if kept else empty
        with explain_write_errors(out):
            write_frame(rows, out, out.stem)
        return replace(open_vector_file(out), name=self.name)


@dataclass(frozen=True)
class GdalFile(VectorFile):
    """A layer that GDAL reads."""

    address: str
    layer: str | None
    options: Options = field(default_factory=dict)

    def within(self, box: Box, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        with explain_read_errors(self.name):
            found = pyogrio.read_dataframe(
                self.address, layer=self.layer, columns=list(columns), bbox=box, **self.options
            )
        return refuse_far_coordinates(found, self.name).set_crs(self.crs, allow_override=True)

    def pieces(
        self, columns: Sequence[str], rows_at_once: int = ROWS_AT_ONCE
    ) -> Iterator[geopandas.GeoDataFrame]:
        options = {"layer": self.layer, "columns": list(columns), "batch_size": rows_at_once, **self.options}
        with (
            explain_read_errors(self.name),
            pyogrio.open_arrow(self.address, use_pyarrow=True, **options) as (about, rows),
        ):
            read = 0
            for batch in rows:
                read += len(batch)
                yield build_frame(batch, about["geometry_name"] or "wkb_geometry", columns, self.crs)
            refuse_missing_rows(read, self.count, Path(self.name))


@dataclass(frozen=True)
class ParquetFile(VectorFile):
    """A GeoParquet file; it finds by place where it keeps a box with each feature, as Overture's do."""

    path: Path
    geometry: str

    def within(self, box: Box, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        if self.indexed:
            with explain_read_errors(self.name):
                found = geopandas.read_parquet(self.path, columns=[*columns, self.geometry], bbox=box)
            return found.rename_geometry("geometry") if self.geometry != "geometry" else found
        place = shapely.STRtree([shapely.box(*box)])
        return pandas.concat([select_touching(piece, place) for piece in self.pieces(columns)])

    def pieces(
        self, columns: Sequence[str], rows_at_once: int = ROWS_AT_ONCE
    ) -> Iterator[geopandas.GeoDataFrame]:
        from pyarrow.parquet import ParquetFile as Rows

        with explain_read_errors(self.name), Rows(self.path) as rows:
            empty = rows.schema_arrow.empty_table().select([*columns, self.geometry])
            yield build_frame(empty, self.geometry, columns, self.crs)
            for batch in rows.iter_batches(rows_at_once, columns=[*columns, self.geometry]):
                yield build_frame(batch, self.geometry, columns, self.crs)


def build_frame(rows: Any, geometry: str, columns: Sequence[str], crs: CRS) -> geopandas.GeoDataFrame:
    """A table of pyarrow's as one of geopandas'; text that is none is noticed here, rather than where it is used."""
    rows.validate(full=True)
    shapes = shapely.from_wkb(rows.column(geometry).to_numpy(zero_copy_only=False))
    return geopandas.GeoDataFrame(rows.select(list(columns)).to_pandas(), geometry=shapes, crs=crs)


def select_touching(rows: geopandas.GeoDataFrame, boxes: shapely.STRtree) -> geopandas.GeoDataFrame:
    """The rows whose boxes touch any of some boxes."""
    shapes = shapely.box(*shapely.bounds(rows.geometry.to_numpy()).T)
    return rows.iloc[np.unique(boxes.query(shapes)[0])]


def list_boxes(grid: Grid, crs: CRS, name: str) -> list[Box]:
    """The box (left, bottom, right, top) around a grid in another CRS; near the antimeridian also a turn to either side."""
    box: Box = find_transformer(grid.crs, crs).transform_bounds(*grid.bounds, densify_pts=21)
    if not all(map(isfinite, box)):
        raise InputError(
            f"{name}: its CRS, {format_crs(crs)}, does not reach the images; is it the right one?"
        )
    left, bottom, right, top = box
    turn = find_full_turn(crs)
    if -turn / 2 < left <= right < turn / 2:
        return [box]
    right += turn * (right < left)
    return [(left + by, bottom, right + by, top) for by in (0.0, -turn, turn)]


def open_vector_file(source: Path) -> VectorFile:
    """Find out what lies in a vector file, or in one layer of it: `FILE:LAYER`."""
    path, layer = parse_layer_path(str(source))
    if not path.exists():
        raise InputError(f"{path}: no such file")
    check_vector_source(path)
    return open_parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else open_gdal(path, layer)


def open_gdal(path: Path, layer: str | None) -> GdalFile:
    address, options = make_gdal_address(path)
    with explain_read_errors(str(path)):
        layer = layer if options else choose_layer(address, layer, path)
        about = pyogrio.read_info(address, layer=layer, **options)
    if about["geometry_type"] is None:
        raise InputError(
            f"{path}: has no outlines; a table needs a column {GEOMETRY_COLUMNS.replace(',', ', ')} with outlines as text (WKT)"
        )
    return GdalFile(
        name=str(path),
        crs=parse_layer_crs(about["crs"] or (WGS84 if options else None), path),
        fields=tuple(about["fields"]),
        count=about["features"] if about["features"] >= 0 else None,
        indexed=bool(about["capabilities"]["fast_spatial_filter"]),
        address=address,
        layer=layer,
        options=options,
    )


def make_gdal_address(path: Path) -> tuple[str, Options]:
    """How GDAL is to open a file, by its name and what it begins with; Microsoft calls GeoJSON lines .csv.gz."""
    packed = path.suffix.lower() == ".gz"
    inner = path.with_suffix("") if packed else path
    place = f"/vsigzip/{path.resolve()}" if packed else str(path)
    kind = inner.suffix.lower()
    if kind in GEOJSON_LINES_SUFFIXES or (kind == ".csv" and read_first_byte(path, packed) == b"{"):
        return f"GeoJSONSeq:{place}", {}
    if kind == ".csv":
        return place, {"GEOM_POSSIBLE_NAMES": GEOMETRY_COLUMNS, "KEEP_GEOM_COLUMNS": "NO"}
    return place, {}


def read_first_byte(path: Path, packed: bool) -> bytes:
    with explain_read_errors(str(path)), gzip.open(path) if packed else path.open("rb") as file:
        return file.read(64).lstrip()[:1]


def choose_layer(address: str, wanted: str | None, path: Path) -> str | None:
    """The layer asked for, else the one that geoseg wrote, else the only one of polygons."""
    kinds = {str(name): str(kind) for name, kind in pyogrio.list_layers(address)}
    if wanted is not None and wanted not in kinds:
        raise InputError(f"{path}: has no layer {wanted}; it has {', '.join(kinds)}")
    if not kinds:
        raise InputError(f"{path}: holds no layer; the file is damaged or empty, get it again")
    polygons = [name for name, kind in kinds.items() if "Polygon" in kind] or list(kinds)
    choice = wanted or (BUILDINGS if BUILDINGS in polygons else polygons[0])
    if wanted is None and len(polygons) > 1 and choice != BUILDINGS:
        raise InputError(
            f"{path}: has the layers {', '.join(polygons)}; say which one, e.g. {path}:{polygons[0]}"
        )
    return choice


def open_parquet(path: Path) -> ParquetFile:
    from pyarrow.parquet import ParquetFile as Rows

    with explain_read_errors(str(path)), Rows(path) as rows:
        written = (rows.schema_arrow.metadata or {}).get(b"geo")
        names, count = rows.schema_arrow.names, rows.metadata.num_rows
    try:
        about = parse_json(written or b"")
        geometry = about["primary_column"]
        column = about["columns"][geometry]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is Parquet without outlines; it must be GeoParquet") from error
    if column.get("encoding") != "WKB":
        raise InputError(
            f"{path}: keeps outlines as {column.get('encoding')}; write it anew with outlines as WKB"
        )
    return ParquetFile(
        name=str(path),
        crs=parse_layer_crs(column.get("crs", "OGC:CRS84"), path),
        fields=tuple(name for name in names if name != geometry),
        count=count,
        indexed=bool(column.get("covering", {}).get("bbox")),
        path=path,
        geometry=geometry,
    )
