"""From a trained network to a model folder: calibrated, its threshold and smallest area tuned, and a card that is true."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg import __version__
from geoseg.learn.patches.batches import Batch
from geoseg.learn.scores.calibrate import Cooling, ProbabilityCounts
from geoseg.learn.scores.confusion import Confusion, macro
from geoseg.learn.training.networks import cooled
from geoseg.learn.training.run import Run
from geoseg.learn.training.tuning import Judge, Look, cooling_for, min_area_for, threshold_for
from geoseg.learn.training.validation import Validation
from geoseg.model.card import Card
from geoseg.model.folder import save_model
from geoseg.model.reason import reason
from geoseg.narrator import Narrator

CHECKED = 8


@dataclass(frozen=True)
class Finished:
    """A model that was trained, and how well it does on the validation places."""

    folder: Path
    card: Card
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


def finish(
    run: Run, network: nn.Module, record: Mapping[str, Any], out: Path, narrator: Narrator
) -> Finished | None:
    """Calibrate and tune on all validation patches, then write the model. Every process takes part."""
    narrator.say("Tuning on all validation patches")
    examine, standing = run.examiner(), run.behind_card(network)
    before = examine(standing, run.validation_batches())
    cooling = Cooling(*run.team.told(astuple(cooling_for(before, run.card)), run.device))
    cooled(network, cooling, run.card.class_channels)
    after = examine(standing, run.validation_batches())
    threshold = threshold_for(after, run.card, narrator)
    if not run.team.leads:
        return None
    judge = Judge(run, standing, threshold)
    looks = judge.looks()
    card = replace(
        run.card,
        threshold=threshold,
        min_area_m2=min_area_for(looks, run.card.gsd_m),
        metrics=metrics_of(after.at(threshold) if run.card.class_channels == 1 else after, run.card),
        calibration=calibration_of(before, after, cooling),
        training={**record, **circumstances(run)},
    )
    model = save_model(out, kept(network, run.settings.half_weights), card, check_patches(run))
    return Finished(out, model.card, drawn(judge, looks, out, narrator))


def kept(network: nn.Module, in_half: bool) -> nn.Module:
    """The weights as they are written."""
    copy = deepcopy(network).cpu()
    return copy.half() if in_half else copy


def drawn(judge: Judge, looks: Sequence[Look], out: Path, narrator: Narrator) -> tuple[Path, ...]:
    """Curves and samples; a model is worth having without them."""
    try:
        from geoseg.learn.training.pictures import draw_curves, draw_samples

        return draw_curves(out), draw_samples(judge, looks, out)
    except Exception as error:  # noqa: BLE001 - what draws fails in the ways of many libraries
        narrator.warn(f"no pictures of the training: {reason(error)}")
        return ()


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


def calibration_of(before: Validation, after: Validation, cooling: Cooling) -> dict[str, Any]:
    """How far probabilities are from coming true, before and after; what changed them is in the weights already."""
    first, last = (ProbabilityCounts(found.levels).total() for found in (before, after))
    yes_no = before.levels.shape[1] == 1
    totals = {
        "total_error_before": rounded(first.total_error, 5),
        "total_error": rounded(last.total_error, 5),
    }
    return {
        "temperature": round(cooling.temperature, 4),
        **({"offset": round(cooling.offset, 4)} if yes_no else {}),
        "applied": True,
        "ece_before": rounded(first.ece(), 5),
        "ece": rounded(last.ece(), 5),
        **(totals if yes_no else {}),
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
