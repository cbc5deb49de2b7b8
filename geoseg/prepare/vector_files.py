"""Vector files of any size and many formats, of which only what lies near some place is read.

GDAL reads GeoPackage, FlatGeobuf, Shapefile, GeoJSON (whole or a feature a line), OpenStreetMap's extracts and CSV with
outlines as text, packed by gzip or not; pyarrow reads GeoParquet.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from geoseg.errors import InputError
from geoseg.footprints.files.geopackage import BUILDINGS
from geoseg.footprints.regions.regions import path_and_layer
from geoseg.raster.grid import WGS84, Grid, crs_name

PARQUET = (".parquet", ".geoparquet")
LINES = (".geojsonl", ".geojsons", ".jsonl", ".ndjson")
OUTLINES = "geometry,wkt,geom,the_geom"
AT_ONCE = 65_536

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
        """The features whose boxes touch a grid's, in the grid's CRS, with some of their fields."""
        self.refuse_unknown(columns)
        return self.within(box_in(grid, self.crs, self.name), columns).to_crs(grid.crs)

    def refuse_unknown(self, columns: Sequence[str]) -> None:
        missing = [column for column in columns if column not in self.fields]
        if missing:
            raise InputError(
                f"{self.name}: has no field {missing[0]}; it has {', '.join(self.fields) or 'none'}"
            )

    def within(self, box: Box, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        """The features whose boxes touch a box in the file's own CRS."""
        raise NotImplementedError

    def pieces(self, columns: Sequence[str]) -> Iterator[geopandas.GeoDataFrame]:
        """All features, some at a time."""
        raise NotImplementedError

    def indexed_near(self, grids: Sequence[Grid], columns: Sequence[str], out: Path) -> VectorFile:
        """A copy of what lies near any of some grids, which finds by place: the whole file is read once only."""
        self.refuse_unknown(columns)
        boxes = shapely.STRtree([shapely.box(*box_in(grid, self.crs, self.name)) for grid in grids])
        kept = [touching(piece, boxes) for piece in self.pieces(columns)]
        empty = geopandas.GeoDataFrame({name: [] for name in columns}, geometry=[], crs=self.crs)
        near = pandas.concat(kept) if kept else empty
        near.to_file(out, driver="GPKG", engine="pyogrio")
        return replace(open_vectors(out), name=self.name)


@dataclass(frozen=True)
class GdalFile(VectorFile):
    """A layer that GDAL reads."""

    address: str
    layer: str | None
    options: Options = field(default_factory=dict)

    def within(self, box: Box, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        with told(self.name):
            found = pyogrio.read_dataframe(
                self.address, layer=self.layer, columns=list(columns), bbox=box, **self.options
            )
        return found.set_crs(self.crs, allow_override=True)

    def pieces(self, columns: Sequence[str]) -> Iterator[geopandas.GeoDataFrame]:
        options = {"layer": self.layer, "columns": list(columns), "batch_size": AT_ONCE, **self.options}
        with told(self.name), pyogrio.open_arrow(self.address, use_pyarrow=True, **options) as (about, rows):
            for batch in rows:
                yield framed(batch, about["geometry_name"] or "wkb_geometry", columns, self.crs)


@dataclass(frozen=True)
class ParquetFile(VectorFile):
    """A GeoParquet file; it finds by place where it keeps a box with each feature, as Overture's do."""

    path: Path
    geometry: str

    def within(self, box: Box, columns: Sequence[str]) -> geopandas.GeoDataFrame:
        if self.indexed:
            with told(self.name):
                found = geopandas.read_parquet(self.path, columns=[*columns, self.geometry], bbox=box)
            return found.rename_geometry("geometry") if self.geometry != "geometry" else found
        place = shapely.STRtree([shapely.box(*box)])
        return pandas.concat([touching(piece, place) for piece in self.pieces(columns)])

    def pieces(self, columns: Sequence[str]) -> Iterator[geopandas.GeoDataFrame]:
        from pyarrow.parquet import ParquetFile as Rows

        with told(self.name), Rows(self.path) as rows:
            empty = rows.schema_arrow.empty_table().select([*columns, self.geometry])
            yield framed(empty, self.geometry, columns, self.crs)
            for batch in rows.iter_batches(AT_ONCE, columns=[*columns, self.geometry]):
                yield framed(batch, self.geometry, columns, self.crs)


def framed(rows: Any, geometry: str, columns: Sequence[str], crs: CRS) -> geopandas.GeoDataFrame:
    """A table of pyarrow's as one of geopandas'."""
    shapes = shapely.from_wkb(rows.column(geometry).to_numpy(zero_copy_only=False))
    return geopandas.GeoDataFrame(rows.select(list(columns)).to_pandas(), geometry=shapes, crs=crs)


def touching(rows: geopandas.GeoDataFrame, boxes: shapely.STRtree) -> geopandas.GeoDataFrame:
    """The rows whose boxes touch any of some boxes."""
    shapes = shapely.box(*shapely.bounds(rows.geometry.to_numpy()).T)
    return rows.iloc[np.unique(boxes.query(shapes)[0])]


def box_in(grid: Grid, crs: CRS, name: str) -> Box:
    """The box (left, bottom, right, top) around a grid in another CRS."""
    box: Box = Transformer.from_crs(grid.crs, crs, always_xy=True).transform_bounds(
        *grid.bounds, densify_pts=21
    )
    if not all(map(isfinite, box)):
        raise InputError(f"{name}: its CRS, {crs_name(crs)}, does not reach the images; is it the right one?")
    return box


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what the reading libraries complain about into a line of ours."""
    import pyarrow

    try:
        yield
    except (DataSourceError, DataLayerError, FeatureError, OSError, EOFError, pyarrow.ArrowInvalid) as error:
        raise InputError(f"{name}: not a vector file that can be read ({error})") from error


def open_vectors(source: Path) -> VectorFile:
    """Find out what lies in a vector file, or in one layer of it: `FILE:LAYER`."""
    path, layer = path_and_layer(str(source))
    if not path.exists():
        raise InputError(f"{path}: no such file")
    return open_parquet(path) if path.suffix.lower() in PARQUET else open_gdal(path, layer)


def open_gdal(path: Path, layer: str | None) -> GdalFile:
    address, options = address_of(path)
    with told(str(path)):
        layer = layer if options else chosen_layer(address, layer, path)
        about = pyogrio.read_info(address, layer=layer, **options)
    if about["geometry_type"] is None:
        raise InputError(
            f"{path}: has no outlines; a table needs a column {OUTLINES.replace(',', ', ')} with outlines as text (WKT)"
        )
    return GdalFile(
        name=str(path),
        crs=crs_of(about["crs"] or (WGS84 if options else None), path),
        fields=tuple(about["fields"]),
        count=about["features"] if about["features"] >= 0 else None,
        indexed=bool(about["capabilities"]["fast_spatial_filter"]),
        address=address,
        layer=layer,
        options=options,
    )


def address_of(path: Path) -> tuple[str, Options]:
    """How GDAL is to open a file, by its name and what it begins with; Microsoft calls GeoJSON lines .csv.gz."""
    packed = path.suffix.lower() == ".gz"
    inner = path.with_suffix("") if packed else path
    place = f"/vsigzip/{path.resolve()}" if packed else str(path)
    kind = inner.suffix.lower()
    if kind in LINES or (kind == ".csv" and begins_with(path, packed) == b"{"):
        return f"GeoJSONSeq:{place}", {}
    if kind == ".csv":
        return place, {"GEOM_POSSIBLE_NAMES": OUTLINES, "KEEP_GEOM_COLUMNS": "NO"}
    return place, {}


def begins_with(path: Path, packed: bool) -> bytes:
    with told(str(path)), gzip.open(path) if packed else path.open("rb") as file:
        return file.read(64).lstrip()[:1]


def chosen_layer(address: str, wanted: str | None, path: Path) -> str | None:
    """The layer asked for, else the one that geoseg wrote, else the only one of polygons."""
    kinds = {str(name): str(kind) for name, kind in pyogrio.list_layers(address)}
    if wanted is not None and wanted not in kinds:
        raise InputError(f"{path}: has no layer {wanted}; it has {', '.join(kinds)}")
    polygons = [name for name, kind in kinds.items() if "Polygon" in kind] or list(kinds)
    choice = wanted or (BUILDINGS if BUILDINGS in polygons else polygons[0])
    if wanted is None and len(polygons) > 1 and choice != BUILDINGS:
        raise InputError(
            f"{path}: has the layers {', '.join(polygons)}; say which one, e.g. {path}:{polygons[0]}"
        )
    return choice


def open_parquet(path: Path) -> ParquetFile:
    from pyarrow.parquet import ParquetFile as Rows

    with told(str(path)), Rows(path) as rows:
        written = (rows.schema_arrow.metadata or {}).get(b"geo")
        names, count = rows.schema_arrow.names, rows.metadata.num_rows
    try:
        about = json.loads(written or b"")
        geometry = about["primary_column"]
        column = about["columns"][geometry]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is Parquet without outlines; it must be GeoParquet") from error
    boxed = bool(column.get("covering", {}).get("bbox"))
    if not boxed and column.get("encoding") != "WKB":
        raise InputError(
            f"{path}: keeps outlines as {column.get('encoding')}; write it anew with outlines as WKB"
        )
    return ParquetFile(
        name=str(path),
        crs=crs_of(column.get("crs", "OGC:CRS84"), path),
        fields=tuple(name for name in names if name != geometry),
        count=count,
        indexed=boxed,
        path=path,
        geometry=geometry,
    )


def crs_of(written: Any, path: Path) -> CRS:
    if written is None:
        raise InputError(f"{path}: has no coordinate reference system; give it one with ogr2ogr -a_srs")
    try:
        return CRS.from_user_input(written)
    except CRSError as error:
        raise InputError(f"{path}: its coordinate reference system cannot be read ({error})") from error
