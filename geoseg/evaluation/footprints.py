"""Footprints of a prediction and its truth: found, matched one by one, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.evaluation.inputs.maps import (
    ClassMap,
    MapStrip,
    VectorMap,
    get_footprint_layer,
    get_outline_layer,
)
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import OutlinePieces
from geoseg.footprints.trace.rings import Stitcher, build_footprints
from geoseg.raster.coding import FINE_STEPS, NODATA
from geoseg.raster.grid import WGS84, Grid, find_transformer
from geoseg.raster.mask import select_own_class
from geoseg.scores.confusion import Floats
from geoseg.scores.outlines import (
    IOU_THRESHOLDS,
    Flags,
    FootprintOutlines,
    Ints,
    OutlineOverlaps,
    SizeMatches,
    match_by_size,
    match_outlines,
    match_overlaps,
)
from geoseg.scores.shapes import (
    count_vertices,
    measure_near_lengths,
    measure_polis,
    measure_tangent_angles,
)
from geoseg.workflows.tracer import split_into_bands

BY_SIDES = JoinRules(connectivity=4, clusters=0)
BOUNDARY_DISTANCES_M = (0.25, 0.5, 1.0)
"""From what a surveyor tolerates to what can be seen in images of 0.5 m."""
BOUNDARY_SPACING_PIXELS = 1.0
"""How closely boundaries are sampled: shares come out within a thousandth of their exact value."""
TANGENT_SPACING_PIXELS = 2.0
"""As in the published measure."""
LEAST_IOU = IOU_THRESHOLDS[:1]
"""From this IoU on, two outlines are of one building."""


class TileLocator(Protocol):
    """Knows which tile of a scene holds each pixel."""

    def find(self, rows: Ints, cols: Ints) -> Ints: ...


class OutlineTracer:
    """Takes strips of classes from the top of a scene to its bottom, and then has the outlines."""

    def __init__(self, width: int) -> None:
        self._stitcher = Stitcher(width, BY_SIDES)
        self._batches: list[FootprintOutlines] = []

    def add(self, rows: slice, strip: MapStrip) -> None:
        """Take the next strip, which holds some rows of the scene."""
        for band in split_into_bands(*strip.classes.shape):
            classes, levels = strip.classes[band], strip.probabilities
            own = None if levels is None else select_own_class(levels[:, band], classes)
            self._keep(self._stitcher.add(trace_outlines(classes, rows.start + band.start, BY_SIDES, own)))

    def finish(self) -> FootprintOutlines:
        """All outlines, once the last strip was taken."""
        self._keep(self._stitcher.finish())
        return FootprintOutlines.merge(self._batches)

    def _keep(self, pieces: OutlinePieces) -> None:
        whole = build_footprints(pieces)
        with np.errstate(invalid="ignore"):
            confidence = whole.probability / (FINE_STEPS * whole.known)
        self._batches.append(FootprintOutlines(whole.polygons, whole.value, confidence))


class LayerFilter:
    """Finds the footprints of a layer that lie on known ground, as strips pass by."""

    def __init__(self, layer: VectorMap) -> None:
        self._layer = layer
        self._known = np.zeros(len(layer.footprints), dtype=bool)

    def add(self, rows: slice, strip: MapStrip) -> None:
        row, col = self._layer.points.T
        here = np.flatnonzero(
            (row >= rows.start) & (row < rows.stop) & (col >= 0) & (col < self._layer.width)
        )
        self._known[here] = strip.classes[row[here] - rows.start, col[here]] != NODATA

    def finish(self) -> FootprintOutlines:
        return self._layer.footprints.select(self._known)


class FootprintCollector:
    """The footprints of a map that are matched one by one, and the outlines whose shape is judged.

    Footprints of a raster are its connected pixels, traced as strips pass by. Stair steps have no shape to speak of, so
    what is judged are the outlines that `geoseg vectorize` (or `infer`, for a model) makes of the raster.
    """

    def __init__(self, class_map: ClassMap, width: int) -> None:
        layer, outlines = get_footprint_layer(class_map), get_outline_layer(class_map)
        self._footprints = LayerFilter(layer) if layer else OutlineTracer(width)
        self._outlines = LayerFilter(outlines) if outlines and outlines is not layer else None
        self._has_outlines = outlines is not None

    def add(self, rows: slice, strip: MapStrip) -> None:
        self._footprints.add(rows, strip)
        if self._outlines:
            self._outlines.add(rows, strip)

    def finish(self) -> tuple[FootprintOutlines, FootprintOutlines | None]:
        """The footprints, and the outlines where there are any."""
        footprints = self._footprints.finish()
        if self._outlines:
            return footprints, self._outlines.finish()
        return footprints, footprints if self._has_outlines else None


@dataclass(frozen=True)
class TileTable:
    """Columns that have one entry for each footprint, of which two say its class and its tile.

    Columns of several dimensions have the footprints on their last axis.
    """

    classes: Ints
    tile: Ints

    @classmethod
    def concatenate(cls, parts: Sequence[Self], first_tiles: Ints) -> Self:
        """Tables of several scenes as one, their tiles numbered through."""
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts], axis=-1)
            for field in fields(cls)
        }
        columns["tile"] = columns["tile"] + np.repeat(first_tiles, [len(part.tile) for part in parts])
        return cls(**columns)

    def sum_by_tile(self, values: Floats | Flags | None, tiles: int, classes: int) -> Floats:
        """A sum over the footprints of each class in each tile: (tile, class); without values, their number."""
        weights = np.ones(len(self.tile)) if values is None else values.astype(np.float64)
        sums = np.bincount(self.tile * classes + self.classes, weights=weights, minlength=tiles * classes)
        table = sums.reshape(tiles, classes).astype(np.float64)
        table[:, 0] = 0
        return table


@dataclass(frozen=True)
class FootprintTable(TileTable):
    """Footprints of a prediction or a truth, and whether each has a partner in the other one.

    `matched` has a row for each IoU threshold, and `iou` is that with the partner at the first of them, 0 without one.
    `middle` has two rows, longitude and latitude. The last two columns are those of SizeMatches.
    """

    area_m2: Floats
    confidence: Floats
    matched: Flags
    iou: Floats
    middle: Floats
    counted_by_size: Flags
    matched_by_size: Flags


@dataclass(frozen=True)
class OutlineTable(TileTable):
    """Outlines of a prediction or a truth, and how well they agree with those of the other one.

    `near_m` has a row for each of the boundary distances: how many metres have another boundary so near. Distance and angle
    to the partner are nan where there is none, and for the truth, whose partners have them.
    """

    vertices: Ints
    length_m: Floats
    near_m: Floats
    polis_m: Floats
    tangent_deg: Floats


def match_footprints(
    predicted: FootprintOutlines, true: FootprintOutlines, grid: Grid, tiles: TileLocator
) -> tuple[FootprintTable, FootprintTable]:
    """The footprints of both. Two that match are of one tile, even where its edge runs between their middles."""
    overlaps = OutlineOverlaps.between(predicted, true)
    matches = match_overlaps(overlaps, predicted.confidence, np.ones(len(true), dtype=bool))
    iou = overlaps.find_iou(matches[0])
    matched = np.zeros((len(matches), len(true)), dtype=bool)
    threshold, number = np.nonzero(matches >= 0)
    matched[threshold, matches[threshold, number]] = True
    sized = match_by_size(predicted, true, overlaps)
    one = make_footprint_table(predicted, matches >= 0, iou, sized[0], (grid, tiles))
    other = make_footprint_table(true, matched, np.zeros(len(true)), sized[1], (grid, tiles))
    paired = matches[0] >= 0
    one.tile[paired] = other.tile[matches[0, paired]]
    other.iou[matches[0, paired]] = iou[paired]
    return one, other


def make_footprint_table(
    outlines: FootprintOutlines,
    matched: Flags,
    iou: Floats,
    sized: SizeMatches,
    place: tuple[Grid, TileLocator],
) -> FootprintTable:
    grid, tiles = place
    x, y = compute_centres(outlines)
    middle = find_transformer(grid.crs, WGS84).transform(*transform_to_map(x, y, grid))
    return FootprintTable(
        classes=outlines.classes,
        tile=tiles.find(np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)),
        area_m2=measure_areas(outlines, grid, AreaCrs.choose(grid)),
        confidence=outlines.confidence,
        matched=matched,
        iou=iou,
        middle=np.stack(middle),
        counted_by_size=sized.counted,
        matched_by_size=sized.matched,
    )


def compare_outlines(
    predicted: FootprintOutlines, true: FootprintOutlines, grid: Grid, tiles: TileLocator
) -> tuple[OutlineTable, OutlineTable]:
    """The outlines of both, measured in metres; two that match are of one tile."""
    flat, flat_true = (scale_to_metres(outlines, grid) for outlines in (predicted, true))
    partner = match_outlines(flat, flat_true, LEAST_IOU)[0]
    paired = partner >= 0
    polis_m, tangent_deg = (np.full(len(predicted), np.nan) for _ in range(2))
    pairs = flat.polygons[paired], flat_true.polygons[partner[paired]]
    polis_m[paired] = measure_polis(*pairs)
    tangent_deg[paired] = measure_tangent_angles(*pairs, TANGENT_SPACING_PIXELS * grid.gsd_m)
    tile, tile_true = (find_tiles(outlines, tiles) for outlines in (predicted, true))
    tile[paired] = tile_true[partner[paired]]
    none = np.full(len(true), np.nan)
    return (
        make_outline_table(flat, flat_true, tile, (polis_m, tangent_deg), grid),
        make_outline_table(flat_true, flat, tile_true, (none, none), grid),
    )


def make_outline_table(
    outlines: FootprintOutlines,
    others: FootprintOutlines,
    tile: Ints,
    errors: tuple[Floats, Floats],
    grid: Grid,
) -> OutlineTable:
    """The table of outlines in metres; a boundary is near another one of its own class."""
    near_m = np.zeros((len(BOUNDARY_DISTANCES_M), len(outlines)))
    for number in np.unique(outlines.classes):
        own, same = outlines.classes == number, others.polygons[others.classes == number]
        near_m[:, own] = measure_near_lengths(
            outlines.polygons[own], same, BOUNDARY_DISTANCES_M, BOUNDARY_SPACING_PIXELS * grid.gsd_m
        )
    vertices, length_m = count_vertices(outlines.polygons), shapely.length(outlines.polygons)
    return OutlineTable(outlines.classes, tile, vertices, length_m, near_m, *errors)


def scale_to_metres(outlines: FootprintOutlines, grid: Grid) -> FootprintOutlines:
    """Outlines in a plane of metres: pixel coordinates times the true size of the pixel in the middle of the scene."""
    flat: NDArray[np.object_] = shapely.transform(
        outlines.polygons, lambda points: points * grid.pixel_size_m
    )
    return FootprintOutlines(flat, outlines.classes, outlines.confidence)


def find_tiles(outlines: FootprintOutlines, tiles: TileLocator) -> Ints:
    """The tile that holds the middle of each outline."""
    x, y = compute_centres(outlines)
    return tiles.find(np.floor(y).astype(np.int64), np.floor(x).astype(np.int64))


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
