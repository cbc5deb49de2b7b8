"""From a mask or a probability on disk to measured footprints in a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.cluster.shards import Shard
from geoseg.cluster.workers import open_workers
from geoseg.errors import InputError
from geoseg.footprints.write.geopackage import check_footprint_file, get_region_path
from geoseg.footprints.write.project import PROJECT_SUFFIXES, QgisProject, write_project
from geoseg.io.access import Output, check_outputs
from geoseg.io.addresses import list_replaced_files, refuse_changes
from geoseg.io.atomic import (
    Delivery,
    clear_leftovers,
    describe_command,
    find_own_files,
    lock_private_folder,
    refuse_delivered,
    remove_folder,
    share_private_folder,
)
from geoseg.parallel import StandingWorkers, count_processors
from geoseg.progress import track
from geoseg.raster.dates import find_image_date, parse_date
from geoseg.raster.grid import PixelSize
from geoseg.raster.mask import Mask, find_classes, open_mask
from geoseg.raster.source import open_raster
from geoseg.workflows.mask_parts import (
    dispatch_rows,
    find_mask_folder,
    list_files,
    plan_mask_work,
    trace_rows,
)
from geoseg.workflows.options import FootprintOptions, VectorizeOptions, looks_at_outputs
from geoseg.workflows.results import FootprintCounts, FootprintResult, ShareResult, note_share
from geoseg.workflows.traced import TracedParts
from geoseg.workflows.tracer import ONLY_BUILDINGS, MaskFacts, MaskRows, refuse_options_of_places
from geoseg.workflows.vectorizer import Vectorizer

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers

log = logging.getLogger(__name__)

WORTH_PROCESSES_MPX = 100
"""A smaller mask is done before processes of its own have started."""
MOST_WORKERS = 16
ASSUMED_GSD_M = 0.3
"""For options in metres, where nobody says how large the pixels of a picture are: what the built-in model was made for."""
DEFAULT_OPTIONS = FootprintOptions()


@dataclass(frozen=True)
class VectorizeResult(FootprintResult):
    """What `vectorize` made of a mask."""

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {"out": str(self.out), **(self.counts.summary if self.counts else {})}

    def __str__(self) -> str:
        return f"{self.out}: {self.counts}"


def vectorize(mask: str, out: Path, options: VectorizeOptions) -> VectorizeResult:
    """Turn a mask into building footprints with true areas."""
    command = describe_vectorize(mask, out, options)
    outputs = check_vectorize_outputs(mask, out, options, command)
    opened = open_for_footprints(mask, options)
    facts = find_facts(opened, options)
    with (
        Delivery(outputs, command) as delivery,
        find_parts(opened, facts, out, options, delivery) as parts,
        refuse_changes(list_files(opened)),
    ):
        workers = 0 if options.dask else choose_workers(opened, options)
        checked = replace(options, overwrite=True)  # what must stay was refused before
        vectorizer = Vectorizer(opened.grid, out, checked, facts, workers, delivery)
        vectorizer.parts = parts
        counts = feed_vectorizer(vectorizer, opened, options.strip_rows)
        if options.qgis_project:
            grid = opened.grid
            images = (options.image,) if options.image else ()
            project = QgisProject(out, images, options.probability, mask, grid.is_placed, grid.crs)
            write_project(project, options.qgis_project, delivery)
        delivery.do_afterwards(partial(clear_leftovers, out, command))
    return VectorizeResult(out, counts)


def vectorize_share(mask: str, out: Path, options: VectorizeOptions) -> ShareResult:
    """Trace one share of a mask; any process may do any other at the same time, in any order."""
    start = time.monotonic()
    shard = Shard.parse(str(options.shard))
    command = describe_vectorize(mask, out, options)
    outputs = check_vectorize_outputs(mask, out, options, command)
    opened = open_for_footprints(mask, options)
    work = plan_mask_work(opened, find_facts(opened, options), out, options)
    mine = shard.take_run(work.strips)
    with share_private_folder(work.parts.folder, shard.name, command), open_dask(options) as workers:
        check_vectorize_outputs(mask, out, options, command)  # another run may have finished meanwhile
        refuse_delivered(outputs, command)
        if workers:
            dispatch_rows(workers, work.parts, mine, alone=False)
        else:
            trace_rows(work.parts, mine, choose_workers(opened, options))
        there = [work.parts.has(strip.row) for strip in work.strips]
        return note_share(shard, work.parts.folder, len(mine), there, time.monotonic() - start)


@contextmanager
def find_parts(
    opened: Mask, facts: MaskFacts, out: Path, options: VectorizeOptions, delivery: Delivery
) -> Iterator[TracedParts | None]:
    """What workers and shares have traced, where there is any; it goes once the footprints are delivered."""
    if options.dask is None and not find_mask_folder(opened, facts, out, options).exists():
        yield None
        return
    work = plan_mask_work(opened, facts, out, options)
    delivery.do_afterwards(partial(remove_folder, work.parts.folder))
    with lock_private_folder(work.parts.folder, delivery.command):
        with open_dask(options) as workers:
            if workers:
                dispatch_rows(workers, work.parts, work.strips)
        yield work.parts


def open_dask(options: VectorizeOptions) -> AbstractContextManager[Workers | None]:
    """The workers behind a scheduler; those of this machine take strips from the process that joins them."""
    if options.dask is not None and options.workers is not None:
        return open_workers(options)
    return open_workers(replace(options, workers=None))


def describe_vectorize(mask: str, out: Path, options: VectorizeOptions) -> str:
    """The command, wherever its work is done."""
    return describe_command("vectorize", [mask, str(out)], options.without_places())


def open_for_footprints(mask: str, options: VectorizeOptions) -> Mask:
    """A mask as it is asked for."""
    opened = open_mask(
        mask,
        band=options.band,
        threshold=options.threshold,
        probability=options.probability,
        assume_crs=options.assume_crs,
        pixel=choose_mask_pixel(options.gsd_m),
    )
    if opened.grid.counts_pixels:
        log.info(
            f"{mask}: nothing tells how large its pixels are: taken as {ASSUMED_GSD_M:g} m, and sizes are given in pixels; "
            "`gsd_m` METRES tells"
        )
    if opened.holds_probability and not opened.tells_boundaries and options.split == "auto":
        log.info(
            f"{mask}: does not hold where one building ends, so buildings that touch stay one footprint; `split` touching "
            "divides them by their shape; what `all_outputs` of geoseg infer writes holds it"
        )
    if not opened.grid.is_placed:
        refuse_options_of_places(options)
    elif options.gsd_m is not None:
        raise InputError(
            f"`gsd_m` {options.gsd_m:g}: {mask} has a place on Earth, which tells the size; leave it out"
        )
    return opened


def find_facts(opened: Mask, options: VectorizeOptions) -> MaskFacts:
    """What is known of a mask beside its pixels."""
    image_date = parse_date(options.date) if options.date else find_image_date([], [opened.path])
    names = complete_class_names(parse_class_names(options.classes), opened, options.regions)
    return MaskFacts(names, opened.tells_boundaries, image_date=image_date)


def choose_mask_pixel(gsd_m: float | None) -> PixelSize:
    """What to take for the pixels of a mask that lies nowhere on Earth."""
    return PixelSize(ASSUMED_GSD_M, is_known=False) if gsd_m is None else PixelSize(gsd_m, is_known=True)


def check_vectorize_outputs(
    mask: str, out: Path, options: VectorizeOptions, command: str
) -> tuple[Path, ...]:
    """The files to be written; what could not be written or shown is refused before the first pixel is read."""
    outputs = [Output("a file of footprints", out, may_exist=True)]
    if options.regions and get_region_path(out) != out:
        outputs.append(Output("a file of regions", get_region_path(out), may_exist=options.overwrite))
    if options.qgis_project:
        outputs.append(Output("a QGIS project", options.qgis_project, PROJECT_SUFFIXES, options.overwrite))
    if looks_at_outputs(options):
        own = find_own_files(out, command)
        inputs = filter(None, (mask, options.probability, options.image))
        check_outputs(outputs, [*inputs, *list_replaced_files(options.regions)], own)
        check_footprint_file(out, options.overwrite or out.absolute() in own)
    if options.image:
        with open_raster(options.image, options.image):
            pass
    return tuple(output.path for output in outputs)


def vectorize_mask(
    mask: Mask,
    out: Path,
    options: FootprintOptions = DEFAULT_OPTIONS,
    *,
    names: Mapping[int, str] = ONLY_BUILDINGS,
    workers: int | StandingWorkers = 0,
    strip_rows: int | None = None,
) -> FootprintCounts:
    """Write the footprints of a mask on disk; they are the same for any number of workers and rows in a strip."""
    facts = MaskFacts(names, mask.tells_boundaries)
    return feed_vectorizer(Vectorizer(mask.grid, out, options, facts, workers), mask, strip_rows)


def feed_vectorizer(vectorizer: Vectorizer, mask: Mask, strip_rows: int | None) -> FootprintCounts:
    """Let a vectorizer have all rows of a mask on disk."""
    with vectorizer, track("Vectorizing", mask.grid.megapixels, "Mpx") as done:
        for rows in mask.strips(strip_rows):
            vectorizer.add(MaskRows(mask, rows, rows.start))
            done((rows.stop - rows.start) * mask.grid.width / 1e6)
    return vectorizer.counts


def parse_class_names(classes: Sequence[str]) -> dict[int, str]:
    """Class names from VALUE=NAME."""
    pairs = [entry.partition("=") for entry in classes]
    for entry, (value, _, name) in zip(classes, pairs, strict=True):
        if not (value.isdecimal() and 1 <= int(value) <= 254 and name.strip()):
            raise InputError(f"`classes` {entry}: write VALUE=NAME with a value of 1 to 254, e.g. 1=building")
    names = {int(value): name.strip() for value, _, name in pairs}
    if len(names) < len(pairs):
        raise InputError(f"`classes` {', '.join(classes)}: gives one value two names; give one")
    return names


def complete_class_names(given: Mapping[int, str], mask: Mask, regions: str | None) -> Mapping[int, str]:
    """The names that are given, and such for other classes of a mask as statistics per region need to know beforehand."""
    names = dict(given or ONLY_BUILDINGS)
    for value in find_classes(mask) if regions and mask.threshold is None else []:
        names.setdefault(value, f"class {value}")
    if regions and len(set(names.values())) < len(names):
        raise InputError(
            f"`classes` {', '.join(f'{value}={name}' for value, name in names.items())}: with `regions`, give each class a name "
            "of its own"
        )
    return names


def choose_workers(mask: Mask, options: VectorizeOptions) -> int:
    """As many processes as are asked for, else as there are processors where the mask is large enough to repay their start."""
    if options.workers is not None:
        return options.workers
    return 0 if mask.grid.megapixels < WORTH_PROCESSES_MPX else min(count_processors(), MOST_WORKERS)
