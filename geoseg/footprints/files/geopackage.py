"""Footprints into a file that is either whole or not there, and opens well in QGIS."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

import geopandas as gpd
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.files.columns import FOOTPRINT_COLUMNS, REGION_COLUMNS
from geoseg.footprints.files.formats import Layer, check_format, write_layer
from geoseg.footprints.files.qgis_tables import furnish
from geoseg.footprints.files.replacing import plain_errors, replacing
from geoseg.footprints.files.spool import Spool
from geoseg.footprints.files.styles import footprint_style, region_style
from geoseg.narrator import QUIET, Narrator
from geoseg.writable import is_sqlite

BUILDINGS = "buildings"
REGIONS = "regions"


class FootprintWriter:
    """Takes footprints batch by batch and makes one file of them when all went well.

    The suffix names the format: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp. The file does not
    depend on how the footprints were cut into batches. Layers that a GeoPackage already holds stay;
    `overwrite` is needed to replace its layer `buildings`, or a file of another format. Leaving the block
    without an error writes the file, an error leaves what was there before.

        with FootprintWriter(path, crs, classes=("building",), overwrite=True) as writer:
            writer.append(frame)            # columns of columns.FOOTPRINT_COLUMNS; `class` holds class names
            writer.add_regions(table)       # optional, once
    """

    def __init__(
        self,
        path: Path,
        crs: CRS,
        classes: Sequence[str],
        *,
        description: str = "",
        overwrite: bool = False,
        narrator: Narrator = QUIET,
    ) -> None:
        check_format(path)
        check_replaceable(path, (BUILDINGS, REGIONS), overwrite)
        self.path = path
        self.classes = tuple(classes)
        self.narrator = narrator
        self._layer = Layer(BUILDINGS, "Building footprints", description, crs)
        self._regions: gpd.GeoDataFrame | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> FootprintWriter:
        with ExitStack() as stack:
            self._folder = stack.enter_context(replacing(self.path))
            (self._folder / "spool").mkdir()
            self._spool = stack.enter_context(Spool(self._folder / "spool" / BUILDINGS, FOOTPRINT_COLUMNS))
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup, plain_errors(self.path):
            self._write()

    def append(self, footprints: gpd.GeoDataFrame) -> None:
        """Take the next footprints, in the CRS of the file, with the same columns every time."""
        with plain_errors(self.path):
            self._spool.append(footprints)

    def add_regions(self, regions: gpd.GeoDataFrame) -> None:
        """Put a table of regions into the file as its layer `regions` (beside it where a file holds one layer)."""
        self._regions = regions

    def _write(self) -> None:
        file = self._folder / self.path.name
        if is_geopackage(self.path):
            start_from(self.path, file, {BUILDINGS} | ({REGIONS} if self._drops_regions() else set()))
        self._spool.finish()
        write_layer(self._spool, file, self._layer, self.narrator)
        dress(file, BUILDINGS, self.classes)
        if self._regions is not None:
            write_regions(self._regions, region_file(file), self._folder / "spool", self.narrator)

    def _drops_regions(self) -> bool:
        return self._regions is not None or "built_area_m2" in columns_of(self.path, REGIONS)


def add_region_layer(
    path: Path, regions: gpd.GeoDataFrame, overwrite: bool = False, narrator: Narrator = QUIET
) -> Path:
    """Put a table of regions into a file of footprints that is there already; gives the file it is in."""
    target = region_file(path)
    check_replaceable(target, (REGIONS,), overwrite)
    with replacing(target) as folder, plain_errors(target):
        (folder / "spool").mkdir()
        if is_geopackage(target):
            start_from(target, folder / target.name, {REGIONS})
        write_regions(regions, folder / target.name, folder / "spool", narrator)
    return target


def write_regions(regions: gpd.GeoDataFrame, file: Path, folder: Path, narrator: Narrator) -> None:
    """Write a table of regions as a layer, in the order it has."""
    layer = Layer(REGIONS, "Regions", str(regions.attrs.get("description", "")), regions.crs)
    with Spool(folder / REGIONS, REGION_COLUMNS) as spool:
        spool.append(regions)
        spool.finish()
        write_layer(spool, file, layer, narrator)
    dress(file, REGIONS, tuple(dict.fromkeys(regions["class"])))


def region_file(path: Path) -> Path:
    """Where the regions of a file of footprints go: into the same GeoPackage, else into a file beside it."""
    if path.suffix.lower() == ".gpkg":
        return path
    return path.with_name(f"{path.stem}_{REGIONS}{path.suffix}")


def dress(file: Path, table: str, classes: Sequence[str]) -> None:
    """Give a layer its style: inside a GeoPackage, else as a QML file beside it, where QGIS finds it too."""
    style = footprint_style(classes) if table == BUILDINGS else region_style(classes)
    if file.suffix.lower() == ".gpkg":
        furnish(file, table, style, FOOTPRINT_COLUMNS if table == BUILDINGS else REGION_COLUMNS)
    else:
        file.with_suffix(".qml").write_text(style, encoding="utf-8")


def check_replaceable(path: Path, tables: Sequence[str], overwrite: bool) -> None:
    """Refuse to replace anything that the user did not agree to."""
    if overwrite or not path.exists():
        return
    with plain_errors(path):
        if not is_geopackage(path):
            raise InputError(f"{path} is there already; add --overwrite to replace it")
        taken = [table for table in tables if columns_of(path, table)]
    if taken:
        raise InputError(f"{path} holds a layer {taken[0]} already; add --overwrite to replace it")


def is_geopackage(path: Path) -> bool:
    """Whether a GeoPackage is there."""
    return path.suffix.lower() == ".gpkg" and is_sqlite(path) and bool(columns_of(path, "gpkg_contents"))


def columns_of(path: Path, table: str) -> set[str]:
    """The columns of a table in a database; none if it is not there."""
    if not is_sqlite(path):
        return set()
    with closing(sqlite3.connect(path, timeout=1.0)) as base:
        return {row[1] for row in base.execute(f'PRAGMA table_info("{table}")')}


def start_from(path: Path, copy: Path, dropped: set[str]) -> None:
    """Copy a GeoPackage without the layers that are about to be written; nothing is copied if no other is left."""
    with closing(sqlite3.connect(path)) as source:
        kept = {row[0] for row in source.execute("SELECT table_name FROM gpkg_contents")} - dropped
        if not kept - {"layer_styles"}:
            return
        with closing(sqlite3.connect(copy)) as base:
            source.backup(base)
            for table in sorted(dropped):
                drop_layer(base, table)
            base.commit()
            base.execute("VACUUM")


def drop_layer(base: sqlite3.Connection, table: str) -> None:
    """Remove a layer from a GeoPackage, and everything said of it."""
    present = {row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for name in sorted(present):
        if name.startswith("gpkg_") and "table_name" in {
            r[1] for r in base.execute(f'PRAGMA table_info("{name}")')
        }:
            base.execute(f'DELETE FROM "{name}" WHERE lower(table_name) = ?', [table])  # noqa: S608
    if "layer_styles" in present:
        base.execute("DELETE FROM layer_styles WHERE f_table_name = ?", [table])
    for name in [f"rtree_{table}_geom", table]:
        base.execute(f'DROP TABLE IF EXISTS "{name}"')
