"""Reads back the layers that were written."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd

from geoseg.footprints.write.geopackage import BUILDINGS, REGIONS, get_region_path


def read_buildings(out: Path) -> gpd.GeoDataFrame:
    return read_written_layer(out, BUILDINGS)


def read_regions(out: Path) -> gpd.GeoDataFrame:
    return read_written_layer(get_region_path(out), REGIONS)


def read_written_layer(path: Path, layer: str) -> gpd.GeoDataFrame:
    """A layer of a file that geoseg wrote."""
    if path.suffix.lower() == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer=layer if path.suffix.lower() == ".gpkg" else None)
