"""What Dask and shards cost beside one process, 100 small scenes in one process and in 100, and what that makes of a country.

    python tests/benchmarks/cluster.py [--rows 16384] [--workers 2] [--scenes 100] [--rate 0.6]

Processor seconds of all processes together are compared: on a busy machine they say more than the clock. `--rate` takes
megapixels per second of a worker as given, and prints the table of costs alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from machine import machine, table

from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo

WIDTH = 1024
GEOSEG = (sys.executable, "-m", "geoseg")
PLACES = (("a city", 1_000), ("a country", 300_000), ("the land surface", 149_000_000))
"""Square kilometres."""
GSDS_M = (0.5, 10.0)
MACHINES = (1, 16, 256)
STORAGE_MB_S = 1_000
"""What a good shared file server gives; an object store gives more."""


@dataclass(frozen=True)
class Cost:
    """What commands took."""

    processor_s: float
    clock_s: float


def write_scene(path: Path, rows: int, width: int = WIDTH, seed: int = 22) -> None:
    tile = render_photo(Layout(seed), Window(0, 0, min(rows, 1024), width))
    values = np.tile(tile, (1, -(-rows // tile.shape[1]), 1))[:, :rows]
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=rows, width=width, crs="EPSG:32633",
        transform=rasterio.Affine(0.3, 0, 392_000, 0, -0.3, 5_820_000), tiled=True, compress="jpeg",
        blockxsize=512, blockysize=512, photometric="ycbcr", jpeg_quality=90,
    ) as dataset:  # fmt: skip
        dataset.write(values)


def run(*commands: Sequence[str]) -> Cost:
    """Run commands one after the other, each in a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run([*GEOSEG, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(used, time.perf_counter() - start)


def measure_one_scene(folder: Path, rows: int, workers: int) -> tuple[float, float]:
    """Print the table of one scene; megapixels per processor second of one process, and megabytes moved for each."""
    scene, megapixels = folder / "scene.tif", rows * WIDTH / 1e6
    write_scene(scene, rows)
    write_scene(folder / "small.tif", 256, 256)
    start_up = run(infer(folder / "small.tif", folder / "start"))

    def out(name: str) -> list[str]:
        return infer(scene, folder / name)

    out_of = {"one process": [out("one")]}
    out_of["4 shards, one after another, and the last command"] = [
        *([*out("shards"), "--shard", f"{number}/4"] for number in range(1, 5)),
        out("shards"),
    ]
    for number in (workers, 2 * workers):
        out_of[f"{number} workers of Dask"] = [[*out(f"dask-{number}"), "--workers", str(number)]]
    costs = {name: run(*commands) for name, commands in out_of.items()}
    one = costs["one process"].processor_s
    print(
        f"\nOne scene of {megapixels:.1f} megapixels, mask, probability and footprints; starting takes {start_up.processor_s:.1f} s"
    )
    processes = {"one process": 1, **dict(zip(list(costs)[1:], (5, workers, 2 * workers), strict=True))}
    rows_told = [format_cost(name, cost, one, processes[name]) for name, cost in costs.items()]
    print(table(("", "processor s", "clock s", "more a process", "of an hour's work"), rows_told))
    names = ("shards", f"dask-{workers}", f"dask-{2 * workers}")
    same = all(read(folder / name) == read(folder / "one") for name in names)
    print("all of them the same bytes" if same else "NOT THE SAME BYTES")
    return megapixels / (one - start_up.processor_s), report_bytes(folder, scene, megapixels)


def format_cost(name: str, cost: Cost, one: float, processes: int) -> tuple[str, ...]:
    """A row: what each process costs more, in seconds, and as a share of a process that works for an hour."""
    more = (cost.processor_s - one) / processes
    return name, f"{cost.processor_s:.1f}", f"{cost.clock_s:.1f}", f"{more:.1f} s", f"{more / 3600:.2%}"


def infer(scene: Path, out: Path) -> list[str]:
    """A command that writes into a folder of its own."""
    out.mkdir(exist_ok=True)
    files = {"--out": "b.gpkg", "--mask": "m.tif", "--probability": "p.tif"}
    return [
        "infer",
        str(scene),
        "--overwrite",
        *(word for flag, file in files.items() for word in (flag, str(out / file))),
    ]


def read(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("b.gpkg", "m.tif", "p.tif")]


def report_bytes(folder: Path, scene: Path, megapixels: float) -> float:
    """Tell what goes to and from the disk, and give megabytes a megapixel.

    The image is read once; strips are written, read to be traced, and read to be joined; then the outputs are written.
    """
    outputs = sum(path.stat().st_size for path in (folder / "one").iterdir()) / 1e6 / megapixels
    image = scene.stat().st_size / 1e6 / megapixels
    print(f"{image:.2f} MB of image and {outputs:.2f} MB of outputs a megapixel")
    return image + 4 * outputs


def measure_many_scenes(folder: Path, count: int) -> None:
    """Print the table of many small scenes."""
    scenes = folder / "scenes"
    scenes.mkdir()
    for number in range(count):
        write_scene(scenes / f"s{number:03}.tif", 256, 256, seed=number)
    files = sorted(scenes.glob("*.tif"))
    at_once = run(["infer", str(scenes), "--out", f"{folder / 'many'}/"])
    alone = run(*(["infer", str(file), "--out", str(folder / f"{file.stem}.gpkg")] for file in files))
    print(f"\n{count} scenes of 256 x 256 pixels, footprints")
    print(
        table(
            ("", "processor s", "clock s"),
            [
                ("one process", f"{at_once.processor_s:.1f}", f"{at_once.clock_s:.1f}"),
                (f"{count} processes", f"{alone.processor_s:.1f}", f"{alone.clock_s:.1f}"),
            ],
        )
    )


def report_costs(rate: float, moved_mb: float) -> None:
    """Print hours for places and numbers of workers, and where a file server is the limit."""
    print(f"\nHours at {rate:.2f} megapixels a second and worker")
    rows = []
    for name, km2 in PLACES:
        for gsd in GSDS_M:
            megapixels = km2 / gsd**2
            hours = [megapixels / rate / 3600 / machines for machines in MACHINES]
            rows.append((name, f"{gsd:g} m", f"{megapixels:,.0f}", *(format_hours(each) for each in hours)))
    print(table(("", "pixels", "megapixels", *(f"{machines} workers" for machines in MACHINES)), rows))
    print(
        f"{STORAGE_MB_S:,} MB/s of storage keep {STORAGE_MB_S / rate / moved_mb:,.0f} workers busy at {moved_mb:.1f} MB a megapixel"
    )


def format_hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--moved-mb", type=float, default=3.0, help="read and written for a megapixel")
    options = parser.parse_args()
    print(machine(), f"{os.environ.get('OMP_NUM_THREADS', 'all')} threads")
    rate, moved_mb = options.rate, options.moved_mb
    if rate is None:
        folder = Path(tempfile.mkdtemp(prefix="geoseg-cluster-"))
        try:
            rate, moved_mb = measure_one_scene(folder, options.rows, options.workers)
            measure_many_scenes(folder, options.scenes)
        finally:
            shutil.rmtree(folder)
    report_costs(rate, moved_mb)


if __name__ == "__main__":
    main()
