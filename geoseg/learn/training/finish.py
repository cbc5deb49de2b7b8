"""From a trained network to a model folder: calibrated, its threshold and smallest area tuned, and a card that is true."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from geoseg import __version__
from geoseg.errors import InputError
from geoseg.learn.patches.augment import RECIPES
from geoseg.learn.patches.batches import Batch
from geoseg.learn.scores.calibrate import (
    ProbabilityCounts,
    best_min_area,
    best_threshold,
    fit_temperature,
    temperature_of,
)
from geoseg.learn.scores.confusion import Confusion, macro
from geoseg.learn.training.networks import cooled
from geoseg.learn.training.run import Run
from geoseg.learn.training.validation import Validation
from geoseg.model.card import Card
from geoseg.model.folder import save_model
from geoseg.narrator import Narrator

CHECKED = 8
MATCHED = 0.5
MOST_MIN_AREA_M2 = 30.0


@dataclass(frozen=True)
class Finished:
    """A model that was trained, and how well it does on the validation places."""

    folder: Path
    card: Card

    @property
    def summary(self) -> dict[str, Any]:
        return {"model": str(self.folder), "threshold": self.card.threshold, **self.card.metrics}

    def __str__(self) -> str:
        found = self.card.metrics["validation"]
        per_class = ", ".join(f"{name} {scores['iou']:.3f}" for name, scores in found["classes"].items())
        return f"Model   {self.folder}\nIoU     {per_class}\nUse it  geoseg infer scene.tif --model {self.folder} --out out.gpkg"


def finish(
    run: Run, network: nn.Module, record: Mapping[str, Any], out: Path, narrator: Narrator
) -> Finished | None:
    """Calibrate and tune on all validation patches, then write the model. Every process takes part."""
    narrator.say("Tuning on all validation patches")
    examine, standing = run.examiner(), run.behind_card(network)
    before = examine(standing, run.validation_batches())
    temperature = temperature_for(before, run.card)
    cooled(network, temperature)
    tuned = examine(standing, run.validation_batches())
    threshold = threshold_for(tuned, run.card, narrator)
    judged = examine(standing, run.validation_batches(), threshold) if run.card.outputs == 1 else tuned
    if not run.team.leads:
        return None
    card = replace(
        run.card,
        threshold=threshold,
        min_area_m2=min_area_for(run, standing, threshold),
        metrics=metrics_of(judged, run.card),
        calibration=calibration_of(before, tuned, temperature),
        training={**record, **circumstances(run)},
    )
    kept = (network.half() if run.settings.half_weights else network).cpu()
    model = save_model(out, kept, card, check_patches(run))
    return Finished(out, model.card)


def temperature_for(found: Validation, card: Card) -> float:
    if not found.confusion.total().pixels:
        return 1.0
    if card.outputs == 1:
        return temperature_of(ProbabilityCounts(found.levels))
    return fit_temperature(found.logits, found.truth) if len(found.truth) else 1.0


def threshold_for(found: Validation, card: Card, narrator: Narrator) -> float:
    """The threshold of the best IoU; one half where there is nothing to tell."""
    if card.outputs > 1:
        return 0.5
    try:
        return best_threshold(ProbabilityCounts(found.levels))[0]
    except InputError as error:
        narrator.warn(f"{error}; the threshold stays 0.5")
        return 0.5


def min_area_for(run: Run, network: nn.Module, threshold: float) -> float:
    """The smallest area of the first class worth keeping: that of the best F1 score over buildings, at most 30 m2."""
    areas: list[NDArray[np.float64]] = [np.zeros(0)]
    right, true = [np.zeros(0, bool)], 0
    for predicted, labels in first_class_masks(run, network, threshold):
        found = whole_pieces(predicted, labels)
        areas.append(np.asarray(found.pixels * run.card.gsd_m**2, np.float64))
        right.append(found.right)
        true += found.true
    all_areas, all_right = np.concatenate(areas), np.concatenate(right)
    return min(MOST_MIN_AREA_M2, round(best_min_area(all_areas, all_right, true)[0], 2))


@dataclass(frozen=True)
class Pieces:
    """Connected pieces of a predicted mask: their sizes, and which are right; and how many true ones there are."""

    pixels: NDArray[np.int64]
    right: NDArray[np.bool_]
    true: int


def whole_pieces(predicted: NDArray[np.bool_], labels: NDArray[np.uint8]) -> Pieces:
    """The pieces that do not touch the patch's edge; right is one that meets a true piece at an IoU of one half."""
    known = labels != 255
    mine, count = ndimage.label(predicted & known)
    theirs, true = ndimage.label(labels == 1)
    both = np.bincount((mine * (true + 1) + theirs).ravel(), minlength=(count + 1) * (true + 1))
    meeting = both.reshape(count + 1, true + 1)
    sizes, others = meeting.sum(1), meeting.sum(0)
    iou = meeting / np.maximum(sizes[:, None] + others[None, :] - meeting, 1)
    whole = np.setdiff1d(np.arange(1, count + 1), at_edge(mine))
    right = iou[whole, 1:].max(1, initial=0) > MATCHED
    return Pieces(sizes[whole], right, true - len(np.setdiff1d(at_edge(theirs), [0])))


def at_edge(pieces: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))


@torch.inference_mode()
def first_class_masks(
    run: Run, network: nn.Module, threshold: float
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.uint8]]]:
    kitchen = run.kitchen(RECIPES["none"])
    network.eval()
    for batch in run.validation_batches(run.settings.validation_patches):
        ready = kitchen(batch)
        logits = network(ready.inputs).float()
        taken = logits[:, 0].sigmoid() >= threshold if run.card.outputs == 1 else logits.argmax(1) == 1
        yield from zip(taken.cpu().numpy(), ready.labels.cpu().numpy(), strict=True)


def metrics_of(found: Validation, card: Card) -> dict[str, Any]:
    """Scores over all validation places and for each of them, and the counts that they come from."""
    total = found.confusion.total()
    names = [each.name for each in card.classes]
    return {
        "validation": {**scores_of(total, names), "pixels": int(total.pixels)},
        "places": {
            place: scores_of(Confusion(counts), names)
            for place, counts in zip(found.places, found.confusion.counts, strict=True)
        },
        "confusion": {"classes": names, "true_by_predicted": total.counts.tolist()},
    }


def scores_of(confusion: Confusion, names: list[str]) -> dict[str, Any]:
    tables = {
        "iou": confusion.iou,
        "dice": confusion.dice,
        "precision": confusion.precision,
        "recall": confusion.recall,
    }
    return {
        "classes": {
            name: {score: rounded(values[i], 4) for score, values in tables.items()}
            for i, name in enumerate(names)
            if not np.isnan(confusion.iou[i])
        },
        "macro_iou": rounded(macro(confusion.iou), 4),
        "accuracy": rounded(confusion.overall_accuracy, 4),
    }


def rounded(score: Any, digits: int) -> float:
    return round(float(np.nan_to_num(score)), digits)


def calibration_of(before: Validation, after: Validation, temperature: float) -> dict[str, Any]:
    """How far probabilities are from coming true, before and after; the temperature is in the weights already."""
    first, last = (ProbabilityCounts(found.levels).total() for found in (before, after))
    return {
        "temperature": round(temperature, 4),
        "applied": True,
        "ece_before": rounded(first.ece(), 5),
        "ece": rounded(last.ece(), 5),
        "brier": rounded(last.brier, 5),
    }


def circumstances(run: Run) -> dict[str, Any]:
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


def check_patches(run: Run) -> NDArray[Any]:
    """Raw validation patches on which quicker ways of running the model will be judged."""
    batches: Iterator[Batch] = run.validation_batches(CHECKED)
    return np.concatenate([batch.values.cpu().numpy() for batch in batches])
