"""What can be asked of an evaluation. Options that mean nothing for a prediction and its truth are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from geoseg.datasets.schema import DATASET_FILE, Split
from geoseg.errors import InputError
from geoseg.evaluation.alignment import is_georeferenced, refuse_missing
from geoseg.io.layers import is_vector_file

WEIGHTS = (".onnx", ".safetensors", ".pth", ".pt")
MODEL_FILES = ("card.json", "config.json")


@dataclass(frozen=True)
class EvaluateOptions:
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
            raise InputError(f"`min_area_m2` {self.min_area_m2:g}: give square metres, 0 or more")
        if self.gsd_m is not None and not 0 < self.gsd_m < inf:
            raise InputError(f"`gsd` {self.gsd_m:g}: give the side of a pixel in metres, more than 0")

    @property
    def against_dataset(self) -> bool:
        """Whether the truth is a data set."""
        truth = Path(self.truth)
        return truth.suffix == ".toml" or (truth.is_dir() and (truth / DATASET_FILE).exists())

    @property
    def runs_model(self) -> bool:
        """Whether the prediction is a model's, still to be made, rather than a file or folder of results."""
        path = Path(self.predicted)
        if path.is_dir():
            return any((path / name).exists() for name in MODEL_FILES) or any(holds_weights(path))
        if path.suffix in WEIGHTS:
            return True
        return not path.exists() and path.suffix == "" and ":" not in self.predicted


def holds_weights(folder: Path) -> Iterator[bool]:
    """For each file of a folder, whether it holds the weights of a network."""
    return (file.suffix in WEIGHTS for file in folder.iterdir())


def refuse_unused_options(questions: Sequence[EvaluateOptions]) -> None:
    """Refuse what was asked for and means nothing for any of the predictions."""
    wanted, elsewhere = questions[0], [dict(find_unused_options(each)) for each in questions[1:]]
    for option, why in find_unused_options(wanted):
        value = list_given_options(wanted)[option]
        if value is not None and all(option in others for others in elsewhere):
            raise InputError(f"{option} {value}: {why}")


def list_given_options(question: EvaluateOptions) -> dict[str, str | float | None]:
    """What options were set to."""
    return {
        "`image`": question.image,
        "`probability`": question.probability,
        "`threshold`": question.threshold,
        "`split`": question.split,
        "`places`": ", ".join(question.places) or None,
        "`gsd`": question.gsd_m,
        "`device`": question.device,
    }


def find_unused_options(question: EvaluateOptions) -> Iterator[tuple[str, str]]:
    """Options that mean nothing for a question, each with the reason."""
    if question.against_dataset:
        yield "`image`", f"{question.truth} is a data set and has its own images"
        yield "`gsd`", f"{question.truth} is a data set and says how large its pixels are"
        yield "`probability`", f"belongs to one mask, and {question.truth} is a data set"
    else:
        yield "`split`", f"{question.truth} is no data set"
        yield "`places`", f"{question.truth} is no data set"
        if question.gsd_m is not None and not needs_gsd(question):
            yield "`gsd`", "the rasters say where they lie, and so how large their pixels are"
    if not question.runs_model:
        yield "`device`", f"only a model runs on a device, and {question.predicted} is none"
    elif question.probability is not None:
        yield "`probability`", f"{question.predicted} is a model and gives its own"
    if question.probability is None:
        yield "`probability`", "belongs to the other prediction"
    if is_vector_file(question.predicted):
        yield "`probability`", f"belongs to a mask, and {question.predicted} is none"
        yield "`threshold`", f"footprints have no probability, and {question.predicted} holds footprints"


def needs_gsd(question: EvaluateOptions) -> bool:
    """Whether something lies nowhere, or nothing has pixels."""
    sides = [question.truth] if question.runs_model else [question.predicted, question.truth]
    files = [file for file in (*sides, question.image, question.probability) if file]
    rasters = [Path(file) for file in files if not is_vector_file(file)]
    for raster in rasters:
        refuse_missing(raster)
    return not rasters or not all(map(is_georeferenced, rasters))
