"""What can be asked of an evaluation, and what there is to compare for the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path

from geoseg.errors import InputError
from geoseg.landclass import LandClass
from geoseg.learn.evaluation.tally import Pair
from geoseg.prepare.dataset import FILE, Split

WEIGHTS = (".onnx", ".safetensors", ".pth", ".pt")
MODEL_FILES = ("card.json", "config.json")


@dataclass(frozen=True)
class Question:
    """What to evaluate: a model, mask, probability or footprints; and the truth, a mask, footprints or a data set."""

    predicted: str
    truth: str
    image: str | None = None
    """The image that a model is to predict, where the truth is no data set."""
    probability: str | None = None
    """The probability that belongs to a predicted mask."""
    threshold: float | None = None
    area: str | None = None
    """Polygons within which the truth is complete."""
    split: Split | None = None
    """The part of a data set to look at; validation, if none is named."""
    places: tuple[str, ...] = ()
    """The places of a data set to look at; all of the split's if none is named."""
    gsd_m: float | None = None
    """Pixel size to compare at where neither side is a raster, and that of rasters that do not say it."""
    min_area_m2: float | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.min_area_m2 is not None and not 0 <= self.min_area_m2 < inf:
            raise InputError(f"--min-area {self.min_area_m2:g}: give square metres, 0 or more")
        if self.gsd_m is not None and not 0 < self.gsd_m < inf:
            raise InputError(f"--gsd {self.gsd_m:g}: give the side of a pixel in metres, more than 0")

    @property
    def against_dataset(self) -> bool:
        """Whether the truth is a data set."""
        truth = Path(self.truth)
        return truth.suffix == ".toml" or (truth.is_dir() and (truth / FILE).exists())

    @property
    def asks_a_model(self) -> bool:
        """Whether the prediction is a model's, still to be made, rather than a file or folder of results."""
        path = Path(self.predicted)
        if path.is_dir():
            return any((path / name).exists() for name in MODEL_FILES) or any(holds_weights(path))
        if path.suffix in WEIGHTS:
            return True
        return not path.exists() and path.suffix == "" and ":" not in self.predicted


@dataclass(frozen=True)
class Comparison:
    """Everything there is to compare, and the classes it is in."""

    classes: tuple[LandClass, ...]
    pairs: tuple[Pair, ...]


def holds_weights(folder: Path) -> Iterator[bool]:
    """For each file of a folder, whether it holds the weights of a network."""
    return (file.suffix in WEIGHTS for file in folder.iterdir())
