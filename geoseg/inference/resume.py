"""Finished strips, each in files of its own beside the output, so that stopped work resumes where it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from geoseg.inference.predictor import StripAnswer
from geoseg.io.atomic import (
    create_text,
    find_part_folders,
    lock_private_folder,
    remove_folder,
    share_private_folder,
)
from geoseg.raster.grid import Grid
from geoseg.raster.mosaic import write_strip
from geoseg.raster.plan import Strip
from geoseg.raster.source import is_readable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StripFiles:
    """Where a finished strip's classes are, and its probabilities with the separators behind them, if anybody wants these."""

    strip: Strip
    classes: Path
    probabilities: Path
    classes_alone: bool = False

    @property
    def wanted(self) -> tuple[Path, ...]:
        return (self.classes,) if self.classes_alone else (self.classes, self.probabilities)

    @property
    def exist(self) -> bool:
        return all(path.exists() for path in self.wanted)

    def are_whole(self) -> bool:
        """Whether its files are there and can be read; one that a failing disk has damaged is taken away."""
        for path in self.wanted:
            if path.exists() and not is_readable(path):
                log.warning(f"{path}: damaged, and predicted again")
                path.unlink()
        return self.exist


@dataclass(frozen=True)
class Journal:
    """The folder of one job's finished strips. Its name carries the job's key: other parameters, other folder.

    Where nobody asks for probabilities it keeps `classes_alone`.
    """

    folder: Path
    classes_alone: bool = False

    @classmethod
    def beside(cls, out: Path, key: str, classes_alone: bool = False) -> Journal:
        return cls(out.with_name(f"{out.name}.{key}.parts"), classes_alone)

    def locked(self, command: str) -> AbstractContextManager[None]:
        """Keep a second run of the same job away from that of a command."""
        return lock_private_folder(self.folder, command)

    def shared(self, name: str, command: str) -> AbstractContextManager[None]:
        """Let several processes of a command work on the same job, each under a name of its own."""
        return share_private_folder(self.folder, name, command)

    def files(self, strip: Strip) -> StripFiles:
        return StripFiles(
            strip,
            self.folder / f"classes-{strip.index:06}.tif",
            self.folder / f"probabilities-{strip.index:06}.tif",
            self.classes_alone,
        )

    def find_missing_runs(self, strips: Sequence[Strip]) -> list[list[Strip]]:
        """Runs of consecutive strips that are not finished yet."""
        return split_into_runs([strip for strip in strips if not self.files(strip).are_whole()])

    def keep(self, answer: StripAnswer, grid: Grid) -> StripFiles:
        """Write a finished strip; it counts once its files have their names."""
        files = self.files(answer.strip)
        place = answer.strip.place(grid)
        if not self.classes_alone:
            write_strip(files.probabilities, answer.probabilities, place)
        write_strip(files.classes, answer.classes[None], place)
        return files

    def note(self, name: str, value: Any) -> Any:
        """Settle a value once for all runs of the job: the first run's word stands."""
        return json.loads(create_text(self.folder / f"{name}.json", json.dumps(value)))

    def drop(self, strips: Sequence[Strip]) -> None:
        """Take strips away, to be predicted again."""
        for files in map(self.files, strips):
            files.classes.unlink(missing_ok=True)
            files.probabilities.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take everything away."""
        remove_folder(self.folder)

    def find_leftovers(self, out: Path) -> list[Path]:
        """Folders of unfinished jobs for the same output with other parameters."""
        return [folder for folder in find_part_folders(out) if folder != self.folder]


def split_into_runs(strips: Sequence[Strip]) -> list[list[Strip]]:
    """Runs of consecutive strips."""
    runs = groupby(enumerate(strips), key=lambda item: item[1].index - item[0])
    return [[strip for _, strip in run] for _, run in runs]
