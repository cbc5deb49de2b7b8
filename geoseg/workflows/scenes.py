"""From many scenes to a result for each, in one process: the model is loaded once, and what is finished is not done again.

A manifest beside the results tells of every scene what came of it. A line is added before and after each scene; of several
lines of a scene the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg import __version__
from geoseg.cluster.place import share_place
from geoseg.cluster.shards import Shard
from geoseg.cluster.worker import recall_model
from geoseg.cluster.workers import open_workers
from geoseg.errors import GeosegError, InputError
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.io.access import Output, check_folder, check_outputs, lock_folder, share_folder
from geoseg.io.addresses import digest_layer, read_source_state
from geoseg.io.atomic import explain_write_errors
from geoseg.models.store import find_model
from geoseg.progress import Advance, format_count, list_names, speak_of_problems_only, track, use_reporter
from geoseg.raster.dates import read_listed_dates
from geoseg.raster.lists import list_single_scenes, name_scenes
from geoseg.raster.source import is_picture, open_raster
from geoseg.workflows.infer import MASK_SUFFIXES, infer_scene
from geoseg.workflows.manifest import RASTERS, Manifest, SceneRecord
from geoseg.workflows.results import FootprintCounts, format_html_table
from geoseg.workflows.strips import (
    load_workers_model,
    make_absolute,
    make_layer_absolute,
    take_predict_options,
)

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers
    from geoseg.workflows.options import InferOptions

log = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
FOOTPRINTS = ".gpkg"
MOST_LISTED = 20
"""Failed scenes that are listed at the end; all of them are in the manifest."""


def is_folder(path: str | os.PathLike[str] | None) -> bool:
    """Whether an output is a folder: one that is there, or a name that ends in a separator."""
    if path is None:
        return False
    ends = tuple(filter(None, ("/", os.sep, os.altsep)))
    return os.fspath(path).endswith(ends) or Path(path).is_dir()


def wants_folder(out: str | os.PathLike[str] | None, options: InferOptions) -> bool:
    """Whether each scene is to have outputs of its own, in folders."""
    return is_folder(out) or any(names_folder(path) for path in list_rasters(options).values())


def list_rasters(options: InferOptions) -> dict[str, Path]:
    """The rasters that are asked for, by their options."""
    asked = {name: getattr(options, name) for name in RASTERS}
    return {name: path for name, path in asked.items() if path}


def names_folder(path: Path) -> bool:
    """Whether a raster's path is that of a folder: a name without an ending, or one that is there."""
    return path.suffix.lower() not in MASK_SUFFIXES and (path.is_dir() or not path.suffix)


@dataclass(frozen=True)
class ScenesResult:
    """What came of many scenes, one result for each."""

    manifest: Path
    scenes: tuple[SceneRecord, ...]
    earlier: int = 0
    """How many of them an earlier run had finished."""
    coco: Path | None = None

    @property
    def done(self) -> tuple[SceneRecord, ...]:
        return tuple(each for each in self.scenes if each.status == "done")

    @property
    def failed(self) -> tuple[SceneRecord, ...]:
        return tuple(each for each in self.scenes if each.status == "failed")

    @property
    def count(self) -> int:
        """How many buildings there are in all scenes."""
        return sum(each.footprints or 0 for each in self.done)

    @property
    def area_m2(self) -> float:
        """What they cover where that is known in square metres."""
        return sum(each.area_m2 or 0.0 for each in self.done)

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "manifest": str(self.manifest),
            "coco": self.coco and str(self.coco),
            "done": len(self.done),
            "earlier": self.earlier,
            "failed": len(self.failed),
            "footprints": self.count,
            "area_m2": self.area_m2,
            "scenes": [asdict(each) for each in self.scenes],
        }

    def __str__(self) -> str:
        earlier = f", {self.earlier:,} of them earlier" if self.earlier else ""
        done = f"{len(self.done):,} of {format_count(len(self.scenes), 'scene')} done{earlier}"
        lines = [f"{self.manifest}: {done}; {format_count(self.count, 'footprint')}"]
        return "\n".join([*lines, *([str(self.coco)] if self.coco else [])])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """How Jupyter shows it."""
        return format_html_table(
            {
                "Scenes": f"{len(self.done):,} of {len(self.scenes):,}",
                "Buildings": f"{self.count:,}",
                "Manifest": str(self.manifest),
            }
        )


def infer_scenes(
    paths: Sequence[str], out: str | os.PathLike[str] | None, options: InferOptions
) -> ScenesResult:
    """Find the buildings of many scenes, each by itself. One that fails is noted, and the rest is done all the same."""
    folders = OutputFolders.of(out, options)
    scenes = list_single_scenes(paths)
    if options.coco:
        check_coco(options, scenes)
    shard = parse_shard(options)
    with open_workers(options) as workers:
        loaded = (
            load_workers_model(workers, options)
            if workers
            else load_model(find_model(options.model), options)
        )
        folders.make()
        folder = folders.manifest.parent
        with share_folder(folder, shard.name) if shard else lock_folder(folder):
            manifest = Manifest.open(folders.manifest, shard)
            batch = SceneBatch(folders, options, loaded, manifest, find_dates(paths, options), workers)
            records, earlier = batch.run(scenes)
    report_failures([each for each in records if each.status == "failed"], manifest.path)
    coco = None if shard else write_results(options, loaded, records)
    return ScenesResult(manifest.path, tuple(records), earlier, coco)


def parse_shard(options: InferOptions) -> Shard | None:
    return Shard.parse(options.shard) if options.shard is not None else None


def find_dates(paths: Sequence[str], options: InferOptions) -> Mapping[str, str]:
    """When scenes were taken, where catalogues among the paths tell it and the user does not."""
    return {} if options.date else read_listed_dates(paths)


def check_coco(options: InferOptions, scenes: Sequence[str]) -> None:
    """Refuse early a COCO file that could not be written, or numbers for it that cannot be read or lack a scene."""
    from geoseg.footprints.write.coco import CocoImages, name_image

    assert options.coco is not None
    # It is made anew of all footprints each time.
    check_outputs([Output("a COCO file", options.coco, (".json",), may_exist=True)], [])
    images = CocoImages.open(options.coco_images)
    if images:
        for scene in scenes:
            images.find_image(name_image(scene))


def write_results(options: InferOptions, loaded: LoadedModel, records: Sequence[SceneRecord]) -> Path | None:
    """Put the footprints of all scenes into one COCO file, where that is asked for."""
    if options.coco is None:
        return None
    from geoseg.footprints.write.coco import CocoImages, write_coco

    images = CocoImages.open(options.coco_images)
    names = [entry.name for entry in loaded.model.card.classes[1:]]
    done = [(each.scene, Path(each.out)) for each in records if each.status == "done"]
    write_coco(options.coco, done, names, images, options.assume_crs)
    return options.coco


def report_failures(failed: Sequence[SceneRecord], manifest: Path) -> None:
    """List the scenes that failed, each with its reason."""
    if not failed:
        return
    listed = "".join(f"\n  {each.scene}: {each.reason}" for each in failed[:MOST_LISTED])
    more = f"\n  and {len(failed) - MOST_LISTED} more, in {manifest}" if len(failed) > MOST_LISTED else ""
    log.warning(
        f"{format_count(len(failed), 'scene')} failed; the same command tries them again:{listed}{more}"
    )


@dataclass(frozen=True)
class OutputFolders:
    """Where the outputs of each scene go."""

    out: Path | None
    rasters: Mapping[str, Path]

    @classmethod
    def of(cls, out: str | os.PathLike[str] | None, options: InferOptions) -> OutputFolders:
        """The folders that are asked for, or one line on why they cannot be used."""
        rasters = list_rasters(options)
        asked = {**({"out": Path(out)} if out else {}), **rasters}
        files = [f"`{name}` {path}" for name, path in rasters.items() if not names_folder(path)]
        files += [f"`out` {out}"] if out and not is_folder(out) else []
        if files:
            raise InputError(
                f"{list_names(files)}: names a file where others name a folder for many scenes; give a folder for each"
            )
        for name, path in rasters.items():
            if sum(os.path.realpath(path) == os.path.realpath(other) for other in rasters.values()) > 1:
                raise InputError(
                    f"`{name}` {path}: named for two kinds of rasters; give each a folder of its own"
                )
        for name, page in (("qgis_project", options.qgis_project), ("report", options.report)):
            if page:
                raise InputError(f"`{name}` {page}: shows one scene; leave it out with a folder")
        if options.coco and not out:
            raise InputError(f"`coco` {options.coco}: holds footprints; give `out` results/ as well")
        for path in asked.values():
            check_folder(path)
        return cls(Path(out) if out else None, rasters)

    @property
    def manifest(self) -> Path:
        return (self.out or next(iter(self.rasters.values()))) / MANIFEST

    def make(self) -> None:
        for folder in filter(None, (self.out, *self.rasters.values())):
            with explain_write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)

    def place(self, scene: str, name: str) -> dict[str, Path]:
        """The outputs of a scene: footprints as GeoPackage, masks of pictures without a place as PNG."""
        with open_raster(scene, scene) as dataset:
            mask = ".png" if is_picture(dataset) else ".tif"
        files = {
            each: folder / f"{name}{mask if each == 'mask' else '.tif'}"
            for each, folder in self.rasters.items()
        }
        return {**({"out": self.out / f"{name}{FOOTPRINTS}"} if self.out else {}), **files}


@dataclass(frozen=True)
class Waiting:
    """A scene that is to be done: its place among the others, and where its outputs go."""

    number: int
    scene: str
    name: str
    key: str
    outputs: Mapping[str, Path]
    may_replace: bool


@dataclass(frozen=True)
class SceneTask:
    """A scene of many, for any process that sees the files."""

    waiting: Waiting
    scene: str
    outputs: Mapping[str, Path]
    options: InferOptions
    fingerprint: str


@dataclass(frozen=True)
class SceneOutcome:
    """What came of a scene: figures, or the reason why there are none."""

    counts: FootprintCounts | None = None
    seconds: float = 0.0
    failure: str = ""


def work_on_scene(task: SceneTask) -> SceneOutcome:
    """Do a scene in a worker process, which opens the model once."""
    loaded = recall_model(take_predict_options(task.options), task.fingerprint)
    return try_scene(task.scene, task.outputs, task.options, loaded)


def try_scene(
    scene: str, outputs: Mapping[str, Path], options: InferOptions, loaded: LoadedModel
) -> SceneOutcome:
    """Work on one scene; whatever is wrong with it, the others are delivered."""
    try:
        rasters = {name: path for name, path in outputs.items() if name != "out"}
        result = infer_scene([scene], outputs.get("out"), options.replace(rasters), loaded)
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, GeosegError) else f"{type(error).__name__}: {error}"
        return SceneOutcome(failure=shorten_failure(scene, reason))
    return SceneOutcome(result.counts, result.seconds)


def shorten_failure(scene: str, reason: str) -> str:
    """Why a scene failed, in one line and without its name."""
    return " ".join(reason.removeprefix(f"{scene}: ").split())


@dataclass(frozen=True)
class SceneBatch:
    """Scenes that are worked through, one after another or by workers."""

    folders: OutputFolders
    options: InferOptions
    loaded: LoadedModel
    manifest: Manifest
    dates: Mapping[str, str]
    """When scenes were taken, where a catalogue names them."""
    workers: Workers | None = None

    @property
    def scene_options(self) -> InferOptions:
        """What is asked of each scene."""
        return replace(self.options.without_places(), coco=None, coco_images=None)

    def run(self, scenes: Sequence[str]) -> tuple[list[SceneRecord], int]:
        """A record for each scene, and how many of them were finished earlier."""
        records: dict[int, SceneRecord] = {}
        numbers = self.choose_numbers(scenes)
        work = self.work_alone if self.workers is None else self.work_with_workers
        with track("Scenes", len(numbers), "scenes") as done:
            waiting = self.plan_all(numbers, scenes, records, done)
            worked = {each.number: self.note(each, outcome) for each, outcome in work(waiting, done)}
        earlier = sum(each.status == "done" for each in records.values())
        ordered = [(records | worked)[number] for number in numbers]
        self.manifest.finish([scenes[number] for number in numbers])
        return ordered, earlier

    def plan_all(
        self, numbers: Sequence[int], scenes: Sequence[str], records: dict[int, SceneRecord], done: Advance
    ) -> Iterator[Waiting]:
        """Scenes to be done, as they are asked for; those that need no work go into `records`."""
        names = name_scenes(scenes)
        for number in numbers:
            planned = self.plan(number, scenes[number], names[number])
            if isinstance(planned, Waiting):
                yield planned
            else:
                records[number] = planned
                done(1, names[number])

    @property
    def shard(self) -> Shard | None:
        return self.manifest.shard

    def choose_numbers(self, scenes: Sequence[str]) -> Sequence[int]:
        """Which of the scenes are to be looked at: all, or a share of them."""
        return range(len(scenes)) if self.shard is None else self.shard.take_every(range(len(scenes)))

    def plan(self, number: int, scene: str, name: str) -> SceneRecord | Waiting:
        """What is known of a scene that needs no work, or what is to be done about it."""
        key = self.make_key(scene)
        record = self.manifest.find(scene, key)
        if record is not None and record.is_whole:
            return record
        try:
            outputs = self.folders.place(scene, name)
        except GeosegError as error:
            reason = shorten_failure(scene, str(error))
            return self.manifest.add(SceneRecord(scene, "failed", reason=reason, key=key))
        return Waiting(number, scene, name, key, outputs, record is not None or self.options.overwrite)

    def work_alone(self, waiting: Iterable[Waiting], done: Advance) -> Iterator[tuple[Waiting, SceneOutcome]]:
        """Do scenes in this process."""
        for number, each in enumerate(waiting):
            self.note_start(each)
            options = self.choose_options(each, self.scene_options)
            with follow_part(done, each.name), speak_of_problems_only(number > 0):
                outcome = try_scene(each.scene, each.outputs, options, self.loaded)
            yield each, outcome

    def work_with_workers(
        self, waiting: Iterable[Waiting], done: Advance
    ) -> Iterator[tuple[Waiting, SceneOutcome]]:
        """Let workers do scenes, each a task."""
        assert self.workers
        options = replace(self.scene_options, model=make_absolute(self.options.model))
        layers = {name: getattr(options, name) for name in ("regions", "against")}
        options = options.replace({name: make_layer_absolute(path) for name, path in layers.items() if path})
        with share_place(self.manifest.path.parent, self.workers.threads, alone=self.shard is None) as place:
            tasks = (self.make_task(each, options) for each in waiting)
            for task, outcome in self.workers.run(place, work_on_scene, tasks):
                done(1, task.waiting.name)
                yield task.waiting, outcome
        self.workers.report_losses()

    def make_task(self, each: Waiting, options: InferOptions) -> SceneTask:
        """A scene for a worker, with paths that any process understands."""
        self.note_start(each)
        outputs = {name: path.absolute() for name, path in each.outputs.items()}
        asked = self.choose_options(each, options)
        return SceneTask(each, make_absolute(each.scene), outputs, asked, self.loaded.model.fingerprint)

    def choose_options(self, each: Waiting, options: InferOptions) -> InferOptions:
        """What is asked of one scene."""
        date = self.dates.get(each.scene, self.options.date)
        return replace(options, overwrite=each.may_replace, date=date)

    def note_start(self, each: Waiting) -> None:
        """Say that a scene is at work, so that what a killed run leaves of it may be replaced; not what others left."""
        if each.may_replace or not any(path.exists() for path in each.outputs.values()):
            self.manifest.add(SceneRecord(each.scene, "started", key=each.key, **name_outputs(each)))

    def note(self, each: Waiting, outcome: SceneOutcome) -> SceneRecord:
        """Note what came of a scene. What an earlier run delivered stays noted where it may not be replaced."""
        if not outcome.failure:
            return self.manifest.add(make_record(each, outcome))
        failed = SceneRecord(each.scene, "failed", reason=outcome.failure, key=each.key)
        earlier = self.manifest.known.get(each.scene)
        is_kept = earlier is not None and earlier.is_whole and not each.may_replace
        return failed if is_kept else self.manifest.add(failed)

    @cached_property
    def layers(self) -> list[str]:
        """What the layers hold that options name. Where they lie tells nothing: frames of Python get a new file each time."""
        return [
            digest_layer(layer) if layer else "" for layer in (self.options.regions, self.options.against)
        ]

    def make_key(self, scene: str) -> str:
        """Changes whenever the scene, the model, an option or a layer that one names changes."""
        asked = replace(self.scene_options, overwrite=False, regions=None, against=None).to_toml()
        everything = [__version__, self.loaded.model.fingerprint, read_source_state(scene), asked]
        everything += [self.dates[scene]] if scene in self.dates else []
        everything += self.layers if any(self.layers) else []
        return hashlib.sha256(json.dumps(everything).encode()).hexdigest()[:12]


def name_outputs(each: Waiting) -> dict[str, Any]:
    return {name: str(path) for name, path in each.outputs.items()}


def make_record(each: Waiting, outcome: SceneOutcome) -> SceneRecord:
    counts = outcome.counts
    return SceneRecord(
        each.scene,
        "done",
        counts.footprints if counts else None,
        counts.area_m2 if counts else None,
        counts.area_px if counts else None,
        round(outcome.seconds, 3),
        key=each.key,
        **name_outputs(each),
    )


@contextmanager
def follow_part(done: Advance, name: str) -> Iterator[None]:
    """Let the work on one scene move the progress over all of them, by one in the end."""
    part = PartReporter(done, name)
    with use_reporter(part):
        yield
    done(max(0.0, 1 - part.reached), name)


class PartReporter:
    """Takes what is predicted of one scene for a part of one, and other tasks for none."""

    def __init__(self, done: Advance, name: str) -> None:
        self.done = done
        self.name = name
        self.reached = 0.0

    @contextmanager
    def task(self, what: str, total: float, unit: str, done: float) -> Iterator[Advance]:
        """Follow a task of one scene."""
        del unit, done
        whole = total if what == "Predicting" else 0.0

        def advance(amount: float, note: str = "", total: float | None = None) -> None:
            del note, total
            share = min(amount / whole, 1 - self.reached) if whole else 0.0
            self.reached += share
            self.done(share, self.name)

        yield advance
