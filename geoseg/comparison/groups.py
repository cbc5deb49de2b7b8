"""Which footprints of two layers belong together, and what became of them.

Two footprints are linked where at least half of the smaller one lies in the other. Footprints that are linked, directly
or through others, are a group: one and one, one and several, or one alone. Where several of one layer meet several of
the other, those that match as in `geoseg evaluate` are taken for pairs first, and the rest is grouped anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.comparison.layers import ComparedLayer, Flags, Ints, Polygons
from geoseg.comparison.shift import make_outlines
from geoseg.footprints.measure import FloatArray
from geoseg.progress import track
from geoseg.regions.polygons import dissolve_parts
from geoseg.scores.confusion import divide
from geoseg.scores.outlines import IOU_THRESHOLDS, ROUNDING, OutlineOverlaps, is_repeated, match_overlaps

FATES = ("same", "changed", "only_a", "only_b", "split", "merged")
SAME, CHANGED, ONLY_A, ONLY_B, SPLIT, MERGED = range(len(FATES))

LINKED_SHARE = 0.5
"""A footprint of which less than half lies in another one is its neighbour, drawn a little beside its place."""
LEAST_PART = 0.1
"""A piece smaller than this share of the largest footprint in its group, such as a shed at a house, splits nothing."""
AT_ONCE = 20_000
"""Footprints of A whose outlines are in memory together: about 30 MB with what they meet."""
LEAST_IOU = IOU_THRESHOLDS[:1]
HILBERT_LEVEL = 16


@dataclass(frozen=True)
class Groups:
    """Groups of footprints by their numbers: `of_a` and `of_b` say to which group each footprint belongs.

    Groups are numbered in the order of A, those of B alone after them in the order of B.
    """

    of_a: Ints
    of_b: Ints
    number: int

    def count(self, rows: Ints) -> Ints:
        """How many of some footprints, given by their groups, are in each group."""
        return np.bincount(rows, minlength=self.number)

    def select(self, kept: Flags) -> Groups:
        """Some of the groups, numbered anew; footprints of others are in none (-1)."""
        renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
        return Groups(renumbered[self.of_a], renumbered[self.of_b], int(kept.sum()))


def find_overlaps(a: ComparedLayer, b: ComparedLayer) -> OutlineOverlaps:
    """Every pair of footprints that share ground. Those of A are taken some at a time, neighbours together."""
    found: list[OutlineOverlaps] = []
    order = sort_by_place(a.middles)
    with track("Comparing", len(a), "footprints") as done:
        for start in range(0, len(a), AT_ONCE):
            of_a = order[start : start + AT_ONCE]
            of_b = find_near(a.boxes[of_a], b.boxes)
            pairs = OutlineOverlaps.between(make_outlines(a, of_a), make_outlines(b, of_b), least_shared=0)
            pairs = pairs.select(pairs.iou > 0)
            found.append(OutlineOverlaps(of_a[pairs.predicted], of_b[pairs.true], pairs.iou))
            done(len(of_a))
    return merge_overlaps(found)


def merge_overlaps(parts: list[OutlineOverlaps]) -> OutlineOverlaps:
    """Overlaps in the order of A, then of B, however they were found."""
    one, other = (
        np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])
        for name in ("predicted", "true")
    )
    iou = np.concatenate([np.empty(0), *(part.iou for part in parts)])
    order = np.lexsort((other, one))
    return OutlineOverlaps(one[order], other[order], iou[order])


def sort_by_place(middles: FloatArray) -> Ints:
    """An order in which neighbours come one after the other: along a Hilbert curve."""
    if not len(middles):
        return np.empty(0, dtype=np.int64)
    bounds = (*middles.min(axis=0), *middles.max(axis=0))
    codes = [
        gpd.GeoSeries(shapely.points(middles[start : start + AT_ONCE])).hilbert_distance(
            bounds, HILBERT_LEVEL
        )
        for start in range(0, len(middles), AT_ONCE)
    ]
    return np.asarray(np.argsort(np.concatenate(codes), kind="stable"))


def find_near(boxes: FloatArray, others: FloatArray) -> Ints:
    """Which other boxes touch any of some boxes."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    around = np.flatnonzero((others[:, :2] <= high).all(axis=1) & (others[:, 2:] >= low).all(axis=1))
    tree = shapely.STRtree(shapely.box(*boxes.T))
    near: Ints = around[np.unique(tree.query(shapely.box(*others[around].T))[0])]
    return near


def group_footprints(overlaps: OutlineOverlaps, areas_a: FloatArray, areas_b: FloatArray) -> Groups:
    """Footprints of two layers in groups that belong together."""
    links = select_linked(overlaps, areas_a, areas_b)
    groups = join_linked(links, len(areas_a), len(areas_b))
    tangled = (groups.count(groups.of_a) > 1) & (groups.count(groups.of_b) > 1)
    if not tangled.any():
        return groups
    return join_linked(keep_matching(links, tangled[groups.of_a], len(areas_b)), len(areas_a), len(areas_b))


def select_linked(overlaps: OutlineOverlaps, areas_a: FloatArray, areas_b: FloatArray) -> OutlineOverlaps:
    """The pairs that are linked: at least half of the smaller footprint lies in the other."""
    smaller = np.minimum(areas_a[overlaps.predicted], areas_b[overlaps.true])
    shared = measure_shared(overlaps, areas_a, areas_b)
    return overlaps.select((overlaps.iou > 0) & (shared >= (LINKED_SHARE - ROUNDING) * smaller))


def measure_shared(overlaps: OutlineOverlaps, areas_a: FloatArray, areas_b: FloatArray) -> FloatArray:
    """The ground that pairs share, from their intersection over union."""
    both = areas_a[overlaps.predicted] + areas_b[overlaps.true]
    return np.asarray(overlaps.iou * both / (1 + overlaps.iou))


def join_linked(links: OutlineOverlaps, count_a: int, count_b: int) -> Groups:
    """Groups of footprints that links join."""
    ends = links.predicted, count_a + links.true
    table = coo_array((np.ones(len(links.iou), dtype=np.int8), ends), shape=(count_a + count_b,) * 2)
    number, labels = connected_components(table, directed=False)
    _, first = np.unique(labels, return_index=True)
    renumbered = np.empty(number, dtype=np.int64)
    renumbered[labels[np.sort(first)]] = np.arange(number)
    labels = renumbered[labels]
    return Groups(labels[:count_a], labels[count_a:], int(number))


def keep_matching(links: OutlineOverlaps, tangled_a: Flags, count_b: int) -> OutlineOverlaps:
    """Links without those that tie two pairs together: of footprints that match, only the link to their partner stays."""
    within = tangled_a[links.predicted]
    inner = links.select(within)
    best = np.zeros(len(tangled_a))
    np.maximum.at(best, inner.predicted, inner.iou)
    partner = match_overlaps(inner, best, np.ones(count_b, dtype=bool), LEAST_IOU)[0]
    taken = np.zeros(count_b, dtype=bool)
    taken[partner[partner >= 0]] = True
    is_partner = partner[links.predicted] == links.true
    is_free = (partner[links.predicted] < 0) & ~taken[links.true]
    return links.select(~within | is_partner | is_free)


@dataclass(frozen=True)
class GroupFigures:
    """What each group covers: in A, in B and in both, in square metres, and what became of it.

    `gained` is what B covers there and no footprint of A does, `lost` the other way round; outlines of the same building
    differ for other reasons.
    """

    change: Ints
    area_a: FloatArray
    area_b: FloatArray
    shared: FloatArray
    gained: FloatArray
    lost: FloatArray

    @property
    def overlap(self) -> FloatArray:
        """Intersection over union of the two sides of each group."""
        return divide(self.shared, self.area_a + self.area_b - self.shared)


def measure_groups(
    groups: Groups, overlaps: OutlineOverlaps, a: ComparedLayer, b: ComparedLayer, same_iou: float
) -> GroupFigures:
    """What each group covers, and what became of it."""
    within = groups.of_a[overlaps.predicted] == groups.of_b[overlaps.true]
    inner = overlaps.select(within & (groups.of_a[overlaps.predicted] >= 0))
    shared = add_up(groups.of_a[inner.predicted], measure_shared(inner, a.areas, b.areas), groups.number)
    area_a, area_b = (
        add_up(of[of >= 0], layer.areas[of >= 0], groups.number)
        for of, layer in ((groups.of_a, a), (groups.of_b, b))
    )
    for several in split_several(groups):
        # Footprints of one layer may overlap each other, which sums would count twice.
        one, other = (unite_members(layer, of, several) for layer, of in ((a, groups.of_a), (b, groups.of_b)))
        area_a[several], area_b[several] = shapely.area(one), shapely.area(other)
        shared[several] = shapely.area(shapely.intersection(one, other))
    shared = np.minimum(shared, np.minimum(area_a, area_b))
    overlap = divide(shared, area_a + area_b - shared)
    change = classify_groups(groups, a.areas, b.areas, overlap, same_iou)
    sides = (a, groups.of_a, overlaps.predicted), (b, groups.of_b, overlaps.true)
    lost = measure_alone(*sides, area_a - shared, change)
    gained = measure_alone(*sides[::-1], area_b - shared, change)
    return GroupFigures(change, area_a, area_b, shared, gained, lost)


Side = tuple[ComparedLayer, Ints, Ints]
"""A layer, the group of each of its footprints, and the footprint of each pair that shares ground."""


def measure_alone(side: Side, other: Side, unshared: FloatArray, change: Ints) -> FloatArray:
    """What each group covers on one side and no footprint does on the other, where `unshared` is all but its own there."""
    (layer, of, own), (others, of_others, met) = side, other
    alone = np.where(change == SAME, 0.0, np.maximum(unshared, 0))
    strangers = (of[own] >= 0) & (of[own] != of_others[met])
    met_by_strangers = np.unique(of[own[strangers]])
    for chosen in split_numbers(met_by_strangers[change[met_by_strangers] != SAME]):
        pairs = np.isin(of[own], chosen)
        covered = dissolve_parts(
            others.read(met[pairs]), np.searchsorted(chosen, of[own[pairs]]), len(chosen)
        )
        alone[chosen] = shapely.area(shapely.difference(unite_members(layer, of, chosen), covered))
    return alone


def add_up(rows: Ints, values: FloatArray, number: int) -> FloatArray:
    return np.bincount(rows, values, number).astype(np.float64)


def classify_groups(
    groups: Groups, areas_a: FloatArray, areas_b: FloatArray, overlap: FloatArray, same_iou: float
) -> Ints:
    """What became of each group, by how many footprints of either layer count in it."""
    largest = np.zeros(groups.number + 1)  # the last one is for footprints of no group (-1)
    sides = ((groups.of_a, areas_a), (groups.of_b, areas_b))
    for of, areas in sides:
        np.maximum.at(largest, of[of >= 0], areas[of >= 0])
    # Alone in its group a footprint is its own largest, and counts.
    in_a, in_b = (groups.count(of[(of >= 0) & (areas >= LEAST_PART * largest[of])]) for of, areas in sides)
    found = np.where(overlap >= same_iou - ROUNDING, SAME, CHANGED)
    found[(in_a == 1) & (in_b > 1)] = SPLIT
    found[(in_a > 1) & (in_b == 1)] = MERGED
    # A piece of one layer may be all that a group has there.
    found[groups.count(groups.of_b[groups.of_b >= 0]) == 0] = ONLY_A
    found[groups.count(groups.of_a[groups.of_a >= 0]) == 0] = ONLY_B
    return found


def split_several(groups: Groups) -> Iterator[Ints]:
    """The groups that have more than one footprint of a layer, some at a time."""
    several = np.zeros(groups.number, dtype=bool)
    for of in (groups.of_a, groups.of_b):
        several[of[of >= 0][is_repeated(of[of >= 0])]] = True
    return split_numbers(np.flatnonzero(several))


def split_numbers(numbers: Ints) -> Iterator[Ints]:
    """Numbers of groups, so many at a time as are read together."""
    for start in range(0, len(numbers), AT_ONCE // 4):
        yield numbers[start : start + AT_ONCE // 4]


def unite_members(layer: ComparedLayer, of: Ints, chosen: Ints) -> Polygons:
    """The footprints of each chosen group as one shape; an empty one where it has none."""
    members = np.flatnonzero(np.isin(of, chosen))
    return dissolve_parts(layer.read(members), np.searchsorted(chosen, of[members]), len(chosen))
