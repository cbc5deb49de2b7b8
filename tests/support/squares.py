"""Small data sets to learn from: bright squares on dark ground."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.raster.palette import ClassEntry
from geoseg.training.options import TrainOptions

CLASSES = (ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e"))


def town(
    side: int, seed: int, bands: int = 3, classes: int = 2
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (band, row, col) and its classes (row, col): squares, each class of its own brightness."""
    chance = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.uint8)
    for i in range(side * side // 600):
        row, col = chance.integers(0, side - 12, 2)
        labels[row : row + 12, col : col + 12] = 1 + i % (classes - 1)
    image = 40 + labels[None] * (180 // classes) + chance.integers(0, 30, (bands, side, side))
    return image.astype(np.uint8), labels


def array_set(folder: Path, side: int = 128, classes: int = 2, bands: int = 3, **changes: Any) -> Dataset:
    """A data set of NumPy arrays: two places to learn from and one to validate on."""
    items = []
    for i, (place, split) in enumerate([("a", "train"), ("b", "train"), ("c", "validation")]):
        image, labels = town(side, i, bands, classes)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{place}.npy", image)
        np.save(folder / f"{place}-labels.npy", labels)
        items.append(Item(f"{place}.npy", f"{place}-labels.npy", place, split, 0.3))  # type: ignore[arg-type]
    named = CLASSES + tuple(ClassEntry(f"class {i}", "#4c9f70") for i in range(2, classes))
    given = {
        "name": "squares", "licence": "CC0", "attribution": "nobody", "source": "made up", "gsd_m": 0.3,
        "bands": ("red", "green", "blue", "nir", "swir")[:bands], "classes": named, "items": tuple(items),
        "folder": folder, **changes,
    }  # fmt: skip
    dataset = Dataset(**given)
    write_dataset(dataset, folder)
    return dataset


def quick(**changes: Any) -> TrainOptions:
    """Settings of a run of seconds."""
    small = {
        "architecture": "unet-plain", "arguments": '{"encoder_depth": 2, "width": 8}', "patch": 32, "steps": 12,
        "batch": 4, "workers": 0, "validate_every": 6, "checkpoint_every": 3, "validation_patches": 4, "warmup": 2,
        "learning_rate": 5e-3, "device": "cpu", "precision": "fp32", "augment": "light",
    }  # fmt: skip
    return TrainOptions().replace({**small, **changes})


def read_losses(run: Path) -> list[tuple[int, float]]:
    """The steps of a run and their losses."""
    with (run / "metrics.csv").open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
