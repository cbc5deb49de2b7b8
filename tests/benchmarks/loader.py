"""Patches a second that worker processes read from a large JPEG-compressed GeoTIFF, against what one process does alone.

    python tests/benchmarks/loader.py [--seconds 5] [--note "other work was running"]

A made-up scene of 8,192 x 8,192 pixels in JPEG blocks of 512, its labels beside it as a mask; patches of 256 pixels are
drawn at random, batches of 16, and sent to the device that training would take, where they are made ready as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from machine import machine, table
from rasterio.windows import Window
from town import write_town

from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.evaluation.inputs.classes import BACKGROUND, BUILDING
from geoseg.training.options import TrainOptions
from geoseg.training.patches.augmentation import RECIPES
from geoseg.training.processes import ProcessGroup, choose_device
from geoseg.training.run import TrainingRun, open_run

SIDE, SMALL_SIDE, BLOCK, BATCH, PATCH = 8192, 1024, 512, 16, 256
WORKERS = (0, 1, 2, 4, 8)
SCENES = (("here", "train", SIDE), ("elsewhere", "validation", SMALL_SIDE))


def write_scene(labels: Path, path: Path, seed: int) -> None:
    """An image of a town as a camera would see it: roofs and ground with a grain, in JPEG."""
    chance = np.random.default_rng(seed)
    grain = chance.integers(0, 50, (3, BLOCK, SIDE), dtype=np.uint8)
    with rasterio.open(labels) as mask:
        width = mask.width
        profile = {name: value for name, value in mask.profile.items() if name != "zstd_level"}
        camera = {
            "count": 3,
            "nodata": None,
            "compress": "jpeg",
            "photometric": "ycbcr",
            "interleave": "pixel",
        }
        with rasterio.open(path, "w", **{**profile, **camera}) as image:
            for row in range(0, mask.height, BLOCK):
                window = Window(0, row, width, BLOCK)
                image.write(60 + 110 * mask.read(1, window=window)[None] + grain[..., :width], window=window)


def write_set(folder: Path) -> None:
    items = []
    for seed, (place, split, side) in enumerate(SCENES):
        labels, image = folder / f"{place}-labels.tif", folder / f"{place}.tif"
        write_town(labels, side, side)
        with rasterio.open(labels, "r+") as mask:
            mask.transform = mask.transform.translation(seed * 10_000, 0) @ mask.transform
        write_scene(labels, image, seed)
        items.append(Item(image.name, labels.name, place, split))  # type: ignore[arg-type]
    bands, classes = ("red", "green", "blue"), (BACKGROUND, BUILDING)
    dataset = Dataset("towns", "CC0", "nobody", "made up", 0.3, bands, classes, tuple(items), folder)
    write_dataset(dataset, folder)


def patches_a_second(run: TrainingRun, seconds: float) -> float:
    """Once each worker has given its first batch."""
    transform, batches = run.transform(RECIPES["none"]), run.batches(0)
    for _ in range(1 + run.settings.workers):
        transform(next(batches))
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        count += len(transform(next(batches)).inputs)
        if run.device.type == "cuda":
            torch.cuda.synchronize()
    return count / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="how long to read with each number of workers"
    )
    parser.add_argument("--note", default="", help="what a reader of the table should know of the machine")
    given = parser.parse_args()
    warnings.filterwarnings(
        "ignore", "This DataLoader will create"
    )  # more workers than cores: that is the question
    device = choose_device("auto")
    rows: list[tuple[str, ...]] = []
    alone = 0.0
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder))
        settings = TrainOptions(patch=PATCH, batch=BATCH, steps=10_000, augment="none", weights="none")
        run = open_run(Path(folder), Path(folder, "run"), settings, device, ProcessGroup())
        for workers in WORKERS:
            rate = patches_a_second(
                replace(run, settings=settings.replace({"workers": workers})), given.seconds
            )
            alone = alone or rate
            megapixels = rate * PATCH**2 / 1e6
            rows.append((str(workers), f"{rate:,.0f}", f"{megapixels:,.1f}", f"{rate / alone:.2f}"))
    print(f"{machine()}, batches to {device}" + (f"; {given.note}" if given.note else ""))
    print(table(("workers", "patches/s", "Mpx/s", "times one process"), rows))


if __name__ == "__main__":
    main()
