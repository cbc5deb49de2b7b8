"""Strips of one mask in several processes: each traces some, into a folder of parts beside the output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg import __version__
from geoseg.cluster.place import share_place
from geoseg.io.addresses import read_source_state
from geoseg.parallel import WorkerPool
from geoseg.progress import track
from geoseg.raster.mask import Mask
from geoseg.workflows.options import VectorizeOptions
from geoseg.workflows.strips import make_absolute
from geoseg.workflows.traced import TracedParts
from geoseg.workflows.tracer import MaskFacts, MaskRows, make_tracer

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers

IRRELEVANT = {"overwrite", "qgis_project", "image", "regions", "region_id", "workers", "dask", "shard"}
"""Options on which no traced outline depends."""


@dataclass(frozen=True)
class MaskWork:
    """The strips of a mask, and where what is traced of them is kept."""

    strips: tuple[MaskRows, ...]
    parts: TracedParts


@dataclass(frozen=True)
class RowsTask:
    """Some strips of a mask, for any process that sees the files."""

    parts: TracedParts
    strips: tuple[MaskRows, ...]


def work_on_rows(task: RowsTask) -> int:
    """Trace the strips of a task that are not there yet."""
    for strip in task.strips:
        task.parts.keep(strip)
    return len(task.strips)


def plan_mask_work(mask: Mask, facts: MaskFacts, out: Path, options: VectorizeOptions) -> MaskWork:
    """What is to be traced, with paths that any process understands."""
    folder = find_mask_folder(mask, facts, out, options)
    placed = replace(mask, path=make_absolute(mask.path))
    if mask.probability:
        placed = replace(
            placed, probability=replace(mask.probability, path=make_absolute(mask.probability.path))
        )
    strips = tuple(MaskRows(placed, rows, rows.start) for rows in mask.strips(options.strip_rows))
    return MaskWork(strips, TracedParts(make_tracer(mask.grid, options, facts), folder))


def find_mask_folder(mask: Mask, facts: MaskFacts, out: Path, options: VectorizeOptions) -> Path:
    """The folder of the parts of a mask; other pixels or other options, another folder."""
    asked = {
        each.name: getattr(options, each.name) for each in fields(options) if each.name not in IRRELEVANT
    }
    everything = [__version__, *map(read_source_state, list_files(mask)), repr(asked), repr(facts)]
    key = hashlib.sha256(json.dumps(everything).encode()).hexdigest()[:12]
    return out.absolute().with_name(f"{out.name}.{key}.parts")


def list_files(mask: Mask) -> list[str]:
    """The files whose pixels footprints are made of."""
    return [mask.path, *([mask.probability.path] if mask.probability else [])]


def dispatch_rows(
    workers: Workers, parts: TracedParts, strips: Sequence[MaskRows], *, alone: bool = True
) -> None:
    """Let workers trace those of some strips that are not there."""
    missing = [strip for strip in strips if not parts.has(strip.row)]
    workers.describe(None)
    with (
        share_place(parts.folder, workers.threads, alone=alone) as place,
        track("Vectorizing", measure_rows(missing), "Mpx") as advance,
    ):
        tasks = (RowsTask(parts, tuple(chosen)) for chosen in workers.split(missing))
        for task, _ in workers.run(place, work_on_rows, tasks):
            advance(measure_rows(task.strips))
    workers.report_losses()


def trace_rows(parts: TracedParts, strips: Sequence[MaskRows], processes: int) -> None:
    """Trace those of some strips that are not there, on this machine."""
    missing = [strip for strip in strips if not parts.has(strip.row)]
    with (
        WorkerPool[int](processes) as pool,
        track("Vectorizing", len(missing), "strips") as advance,
    ):
        for strip in missing:
            pool.submit(work_on_rows, RowsTask(parts, (strip,)))
            advance(sum(pool.take_ready()))
        advance(sum(pool.take_rest()))


def measure_rows(strips: Sequence[MaskRows]) -> float:
    """The megapixels of some strips."""
    return sum(strip.height * strip.mask.grid.width for strip in strips) / 1e6
