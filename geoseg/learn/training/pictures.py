"""Pictures of a finished run: its curves, and what it makes of some validation patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geoseg.footprints.files.replacing import plain_errors, replacing
from geoseg.learn.evaluation.page import INCH_PER_PIECE, draw_piece
from geoseg.learn.evaluation.pieces import Piece, coloured, errors, on_screen, tile_scores
from geoseg.learn.patches.batches import batches
from geoseg.learn.patches.samples import GridPatches
from geoseg.learn.scores.confusion import Confusion
from geoseg.learn.training.checkpoint import METRICS, read_log
from geoseg.learn.training.shown import visible
from geoseg.learn.training.tuning import Judge, Look

CURVES = "curves.png"
SAMPLES = "samples.png"
DPI = 100
SHOWN_RANKS = (0.95, 0.75, 0.5, 0.25, 0.05)
"""From patches that went well to patches that went badly."""
SMOOTHED_SHARE = 50

Curve = Mapping[str, NDArray[np.float64]]


def draw_curves(folder: Path) -> Path:
    """Draw the numbers of a run over its steps."""
    rows = read_log(folder / METRICS)
    columns = ("step", "loss", "learning_rate", "validation_loss", "validation_iou")
    curve = {name: np.array([float(row[name] or "nan") for row in rows]) for name in columns}
    figure = Figure(figsize=(10, 8), layout="constrained")
    loss, iou, rate = figure.subplots(3, sharex=True, height_ratios=(2, 2, 1))
    draw_loss(loss, curve)
    validated = ~np.isnan(curve["validation_iou"])
    iou.plot(curve["step"][validated], curve["validation_iou"][validated], marker="o", markersize=3)
    iou.set_ylabel("IoU, validation")
    iou.set_ylim(0, 1)
    rate.plot(curve["step"], curve["learning_rate"], color="#777777")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("step")
    return saved(figure, folder / CURVES)


def draw_loss(axes: Any, curve: Curve) -> None:
    """The loss of each step, its running mean, and that of validations."""
    step, loss = curve["step"], curve["loss"]
    validated = ~np.isnan(curve["validation_loss"])
    axes.plot(step, loss, color="#bbccdd", linewidth=0.7)
    axes.plot(step, running_mean(loss), label="training")
    axes.plot(
        step[validated], curve["validation_loss"][validated], marker="o", markersize=3, label="validation"
    )
    axes.set_ylabel("loss")
    axes.legend()


def running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the values up to each one, over a fiftieth of them all."""
    window = max(1, len(values) // SMOOTHED_SHARE)
    sums = np.cumsum(values)
    before = np.concatenate([np.zeros(min(window, len(values))), sums[:-window]])
    return np.asarray((sums - before) / np.minimum(np.arange(1, len(values) + 1), window))


def draw_samples(judge: Judge, looks: Sequence[Look], folder: Path) -> Path:
    """Draw image, truth, prediction and errors of patches of all ranks of success."""
    pieces = [sample(judge, *chosen) for chosen in telling_numbers(looks)]
    rows = len(pieces)
    figure = Figure(figsize=(4 * INCH_PER_PIECE, INCH_PER_PIECE * rows), layout="constrained")
    for axes, piece in zip(figure.subplots(rows, 4, squeeze=False), pieces, strict=True):
        draw_piece(axes, piece)
    return saved(figure, folder / SAMPLES)


def telling_numbers(looks: Sequence[Look]) -> list[tuple[int, float]]:
    """Patches to show with their mean IoU, the best first; where none has labels and buildings enough, any."""
    tables = Confusion.stacked([look.confusion for look in looks])
    scores = tile_scores(tables)
    known = np.flatnonzero(~np.isnan(scores) & (tables.pixels >= tables.pixels.max() / 2))
    ranked = known[np.argsort(scores[known], kind="stable")] if len(known) else np.arange(len(looks))
    places = dict.fromkeys(round(rank * (len(ranked) - 1)) for rank in SHOWN_RANKS)
    return [(looks[ranked[place]].number, float(scores[ranked[place]])) for place in places]


def sample(judge: Judge, number: int, score: float) -> Piece:
    """One validation patch in pictures."""
    run = judge.run
    dataset = run.patch_dataset(GridPatches(run.ground.validation, run.settings.patch))
    batch = next(batches(dataset, [[number]], 0, run.device))
    ((_, predicted, truth),) = judge.answers(batch)
    image = visible(judge.transform(batch).inputs.cpu(), run.card)[0].numpy()
    place, classes = run.ground.validation[int(batch.sites[0])].place, run.card.classes
    title = place if np.isnan(score) else f"{place}, mean IoU {score:.2f}"
    return Piece(
        title,
        on_screen(image),
        coloured(truth, classes),
        coloured(predicted, classes),
        errors(truth, predicted, classes),
    )


def saved(figure: Figure, path: Path) -> Path:
    """Write a figure, whole or not at all."""
    with replacing(path) as folder, plain_errors(path):
        figure.savefig(folder / path.name, dpi=DPI)
    return path
