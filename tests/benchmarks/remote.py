"""How fast a scene is read over HTTP, in strips as `geoseg infer` reads it, over the time that the line needs for the bytes.

    python tests/benchmarks/remote.py [--size 4096] [--latency 0.05] [--rate 4e6]

A server on this machine answers each request after the latency, and sends no faster than the rate (bytes a second) in all.
The pixels must be those of the file on disk. "One download": the whole file in one request, by the same server in the same run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import rasterio
from machine import machine, table
from numpy.typing import NDArray
from rasterio.shutil import copy

from geoseg.raster.grid import Window
from geoseg.raster.scene import Scene, open_scene
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo

STRIP_ROWS = 512
SERVER = Path(__file__).parents[1] / "support" / "range_server.py"
COGS = {
    "jpeg.tif": {"compress": "jpeg", "quality": 85},
    "deflate.tif": {"compress": "deflate", "predictor": "yes"},
}


def write_cog(path: Path, size: int, options: dict[str, object]) -> None:
    """A drawn scene, repeated, with overviews."""
    tile = render_photo(Layout(22), Window(0, 0, 1024, 1024))
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(
        plain, "w", driver="GTiff", dtype="uint8", count=3, height=size, width=size, crs="EPSG:32633",
        transform=rasterio.Affine(0.1, 0, 392_000, 0, -0.1, 5_820_000),
    ) as dataset:  # fmt: skip
        dataset.write(np.tile(tile, (1, -(-size // 1024), -(-size // 1024)))[:, :size, :size])
    copy(plain, path, driver="COG", **options)
    plain.unlink()


@contextmanager
def serve(folder: Path, latency_s: float, rate: float) -> Iterator[str]:
    command = [sys.executable, str(SERVER), str(folder), "--line", str(latency_s), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


def read_strips(scene: Scene) -> list[int]:
    """Sums of all strips, which tell whether the same was read."""
    grid = scene.grid
    with scene.open() as reader:
        windows = (
            Window(row, 0, min(STRIP_ROWS, grid.height - row), grid.width)
            for row in range(0, grid.height, STRIP_ROWS)
        )
        return [int(reader.read(window).values.sum(dtype=np.int64)) for window in windows]


def measure(source: str, gsd_m: float | None) -> tuple[list[int], float]:
    """What was read, and the seconds for opening and reading it."""
    start = time.perf_counter()
    scene = open_scene([source])
    sums = read_strips(scene.resample(gsd_m) if gsd_m else scene)
    return sums, time.perf_counter() - start


def count_answers(address: str) -> NDArray[np.int64]:
    """How many requests the server has answered, and with how many bytes."""
    return np.array(urlopen(f"{address}/.counts").read().split(), dtype=np.int64)


def measure_web(address: str, name: str, rate: float) -> list[tuple[object, ...]]:
    """A row for each resolution; each address is new to GDAL, which keeps what it knows of one."""
    rows: list[tuple[object, ...]] = []
    start = time.perf_counter()
    size = len(urlopen(f"{address}/{name}").read())
    rows.append(
        (name, "one download", 1, f"{size / 1e6:.1f}", *tell(time.perf_counter() - start, size / rate))
    )
    for number, gsd_m in enumerate((None, 0.3)):
        before = count_answers(address)
        sums, seconds = measure(f"{address}/{name}?{number}", gsd_m)
        requests, size = count_answers(address) - before
        assert sums == measure(name, gsd_m)[0]
        how = f"at {gsd_m} m" if gsd_m else "as it is, 0.1 m"
        rows.append((name, how, requests, f"{size / 1e6:.1f}", *tell(seconds, size / rate)))
    return rows


def tell(seconds: float, line_s: float) -> tuple[str, str]:
    return f"{seconds:.2f}", f"{seconds / line_s:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--rate", type=float, default=4e6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serve(Path(scratch), given.latency, given.rate) as address:
        os.chdir(scratch)
        rows: list[tuple[object, ...]] = []
        for name, options in COGS.items():
            write_cog(Path(name), given.size, options)
            rows += measure_web(address, name, given.rate)
    print(f"{machine()}; {given.latency * 1000:.0f} ms, {given.rate / 1e6:g} MB/s")
    print(table(("COG", "read", "requests", "MB", "seconds", "over the line's"), rows))


if __name__ == "__main__":
    main()
