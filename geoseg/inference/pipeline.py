"""From a scene to finished strips and mosaics: reading, the model and writing at the same time."""

from __future__ import annotations

import json
import logging
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from geoseg.errors import GeosegError
from geoseg.inference.job import Job
from geoseg.inference.predictor import Predictor, StripAnswer, StripPixels, find_largest_batch
from geoseg.inference.resume import Journal, StripFiles
from geoseg.inference.threads import CancelToken, prefetch
from geoseg.io.atomic import Delivery
from geoseg.models.backends.base import RuntimeKind
from geoseg.progress import track
from geoseg.raster.coding import NODATA, PROBABILITY_STEPS
from geoseg.raster.grid import Grid, Window
from geoseg.raster.mosaic import MosaicLayer, is_png, resample_strips, write_mosaic
from geoseg.raster.mosaic import StripFiles as RasterStrips
from geoseg.raster.palette import Palette
from geoseg.raster.plan import Strip
from geoseg.raster.scene import SceneReader
from geoseg.raster.source import open_quietly

log = logging.getLogger(__name__)

StripListener = Callable[[StripFiles], None]


@dataclass(frozen=True)
class StripReport:
    """A strip that is finished, how many of its pixels the scene knows, and how many of those got no number."""

    strip: Strip
    known: int
    unanswered: int


@dataclass(frozen=True)
class AnswerCounts:
    """How many pixels the scene knows in some strips, and how many of those got no number from the model."""

    known: int = 0
    unanswered: int = 0

    def __add__(self, other: AnswerCounts) -> AnswerCounts:
        return AnswerCounts(self.known + other.known, self.unanswered + other.unanswered)


def predict_missing(
    job: Job,
    journal: Journal,
    strips: Sequence[Strip],
    on_strip: StripListener | None = None,
    token: CancelToken | None = None,
) -> AnswerCounts:
    """Predict those of some strips that the journal lacks. `on_strip` is told of every strip, in the order of rows.

    A token that is cancelled ends it with WorkCancelled; the strips that are finished stay.
    """
    runs = journal.find_missing_runs(strips)
    report_earlier_strips(len(strips) - sum(map(len, runs)), len(strips))
    grid = job.scene.grid
    listener = OrderedListener(on_strip, [journal.files(strip) for strip in strips])
    listener.notify()
    counts = AnswerCounts()
    with track("Predicting", measure_strips(job, runs), "Mpx") as advance:
        for done in share_runs(job, journal, split_runs(runs, len(job.kinds)), token or CancelToken()):
            counts += AnswerCounts(done.known, done.unanswered)
            advance(done.strip.height * grid.width / 1e6)
            listener.notify()
    return counts


def report_earlier_strips(there: int, of: int) -> None:
    if there:
        log.info(f"Going on: {there:,} of {of:,} strips are there already")


def measure_strips(job: Job, runs: Sequence[Sequence[Strip]]) -> float:
    """The megapixels of some runs of strips."""
    return sum(strip.height for run in runs for strip in run) * job.scene.grid.width / 1e6


def report_unanswered(
    job: Job, journal: Journal, strips: Sequence[Strip], counts: AnswerCounts, forget: Callable[[], None]
) -> None:
    """Tell of pixels for which the model gave no number; where no strip has an answer, what was made is forgotten.

    The counts are those of this run; an earlier one may have got answers to other strips.
    """
    if not counts.unanswered:
        return
    name, kind, share = job.model.card.name, job.kinds[0], counts.unanswered / counts.known
    if share == 1 and not any(holds_answer(journal.files(strip)) for strip in strips):
        forget()
        raise GeosegError(
            f"{name}: answers with no number (NaN) for every pixel, in {kind}; try `precision` fp32 or another `engine`, or "
            "get the model again"
        )
    log.warning(f"{name}: answers with no number (NaN) for {share:.2%} of the pixels, which count as unknown")


def holds_answer(files: StripFiles) -> bool:
    """Whether anything is known of a finished strip."""
    with open_quietly(files.classes) as dataset:
        return bool((dataset.read(1) != NODATA).any())


class OrderedListener:
    """Tells of strips in the order of rows, however they are finished."""

    def __init__(self, listener: StripListener | None, files: Sequence[StripFiles]) -> None:
        self.listener = listener
        self.waiting = list(reversed(files))

    def notify(self) -> None:
        while self.waiting and self.waiting[-1].exist:
            files = self.waiting.pop()
            if self.listener:
                self.listener(files)


def split_runs(runs: Sequence[Sequence[Strip]], workers: int) -> list[Sequence[Strip]]:
    """Enough runs for all workers to have some to the end; a single worker walks the runs as they are."""
    if workers == 1:
        return list(runs)
    size = max(1, sum(map(len, runs)) // (workers * 4))
    return [run[i : i + size] for run in runs for i in range(0, len(run), size)]


def share_runs(
    job: Job, journal: Journal, runs: Sequence[Sequence[Strip]], token: CancelToken
) -> Iterator[StripReport]:
    """All devices take runs from one queue; finished strips come back in any order."""
    waiting: queue.SimpleQueue[Sequence[Strip]] = queue.SimpleQueue()
    for run in runs:
        waiting.put(run)
    workers = [partial(predict_runs, job, journal, kind, waiting) for kind in job.kinds]
    yield from prefetch(*workers, token=token, depth=2)


def predict_runs(
    job: Job,
    journal: Journal,
    kind: RuntimeKind,
    waiting: queue.SimpleQueue[Sequence[Strip]],
    token: CancelToken,
) -> Iterator[StripReport]:
    """One device's work: take runs from the queue, predict them, keep the answers."""
    runtime = job.open_runtime(kind)
    batch = job.batch or journal.note(
        "batch", find_largest_batch(runtime, job.plan, len(job.scene.bands), job.scene.dtype)
    )
    predictor = Predictor(runtime, job.plan, job.decision, job.normalisation.neutral, batch)
    with suppress(queue.Empty):
        while True:
            run = waiting.get_nowait()
            for answer in prefetch(partial(predict_run, job, predictor, run), token=token):
                journal.keep(answer, job.scene.grid)
                yield StripReport(answer.strip, answer.known, answer.unanswered)


def predict_run(
    job: Job, predictor: Predictor, run: Sequence[Strip], token: CancelToken
) -> Iterator[StripAnswer]:
    yield from predictor.run(prefetch(partial(read_strips, job, run), token=token), token)


def read_strips(job: Job, run: Sequence[Strip], token: CancelToken) -> Iterator[StripPixels]:
    """Read what the patches of consecutive strips look at."""
    with job.scene.open() as reader:
        for strip in run:
            token.check()
            yield read_strip(job, reader, strip, begins_run=strip is run[0])


def read_strip(job: Job, reader: SceneReader, strip: Strip, begins_run: bool) -> StripPixels:
    patch_rows = job.plan.strip_patches(strip)
    if begins_run and patch_rows.start > 0:
        patch_rows = range(patch_rows.start - 1, patch_rows.stop)
    first, stop = job.plan.rows_read(patch_rows)
    pixels = reader.read(Window(first, 0, stop - first, job.plan.width))
    return StripPixels(strip, patch_rows, pixels.values, pixels.valid)


Redraw = Callable[[Grid, RasterStrips], RasterStrips]


@dataclass(frozen=True)
class RasterOutputs:
    """The rasters that are asked for.

    `probability` gets the channels of the classes, `all_outputs` the separators as well. `redraw` makes of the classes, on
    the grid that the mask is to have, what the mask holds.
    """

    mask: Path | None = None
    probability: Path | None = None
    all_outputs: Path | None = None
    redraw: Redraw | None = None


def write_mosaics(
    job: Job, journal: Journal, outputs: RasterOutputs, delivery: Delivery | None = None
) -> None:
    """Join the finished strips to the rasters that were asked for, all at the same time.

    Rasters of a picture that lies nowhere, and every PNG, have the pixels of the image itself: only so do they lie over it.
    """
    files = [journal.files(strip) for strip in job.plan.strips]
    card = job.model.card
    tags = make_tags(job.parameters)
    drawn = {"mask_from": "footprints"} if outputs.redraw else {}
    classes = MosaicLayer(("class",), palette=Palette(card.classes), tags=make_tags(job.parameters | drawn))
    probabilities, everything = (
        MosaicLayer(bands, scale=1 / PROBABILITY_STEPS, tags=tags)
        for bands in (card.outputs[: card.class_channels], card.outputs)
    )
    class_strips = [(f.strip, f.classes) for f in files]
    output_strips = [(f.strip, f.probabilities) for f in files]
    rasters = (
        (outputs.mask, classes, class_strips, outputs.redraw),
        (outputs.probability, probabilities, output_strips, None),
        (outputs.all_outputs, everything, output_strips, None),
    )
    with ThreadPoolExecutor() as pool:
        written = [
            pool.submit(
                write_mosaic, path, layer, *place_strips(job, journal, path, strips, redraw), delivery
            )
            for path, layer, strips, redraw in rasters
            if path
        ]
        for mosaic in written:
            mosaic.result()


def make_tags(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a raster tells of its making."""
    return {"GEOSEG": json.dumps(parameters, sort_keys=True), "AREA_OR_POINT": "Area"}


def place_strips(
    job: Job, journal: Journal, path: Path, strips: RasterStrips, redraw: Redraw | None
) -> tuple[Grid, RasterStrips]:
    """The grid that a raster is to have, and its strips on it."""
    grid = job.scene.grid
    if job.scene.is_resampled and (is_png(path) or not grid.is_placed):
        grid, strips = job.scene.native, resample_strips(grid, strips, job.scene.native, journal.folder)
    return grid, redraw(grid, strips) if redraw else strips
