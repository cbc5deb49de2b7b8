"""Finished pieces as polygons: rings that touch themselves are split, and holes join their outer ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.polygons import (
    Flags,
    Ints,
    find_starts,
    join_parts,
    locate_items,
    make_offsets,
    number_items,
    number_rows,
    sum_by_label,
)
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import (
    ComponentRuns,
    OutlinePieces,
    PixelComponents,
    concatenate_columns,
    label_groups,
    order_paths,
)


class Stitcher:
    """Takes bands from the top of a raster to its bottom, and gives back what is finished.

    Between two bands it holds only what crosses the seam.
    """

    def __init__(self, width: int, joining: JoinRules) -> None:
        self._joining = joining
        self._margin = np.zeros((1, width), dtype=np.uint8)
        self._open = trace_outlines(self._margin, -1, joining)

    def add(self, band: OutlinePieces) -> OutlinePieces:
        """Join the next band; gives the pieces that can go on no further."""
        finished, self._open = join_bands(self._open, band, self._joining).split_finished()
        return finished

    def finish(self) -> OutlinePieces:
        """Close what is open at the lower edge of the raster."""
        return self.add(trace_outlines(self._margin, self._open.stop_row, self._joining))


def join_bands(above: OutlinePieces, below: OutlinePieces, joining: JoinRules) -> OutlinePieces:
    """One band from two that follow each other."""
    both_rows = np.stack([above.last, below.first])
    seam = trace_outlines(both_rows, above.stop_row - 1, replace(joining, keeps_pixels=False))
    bands = (above, seam, below)
    shifts = np.cumsum([0, *(len(band.sizes) for band in bands)])
    upper = above.bottom, seam.top + shifts[1]
    lower = seam.bottom + shifts[1], below.top + shifts[2]
    one, other = np.concatenate([upper[0], lower[0]]), np.concatenate([upper[1], lower[1]])
    order, counts = order_paths(_follow_seams(shifts[3], upper, lower))
    outline = np.empty(shifts[3], dtype=np.int64)
    outline[order] = np.repeat(np.arange(len(counts)), counts)
    corners, sizes = _join_corners(bands, order, counts)
    owner, components, runs = _join_components(bands, one, other)
    if joining.keeps_pixels:
        components, runs = _drop_sprawling(components, runs, joining.largest_box_pixels)
    component = np.empty(len(counts), dtype=np.int64)
    component[outline] = owner
    return OutlinePieces(
        row=above.row,
        stop_row=below.stop_row,
        corners=corners,
        sizes=sizes,
        component=component,
        components=components,
        top=outline[above.top],
        bottom=outline[below.bottom + shifts[2]],
        first=above.first,
        last=below.last,
        runs=runs,
    )


def _follow_seams(outlines: int, *seams: tuple[Ints, Ints]) -> Ints:
    """The outline that each one goes on in: left walls are walked down across a seam, right walls up."""
    following = np.full(outlines, -1)
    for above, below in seams:
        left, right = np.split(np.arange(len(above)), 2)
        following[above[left]] = below[left]
        following[below[right]] = above[right]
    return following


def _join_corners(bands: Sequence[OutlinePieces], order: Ints, counts: Ints) -> tuple[Ints, Ints]:
    sizes = np.concatenate([band.sizes for band in bands])
    corners = np.concatenate([band.corners for band in bands])[locate_items(sizes, order)]
    joined_sizes = np.add.reduceat(sizes[order], find_starts(counts)) if len(counts) else counts
    return corners, joined_sizes


def _join_components(
    bands: Sequence[OutlinePieces], one: Ints, other: Ints
) -> tuple[Ints, PixelComponents, ComponentRuns]:
    """The component of each old outline after joining, the joined components, and their pixels."""
    tables = [band.components for band in bands]
    columns = concatenate_columns(tables)
    sizes = np.array([len(table) for table in tables])
    for group in ("footprint", "cluster"):
        groups = [int(getattr(table, group).max(initial=-1)) + 1 for table in tables]
        columns[group] = columns[group] + np.repeat(find_starts(np.array(groups)), sizes)
    owner = _renumber([band.component for band in bands], sizes)
    one, other = owner[one], owner[other]
    number, label = label_groups(len(columns["value"]), one, other)
    for group in ("footprint", "cluster"):
        names = columns[group]
        columns[group] = label_groups(int(names.max(initial=-1)) + 1, names[one], names[other])[1][names]
    runs = ComponentRuns(**concatenate_columns([band.runs for band in bands]))
    runs = replace(runs, component=label[_renumber([band.runs.component for band in bands], sizes)])
    return label[owner], PixelComponents(**columns).joined(label, number), runs


def _drop_sprawling(
    components: PixelComponents, runs: ComponentRuns, largest_box_pixels: int
) -> tuple[PixelComponents, ComponentRuns]:
    """Forget the pixels of footprints that have become too large to be split: they will only grow."""
    footprint = components.footprint
    number = int(footprint.max(initial=-1)) + 1
    too_large = runs.measure_boxes(footprint, number) > largest_box_pixels
    too_large |= sum_by_label(footprint, components.sprawling, number) > 0
    sprawling = too_large[footprint]
    return replace(components, sprawling=sprawling), runs.where(~sprawling[runs.component])


def _renumber(numbers: Sequence[Ints], sizes: Ints) -> Ints:
    """Numbers into three tables as numbers into one, the tables laid end to end."""
    return np.concatenate(numbers) + np.repeat(find_starts(sizes), [len(column) for column in numbers])


ROW = 2**32
"""A corner (row, col) as one number, `row * ROW + col`, sorts by row and then by column."""


@dataclass(frozen=True)
class TracedFootprints:
    """Whole footprints in pixel coordinates (x = col, y = row), and what their pixels tell.

    `order` holds the keys, most important first, of the order in which footprints are written: the last row and
    the first pixel of their cluster, then their own. `probability` is a sum over the `known` pixels.
    The numbers in `cluster` and in `runs.component` are good within this value only.
    """

    polygons: NDArray[np.object_]
    value: Ints
    cluster: Ints
    probability: Ints
    known: Ints
    touches_nodata: Flags
    order: Ints
    runs: ComponentRuns

    def __len__(self) -> int:
        return len(self.polygons)

    def select(self, kept: Flags) -> TracedFootprints:
        """Some of the footprints, without their pixels."""
        columns = concatenate_columns([self], but="runs")
        return TracedFootprints(
            **{name: column[kept] for name, column in columns.items()}, runs=ComponentRuns.none()
        )

    @staticmethod
    def merge(batches: Sequence[TracedFootprints]) -> TracedFootprints:
        """Several batches as one, in the order in which footprints are written."""
        columns = concatenate_columns(batches, but="runs")
        sizes = np.array([len(batch) for batch in batches])
        clusters = np.array([int(batch.cluster.max(initial=-1)) + 1 for batch in batches])
        columns["cluster"] = columns["cluster"] + np.repeat(find_starts(clusters), sizes)
        runs = ComponentRuns(**concatenate_columns([batch.runs for batch in batches]))
        shifts = np.repeat(find_starts(sizes), [len(batch.runs.row) for batch in batches])
        return TracedFootprints(**columns, runs=replace(runs, component=runs.component + shifts)).sort()

    def sort(self) -> TracedFootprints:
        """The same footprints, in the order in which they are written."""
        order = np.lexsort(self.order.T[::-1])
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        columns = concatenate_columns([self], but="runs")
        return TracedFootprints(
            **{name: column[order] for name, column in columns.items()},
            runs=replace(self.runs, component=place[self.runs.component]),
        )


def build_footprints(pieces: OutlinePieces) -> TracedFootprints:
    """The footprints of pieces that are all finished, in the order in which they are written."""
    rings = (
        _ClosedRings(pieces.corners, pieces.sizes, pieces.component)
        .make_simple()
        .start_at_first_corner()
        .sort_by_component()
    )
    parts = _build_polygons(rings)
    components = pieces.components
    number = int(components.footprint.max(initial=-1)) + 1
    outer = find_starts(np.bincount(rings.component, minlength=len(components)))
    first, last = rings.first_corner[outer], rings.last_row[outer]
    footprint_first, footprint_last = _find_extremes(components.footprint, number, first, last)
    cluster_first, cluster_last = _find_extremes(
        components.cluster, int(components.cluster.max(initial=-1)) + 1, first, last
    )
    one = np.unique(components.footprint, return_index=True)[1]
    cluster = components.cluster[one]
    return TracedFootprints(
        polygons=_join_polygons(parts, components.footprint, first),
        value=components.value[one],
        cluster=cluster,
        probability=sum_by_label(components.footprint, components.probability, number),
        known=sum_by_label(components.footprint, components.known, number),
        touches_nodata=sum_by_label(components.footprint, components.touches_nodata, number) > 0,
        order=np.stack(
            [cluster_last[cluster], cluster_first[cluster], footprint_last, footprint_first], axis=1
        ),
        runs=replace(pieces.runs, component=components.footprint[pieces.runs.component]),
    ).sort()


@dataclass(frozen=True)
class _ClosedRings:
    """Closed outlines laid end to end, each of one component."""

    corners: Ints
    sizes: Ints
    component: Ints

    @property
    def starts(self) -> Ints:
        return find_starts(self.sizes)

    @property
    def corner_keys(self) -> Ints:
        return self.corners[:, 0] * ROW + self.corners[:, 1]

    @property
    def first_corner(self) -> Ints:
        return _reduce_rings(np.minimum, self.corner_keys, self.starts)

    @property
    def last_row(self) -> Ints:
        return _reduce_rings(np.maximum, self.corners[:, 0], self.starts) - 1

    @property
    def following(self) -> Ints:
        """Index of the next corner of the same ring."""
        following = np.arange(1, len(self.corners) + 1)
        following[self.starts + self.sizes - 1] = self.starts
        return following

    @property
    def areas(self) -> Ints:
        """Pixels inside; negative for a hole."""
        row, col = self.corners.T
        return _reduce_rings(np.add, col * (row - row[self.following]), self.starts)

    def take(self, rings: Flags | Ints) -> _ClosedRings:
        chosen = np.arange(len(self.sizes))[rings]
        return _ClosedRings(
            self.corners[locate_items(self.sizes, chosen)], self.sizes[rings], self.component[rings]
        )

    def make_simple(self) -> _ClosedRings:
        """Part rings in the corners where they touch themselves, so that each passes a corner once."""
        ring = number_rows(self.sizes)
        corner = _number_corners(self.corners)
        span = int(corner.max(initial=0)) + 1
        keys = np.sort(ring * span + corner)
        touching = np.zeros(len(self.sizes), dtype=bool)
        touching[keys[1:][keys[1:] == keys[:-1]] // span] = True
        if not touching.any():
            return self
        parted, whole = self.take(touching)._split_at_corners(), self.take(~touching)
        return _ClosedRings(
            *(np.concatenate([getattr(whole, f.name), getattr(parted, f.name)]) for f in fields(self))
        )

    def _split_at_corners(self) -> _ClosedRings:
        ring, following = number_rows(self.sizes), self.following
        order = np.lexsort((self.corner_keys, ring))
        keys = self.corner_keys[order]
        twice = np.flatnonzero((keys[1:] == keys[:-1]) & (ring[order][1:] == ring[order][:-1]))
        one, other = order[twice], order[twice + 1]
        following[one], following[other] = following[other], following[one]
        walk, sizes = order_paths(following)
        return _ClosedRings(self.corners[walk], sizes, self.component[ring[walk[find_starts(sizes)]]])

    def start_at_first_corner(self) -> _ClosedRings:
        """Start each ring at its topmost corner, the left one of several."""
        keys, ring = self.corner_keys, number_rows(self.sizes)
        shift = number_items(self.sizes)[keys == self.first_corner[ring]]
        place = (number_items(self.sizes) + shift[ring]) % self.sizes[ring]
        return replace(self, corners=self.corners[self.starts[ring] + place])

    def sort_by_component(self) -> _ClosedRings:
        """Bring the rings of a component together, the outer one first, then holes by their first corner."""
        return self.take(np.lexsort((self.first_corner, self.areas < 0, self.component)))


def _build_polygons(rings: _ClosedRings) -> NDArray[np.object_]:
    closed_sizes = rings.sizes + 1
    ring, place = number_rows(closed_sizes), number_items(closed_sizes)
    corners = rings.corners[rings.starts[ring] + place % rings.sizes[ring]]
    offsets = make_offsets(closed_sizes), make_offsets(np.bincount(rings.component))
    points = corners[:, ::-1].astype(np.float64)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets))


def _join_polygons(parts: NDArray[np.object_], label: Ints, first: Ints) -> NDArray[np.object_]:
    """One geometry a label: a polygon, or several that meet at corners as one multipolygon."""
    order = np.lexsort((first, label))
    return join_parts(parts[order], label[order])


def _number_corners(corners: Ints) -> Ints:
    """Corners as numbers as small as their extent allows."""
    if not len(corners):
        return np.empty(0, dtype=np.int64)
    row, col = (corners - corners.min(axis=0)).T
    dense: Ints = row * (col.max() + 1) + col
    return dense


def _find_extremes(label: Ints, number: int, first: Ints, last: Ints) -> tuple[Ints, Ints]:
    lowest, highest = np.full(number, np.iinfo(np.int64).max), np.full(number, -1)
    np.minimum.at(lowest, label, first)
    np.maximum.at(highest, label, last)
    return lowest, highest


def _reduce_rings(how: np.ufunc, values: Ints, starts: Ints) -> Ints:
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    reduced: Ints = how.reduceat(values, starts)
    return reduced
