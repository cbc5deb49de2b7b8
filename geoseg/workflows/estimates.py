"""What a run over many scenes will take, before it is begun: a line for each scene, and totals. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import GeosegError
from geoseg.inference.estimate import Estimate, PatchTimer, estimate_job
from geoseg.inference.loaded import load_model
from geoseg.inference.manifest import plan_like_parts
from geoseg.models.store import find_model
from geoseg.progress import speak_of_problems_only, track
from geoseg.raster.lists import list_single_scenes, name_scenes
from geoseg.workflows.infer import check_infer_outputs, describe_infer, find_journal
from geoseg.workflows.manifest import Manifest
from geoseg.workflows.scenes import (
    OutputFolders,
    SceneBatch,
    check_coco,
    find_dates,
    parse_shard,
    shorten_failure,
)

if TYPE_CHECKING:
    from geoseg.workflows.options import InferOptions

HEADER = ("Scene", "Patches", "Memory", "Disk", "Time")


@dataclass(frozen=True)
class SceneEstimate:
    """What one scene will take; no figures where it is done already, or cannot be."""

    scene: str
    needed: Estimate | None = None
    problem: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of the table for people."""
        if self.needed is None:
            return self.scene, self.problem or "done already"
        return self.scene, f"{self.needed.patches:,}", *self.needed.sizes

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        status = "failed" if self.problem else "waiting" if self.needed else "done"
        figures = self.needed.summary if self.needed else {}
        return {"scene": self.scene, "status": status, "reason": self.problem, **figures}


@dataclass(frozen=True)
class ScenesEstimate:
    """What many scenes will take, one after another."""

    scenes: tuple[SceneEstimate, ...]

    @property
    def waiting(self) -> list[Estimate]:
        return [each.needed for each in self.scenes if each.needed]

    @property
    def total(self) -> Estimate:
        """The most memory that one needs; the time of all; the disk for all results and the strips of the largest."""
        memory = max((each.memory_bytes for each in self.waiting), default=0)
        # Half of what a scene needs are strips, which go when its result is there.
        halves = [each.disk_bytes // 2 for each in self.waiting]
        seconds = sum(each.seconds for each in self.waiting)
        patches = sum(each.patches for each in self.waiting)
        return Estimate(memory, sum(halves) + max(halves, default=0), seconds, patches)

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        total = self.total
        return {
            "scenes": [each.summary for each in self.scenes],
            "waiting": len(self.waiting),
            "done": sum(each.needed is None and not each.problem for each in self.scenes),
            "failed": sum(bool(each.problem) for each in self.scenes),
            "patches": total.patches,
            "memory_bytes": total.memory_bytes,
            "disk_bytes": total.disk_bytes,
            "seconds": total.seconds,
        }

    def __str__(self) -> str:
        total = self.total
        named = f"{len(self.waiting):,} of {len(self.scenes):,} scenes"
        rows = [HEADER, *(each.cells for each in self.scenes), (named, f"{total.patches:,}", *total.sizes)]
        return format_columns(rows)


def format_columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns that line up; a row of two cells tells something in words."""
    whole = [row for row in rows if len(row) == len(HEADER)]
    first = max(len(row[0]) for row in rows)
    widths = [max(len(row[i]) for row in whole) for i in range(1, len(HEADER))]
    return "\n".join("  ".join([row[0].ljust(first), *align_cells(row[1:], widths)]).rstrip() for row in rows)


def align_cells(cells: tuple[str, ...], widths: Sequence[int]) -> Iterator[str]:
    if len(cells) < len(widths):
        yield from cells
        return
    yield from (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def estimate_scenes(
    paths: Sequence[str], out: str | os.PathLike[str] | None, options: InferOptions
) -> ScenesEstimate:
    """Tell what `infer_scenes` would do, and what it would take in this process."""
    folders = OutputFolders.of(out, options)
    scenes = list_single_scenes(paths)
    if options.coco:
        check_coco(options, scenes)
    manifest = Manifest.read(folders.manifest, parse_shard(options))
    loaded = load_model(find_model(options.model), options)
    batch = SceneBatch(folders, options, loaded, manifest, find_dates(paths, options))
    names, timer = name_scenes(scenes), PatchTimer()
    found: list[SceneEstimate] = []
    with track("Looking", len(scenes), "scenes") as done:
        for number in batch.choose_numbers(scenes):
            with speak_of_problems_only(bool(found)):
                found.append(estimate_scene(batch, scenes[number], names[number], timer))
            done(1, names[number])
    return ScenesEstimate(tuple(found))


def estimate_scene(batch: SceneBatch, scene: str, name: str, timer: PatchTimer) -> SceneEstimate:
    """What one scene of many would take, or why it cannot be done."""
    try:
        record = batch.manifest.find(scene, batch.make_key(scene))
        if record and record.is_whole:
            return SceneEstimate(scene)
        outputs = batch.folders.place(scene, name)
        first = next(iter(outputs.values()))
        if first.parent.is_dir():
            check_scene_outputs(batch, scene, outputs, record is not None)
        job = plan_like_parts([scene], first, batch.scene_options, batch.loaded)
        journal = find_journal(job, first, outputs.get("out"), batch.scene_options)
        return SceneEstimate(scene, estimate_job(job, journal, timer))
    except GeosegError as error:
        return SceneEstimate(scene, problem=shorten_failure(scene, str(error)))


def check_scene_outputs(batch: SceneBatch, scene: str, outputs: Mapping[str, Path], is_own: bool) -> None:
    """Refuse what may not be replaced; where a folder is still to be made, there is nothing to replace."""
    files = dict(outputs)
    out = files.pop("out", None)
    asked = batch.scene_options.replace({**files, "overwrite": batch.options.overwrite or is_own})
    check_infer_outputs([scene], out, asked, describe_infer([scene], out, asked))
