"""Training runs as their folders tell them: settings that differ, how good each got, how long it took, and their curves.

Nothing here needs torch: a folder of runs can be looked at on any computer.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.io.atomic import replace_file
from geoseg.models.card import Card
from geoseg.models.store import CARD_FILE, read_card_beside
from geoseg.options import list_options, read_options
from geoseg.training.options import OPTIONS_FILE, TrainOptions

METRICS = "metrics.csv"
DPI = 100
SMOOTHED_SHARE = 50
"""A running mean goes over this part of a curve."""
WORDS = {"name", "description", "licence", "workers", "tensorboard", "checkpoint_every"}
"""Options that change nothing of what is learnt."""

Floats = NDArray[np.float64]


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The lines of a log; one that a sudden end cut off is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["step"] and all(value is not None for value in row.values())]


def compute_running_mean(values: Floats) -> Floats:
    """The mean of the values up to each one, over a fiftieth of them all."""
    window = max(1, len(values) // SMOOTHED_SHARE)
    sums = np.cumsum(values)
    before = np.concatenate([np.zeros(min(window, len(values))), sums[:-window]])
    return np.asarray((sums - before) / np.minimum(np.arange(1, len(values) + 1), window))


@dataclass(frozen=True)
class RunRecord:
    """One run: its folder below the one that was asked for, its settings, and its model's card if it has finished."""

    name: str
    folder: Path
    options: TrainOptions
    card: Card | None

    @cached_property
    def curves(self) -> dict[str, Floats]:
        """The columns of the log."""
        rows = read_metrics(self.folder / METRICS)
        names = ("step", "loss", "seconds", "validation_loss", "validation_iou")
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return len(self.curves["step"])

    @property
    def best_iou(self) -> float:
        """The best IoU of a validation on the way; nan before the first."""
        found = self.curves["validation_iou"]
        return float(np.nanmax(found)) if np.isfinite(found).any() else float("nan")

    @property
    def best_dice(self) -> float:
        return 2 * self.best_iou / (1 + self.best_iou)

    @property
    def seconds(self) -> float:
        """How long it has trained, over all its starts."""
        return float(self.curves["seconds"][-1]) if self.steps else 0.0

    @property
    def places(self) -> tuple[str, ...]:
        """The places it was validated on, once it has finished."""
        return tuple(self.card.training.get("validation_places", ())) if self.card else ()

    @property
    def state(self) -> str:
        if self.card:
            return "finished"
        return f"{self.steps / self.options.steps:.0%}"


def find_runs(folder: Path) -> list[RunRecord]:
    """All runs below a folder, the best first."""
    files = sorted(folder.rglob(OPTIONS_FILE)) if folder.is_dir() else []
    runs = [read_run(file.parent, folder) for file in files if (file.parent / METRICS).exists()]
    if not runs:
        raise InputError(
            f"{folder}: holds no run of geoseg train (a folder with {OPTIONS_FILE} and {METRICS})"
        )
    return sorted(runs, key=lambda run: -np.nan_to_num(run.best_iou, nan=-1))


def read_run(folder: Path, above: Path) -> RunRecord:
    card = folder / CARD_FILE
    return RunRecord(
        folder.relative_to(above).as_posix() if folder != above else folder.resolve().name,
        folder,
        read_options(TrainOptions, folder / OPTIONS_FILE, {}),
        read_card_beside(card) if card.exists() else None,
    )


def find_differences(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, each with its value in every run."""
    names = [option.name for option in list_options(TrainOptions) if option.name not in WORDS]
    values = {name: [getattr(run.options, name) for run in runs] for name in names}
    return {name: found for name, found in values.items() if len({repr(value) for value in found}) > 1}


def summarize_runs(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Everything, for programs."""
    differing = find_differences(runs)
    return {
        "runs": [
            {
                "run": run.name,
                "state": run.state,
                "steps": run.steps,
                "best_iou": None if np.isnan(run.best_iou) else round(run.best_iou, 4),
                "best_dice": None if np.isnan(run.best_iou) else round(run.best_dice, 4),
                "seconds": round(run.seconds, 1),
                "validation_places": list(run.places),
                "settings": {name: values[number] for name, values in differing.items()},
            }
            for number, run in enumerate(runs)
        ]
    }


def format_runs(runs: Sequence[RunRecord]) -> str:
    """A table for people: a line a run, settings that differ at its end."""
    differing = find_differences(runs)
    rows = [
        (
            run.name,
            f"{run.best_iou:.3f}",
            f"{run.best_dice:.3f}",
            f"{run.steps:,}",
            str(timedelta(seconds=round(run.seconds))),
            run.state,
            ", ".join(run.places) or "-",
            *(str(values[number]) for values in differing.values()),
        )
        for number, run in enumerate(runs)
    ]
    header = ("run", "IoU", "Dice", "steps", "time", "state", "validated on", *differing)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def draw_runs(runs: Sequence[RunRecord], path: Path) -> None:
    """Draw loss and validation IoU of all runs over each other."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    loss, iou = figure.subplots(2, sharex=True)
    for run in runs:
        curves = run.curves
        validated = np.isfinite(curves["validation_iou"])
        (line,) = loss.plot(curves["step"], compute_running_mean(curves["loss"]), label=run.name)
        iou.plot(
            curves["step"][validated],
            curves["validation_iou"][validated],
            marker="o",
            markersize=3,
            color=line.get_color(),
        )
    loss.set_ylabel("training loss, running mean")
    loss.legend()
    iou.set_ylabel("IoU, validation")
    iou.set_xlabel("step")
    with replace_file(path) as unfinished:
        figure.savefig(unfinished, dpi=DPI, format="png", metadata={"Software": None})
