"""Districts that people draw on the map or bring in a file, and what is counted in each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import geopandas as gpd

from geoseg.app.runs import FinishedRun
from geoseg.app.scenes import clean_name, copy_limited, discard_on_error
from geoseg.app.views import FootprintView
from geoseg.errors import InputError
from geoseg.footprints.write.spool import REGION_COLUMNS
from geoseg.io.archives import is_archive, unpack_archive
from geoseg.io.trust import check_vector_source
from geoseg.regions.files import FootprintLayer
from geoseg.reports.report import list_told_columns
from geoseg.workflows.options import StatsOptions
from geoseg.workflows.stats import compute_statistics

REGION_SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".zip")
MOST_MB = 100
MOST_REGIONS = 1000
"""More of them make a table and a map that nobody reads in a browser."""
MOST_POINTS = 10_000
SHAPEFILE_BYTES = 300_000_000

AREA_ALIASES = tuple(column.alias for column in REGION_COLUMNS if column.name.endswith("_m2"))

Ring = Sequence[Sequence[float]]
"""Longitude and latitude of each corner."""


def store_regions(name: str, content: IO[bytes], folder: Path) -> Path:
    """Keep an uploaded file of regions, or say in one line why it cannot be used; then nothing of it stays."""
    shown = clean_name(name)
    suffix = Path(shown).suffix.lower()
    with discard_on_error(folder):
        if suffix not in REGION_SUFFIXES:
            raise InputError(
                f"{shown}: upload regions as {', '.join(REGION_SUFFIXES[:-1])}, or a shapefile in a .zip"
            )
        path = folder / f"regions{suffix}"
        copy_limited(content, path, shown, MOST_MB)
        if suffix == ".zip":
            path = unpack_shapefile(path, shown)
        check_vector_source(path)
        return path


def unpack_shapefile(archive: Path, name: str) -> Path:
    """The only shapefile of an archive."""
    if not is_archive(archive):
        raise InputError(f"{name}: is no zip archive that can be read")
    folder = unpack_archive(archive, archive.parent / "unpacked", SHAPEFILE_BYTES)
    archive.unlink()
    found = sorted(folder.rglob("*.shp"))
    if len(found) != 1:
        raise InputError(f"{name}: holds {len(found)} shapefiles; give one")
    return found[0]


def write_drawn_regions(rings: Sequence[Ring], folder: Path) -> Path:
    """Polygons that were drawn on the map, as a file."""
    features = [
        {
            "type": "Feature",
            "properties": {"name": f"Region {number}"},
            "geometry": {"type": "Polygon", "coordinates": [close_ring(ring)]},
        }
        for number, ring in enumerate(rings, start=1)
    ]
    path = folder / "drawn.geojson"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8", newline="\n"
    )
    return path


def close_ring(ring: Ring) -> list[list[float]]:
    """A ring whose last point is its first."""
    points = [list(point) for point in ring]
    return [*points, points[0]]


def parse_rings(value: object) -> list[Ring]:
    """What the map tells of drawn polygons; those that are none are left out."""
    rings: list[Ring] = []
    for ring in value if isinstance(value, list) else []:
        try:
            points = [[float(x), float(y)] for x, y in ring]
        except (TypeError, ValueError):
            continue
        if 3 <= len(points) <= MOST_POINTS and all(abs(x) <= 360 and abs(y) <= 90 for x, y in points):
            rings.append(points)
    return rings[:MOST_REGIONS]


def count_in_regions(
    view: FootprintView, regions: Path, run: FinishedRun, samples: Path | None = None
) -> gpd.GeoDataFrame:
    """A row of geoseg's statistics for each region and class, corrected by sample points where there are some."""
    options = StatsOptions(mask=run.mask, samples=samples)
    table = compute_statistics(FootprintLayer.open(view.file), str(regions), options).regions
    if table["region"].nunique() > MOST_REGIONS:
        raise InputError(f"{regions.name}: has more than {MOST_REGIONS:,} regions; use geoseg stats for them")
    return table


def make_region_table(table: gpd.GeoDataFrame) -> Any:
    """The statistics as people read them: columns that hold something, by their aliases."""
    columns = list_told_columns(table)
    plain = table[[column.name for column in columns]]
    digits = {
        column.name: 0 if column.name.endswith("_m2") else 3 for column in columns if column.kind == "real"
    }
    return plain.round(digits).rename(columns={column.name: column.alias for column in columns})
