"""Reads a layer of a vector file, named as `file` or `file:layer`."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import InputError

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".geoparquet", ".shp")


def is_vector_file(source: str) -> bool:
    """Whether a file (or `file:layer`) holds polygons, by its name."""
    return parse_layer_path(source)[0].suffix.lower() in VECTOR_SUFFIXES


def parse_layer_path(source: str) -> tuple[Path, str | None]:
    """The two halves of `file:layer`; the layer is none if the whole is a file."""
    whole = Path(source)
    if whole.exists() or ":" not in source:
        return whole, None
    file, layer = source.rsplit(":", 1)
    return Path(file), layer


def read_layer(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    """A layer of a vector file."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            return gpd.read_parquet(path)
        return pyogrio.read_dataframe(path, layer=layer or find_only_layer(path), force_2d=True)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise InputError(f"{path} cannot be read as regions: {error}") from None


def find_only_layer(path: Path) -> str:
    """The one layer with geometry in a file, if there is just one."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) != 1:
        found = f"holds the layers {', '.join(layers)}" if layers else "holds no layer with geometry"
        raise InputError(f"{path} {found}; say which one as {path.name}:LAYER")
    return layers[0]
