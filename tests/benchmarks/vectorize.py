"""How long and how much memory it takes to vectorise a large mask, beside `rasterio.features.shapes` in the same run.

    python tests/benchmarks/vectorize.py                        # 40,000 x 40,000, 345,744 houses
    python tests/benchmarks/vectorize.py --height 100000        # memory must not grow with height

The peer only makes polygons, in memory. geoseg makes them, measures them and writes a GeoPackage; with
--regularize it straightens them, too.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from town import write_town

KINDS = ("rasterio shapes", "geoseg", "geoseg, regularized", "geoseg, one process")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=40_000)
    parser.add_argument("--width", type=int, default=40_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mask", type=Path, help="use, or make, the town at this place")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS[:3])
    parser.add_argument("--run", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.mask, options.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        mask = options.mask or Path(folder) / "town.tif"
        if not mask.exists():
            write_town(mask, options.height, options.width)
        print(f"{options.height} x {options.width} pixels, {processor()}, {options.workers} workers")
        print(
            f"{'':22} {'footprints':>10} {'wall s':>8} {'CPU s':>8} {'ratio':>6} {'parent MiB':>11} {'child MiB':>10}"
        )
        first = None
        for kind in options.kinds:
            first = report(kind, mask, options.workers, first)


def report(kind: str, mask: Path, workers: int, first: float | None) -> float:
    """Measure one kind in a process of its own; gives the wall time that later ones are compared with."""
    command = [sys.executable, __file__, "--run", kind, "--mask", str(mask), "--workers", str(workers)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    count, wall, cpu, parent, child = map(float, out)
    first = wall if first is None else first
    print(
        f"{kind:22} {count:10.0f} {wall:8.1f} {cpu:8.1f} {wall / first:6.2f} {parent:11.0f} {child:10.0f}",
        flush=True,
    )
    return first


def run(kind: str, mask: Path, workers: int) -> None:
    start = time.perf_counter()
    workers = 0 if "one process" in kind else workers
    count = peer(mask) if kind == "rasterio shapes" else ours(mask, workers, "regularized" in kind)
    wall = time.perf_counter() - start
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    print(count, wall, cpu, own.ru_maxrss / 1024, children.ru_maxrss / 1024)


def peer(mask: Path) -> int:
    import rasterio
    from rasterio.features import shapes

    with rasterio.open(mask) as raster:
        band = rasterio.band(raster, 1)
        return sum(1 for _ in shapes(band, mask=band))


def ours(mask: Path, workers: int, regularize: bool) -> int:
    from geoseg.raster.mask import open_mask
    from geoseg.workflows.options import VectorizeOptions
    from geoseg.workflows.vectorize import vectorize_mask

    with tempfile.TemporaryDirectory(dir=mask.parent) as folder:
        out = Path(folder) / "town.gpkg"
        return vectorize_mask(
            open_mask(str(mask)), out, VectorizeOptions(regularize=regularize), workers=workers
        ).footprints


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(names) or platform.processor()


if __name__ == "__main__":
    main()
