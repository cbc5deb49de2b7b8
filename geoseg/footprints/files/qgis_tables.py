"""What makes a GeoPackage open well in QGIS: its style, and names and meanings of its fields."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from geoseg.footprints.files.columns import Column
from geoseg.footprints.files.formats import FIXED_DATE

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


def furnish(path: Path, table: str, style: str, columns: Sequence[Column]) -> None:
    """Give a layer its default style and its fields their names for people, in place of earlier ones."""
    with closing(sqlite3.connect(path)) as base, base:
        base.executescript(STYLES + FIELDS)
        base.execute(STYLES_LISTED, [FIXED_DATE])
        forget(base, table)
        base.execute(STYLE, [table, style, f"How QGIS draws {table}", FIXED_DATE])
        for name in ("gpkg_data_columns", "gpkg_data_column_constraints"):
            base.execute(SCHEMA_EXTENSION, [name])
        present = {row[1] for row in base.execute(f'PRAGMA table_info("{table}")')}
        base.executemany(
            "INSERT INTO gpkg_data_columns (table_name, column_name, name, title, description) VALUES (?, ?, ?, ?, ?)",
            [(table, c.name, c.name, c.alias, c.meaning) for c in columns if c.name in present],
        )


def forget(base: sqlite3.Connection, table: str) -> None:
    """Remove what was said earlier of a layer."""
    base.execute("DELETE FROM layer_styles WHERE f_table_name = ?", [table])
    base.execute("DELETE FROM gpkg_data_columns WHERE table_name = ?", [table])
