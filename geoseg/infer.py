"""The way of the data: a scene goes in, rasters and building polygons come out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator
from geoseg.predict.estimate import Estimate, estimate
from geoseg.predict.job import Job, Wishes, plan_job
from geoseg.predict.journal import Journal
from geoseg.predict.segment import predict_strips, write_mosaics

RASTERS = (".tif", ".tiff")


@dataclass(frozen=True)
class Outputs:
    """The files to write; what is left out is not written."""

    mask: Path | None = None
    probability: Path | None = None
    overwrite: bool = False

    @property
    def paths(self) -> list[Path]:
        return [path for path in (self.mask, self.probability) if path]


@dataclass(frozen=True)
class Inferred:
    """What a run did."""

    job: Job
    outputs: Outputs
    seconds: float

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        grid = self.job.scene.grid
        return {
            "outputs": [str(path) for path in self.outputs.paths],
            "width": grid.width,
            "height": grid.height,
            "megapixels": round(grid.megapixels, 3),
            "seconds": round(self.seconds, 3),
            **self.job.parameters,
        }


def infer(paths: Sequence[str], outputs: Outputs, wishes: Wishes, narrator: Narrator = QUIET) -> Inferred:
    """Predict a scene; a run that was stopped goes on when it is called again with the same arguments."""
    start = time.monotonic()
    refuse_outputs(outputs, paths)
    job = plan_job(paths, wishes, narrator)
    journal = Journal.beside(outputs.paths[0], job.key)
    with journal.locked():
        predict_strips(job, journal, narrator)
        narrator.say("Writing " + ", ".join(map(str, outputs.paths)))
        write_mosaics(job, journal, outputs.mask, outputs.probability)
    journal.remove()
    for leftover in journal.leftovers(outputs.paths[0]):
        narrator.warn(
            f"{leftover} holds unfinished work with other settings; delete it if it is no longer needed"
        )
    return Inferred(job, outputs, time.monotonic() - start)


def dry_run(paths: Sequence[str], outputs: Outputs, wishes: Wishes, narrator: Narrator = QUIET) -> Estimate:
    """Tell what `infer` would do, and what it would take."""
    refuse_outputs(outputs, paths)
    return estimate(plan_job(paths, wishes, narrator))


def refuse_outputs(outputs: Outputs, scene: Sequence[str]) -> None:
    """Find every fault of the outputs before hours of work go into them."""
    if not outputs.paths:
        raise InputError("nothing to write: give --mask or --probability")
    inputs = {os.path.realpath(path) for path in scene}
    for path in outputs.paths:
        if path.suffix.lower() not in RASTERS:
            raise InputError(f"{path}: a raster's name must end in .tif")
        if os.path.realpath(path) in inputs:
            raise InputError(f"{path}: is the scene itself; give the output another name")
        refuse_place(path, outputs.overwrite)
    if len({os.path.realpath(path) for path in outputs.paths}) < len(outputs.paths):
        raise InputError(f"{outputs.paths[0]}: named for two outputs; give each its own name")


def refuse_place(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; use --overwrite to replace it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to")
