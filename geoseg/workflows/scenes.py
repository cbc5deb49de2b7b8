"""From many scenes to a result for each, in one process: the model is loaded once, and what is finished is not done again.

A manifest beside the results tells of every scene what came of it. A line is added before and after each scene; of several
lines of a scene the last one counts.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg import __version__
from geoseg.errors import GeosegError, InputError
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.io.access import Output, check_folder, check_outputs, lock_folder
from geoseg.io.addresses import read_source_state
from geoseg.io.atomic import explain_write_errors, replace_text
from geoseg.models.store import find_model
from geoseg.progress import Advance, list_names, speak_of_problems_only, track, use_reporter
from geoseg.raster.dates import read_listed_dates
from geoseg.raster.lists import list_single_scenes, name_scenes
from geoseg.raster.source import is_picture, open_raster
from geoseg.workflows.infer import MASK_SUFFIXES, InferResult, infer_scene
from geoseg.workflows.results import format_html_table

if TYPE_CHECKING:
    from geoseg.workflows.options import InferOptions

log = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
FOOTPRINTS = ".gpkg"
MOST_LISTED = 20
"""Failed scenes that are listed at the end; all of them are in the manifest."""
RASTERS = ("mask", "probability", "all_outputs")


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
class SceneRecord:
    """A line of the manifest: a scene, where its outputs are, and what came of it.

    `status` is done, failed, or started: by a run that was killed. `key` changes with the scene and the options.
    """

    scene: str
    status: str
    footprints: int | None = None
    area_m2: float | None = None
    area_px: float | None = None
    seconds: float | None = None
    out: str = ""
    mask: str = ""
    probability: str = ""
    all_outputs: str = ""
    reason: str = ""
    key: str = ""

    @property
    def outputs(self) -> dict[str, Path]:
        """The files, by what they are."""
        named = {name: getattr(self, name) for name in ("out", *RASTERS)}
        return {name: Path(path) for name, path in named.items() if path}

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be written is there."""
        return self.status == "done" and all(path.exists() for path in self.outputs.values())

    @classmethod
    def parse(cls, row: Mapping[str, str]) -> SceneRecord:
        """A line as it is read."""
        values: dict[str, Any] = dict(row)
        for name in ("area_m2", "area_px", "seconds"):
            values[name] = float(row[name]) if row[name] else None
        values["footprints"] = int(row["footprints"]) if row["footprints"] else None
        return cls(**values)


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
        lines = [
            f"{self.manifest}: {len(self.done):,} of {len(self.scenes):,} scenes done{earlier}; {self.count:,} footprints"
        ]
        return "\n".join([*lines, *([str(self.coco)] if self.coco else [])])

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
    paths: Sequence[str], out: str | os.PathLike[str] | None, options: InferOptions, dry_run: bool = False
) -> ScenesResult:
    """Find the buildings of many scenes, each by itself. One that fails is noted, and the rest is done all the same."""
    folders = OutputFolders.of(out, options)
    scenes = list_single_scenes(paths)
    if dry_run:
        raise InputError(
            f"`dry_run`: tells of one scene; give one of the {len(scenes)}, and a file for `out`"
        )
    if options.coco:
        check_coco(options)
    loaded = load_model(find_model(options.model), options)
    folders.make()
    with lock_folder(folders.manifest.parent):
        dates = {} if options.date else read_listed_dates(paths)
        batch = SceneBatch(folders, options, loaded, Manifest.open(folders.manifest), dates)
        records, earlier = batch.run(scenes)
    report_failures([each for each in records if each.status == "failed"], folders.manifest)
    coco = write_results(options, loaded, records)
    return ScenesResult(folders.manifest, tuple(records), earlier, coco)


def check_coco(options: InferOptions) -> None:
    """Refuse early a COCO file that could not be written, or numbers for it that cannot be read."""
    from geoseg.footprints.write.coco import CocoImages

    assert options.coco is not None
    # It is made anew of all footprints each time.
    check_outputs([Output("a COCO file", options.coco, (".json",), may_exist=True)], [])
    CocoImages.open(options.coco_images)


def write_results(options: InferOptions, loaded: LoadedModel, records: Sequence[SceneRecord]) -> Path | None:
    """Put the footprints of all scenes into one COCO file, where that is asked for."""
    if options.coco is None:
        return None
    from geoseg.footprints.write.coco import CocoImages, write_coco

    images = CocoImages.open(options.coco_images)
    names = [entry.name for entry in loaded.model.card.classes[1:]]
    done = [(each.scene, Path(each.out)) for each in records if each.status == "done"]
    write_coco(options.coco, done, names, images)
    return options.coco


def report_failures(failed: Sequence[SceneRecord], manifest: Path) -> None:
    """List the scenes that failed, each with its reason."""
    if not failed:
        return
    listed = "".join(f"\n  {each.scene}: {each.reason}" for each in failed[:MOST_LISTED])
    more = f"\n  and {len(failed) - MOST_LISTED} more, in {manifest}" if len(failed) > MOST_LISTED else ""
    log.warning(
        f"{len(failed)} scene{'' if len(failed) == 1 else 's'} failed; the same command tries them again:{listed}{more}"
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
class SceneBatch:
    """Scenes that are worked through one after another."""

    folders: OutputFolders
    options: InferOptions
    loaded: LoadedModel
    manifest: Manifest
    dates: Mapping[str, str]
    """When scenes were taken, where a catalogue names them."""

    @property
    def scene_options(self) -> InferOptions:
        """What is asked of each scene."""
        return replace(self.options, coco=None, coco_images=None)

    def run(self, scenes: Sequence[str]) -> tuple[list[SceneRecord], int]:
        """A record for each scene, and how many of them were finished earlier."""
        records: list[SceneRecord] = []
        earlier = 0
        with track("Scenes", len(scenes), "scenes") as done:
            for scene, name in zip(scenes, name_scenes(scenes), strict=True):
                key = self.make_key(scene)
                record = self.manifest.find(scene, key)
                if record is not None and record.is_whole:
                    earlier += 1
                    done(1, name)
                else:
                    with follow_part(done, name), speak_of_problems_only(len(records) > earlier):
                        record = self.infer(scene, name, key, may_replace=record is not None)
                records.append(record)
        self.manifest.finish(records)
        return records, earlier

    def infer(self, scene: str, name: str, key: str, may_replace: bool) -> SceneRecord:
        """Work on one scene. What an earlier run of the same command left of it may be replaced."""
        try:
            outputs = self.folders.place(scene, name)
            named: dict[str, Any] = {each: str(path) for each, path in outputs.items()}
            self.manifest.add(SceneRecord(scene, "started", key=key, **named))
            rasters = {each: path for each, path in outputs.items() if each != "out"}
            overwrite = self.options.overwrite or may_replace
            date = self.dates.get(scene, self.options.date)
            options = self.scene_options.replace({**rasters, "overwrite": overwrite, "date": date})
            record = make_record(
                scene, key, infer_scene([scene], outputs.get("out"), options, self.loaded), named
            )
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one scene, the others are delivered
            reason = str(error) if isinstance(error, GeosegError) else f"{type(error).__name__}: {error}"
            record = SceneRecord(
                scene, "failed", reason=" ".join(reason.removeprefix(f"{scene}: ").split()), key=key
            )
        self.manifest.add(record)
        return record

    def make_key(self, scene: str) -> str:
        """Changes whenever the scene, the model or an option changes."""
        asked = replace(self.scene_options, overwrite=False).to_toml()
        everything = [__version__, self.loaded.model.fingerprint, read_source_state(scene), asked]
        everything += [self.dates[scene]] if scene in self.dates else []
        return hashlib.sha256(json.dumps(everything).encode()).hexdigest()[:12]


def make_record(scene: str, key: str, result: InferResult, outputs: Mapping[str, Any]) -> SceneRecord:
    counts = result.counts
    return SceneRecord(
        scene,
        "done",
        counts.footprints if counts else None,
        counts.area_m2 if counts else None,
        counts.area_px if counts else None,
        round(result.seconds, 3),
        key=key,
        **outputs,
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


@dataclass(frozen=True)
class Manifest:
    """The CSV file that tells of every scene what came of it."""

    path: Path
    known: dict[str, SceneRecord]

    @classmethod
    def open(cls, path: Path) -> Manifest:
        """What earlier runs noted; a line that a killed run left half-written is passed over."""
        manifest = cls(path, {each.scene: each for each in read_records(path)})
        manifest.finish(())
        return manifest

    def find(self, scene: str, key: str) -> SceneRecord | None:
        """What an earlier run with the same options noted of a scene as it is now."""
        record = self.known.get(scene)
        return record if record is not None and record.key == key and record.status != "failed" else None

    def add(self, record: SceneRecord) -> None:
        """Note what came of a scene."""
        self.known[record.scene] = record
        with explain_write_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(format_rows([record]))

    def finish(self, records: Sequence[SceneRecord]) -> None:
        """Write it anew: one line for each scene, those of this run first and in their order."""
        first = {each.scene: each for each in records}
        ordered = first | {scene: each for scene, each in self.known.items() if scene not in first}
        replace_text(self.path, ",".join(COLUMNS) + "\n" + format_rows(list(ordered.values())))


COLUMNS = tuple(column.name for column in fields(SceneRecord))


def format_rows(records: Sequence[SceneRecord]) -> str:
    """Records as lines of CSV."""
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(asdict(record) for record in records)
    return text.getvalue()


def read_records(path: Path) -> Iterator[SceneRecord]:
    """The whole lines of a manifest."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path}: is no manifest of geoseg infer; move it away, or give another folder")
        for row in rows:
            if None not in row.values() and None not in row:
                yield SceneRecord.parse(row)
