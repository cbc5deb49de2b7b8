"""Footprints of many scenes published as one data set: footprints a second, and the most memory held.

python tests/benchmarks/country.py [--footprints 1000000 10000000] [--scenes 20] [--partition quadkey:8] [--keep FOLDER]

Scenes lie side by side and overlap a little, in GeoParquet; a tenth of their footprints is in two of them.
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
from machine import machine, table

from geoseg.workflows.options import PublishOptions
from geoseg.workflows.publish import publish_footprints

PLOT_DEG = 3e-4
AT_ONCE = 250_000


def write_scene(path: Path, number: int, rows: int) -> None:
    """A scene of plots with a house on each; its last tenth is the first tenth of the next one."""
    step = rows * 9 // 10
    across = int(np.sqrt(rows))
    plot = number * step + np.arange(rows)
    lon, lat = 6 + PLOT_DEG * (plot // across), 50 + PLOT_DEG * (plot % across)
    size = 1e-4 * (1 + 0.3 * np.sin(plot))
    shapes = shapely.box(lon, lat, lon + size, lat + size * 0.7)
    columns = {
        "id": np.arange(1, rows + 1), "class": "building", "area_m2": size * 1e6, "confidence": 0.5 + 0.4 * np.cos(plot + number),
        "touches_edge": False, "image_date": "2026-05-04",
    }  # fmt: skip
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs="OGC:CRS84")
    frame.sample(frac=1, random_state=number).to_parquet(
        path, row_group_size=65_536, write_covering_bbox=True
    )


def measure(folder: Path, out: Path, partition: str | None) -> tuple[str, float, float]:
    """What came out, seconds, and the most memory this process ever held."""
    start = time.perf_counter()
    result = publish_footprints([str(folder)], out, PublishOptions(partition=partition, overwrite=True))
    status = Path("/proc/self/status").read_text()
    return str(result), time.perf_counter() - start, int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--footprints", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--partition", nargs="*", default=["quadkey:8"], help="beside one file")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    lines = []
    for count in asked.footprints:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "scenes")
            folder.mkdir()
            for number in range(asked.scenes):
                write_scene(folder / f"{number:03}.parquet", number, count // asked.scenes)
            for partition in (None, *asked.partition):
                out = (asked.keep or Path(scratch)) / ("country" if partition else "all.parquet")
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    told, seconds, peak = pool.apply(measure, (folder, out, partition))
                print(told)
                speed = f"{count / seconds:,.0f}"
                lines.append((f"{count:,}", partition or "one file", f"{seconds:.0f}", speed, f"{peak:.0f}"))
    print(machine())
    print(table(("footprints", "output", "seconds", "a second", "MB at most"), lines))


if __name__ == "__main__":
    main()
