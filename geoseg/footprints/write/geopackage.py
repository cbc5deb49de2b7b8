"""What a GeoPackage holds beside rows: other layers that stay, the style of a layer, names and meanings of its fields."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

import geopandas as gpd
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.write.formats import FIXED_DATE, VectorLayer, check_format, write_layer
from geoseg.footprints.write.spool import (
    BATCH_ROWS,
    FOOTPRINT_COLUMNS,
    REGION_COLUMNS,
    SAMPLE_COLUMNS,
    Column,
    Spool,
)
from geoseg.footprints.write.styles import make_footprint_style, make_region_style
from geoseg.io.access import explain_damage, is_sqlite_file
from geoseg.io.atomic import Delivery, explain_write_errors, replace_files

BUILDINGS = "buildings"
REGIONS = "regions"
CHANGES = "changes"
REGION_CHANGES = "changes_by_region"


class FootprintWriter:
    """Takes footprints batch by batch and makes one file of them when all went well.

    The suffix names the format: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp. The file does not
    depend on how the footprints were cut into batches. Layers that a GeoPackage already holds stay;
    `overwrite` is needed to replace its layer `buildings`, or a file of another format. Leaving the block
    without an error writes the file, an error leaves what was there before.

        with FootprintWriter(path, crs, classes=("building",), overwrite=True) as writer:
            writer.append(frame)            # columns of spool.FOOTPRINT_COLUMNS; `class` holds class names
            writer.add_regions(table)       # optional, once
    """

    def __init__(  # noqa: PLR0913 - each says one thing of the file
        self,
        path: Path,
        crs: CRS | None,
        classes: Sequence[str],
        *,
        columns: Sequence[Column] = FOOTPRINT_COLUMNS,
        description: str = "",
        overwrite: bool = False,
        delivery: Delivery | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        check_footprint_file(path, overwrite)
        self.batch_rows = batch_rows
        self.path = path
        self._delivery = delivery
        self.classes = tuple(classes)
        self.columns = tuple(columns)
        self._layer = VectorLayer(BUILDINGS, "Building footprints", description, crs)
        self._regions: gpd.GeoDataFrame | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> FootprintWriter:
        with ExitStack() as stack:
            self._folder = stack.enter_context(replace_files(self.path, self._delivery))
            (self._folder / "spool").mkdir()
            self._spool = stack.enter_context(
                Spool(self._folder / "spool" / BUILDINGS, self.columns, self.batch_rows)
            )
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup, explain_write_errors(self.path):
            self._write()

    def append(self, footprints: gpd.GeoDataFrame) -> None:
        """Take the next footprints, in the CRS of the file, with the same columns every time."""
        with explain_write_errors(self.path):
            self._spool.append(footprints)

    def add_regions(self, regions: gpd.GeoDataFrame) -> None:
        """Put a table of regions into the file as its layer `regions` (beside it where a file holds one layer)."""
        self._regions = regions

    def _write(self) -> None:
        file = self._folder / self.path.name
        if is_geopackage(self.path):
            copy_other_layers(self.path, file, set(self._list_dropped()))
        self._spool.finish()
        write_layer(self._spool, file, self._layer)
        style = make_footprint_style(self.classes, self.columns)
        write_style(file, BUILDINGS, style, self.columns)
        if self._regions is not None:
            write_regions(self._regions, get_region_path(file), self._folder / "spool")

    def _list_dropped(self) -> Iterator[str]:
        """The layers that are made anew, and those that tell of earlier footprints."""
        yield BUILDINGS
        if self._regions is not None or "built_area_m2" in list_columns(self.path, REGIONS):
            yield REGIONS
        if "lost_m2" in list_columns(self.path, CHANGES):
            yield from (CHANGES, REGION_CHANGES)


def add_region_layer(
    path: Path, regions: gpd.GeoDataFrame, overwrite: bool = False, delivery: Delivery | None = None
) -> Path:
    """Put a table of regions into a file of footprints that is there already; gives the file it is in."""
    target = get_region_path(path)
    check_replaceable(target, (REGIONS,), overwrite)
    with replace_files(target, delivery) as folder, explain_write_errors(target):
        (folder / "spool").mkdir()
        if is_geopackage(target):
            copy_other_layers(target, folder / target.name, {REGIONS})
        write_regions(regions, folder / target.name, folder / "spool")
    return target


def write_regions(regions: gpd.GeoDataFrame, file: Path, folder: Path) -> None:
    """Write a table of regions as a layer, in the order it has."""
    layer = VectorLayer(REGIONS, "Regions", str(regions.attrs.get("description", "")), regions.crs)
    columns = (*REGION_COLUMNS, *(column for column in SAMPLE_COLUMNS if column.name in regions))
    with Spool(folder / REGIONS, columns) as spool:
        spool.append(regions)
        spool.finish()
        write_layer(spool, file, layer)
    style = make_region_style(tuple(dict.fromkeys(regions["class"])), columns)
    write_style(file, REGIONS, style, columns)


def get_region_path(path: Path) -> Path:
    """Where the regions of a file of footprints go: into the same GeoPackage, else into a file beside it."""
    if path.suffix.lower() == ".gpkg":
        return path
    return path.with_name(f"{path.stem}_{REGIONS}{path.suffix}")


def get_change_path(path: Path) -> Path:
    """Where the changes of a file of footprints go: into the same GeoPackage, else into a file beside it."""
    return path if path.suffix.lower() == ".gpkg" else path.with_name(f"{path.stem}_{CHANGES}{path.suffix}")


def write_style(file: Path, table: str, style: str, columns: Sequence[Column]) -> None:
    """Give a layer its style: inside a GeoPackage, else as a QML file beside it, where QGIS finds it too."""
    if file.suffix.lower() == ".gpkg":
        write_qgis_tables(file, table, style, columns)
    else:
        file.with_suffix(".qml").write_text(style, encoding="utf-8", newline="\n")


def check_footprint_file(path: Path, overwrite: bool) -> None:
    """Refuse early a file of footprints that could not be written or replaced."""
    check_format(path)
    check_replaceable(path, (BUILDINGS, REGIONS), overwrite)


def check_replaceable(path: Path, tables: Sequence[str], overwrite: bool) -> None:
    """Refuse to replace anything that the user did not agree to."""
    if overwrite or not path.exists():
        return
    with explain_write_errors(path):
        if not is_geopackage(path):
            raise InputError(f"{path}: exists already; use `overwrite` to replace it")
        taken = [table for table in tables if list_columns(path, table)]
    if taken:
        raise InputError(f"{path} holds a layer {taken[0]} already; use `overwrite` to replace it")


# The layout is QGIS's own. Catalog and schema must be empty text: with NULL, QGIS passes the style over in silence.
STYLES = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME
);
"""
STYLES_LISTED = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)
VALUES ('layer_styles', 'attributes', 'layer_styles', 'How QGIS draws the layers', ?, 0)
"""
STYLE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
    styleSLD, useAsDefault, description, owner, update_time) VALUES ('', '', ?, 'geom', 'geoseg', ?, '', 1, ?, '', ?)
"""
FIELDS = """
CREATE TABLE IF NOT EXISTS gpkg_data_columns (
    table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT, description TEXT, mime_type TEXT,
    constraint_name TEXT, CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name),
    CONSTRAINT gdc_tn UNIQUE (table_name, name)
);
CREATE TABLE IF NOT EXISTS gpkg_data_column_constraints (
    constraint_name TEXT NOT NULL, constraint_type TEXT NOT NULL, value TEXT, min NUMERIC, min_is_inclusive BOOLEAN,
    max NUMERIC, max_is_inclusive BOOLEAN, description TEXT,
    CONSTRAINT gdcc_ntv UNIQUE (constraint_name, constraint_type, value)
);
"""
SCHEMA_EXTENSION = """
INSERT INTO gpkg_extensions (table_name, column_name, extension_name, definition, scope)
SELECT ?1, NULL, 'gpkg_schema', 'http://www.geopackage.org/spec121/#extension_schema', 'read-write'
WHERE NOT EXISTS (SELECT 1 FROM gpkg_extensions WHERE table_name = ?1 AND extension_name = 'gpkg_schema')
"""


def write_qgis_tables(path: Path, table: str, style: str, columns: Sequence[Column]) -> None:
    """Give a layer its default style and its fields their names for people, in place of earlier ones."""
    with closing(sqlite3.connect(path)) as base, base:
        base.executescript(STYLES + FIELDS)
        base.execute(STYLES_LISTED, [FIXED_DATE])
        delete_qgis_rows(base, table)
        base.execute(STYLE, [table, style, f"How QGIS draws {table}", FIXED_DATE])
        for name in ("gpkg_data_columns", "gpkg_data_column_constraints"):
            base.execute(SCHEMA_EXTENSION, [name])
        present = {row[1] for row in base.execute(f'PRAGMA table_info("{table}")')}
        base.executemany(
            "INSERT INTO gpkg_data_columns (table_name, column_name, name, title, description) VALUES (?, ?, ?, ?, ?)",
            [(table, c.name, c.name, c.alias, c.meaning) for c in columns if c.name in present],
        )


def delete_qgis_rows(base: sqlite3.Connection, table: str) -> None:
    """Remove what was said earlier of a layer."""
    base.execute("DELETE FROM layer_styles WHERE f_table_name = ?", [table])
    base.execute("DELETE FROM gpkg_data_columns WHERE table_name = ?", [table])


def is_geopackage(path: Path) -> bool:
    """Whether a GeoPackage is there."""
    return (
        path.suffix.lower() == ".gpkg" and is_sqlite_file(path) and bool(list_columns(path, "gpkg_contents"))
    )


def list_columns(path: Path, table: str) -> set[str]:
    """The columns of a table in a database; none if it is not there."""
    if not is_sqlite_file(path):
        return set()
    with explain_damage(path), closing(sqlite3.connect(path, timeout=1.0)) as base:
        return {row[1] for row in base.execute(f'PRAGMA table_info("{table}")')}


def copy_other_layers(path: Path, copy: Path, dropped: set[str]) -> None:
    """Copy a GeoPackage without the layers that are about to be written; nothing is copied if no other is left."""
    with explain_damage(path), closing(sqlite3.connect(path)) as source:
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
    query = "SELECT column_name FROM gpkg_geometry_columns WHERE lower(table_name) = ?"
    columns = base.execute(query, [table]) if "gpkg_geometry_columns" in present else ()
    indexes = [f"rtree_{table}_{column}" for (column,) in columns]
    for name in sorted(present):
        if name.startswith("gpkg_") and "table_name" in {
            r[1] for r in base.execute(f'PRAGMA table_info("{name}")')
        }:
            base.execute(f'DELETE FROM "{name}" WHERE lower(table_name) = ?', [table])  # noqa: S608
    if "layer_styles" in present:
        base.execute("DELETE FROM layer_styles WHERE f_table_name = ?", [table])
    for name in [*indexes, table]:
        base.execute(f'DROP TABLE IF EXISTS "{name}"')
