"""From a scene to rasters, footprints and statistics: the whole way, each part working while the next one is read.

What makes footprints is loaded where footprints are wanted: geopandas and scipy take 190 MiB and most of a second, which a
mask does without.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.cluster.workers import open_workers
from geoseg.errors import GeosegError, InputError
from geoseg.inference.estimate import Estimate, PatchTimer, estimate_job, refuse_too_large_job
from geoseg.inference.job import Job
from geoseg.inference.loaded import LoadedModel
from geoseg.inference.manifest import plan_like_parts
from geoseg.inference.pipeline import (
    RasterOutputs,
    report_unanswered,
    write_mosaics,
)
from geoseg.inference.resume import Journal
from geoseg.inference.threads import CancelToken
from geoseg.io.access import Output, check_outputs
from geoseg.io.addresses import explain_change, list_replaced_files
from geoseg.io.atomic import Delivery, clear_leftovers, describe_command, find_own_files
from geoseg.models.card import Card
from geoseg.options import list_options
from geoseg.parallel import count_processors
from geoseg.raster.coding import NODATA
from geoseg.raster.source import open_quietly
from geoseg.reports.options import REPORT_SUFFIXES, ReportOptions
from geoseg.workflows.options import FootprintOptions, InferOptions, looks_at_outputs
from geoseg.workflows.results import FootprintResult
from geoseg.workflows.strips import (
    SceneWork,
    find_separator_bands,
    load_workers_model,
    make_strip_listener,
    predict_work,
)

if TYPE_CHECKING:
    from pyproj import CRS

    from geoseg.cluster.dask import Workers
    from geoseg.footprints.burn import FootprintBurner
    from geoseg.regions.adjustment import ConfusionMatrix
    from geoseg.workflows.compare import CompareResult
    from geoseg.workflows.traced import TracedParts
    from geoseg.workflows.tracer import MaskFacts
    from geoseg.workflows.vectorizer import Vectorizer

log = logging.getLogger(__name__)

RASTER_SUFFIXES = (".tif", ".tiff")
MASK_SUFFIXES = (*RASTER_SUFFIXES, ".png")
MOST_TRACERS = 4
WORTH_PROCESSES_MPX = 20
"""A smaller scene is done before processes of its own have started."""


@dataclass(frozen=True)
class InferResult(FootprintResult):
    """What `infer` found in a scene."""

    job: Job | None = field(default=None, repr=False)
    outputs: tuple[Path, ...] = ()
    mask_file: Path | None = None
    seconds: float = 0.0
    comparison: CompareResult | None = None
    """What became of each building, where footprints to compare with were given."""

    @cached_property
    def mask(self) -> NDArray[np.uint8] | None:
        """The class of each pixel, 255 where unknown; none where no mask was asked for."""
        if self.mask_file is None:
            return None
        with open_quietly(self.mask_file) as dataset:
            return np.asarray(dataset.read(1))

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        assert self.job is not None
        grid = self.job.scene.grid
        return {
            "outputs": [str(path) for path in self.outputs],
            "width": grid.width,
            "height": grid.height,
            "megapixels": round(grid.megapixels, 3),
            "seconds": round(self.seconds, 3),
            **self.job.parameters,
            **(self.counts.summary if self.counts else {}),
            **({"comparison": self.comparison.summary} if self.comparison else {}),
        }

    def __str__(self) -> str:
        lines = [str(path) for path in self.outputs]
        if self.counts:
            lines[0] += f": {self.counts}"
        if self.comparison:
            lines.append(str(self.comparison))
        return "\n".join(lines)


def infer_scene(
    scene: Sequence[str],
    out: Path | None,
    options: InferOptions,
    loaded: LoadedModel | None = None,
    token: CancelToken | None = None,
) -> InferResult:
    """Find the buildings of a scene; a stopped run goes on when it is called again with the same arguments.

    A model that is `loaded` already, with the same options, is used again. A token that is cancelled ends the run with
    WorkCancelled.
    """
    start = time.monotonic()
    command = describe_infer(scene, out, options)
    outputs = check_infer_outputs(scene, out, options, command)
    with open_workers(options) as workers:
        job = plan_like_parts(scene, outputs[0], options, find_loaded(options, workers, loaded))
        refuse_too_large_job(job, (workers and options.workers) or 1)
        if options.against and not job.scene.grid.is_placed:
            raise InputError(f"`against` {options.against}: the picture has no place on Earth; leave it out")
        work = replace(plan_work(job, outputs[0], out, options), token=token)
        with Delivery(outputs, command) as delivery:
            vectorizer = write_outputs(work, out, workers, delivery)
            comparison = None
            if out and options.against:
                comparison = compare_run(out, job, work.journal, options, delivery)
            write_pages(job, out, options, time.monotonic() - start, delivery)
            refuse_changed_scene(job, work.journal)
            delivery.do_afterwards(work.journal.remove)
            delivery.do_afterwards(partial(clear_leftovers, outputs[0], command))
    counts = vectorizer.counts if vectorizer else None
    seconds = time.monotonic() - start
    return InferResult(
        out,
        counts,
        job=job,
        outputs=outputs,
        mask_file=options.mask,
        seconds=seconds,
        comparison=comparison,
    )


def plan_work(job: Job, first: Path, out: Path | None, options: InferOptions) -> SceneWork:
    """What is to be done, and where its parts are until the outputs are whole."""
    journal = find_journal(job, first, out, options)
    parts = choose_parts(job, journal, options) if wants_footprints(out, options) else None
    return SceneWork(job, journal, options, parts)


def find_journal(job: Job, first: Path, out: Path | None, options: InferOptions) -> Journal:
    """Where finished strips are kept; with probabilities only for who needs them, and in shares of whatever is made of them."""
    asked = wants_footprints(out, options) or options.probability or options.all_outputs or options.shard
    return Journal.beside(first, job.key, classes_alone=not asked)


def write_outputs(
    work: SceneWork, out: Path | None, workers: Workers | None, delivery: Delivery
) -> Vectorizer | None:
    """Do what is missing, join it, and write footprints and rasters; what made the footprints, if they were wanted."""
    job, journal, options = work.job, work.journal, work.options
    assert isinstance(options, InferOptions)
    burner = make_burner(job, journal) if options.mask_from == "footprints" else None
    vectorizer = make_vectorizer(work, out, burner, delivery) if work.parts else None
    with journal.locked(delivery.command), vectorizer or nullcontext():
        on_strip = make_strip_listener(vectorizer.add, job) if vectorizer else None
        counts = predict_work(work, job.plan.strips, workers, on_strip)
        report_unanswered(job, journal, job.plan.strips, counts, forget=journal.remove)
        log.info("Writing the results")
        if vectorizer:
            vectorizer.complete()
        rasters = options.mask, options.probability, options.all_outputs
        write_mosaics(job, journal, RasterOutputs(*rasters, burner.burn if burner else None), delivery)
    return vectorizer


def write_pages(
    job: Job, out: Path | None, options: InferOptions, seconds: float, delivery: Delivery
) -> None:
    """Write what shows the results, where it is asked for."""
    if options.qgis_project and out:
        write_qgis_project(out, job, options, delivery)
    if options.report and out:
        report_run(out, job, options, seconds, delivery)


def describe_infer(scene: Sequence[str], out: Path | None, options: InferOptions) -> str:
    """The command, wherever its work is done."""
    return describe_command("infer", [*scene, str(out)], options.without_places())


def find_loaded(
    options: InferOptions, workers: Workers | None, loaded: LoadedModel | None
) -> LoadedModel | None:
    """The model as it is opened already, or as workers run it."""
    return load_workers_model(workers, options) if workers and not loaded else loaded


def wants_footprints(out: Path | None, options: InferOptions) -> bool:
    return out is not None or options.mask_from == "footprints"


def estimate_infer(scene: Sequence[str], out: Path | None, options: InferOptions) -> Estimate:
    """Tell what `infer_scene` would do, and what it would take."""
    outputs = check_infer_outputs(scene, out, options, describe_infer(scene, out, options))
    job = plan_like_parts(scene, outputs[0], options)
    return estimate_job(job, find_journal(job, outputs[0], out, options), PatchTimer())


def refuse_changed_scene(job: Job, journal: Journal) -> None:
    """Drop strips that show a scene partly as it was and partly as it became meanwhile."""
    changed = job.find_changed_source()
    if changed:
        journal.remove()
        raise GeosegError(explain_change(changed))


def compare_run(
    out: Path, job: Job, journal: Journal, options: InferOptions, delivery: Delivery
) -> CompareResult:
    """Tell what became of other footprints in those of the scene, where the scene was seen."""
    from geoseg.comparison.ground import RasterGround
    from geoseg.footprints.write.geopackage import get_change_path
    from geoseg.workflows.compare import open_comparison, write_comparison
    from geoseg.workflows.options import CompareOptions

    assert options.against
    asked = CompareOptions(regions=options.regions, region_id=options.region_id)

    def read_known() -> Iterator[tuple[slice, NDArray[np.bool_]]]:
        for strip in job.plan.strips:
            with open_quietly(journal.files(strip).classes) as dataset:
                yield slice(strip.row, strip.stop_row), dataset.read(1) != NODATA

    def make_ground(plane: CRS) -> RasterGround:
        return RasterGround("what was seen of the scene", job.scene.grid, read_known, plane)

    with open_comparison(options.against, str(delivery.find(out)), asked, make_ground, "b") as comparison:
        return write_comparison(comparison, get_change_path(out), asked, delivery)


def write_qgis_project(out: Path, job: Job, options: InferOptions, delivery: Delivery) -> None:
    from geoseg.footprints.write.project import QgisProject, write_project

    probability, mask = map(name_file, (options.probability, options.mask))
    assert options.qgis_project
    grid = job.scene.native
    project = QgisProject(out, job.scene.files, probability, mask, grid.is_placed, grid.crs)
    write_project(project, options.qgis_project, delivery)


def report_run(out: Path, job: Job, options: InferOptions, seconds: float, delivery: Delivery) -> None:
    """Write the page of a run: what it found, and what it took."""
    from geoseg.reports.layers import open_raster_layer
    from geoseg.reports.report import describe_run, write_report

    assert options.report
    mask, probability = map(name_file, (options.mask, options.probability))
    scene = job.scene
    # Several images that are read as one have no tags, so the first one tells whose they are.
    owner = open_raster_layer(scene.files[0]).attribution or None
    asked = ReportOptions(image=scene.name, mask=mask, probability=probability, attribution=owner)
    facts = describe_run(job.parameters, job.model.card, seconds, scene.grid.megapixels)
    write_report(out, options.report, asked, facts, delivery, {scene.name: scene.source})


def name_file(path: Path | None) -> str | None:
    return None if path is None else str(path)


def check_infer_outputs(
    scene: Sequence[str], out: Path | None, options: InferOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written, the footprints first; refused before the first pixel is read, not after the last."""
    refuse_unfit_outputs(out, options)
    outputs = list(list_outputs(out, options))
    if looks_at_outputs(options):
        own = find_own_files(outputs[0].path, command)
        check_outputs(outputs, [*scene, *list_replaced_files(options.regions, options.against)], own)
        if out:
            from geoseg.footprints.write.geopackage import check_footprint_file

            check_footprint_file(out, options.overwrite or out.absolute() in own)
    return tuple(output.path for output in outputs)


def refuse_unfit_outputs(out: Path | None, options: InferOptions) -> None:
    """Refuse outputs that do not belong together, whatever is there already."""
    if not any((out, *list_rasters(options))):
        raise InputError("nothing to write: give `out` buildings.gpkg, `mask` or `probability`")
    if options.coco:
        raise InputError(
            f"`coco` {options.coco}: is written of many scenes; give a folder for them: `out` results/"
        )
    if options.mask_from == "footprints" and not options.mask:
        raise InputError("`mask_from` footprints: there is no mask; give `mask` mask.tif as well")
    if options.against:
        check_against(options.against, out)
    for name, what, path in (
        ("qgis_project", "project", options.qgis_project),
        ("report", "report", options.report),
    ):
        if path and not out:
            raise InputError(f"`{name}`: a {what} shows footprints; give `out` buildings.gpkg as well")


def check_against(against: str, out: Path | None) -> None:
    """Refuse early what footprints cannot be compared with."""
    from geoseg.footprints.vector_files import open_vector_file
    from geoseg.io.addresses import parse_layer_path

    if not out:
        raise InputError(f"`against` {against}: compares footprints; give `out` buildings.gpkg as well")
    open_vector_file(Path(against))
    if parse_layer_path(against)[0].resolve() == out.resolve():
        raise InputError(f"`against` {against}: is what `out` replaces; give `out` another name")


def list_rasters(options: InferOptions) -> list[Path]:
    return [path for path in (options.mask, options.probability, options.all_outputs) if path]


def list_change_files(changes: Path, options: InferOptions) -> Iterator[Output]:
    from geoseg.comparison.write import get_region_path

    yield Output("a file of changes", changes, may_exist=options.overwrite)
    if options.regions:
        yield Output("a file of changes by region", get_region_path(changes), may_exist=options.overwrite)


def list_outputs(out: Path | None, options: InferOptions) -> Iterator[Output]:
    if out:
        from geoseg.footprints.write.geopackage import get_change_path, get_region_path

        yield Output("a file of footprints", out, may_exist=True)
        if options.regions and get_region_path(out) != out:
            yield Output("a file of regions", get_region_path(out), may_exist=options.overwrite)
        if options.against and get_change_path(out) != out:
            yield from list_change_files(get_change_path(out), options)
    for raster in list_rasters(options):
        suffixes = MASK_SUFFIXES if raster == options.mask else RASTER_SUFFIXES
        yield Output("a raster", raster, suffixes, options.overwrite)
    if options.report:
        yield Output("a report", options.report, REPORT_SUFFIXES, options.overwrite)
    if options.qgis_project:
        from geoseg.footprints.write.project import PROJECT_SUFFIXES

        yield Output("a QGIS project", options.qgis_project, PROJECT_SUFFIXES, options.overwrite)


def make_burner(job: Job, journal: Journal) -> FootprintBurner:
    """What draws footprints back into a mask."""
    from geoseg.footprints.burn import FootprintBurner

    values = {entry.name: value for value, entry in enumerate(job.model.card.classes)}
    return FootprintBurner(job.scene.grid, values, journal.folder)


def choose_parts(job: Job, journal: Journal, options: InferOptions) -> TracedParts:
    """Where the footprints of strips are kept, and what makes them, the same in every process of this job."""
    from geoseg.workflows.traced import TracedParts
    from geoseg.workflows.tracer import make_tracer

    card = job.model.card
    options, facts = fit_options(options, card), make_facts(job)
    asked = [getattr(options, each.name) for each in list_options(FootprintOptions)]
    name = hashlib.sha256(repr([asked, facts.names, facts.tells_boundaries]).encode()).hexdigest()[:12]
    return TracedParts(
        make_tracer(job.scene.grid, options, facts), journal.folder.absolute() / f"traced-{name}"
    )


def fit_options(options: InferOptions, card: Card) -> InferOptions:
    """The options with what the model knows better; what must stay was refused before."""
    options = replace(options, overwrite=True, qgis_project=None)
    if options.min_area_m2 is None and card.min_area_m2:
        options = replace(options, min_area_m2=card.min_area_m2)
    return options


def make_facts(job: Job) -> MaskFacts:
    """What is known of the mask that a model makes of a scene."""
    from geoseg.workflows.tracer import MaskFacts

    card = job.model.card
    names = {value: entry.name for value, entry in enumerate(card.classes) if value > 0}
    return MaskFacts(names, bool(find_separator_bands(card)), read_confusion(card), job.image_date)


def make_vectorizer(
    work: SceneWork, out: Path | None, burner: FootprintBurner | None, delivery: Delivery
) -> Vectorizer:
    """What turns finished strips into footprints while the model works on the next ones.

    Where they are wanted for the mask alone, their file goes with the strips.
    """
    from geoseg.workflows.vectorizer import Vectorizer

    job, card = work.job, work.job.model.card
    assert isinstance(work.options, InferOptions)
    options = fit_options(work.options, card)
    place, shared = (out, delivery) if out else (work.journal.folder / "footprints.gpkg", None)
    vectorizer = Vectorizer(job.scene.grid, place, options, make_facts(job), count_tracers(job), shared)
    vectorizer.parts = work.parts
    vectorizer.on_rows = burner.add if burner else None
    return vectorizer


def count_tracers(job: Job) -> int:
    """How many processes trace outlines. A CPU is busy with the model: they would only take turns with it."""
    on_gpu = job.kinds[0].device != "cpu" and not job.loaded.place
    worth_processes = on_gpu and job.scene.grid.megapixels >= WORTH_PROCESSES_MPX
    return min(MOST_TRACERS, count_processors() // 2) if worth_processes else 0


def read_confusion(card: Card) -> ConfusionMatrix | None:
    """What is known of the model's errors, where its card has a sample of them."""
    from geoseg.regions.adjustment import ConfusionMatrix

    counts = card.calibration.get("confusion")
    if not counts:
        return None
    return ConfusionMatrix(tuple(entry.name for entry in card.classes), tuple(map(tuple, counts)))
