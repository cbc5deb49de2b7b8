"""Makes measured footprints in a file of a mask that comes strip by strip, with statistics per region where asked for.

What makes statistics is loaded where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np

from geoseg.footprints.features import FeatureBatch
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.trace.pieces import OutlinePieces
from geoseg.footprints.trace.rings import Stitcher, build_footprints
from geoseg.footprints.write.geopackage import FootprintWriter
from geoseg.footprints.write.spool import FOOTPRINT_COLUMNS, PIXEL_COLUMNS
from geoseg.io.atomic import Delivery
from geoseg.parallel import StandingWorkers, WorkerPool
from geoseg.raster.coding import FINE_STEPS, Values
from geoseg.raster.grid import Grid, Window
from geoseg.workflows.options import FootprintOptions
from geoseg.workflows.results import FootprintCounts
from geoseg.workflows.traced import TracedParts
from geoseg.workflows.tracer import (
    PLAIN_MASK,
    MaskFacts,
    MaskRows,
    MaskStrip,
    make_mask_rows,
    make_tracer,
    refuse_options_of_places,
)

if TYPE_CHECKING:
    from geoseg.regions.statistics import RegionStatistics


class Vectorizer:
    """Footprints of a mask that comes strip by strip, in order of rows.

        with Vectorizer(grid, out, options, workers=2) as vectorizer:
            for strip in strips:
                vectorizer.add(strip)
        vectorizer.counts

    `add` hands a strip to a worker process (or a thread) and returns, unless the workers are far behind. Leaving the block
    without an error finishes the file and gives it its name; with one, what was there before stays. `on_rows` hears of the rows of the
    file in their order. `parts` are those that other processes have traced, and left in a folder.
    """

    def __init__(
        self,
        grid: Grid,
        out: Path,
        options: FootprintOptions,
        facts: MaskFacts = PLAIN_MASK,
        workers: int | StandingWorkers = 0,
        delivery: Delivery | None = None,
    ) -> None:
        self.grid = grid
        self.on_rows: Callable[[gpd.GeoDataFrame], None] | None = None
        self.parts: TracedParts | None = None
        self.options = options
        self.facts = facts
        if not grid.is_placed:
            refuse_options_of_places(options)
        self._tracer = make_tracer(grid, options, facts)
        self._area, crs = self._tracer.builder.area, self._tracer.builder.crs
        self._stitcher = Stitcher(grid.width, self._tracer.joining)
        self._statistics = self._make_statistics()
        self._writer = FootprintWriter(
            out,
            crs if grid.is_placed else None,
            (),
            columns=PIXEL_COLUMNS if grid.counts_pixels else FOOTPRINT_COLUMNS,
            description=self._description,
            overwrite=options.overwrite,
            delivery=delivery,
        )
        self._workers: WorkerPool[tuple[FeatureBatch, OutlinePieces]] = WorkerPool(workers)
        self._cleanup = ExitStack()
        self._names: dict[str, None] = dict.fromkeys(facts.names.values())
        self._written = self._dropped = 0
        self._area_sum = 0.0
        self._is_complete = False

    def __enter__(self) -> Vectorizer:
        with ExitStack() as stack:
            stack.enter_context(self._writer)
            stack.enter_context(self._workers)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._cleanup.__exit__(kind, error, trace)
            return
        with self._cleanup:
            self.complete()
            self._finish_file()

    def complete(self) -> None:
        """Trace what is left of the mask: no strip comes any more."""
        if not self._is_complete:
            self._is_complete = True
            for result in self._workers.take_rest():
                self._take(*result)
            self._append([self._tracer.finish(build_footprints(self._stitcher.finish()))])

    def add(self, strip: MaskRows | MaskStrip) -> None:
        """Take the next strip; its files must stay until the block ends."""
        strip = strip if isinstance(strip, MaskRows) else make_mask_rows(strip, self.grid)
        self._workers.submit((self.parts or self._tracer).trace, strip)
        if self._statistics is not None:
            classes, probabilities = strip.mask.read(strip.rows)
            window = Window(strip.row, 0, strip.height, self.grid.width)
            # One band cannot tell several classes apart, so it gives no expected area.
            tells = probabilities is not None and (len(probabilities) > 1 or len(self.facts.names) == 1)
            self._statistics.add_strip(window, classes, convert_from_steps(probabilities) if tells else None)
        for result in self._workers.take_ready():
            self._take(*result)

    @property
    def counts(self) -> FootprintCounts:
        """What came of it, once the block has ended."""
        regions = None if self._statistics is None else len(self._statistics.regions)
        area_m2, area_px = (None, self._area_sum) if self.grid.counts_pixels else (self._area_sum, None)
        return FootprintCounts(self._written, self._dropped, area_m2, self._area.name, regions, area_px)

    def _take(self, finished: FeatureBatch, pieces: OutlinePieces) -> None:
        across_seams = self._tracer.finish(build_footprints(self._stitcher.add(pieces)))
        self._append([finished, across_seams])

    def _append(self, batches: Sequence[FeatureBatch]) -> None:
        batch = FeatureBatch.merge(batches)
        rows = batch.rows
        rows.insert(0, "id", np.arange(self._written + 1, self._written + len(rows) + 1))
        if self._statistics is not None:
            rows["region"] = self._statistics.add_footprints(rows)
        self._writer.append(rows)
        if self.on_rows is not None:
            self.on_rows(rows)
        self._names |= dict.fromkeys(rows["class"].unique())
        self._written += len(rows)
        self._dropped += batch.dropped
        self._area_sum += float(rows["area_px" if self.grid.counts_pixels else "area_m2"].sum())

    def _finish_file(self) -> None:
        self._writer.classes = tuple(self._names)
        if self._statistics is not None:
            self._writer.add_regions(self._statistics.table())

    def _make_statistics(self) -> RegionStatistics | None:
        options = self.options
        if options.regions is None:
            return None
        from geoseg.regions.polygons import read_regions
        from geoseg.regions.statistics import RegionStatistics

        regions = read_regions(options.regions, self.grid, options.region_id)
        assert isinstance(self._area, AreaCrs)  # a picture has no regions
        return RegionStatistics(regions, self._area, self.facts.names, self.grid, self.facts.confusion)

    @property
    def _description(self) -> str:
        if self.grid.is_placed:
            return f"Areas in square metres, measured in {self._area.name}."
        sizes = "pixels" if self.grid.counts_pixels else "metres and square metres"
        return f"Coordinates in pixels of the picture, y upwards from its top edge; sizes in {sizes}."


def convert_from_steps(probabilities: Values | None) -> Values | None:
    """Steps as decimals from 0 to 1, nan where unknown; bytes stay bytes."""
    if probabilities is None or probabilities.dtype == np.uint8:
        return probabilities
    unknown = probabilities == np.iinfo(probabilities.dtype).max
    return np.where(unknown, np.float32(np.nan), probabilities / np.float32(FINE_STEPS))
