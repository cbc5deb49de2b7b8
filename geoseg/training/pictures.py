"""Pictures of a run: augmented patches, curves of loss and score, and predictions beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from geoseg.io.atomic import explain_write_errors, replace_file, replace_files
from geoseg.models.card import Card
from geoseg.raster.bands import find_rgb_bands
from geoseg.raster.display import stretch_values
from geoseg.scores.confusion import Confusion
from geoseg.scores.pictures import (
    INCH_PER_PANEL,
    ComparisonPanels,
    color_classes,
    color_errors,
    draw_panels,
    score_tiles,
)
from geoseg.training.patches.augmentation import RECIPES
from geoseg.training.patches.batches import PreparedBatch, read_batches
from geoseg.training.run import TrainingRun
from geoseg.training.runs import METRICS, compute_running_mean, read_metrics
from geoseg.training.tuning import PatchResult, Tuner

SHOWN = 8
GAP = 4


def draw_augmented_patches(run: TrainingRun, path: Path) -> None:
    """Write a picture of patches as they are, and below them as each preset varies them, labels tinted in."""
    patches = run.patches()
    rows = []
    for recipe in RECIPES.values():
        dataset = run.patch_dataset(replace(patches, recipe=recipe))
        batch = next(read_batches(dataset, [range(SHOWN)], 0, torch.device("cpu")))
        prepared = run.transform(recipe)(batch)
        rows.append(
            np.concatenate([add_border(picture) for picture in tint_labels(prepared, run.card)], axis=1)
        )
    save_picture(path, np.concatenate(rows))


def tint_labels(prepared: PreparedBatch, card: Card) -> list[NDArray[np.uint8]]:
    """Patches as a person sees them, each class but the first in its colour, unknown ground darkened."""
    inputs = restore_colors(prepared.inputs, card)
    colors = torch.tensor([each.rgb for each in card.classes] + [(0, 0, 0)]) / 255
    labels = torch.where(prepared.labels < len(card.classes), prepared.labels, len(card.classes)).long()
    tint = colors[labels].movedim(-1, 1)
    mixed = torch.where((labels > 0)[:, None], inputs * 0.65 + tint * 0.35, inputs)
    return [np.asarray((one.clamp(0, 1) * 255).byte().movedim(0, -1).numpy()) for one in mixed]


def restore_colors(inputs: Tensor, card: Card) -> Tensor:
    """Red, green and blue of network inputs as they were before they were normalised."""
    bands = inputs.shape[1]
    mean, std = (
        torch.tensor([values[i % len(values)] for i in range(bands)]).view(1, -1, 1, 1)
        for values in (card.scaling.mean, card.scaling.std)
    )
    return (inputs * std + mean)[:, list(find_rgb_bands(card.bands))]


def add_border(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with white beside and below it."""
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def save_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as unfinished:
        Image.fromarray(picture).save(unfinished, format="PNG")


CURVES = "curves.png"
SAMPLES = "samples.png"
DPI = 100
MARGINS = {"left": 0.08, "right": 0.98, "bottom": 0.07, "top": 0.98, "hspace": 0.08}
TIGHT = {"left": 0.005, "right": 0.995, "bottom": 0.005, "wspace": 0.02, "hspace": 0.1}
TITLE_INCH = 0.3
"""Set by hand, since a layout that is worked out takes twice as long to draw as the rest."""
SHOWN_RANKS = (0.95, 0.75, 0.5, 0.25, 0.05)
"""From patches that went well to patches that went badly."""

Curve = Mapping[str, NDArray[np.float64]]


def draw_curves(folder: Path) -> Path:
    """Draw the numbers of a run over its steps."""
    rows = read_metrics(folder / METRICS)
    columns = ("step", "loss", "learning_rate", "validation_loss", "validation_iou")
    curve = {name: np.array([float(row[name] or "nan") for row in rows]) for name in columns}
    figure = Figure(figsize=(10, 8))
    loss, iou, rate = figure.subplots(3, sharex=True, height_ratios=(2, 2, 1), gridspec_kw=MARGINS)
    draw_loss(loss, curve)
    validated = ~np.isnan(curve["validation_iou"])
    iou.plot(curve["step"][validated], curve["validation_iou"][validated], marker="o", markersize=3)
    iou.set_ylabel("IoU, validation")
    iou.set_ylim(0, 1)
    rate.plot(curve["step"], curve["learning_rate"], color="#777777")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("step")
    return save_figure(figure, folder / CURVES)


def draw_loss(axes: Any, curve: Curve) -> None:
    """The loss of each step, its running mean, and that of validations."""
    step, loss = curve["step"], curve["loss"]
    validated = ~np.isnan(curve["validation_loss"])
    axes.plot(step, loss, color="#bbccdd", linewidth=0.7)
    axes.plot(step, compute_running_mean(loss), label="training")
    axes.plot(
        step[validated], curve["validation_loss"][validated], marker="o", markersize=3, label="validation"
    )
    axes.set_ylabel("loss")
    axes.legend()


def draw_samples(tuner: Tuner, results: Sequence[PatchResult], folder: Path) -> Path:
    """Draw image, truth, prediction and errors of patches of all ranks of success."""
    pieces = [make_sample(tuner, *chosen) for chosen in choose_samples(results)]
    rows = len(pieces)
    figure = Figure(figsize=(4 * INCH_PER_PANEL, INCH_PER_PANEL * rows))
    margins = {**TIGHT, "top": 1 - TITLE_INCH / figure.get_figheight()}
    for axes, piece in zip(figure.subplots(rows, 4, squeeze=False, gridspec_kw=margins), pieces, strict=True):
        draw_panels(axes, piece)
    return save_figure(figure, folder / SAMPLES)


def choose_samples(results: Sequence[PatchResult]) -> list[tuple[int, float]]:
    """Patches to show with their mean IoU, the best first; where none has labels and buildings enough, any."""
    tables = Confusion.stack([look.confusion for look in results])
    scores = score_tiles(tables)
    known = np.flatnonzero(~np.isnan(scores) & (tables.pixels >= tables.pixels.max() / 2))
    ranked = known[np.argsort(scores[known], kind="stable")] if len(known) else np.arange(len(results))
    places = dict.fromkeys(round(rank * (len(ranked) - 1)) for rank in SHOWN_RANKS)
    return [(results[ranked[place]].number, float(scores[ranked[place]])) for place in places]


def make_sample(tuner: Tuner, number: int, score: float) -> ComparisonPanels:
    """One validation patch in pictures."""
    run = tuner.run
    batch = next(run.read_validation([number]))
    ((_, predicted, truth),) = tuner.classify(tuner.answers.find(number))
    image = restore_colors(run.transform(RECIPES["none"])(batch).inputs.cpu(), run.card)[0].numpy()
    place, classes = run.ground.validation[int(batch.sites[0])].place, run.card.classes
    title = place if np.isnan(score) else f"{place}, mean IoU {score:.2f}"
    return ComparisonPanels(
        title,
        stretch_values(image),
        color_classes(truth, classes),
        color_classes(predicted, classes),
        color_errors(truth, predicted, classes),
    )


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure, whole or not at all."""
    with replace_files(path) as folder, explain_write_errors(path):
        figure.savefig(folder / path.name, dpi=DPI)
    return path
