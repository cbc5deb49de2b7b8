"""How fast demo scenes are drawn, and how much memory that takes: python tests/benchmarks/demo_scene.py"""

from __future__ import annotations

import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.scene import SyntheticScene, write_scene

SIZES = ((2048, 2048), (2048, 8192), (8192, 1024), (40000, 512))


def measured(width: int, height: int, seed: int) -> tuple[float, float]:
    """Processor seconds and peak memory in MB of one scene."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        write_scene(
            SyntheticScene(Layout(seed), height, width), Path(folder, "a.tif"), Path(folder, "a.gpkg")
        )
        seconds = time.process_time() - started
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, one core, seed 7")
    print(f"{'width':>8} {'height':>8} {'s':>8} {'MP/s':>8} {'peak MB':>8}")
    context = multiprocessing.get_context("spawn")
    for width, height in SIZES:
        with context.Pool(1) as pool:
            seconds, peak_mb = pool.apply(measured, (width, height, 7))
        rate = width * height / 1e6 / seconds
        print(f"{width:>8} {height:>8} {seconds:>8.1f} {rate:>8.2f} {peak_mb:>8.0f}")


if __name__ == "__main__":
    main()
