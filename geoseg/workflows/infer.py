"""From a scene to rasters, footprints and statistics: the whole way, each part working while the next one is read."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from geoseg.errors import InputError
from geoseg.inference.estimate import Estimate, estimate_job
from geoseg.inference.job import InferOptions, Job, plan_job
from geoseg.inference.pipeline import StripListener, predict_strips, write_mosaics
from geoseg.inference.resume import Journal, StripFiles
from geoseg.io.access import check_writable
from geoseg.models.card import Card
from geoseg.raster.mask import SEPARATORS

if TYPE_CHECKING:
    from geoseg.workflows.options import VectorizeOptions
    from geoseg.workflows.vectorize import Vectorizer, VectorizeSummary

log = logging.getLogger(__name__)


RASTER_SUFFIXES = (".tif", ".tiff")
MOST_TRACERS = 4


@dataclass(frozen=True)
class InferOutputs:
    """The files to write; what is left out is not written."""

    footprints: Path | None = None
    mask: Path | None = None
    probability: Path | None = None
    project: Path | None = None
    overwrite: bool = False
    all_outputs: Path | None = None
    """Every output of the network: the probabilities and, behind them, what separates buildings."""

    @property
    def rasters(self) -> list[Path]:
        return [path for path in (self.mask, self.probability, self.all_outputs) if path]

    @property
    def paths(self) -> list[Path]:
        wanted = (self.footprints, self.mask, self.probability, self.all_outputs, self.project)
        return [path for path in wanted if path]


@dataclass(frozen=True)
class InferResult:
    """What a run did."""

    job: Job
    outputs: InferOutputs
    seconds: float
    footprints: VectorizeSummary | None

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
    outputs: InferOutputs,
    wishes: InferOptions,
    footprint_wishes: Mapping[str, Any] = MappingProxyType({}),
) -> InferResult:
    """Find the buildings of a scene; a stopped run goes on when it is called again with the same arguments.

    `footprint_wishes` are fields of a Recipe; for the others the model's card speaks, or the recipe's defaults.
    """
    start = time.monotonic()
    refuse_outputs(outputs, paths)
    job = plan_job(paths, wishes)
    tracer = (
        make_vectorizer(job, outputs, make_recipe(job.model.card, footprint_wishes))
        if outputs.footprints
        else None
    )
    journal = Journal.beside(outputs.paths[0], job.key)
    with journal.locked(), tracer or nullcontext():
        predict_strips(job, journal, make_strip_listener(tracer, job) if tracer else None)
        log.info("Writing " + ", ".join(map(str, outputs.paths)))
        write_mosaics(job, journal, outputs.mask, outputs.probability, outputs.all_outputs)
    write_qgis_project(job, outputs)
    journal.remove()
    for leftover in journal.find_leftovers(outputs.paths[0]):
        log.warning(
            f"{leftover} holds unfinished work with other settings; delete it if it is no longer needed"
        )
    return InferResult(job, outputs, time.monotonic() - start, tracer.summary if tracer else None)


def make_vectorizer(job: Job, outputs: InferOutputs, recipe: VectorizeOptions) -> Vectorizer:
    """What turns finished strips into footprints while the model works on the next ones."""
    from geoseg.parallel import count_processors
    from geoseg.workflows.vectorize import Vectorizer

    assert outputs.footprints
    on_gpu = job.kinds[0].device != "cpu"
    return Vectorizer(
        job.scene.grid,
        outputs.footprints,
        recipe,
        # A CPU is busy with the model: processes of our own would only take turns with it.
        workers=min(MOST_TRACERS, count_processors() // 2) if on_gpu else 0,
        overwrite=outputs.overwrite,
        tells_boundaries=bool(find_separator_bands(job.model.card)),
    )


def make_recipe(card: Card, wishes: Mapping[str, Any]) -> VectorizeOptions:
    """How footprints are made: as the user wishes, else as the card says, else as usual."""
    from geoseg.regions.adjustment import ConfusionMatrix
    from geoseg.workflows.options import VectorizeOptions

    names = {value: entry.name for value, entry in enumerate(card.classes) if value > 0}
    counts = card.calibration.get("confusion")
    known = {
        "names": names,
        "min_area_m2": card.min_area_m2 or VectorizeOptions.min_area_m2,
        "confusion": ConfusionMatrix(tuple(c.name for c in card.classes), tuple(map(tuple, counts)))
        if counts
        else None,
    }
    return VectorizeOptions(**{**known, **wishes})


def make_strip_listener(tracer: Vectorizer, job: Job) -> StripListener:
    from geoseg.workflows.vectorize import MaskStrip

    card = job.model.card

    def listen(files: StripFiles) -> None:
        strip = files.strip
        bands = card.class_channels, find_separator_bands(card)
        tracer.add(MaskStrip(strip.row, strip.height, files.classes, files.probabilities, *bands))

    return listen


def find_separator_bands(card: Card) -> tuple[int, ...]:
    """The numbers of the channels of boundary and distance, from 1 on; none unless the model tells both."""
    outputs = card.outputs
    if not set(SEPARATORS) <= set(card.separators):
        return ()
    return tuple(outputs.index(name) + 1 for name in SEPARATORS)


def write_qgis_project(job: Job, outputs: InferOutputs) -> None:
    if outputs.project and outputs.footprints:
        from geoseg.footprints.write.project import QgisProject, write_project

        rasters = Path(job.scene.files[0]), outputs.probability, outputs.mask
        write_project(QgisProject(outputs.footprints, *rasters), outputs.project, outputs.overwrite)


def estimate_infer(paths: Sequence[str], outputs: InferOutputs, wishes: InferOptions) -> Estimate:
    """Tell what `infer` would do, and what it would take."""
    refuse_outputs(outputs, paths)
    return estimate_job(plan_job(paths, wishes))


def refuse_outputs(outputs: InferOutputs, scene: Sequence[str]) -> None:
    """Find every fault of the outputs before hours of work go into them."""
    if not (outputs.footprints or outputs.rasters):
        raise InputError("nothing to write: give --out buildings.gpkg, --mask or --probability")
    if outputs.project and not outputs.footprints:
        raise InputError("--qgis-project: a project shows footprints; give --out buildings.gpkg as well")
    inputs = {os.path.realpath(path) for path in scene}
    for path in outputs.paths:
        if os.path.realpath(path) in inputs:
            raise InputError(f"{path}: is the scene itself; give the output another name")
        check_writable(path)
    for raster in outputs.rasters:
        if raster.suffix.lower() not in RASTER_SUFFIXES:
            raise InputError(f"{raster}: a raster's name must end in .tif")
        if raster.exists() and not outputs.overwrite:
            raise InputError(f"{raster}: exists already; use --overwrite to replace it")
    if len({os.path.realpath(path) for path in outputs.paths}) < len(outputs.paths):
        raise InputError(f"{outputs.paths[0]}: named for two outputs; give each its own name")
