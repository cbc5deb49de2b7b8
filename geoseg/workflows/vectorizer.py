"""Makes measured footprints in a file of a mask that comes strip by strip, with statistics per region where asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import geopandas as gpd
import numpy as np
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.features import FeatureBatch, FeatureBuilder
from geoseg.footprints.measure import AreaCrs, choose_plane
from geoseg.footprints.separate.rules import BoundaryRule, NeckRule, SeparationRule
from geoseg.footprints.separate.split import split_footprints
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import OutlinePieces
from geoseg.footprints.trace.rings import Stitcher, TracedFootprints, build_footprints, join_bands
from geoseg.footprints.write.geopackage import FootprintWriter
from geoseg.footprints.write.spool import FOOTPRINT_COLUMNS, PIXEL_COLUMNS
from geoseg.io.atomic import Delivery
from geoseg.parallel import WorkerPool
from geoseg.raster.coding import FINE_STEPS, NODATA, PROBABILITY_STEP, Values
from geoseg.raster.grid import Grid, Window, parse_crs
from geoseg.raster.mask import Mask, MaskBand, Probability, select_own_class
from geoseg.regions.adjustment import ConfusionMatrix
from geoseg.regions.polygons import read_regions
from geoseg.regions.statistics import RegionStatistics
from geoseg.workflows.options import FootprintOptions
from geoseg.workflows.results import FootprintCounts

ONLY_BUILDINGS: Mapping[int, str] = {1: "building"}
MIN_AREA_M2 = 5.0
"""Smaller footprints are rarely buildings: a garden shed has 6 m², a car 8 m² with its shadow."""
FINE_GSD_M = 1.0
"""From this pixel size on a wall is a few pixels long, and its direction a guess."""
BAND_PIXELS = 4_000_000
"""Few enough that a band and what is made of it stay in the processor's cache."""


@dataclass(frozen=True)
class MaskFacts:
    """What is known of a mask beside its pixels; `image_date`: when the image was taken that it was made of.

    `tells_boundaries`: boundary and distance come with it, by which buildings are separated; `confusion`: how often its
    classes are wrong, which gives adjusted areas of regions.
    """

    names: Mapping[int, str]
    tells_boundaries: bool = False
    confusion: ConfusionMatrix | None = None
    image_date: str | None = None


PLAIN_MASK = MaskFacts(ONLY_BUILDINGS)


@dataclass(frozen=True)
class MaskRows:
    """Some rows of a raster file, and where they lie in the whole mask."""

    mask: Mask
    rows: slice
    row: int

    @property
    def height(self) -> int:
        return int(self.rows.stop - self.rows.start)


@dataclass(frozen=True)
class MaskStrip:
    """Finished rows of a mask as small rasters of their own, as `geoseg infer` keeps them until the mosaic is made.

    `row` is where they start in the whole mask. Bytes are classes, and 250 times probabilities; 255 is unknown.
    """

    row: int
    height: int
    mask: Path
    probability: Path | None = None
    probability_bands: int = 1
    separator_bands: tuple[int, ...] = ()
    """The numbers of the bands of boundary and distance behind the probabilities, where they are told."""


@dataclass(frozen=True)
class StripTracer:
    """All it takes to make rows of the file from a strip."""

    joining: JoinRules
    builder: FeatureBuilder
    split_rule: SeparationRule | None = None

    def trace(self, strip: MaskRows) -> tuple[FeatureBatch, OutlinePieces]:
        """The finished footprints of a strip, and the pieces that may go on in its neighbours."""
        classes, probabilities = strip.mask.read(strip.rows)
        separators = strip.mask.read_separators(strip.rows) if self.joining.keeps_pixels else None
        whole: list[TracedFootprints] = []
        unfinished: OutlinePieces | None = None
        for band in split_into_bands(*classes.shape):
            rows = classes[band]
            probability = None if probabilities is None else select_own_class(probabilities[:, band], rows)
            ends = None if separators is None else separators[:, band]
            pieces = trace_outlines(rows, strip.row + band.start, self.joining, probability, ends)
            joined = pieces if unfinished is None else join_bands(unfinished, pieces, self.joining)
            finished, unfinished = joined.split_finished()
            whole.append(build_footprints(finished))
        assert unfinished is not None
        return self.finish(TracedFootprints.merge(whole)), unfinished

    def finish(self, footprints: TracedFootprints) -> FeatureBatch:
        """Rows of the file from whole footprints."""
        if self.split_rule:
            footprints = split_footprints(footprints, self.split_rule, self.joining)
        return self.builder.finish(footprints)


def split_into_bands(height: int, width: int) -> Iterator[slice]:
    """Runs of rows small enough to be traced in one go."""
    step = max(1, BAND_PIXELS // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def make_mask_rows(strip: MaskStrip, grid: Grid) -> MaskRows:
    """A strip as `geoseg infer` writes it."""
    byte = MaskBand(1, "uint8", 1.0, 0.0, NODATA, has_mask=False)
    bands, separators = (
        tuple(replace(byte, number=number, scale=PROBABILITY_STEP) for number in numbers)
        for numbers in (range(1, strip.probability_bands + 1), strip.separator_bands)
    )
    place = grid.window(Window(strip.row, 0, strip.height, grid.width))
    probability = Probability(str(strip.probability), bands, separators) if strip.probability else None
    mask = Mask(str(strip.mask), byte, place, block_height=strip.height, probability=probability)
    return MaskRows(mask, slice(0, strip.height), strip.row)


class Vectorizer:
    """Footprints of a mask that comes strip by strip, in order of rows.

        with Vectorizer(grid, out, options, workers=2) as vectorizer:
            for strip in strips:
                vectorizer.add(strip)
        vectorizer.counts

    `add` hands a strip to a worker process (or a thread) and returns, unless the workers are far behind. Leaving the block without an
    error finishes the file and gives it its name; with one, what was there before stays. `on_rows` hears of the rows of the
    file in their order.
    """

    def __init__(
        self,
        grid: Grid,
        out: Path,
        options: FootprintOptions,
        facts: MaskFacts = PLAIN_MASK,
        workers: int = 0,
        delivery: Delivery | None = None,
    ) -> None:
        self.grid = grid
        self.on_rows: Callable[[gpd.GeoDataFrame], None] | None = None
        self.options = options
        self.facts = facts
        if not grid.is_placed:
            refuse_options_of_places(options)
        crs = parse_crs(options.crs, "`crs`") if options.crs else grid.crs
        self._area = choose_plane(grid, options.area_crs)
        self._tracer = self._make_tracer(crs)
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
        self._workers.submit(self._tracer.trace, strip)
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
        self._names |= dict.fromkeys(rows["class"])
        self._written += len(rows)
        self._dropped += batch.dropped
        self._area_sum += float(rows["area_px" if self.grid.counts_pixels else "area_m2"].sum())

    def _finish_file(self) -> None:
        self._writer.classes = tuple(self._names)
        if self._statistics is not None:
            self._writer.add_regions(self._statistics.table())

    def _make_tracer(self, crs: CRS) -> StripTracer:
        options = self.options
        min_area_m2 = MIN_AREA_M2 if options.min_area_m2 is None else options.min_area_m2
        split_rule = choose_split_rule(
            options.split, self.facts.tells_boundaries, min_area_m2 / self.grid.gsd_m**2
        )
        builder = FeatureBuilder(
            grid=self.grid,
            area=self._area,
            crs=crs,
            names=self.facts.names,
            min_area_m2=min_area_m2,
            max_hole_m2=options.max_hole_m2,
            simplify_m=options.simplify_m,
            regularize=is_straightened(options, self.grid),
            image_date=self.facts.image_date,
        )
        joining = make_join_rules(options, self.grid, splits=split_rule is not None)
        return StripTracer(joining, builder, split_rule)

    def _make_statistics(self) -> RegionStatistics | None:
        options = self.options
        if options.regions is None:
            return None
        regions = read_regions(options.regions, self.grid, options.region_id)
        assert isinstance(self._area, AreaCrs)  # a picture has no regions
        return RegionStatistics(regions, self._area, self.facts.names, self.grid, self.facts.confusion)

    @property
    def _description(self) -> str:
        if self.grid.is_placed:
            return f"Areas in square metres, measured in {self._area.name}."
        sizes = "pixels" if self.grid.counts_pixels else "metres and square metres"
        return f"Coordinates in pixels of the picture, y upwards from its top edge; sizes in {sizes}."


def refuse_options_of_places(options: FootprintOptions) -> None:
    """Refuse what only a raster with a place on Earth can have."""
    for name, given in (
        ("crs", options.crs),
        ("regions", options.regions),
        ("area_crs", options.area_crs != "auto" and options.area_crs),
    ):
        if given:
            raise InputError(
                f"`{name}` {given}: the picture has no place on Earth, so its outlines stay in its own pixels; leave it out"
            )


def is_straightened(options: FootprintOptions, grid: Grid) -> bool:
    """Whether walls are made straight for a raster of this resolution."""
    return grid.gsd_m < FINE_GSD_M if options.regularize is None else options.regularize


def choose_split_rule(split: str, tells_boundaries: bool, least_pixels: float) -> SeparationRule | None:
    """How footprints are separated into buildings; `tells_boundaries`: a model says where one ends."""
    if split == "touching":
        return NeckRule()
    if split == "auto" and tells_boundaries:
        return BoundaryRule(least_pixels=least_pixels)
    return None


def make_join_rules(options: FootprintOptions, grid: Grid, *, splits: bool) -> JoinRules:
    """What belongs together when outlines are traced; straight walls meet corners by themselves."""
    shaped = 8 if options.simplify_m else 4 if splits else 0
    clusters = 4 if is_straightened(options, grid) else shaped
    return JoinRules(connectivity=options.connectivity, clusters=clusters, keeps_pixels=splits)


def convert_from_steps(probabilities: Values | None) -> Values | None:
    """Steps as decimals from 0 to 1, nan where unknown; bytes stay bytes."""
    if probabilities is None or probabilities.dtype == np.uint8:
        return probabilities
    unknown = probabilities == np.iinfo(probabilities.dtype).max
    return np.where(unknown, np.float32(np.nan), probabilities / np.float32(FINE_STEPS))
