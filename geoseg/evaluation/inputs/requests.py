"""One prediction and what it is compared with, checked before any work begins. Options that apply to none are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.datasets.schema import DATASET_FILE
from geoseg.errors import InputError
from geoseg.evaluation.inputs.alignment import is_georeferenced, refuse_missing
from geoseg.evaluation.options import EvaluateOptions
from geoseg.io.addresses import is_vector_file, parse_layer_path
from geoseg.models.store import CARD_FILE, CONFIG_FILE
from geoseg.training.options import OPTIONS_FILE

WEIGHTS = (".onnx", ".safetensors", ".pth", ".pt")
MODEL_FILES = (CARD_FILE, CONFIG_FILE, OPTIONS_FILE)

NO_OPTIONS = EvaluateOptions()


@dataclass(frozen=True)
class EvaluationRequest:
    """One prediction to compare with the truth: a model, mask, probability, footprints, or a folder of results.

    The truth is a mask, footprints or a data set. `probability` belongs to a predicted mask.
    """

    predicted: str
    truth: str
    options: EvaluateOptions = NO_OPTIONS
    probability: str | None = None

    @property
    def has_dataset(self) -> bool:
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

    def check_files(self) -> None:
        """Refuse a prediction that is not there, and a model that is not finished."""
        if not self.runs_model:
            refuse_missing(parse_layer_path(self.predicted)[0])
            return
        folder = Path(self.predicted)
        if (folder / OPTIONS_FILE).exists() and not (folder / CARD_FILE).exists():
            raise InputError(
                f"{folder}: its training is not finished, so it holds no model yet; give the same geoseg train command "
                "again to go on"
            )


def make_requests(
    predictions: Sequence[str], truth: str, options: EvaluateOptions
) -> tuple[EvaluationRequest, ...]:
    """One request for each prediction, and for each that they are compared with."""
    named = (*predictions, *options.against)
    probabilities = (options.probability, *[None] * (len(named) - 1))
    requests = tuple(
        EvaluationRequest(predicted, truth, options, probability)
        for predicted, probability in zip(named, probabilities, strict=True)
    )
    refuse_unused_options(requests)
    for request in requests:
        request.check_files()
    return requests


def holds_weights(folder: Path) -> Iterator[bool]:
    """For each file of a folder, whether it holds the weights of a network."""
    return (file.suffix in WEIGHTS for file in folder.iterdir())


def refuse_unused_options(requests: Sequence[EvaluationRequest]) -> None:
    """Refuse what was asked for and means nothing for any of the predictions."""
    given = list_given_options(requests[0])
    unused_elsewhere = [dict(find_unused_options(request)) for request in requests[1:]]
    for option, reason in find_unused_options(requests[0]):
        if given[option] is not None and all(option in unused for unused in unused_elsewhere):
            raise InputError(f"`{option}` {given[option]}: {reason}")


def list_given_options(request: EvaluationRequest) -> dict[str, str | float | None]:
    """What the options were set to that do not apply to every prediction."""
    options = request.options
    return {
        "image": options.image,
        "probability": request.probability,
        "threshold": options.threshold,
        "split": options.split,
        "places": ", ".join(options.places) or None,
        "gsd_m": options.gsd_m,
        "device": options.device,
    }


def find_unused_options(request: EvaluationRequest) -> Iterator[tuple[str, str]]:
    """Options that mean nothing for a prediction, each with the reason."""
    predicted, truth, options = request.predicted, request.truth, request.options
    if request.has_dataset:
        yield "image", f"{truth} is a data set and has its own images"
        yield "gsd_m", f"{truth} is a data set and says how large its pixels are"
        yield "probability", f"belongs to one mask, and {truth} is a data set"
    else:
        yield "split", f"{truth} is no data set"
        yield "places", f"{truth} is no data set"
        if options.gsd_m is not None and not needs_gsd(request):
            yield "gsd_m", "the rasters say where they lie, and so how large their pixels are"
    if not request.runs_model:
        yield "device", f"only a model runs on a device, and {predicted} is none"
        if options.page is None:
            yield "image", "neither a model nor a page would look at it; add `page` scores.png"
    elif request.probability is not None:
        yield "probability", f"{predicted} is a model and gives its own"
    if request.probability is None:
        yield "probability", "belongs to another prediction"
    if is_vector_file(predicted):
        yield "probability", f"belongs to a mask, and {predicted} is none"
        yield "threshold", f"footprints have no probability, and {predicted} holds footprints"


def needs_gsd(request: EvaluationRequest) -> bool:
    """Whether something lies nowhere, or nothing has pixels."""
    compared = [request.truth] if request.runs_model else [request.predicted, request.truth]
    files = [file for file in (*compared, request.options.image, request.probability) if file]
    rasters = [Path(file) for file in files if not is_vector_file(file)]
    for raster in rasters:
        refuse_missing(raster)
    return not rasters or not all(map(is_georeferenced, rasters))
