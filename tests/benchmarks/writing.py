"""How fast a million footprints are written, in which memory, and how soon QGIS has them open.

    python tests/benchmarks/writing.py [--footprints 1000000] [--corners 8] [--formats gpkg fgb parquet]

Footprints (traced ones have a hundred corners and more) come in batches of 5,000, as from a mask. `geopandas` writes the
same layer in one go from memory, without style, titles or repeatable bytes.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from layers import UTM33, write

from geoseg.footprints.measure import AreaCrs, Extent

BATCH = 5_000
PROBE = Path(__file__).parents[1] / "support" / "qgis_probe.py"


def batch(index: int, area: AreaCrs, corners: int) -> gpd.GeoDataFrame:
    """Polygons in a strip of land 100 km wide."""
    rng = np.random.default_rng(index)
    x = rng.uniform(300_000, 400_000, BATCH)
    y = 5_400_000 - index * 20 - rng.uniform(0, 20, BATCH)
    shapes = shapely.buffer(shapely.points(x, y), rng.uniform(3, 15, BATCH), quad_segs=corners // 4)
    columns = {
        "id": np.arange(BATCH) + index * BATCH + 1,
        "class": np.full(BATCH, "building", dtype=object),
        "area_m2": area.areas(shapes, UTM33),
        "perimeter_m": area.perimeters(shapes, UTM33),
        "confidence": rng.random(BATCH),
        "regularized": np.ones(BATCH, dtype=bool),
        "width_m": rng.random(BATCH),
        "length_m": rng.random(BATCH),
        "orientation_deg": rng.random(BATCH),
        "touches_nodata": np.zeros(BATCH, dtype=bool),
        "touches_edge": np.zeros(BATCH, dtype=bool),
    }
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=UTM33)


def timed(action: object) -> float:
    started = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - started


def qgis_seconds(path: Path) -> str:
    """How long a real QGIS takes to open the layer and know its style."""
    import json

    python = os.environ.get("GEOSEG_QGIS_PYTHON", "/usr/bin/python3")
    surroundings = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    run = subprocess.run(
        [python, str(PROBE), str(path), "", "", "buildings"],
        check=False,
        capture_output=True,
        text=True,
        env=surroundings,
    )
    return (
        f"{json.loads(run.stdout)['buildings']['seconds']:.2f} s" if run.returncode == 0 else "no QGIS here"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--footprints", type=int, default=1_000_000)
    parser.add_argument("--corners", type=int, default=8)
    parser.add_argument("--formats", nargs="+", default=["gpkg", "fgb", "parquet"])
    options = parser.parse_args()
    area = AreaCrs.choose(Extent(CRS(UTM33), (300_000, 5_396_000, 400_000, 5_400_000)))
    making = time.perf_counter()
    batches = [batch(index, area, options.corners) for index in range(options.footprints // BATCH)]
    making = time.perf_counter() - making
    frame = pd.concat(batches, ignore_index=True)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {len(frame):,} footprints")
    print(f"made and measured (areas, perimeters): {len(frame) / making:12,.0f} a second")
    print(f"{'':10} {'a second':>12} {'of geopandas':>13} {'MB':>8} {'more memory':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in options.formats:
            path, plain = Path(folder) / f"out.{suffix}", Path(folder) / f"plain.{suffix}"
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ours = timed(lambda path=path: write(path, frame, batch=BATCH))
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
            theirs = timed(
                lambda plain=plain: (
                    frame.to_parquet(plain) if plain.suffix == ".parquet" else frame.to_file(plain)
                )
            )
            print(
                f"{suffix:10} {len(frame) / ours:12,.0f} {theirs / ours:12.2f}x {path.stat().st_size / 1e6:8,.0f} {grown:9,.0f} MB"
            )
            if suffix == "gpkg":
                print(f"{'':10} QGIS has it open after {qgis_seconds(path)}")


if __name__ == "__main__":
    main()
