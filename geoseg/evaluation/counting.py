"""One pass over a prediction and its truth: everything that scores need, counted per tile of the scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from math import ceil, sqrt

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.evaluation.sides import (
    EvaluationPair,
    RestrictedSide,
    Side,
    SideStrip,
    VectorSide,
    refuse_unknown_classes,
)
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import OutlinePieces
from geoseg.footprints.trace.rings import Stitcher, build_footprints
from geoseg.progress import track
from geoseg.raster.coding import FINE_STEPS, NODATA
from geoseg.raster.grid import WGS84, Grid, find_transformer
from geoseg.raster.mask import select_own_class
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Confusion, Counts, Floats
from geoseg.scores.outlines import (
    IOU_THRESHOLDS,
    Flags,
    FootprintOutlines,
    Ints,
    SizeMatches,
    compute_boundary_distance,
    extract_boundary,
    match_by_size,
    match_outlines,
)
from geoseg.workflows.vectorizer import split_into_bands

BY_SIDES = JoinRules(connectivity=4, clusters=0)


class OutlineTracer:
    """Takes strips of classes from the top of a scene to its bottom, and then has the outlines."""

    def __init__(self, width: int) -> None:
        self._stitcher = Stitcher(width, BY_SIDES)
        self._batches: list[FootprintOutlines] = []

    def add(self, classes: NDArray[np.uint8], row: int, probabilities: NDArray[np.uint8] | None) -> None:
        """Take the next strip, whose first row is `row` of the scene."""
        for band in split_into_bands(*classes.shape):
            rows = classes[band]
            own = None if probabilities is None else select_own_class(probabilities[:, band], rows)
            self._keep(self._stitcher.add(trace_outlines(rows, row + band.start, BY_SIDES, own)))

    def finish(self) -> FootprintOutlines:
        """All outlines, once the last strip is there."""
        self._keep(self._stitcher.finish())
        return FootprintOutlines.merge(self._batches)

    def _keep(self, pieces: OutlinePieces) -> None:
        whole = build_footprints(pieces)
        with np.errstate(invalid="ignore"):
            confidence = whole.probability / (FINE_STEPS * whole.known)
        self._batches.append(FootprintOutlines(whole.polygons, whole.value, confidence))


TILES_ALONG = 20
SMALLEST_TILE = 128
STRIP_PIXELS = 4_000_000


@dataclass(frozen=True)
class TileGrid:
    """A scene cut into squares, at most about 20 x 20 of them: what is drawn anew for an interval."""

    height: int
    width: int

    @property
    def side(self) -> int:
        return max(SMALLEST_TILE, ceil(sqrt(self.height * self.width) / TILES_ALONG))

    @property
    def across(self) -> int:
        return ceil(self.width / self.side)

    @property
    def number(self) -> int:
        return self.across * ceil(self.height / self.side)

    def strips(self) -> Iterator[slice]:
        """Runs of rows to read at once, each within one row of tiles."""
        rows = max(1, STRIP_PIXELS // self.width)
        for top in range(0, self.height, self.side):
            bottom = min(top + self.side, self.height)
            for start in range(top, bottom, rows):
                yield slice(start, min(start + rows, bottom))

    def columns(self, rows: slice) -> Iterator[tuple[int, slice]]:
        """The tiles that some rows pass through: their numbers, and their columns."""
        first = rows.start // self.side * self.across
        for column in range(self.across):
            yield first + column, slice(column * self.side, (column + 1) * self.side)

    def at(self, rows: Ints, cols: Ints) -> Ints:
        """The number of the tile that holds each pixel."""
        row, col = np.clip(rows, 0, self.height - 1), np.clip(cols, 0, self.width - 1)
        return np.asarray(row // self.side * self.across + col // self.side)


@dataclass(frozen=True)
class SideFootprints:
    """Footprints of one side: class, tile and true area of each, and whether it has a partner on the other side.

    `matched` has a row for each IoU threshold; `middle` has two, longitude and latitude. The last two are those of
    `Sized`: (size, threshold, footprint).
    """

    classes: Ints
    tile: Ints
    area_m2: Floats
    confidence: Floats
    matched: Flags
    middle: Floats
    counted_by_size: Flags
    matched_by_size: Flags

    @classmethod
    def joined(cls, parts: Sequence[SideFootprints]) -> SideFootprints:
        columns = [[getattr(part, field.name) for part in parts] for field in fields(cls)]
        return cls(*(np.concatenate(column, axis=-1) for column in columns))


@dataclass(frozen=True)
class TileCounts:
    """What was counted. Tables have one row for each tile, and `places` says where each tile lies."""

    places: NDArray[np.object_]
    confusion: Confusion
    boundary: Counts
    """Shared and joined boundary pixels: (tile, class, 2)."""
    probability: ProbabilityCounts | None
    predicted: SideFootprints
    true: SideFootprints

    @classmethod
    def joined(cls, parts: Sequence[TileCounts]) -> TileCounts:
        """One tally of several scenes."""
        starts = np.cumsum([0, *(len(part.places) for part in parts)])
        counted = [part.probability for part in parts]
        known = [counts.counts for counts in counted if counts is not None]
        return cls(
            np.concatenate([part.places for part in parts]),
            Confusion(np.concatenate([part.confusion.counts for part in parts])),
            np.concatenate([part.boundary for part in parts]),
            ProbabilityCounts(np.concatenate(known)) if len(known) == len(parts) else None,
            renumber_tiles([part.predicted for part in parts], starts),
            renumber_tiles([part.true for part in parts], starts),
        )


def renumber_tiles(parts: Sequence[SideFootprints], starts: Ints) -> SideFootprints:
    """Buildings of several scenes with their tiles numbered through."""
    joined = SideFootprints.joined(parts)
    joined.tile[...] += np.repeat(starts[:-1], [len(part.tile) for part in parts])
    return joined


def count_pair(pair: EvaluationPair, classes: int, distance: int | None = None) -> TileCounts:
    """Read both sides once, strip by strip, and count."""
    counter = PairCounter(pair, classes, distance or compute_boundary_distance(*pair.grid.shape))
    with track(f"Comparing {pair.name}", pair.grid.megapixels, "Mpx") as done:
        for rows in counter.tiles.strips():
            counter.add(rows)
            done((rows.stop - rows.start) * pair.grid.width / 1e6)
    return counter.finish()


class PairCounter:
    """Counts a pair strip by strip."""

    def __init__(self, pair: EvaluationPair, classes: int, distance: int) -> None:
        self.pair, self.classes, self.distance = pair, classes, distance
        self.tiles = TileGrid(*pair.grid.shape)
        self._confusion = [Confusion.empty(classes) for _ in range(self.tiles.number)]
        self._boundary = np.zeros((self.tiles.number, classes, 2), dtype=np.int64)
        self._probability: Counts | None = None
        self._outlines = [FootprintCollector(side, pair.grid.width) for side in (pair.predicted, pair.truth)]

    def add(self, rows: slice) -> None:
        """Count some rows; those around them are read along, for the boundaries."""
        around = slice(max(0, rows.start - self.distance), min(self.tiles.height, rows.stop + self.distance))
        predicted, true = self._read(self.pair.predicted, around), self._read(self.pair.truth, around)
        unknown = (predicted.classes == NODATA) | (true.classes == NODATA)
        for strip in (predicted, true):
            strip.classes[unknown] = NODATA
        inner = slice(rows.start - around.start, rows.stop - around.start)
        self._count_boundaries(rows, inner, predicted.classes, true.classes)
        self._count_pixels(rows, cut_strip(predicted, inner), cut_strip(true, inner))
        for footprints, strip in zip(self._outlines, (predicted, true), strict=True):
            footprints.add(rows, cut_strip(strip, inner))

    def finish(self) -> TileCounts:
        pair = self.pair
        predicted, true = (footprints.finish() for footprints in self._outlines)
        area = AreaCrs.choose(pair.grid)
        predicted = predicted.select(measure_areas(predicted, pair.grid, area) >= pair.min_area_m2)
        matches = match_outlines(predicted, true)
        return TileCounts(
            np.full(self.tiles.number, pair.place, dtype=object),
            Confusion.stack(self._confusion),
            self._boundary,
            None if self._probability is None else ProbabilityCounts(self._probability),
            *self._both_sides(predicted, true, matches, area),
        )

    def _both_sides(
        self, predicted: FootprintOutlines, true: FootprintOutlines, matches: Ints, area: AreaCrs
    ) -> tuple[SideFootprints, SideFootprints]:
        """The footprints of both sides. Two that match are of one tile, even where its edge runs between their middles."""
        found = np.zeros((len(IOU_THRESHOLDS), len(true)), dtype=bool)
        threshold, number = np.nonzero(matches >= 0)
        found[threshold, matches[threshold, number]] = True
        sized = match_by_size(predicted, true)
        one = self._buildings(predicted, matches >= 0, sized[0], area)
        other = self._buildings(true, found, sized[1], area)
        paired = matches[0] >= 0
        one.tile[paired] = other.tile[matches[0, paired]]
        return one, other

    def _read(self, side: Side, rows: slice) -> SideStrip:
        strip = side.read(rows)
        refuse_unknown_classes(strip.classes, self.classes, side.name)
        return SideStrip(strip.classes.copy(), strip.probabilities)

    def _count_pixels(self, rows: slice, predicted: SideStrip, true: SideStrip) -> None:
        for tile, columns in self.tiles.columns(rows):
            truth = true.classes[:, columns]
            self._confusion[tile].add(truth, predicted.classes[:, columns])
            if predicted.probabilities is not None:
                self._count_probabilities(tile, truth, predicted.probabilities[:, :, columns])

    def _count_probabilities(self, tile: int, truth: NDArray[np.uint8], bands: NDArray[np.uint8]) -> None:
        if self._probability is None:
            self._probability = ProbabilityCounts.empty(self.tiles.number, self.classes).counts
        known = truth != NODATA
        # A single band is the probability of the one class; of several, the first is the background's.
        first = 1 if len(bands) == 1 else 0
        for number, band in enumerate(bands, start=first):
            counted = ProbabilityCounts.of(truth[known] == number, band[known])
            self._probability[tile, number] += counted.counts

    def _count_boundaries(
        self, rows: slice, inner: slice, predicted: NDArray[np.uint8], true: NDArray[np.uint8]
    ) -> None:
        for number in range(1, self.classes):
            one, other = (
                extract_boundary(side == number, self.distance)[inner] for side in (predicted, true)
            )
            shared, joined = (one & other).sum(axis=0), (one | other).sum(axis=0)
            for tile, columns in self.tiles.columns(rows):
                self._boundary[tile, number] += shared[columns].sum(), joined[columns].sum()

    def _buildings(
        self, outlines: FootprintOutlines, found: Flags, sized: SizeMatches, area: AreaCrs
    ) -> SideFootprints:
        x, y = compute_centres(outlines)
        tile = self.tiles.at(np.floor(y).astype(np.int64), np.floor(x).astype(np.int64))
        sizes = measure_areas(outlines, self.pair.grid, area)
        middle = find_transformer(self.pair.grid.crs, WGS84).transform(
            *transform_to_map(x, y, self.pair.grid)
        )
        return SideFootprints(
            outlines.classes, tile, sizes, outlines.confidence, found, np.stack(middle), sized.counted, sized.matched
        )  # fmt: skip


class FootprintCollector:
    """The footprints of a side: a raster's are traced as strips pass by; a layer's are there, if they lie in the known."""

    def __init__(self, side: Side, width: int) -> None:
        whole = side.whole if isinstance(side, RestrictedSide) else side
        self._layer = whole if isinstance(whole, VectorSide) else None
        self._known = np.zeros(0 if self._layer is None else len(self._layer.outlines), dtype=bool)
        self._tracer = OutlineTracer(width)

    def add(self, rows: slice, strip: SideStrip) -> None:
        if self._layer is None:
            self._tracer.add(strip.classes, rows.start, strip.probabilities)
            return
        row, col = self._layer.points.T
        here = np.flatnonzero(
            (row >= rows.start) & (row < rows.stop) & (col >= 0) & (col < self._layer.width)
        )
        self._known[here] = strip.classes[row[here] - rows.start, col[here]] != NODATA

    def finish(self) -> FootprintOutlines:
        return self._tracer.finish() if self._layer is None else self._layer.outlines.select(self._known)


def cut_strip(strip: SideStrip, rows: slice) -> SideStrip:
    """Some rows of a strip."""
    return SideStrip(
        strip.classes[rows], None if strip.probabilities is None else strip.probabilities[:, rows]
    )


def compute_centres(outlines: FootprintOutlines) -> tuple[Floats, Floats]:
    """The middle of each outline, in pixels."""
    x, y = shapely.get_coordinates(shapely.centroid(outlines.polygons)).T
    return x, y


def transform_to_map(cols: Floats, rows: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """Where in the CRS of a grid some places among its pixels are."""
    at = grid.transform
    return at.a * cols + at.b * rows + at.c, at.d * cols + at.e * rows + at.f


def measure_areas(outlines: FootprintOutlines, grid: Grid, area: AreaCrs) -> Floats:
    """The true area of outlines in a grid's pixels."""
    x, y = transform_to_map(*compute_centres(outlines), grid)
    pixel_m2 = area.compute_densities(x, y, grid.crs) * abs(grid.transform.determinant)
    return np.asarray(shapely.area(outlines.polygons) * pixel_m2)
