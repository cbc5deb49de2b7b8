"""The way of the data: a scene goes in, rasters and building footprints come out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from geoseg.errors import InputError
from geoseg.model.card import Card
from geoseg.narrator import QUIET, Narrator
from geoseg.predict.estimate import Estimate, estimate
from geoseg.predict.job import Job, Wishes, plan_job
from geoseg.predict.journal import Journal, StripFiles
from geoseg.predict.segment import StripListener, predict_strips, write_mosaics
from geoseg.writable import check_writable

if TYPE_CHECKING:  # a run that writes rasters only does without the vector libraries and their memory
    from geoseg.footprints.vectorize import Recipe, Summary, Vectorizer

RASTERS = (".tif", ".tiff")
MOST_TRACERS = 4


@dataclass(frozen=True)
class Outputs:
    """The files to write; what is left out is not written."""

    footprints: Path | None = None
    mask: Path | None = None
    probability: Path | None = None
    project: Path | None = None
    overwrite: bool = False

    @property
    def paths(self) -> list[Path]:
        wanted = (self.footprints, self.mask, self.probability, self.project)
        return [path for path in wanted if path]


@dataclass(frozen=True)
class Inferred:
    """What a run did."""

    job: Job
    outputs: Outputs
    seconds: float
    footprints: Summary | None

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
            **(asdict(self.footprints) if self.footprints else {}),
        }

    def __str__(self) -> str:
        lines = [str(path) for path in self.outputs.paths]
        if self.footprints:
            lines[0] += f": {self.footprints.footprints:,} footprints, {self.footprints.area_m2:,.1f} m²"
        return "\n".join(lines)


def infer(
    paths: Sequence[str],
    outputs: Outputs,
    wishes: Wishes,
    footprint_wishes: Mapping[str, Any] = MappingProxyType({}),
    narrator: Narrator = QUIET,
) -> Inferred:
    """Find the buildings of a scene; a stopped run goes on when it is called again with the same arguments.

    `footprint_wishes` are fields of a Recipe; for the others the model's card speaks, or the recipe's defaults.
    """
    start = time.monotonic()
    refuse_outputs(outputs, paths)
    job = plan_job(paths, wishes, narrator)
    tracer = (
        vectorizer(job, outputs, recipe_of(job.model.card, footprint_wishes), narrator)
        if outputs.footprints
        else None
    )
    journal = Journal.beside(outputs.paths[0], job.key)
    with journal.locked(), tracer or nullcontext():
        predict_strips(job, journal, narrator, to_strips(tracer, job) if tracer else None)
        narrator.say("Writing " + ", ".join(map(str, outputs.paths)))
        write_mosaics(job, journal, outputs.mask, outputs.probability)
    write_qgis_project(job, outputs)
    journal.remove()
    for leftover in journal.leftovers(outputs.paths[0]):
        narrator.warn(
            f"{leftover} holds unfinished work with other settings; delete it if it is no longer needed"
        )
    return Inferred(job, outputs, time.monotonic() - start, tracer.summary if tracer else None)


def vectorizer(job: Job, outputs: Outputs, recipe: Recipe, narrator: Narrator) -> Vectorizer:
    """What turns finished strips into footprints while the model works on the next ones."""
    from geoseg.footprints.trace.workers import available_processors
    from geoseg.footprints.vectorize import Vectorizer

    assert outputs.footprints
    on_gpu = job.kinds[0].device != "cpu"
    return Vectorizer(
        job.scene.grid,
        outputs.footprints,
        recipe,
        # A CPU is busy with the model: processes of our own would only take turns with it.
        workers=min(MOST_TRACERS, available_processors() // 2) if on_gpu else 0,
        overwrite=outputs.overwrite,
        narrator=narrator,
    )


def recipe_of(card: Card, wishes: Mapping[str, Any]) -> Recipe:
    """How footprints are made: as the user wishes, else as the card says, else as usual."""
    from geoseg.footprints.regions.adjusted import ConfusionMatrix
    from geoseg.footprints.vectorize import Recipe

    names = {value: entry.name for value, entry in enumerate(card.classes) if value > 0}
    counts = card.calibration.get("confusion")
    known = {
        "names": names,
        "min_area_m2": card.min_area_m2 or Recipe.min_area_m2,
        "confusion": ConfusionMatrix(tuple(c.name for c in card.classes), tuple(map(tuple, counts)))
        if counts
        else None,
    }
    return Recipe(**{**known, **wishes})


def to_strips(tracer: Vectorizer, job: Job) -> StripListener:
    from geoseg.footprints.vectorize import MaskStrip

    def listen(files: StripFiles) -> None:
        strip = files.strip
        outputs = job.model.card.class_channels
        tracer.add(MaskStrip(strip.row, strip.height, files.classes, files.probabilities, outputs))

    return listen


def write_qgis_project(job: Job, outputs: Outputs) -> None:
    if outputs.project and outputs.footprints:
        from geoseg.footprints.files.project import Project, write_project

        rasters = Path(job.scene.files[0]), outputs.probability, outputs.mask
        write_project(Project(outputs.footprints, *rasters), outputs.project, outputs.overwrite)


def dry_run(paths: Sequence[str], outputs: Outputs, wishes: Wishes, narrator: Narrator = QUIET) -> Estimate:
    """Tell what `infer` would do, and what it would take."""
    refuse_outputs(outputs, paths)
    return estimate(plan_job(paths, wishes, narrator))


def refuse_outputs(outputs: Outputs, scene: Sequence[str]) -> None:
    """Find every fault of the outputs before hours of work go into them."""
    if not (outputs.footprints or outputs.mask or outputs.probability):
        raise InputError("nothing to write: give --out buildings.gpkg, --mask or --probability")
    if outputs.project and not outputs.footprints:
        raise InputError("--qgis-project: a project shows footprints; give --out buildings.gpkg as well")
    inputs = {os.path.realpath(path) for path in scene}
    for path in outputs.paths:
        if os.path.realpath(path) in inputs:
            raise InputError(f"{path}: is the scene itself; give the output another name")
        check_writable(path)
    for raster in filter(None, (outputs.mask, outputs.probability)):
        if raster.suffix.lower() not in RASTERS:
            raise InputError(f"{raster}: a raster's name must end in .tif")
        if raster.exists() and not outputs.overwrite:
            raise InputError(f"{raster}: exists already; use --overwrite to replace it")
    if len({os.path.realpath(path) for path in outputs.paths}) < len(outputs.paths):
        raise InputError(f"{outputs.paths[0]}: named for two outputs; give each its own name")
