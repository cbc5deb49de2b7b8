"""What a run shows at another threshold or minimum area: footprints made anew of the probability that was kept.

The network is not asked again. At the run's own values the view is the file that `geoseg infer` wrote.
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import ceil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from geoseg.app.runs import FinishedRun
from geoseg.footprints.measure import AreaCrs, choose_plane, measure_polygons
from geoseg.footprints.write.reading import read_buildings
from geoseg.io.atomic import replace_file
from geoseg.parallel import StandingWorkers, count_processors
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid
from geoseg.raster.mask import Mask, open_mask, open_probability
from geoseg.raster.mosaic import copy_raster
from geoseg.reports.layers import AREA_UNITS, find_area_column
from geoseg.reports.report import format_area, name_outlines, rename_for_classes, summarize
from geoseg.workflows.infer import read_confusion
from geoseg.workflows.tracer import make_tracer
from geoseg.workflows.vectorize import vectorize_mask

MOST_VIEWS = 8
PLAIN_ROWS = 64
BLOCK_ROWS = 512
"""Rows of a block of the rasters: strips begin where one does, or blocks are read twice."""
WORTH_PROCESSES_MPX = 2.0
"""A smaller mask is done before other processes have heard of it."""
TRACERS = StandingWorkers(min(count_processors(), 4))
"""Trace at each step of a slider; threads would not, since nine tenths of the work are done by one of them at a time."""
MOST_PLAIN_MPX = 200.0
"""Outputs of larger scenes stay packed: a step of theirs takes seconds anyhow, and plain they take a gigabyte."""


@dataclass(frozen=True)
class ViewRequest:
    """Which footprints are wanted; a threshold of none is the likeliest class."""

    threshold: float | None
    min_area_m2: float | None

    @property
    def key(self) -> str:
        return f"{self.threshold}-{self.min_area_m2}"


@dataclass(frozen=True)
class FootprintView:
    """Footprints of a run in a file."""

    request: ViewRequest
    file: Path

    @cached_property
    def buildings(self) -> gpd.GeoDataFrame:
        frame = read_buildings(self.file)
        return frame.set_crs(None, allow_override=True) if "area_px" in frame else frame

    @property
    def area(self) -> float:
        """What they cover, in square metres or in pixels."""
        return float(self.buildings[find_area_column(self.buildings)].sum())


class Views:
    """The views of a run, the last few of which are kept."""

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.own = ViewRequest(run.threshold, run.min_area_m2)
        self._first = FootprintView(self.own, run.buildings)
        self._kept: OrderedDict[ViewRequest, FootprintView] = OrderedDict()
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(1)
        self.likely: Sequence[Future[FootprintView]] = ()

    def find(self, request: ViewRequest) -> FootprintView:
        """A view, made anew unless it is there."""
        if request == self.own:
            return self._first
        with self._lock:
            view = self._kept.pop(request, None) or self._make(request)
            self._kept[request] = view
            while len(self._kept) > MOST_VIEWS:
                shutil.rmtree(self._kept.popitem(last=False)[1].file.parent, ignore_errors=True)
            return view

    def prepare_neighbours(self, request: ViewRequest) -> None:
        """While people look at a view, make those that one step of the threshold leads to; not of large scenes."""
        self.forget_likely()
        if self.run.scene.megapixels <= MOST_PLAIN_MPX:
            self.likely = [self._ahead.submit(self.find, each) for each in list_neighbours(request, self.own)]

    def forget_likely(self) -> None:
        for likely in self.likely:
            likely.cancel()

    def close(self) -> None:
        """Make no more of them: the folder of the run can be deleted."""
        self.forget_likely()
        self._ahead.shutdown()

    def _make(self, request: ViewRequest) -> FootprintView:
        folder = self.run.folder / f"view-{request.key}"
        folder.mkdir(exist_ok=True)  # fails where the run has been deleted
        file = folder / "buildings.fgb"  # has no styles and tables, which take as long as the outlines
        vectorize_view(self.run, request, file)
        return FootprintView(request, file)

    @property
    def what(self) -> str:
        """What the outlines are called."""
        return name_outlines(entry.name for entry in self.run.card.classes[1:])

    @cached_property
    def seen_area(self) -> float:
        """How much ground, or how many pixels, the image shows."""
        return measure_seen_area(self.run)

    def summarize(self, view: FootprintView) -> dict[str, str]:
        """The numbers that people ask for first."""
        numbers = summarize(view.buildings, None)
        if self.seen_area > 0:
            numbers["of the image is built up"] = f"{view.area / self.seen_area:.1%}"
        if self.what != "buildings":
            return rename_for_classes(numbers) | self._describe_classes(view)
        return numbers | self._describe_interval(view)

    def _describe_classes(self, view: FootprintView) -> dict[str, str]:
        """The area of each class that the model knows, in its order."""
        column = find_area_column(view.buildings)
        assert column
        areas, unit = view.buildings.groupby("class")[column].sum(), AREA_UNITS[column]
        return {
            entry.name: format_area(float(areas.get(entry.name, 0.0)), unit)
            for entry in self.run.card.classes[1:]
        }

    def _describe_interval(self, view: FootprintView) -> dict[str, str]:
        """The area corrected by the model's known errors, which hold at the run's own values alone."""
        confusion = read_confusion(self.run.card)
        if confusion is None or view.request != self.own or "area_m2" not in view.buildings:
            return {}
        built = view.buildings.groupby("class")["area_m2"].sum().reindex(confusion.classes[1:], fill_value=0)
        mapped = np.array([max(self.seen_area - built.sum(), 0.0), *built])
        area, low, high = (float(each[1:].sum()) for each in confusion.adjust_areas(mapped))
        return {
            "adjusted for known errors": format_area(area),
            "at least, at most (95 % interval)": f"{format_area(low)} – {format_area(high)}",
        }

    @property
    def has_interval(self) -> bool:
        return read_confusion(self.run.card) is not None


def vectorize_view(run: FinishedRun, request: ViewRequest, out: Path) -> None:
    """Write the footprints of a view, in the format that the file's name says."""
    options = replace(run.options, min_area_m2=request.min_area_m2, overwrite=True)
    names = {value: entry.name for value, entry in enumerate(run.card.classes) if value > 0}
    mask = open_view_mask(run, request.threshold)
    if mask.grid.megapixels < WORTH_PROCESSES_MPX:
        vectorize_mask(mask, out, options, names=names)
        return
    rows = BLOCK_ROWS * ceil(mask.grid.height / TRACERS.number / BLOCK_ROWS)
    vectorize_mask(mask, out, options, names=names, workers=TRACERS, strip_rows=rows)


def start_tracers(run: FinishedRun) -> None:
    """Let the processes that trace large masks start, while people look at the first map."""
    grid = open_view_mask(run, run.threshold).grid
    if grid.megapixels >= WORTH_PROCESSES_MPX:
        TRACERS.start(partial(make_tracer, grid, run.options))


def unpack_outputs(run: FinishedRun) -> Path:
    """The outputs of the model as plain bytes, since each step of the slider reads them again."""
    plain = run.folder / "plain.tif"
    if run.scene.megapixels > MOST_PLAIN_MPX:
        return run.outputs
    if not plain.exists():
        with replace_file(plain) as unfinished:
            copy_raster(
                str(run.outputs), unfinished, driver="GTiff", interleave="band", blockysize=PLAIN_ROWS
            )
    return plain


def open_view_mask(run: FinishedRun, threshold: float | None) -> Mask:
    """The class of each pixel at a threshold: the mask of the run, or what is made of the probability."""
    pixel = run.image_grid.unit
    if threshold == run.threshold:
        return open_mask(str(run.mask), probability=str(run.outputs), pixel=pixel)
    outputs = str(unpack_outputs(run))
    mask = open_mask(outputs, band=1, threshold=threshold, pixel=pixel)
    return replace(mask, probability=open_probability(outputs, mask.grid)) if run.card.separators else mask


def measure_seen_area(run: FinishedRun) -> float:
    """The ground that the mask knows: true square metres, or pixels where nobody knows how large one is."""
    mask = open_view_mask(run, run.threshold)
    seen = sum(np.count_nonzero(mask.read(rows)[0] != NODATA) for rows in mask.strips())
    grid, plane = mask.grid, choose_plane(mask.grid)
    if isinstance(plane, AreaCrs):
        area = measure_polygons(plane, np.array([draw_outline(grid)]), grid.crs)[0][0]
        return float(area) * seen / (grid.height * grid.width)
    return float(seen) * (1 if grid.counts_pixels else grid.gsd_m**2)


def draw_outline(grid: Grid) -> Any:
    """The four sides of a grid as a polygon of its CRS."""
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    return shapely.Polygon([grid.transform @ corner for corner in corners])


def list_neighbours(request: ViewRequest, own: ViewRequest) -> list[ViewRequest]:
    """The views that one step up or down of the threshold leads to."""
    if request.threshold is None or own.threshold is None:
        return []
    choices = list_thresholds(own.threshold)
    at = choices.index(request.threshold)
    return [
        replace(request, threshold=each)
        for each in (*choices[at + 1 : at + 2], *choices[max(0, at - 1) : at])
    ]


def list_thresholds(own: float) -> list[float]:
    """Thresholds to choose from: hundredths, and the run's own."""
    return sorted({round(number / 100, 2) for number in range(5, 96)} | {own})
