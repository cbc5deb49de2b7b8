"""Traces the outlines of equal pixels in a band of rows, working on the walls alone, all of them at once.

A wall is the side of a pixel towards a pixel of another value. Vertical walls are found by comparing neighbours in a
row. They make up straight stretches that end where an outline turns; on every grid line, the turns pair up from left
to right, and each pair is a horizontal wall. Following stretches and pairs in turn gives the outlines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from geoseg.footprints.polygons import Flags, Ints, find_starts, sum_by_label
from geoseg.footprints.trace.pieces import (
    BYTE_STEPS,
    LARGEST_BOX_PIXELS,
    ComponentRuns,
    OutlinePieces,
    PixelComponents,
    get_unknown_value,
    label_groups,
    order_paths,
)
from geoseg.raster.coding import Values


@dataclass(frozen=True)
class JoinRules:
    """What belongs together.

    Pixels of one footprint share a side (`connectivity` 4) or at least a corner (8). Footprints that touch by a side
    (`clusters` 4), or by a corner of equal pixels, too (8), make a cluster; with 0 nobody asks for clusters.
    `keeps_pixels` carries each footprint's own pixels along, as long as the box around it is not too large.
    """

    connectivity: int = 4
    clusters: int = 4
    keeps_pixels: bool = False
    largest_box_pixels: int = LARGEST_BOX_PIXELS


def trace_outlines(
    values: Values,
    row: int,
    joining: JoinRules,
    probability: Values | None = None,
    separators: Values | None = None,
) -> OutlinePieces:
    """Outlines of all pixels that are neither 0 nor unknown, in a band whose first row is `row` of the raster.

    Outlines stay open where they cross the first or the last row of the band. `probability` is in steps, or in bytes
    as `geoseg infer` writes them; the largest integer of its kind is unknown. `separators` are two planes of such bytes,
    boundary and distance, that are kept with the pixels.
    """
    band = _PaddedBand.around(values)
    left, right = _Side.of(band, band.starts, outward=-1), _Side.of(band, band.ends, outward=1)
    stretches = _Stretches.of(left, right)
    order, counts = order_paths(_follow_stretches(stretches, band))
    outline = np.empty(len(order), dtype=np.int64)
    outline[order] = np.repeat(np.arange(len(counts)), counts)
    corners, sizes = _list_corners(stretches, order, counts, band.height)
    walls = _WallOutlines(band, left, right, outline)
    number, component = label_groups(len(counts), *walls.pair_across_runs())
    components, runs = _describe_components(walls, number, component, joining, probability)
    return OutlinePieces(
        row=row,
        stop_row=row + band.height,
        corners=corners + np.array([row, 0]),
        sizes=sizes,
        component=component,
        components=components,
        top=outline[stretches.top == 0],
        bottom=outline[stretches.bottom == band.height],
        first=values[0].copy(),
        last=values[-1].copy(),
        runs=_add_separators(runs, band, separators).moved(row)
        if joining.keeps_pixels
        else ComponentRuns.none(),
    )


@dataclass(frozen=True)
class _PaddedBand:
    """Rows of pixels with a margin of nothing around them, as one flat array; `ink` leaves unknown pixels out."""

    cells: Values
    ink: Values
    height: int
    stride: int

    @classmethod
    def around(cls, values: Values) -> _PaddedBand:
        height, width = values.shape
        cells = np.zeros((height + 2, width + 2), dtype=values.dtype)
        cells[1:-1, 1:-1] = values
        flat, unknown = cells.ravel(), get_unknown_value(values)
        ink = np.where(flat == unknown, 0, flat) if values.max(initial=0) == unknown else flat
        return cls(flat, ink, height, width + 2)

    @cached_property
    def seen(self) -> Ints:
        """The places of all pixels with a value, counted without the margin."""
        return np.flatnonzero(self.ink.reshape(self.height + 2, self.stride)[1:-1, 1:-1])

    @property
    def has_unknown(self) -> bool:
        return self.ink is not self.cells

    @cached_property
    def changes(self) -> Ints:
        """Every pixel whose right neighbour differs."""
        return np.flatnonzero(self.ink[1:] != self.ink[:-1])

    @cached_property
    def starts(self) -> Ints:
        """The first pixel of every run of equal pixels in a row."""
        return self.changes[self.ink[self.changes + 1] > 0] + 1

    @cached_property
    def ends(self) -> Ints:
        """The last pixel of every run."""
        return self.changes[self.ink[self.changes] > 0]

    @cached_property
    def has_neighbours_of_another_value(self) -> bool:
        values = self.ink[self.starts]
        return self.has_unknown or bool(len(values) and values.min() != values.max())

    def place(self, pixels: Ints) -> tuple[Ints, Ints]:
        """Row and column of pixels."""
        row, col = np.divmod(pixels, self.stride)
        return row - 1, col - 1


@dataclass(frozen=True)
class _Side:
    """The left (`outward` -1) or right walls of all runs, and the stretches that they make up, by column."""

    outward: int
    starting: Flags
    stretch_keys: Ints
    value: Values
    col: Ints
    top: Ints
    bottom: Ints
    top_reflex: Flags
    bottom_reflex: Flags
    crossing: Ints

    @classmethod
    def of(cls, band: _PaddedBand, pixels: Ints, outward: int) -> _Side:
        starting, start_reflex, crossing = _find_turns(band, pixels, outward, -band.stride)
        stopping, stop_reflex, _ = _find_turns(band, pixels, outward, band.stride)
        top_keys, bottom_keys = (
            _make_column_keys(band, pixels[starting]),
            _make_column_keys(band, pixels[stopping]),
        )
        top_order, bottom_order = np.argsort(top_keys), np.argsort(bottom_keys)
        col, top = np.divmod(top_keys[top_order], band.height)
        return cls(
            outward=outward,
            starting=starting,
            stretch_keys=top_keys[top_order],
            value=band.ink[pixels[starting][top_order]],
            col=col + (outward > 0),
            top=top,
            bottom=bottom_keys[bottom_order] % band.height + 1,
            top_reflex=start_reflex[starting][top_order],
            bottom_reflex=stop_reflex[stopping][bottom_order],
            crossing=pixels[crossing],
        )


def _find_turns(band: _PaddedBand, pixels: Ints, outward: int, onward: int) -> tuple[Flags, Flags, Flags]:
    """Whether the wall of each pixel turns behind it instead of going straight on.

    Also whether it turns outward (a reflex corner), and whether an equal pixel lies across the corner.
    """
    value = band.ink[pixels]
    ahead = band.ink[pixels + onward] == value
    diagonal = band.ink[pixels + onward + outward] == value
    return ~ahead | diagonal, ahead, ~ahead & diagonal


def _make_column_keys(band: _PaddedBand, pixels: Ints) -> Ints:
    row, col = band.place(pixels)
    return col * band.height + row


@dataclass(frozen=True)
class _Stretches:
    """Straight vertical walls from grid line `top` to `bottom`; left ones (`falls`) are walked down, right ones up."""

    falls: Flags
    value: Values
    col: Ints
    top: Ints
    bottom: Ints
    top_reflex: Flags
    bottom_reflex: Flags

    @classmethod
    def of(cls, left: _Side, right: _Side) -> _Stretches:
        names = ("value", "col", "top", "bottom", "top_reflex", "bottom_reflex")
        columns = {name: np.concatenate([getattr(left, name), getattr(right, name)]) for name in names}
        return cls(falls=np.arange(len(columns["col"])) < len(left.col), **columns)


def _follow_stretches(stretches: _Stretches, band: _PaddedBand) -> Ints:
    """The stretch that an outline takes after each one; -1 where it leaves the band."""
    upper, lower = np.flatnonzero(stretches.top > 0), np.flatnonzero(stretches.bottom < band.height)
    stretch = np.concatenate([upper, lower])
    line = np.concatenate([stretches.top[upper], stretches.bottom[lower]])
    reflex = np.concatenate([stretches.top_reflex[upper], stretches.bottom_reflex[lower]])
    inside_below = reflex ^ (np.arange(len(stretch)) < len(upper))
    rightward = stretches.falls[stretch] ^ reflex
    # Where one horizontal wall ends and another begins in the same point, the end comes first.
    key = ((inside_below * (band.height + 1) + line) * band.stride + stretches.col[stretch]) * 2 + rightward
    order = np.argsort(key)
    west, east = stretch[order].reshape(-1, 2).T
    backward = inside_below[order][::2]
    following = np.full(len(stretches.col), -1)
    following[np.where(backward, east, west)] = np.where(backward, west, east)
    return following


def _list_corners(stretches: _Stretches, order: Ints, counts: Ints, height: int) -> tuple[Ints, Ints]:
    """The turns of all outlines in walking order, and how many each has."""
    falls, top, bottom = stretches.falls[order], stretches.top[order], stretches.bottom[order]
    line = np.stack([np.where(falls, top, bottom), np.where(falls, bottom, top)], axis=1)
    turns = (line > 0) & (line < height)
    corners = np.stack([line, np.broadcast_to(stretches.col[order, None], line.shape)], axis=2)[turns]
    sizes = np.add.reduceat(turns.sum(axis=1), find_starts(counts)) if len(counts) else counts
    return corners, sizes


@dataclass(frozen=True)
class _WallOutlines:
    """Which outline each wall belongs to."""

    band: _PaddedBand
    left: _Side
    right: _Side
    outline: Ints

    def left_of(self, pixels: Ints) -> Ints:
        """Outlines that the left walls of pixels belong to."""
        return self.outline[self._stretch(self.left, pixels)]

    def right_of(self, pixels: Ints) -> Ints:
        """Outlines that the right walls of pixels belong to."""
        return self.outline[len(self.left.col) + self._stretch(self.right, pixels)]

    def around(self, pixels: Ints) -> Ints:
        """An outline of the component that each pixel belongs to: the one to the left of its run."""
        run = np.searchsorted(self.band.starts, pixels, side="right") - 1
        return self.left_of(self.band.starts[run])

    def pair_across_runs(self) -> tuple[Ints, Ints]:
        """Pairs of outlines with pixels between them; every run with a wall that starts there is enough."""
        telling = self.left.starting | self.right.starting
        return self.left_of(self.band.starts[telling]), self.right_of(self.band.ends[telling])

    def pair_across_corners(self) -> tuple[Ints, Ints]:
        """Pairs of outlines whose equal pixels meet at a corner only."""
        falling, rising = self.left.crossing, self.right.crossing
        upper_left, upper_right = falling - self.band.stride - 1, rising - self.band.stride + 1
        return (
            np.concatenate([self.left_of(falling), self.right_of(rising)]),
            np.concatenate([self.right_of(upper_left), self.left_of(upper_right)]),
        )

    def find_contacts(self) -> tuple[Ints, Ints]:
        """Pairs of neighbouring pixels (above each other or side by side) that differ and are both not 0."""
        cells, stride = self.band.cells, self.band.stride
        changes = self.band.changes
        beside = changes[(cells[changes] > 0) & (cells[changes + 1] > 0)]
        upper, lower = cells[:-stride], cells[stride:]
        above = np.flatnonzero((upper != lower) & (upper > 0) & (lower > 0))
        return np.concatenate([beside, above]), np.concatenate([beside + 1, above + stride])

    def _stretch(self, side: _Side, pixels: Ints) -> Ints:
        return np.searchsorted(side.stretch_keys, _make_column_keys(self.band, pixels), side="right") - 1


def _describe_components(
    walls: _WallOutlines, number: int, component: Ints, joining: JoinRules, probability: Values | None
) -> tuple[PixelComponents, ComponentRuns]:
    """What the band tells of its components, and their runs of pixels."""
    band = walls.band
    corners_count = 8 in (joining.connectivity, joining.clusters)
    crossing = walls.pair_across_corners() if corners_count else _NO_PAIRS
    touching, beside_unknown = (
        _find_touching(walls) if band.has_neighbours_of_another_value else (_NO_PAIRS, _NONE)
    )
    crossing_ones, touching_ones = component[np.stack(crossing)], component[np.stack(touching)]
    same_footprint = crossing_ones if joining.connectivity == 8 else crossing_ones[:, :0]
    neighbours = [crossing_ones, touching_ones] if joining.clusters else [same_footprint]
    value = np.zeros(number, dtype=np.int64)
    value[component[walls.outline]] = np.concatenate([walls.left.value, walls.right.value])
    touches_nodata = np.zeros(number, dtype=bool)
    touches_nodata[component[beside_unknown]] = True
    wanted = joining.keeps_pixels or probability is not None
    runs = _list_runs(walls, component, probability) if wanted else ComponentRuns.none()
    sums, known = _sum_probabilities(runs, number)
    return PixelComponents(
        value=value,
        footprint=label_groups(number, *same_footprint)[1],
        cluster=label_groups(number, *np.concatenate(neighbours, axis=1))[1],
        probability=sums,
        known=known,
        touches_nodata=touches_nodata,
        sprawling=np.zeros(number, dtype=bool),
    ), runs


def _find_touching(walls: _WallOutlines) -> tuple[tuple[Ints, Ints], Ints]:
    """Pairs of outlines that touch along a wall, and outlines that touch unknown pixels."""
    cells, unknown = walls.band.cells, get_unknown_value(walls.band.cells)
    one, other = walls.find_contacts()
    one_known, other_known = cells[one] != unknown, cells[other] != unknown
    both = one_known & other_known
    edge = np.concatenate([one[one_known & ~other_known], other[other_known & ~one_known]])
    return (walls.around(one[both]), walls.around(other[both])), walls.around(edge)


def _list_runs(walls: _WallOutlines, component: Ints, probability: Values | None) -> ComponentRuns:
    band = walls.band
    row, col = band.place(band.starts)
    if probability is None:
        pixels = np.empty(0, dtype=np.uint16)
    else:
        pixels = probability.ravel()[band.seen]
        pixels = BYTE_STEPS[pixels] if pixels.dtype == np.uint8 else pixels
    length = band.ends - band.starts + 1
    return replace(
        ComponentRuns.none(),
        row=row,
        col=col,
        length=length,
        component=component[walls.left_of(band.starts)],
        probability=pixels,
    )


def _add_separators(runs: ComponentRuns, band: _PaddedBand, separators: Values | None) -> ComponentRuns:
    if separators is None:
        return runs
    boundary, distance = (plane.ravel()[band.seen] for plane in separators)
    return replace(runs, boundary=boundary, distance=distance)


def _sum_probabilities(runs: ComponentRuns, number: int) -> tuple[Ints, Ints]:
    """Sum of the probabilities known inside each component, and how many they are."""
    if not len(runs.probability):
        return np.zeros(number, dtype=np.int64), np.zeros(number, dtype=np.int64)
    known = runs.probability != get_unknown_value(runs.probability)
    starts = find_starts(runs.length)
    sums = np.add.reduceat(runs.probability * known, starts, dtype=np.int64)
    counts = np.add.reduceat(known, starts, dtype=np.int64)
    return sum_by_label(runs.component, sums, number), sum_by_label(runs.component, counts, number)


_NONE = np.empty(0, dtype=np.int64)
_NO_PAIRS = (_NONE, _NONE)
