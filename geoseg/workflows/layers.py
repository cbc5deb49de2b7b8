"""Statistics of the footprints in many files: each file is counted by itself, here or by workers, and added in order."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Transformer

from geoseg import __version__
from geoseg.cluster.place import name_worker_in_errors, share_place
from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs, Extent, Georeferenced
from geoseg.footprints.write.formats import WRITERS
from geoseg.io.addresses import read_layer_state, read_source_state
from geoseg.io.atomic import lock_private_folder, remove_folder, replace_file
from geoseg.progress import track
from geoseg.raster.lists import list_folder
from geoseg.regions.files import FootprintLayer
from geoseg.regions.polygons import read_regions
from geoseg.regions.statistics import FootprintParts, RegionCounts, RegionStatistics

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers
    from geoseg.io.atomic import Delivery


@dataclass(frozen=True)
class Counting:
    """How footprints are counted, the same in every process."""

    regions: str
    region_id: str | None
    area: AreaCrs
    place: Georeferenced
    classes: tuple[str, ...]

    def begin(self) -> RegionStatistics:
        """Statistics of nothing yet."""
        polygons = read_regions(self.regions, self.place, self.region_id)
        return RegionStatistics(polygons, self.area, dict(enumerate(self.classes, start=1)), self.place)


@dataclass(frozen=True)
class LayersTask:
    """Some files of footprints, and where what was counted of each goes."""

    key: str
    counting: Counting
    files: tuple[tuple[Path, Path], ...]


def work_on_layers(task: LayersTask) -> int:
    """Count the files of a task that are not counted yet."""
    with name_worker_in_errors():
        for file, part in task.files:
            if not part.exists():
                keep_counts(
                    part, count_layer(recall_statistics(task.key, task.counting), FootprintLayer.open(file))
                )
    return len(task.files)


@lru_cache(maxsize=1)
def recall_counting(key: str) -> dict[str, RegionStatistics]:
    """What this process has opened for a job; regions are read once."""
    del key
    return {}


def recall_statistics(key: str, counting: Counting) -> RegionStatistics:
    opened = recall_counting(key)
    if not opened:
        opened[key] = counting.begin()
    return opened[key]


def count_layer(statistics: RegionStatistics, layer: FootprintLayer) -> RegionCounts:
    """Count the footprints of a file."""
    try:
        for frame in layer.measured_frames(statistics.area):
            statistics.add_footprints(frame)
    finally:  # what an error leaves is not that of the next file
        counts = statistics.take_counts()
    return counts


def keep_counts(part: Path, counts: RegionCounts) -> None:
    """Write what was counted of a file, as numbers and text."""
    dates = [(row, day) for row, days in counts.dates.items() for day in sorted(days)]
    rows, days = np.array([row for row, _ in dates], np.int64), np.array([day for _, day in dates], np.str_)
    with replace_file(part) as unfinished:
        np.savez(unfinished, **asdict(counts.parts), date_rows=rows, days=days)


def read_counts(part: Path) -> RegionCounts:
    """What was counted of a file."""
    with part.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        columns = dict(arrays)
    dates: dict[int, set[str]] = {}
    for row, day in zip(columns.pop("date_rows").tolist(), columns.pop("days").tolist(), strict=True):
        dates.setdefault(row, set()).add(day)
    return RegionCounts(FootprintParts(**columns), dates)


def count_layers(
    statistics: RegionStatistics,
    layers: Sequence[FootprintLayer],
    counting: Counting,
    workers: Workers | None,
    delivery: Delivery,
) -> None:
    """Add the footprints of all files to statistics, in their order, counted here or by workers."""
    if workers is None:
        with track("Counting", len(layers), "files") as done:
            for layer in layers:
                statistics.add_counts(count_layer(statistics, layer))
                done(1)
    else:
        for counts in count_with_workers(layers, counting, workers, delivery):
            statistics.add_counts(counts)


def count_with_workers(
    layers: Sequence[FootprintLayer], counting: Counting, workers: Workers, delivery: Delivery
) -> Iterator[RegionCounts]:
    """Let workers count files into a folder of parts beside the folder of files, and read what they leave.

    The folder goes once the table is delivered.
    """
    key = make_key(layers, counting)
    folder = layers[0].path.parent.absolute()
    folder = folder.with_name(f"{folder.name}.{key}.parts")
    files = [
        (layer.path.absolute(), folder / f"counts-{number:06}.npz") for number, layer in enumerate(layers)
    ]
    workers.describe(None)
    with lock_private_folder(folder):
        with (
            share_place(folder, workers.threads) as place,
            track("Counting", len(files), "files") as done,
        ):
            tasks = (LayersTask(key, counting, tuple(chosen)) for chosen in workers.split(files))
            for _, counted in workers.run(place, work_on_layers, tasks):
                done(counted)
        yield from (read_counts(part) for _, part in files)
    workers.report_losses()
    delivery.do_afterwards(partial(remove_folder, folder))


def make_key(layers: Sequence[FootprintLayer], counting: Counting) -> str:
    """Changes with every file and every option on which counts depend."""
    states = [read_source_state(str(layer.path)) for layer in layers]
    asked = [counting.regions, read_layer_state(counting.regions), counting.region_id, counting.area.name]
    everything = [__version__, states, asked, list(counting.classes), repr(counting.place)]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()[:12]


def open_layers(footprints: Path, but: Path | None = None) -> list[FootprintLayer]:
    """The footprints of a file, or of all files of a folder but that which is to be written."""
    if not footprints.is_dir():
        return [FootprintLayer.open(footprints)]
    written = but and os.path.realpath(but)
    files = [file for file in list_folder(footprints, WRITERS) if os.path.realpath(file) != written]
    if not files:
        raise InputError(f"{footprints}: the folder holds no footprints ({', '.join(WRITERS)})")
    return [FootprintLayer.open(Path(file)) for file in files]


def find_place(layers: Sequence[FootprintLayer]) -> Extent:
    """The box around the footprints of all files, in the CRS of the first that has some."""
    filled = [layer for layer in layers if layer.rows] or list(layers[:1])
    extents = [layer.extent for layer in filled]
    return Extent.around(extents[0].crs, (move_box(extent, extents[0]) for extent in extents))


def move_box(extent: Extent, to: Extent) -> tuple[float, ...]:
    if extent.crs == to.crs:
        return extent.bounds
    return tuple(Transformer.from_crs(extent.crs, to.crs, always_xy=True).transform_bounds(*extent.bounds))


def list_classes(layers: Sequence[FootprintLayer]) -> tuple[str, ...]:
    """Every class there is, in the order of their names."""
    return tuple(sorted({name for layer in layers if layer.rows for name in layer.classes})) or tuple(
        layers[0].classes
    )
