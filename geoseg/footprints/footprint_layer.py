"""Footprints read back from a file, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.geopackage import BUILDINGS
from geoseg.footprints.measure import Extent
from geoseg.footprints.regions import only_layer

ROWS_AT_ONCE = 100_000
ONLY_CLASS = "building"


@dataclass(frozen=True)
class FootprintLayer:
    """The footprints in a file: any polygons, with `class` and `confidence` where they have them."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise InputError(f"{self.path}: there is no such file of footprints")
        if self.info["crs"] is None:
            raise InputError(
                f"{self.path}: the footprints have no CRS; assign theirs, for example with ogr2ogr -a_srs"
            )

    @cached_property
    def name(self) -> str:
        layers = {str(name) for name, kind in pyogrio.list_layers(self.path) if kind is not None}
        return BUILDINGS if BUILDINGS in layers else only_layer(self.path)

    @cached_property
    def info(self) -> dict[str, object]:
        try:
            info: dict[str, object] = pyogrio.read_info(self.path, layer=self.name, force_total_bounds=True)
        except (DataSourceError, DataLayerError) as error:
            raise InputError(f"{self.path} cannot be read as footprints: {error}") from None
        return info

    @property
    def rows(self) -> int:
        return int(str(self.info["features"]))

    @property
    def crs(self) -> CRS:
        return CRS.from_user_input(self.info["crs"])

    @property
    def extent(self) -> Extent:
        """The box around all footprints."""
        bounds = self.info["total_bounds"]
        if not self.rows or not isinstance(bounds, tuple):
            raise InputError(
                f"{self.path} holds no footprint, and so no place; give its --mask or --probability"
            )
        return Extent(self.crs, bounds)

    @cached_property
    def classes(self) -> list[str]:
        """Every class there is, in the order of their names."""
        if "class" not in list(self.info["fields"]):  # type: ignore[call-overload]
            return [ONLY_CLASS]
        column = pyogrio.read_dataframe(self.path, layer=self.name, columns=["class"], read_geometry=False)[
            "class"
        ]
        return sorted(column.dropna().astype(str).unique()) or [ONLY_CLASS]

    def frames(self) -> Iterator[gpd.GeoDataFrame]:
        """The footprints, some at a time."""
        for start in range(0, self.rows, ROWS_AT_ONCE):
            frame = pyogrio.read_dataframe(
                self.path, layer=self.name, skip_features=start, max_features=ROWS_AT_ONCE, force_2d=True
            )
            named = frame["class"].astype(str) if "class" in frame else ONLY_CLASS
            yield frame.assign(**{"class": named})
