"""Checkpoints of a run: written whole or not at all, so that the last good one survives whatever happens."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import GeosegError, InputError
from geoseg.learn.settings import Settings
from geoseg.writable import reason

LAST = "last.pt"
BEST = "best.pt"
METRICS = "metrics.csv"
BAD_BATCH = "bad-batch.pt"
BOARD = "tensorboard"
NO_BOARD = "--tensorboard: TensorBoard is not installed; pip install 'geoseg[train]', or leave the flag out"
COLUMNS = ("step", "loss", "learning_rate", "seconds", "validation_loss", "validation_iou")

# What may differ between a run and its continuation without changing any number of it.
FREE = {
    "workers", "device", "checkpoint_every", "tensorboard", "name", "description", "licence", "half_weights",
}  # fmt: skip
MENDING = {"learning_rate", "clip", "precision"}


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write beside, then rename."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with told(path):
            with unfinished.open("wb") as file:
                torch.save(dict(state), file)
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say of a file of the run that it could not be written, and what then."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch tells a full disk as an error of its own, behind which stands the one of the file
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise GeosegError(
            f"{path}: cannot be written ({reason(cause, path)}); then give the same command again: training goes on from "
            "the last checkpoint"
        ) from error


def load(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(
            f"{path}: damaged; delete it to start over ({str(error).splitlines()[0][:100]})"
        ) from error
    return state


def refuse_other_run(path: Path, written: Mapping[str, Any], settings: Settings) -> None:
    """Refuse to go on with a run under other settings; one that was not there yet had its default.

    After a stop for a loss that was no number, what can mend that may differ.
    """
    now = vars(settings)
    free = FREE | MENDING if path.with_name(BAD_BATCH).exists() else FREE
    for name, value in {**vars(Settings()), **written}.items():
        if name not in free and now.get(name) != value:
            raise InputError(
                f"{path}: belongs to a run with {name} {value}, not {now.get(name)}; choose another --out, or start "
                "over with --overwrite"
            )


def refuse_other_ground(path: Path, written: str, now: str) -> None:
    if written != now:
        raise InputError(
            f"{path}: belongs to a run on other data; choose another --out, or start over with --overwrite"
        )


class Log:
    """The numbers of a run as CSV, one line a step, and for TensorBoard where that is wanted."""

    def __init__(self, folder: Path, first_step: int, for_tensorboard: bool) -> None:
        self.path = folder / METRICS
        rows = [row for row in read_log(self.path) if int(row["step"]) < first_step]
        unfinished = self.path.with_name(f".{METRICS}")
        with told(self.path), unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        unfinished.replace(self.path)
        self.file = self.path.open("a", newline="", encoding="utf-8")
        self.writer = csv.DictWriter(self.file, COLUMNS)
        self.board = open_board(folder / BOARD, first_step) if for_tensorboard else None

    def write(self, row: Mapping[str, float]) -> None:
        with told(self.path):
            self.writer.writerow(row)
            self.file.flush()
        for name, value in row.items():
            if self.board is not None and name != "step":
                self.board.add_scalar(name, value, row["step"])

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written has been told
            self.file.close()
        if self.board is not None:
            self.board.close()


class NoLog:
    """What processes write that do not lead: nothing."""

    def write(self, row: Mapping[str, float]) -> None:
        """Take no note."""

    def __enter__(self) -> NoLog:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""


def read_log(path: Path) -> list[dict[str, str]]:
    """The lines of a log; one that a sudden end cut off is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["step"] and all(value is not None for value in row.values())]


def open_board(folder: Path, first_step: int) -> Any:
    """TensorBoard's files; what was written of steps that are now taken again is hidden."""
    return board_writer()(str(folder), purge_step=first_step)


def board_writer() -> Any:
    """What writes TensorBoard's files, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(NO_BOARD) from error
    return SummaryWriter
