"""How long commands take to begin, what small work costs, and peak memory: this checkout against an earlier commit.

    python tests/benchmarks/startup.py [--against f806ec1] [--turns 5] [--size]

Both run in turns in the same environment, so that a busy machine slows both. The first run of a model is told apart: then an
engine is made ready and a precision chosen, which later runs find in the cache. `--size` installs this checkout into a fresh
environment as well (which needs a package index), and adds up its files.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from machine import machine, table
from memory import write_model, write_scene

ROOT = Path(__file__).parents[2]
SIDE = 8192


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds by the clock and of processors, and its peak memory in MiB."""

    seconds: float
    busy: float
    peak: float


@dataclass(frozen=True)
class Checkout:
    """A tree of the project, with a cache folder of its own."""

    root: Path
    cache: Path

    def run(self, *arguments: object) -> Cost:
        environment = {**os.environ, "PYTHONPATH": str(self.root), "GEOSEG_CACHE": str(self.cache)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
        command = [sys.executable, "-m", "geoseg", *map(str, arguments)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.root, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        assert status == 0, command
        return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def unpack(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def list_commands(folder: Path) -> dict[str, tuple[object, ...]]:
    """What is run, by the name it is shown with."""
    model, wide = write_model(folder), folder / "wide.tif"
    write_scene(wide, SIDE, SIDE)
    infer = ("infer", "--quiet", "--overwrite")
    mask, footprints = ("--mask", folder / "mask.tif"), ("--out", folder / "buildings.gpkg")
    scene = ROOT / "examples" / "scene.tif"
    return {
        "geoseg --help": ("--help",),
        "infer scene.tif --mask": (*infer, scene, *mask),
        "infer scene.tif --out": (*infer, scene, *footprints),
        f"one layer, {SIDE:,} x {SIDE:,}": (*infer, wide, "--model", model, *mask),
    }


def compare(name: str, first: list[Cost], now: list[Cost]) -> tuple[object, ...]:
    """A row of the table: medians, and the medians of the ratios of each turn."""
    ratios = [
        median(getattr(b, key) / getattr(a, key) for a, b in zip(first, now, strict=True))
        for key in ("seconds", "busy")
    ]
    seconds = (f"{median(cost.seconds for cost in costs):.2f}" for costs in (first, now))
    peaks = (f"{median(cost.peak for cost in costs):.0f}" for costs in (first, now))
    return (name, *seconds, *(f"{ratio:.2f}" for ratio in ratios), *peaks)


def measure_size(folder: Path) -> str:
    """Megabytes of an environment with this checkout, and of them what every environment has."""
    venv.create(folder, with_pip=True)
    empty = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", ROOT], check=True)
    whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return f"a fresh environment: {whole / 1e6:,.0f} MB, of which {empty / 1e6:,.0f} MB were there before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", default="f806ec1", help="the commit to compare with")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--size", action="store_true", help="install into a fresh environment as well")
    wanted = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkouts = (
            Checkout(unpack(wanted.against, folder / "before"), folder / "cache-before"),
            Checkout(ROOT, folder / "cache-now"),
        )
        rows = []
        for name, arguments in list_commands(folder).items():
            first = [[each.run(*arguments)] for each in checkouts]
            if "--mask" in name:
                rows.append(compare(f"{name}, first run", *first))
            turns = [[each.run(*arguments) for each in checkouts] for _ in range(wanted.turns)]
            rows.append(compare(name, *map(list, zip(*turns, strict=True))))
        header = ("", "s before", "s now", "ratio", "processor", "MiB before", "MiB now")
        print(table(header, rows))
        if wanted.size:
            print(measure_size(folder / "environment"))


if __name__ == "__main__":
    main()
