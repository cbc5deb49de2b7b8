"""From a mask to a file of footprints: strip by strip, in worker processes, in memory that a seam bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.areas.measure import AreaCrs
from geoseg.footprints.files.geopackage import FootprintWriter
from geoseg.footprints.finish import Finished, Finisher
from geoseg.footprints.regions.adjusted import ConfusionMatrix
from geoseg.footprints.regions.regions import read_regions
from geoseg.footprints.regions.statistics import RegionStatistics
from geoseg.footprints.trace.mask import BYTE_STEP, NODATA, Band, Mask, Probability
from geoseg.footprints.trace.pieces import STEPS, Pieces, Values
from geoseg.footprints.trace.polygonize import Joining
from geoseg.footprints.trace.stitch import Stitcher
from geoseg.footprints.trace.strip import Strip, Tracer
from geoseg.footprints.trace.traced import traced
from geoseg.footprints.trace.workers import Workers
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid, Window
from geoseg.raster.opening import parse_crs

FINE_GSD_M = 1.0


@dataclass(frozen=True)
class Recipe:
    """How a mask becomes footprints; the defaults suit most people."""

    connectivity: int = 4
    """4: pixels that share a side are one building. 8: pixels that share a corner are, too."""
    split: bool = False
    """Part buildings that touch, at their necks."""
    min_area_m2: float = 5.0
    """Footprints smaller than this, in true square metres, are left out."""
    max_hole_m2: float = 2.0
    """Holes up to this size are filled, but none that could hold a footprint of the minimum area."""
    simplify_m: float = 0.0
    """How far an outline may move when it is simplified; neighbours keep their shared walls."""
    regularize: bool | None = None
    """Straight walls and right angles; None: when pixels are finer than 1 m."""
    names: Mapping[int, str] = field(default_factory=lambda: {1: "building"})
    """What the mask's classes are called; others go by their number."""
    crs: str | None = None
    """CRS of the footprints; None: the mask's."""
    area_crs: str = "auto"
    """CRS in which areas are measured; auto: an equal-area one centred on the data."""
    regions: str | None = None
    """A vector file, `file.gpkg:layer`, or `grid:1km`: statistics per region."""
    region_id: str | None = None
    """The column that names a region."""
    confusion: ConfusionMatrix | None = None
    """What is known of the model's errors: gives the error-adjusted areas of regions."""

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise InputError(
                f"--connectivity {self.connectivity}: pixels have 4 neighbours by side, 8 with corners"
            )
        sizes = {
            "--min-area": self.min_area_m2,
            "--max-hole": self.max_hole_m2,
            "--simplify": self.simplify_m,
        }
        for option, size in sizes.items():
            if not 0 <= size < float("inf"):
                raise InputError(f"{option} {size:g}: a size is 0 or more")

    def regularizes(self, grid: Grid) -> bool:
        """Whether walls are made straight for a raster of this resolution."""
        return grid.gsd_m < FINE_GSD_M if self.regularize is None else self.regularize

    def joining(self, grid: Grid) -> Joining:
        """What belongs together when outlines are traced."""
        return Joining(
            connectivity=self.connectivity,
            clusters=self._clusters(grid),
            keeps_pixels=self.split,
        )

    def _clusters(self, grid: Grid) -> int:
        """Which neighbours are to be shaped together; straight walls meet corners by themselves."""
        if self.regularizes(grid):
            return 4
        return 8 if self.simplify_m else 4 if self.split else 0


@dataclass(frozen=True)
class Summary:
    """What came of it."""

    footprints: int
    dropped: int
    area_m2: float
    area_crs: str
    regions: int | None = None


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


def vectorize(  # noqa: PLR0913 - the last four say how, not what
    mask: Mask,
    out: Path,
    recipe: Recipe = Recipe(),
    *,
    workers: int = 0,
    strip_rows: int | None = None,
    overwrite: bool = False,
    narrator: Narrator = QUIET,
) -> Summary:
    """Write the footprints of a mask on disk; they are the same for any number of workers and rows in a strip."""
    vectorizer = Vectorizer(mask.grid, out, recipe, workers=workers, overwrite=overwrite, narrator=narrator)
    with vectorizer, narrator.task("Vectorizing", mask.grid.megapixels, "Mpx") as done:
        for rows in mask.strips(strip_rows):
            vectorizer.add(Strip(mask, rows, rows.start))
            done((rows.stop - rows.start) * mask.grid.width / 1e6)
    return vectorizer.summary


class Vectorizer:
    """Footprints of a mask that comes strip by strip, in order of rows.

        with Vectorizer(grid, out, recipe, workers=2, narrator=narrator) as vectorizer:
            for strip in strips:
                vectorizer.add(strip)
        vectorizer.summary

    `add` hands a strip to a worker process and returns, unless the workers are far behind. Leaving the block without
    an error finishes the file and gives it its name; with one, what was there before stays.
    """

    def __init__(
        self,
        grid: Grid,
        out: Path,
        recipe: Recipe,
        *,
        workers: int = 0,
        overwrite: bool = False,
        narrator: Narrator = QUIET,
    ) -> None:
        self.grid = grid
        self.recipe = recipe
        self.narrator = narrator
        crs = parse_crs(recipe.crs, "--crs") if recipe.crs else grid.crs
        self._area = AreaCrs.choose(grid, recipe.area_crs, narrator)
        self._tracer = self._tracer_in(crs)
        self._stitcher = Stitcher(grid.width, self._tracer.joining)
        self._statistics = self._statistics_of_regions()
        self._writer = FootprintWriter(
            out, crs, (), description=self._description, overwrite=overwrite, narrator=narrator
        )
        self._workers: Workers[tuple[Finished, Pieces]] = Workers(workers)
        self._cleanup = ExitStack()
        self._names: dict[str, None] = dict.fromkeys(recipe.names.values())
        self._written = self._dropped = 0
        self._area_m2 = 0.0

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
            for result in self._workers.rest():
                self._take(*result)
            self._append([self._tracer.finish(traced(self._stitcher.finish()))])
            self._finish_file()

    def add(self, strip: Strip | MaskStrip) -> None:
        """Take the next strip; its files must stay until the block ends."""
        strip = strip if isinstance(strip, Strip) else in_house(strip, self.grid)
        self._workers.submit(self._tracer.trace, strip)
        if self._statistics is not None:
            classes, probabilities = strip.mask.read(strip.rows)
            window = Window(strip.row, 0, strip.height, self.grid.width)
            # One band cannot tell several classes apart, so it gives no expected area.
            tells = probabilities is not None and (len(probabilities) > 1 or len(self.recipe.names) == 1)
            self._statistics.add_strip(window, classes, in_unit(probabilities) if tells else None)
        for result in self._workers.ready():
            self._take(*result)

    @property
    def summary(self) -> Summary:
        """What came of it, once the block has ended."""
        regions = None if self._statistics is None else len(self._statistics.regions)
        return Summary(self._written, self._dropped, self._area_m2, self._area.name, regions)

    def _take(self, finished: Finished, pieces: Pieces) -> None:
        across_seams = self._tracer.finish(traced(self._stitcher.add(pieces)))
        self._append([finished, across_seams])

    def _append(self, batches: Sequence[Finished]) -> None:
        batch = Finished.merged(batches)
        rows = batch.rows
        rows.insert(0, "id", np.arange(self._written + 1, self._written + len(rows) + 1))
        if self._statistics is not None:
            rows["region"] = self._statistics.add_footprints(rows)
        self._writer.append(rows)
        self._names |= dict.fromkeys(rows["class"])
        self._written += len(rows)
        self._dropped += batch.dropped
        self._area_m2 += float(rows["area_m2"].sum())

    def _finish_file(self) -> None:
        self._writer.classes = tuple(self._names)
        if self._statistics is not None:
            self._writer.add_regions(self._statistics.table())

    def _tracer_in(self, crs: CRS) -> Tracer:
        recipe = self.recipe
        finisher = Finisher(
            grid=self.grid,
            area=self._area,
            crs=crs,
            names=recipe.names,
            min_area_m2=recipe.min_area_m2,
            max_hole_m2=recipe.max_hole_m2,
            simplify_m=recipe.simplify_m,
            regularize=recipe.regularizes(self.grid),
        )
        return Tracer(recipe.joining(self.grid), finisher)

    def _statistics_of_regions(self) -> RegionStatistics | None:
        recipe = self.recipe
        if recipe.regions is None:
            return None
        regions = read_regions(recipe.regions, self.grid, recipe.region_id, self.narrator)
        return RegionStatistics(regions, self._area, recipe.names, self.grid, recipe.confusion)

    @property
    def _description(self) -> str:
        return f"Areas in square metres, measured in {self._area.name}."


def in_unit(probabilities: Values | None) -> Values | None:
    """Steps as decimals from 0 to 1, nan where unknown; bytes stay bytes."""
    if probabilities is None or probabilities.dtype == np.uint8:
        return probabilities
    unknown = probabilities == np.iinfo(probabilities.dtype).max
    return np.where(unknown, np.float32(np.nan), probabilities / np.float32(STEPS))


def in_house(strip: MaskStrip, grid: Grid) -> Strip:
    """A strip as `geoseg infer` writes it."""
    byte = Band(1, "uint8", 1.0, 0.0, NODATA, has_mask=False)
    bands = tuple(replace(byte, number=i + 1, scale=BYTE_STEP) for i in range(strip.probability_bands))
    place = grid.window(Window(strip.row, 0, strip.height, grid.width))
    probability = Probability(str(strip.probability), bands) if strip.probability else None
    mask = Mask(str(strip.mask), byte, place, block_height=strip.height, probability=probability)
    return Strip(mask, slice(0, strip.height), strip.row)
