"""A run of the network in a thread of its own: what it is at, how long it will take, and how it is stopped.

Runs of all sessions take turns: two at a time would share one processor and take twice the memory.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal

from geoseg.app.forms import show_labels
from geoseg.app.scenes import SceneFile, draw_example
from geoseg.errors import GeosegError
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.inference.options import PredictOptions
from geoseg.inference.threads import CancelToken, WorkCancelled
from geoseg.models.card import Card
from geoseg.models.store import find_model
from geoseg.progress import Advance, use_reporter
from geoseg.raster.grid import Grid
from geoseg.workflows.infer import InferResult, infer_scene
from geoseg.workflows.options import InferOptions

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "finished", "stopped", "failed"]
TURN = threading.Lock()
POLL_S = 0.2
MOST_MODELS = 4


@dataclass(frozen=True)
class Progress:
    """How far a task is: `share` from 0 to 1."""

    what: str
    share: float = 0.0
    seconds_left: float | None = None

    def __str__(self) -> str:
        if self.seconds_left is None:
            return self.what
        return f"{self.what}: {self.share:.0%}, {timedelta(seconds=round(self.seconds_left))} left"


@dataclass(frozen=True)
class FinishedRun:
    """What a run left behind in its folder."""

    scene: SceneFile
    options: InferOptions
    result: InferResult
    warnings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        assert self.result.out
        return self.result.out.parent

    @property
    def buildings(self) -> Path:
        return self.folder / "buildings.gpkg"

    @property
    def mask(self) -> Path:
        return self.folder / "mask.tif"

    @property
    def probability(self) -> Path:
        return self.folder / "probability.tif"

    @property
    def outputs(self) -> Path:
        """Every output of the model: what footprints are made of, with boundary and distance where it tells them."""
        kept = self.folder / "outputs.tif"
        return kept if kept.exists() else self.probability

    @property
    def card(self) -> Card:
        assert self.result.job
        return self.result.job.model.card

    @property
    def image_grid(self) -> Grid:
        """The image's own pixels, where they lie for the run."""
        assert self.result.job
        return self.result.job.scene.native

    @property
    def threshold(self) -> float | None:
        """From which probability on a pixel is a building; none where the likeliest of several classes is taken."""
        assert self.result.job
        return self.result.job.threshold if self.card.class_channels == 1 else None

    @property
    def min_area_m2(self) -> float | None:
        """The smallest footprint, where it was asked for or the model's card tells it."""
        return self.card.min_area_m2 if self.options.min_area_m2 is None else self.options.min_area_m2


class Run:
    """A run that has been asked for. It is over when `state` is neither waiting nor running."""

    def __init__(self, scene: SceneFile, folder: Path, options: InferOptions, parent: CancelToken) -> None:
        self.scene = scene
        self.folder = folder
        self.options = options
        self.token = CancelToken(parent)
        self.state: State = "waiting"
        self.progress = Progress("Waiting for a run of somebody else")
        self.error = ""
        self.finished: FinishedRun | None = None
        self._thread = threading.Thread(target=self._work, name="geoseg-app-run", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end soon."""
        self.token.cancel()

    def wait(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "running")

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float) -> Iterator[Advance]:
        """Follow a task of the workflow, as its reporter."""
        del unit
        started, first = time.monotonic(), done
        self.progress = Progress(what)

        whole = total

        def tick(amount: float, note: str = "", total: float | None = None) -> None:
            nonlocal done, whole
            done, whole = done + amount, total or whole
            left = (time.monotonic() - started) * (whole - done) / max(done - first, 1e-9)
            self.progress = Progress(what, min(1.0, done / whole), max(0.0, left))

        yield tick

    def _work(self) -> None:
        try:
            with take_turn(self.token):
                self.state = "running"
                self._find_buildings()
            self.state = "finished"
        except WorkCancelled:
            self._give_up("stopped")
        except GeosegError as error:
            self.error = show_labels(str(error)).replace(f"{self.scene.path}", self.scene.name)
            self._give_up("failed")
        except Exception:
            log.exception("A run of the app failed")
            self.error = "Something went wrong that nobody foresaw; the server's log says what."
            self._give_up("failed")

    def _find_buildings(self) -> None:
        if self.scene.origin == "example":
            self.progress = Progress("Drawing the example")
            draw_example(self.scene)
        self.progress = Progress("Loading the model")
        loaded = load_once(self.options.model)
        kept = self.folder / "outputs.tif" if loaded.model.card.separators else None
        asked = replace(
            self.options,
            mask=self.folder / "mask.tif",
            probability=self.folder / "probability.tif",
            all_outputs=kept,
        )
        with use_reporter(self), gather_warnings() as warnings:
            out = self.folder / "buildings.gpkg"
            result = infer_scene([str(self.scene.path)], out, asked, loaded, self.token)
        self.token.check()
        self.finished = FinishedRun(self.scene, self.options, result, tuple(warnings))

    def _give_up(self, state: State) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.state = state


@contextmanager
def take_turn(token: CancelToken) -> Iterator[None]:
    """Wait until no other run is at work."""
    while not TURN.acquire(timeout=POLL_S):
        token.check()
    try:
        token.check()
        yield
    finally:
        TURN.release()


@lru_cache(maxsize=MOST_MODELS)
def load_once(name: str) -> LoadedModel:
    """A model that is ready to run, for all sessions."""
    return load_model(find_model(name), PredictOptions(model=name))


class WarningCollector(logging.Handler):
    """Keeps what this thread is warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.lines.append(show_labels(record.getMessage()))


@contextmanager
def gather_warnings() -> Iterator[list[str]]:
    """What geoseg warns of inside this block, in this thread."""
    collector, logger = WarningCollector(), logging.getLogger("geoseg")
    logger.addHandler(collector)
    try:
        yield collector.lines
    finally:
        logger.removeHandler(collector)
