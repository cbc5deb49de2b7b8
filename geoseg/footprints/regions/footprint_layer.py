"""Footprints read back from a file, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.areas.measure import Extent
from geoseg.footprints.files.geopackage import BUILDINGS
from geoseg.footprints.regions.regions import only_layer

ROWS_AT_ONCE = 100_000
ONLY_CLASS = "building"


@dataclass(frozen=True)
class FootprintLayer:
    """The footprints in a file: any polygons, with `class` and `confidence` where they have them."""

    path: Path
    name: str
    crs: CRS
    rows: int
    bounds: tuple[float, float, float, float]
    columns: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> FootprintLayer:
        """Find the layer `buildings` of a file, or its only one."""
        if not path.exists():
            raise InputError(f"{path}: there is no such file of footprints")
        try:
            return ParquetLayer.read(path) if path.suffix.lower() == ".parquet" else cls.described(path)
        except (DataSourceError, DataLayerError, OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as footprints: {error}") from None

    @classmethod
    def described(cls, path: Path) -> FootprintLayer:
        """A layer of any file that GDAL reads."""
        layers = {str(name) for name, kind in pyogrio.list_layers(path) if kind is not None}
        name = BUILDINGS if BUILDINGS in layers else only_layer(path)
        info = pyogrio.read_info(path, layer=name, force_total_bounds=True, force_feature_count=True)
        columns = tuple(map(str, info["fields"]))
        return cls(path, name, known_crs(info["crs"], path), info["features"], info["total_bounds"], columns)

    @property
    def extent(self) -> Extent:
        """The box around all footprints."""
        if not self.rows:
            raise InputError(
                f"{self.path} holds no footprint, and so no place; give its --mask or --probability"
            )
        return Extent(self.crs, self.bounds)

    @cached_property
    def classes(self) -> list[str]:
        """Every class there is, in the order of their names."""
        if "class" not in self.columns:
            return [ONLY_CLASS]
        named = self._read(columns=["class"], read_geometry=False)["class"]
        return sorted(named.dropna().astype(str).unique()) or [ONLY_CLASS]

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """The footprints, some at a time; those of a file without classes are all buildings."""
        for start in range(0, self.rows, ROWS_AT_ONCE):
            frame = self._read(skip_features=start, max_features=ROWS_AT_ONCE, force_2d=True)
            named = frame["class"].astype(str) if "class" in frame else ONLY_CLASS
            yield frame.assign(**{"class": named})

    def _read(self, **options: Any) -> Any:
        return pyogrio.read_dataframe(self.path, layer=self.name, **options)


@dataclass(frozen=True)
class ParquetLayer(FootprintLayer):
    """Footprints in a GeoParquet file, which is read as a whole."""

    frame: gpd.GeoDataFrame

    @classmethod
    def read(cls, path: Path) -> ParquetLayer:
        """Everything in the file."""
        frame = gpd.read_parquet(path)
        left, bottom, right, top = map(float, np.asarray(frame.total_bounds))
        columns = tuple(map(str, frame.columns))
        return cls(
            path, "", known_crs(frame.crs, path), len(frame), (left, bottom, right, top), columns, frame
        )

    def _read(self, skip_features: int = 0, max_features: int | None = None, **options: Any) -> Any:
        stop = None if max_features is None else skip_features + max_features
        return self.frame.iloc[skip_features:stop]


def known_crs(crs: object, path: Path) -> CRS:
    """A layer's CRS; refused if it has none."""
    if crs is None:
        raise InputError(
            f"{path}: the footprints have no CRS; assign theirs, for example with ogr2ogr -a_srs"
        )
    return CRS.from_user_input(crs)
