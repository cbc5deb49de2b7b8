"""Sums of a raster's pixels by region: how much of each region was seen, and how much built area is to be expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize

from geoseg.footprints.antimeridian import find_full_turn, lay_near
from geoseg.footprints.measure import (
    LONGEST_STRAIGHT_M,
    PROBE_M,
    AreaCrs,
    FloatArray,
    PixelAreas,
    get_metres_per_unit,
    transform_polygons,
)
from geoseg.footprints.polygons import Polygons, keep_polygonal_parts, mend_polygons
from geoseg.raster.coding import FINE_STEP, PROBABILITY_STEP, find_unknown
from geoseg.raster.grid import Grid, Window
from geoseg.raster.source import ignore_missing_place
from geoseg.regions.polygons import Regions, dissolve_parts

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class RegionOverlaps:
    """Which footprint lies in which region, with what share of its area, and whether it is counted there.

    In order of footprints, then of regions.
    """

    footprint: Indices
    region: Indices
    share: FloatArray
    counted: NDArray[np.bool_]


class RegionOverlay:
    """Regions of one CRS, made ready for many questions."""

    def __init__(self, regions: Polygons, crs: CRS, area: AreaCrs) -> None:
        self.regions = regions
        self.crs = crs
        self.area = area
        shapely.prepare(regions)

    def split_footprints(self, footprints: Polygons) -> RegionOverlaps:
        """Split footprints of the same CRS among the regions.

        A footprint is counted where its representative point lies; on a border, in the first region it touches. Shares
        are taken in the regions' own plane, where neighbouring regions fit each other without a gap, so that over
        regions that cover a footprint once they add up to one.
        """
        tree = shapely.STRtree(footprints)
        region, footprint = tree.query(self.regions, predicate="intersects")
        inside = np.zeros(len(region), dtype=bool)
        covered = tree.query(self.regions, predicate="covers")
        inside[find_positions(covered, region, footprint, len(footprints))] = True
        order = np.lexsort((region, footprint))
        region, footprint, inside = region[order], footprint[order], inside[order]
        share = np.ones(len(region))
        share[~inside] = self.shares(footprints[footprint[~inside]], region[~inside])
        points = shapely.point_on_surface(footprints)[footprint]
        counted = assign_points(points, self.regions[region], footprint, inside)
        kept = (share > 0) | counted
        return RegionOverlaps(footprint[kept], region[kept], share[kept], counted[kept])

    def shares(self, footprints: Polygons, regions: Indices) -> FloatArray:
        """The share of each footprint's true area that lies in its region.

        The plane's own scale changes a little across a footprint; it is taken to change evenly there, which leaves
        shares that add up to one exactly and are wrong by the square of the footprint's size over Earth's radius only.
        """
        pieces = shapely.intersection(footprints, self.regions[regions])
        sizes, wholes = shapely.area(pieces), shapely.area(footprints)
        centres = shapely.get_coordinates(shapely.centroid(footprints)).T
        held = sizes > 0
        away = np.zeros_like(centres)
        away[:, held] = shapely.get_coordinates(shapely.centroid(pieces[held])).T - centres[:, held]
        slopes = compute_density_slopes(centres[0], centres[1], self.crs, self.area)
        return np.asarray(sizes / wholes * (1 + (slopes * away).sum(axis=0)), dtype=np.float64)


def find_positions(pairs: NDArray[np.intp], region: Indices, footprint: Indices, count: int) -> Indices:
    """Where pairs of (region, footprint) stand in a longer list of pairs."""
    keys = region * count + footprint
    order = np.argsort(keys)
    found: Indices = order[np.searchsorted(keys, pairs[0] * count + pairs[1], sorter=order)]
    return found


def compute_density_slopes(x: FloatArray, y: FloatArray, crs: CRS, area: AreaCrs) -> FloatArray:
    """By what part the true area of a square unit grows for each unit towards x and towards y."""
    step = 10 * PROBE_M / get_metres_per_unit(crs)
    here = area.compute_densities(x, y, crs)
    across = area.compute_densities(x + step, y, crs) - area.compute_densities(x - step, y, crs)
    up = area.compute_densities(x, y + step, crs) - area.compute_densities(x, y - step, crs)
    return np.stack([across, up]) / (2 * step * here)


def assign_points(
    points: Polygons, regions: Polygons, footprint: Indices, inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether each pair's point lies in its region; a point on a border belongs to the first region in the list."""
    within = np.zeros(len(points), dtype=bool)
    within[inside] = True
    x, y = shapely.get_coordinates(points).T
    within[~inside] = shapely.contains_xy(regions[~inside], x[~inside], y[~inside])
    homeless = np.flatnonzero(~np.isin(footprint, footprint[within]))
    touching = homeless[shapely.intersects_xy(regions[homeless], x[homeless], y[homeless])]
    within[touching[np.unique(footprint[touching], return_index=True)[1]]] = True
    return within


def locate_points(points: Polygons, regions: Polygons) -> tuple[Indices, Indices]:
    """Pairs of a point and a region that it lies in, by their numbers; on a border, in the first region that it touches."""
    point, region = shapely.STRtree(regions).query(points, predicate="intersects")
    order = np.lexsort((region, point))
    point, region = point[order], region[order]
    held = assign_points(points[point], regions[region], point, np.zeros(len(point), dtype=bool))
    return point[held], region[held]


BLOCK_PIXELS = 4_000_000
MOST_NEIGHBOURS = 100
NOWHERE = -1


class RegionPixels:
    """Adds up pixels by region, strip by strip; a pixel belongs to the region its middle lies in.

    The area of a region inside the image is that of its polygon; pixels only say what part of it was seen, and with
    which probabilities. So a region that was seen wholly has exactly its own area.
    """

    def __init__(self, regions: Regions, grid: Grid, area: AreaCrs, bands: int) -> None:
        self.grid = grid
        self._pixel_areas = area.compute_pixel_areas(grid)
        self._shapes = clip_regions(grid, regions)
        self._areas = area.areas(self._shapes, grid.crs)
        self._layers = separate_overlapping(self._shapes)
        self._places = [find_window(self._shapes[layer], grid) for layer in self._layers]
        self._all = np.zeros(len(regions))
        self._seen = np.zeros(len(regions))
        self._expected = np.zeros((bands, len(regions)))
        self._has_probability = False

    def add(self, window: Window, seen: NDArray[np.bool_], probability: NDArray[np.generic] | None) -> None:
        """Add a window: which of its pixels were seen, and the probability of each class, (band, row, col)."""
        self._has_probability |= probability is not None
        for rows in split_blocks(window):
            block = Window(window.row + rows.start, window.col, rows.stop - rows.start, window.width)
            bands = None if probability is None else probability[:, rows]
            self._add_block(block, seen[rows], bands)

    def _add_block(self, window: Window, seen: NDArray[np.bool_], bands: NDArray[np.generic] | None) -> None:
        for layer, place in zip(self._layers, self._places, strict=True):
            part = intersect_windows(place, window)
            if part is None:
                continue
            cut = part.within(window).slices
            runs = PixelRuns.of(self._rasterize(layer, part), part, self._pixel_areas)
            self._all += runs.sums(np.ones_like(seen[cut]), len(self._all))
            self._seen += runs.sums(seen[cut], len(self._all))
            for index, band in enumerate(() if bands is None else bands):
                self._expected[index] += runs.probabilities(band[cut], seen[cut], len(self._all))

    def _rasterize(self, layer: NDArray[np.intp], window: Window) -> NDArray[np.int32]:
        """Which region of a layer each pixel of a window belongs to."""
        return rasterize_shapes(self._shapes[layer], self.grid.window(window), layer)

    @property
    def seen_m2(self) -> FloatArray:
        """Area of each region that has data; none (nan) for a region in which no pixel's middle lies."""
        return self._scale_to_polygons(self._seen)

    @property
    def expected_m2(self) -> FloatArray | None:
        """Sum of probability times area, (band, region); none where no probability was given."""
        return self._scale_to_polygons(self._expected) if self._has_probability else None

    def _scale_to_polygons(self, sums: FloatArray) -> FloatArray:
        """Sums over pixels brought to the area of the polygon, to a thousandth of a square metre."""
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(self._areas > 0, sums / self._all, 0.0)
        return np.asarray(np.round(part * self._areas, 3), dtype=np.float64)


@dataclass(frozen=True)
class PixelRuns:
    """Neighbours in a row that belong to the same region, for quick sums.

    A run is so short that its pixels are of one size: that of its middle.
    """

    starts: NDArray[np.intp]
    owners: NDArray[np.int32]
    pixel_m2: FloatArray

    @classmethod
    def of(cls, burned: NDArray[np.int32], window: Window, sizes: PixelAreas) -> PixelRuns:
        fresh = np.ones(burned.shape, dtype=bool)
        fresh[:, 1:] = burned[:, 1:] != burned[:, :-1]
        fresh[:, -window.col % sizes.col_step :: sizes.col_step] = True
        starts = np.flatnonzero(fresh)
        lengths = np.diff(starts, append=burned.size)
        row, col = np.divmod(starts, window.width)
        pixel_m2 = sizes.at(window.row + row + 0.5, window.col + col + lengths / 2)
        return cls(starts, burned.ravel()[starts], pixel_m2)

    def sums(self, values: NDArray[np.generic], regions: int) -> FloatArray:
        """Sum of value times area over the pixels of each region."""
        kind = np.float64 if values.dtype.kind == "f" else np.int64
        sums = np.add.reduceat(values.ravel(), self.starts, dtype=kind) * self.pixel_m2
        inside = self.owners != NOWHERE
        return np.bincount(self.owners[inside], sums[inside], regions).astype(np.float64)

    def probabilities(self, band: NDArray[np.generic], seen: NDArray[np.bool_], regions: int) -> FloatArray:
        """Sum of probability times area over the seen pixels of each region."""
        sums = self.sums(np.where(seen & ~find_unknown(band), band, 0), regions)
        return sums * {"uint8": PROBABILITY_STEP, "uint16": FINE_STEP}.get(band.dtype.name, 1.0)


def rasterize_shapes(shapes: Polygons, grid: Grid, numbers: Indices) -> NDArray[np.int32]:
    """The number of the shape that holds the middle of each pixel; of shapes that overlap, the last one counts."""
    here = shapely.clip_by_rect(shapes, *grid.bounds)
    held = ~shapely.is_empty(here)
    if not held.any():
        return np.full(grid.shape, NOWHERE, dtype=np.int32)
    with ignore_missing_place():
        burned: NDArray[np.int32] = rasterize(
            zip(here[held], numbers[held].tolist(), strict=True),
            out_shape=grid.shape,
            transform=grid.transform,
            fill=NOWHERE,
            dtype="int32",
        )
    return burned


def clip_regions(grid: Grid, regions: Regions) -> Polygons:
    """What of each region lies inside the image, in the image's CRS."""
    near = regions.near(grid)
    longest = LONGEST_STRAIGHT_M / 4 / get_metres_per_unit(regions.crs)
    moved = transform_polygons(shapely.segmentize(near, longest), regions.crs, grid.crs)
    parts, owners = shapely.get_parts(moved, return_index=True)
    parts = mend_polygons(lay_near(parts, grid.centre[0], find_full_turn(grid.crs)))
    corners = [
        grid.transform @ corner for corner in ((0, 0), (grid.width, 0), grid.shape[::-1], (0, grid.height))
    ]
    return keep_polygonal_parts(
        shapely.intersection(dissolve_parts(parts, owners, len(near)), shapely.Polygon(corners))
    )


def separate_overlapping(shapes: Polygons) -> list[NDArray[np.intp]]:
    """Shapes in few layers, none of which overlaps another in its layer: each is in the first layer with room for it.

    A shape with very many others around it gets a layer of its own, since to look at them all takes longer than that.
    """
    tree, inside = shapely.STRtree(shapes), find_inner_points(shapes)
    shapely.prepare(shapes)
    layers = np.zeros(len(shapes), dtype=np.intp)
    for index, shape in enumerate(shapes):
        near = tree.query(shape)
        earlier = near[near < index]
        if len(earlier) > MOST_NEIGHBOURS:
            layers[index] = layers[:index].max() + 1
        else:
            rivals = earlier[overlap_truly(shapes, inside[index], earlier, index)]
            layers[index] = find_first_missing(layers[rivals])
    return [np.flatnonzero(layers == layer) for layer in range(int(layers.max(initial=-1)) + 1)]


def find_inner_points(shapes: Polygons) -> FloatArray:
    """A point (x, y) inside each shape; none (nan) for an empty one."""
    points = np.full((len(shapes), 2), np.nan)
    there = ~shapely.is_empty(shapes)
    points[there] = shapely.get_coordinates(shapely.point_on_surface(shapes[there]))
    return points


def overlap_truly(shapes: Polygons, inner: FloatArray, others: Indices, index: int) -> NDArray[np.bool_]:
    """Whether others share more than their border with a shape; a point inside it often tells, which is quick to see."""
    shared = shapely.contains_xy(shapes[others], *inner)
    unsure = np.flatnonzero(~shared)
    rest = shapes[others[unsure]]
    shared[unsure] = shapely.intersects(shapes[index], rest) & ~shapely.touches(shapes[index], rest)
    return np.asarray(shared, dtype=bool)


def find_first_missing(numbers: Indices) -> int:
    """The smallest whole number from 0 on that is not among some."""
    there = np.zeros(len(numbers) + 1, dtype=bool)
    there[numbers[numbers < len(there)]] = True
    return int(np.argmin(there))


def find_window(shapes: Polygons, grid: Grid) -> Window:
    """The pixels around shapes, with one more on each side; those of a grid that is turned lie in their box."""
    left, bottom, right, top = shapely.total_bounds(shapes)
    if not np.isfinite(left):
        return Window(0, 0, 0, 0)
    corners = [
        ~grid.transform @ corner for corner in ((left, top), (left, bottom), (right, top), (right, bottom))
    ]
    cols, rows = np.array(corners).T
    row, col = (max(0, int(np.floor(values.min())) - 1) for values in (rows, cols))
    stop_row, stop_col = (
        min(size, int(np.ceil(values.max())) + 1)
        for size, values in zip(grid.shape, (rows, cols), strict=True)
    )
    return Window(row, col, max(0, stop_row - row), max(0, stop_col - col))


def intersect_windows(one: Window, other: Window) -> Window | None:
    """The pixels that two windows share."""
    row, col = max(one.row, other.row), max(one.col, other.col)
    height, width = min(one.stop_row, other.stop_row) - row, min(one.stop_col, other.stop_col) - col
    return Window(row, col, height, width) if height > 0 and width > 0 else None


def split_blocks(window: Window) -> Iterator[slice]:
    """Rows of a window in runs that take little memory, cut at the same rows of the raster whatever the window is."""
    height = max(1, BLOCK_PIXELS // window.width)
    cuts = range((window.row // height + 1) * height, window.stop_row, height)
    edges = [window.row, *cuts, window.stop_row]
    for start, stop in pairwise(edges):
        yield slice(start - window.row, stop - window.row)
