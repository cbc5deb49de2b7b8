"""Two layers of footprints compared: seconds, and the most memory held, by number of footprints.

python tests/benchmarks/comparing.py [--footprints 100000 1000000]

The layers are towns of small blocks; of B a tenth is gone, a tenth new, a twentieth split, and all of it is shifted.
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

from geoseg.workflows.compare import compare_footprints
from geoseg.workflows.options import CompareOptions

PLOT_M = 25.0
SHIFT_M = (1.5, -0.8)
AT_ONCE = 250_000


def make_houses(numbers: np.ndarray, across: int, seed: int) -> np.ndarray:
    """A house on each of some plots: a rectangle, of eight corners where an L is cut out of it."""
    chance = np.random.default_rng([seed, int(numbers[0])])
    row, col = np.divmod(numbers, across)
    x, y = 400_000 + PLOT_M * col, 5_500_000 + PLOT_M * row
    half = np.random.default_rng(numbers[0]).uniform(3, 10, (len(numbers), 2))
    wobble = chance.normal(0, 0.2, (len(numbers), 4))
    boxes = shapely.box(
        x - half[:, 0] + wobble[:, 0], y - half[:, 1] + wobble[:, 1],
        x + half[:, 0] + wobble[:, 2], y + half[:, 1] + wobble[:, 3],
    )  # fmt: skip
    return shapely.difference(boxes, shapely.box(x, y, x + half[:, 0] + 2, y + half[:, 1] + 2))


def write_layers(count: int, folder: Path) -> None:
    across = int(np.ceil(np.sqrt(count)))
    for name, seed in (("a", 1), ("b", 2)):
        for start in range(0, count, AT_ONCE):
            numbers = np.arange(start, min(start + AT_ONCE, count))
            fate = np.random.default_rng(numbers[0]).random(len(numbers))
            shapes = make_houses(numbers, across, seed)
            kept = fate >= 0.1 if name == "b" else fate < 0.9
            shapes = shapes[kept]
            if name == "b":
                shapes = shapely.transform(shapes, lambda places: places + np.array(SHIFT_M))
            frame = geopandas.GeoDataFrame(geometry=shapes, crs=32633)
            frame.to_file(folder / f"{name}.gpkg", mode="a" if start else "w")


def measure(folder: Path) -> tuple[str, float, float, float]:
    """What came out, seconds, and the most memory this process ever held, before and after."""
    before = read_peak()
    start = time.perf_counter()
    result = compare_footprints(
        str(folder / "a.gpkg"), str(folder / "b.gpkg"), folder / "c.gpkg", CompareOptions()
    )
    return f"{result.counts}; {result.shift}", time.perf_counter() - start, before, read_peak()


def read_peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--footprints", type=int, nargs="+", default=[100_000, 1_000_000])
    lines = []
    for count in parser.parse_args().footprints:
        with tempfile.TemporaryDirectory() as scratch:
            write_layers(count, Path(scratch))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                told, seconds, before, peak = pool.apply(measure, (Path(scratch),))
        print(told)
        lines.append(
            (f"{count:,}", f"{seconds:.0f}", f"{count / seconds:,.0f}", f"{before:.0f}", f"{peak:.0f}")
        )
    print(machine())
    print(table(("footprints in each", "seconds", "a second", "MB before", "MB at most"), lines))


if __name__ == "__main__":
    main()
