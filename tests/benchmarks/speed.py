"""What `geoseg infer` costs beside the limit: the bare network on the same patches, decoding the scene, writing the mask.

    python tests/benchmarks/speed.py [--sizes 4096 8192] [--models resnet18 default] [--turns 3] [--json speed.json]

Each run is a process of its own, in turns with the bare network, so that a busy machine slows both. Two ratios are told: by
the clock, and of processor time, which others on the machine disturb less. The first run of a model makes its engine ready, and
is told apart. `--roots ../before .` measures several checkouts (such as one before a change) with this script, in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from machine import machine, table

ROOT = Path(__file__).parents[2]
SIZES = (4096, 8192)
MODELS = ("resnet18", "default")
DIFFERENT_PATCHES = 8
NODATA = 255
SMALL, SMALL_SIDE = "small.tif", 2048

WATCH = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
sys.exit(status != 0)
"""
"""Runs a command from a small process: a process inherits the peak memory of the one that starts it."""


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of processors, and the peak memory of a process in MiB."""

    seconds: float
    busy: float
    peak: float = 0.0


@dataclass(frozen=True)
class Row:
    """A run beside its limits. Ratios are medians of turns; each is over the bare network of its own turn."""

    root: str
    model: str
    size: int
    output: str
    patches: int
    network: Cost
    run: Cost
    clock_ratio: float
    busy_ratio: float
    decode_share: float
    write_share: float

    def cells(self) -> tuple[str, ...]:
        return (
            self.root,
            self.model,
            f"{self.size:,}",
            self.output,
            f"{self.network.seconds:.2f}",
            f"{self.run.seconds:.2f}",
            f"{self.clock_ratio:.2f}",
            f"{self.busy_ratio:.2f}",
            f"{self.decode_share:.3f}",
            f"{self.write_share:.3f}",
            f"{self.run.peak:.0f}",
        )


HEADER = (
    "checkout", "model", "size", "to", "network s", "run s", "by clock", "of processors", "decode", "write", "peak MiB",
)  # fmt: skip


def take_time(work: Callable[[], object]) -> Cost:
    """What some work in this process costs."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - start, time.process_time() - busy)


def find_median(costs: list[Cost]) -> Cost:
    return Cost(*(median(getattr(cost, name) for cost in costs) for name in ("seconds", "busy", "peak")))


def prepare_network(job: Any, scene: Path) -> Callable[[], object]:
    """The chosen engine on as many patches as the job has, cut beforehand, in batches and by as many threads as it takes."""
    from geoseg.inference.predictor import find_largest_batch

    runtime, plan = job.open_runtime(job.kinds[0]), job.plan
    device, streams = runtime.device, getattr(runtime, "streams", 1)
    batch = 1 if device.name == "cpu" else find_largest_batch(runtime, plan, 3, "uint8")
    with rasterio.open(scene) as dataset:
        pixels = dataset.read(window=((0, plan.patch), (0, dataset.width)))
    lefts = np.linspace(0, pixels.shape[2] - plan.patch, max(batch, DIFFERENT_PATCHES)).astype(int)
    cut = np.stack([pixels[:, :, x : x + plan.patch] for x in lefts])
    batches = [device.upload(cut[i : i + batch]) for i in range(0, len(cut) - batch + 1, batch)]

    def answer(number: int) -> None:
        device.download(runtime(batches[number % len(batches)]))()

    def run() -> None:
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(answer, range(-(-plan.patches // batch))))

    answer(0)
    return run


def decode(job: Any) -> None:
    """Read every pixel of the scene once, in the order of rows, as the file's blocks lie."""
    from geoseg.raster.grid import Window

    scene = job.scene
    step = scene.block_height
    with scene.open() as reader:
        for row in range(0, scene.grid.height, step):
            reader.read(Window(row, 0, min(step, scene.grid.height - row), scene.grid.width))


def prepare_write(mask: Path, folder: Path) -> Callable[[], None]:
    """Write a mask that lies in memory as a cloud-optimised GeoTIFF, as GDAL does it by itself."""
    with rasterio.open(mask) as dataset:
        profile, pixels = dataset.profile, dataset.read()
    source = rasterio.MemoryFile()
    profile.update(driver="GTiff", compress=None, nodata=NODATA)
    with source.open(**profile) as raster:
        raster.write(pixels)

    def write() -> None:
        with source.open() as raster:
            rasterio.shutil.copy(
                raster, folder / "written.tif", driver="COG", compress="deflate", blocksize=512,
                overview_resampling="nearest", num_threads="all_cpus",
            )  # fmt: skip

    return write


def run_infer(root: Path, scene: Path, model: str, outputs: list[str]) -> Cost:
    """Run the command of a checkout in a process of its own.

    What Python compiles is kept for the next run, as it is where geoseg is installed.
    """
    environment = {**os.environ, "PYTHONPATH": str(root.resolve())}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [
        sys.executable, "-m", "geoseg", "infer", str(scene), "--model", model, "--device", "cpu", "--quiet",
        "--overwrite", *outputs,
    ]  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-c", WATCH, *command], stdout=subprocess.PIPE, cwd=root, env=environment, check=True
    )
    return Cost(*json.loads(told.stdout))


@dataclass(frozen=True)
class Bench:
    """A folder with a scene and a model, and the checkouts that are measured."""

    roots: tuple[Path, ...]
    folder: Path
    scene: Path
    model: str

    def list_commands(self) -> dict[str, list[str]]:
        return {
            "COG": ["--mask", str(self.folder / "mask.tif")],
            "GeoPackage": ["--out", str(self.folder / "buildings.gpkg")],
        }

    def infer(self, root: Path, output: str, scene: Path | None = None) -> Cost:
        return run_infer(root, scene or self.scene, self.model, self.list_commands()[output])

    def measure(self, turns: int, outputs: tuple[str, ...]) -> Iterator[Row]:
        from geoseg.inference.job import plan_job
        from geoseg.workflows.options import InferOptions

        for root in self.roots:
            self.infer(root, outputs[0], self.folder / SMALL)  # makes the engine ready
        options = InferOptions(model=self.model, device="cpu", mask=self.folder / "mask.tif", overwrite=True)
        job = plan_job([str(self.scene)], options)
        run_network = prepare_network(job, self.scene)
        network: list[Cost] = []
        runs: dict[tuple[Path, str], list[Cost]] = {each: [] for each in product(self.roots, outputs)}
        for _ in range(turns):
            network.append(take_time(run_network))
            for (root, output), costs in runs.items():
                costs.append(self.infer(root, output))
        bare = find_median(network)
        reading = min((take_time(lambda: decode(job)) for _ in range(turns)), key=lambda cost: cost.busy)
        if "COG" not in outputs:
            self.infer(self.roots[-1], "COG")
        write = prepare_write(self.folder / "mask.tif", self.folder)
        writing = min((take_time(write) for _ in range(turns)), key=lambda cost: cost.busy)
        for (root, output), costs in runs.items():
            pairs = list(zip(costs, network, strict=True))
            yield Row(
                root.resolve().name,
                self.model if self.model == "default" else Path(self.model).name,
                job.scene.grid.width,
                output,
                job.plan.patches,
                bare,
                find_median(costs),
                median(run.seconds / alone.seconds for run, alone in pairs),
                median(run.busy / alone.busy for run, alone in pairs),
                reading.busy / bare.busy,
                writing.busy / bare.busy,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--models", nargs="+", default=MODELS, help="resnet18 (random weights), or any model")
    parser.add_argument("--outputs", nargs="+", default=("COG", "GeoPackage"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument(
        "--roots", type=Path, nargs="+", default=[ROOT], help="the checkouts that are measured"
    )
    wanted = parser.parse_args()
    sys.path.insert(0, str(wanted.roots[-1].resolve()))
    from inference import write_model, write_scene

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "resnet18")
        write_scene(folder / SMALL, SMALL_SIDE)
        for size in wanted.sizes:
            scene = folder / f"scene-{size}.tif"
            write_scene(scene, size)
            for model in wanted.models:
                bench = Bench(
                    tuple(wanted.roots), folder, scene, str(folder / model) if model == "resnet18" else model
                )
                rows += bench.measure(wanted.turns, tuple(wanted.outputs))
    print(machine())
    print(table(HEADER, [row.cells() for row in rows]))
    if wanted.json:
        wanted.json.write_text(
            json.dumps({"machine": machine(), "rows": [asdict(r) for r in rows]}, indent=1)
        )


if __name__ == "__main__":
    main()
