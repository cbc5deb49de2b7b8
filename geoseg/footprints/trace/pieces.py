"""Pieces of footprints in a band of rows: outlines that may end at the band's first or last row.

Everything lies in pixel coordinates (row, col), corners of pixels at integers. An outline is walked with the inside
on its left as seen with row 0 above: down along left walls, up along right walls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.footprints.polygons import Flags, Ints, make_offsets, sum_by_label
from geoseg.raster.coding import FINE_STEPS, Values

BYTE_STEPS = np.append(np.arange(255) * (FINE_STEPS // 250), np.iinfo(np.uint16).max).astype(np.uint16)
"""The same for a probability of `geoseg infer`, 250 for 1 and 255 for unknown."""
LARGEST_BOX_PIXELS = 16_000_000
"""A footprint that spreads further, 1.2 km at 0.3 m, is not split: what it takes to do so stays in memory."""


def get_unknown_value(values: Values) -> int:
    """The number that stands for an unknown pixel: the largest of its kind, 255 for uint8."""
    return int(np.iinfo(values.dtype).max)


@dataclass(frozen=True)
class PixelComponents:
    """What is known of each set of pixels that are joined by their sides and share a value.

    Components that share a number in `footprint` are one footprint, those that share a number in `cluster` touch.
    `probability` is a sum, in steps, over the `known` pixels that have one. The pixels of `sprawling` ones are not kept.
    """

    value: Ints
    footprint: Ints
    cluster: Ints
    probability: Ints
    known: Ints
    touches_nodata: Flags
    sprawling: Flags

    def __len__(self) -> int:
        return len(self.value)

    def joined(self, label: Ints, number: int) -> PixelComponents:
        """Components that carry one label become one."""

        def one(column: Ints) -> Ints:
            chosen = np.empty(number, dtype=np.int64)
            chosen[label] = column
            return chosen

        return PixelComponents(
            value=one(self.value),
            footprint=one(self.footprint),
            cluster=one(self.cluster),
            probability=sum_by_label(label, self.probability, number),
            known=sum_by_label(label, self.known, number),
            touches_nodata=sum_by_label(label, self.touches_nodata, number) > 0,
            sprawling=sum_by_label(label, self.sprawling, number) > 0,
        )

    def where(self, kept: Flags) -> PixelComponents:
        """Some of the components, footprints and clusters numbered from 0 again."""
        chosen = PixelComponents(*(getattr(self, field.name)[kept] for field in fields(self)))
        return replace(
            chosen,
            footprint=np.unique(chosen.footprint, return_inverse=True)[1],
            cluster=np.unique(chosen.cluster, return_inverse=True)[1],
        )


@dataclass(frozen=True)
class ComponentRuns:
    """Pixels of components, row by row, with what is known of each: kept where footprints are split later.

    `probability` is in steps; `boundary` and `distance` are bytes of `geoseg infer`. What is not known is empty.
    """

    row: Ints
    col: Ints
    length: Ints
    component: Ints
    probability: Values
    boundary: Values
    distance: Values

    @staticmethod
    def none() -> ComponentRuns:
        empty, no_bytes = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8)
        return ComponentRuns(
            empty, empty, empty, empty, np.empty(0, dtype=np.uint16), boundary=no_bytes, distance=no_bytes
        )

    def moved(self, rows: int) -> ComponentRuns:
        return replace(self, row=self.row + rows)

    def where(self, kept: Flags) -> ComponentRuns:
        pixels = np.repeat(kept, self.length)
        layers = (
            values[pixels] if len(values) else values
            for values in (self.probability, self.boundary, self.distance)
        )
        return ComponentRuns(self.row[kept], self.col[kept], self.length[kept], self.component[kept], *layers)

    def measure_boxes(self, group: Ints, number: int) -> Ints:
        """How many pixels the box around each of so many groups of components has; `group` says where each belongs."""
        own = group[self.component]
        low, high = np.full((2, number), np.iinfo(np.int64).max), np.full((2, number), -1)
        for lowest, highest, first, stop in zip(
            low, high, (self.row, self.col), (self.row + 1, self.col + self.length), strict=True
        ):
            np.minimum.at(lowest, own, first)
            np.maximum.at(highest, own, stop)
        return np.where(high[0] < 0, 0, np.prod(high - low, axis=0))


@dataclass(frozen=True)
class OutlinePieces:
    """Outlines of a band of rows: `sizes` corners each, laid end to end in `corners`, each of one `component`.

    Walls that cross the band's first or last row of pixels are named in `top` and `bottom` by the outline they
    belong to: first all left walls by column, then all right ones. `first` and `last` are those rows of the mask.
    """

    row: int
    stop_row: int
    corners: Ints
    sizes: Ints
    component: Ints
    components: PixelComponents
    top: Ints
    bottom: Ints
    first: Values
    last: Values
    runs: ComponentRuns

    def find_open_clusters(self) -> Flags:
        """Which clusters may go on beyond the band."""
        is_open = np.zeros(self.components.cluster.max(initial=-1) + 1, dtype=bool)
        ends = np.concatenate([self.top, self.bottom])
        is_open[self.components.cluster[self.component[ends]]] = True
        return is_open

    def split_finished(self) -> tuple[OutlinePieces, OutlinePieces]:
        """What is finished, and what may go on beyond the band."""
        unfinished = self.find_open_clusters()[self.components.cluster]
        return self.where(~unfinished), self.where(unfinished)

    def where(self, kept: Flags) -> OutlinePieces:
        """Some of the components; an open outline is kept with the rows it crosses or not at all."""
        outlines = kept[self.component]
        renumbered_components, renumbered = np.cumsum(kept) - 1, np.cumsum(outlines) - 1
        runs = self.runs.where(kept[self.runs.component])
        return replace(
            self,
            corners=self.corners[np.repeat(outlines, self.sizes)],
            sizes=self.sizes[outlines],
            component=renumbered_components[self.component[outlines]],
            components=self.components.where(kept),
            top=renumbered[self.top[outlines[self.top]]],
            bottom=renumbered[self.bottom[outlines[self.bottom]]],
            runs=replace(runs, component=renumbered_components[runs.component]),
        )


def concatenate_columns(tables: Sequence[Any], but: str = "") -> dict[str, Values]:
    """The columns of several tables of one kind, end to end, without the one named `but`."""
    names = [field.name for field in fields(tables[0]) if field.name != but]
    return {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}


def label_groups(number: int, one: Ints, other: Ints) -> tuple[int, Ints]:
    """Number the groups that things 0 to `number` fall into when each pair of `one` and `other` is joined."""
    if len(one) == 0:
        return number, np.arange(number)
    graph = csr_array((np.ones(len(one)), (one, other)), shape=(number, number))
    count, label = connected_components(graph, directed=False)
    return count, label.astype(np.int64)


def order_paths(following: Ints) -> tuple[Ints, Ints]:
    """Lay out paths and rings in walking order, given which node follows each (-1 at the end of a path).

    Gives the nodes in order and the number of nodes of each path or ring. A ring starts at its lowest node.
    """
    number = len(following)
    nodes = np.arange(number)
    if number == 0:
        return nodes, nodes
    goes_on = following >= 0
    count, label = connected_components(_make_graph(following), directed=False)
    before = np.full(number, -1)
    before[following[goes_on]] = nodes[goes_on]
    start = np.empty(count, dtype=np.int64)
    start[label[::-1]] = nodes[::-1]  # the lowest node of each is written last
    start[label[before < 0]] = nodes[before < 0]
    stop = before[start]
    stop[label[~goes_on]] = nodes[~goes_on]
    # One long path through all of them lets a compiled breadth-first walk find the order.
    path = following.copy()
    path[stop[:-1]] = start[1:]
    path[stop[-1]] = -1
    order = breadth_first_order(_make_graph(path), start[0], return_predecessors=False)
    return order.astype(np.int64), np.bincount(label, minlength=count)


def _make_graph(following: Ints) -> csr_array:
    """Which node follows each (-1: none), in the very form that SciPy walks: others it would copy three times."""
    goes_on = following >= 0
    row_ends = make_offsets(goes_on).astype(np.int32)
    links = following[goes_on].astype(np.int32)
    return csr_array((np.ones(len(links)), links, row_ends), shape=(len(following),) * 2)
