"""A model's probabilities brought to come true in a region, by sample points that people answered there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logit
from torch import nn

from geoseg.errors import InputError
from geoseg.io.access import check_folder
from geoseg.models.card import Card
from geoseg.models.network import DerivedBandsNetwork, load_network, read_weights
from geoseg.models.store import Model, find_model, save_model
from geoseg.raster.coding import PROBABILITY_STEPS
from geoseg.regions.points import AnsweredSample, read_points
from geoseg.scores.calibration import (
    ProbabilityCounts,
    TemperatureScaling,
    clip_probabilities,
    fit_temperature_scaling,
)
from geoseg.scores.confusion import Floats
from geoseg.training.networks import apply_temperature
from geoseg.training.run import holds_finished_model, mark_unfinished
from geoseg.training.trained_model import add_onnx_file, copy_weights

log = logging.getLogger(__name__)

FOLDS = 10
BINS = 10
LEAST_POINTS = 50
"""From fewer points a temperature and an offset come out by chance."""
AS_IT_IS = TemperatureScaling()


@dataclass(frozen=True)
class CalibrationResult:
    """The model that was written, and how far probabilities were and are from coming true at the points."""

    folder: Path
    card: Card
    found: Mapping[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {"model": str(self.folder), **self.found}

    def __str__(self) -> str:
        found = self.found
        return "\n".join(
            [
                f"Points       {found['points']:,}",
                f"ECE          {found['ece_before']:.3f} before, {found['ece']:.3f} now",
                f"Total error  {found['total_error_before']:+.1%} before, {found['total_error']:+.1%} now",
                f"Use it       geoseg infer scene.tif --model {self.folder} --out buildings.gpkg",
            ]
        )


@dataclass(frozen=True)
class PointLogits:
    """What the model said at each point as a logit, whether it is built there, and how many points it counts for."""

    logits: Floats
    built: Floats
    weights: Floats

    def select(self, chosen: Any) -> PointLogits:
        return PointLogits(self.logits[chosen], self.built[chosen], self.weights[chosen])

    def fit(self) -> TemperatureScaling:
        return fit_temperature_scaling(
            self.logits, np.stack([self.weights * (1 - self.built), self.weights * self.built])
        )

    def change(self, scaling: TemperatureScaling) -> Floats:
        """The probabilities as a scaling makes them."""
        return np.asarray(expit(self.logits / scaling.temperature + scaling.offset))

    def count(self, probabilities: Floats) -> ProbabilityCounts:
        """The points by probability and truth, for scores."""
        levels = np.rint(probabilities * PROBABILITY_STEPS).astype(np.intp)
        counts = np.zeros((2, PROBABILITY_STEPS + 1))
        np.add.at(counts, (self.built.astype(np.intp), levels), self.weights)
        return ProbabilityCounts(counts)  # type: ignore[arg-type]  # weights serve as counts


def calibrate_model(name: str, samples: Path, out: Path, overwrite: bool = False) -> CalibrationResult:
    """Write a model folder in which the last layer is changed so that probabilities come true at the points.

    What it finds stays the same: the threshold moves along with the probabilities.
    """
    model = find_model(name)
    refuse_other_models(model)
    check_folder(out)
    if holds_finished_model(out) and not overwrite:
        raise InputError(f"{out}: holds a model already; use `overwrite` to replace it")
    points = read_logits(samples, model.card)
    scaling, found = choose_scaling(points)
    record = {"samples": samples.name, **found}
    written = write_calibrated(model, out, scaling, record)
    return CalibrationResult(out, written.card, record)


def refuse_other_models(model: Model) -> None:
    if model.is_onnx:
        raise InputError(
            f"{model.weights}: is an ONNX file; only a model folder with its weights can be changed"
        )
    if model.card.class_channels > 1:
        raise InputError(f"model {model.name}: has several classes; points calibrate a model of one class")


def read_logits(samples: Path, card: Card) -> PointLogits:
    """The answered points of which the probability is known."""
    answered: AnsweredSample = read_points(samples).select_answered([card.classes[1].name])
    known = ~np.isnan(answered.probability)
    if not known.any():
        raise InputError(
            f"{samples}: the points hold no probability; draw them with geoseg sample --probability"
        )
    built = (answered.truth[known] > 0).astype(np.float64)
    if len(built) < LEAST_POINTS or built.all() or not built.any():
        raise InputError(
            f"{samples}: {len(built)} answered points, {int(built.sum())} of them on buildings; a calibration needs "
            f"{LEAST_POINTS}, of both kinds"
        )
    weights = answered.weights_m2[known]
    logits = logit(clip_probabilities(answered.probability[known]))
    return PointLogits(logits, built, weights * len(weights) / weights.sum())


def choose_scaling(points: PointLogits) -> tuple[TemperatureScaling, dict[str, Any]]:
    """The scaling, unless points that it was not made from are as well off without; and the errors before and after.

    Those after are measured on points left out: each tenth of them by what the others give.
    """
    before = points.count(points.change(AS_IT_IS))
    folds = np.arange(len(points.logits)) % FOLDS  # the points stand in random order
    apart = np.empty(len(points.logits))
    for fold in range(FOLDS):
        apart[folds == fold] = points.select(folds == fold).change(points.select(folds != fold).fit())
    after, scaling = points.count(apart), points.fit()
    if after.log_loss >= before.log_loss:
        log.warning("the probabilities are as right as these points can show: they are left as they are")
        after, scaling = before, AS_IT_IS
    found = {
        "points": len(points.logits),
        "temperature": round(scaling.temperature, 4),
        "offset": round(scaling.offset, 4),
        **{f"{name}_before": value for name, value in measure_errors(before).items()},
        **measure_errors(after),
    }
    return scaling, found


def measure_errors(counts: ProbabilityCounts) -> dict[str, float]:
    return {
        "ece": round(float(counts.ece(BINS)), 5),
        "total_error": round(float(counts.total_error), 5),
        "brier": round(float(counts.brier), 5),
    }


def write_calibrated(model: Model, out: Path, scaling: TemperatureScaling, found: Mapping[str, Any]) -> Model:
    """Write the model with its last layer changed, and a card that tells of it."""
    network = load_network(model)
    own: nn.Module = network.network if isinstance(network, DerivedBandsNetwork) else network
    apply_temperature(own, scaling, model.card.class_channels)
    card = model.card
    earlier = list(card.calibration.get("elsewhere", ()))
    threshold = float(expit(logit(card.threshold) / scaling.temperature + scaling.offset))
    changed = replace(
        card,
        threshold=round(threshold, 6),
        calibration={**card.calibration, "elsewhere": [*earlier, dict(found)]},
    )
    in_half = any(tensor.dtype == torch.float16 for tensor in read_weights(model.weights).values())
    with mark_unfinished(out):
        written = save_model(out, copy_weights(own, in_half), changed, model.check_patches)
        add_onnx_file(written)
    return written
