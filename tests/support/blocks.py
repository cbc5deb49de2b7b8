"""A drawn scene of bright blocks, a network that finds them, and what workers do when they are disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from bright import ENGINE, write_bright_model
from made import HERE, UTM33
from numpy.typing import NDArray
from town import square

import geoseg
from geoseg.inference.pipeline import AnswerCounts
from geoseg.workflows.strips import StripTask, work_on_strips

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]
SMALL_STRIPS = 12_000
"""Pixels of a strip: a row of patches of a scene as wide as these."""
WAIT_S = 60


def draw_blocks(height: int = 600, width: int = 200, seed: int = 0) -> NDArray[np.uint8]:
    """Bright blocks of many sizes, some of them across the seams of strips."""
    chance = np.random.default_rng(seed)
    values = np.full((3, height, width), 20, np.uint8)
    for _ in range(height * width // 4000):
        row, col = chance.integers(0, height - 10), chance.integers(0, width - 10)
        values[:, row : row + chance.integers(8, 70), col : col + chance.integers(8, 30)] = chance.integers(
            90, 250
        )
    return values


def write_scene(path: Path, values: NDArray[np.uint8]) -> Path:
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 3, "height": values.shape[1], "width": values.shape[2], "crs": UTM33,
        "transform": HERE, "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
    return path


class Bench:
    """A folder with a scene, a model, regions, and outputs by a name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = str(write_bright_model(folder))
        self.scene = write_scene(folder / "scene.tif", draw_blocks())
        halves = [square(0, 0, 100), square(100, 0, 100)]
        gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=UTM33).to_file(
            folder / "wards.gpkg"
        )

    def outputs(self, name: str) -> dict[str, Path]:
        return {
            "out": self.folder / f"{name}.gpkg",
            "mask": self.folder / f"{name}.tif",
            "probability": self.folder / f"{name}-p.tif",
        }

    def infer(self, name: str, **options: Any) -> Any:
        return geoseg.infer(
            self.scene, **self.outputs(name), model=self.model, regions=str(self.folder / "wards.gpkg"),
            **{**ENGINE, **options},
        )  # fmt: skip

    def read(self, name: str) -> list[bytes]:
        return [path.read_bytes() for path in self.outputs(name).values()]

    def list_strays(self) -> list[str]:
        """What belongs to no finished output."""
        return [
            path.name for path in self.folder.iterdir() if ".parts" in path.name or path.name.startswith(".")
        ]


def die_once(task: StripTask) -> AnswerCounts:
    """Do a strip and die; whoever gets the task then does it all."""
    if task.first == 0 and not (mark := task.journal.folder.parent / "died").exists():
        mark.touch()
        work_on_strips(shorten(task))
        os.kill(os.getpid(), signal.SIGKILL)
    return work_on_strips(task)


def die_always(task: StripTask) -> AnswerCounts:
    os.kill(os.getpid(), signal.SIGKILL)
    return work_on_strips(task)


def work_slowly(task: StripTask) -> AnswerCounts:
    time.sleep(0.3)
    return work_on_strips(task)


def shorten(task: StripTask) -> StripTask:
    from dataclasses import replace

    return replace(task, stop=task.first + 1)


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), str(SUPPORT)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )


@contextmanager
def run_cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers in processes of their own, over TCP: its address, then all processes."""
    file = folder / "scheduler.json"
    place = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [
        start("-m", "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file), *place)
    ]
    try:
        address = read_address(file)
        processes += [
            start("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", *place, cwd=folder)
            for _ in range(workers)
        ]
        yield address, processes
    finally:
        for process in processes[::-1]:
            process.kill()  # workers end with the nanny that has started them
            process.wait(WAIT_S)


def read_address(file: Path) -> str:
    import json

    wait_until(file.exists)
    wait_until(lambda: file.read_text().endswith("}"))
    return str(json.loads(file.read_text())["address"])


def wait_until(is_so: Any) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
