"""A national layer of footprints: what it costs to read what lies on one scene, and to read all of it instead.

python tests/benchmarks/national.py [--footprints 1000000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import geopandas
import numpy as np
import shapely
from affine import Affine
from machine import machine, table
from pyproj import CRS

from geoseg.footprints.vector_files import open_vector_file
from geoseg.raster.grid import Grid

SCENE = Grid(
    CRS("EPSG:32633"), Affine.translation(392_000, 5_820_000) @ Affine.scale(0.3, -0.3), 10_000, 10_000
)
NAMES = ("land.gpkg", "land.fgb", "land.parquet", "land.csv")


def land(count: int) -> geopandas.GeoDataFrame:
    """Buildings over a country, in longitude and latitude, sorted by place as publishers sort them."""
    chance = np.random.default_rng(0)
    lon, lat = np.sort(chance.uniform(6, 15, count)), chance.uniform(50.5, 54.5, count)
    shapes = shapely.box(lon, lat, lon + 2e-4, lat + 1e-4)
    return geopandas.GeoDataFrame({"kind": ["house"] * count}, geometry=shapes, crs=4326)


def write(frame: geopandas.GeoDataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.to_parquet(path, write_covering_bbox=True, row_group_size=10_000)
    elif path.suffix == ".csv":
        lines = (f'"{text}",house\n' for text in shapely.to_wkt(frame.geometry.to_numpy()))
        path.write_text("geometry,kind\n" + "".join(lines))
    else:
        frame.to_file(path)


def near(path: Path) -> int:
    return len(open_vector_file(path).near(SCENE, ["kind"]))


def whole(path: Path) -> int:
    read = geopandas.read_parquet if path.suffix == ".parquet" else geopandas.read_file
    return len(read(path))


def measured(how: str, path: Path) -> tuple[int, float, float]:
    """Rows read, seconds, and the most memory this process ever held in MB."""
    start = time.perf_counter()
    rows = {"near": near, "whole": whole}[how](path)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    return rows, seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--footprints", type=int, default=1_000_000)
    asked = parser.parse_args()
    lines: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory() as scratch:
        frame = land(asked.footprints)
        for name in NAMES:
            path = Path(scratch) / name
            write(frame, path)
            for how in ("near", "whole"):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    rows, seconds, peak = pool.apply(measured, (how, path))
                lines.append((name, how, f"{rows:,}", f"{seconds:.2f}", f"{peak:,.0f}"))
            path.unlink()
    print(machine())
    print(table(("file", "read", "rows", "seconds", "MB"), lines))


if __name__ == "__main__":
    main()
