"""Strips of one scene in several processes: each predicts and traces some, into the same folder of parts.

A task is a range of strips. It holds paths and options, and what comes back are counts; a process that dies costs what it
had in hand, since each strip is a file of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.cluster.place import name_process, name_worker_in_errors, share_place
from geoseg.cluster.worker import recall_model
from geoseg.errors import GeosegError, InputError
from geoseg.inference.job import Job, plan_job
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.inference.options import PredictOptions
from geoseg.inference.pipeline import (
    AnswerCounts,
    OrderedListener,
    StripListener,
    measure_strips,
    predict_missing,
    report_earlier_strips,
)
from geoseg.inference.resume import Journal, StripFiles, split_into_runs
from geoseg.inference.threads import CancelToken
from geoseg.io.addresses import find_local_file, parse_layer_path, split_address
from geoseg.models.card import Card
from geoseg.models.store import find_model, list_builtin_models
from geoseg.progress import track
from geoseg.raster.mask import SEPARATORS
from geoseg.raster.plan import Plan, Strip

PATIENCE_S = 60.0
"""NFS keeps for up to a minute what it knew of a folder."""
POLL_S = 0.5

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers
    from geoseg.workflows.traced import TracedParts
    from geoseg.workflows.tracer import MaskStrip


@dataclass(frozen=True)
class StripTask:
    """A range of strips of a scene, for any process that sees the files."""

    scene: tuple[str, ...]
    options: PredictOptions
    fingerprint: str
    key: str
    parameters: Mapping[str, Any]
    plan: Plan
    journal: Journal
    first: int
    stop: int
    parts: TracedParts | None


def work_on_strips(task: StripTask) -> AnswerCounts:
    """Predict and trace the strips of a task that are not there yet."""
    with name_worker_in_errors():
        planned = recall_job(task.scene, task.options, task.fingerprint, task.key)
    job = replace(planned, plan=task.plan)
    if job.key != task.key:
        raise InputError(
            f"{name_process()} {explain_difference(job.parameters, task.parameters, job.scene.name)}"
        )
    strips = job.plan.strips[task.first : task.stop]
    return predict_missing(job, task.journal, strips, make_part_listener(task.parts, job))


@lru_cache(maxsize=4)
def recall_job(scene: tuple[str, ...], options: PredictOptions, fingerprint: str, key: str) -> Job:
    """A job as this process plans it, once; the key says of which state of the scene."""
    del key
    return plan_job(scene, options, recall_model(options, fingerprint))


def explain_difference(there: Mapping[str, Any], asked: Mapping[str, Any], scene: str) -> str:
    """Why one process would get another answer than the one that asks it."""
    for name, value in asked.items():
        if there.get(name) != value:
            return f"would do it otherwise: `{name}` is {there.get(name)} there, and {value} where it is asked from"
    return f"sees another {scene} than the one that asks: another place, size or time of the file; copy it so that all see the same"


@dataclass(frozen=True)
class SceneWork:
    """What is to be done about a scene: strips go to the journal, and traced parts beside them where footprints are wanted."""

    job: Job
    journal: Journal
    options: PredictOptions
    parts: TracedParts | None
    token: CancelToken | None = None
    """Ends the work when it is cancelled."""

    def is_done(self, strip: Strip) -> bool:
        """Whether all that workers do of a strip is there, and can be read."""
        return self.journal.files(strip).are_whole() and (self.parts is None or self.parts.has(strip.row))

    def drop(self, strips: Sequence[Strip]) -> None:
        """Take strips away with what was traced of them, to be done again."""
        self.journal.drop(strips)
        if self.parts:
            self.parts.drop(strip.row for strip in strips)

    @property
    def whole_task(self) -> StripTask:
        """All strips as one task."""
        job, journal = self.job, replace(self.journal, folder=self.journal.folder.absolute())
        scene = tuple(map(make_absolute, job.scene.files))
        options = replace(
            take_predict_options(self.options), date=job.image_date
        )  # which a catalogue may have told
        wanted = (job.model.fingerprint, job.key, job.parameters, job.plan)
        return StripTask(scene, options, *wanted, journal, 0, len(job.plan.strips), self.parts)


def predict_work(
    work: SceneWork,
    strips: Sequence[Strip],
    workers: Workers | None,
    on_strip: StripListener | None,
    *,
    alone: bool = True,
) -> AnswerCounts:
    """Predict those of some strips that are not there, in this process or by workers, who trace them as well."""
    if workers:
        return dispatch_strips(workers, work, strips, on_strip, alone=alone)
    return predict_missing(work.job, work.journal, strips, on_strip, work.token)


def dispatch_strips(
    workers: Workers,
    work: SceneWork,
    strips: Sequence[Strip],
    on_strip: StripListener | None = None,
    *,
    alone: bool = True,
) -> AnswerCounts:
    """Let workers predict and trace those of some strips that are not there. `on_strip` is told as by `predict_missing`."""
    job, journal = work.job, work.journal
    runs = split_into_runs([strip for strip in strips if not work.is_done(strip)])
    report_earlier_strips(len(strips) - sum(map(len, runs)), len(strips))
    listener = OrderedListener(on_strip, [journal.files(strip) for strip in strips])
    listener.notify()
    tasks = (
        replace(work.whole_task, first=chosen[0].index, stop=chosen[-1].index + 1)
        for chosen in workers.split(*runs)
    )
    counts = AnswerCounts()
    with (
        share_place(journal.folder, workers.threads, alone=alone) as place,
        track("Predicting", measure_strips(job, runs), "Mpx") as advance,
    ):
        for task, done in workers.run(place, work_on_strips, tasks):
            counts += done
            if work.token:
                work.token.check()
            advance(measure_strips(job, [job.plan.strips[task.first : task.stop]]))
            listener.notify()
    wait_for_strips(journal, strips)
    listener.notify()
    workers.report_losses()
    return counts


def wait_for_strips(journal: Journal, strips: Sequence[Strip]) -> None:
    """Wait until this machine sees what workers have written: a disk on the network may show files late."""
    deadline = time.monotonic() + PATIENCE_S
    while (unseen := [s for s in strips if not journal.files(s).exist]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if unseen:
        raise GeosegError(
            f"{journal.folder}: {len(unseen)} of {len(strips)} strips that workers have written are not seen from here; run the "
            "same command again when the disk shows them"
        )


def take_predict_options(options: PredictOptions) -> PredictOptions:
    """What a prediction asks for, with paths that any process understands."""
    asked = {field.name: getattr(options, field.name) for field in fields(PredictOptions)}
    return PredictOptions(**{**asked, "model": make_absolute(options.model)})


def make_absolute(source: str) -> str:
    """A file or folder by its whole path; addresses and names of built-in models as they are."""
    if source in list_builtin_models() or not (Path(source).is_dir() or find_local_file(source)):
        return source
    before, path, inside = split_address(source)
    return f"{before}{Path(path).absolute()}{inside}"


def make_layer_absolute(layer: str) -> str:
    """A layer of a vector file by its whole path; squares of a grid as they are."""
    if layer.startswith("grid:"):
        return layer
    file, name = parse_layer_path(layer)
    return f"{file.absolute()}:{name}" if name else str(file.absolute())


def load_workers_model(workers: Workers, options: PredictOptions) -> LoadedModel:
    """The model as the workers run it, or one line on what keeps one of them from it."""
    model = find_model(options.model)
    if workers.is_local:
        first = load_model(model, options).kinds[0]
        return LoadedModel(model, (replace(first, device=first.device.partition(":")[0]),), workers.where)
    kind, fingerprint = workers.settle_model(take_predict_options(options))
    if fingerprint != model.fingerprint:
        raise InputError(f"`model` {options.model}: is another one on the workers than here; copy it anew")
    return LoadedModel(model, (kind,), workers.where)


def make_part_listener(parts: TracedParts | None, job: Job) -> StripListener | None:
    """What traces finished strips into parts, where footprints are wanted."""
    return None if parts is None else make_strip_listener(parts.keep, job)


def make_strip_listener(take: Callable[[Any], object], job: Job) -> StripListener:
    """What hands finished strips on as rows of a mask."""
    from geoseg.workflows.tracer import make_mask_rows

    def listen(files: StripFiles) -> None:
        take(make_mask_rows(make_mask_strip(files, job.model.card), job.scene.grid))

    return listen


def make_mask_strip(files: StripFiles, card: Card) -> MaskStrip:
    from geoseg.workflows.tracer import MaskStrip

    strip, bands = files.strip, (card.class_channels, find_separator_bands(card))
    return MaskStrip(strip.row, strip.height, files.classes, files.probabilities, *bands)


def find_separator_bands(card: Card) -> tuple[int, ...]:
    """The numbers of the channels of boundary and distance, from 1 on; none unless the model tells both."""
    if not set(SEPARATORS) <= set(card.separators):
        return ()
    return tuple(card.outputs.index(name) + 1 for name in SEPARATORS)
