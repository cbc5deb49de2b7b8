"""From a trained network to a model folder: calibrated, its threshold and smallest area tuned, and a card with its scores."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg import __version__
from geoseg.errors import GeosegError, WriteError, explain_missing_torch, shorten_error
from geoseg.io.staging import create_scratch_folder
from geoseg.models.card import Card
from geoseg.models.store import ONNX_FILE, Model, save_model
from geoseg.scores.calibration import ProbabilityCounts, TemperatureScaling
from geoseg.scores.confusion import Confusion, average_classes
from geoseg.training.answers import keep_answers
from geoseg.training.networks import apply_temperature
from geoseg.training.patches.batches import Batch
from geoseg.training.run import TrainingRun, mark_unfinished
from geoseg.training.tuning import (
    PatchResult,
    Tuner,
    choose_min_area,
    choose_temperature_scaling,
    choose_threshold,
)
from geoseg.training.validation import ValidationResult

log = logging.getLogger(__name__)

CHECKED = 8
ANSWERS = ".answers"


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained, and how well it does on the validation places."""

    folder: Path
    card: Card = field(repr=False)
    pictures: tuple[Path, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        pictures = {picture.stem: str(picture) for picture in self.pictures}
        return {
            "model": str(self.folder), "threshold": self.card.threshold, **pictures, **self.card.metrics
        }  # fmt: skip

    def __str__(self) -> str:
        found = self.card.metrics["validation"]
        per_class = ", ".join(f"{name} {scores['iou']:.3f}" for name, scores in found["classes"].items())
        lines = [
            f"Model   {self.folder}",
            f"IoU     {per_class}",
            *(f"Shown   {picture}" for picture in self.pictures),
            f"Use it  geoseg infer scene.tif --model {self.folder} --out out.gpkg",
        ]
        return "\n".join(lines)


def finish_model(
    run: TrainingRun, network: nn.Module, record: Mapping[str, Any], out: Path
) -> TrainedModel | None:
    """Calibrate and tune on all validation patches, read once, then write the model. Every process takes part."""
    with create_scratch_folder(out / f"{ANSWERS}-{run.group.rank}") as folder:
        answers = keep_answers(run, run.add_derived_bands(network), folder)
        before = answers.count()
        scaling = TemperatureScaling(
            *run.group.broadcast(astuple(choose_temperature_scaling(before, run.card)), run.device)
        )
        apply_temperature(network, scaling, run.card.class_channels)
        answers = replace(answers, scaling=scaling)
        after = answers.count()
        if not run.group.is_main:
            return None
        tuner = Tuner(run, answers, choose_threshold(after, run.card))
        calibration = describe_calibration(before, after, scaling)
        return write_trained_model(
            network, tuner, after, {"calibration": calibration, "training": record}, out
        )


def write_trained_model(
    network: nn.Module, tuner: Tuner, found: ValidationResult, record: Mapping[str, Any], out: Path
) -> TrainedModel:
    """Write the model folder: weights, card, what quicker ways of running it are checked on, and pictures."""
    run, results = tuner.run, tuner.results()
    card = replace(
        run.card,
        threshold=tuner.threshold,
        min_area_m2=choose_min_area(results, run.card.gsd_m),
        metrics=collect_metrics(found.at(tuner.threshold) if tuner.is_binary else found, run.card),
        calibration=record["calibration"],
        training={**record["training"], **describe_circumstances(run)},
    )
    weights = copy_weights(network, run.settings.half_weights)
    with mark_unfinished(out):
        model = save_model(out, weights, card, collect_check_patches(tuner, results))
        add_onnx_file(model)
        return TrainedModel(out, model.card, draw_pictures(tuner, results, out))


def copy_weights(network: nn.Module, in_half: bool) -> nn.Module:
    """The weights as they are written."""
    copy = deepcopy(network).cpu().to(memory_format=torch.contiguous_format)
    return copy.half() if in_half else copy


def add_onnx_file(model: Model) -> None:
    """Put the file that a CPU runs beside the weights; without it, a machine with PyTorch makes one when it needs it."""
    path = model.weights.parent / ONNX_FILE
    try:
        with explain_missing_torch(f"writing {path}"):
            from geoseg.models.export import write_model_onnx
        write_model_onnx(model, path)
    except WriteError:
        raise
    except GeosegError as error:
        log.warning(str(error))


def draw_pictures(tuner: Tuner, results: Sequence[PatchResult], out: Path) -> tuple[Path, ...]:
    """Curves and samples; a model is worth having without them."""
    try:
        from geoseg.training.pictures import draw_curves, draw_samples

        return draw_curves(out), draw_samples(tuner, results, out)
    except WriteError:
        raise
    except Exception as error:  # noqa: BLE001 - what draws fails in the ways of many libraries
        log.warning(f"no pictures of the training: {shorten_error(error)}")
        return ()


def collect_metrics(found: ValidationResult, card: Card) -> dict[str, Any]:
    """Scores over all validation places and for each of them, and the counts that they come from."""
    total = found.confusion.total()
    names = [each.name for each in card.classes]
    return {
        "validation": {**collect_scores(total, names), "pixels": int(total.pixels)},
        "places": {
            place: collect_scores(Confusion(counts), names)
            for place, counts in zip(found.places, found.confusion.counts, strict=True)
        },
        "confusion": {"classes": names, "true_by_predicted": total.counts.tolist()},
    }


def collect_scores(confusion: Confusion, names: list[str]) -> dict[str, Any]:
    tables = {
        "iou": confusion.iou,
        "dice": confusion.dice,
        "precision": confusion.precision,
        "recall": confusion.recall,
    }
    return {
        "classes": {
            name: {score: round_score(values[i], 4) for score, values in tables.items()}
            for i, name in enumerate(names)
            if not np.isnan(confusion.iou[i])
        },
        "macro_iou": round_score(average_classes(confusion.iou), 4),
        "accuracy": round_score(confusion.overall_accuracy, 4),
    }


def round_score(score: Any, digits: int) -> float:
    return round(float(np.nan_to_num(score)), digits)


def describe_calibration(
    before: ValidationResult, after: ValidationResult, scaling: TemperatureScaling
) -> dict[str, Any]:
    """How far probabilities are from coming true, before and after; what changed them is in the weights already."""
    first, last = (ProbabilityCounts(found.levels).total() for found in (before, after))
    yes_no = before.levels.shape[1] == 1
    totals = {
        "total_error_before": round_score(first.total_error, 5),
        "total_error": round_score(last.total_error, 5),
    }
    return {
        "temperature": round(scaling.temperature, 4),
        **({"offset": round(scaling.offset, 4)} if yes_no else {}),
        "applied": True,
        "ece_before": round_score(first.ece(), 5),
        "ece": round_score(last.ece(), 5),
        **(totals if yes_no else {}),
        "brier": round_score(last.brier, 5),
    }


def describe_circumstances(run: TrainingRun) -> dict[str, Any]:
    """Where and with what a model was trained."""
    gpu = torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else ""
    ground = run.ground
    return {
        "hardware": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "software": f"geoseg {__version__}, torch {torch.__version__}",
        "finished": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "places": sorted({site.place for site in ground.training}),
        "validation_places": sorted({site.place for site in ground.validation}),
        "labelled_megapixels": round(sum(site.known for site in ground.training) / 1e6, 2),
    }


def collect_check_patches(tuner: Tuner, results: Sequence[PatchResult]) -> NDArray[Any]:
    """Raw validation patches on which quicker ways of running the model will be judged: those it is least sure of.

    Rounding moves pixels that are close to two classes to the other one. Dense quarters hold many of them, open land none.
    """
    hardest = sorted(results, key=lambda look: (-look.unsure, look.number))[:CHECKED]
    batches: Iterator[Batch] = tuner.run.read_validation(sorted(look.number for look in hardest))
    return np.concatenate([batch.values.cpu().numpy() for batch in batches])
