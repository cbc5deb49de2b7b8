"""Reads a layer of a vector file, named as `file` or `file:layer`."""

from __future__ import annotations

import math
import re
import sqlite3
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from geoseg.errors import InputError
from geoseg.io.addresses import PARQUET_SUFFIXES
from geoseg.io.trust import check_vector_source

DAY_LETTERS = len("2026-05-04")
ADVICE = ".; It might help"
LOST_CRS = re.compile("unable to read srs_id|not registered in gpkg_geometry_columns")
TABLE_HEAD = struct.Struct("<4xIHH")
"""How the table of a shapefile begins: how many rows there are, where the first one is, and how long each is."""
ROWS_AT_ONCE = 65_536
LONLAT = "OGC:CRS84"
FARTHEST = 1e9
"""Seven times the way around the Earth in feet."""


def read_layer(path: Path, layer: str | None, *preferred: str) -> gpd.GeoDataFrame:
    """A layer of a vector file; where none is named, the first of those preferred that is there, else the only one."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    check_vector_source(path)
    with explain_read_errors(str(path)):
        if path.suffix.lower() in PARQUET_SUFFIXES:
            found = gpd.read_parquet(path)
        else:
            layer = find_named_layer(path, layer) if layer else find_only_layer(path, *preferred)
            found = read_every_row(path, layer)
    if not isinstance(found, gpd.GeoDataFrame):
        raise InputError(f"{path}: its layer {layer} is a table without geometry; name another layer")
    return refuse_far_coordinates(found, str(path))


def read_every_row(path: Path, layer: str | None = None) -> pd.DataFrame:
    """A layer as GDAL reads it, which gives fewer rows, or no CRS, where it cannot read them for a moment."""
    found = pyogrio.read_dataframe(path, layer=layer, force_2d=True)
    about = pyogrio.read_info(path, layer=layer)
    refuse_missing_rows(len(found), about["features"], path)
    if isinstance(found, gpd.GeoDataFrame) and (found.crs is None) != (about["crs"] is None):
        raise DataSourceError("its coordinate reference system could be read once only")
    return found


def read_layer_facts(path: Path, layer: str | None = None) -> dict[str, Any]:
    """What GDAL tells of a layer; refused where it only warns that it cannot read the CRS."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", RuntimeWarning)
        facts: dict[str, Any] = pyogrio.read_info(path, layer=layer, force_total_bounds=True)
    lost = [str(remark.message) for remark in remarks if LOST_CRS.search(str(remark.message))]
    if lost:
        raise DataSourceError(lost[0])
    return facts


def refuse_missing_rows(read: int, told: int | None, path: Path) -> None:
    """Where a disk fails midway, GDAL ends in silence: so rows are counted, where a file tells how many it has."""
    if told is not None and read < told and read < told - count_deleted_rows(path):
        raise DataSourceError(f"only {read:,} of its {told:,} rows could be read")


def count_deleted_rows(path: Path) -> int:
    """Rows of a shapefile that are marked as deleted: they stay in it, and in its count, until somebody packs it."""
    tables = (
        [path.with_suffix(suffix) for suffix in (".dbf", ".DBF")] if path.suffix.lower() == ".shp" else []
    )
    table = next((table for table in tables if table.is_file()), None)
    if table is None:
        return 0
    with table.open("rb") as file:
        _, start, width = TABLE_HEAD.unpack(file.read(TABLE_HEAD.size))
        file.seek(start)
        return sum(piece[::width].count(b"*") for piece in iter(lambda: file.read(width * ROWS_AT_ONCE), b""))


@contextmanager
def explain_read_errors(name: str) -> Iterator[None]:
    """Say in one line that a vector file is damaged, or none; pyogrio's advice on drivers is for those who call it."""
    try:
        with ignore_ring_warnings():
            yield
    except list_vector_errors() as error:
        if Path(name).is_dir():
            raise InputError(
                f"{name}: is a folder; name one file of it, or make one of all: geoseg publish {name} --out all.parquet"
            ) from error
        reason = str(error).partition(ADVICE)[0]
        raise InputError(f"{name}: not a vector file that can be read ({reason})") from error


def list_vector_errors() -> tuple[type[Exception], ...]:
    """What the libraries raise that read vector files, for one that is damaged."""
    import pyarrow

    gdal = (DataSourceError, DataLayerError, FeatureError, NotImplementedError)  # the last for curves
    others = (
        ShapelyError,
        pyarrow.ArrowException,
        sqlite3.Error,
        OSError,
        EOFError,
        ValueError,
        TypeError,  # of pandas, where Parquet describes its columns wrongly
        struct.error,
    )
    return (*gdal, *others)


def refuse_far_coordinates(frame: gpd.GeoDataFrame, name: str) -> gpd.GeoDataFrame:
    """The same features, unless some lie where no CRS has a place: what is computed of them would be no number."""
    if len(frame) and isinstance(frame, gpd.GeoDataFrame):
        refuse_far_bounds(frame.total_bounds, name)
    return frame


def refuse_far_bounds(bounds: Sequence[float], name: str) -> None:
    """Refuse a layer that reaches where no place is; one without any outline reaches nowhere."""
    farthest = max((abs(each) for each in bounds if not math.isnan(each)), default=0)
    if farthest > FARTHEST:
        raise InputError(f"{name}: has a coordinate of {farthest:g}, where no place on Earth is; mend it")


@contextmanager
def ignore_ring_warnings() -> Iterator[None]:
    """GDAL warns of rings that do not close, which shapely then refuses, and of outlines it does not know, which are left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non closed ring|Unsupported geometry type", RuntimeWarning)
        yield


def read_words(column: pd.Series) -> list[str | None]:
    """A column as text, none where it holds nothing. Whole numbers with gaps come as decimals: 1 is 1.0 then."""
    if column.dtype.kind == "f" and (column.dropna() % 1 == 0).all():
        column = column.map("{:.0f}".format, na_action="ignore")
    return [None if gone else str(value) for value, gone in zip(column, column.isna(), strict=True)]


def read_days(column: pd.Series) -> list[str | None]:
    """A column of days as text; GDAL takes text that looks like a date for one in some formats."""
    days = column.astype(object)
    return [
        None if gone else day.isoformat()[:DAY_LETTERS] if hasattr(day, "isoformat") else str(day)
        for day, gone in zip(days, days.isna(), strict=True)
    ]


def find_named_layer(path: Path, name: str) -> str:
    """A layer by its name, for which GDAL takes small and capital letters as the same."""
    layers = [str(each) for each, _ in pyogrio.list_layers(path)]
    if name.casefold() not in map(str.casefold, layers):
        raise InputError(f"{path}: has no layer {name}; it has {', '.join(layers)}")
    return name


def find_only_layer(path: Path, *preferred: str) -> str:
    """The first of the preferred layers that a file has with geometry, or else the one that there is."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    for name in preferred:
        if name in layers:
            return name
    if not layers:
        raise InputError(f"{path} holds no layer with geometry; give a file of polygons")
    if len(layers) > 1:
        raise InputError(f"{path} holds the layers {', '.join(layers)}; say which one as {path.name}:LAYER")
    return layers[0]


def parse_layer_crs(written: object, path: Path) -> CRS:
    """The CRS that a layer names; refused if it names none, or one that nobody knows."""
    if written is None:
        raise InputError(
            f"{path}: has no coordinate reference system; outlines of a photograph without a place cannot be used here, and "
            "others need one, e.g. by ogr2ogr -a_srs"
        )
    try:
        crs = CRS.from_user_input(written)
        Transformer.from_crs(crs, LONLAT)  # of a damaged one, there may be no way from it to any other
    except ProjError as error:
        raise InputError(f"{path}: its coordinate reference system cannot be read ({error})") from error
    return crs
