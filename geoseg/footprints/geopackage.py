"""Footprints into a file that is either whole or not there, and opens well in QGIS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import geopandas as gpd
from pyproj import CRS

LAYER = "buildings"
REGION_LAYER = "regions"


class FootprintWriter:
    """Takes footprints batch by batch and makes one file of them when all went well.

    The suffix names the format: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp. The file does not depend on how
    the footprints were cut into batches. Layers that a GeoPackage already holds stay; `overwrite` is needed to replace
    its layer `buildings`, or a file of another format. Use it as a context manager: leaving it without an error writes
    the file, an error leaves what was there before.

        with FootprintWriter(path, crs, classes=("building",), overwrite=True) as writer:
            writer.append(frame)            # columns: see columns.FOOTPRINT_COLUMNS; `class` holds class names
            writer.add_regions(table)       # optional, once
    """

    def __init__(
        self, path: Path, crs: CRS, classes: Sequence[str], description: str = "", overwrite: bool = False
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> FootprintWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the file, or after an error leave no trace."""

    def append(self, footprints: gpd.GeoDataFrame) -> None:
        """Take the next footprints, in the CRS of the file, columns in the same order every time."""

    def add_regions(self, regions: gpd.GeoDataFrame) -> None:
        """Put a table of regions into the file as its layer `regions` (beside it where a file holds one layer)."""
