"""One pass over a prediction and its truth: everything that scores need, counted per tile of the scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation.footprints import (
    FootprintCollector,
    FootprintTable,
    OutlineTable,
    compare_outlines,
    match_footprints,
    measure_areas,
)
from geoseg.evaluation.inputs.maps import ClassMap, EvaluationPair, MapStrip, refuse_unknown_classes
from geoseg.footprints.measure import AreaCrs
from geoseg.progress import track
from geoseg.raster.coding import NODATA
from geoseg.scores.calibration import ProbabilityCounts
from geoseg.scores.confusion import Confusion, Counts
from geoseg.scores.outlines import FootprintOutlines, Ints, compute_boundary_distance, extract_boundary

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

    def strips(self, pixels: int = STRIP_PIXELS) -> Iterator[slice]:
        """Runs of rows to read at once, each within one row of tiles."""
        rows = max(1, pixels // self.width)
        for top in range(0, self.height, self.side):
            bottom = min(top + self.side, self.height)
            for start in range(top, bottom, rows):
                yield slice(start, min(start + rows, bottom))

    def columns(self, rows: slice) -> Iterator[tuple[int, slice]]:
        """The tiles that some rows pass through: their numbers, and their columns."""
        first = rows.start // self.side * self.across
        for column in range(self.across):
            yield first + column, slice(column * self.side, (column + 1) * self.side)

    def find(self, rows: Ints, cols: Ints) -> Ints:
        """The number of the tile that holds each pixel."""
        row, col = np.clip(rows, 0, self.height - 1), np.clip(cols, 0, self.width - 1)
        return np.asarray(row // self.side * self.across + col // self.side)


@dataclass(frozen=True)
class TileCounts:
    """What was counted. Tables have one row for each tile, and `places` says where each tile lies."""

    places: NDArray[np.object_]
    confusion: Confusion
    boundary: Counts
    """Shared and joined boundary pixels: (tile, class, 2)."""
    probability: ProbabilityCounts | None
    predicted: FootprintTable
    true: FootprintTable
    predicted_outlines: OutlineTable | None = None
    true_outlines: OutlineTable | None = None

    @classmethod
    def concatenate(cls, parts: Sequence[TileCounts]) -> TileCounts:
        """The counts of several scenes as one."""
        sizes = np.array([len(part.places) for part in parts])
        first_tiles = np.cumsum(sizes) - sizes
        levels = [part.probability.counts for part in parts if part.probability]
        outlines = [part.predicted_outlines for part in parts if part.predicted_outlines]
        true_outlines = [part.true_outlines for part in parts if part.true_outlines]
        have_outlines = len(outlines) == len(true_outlines) == len(parts)
        return cls(
            np.concatenate([part.places for part in parts]),
            Confusion(np.concatenate([part.confusion.counts for part in parts])),
            np.concatenate([part.boundary for part in parts]),
            ProbabilityCounts(np.concatenate(levels)) if len(levels) == len(parts) else None,
            FootprintTable.concatenate([part.predicted for part in parts], first_tiles),
            FootprintTable.concatenate([part.true for part in parts], first_tiles),
            OutlineTable.concatenate(outlines, first_tiles) if have_outlines else None,
            OutlineTable.concatenate(true_outlines, first_tiles) if have_outlines else None,
        )


def count_pair(
    pair: EvaluationPair, classes: int, distance: int | None = None, strip_pixels: int = STRIP_PIXELS
) -> TileCounts:
    """Read prediction and truth once, strip by strip, and count."""
    counter = PairCounter(pair, classes, distance or compute_boundary_distance(*pair.grid.shape))
    with track(f"Comparing {pair.name}", pair.grid.megapixels, "Mpx") as done:
        for rows in counter.tiles.strips(strip_pixels):
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
        self._predicted, self._true = (
            FootprintCollector(class_map, pair.grid.width) for class_map in (pair.predicted, pair.truth)
        )

    def add(self, rows: slice) -> None:
        """Count some rows; those around them are read along, for the boundaries."""
        around = slice(max(0, rows.start - self.distance), min(self.tiles.height, rows.stop + self.distance))
        predicted, true = self._read(self.pair.predicted, around), self._read(self.pair.truth, around)
        unknown = (predicted.classes == NODATA) | (true.classes == NODATA)
        for strip in (predicted, true):
            strip.classes[unknown] = NODATA
        inner = slice(rows.start - around.start, rows.stop - around.start)
        self._count_boundaries(rows, inner, predicted.classes, true.classes)
        self._count_pixels(rows, predicted.select(inner), true.select(inner))
        self._predicted.add(rows, predicted.select(inner))
        self._true.add(rows, true.select(inner))

    def finish(self) -> TileCounts:
        (predicted, outlines), (true, true_outlines) = self._predicted.finish(), self._true.finish()
        place = self.pair.grid, self.tiles
        return TileCounts(
            np.full(self.tiles.number, self.pair.place, dtype=object),
            Confusion.stack(self._confusion),
            self._boundary,
            None if self._probability is None else ProbabilityCounts(self._probability),
            *match_footprints(self._drop_small(predicted), true, *place),
            *(
                (None, None)
                if outlines is None or true_outlines is None
                else compare_outlines(self._drop_small(outlines), true_outlines, *place)
            ),
        )

    def _drop_small(self, predicted: FootprintOutlines) -> FootprintOutlines:
        """The predicted footprints that are large enough."""
        areas_m2 = measure_areas(predicted, self.pair.grid, AreaCrs.choose(self.pair.grid))
        return predicted.select(areas_m2 >= self.pair.min_area_m2)

    def _read(self, class_map: ClassMap, rows: slice) -> MapStrip:
        strip = class_map.read(rows)
        refuse_unknown_classes(strip.classes, self.classes, class_map.name)
        return MapStrip(strip.classes.copy(), strip.probabilities)

    def _count_pixels(self, rows: slice, predicted: MapStrip, true: MapStrip) -> None:
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
                extract_boundary(classes == number, self.distance)[inner] for classes in (predicted, true)
            )
            shared, joined = (one & other).sum(axis=0), (one | other).sum(axis=0)
            for tile, columns in self.tiles.columns(rows):
                self._boundary[tile, number] += shared[columns].sum(), joined[columns].sum()
