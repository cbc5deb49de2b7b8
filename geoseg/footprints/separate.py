"""Separates buildings that have grown together: at necks, and where the probability dips between roofs.

Each footprint is looked at when it is whole, on its own pixels and nothing else, so the result does not depend on
strips. Narrow valleys of the probability are set aside; every summit of the distance to the edge of what is left grows
to a basin (watershed). Basins stay apart only where the passage between them is much narrower than both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, grey_closing
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from geoseg.footprints.polygons import Floats, Ints, find_starts, number_items
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import ComponentRuns, concatenate_columns, get_unknown_value
from geoseg.footprints.trace.rings import TracedFootprints, build_footprints
from geoseg.raster.coding import FINE_STEPS, Values

NARROW = 0.65
"""A way between two bodies is a neck when it is narrower than this share of the narrower body."""
LEAST_REACH_PIXELS = 3.0
"""A body reaches at least this far from its middle to its edge."""
VALLEY_PIXELS = 7
"""A valley of the probability between two roofs is narrower than this."""
DEEP = 0.25
"""... and the probability at least this much lower in it."""
LARGEST_WINDOW_PIXELS = 16_000_000
"""A footprint that spreads further than this is no row of houses, and stays whole."""

Labels = NDArray[np.int32]


def split_touching(footprints: TracedFootprints) -> TracedFootprints:
    """The same footprints, those that are several buildings in as many parts, neighbours in one cluster."""
    parts = [
        (i, part) for i, own in _extract_pixels(footprints) if (part := _split_footprint(own)) is not None
    ]
    split = np.zeros(len(footprints), dtype=bool)
    split[[i for i, _ in parts]] = True
    tables = [footprints.select(~split)]
    tables += [_inherit_attributes(part, footprints, i) for i, part in parts]
    return TracedFootprints(**concatenate_columns(tables, but="runs"), runs=ComponentRuns.none()).sort()


@dataclass(frozen=True)
class _OwnPixels:
    """The pixels of one footprint in a window with a margin of one pixel, and their probabilities if known."""

    row: int
    col: int
    inside: NDArray[np.bool_]
    probability: NDArray[np.uint16] | None


def _extract_pixels(footprints: TracedFootprints) -> Iterator[tuple[int, _OwnPixels]]:
    runs = footprints.runs
    order = np.argsort(runs.component, kind="stable")
    stops = np.cumsum(np.bincount(runs.component, minlength=len(footprints)))
    first_pixel = find_starts(runs.length)
    for i in np.flatnonzero(_find_candidates(footprints)):
        mine = order[(stops[i - 1] if i else 0) : stops[i]]
        row, col, length = runs.row[mine], runs.col[mine], runs.length[mine]
        top, left = row.min() - 1, col.min() - 1
        window = np.zeros((row.max() - top + 2, (col + length).max() - left + 1), dtype=bool)
        rows, cols = np.repeat(row - top, length), np.repeat(col - left, length) + number_items(length)
        window[rows, cols] = True
        probability = None
        if len(runs.probability):
            probability = np.zeros(window.shape, dtype=np.uint16)
            probability[rows, cols] = runs.probability[
                np.repeat(first_pixel[mine], length) + number_items(length)
            ]
        yield int(i), _OwnPixels(int(top), int(left), window, probability)


def _find_candidates(footprints: TracedFootprints) -> NDArray[np.bool_]:
    """Whether two bodies find room in a footprint."""
    left, top, right, bottom = shapely.bounds(footprints.polygons).reshape(-1, 4).T
    height, width = bottom - top, right - left
    thickness = np.minimum(height, width), np.maximum(height, width)
    room = (thickness[0] >= 2 * LEAST_REACH_PIXELS) & (thickness[1] >= 4 * LEAST_REACH_PIXELS)
    return np.asarray(room & (height * width <= LARGEST_WINDOW_PIXELS))


def _split_footprint(own: _OwnPixels) -> TracedFootprints | None:
    """The bodies of a footprint as footprints of their own; none if it is a single one."""
    relief = distance_transform_edt(_mask_valleys(own))
    summits = label(local_maxima(relief), connectivity=2)  # type: ignore[no-untyped-call]
    if summits.max() < 2:
        return None
    basins = watershed(-relief, summits, mask=own.inside)  # type: ignore[no-untyped-call]
    bodies = _merge_basins(basins, relief)
    if bodies.max() < 2:
        return None
    pieces = trace_outlines(bodies, own.row, JoinRules(), own.probability)
    return build_footprints(replace(pieces, corners=pieces.corners + np.array([0, own.col])))


def _mask_valleys(own: _OwnPixels) -> NDArray[np.bool_]:
    """Pixels that do not lie in a valley of the probability, whatever its height on either side."""
    if own.probability is None:
        return own.inside
    known = np.where(
        own.probability == get_unknown_value(own.probability), np.uint16(FINE_STEPS), own.probability
    )
    return np.asarray(own.inside & (grey_closing(known, size=VALLEY_PIXELS) - known < DEEP * FINE_STEPS))


def _merge_basins(basins: Values, relief: Floats) -> Labels:
    """Join basins whose way from one to the other is no neck, the widest ways first."""
    summit = np.zeros(basins.max() + 1)
    np.maximum.at(summit, basins.ravel(), relief.ravel())
    leader = np.arange(len(summit))
    for one, other, width in zip(*_find_passages(basins, relief), strict=True):
        a, b = _find_leader(leader, one), _find_leader(leader, other)
        low = min(summit[a], summit[b])
        if a != b and (width >= NARROW * low or low < LEAST_REACH_PIXELS):
            leader[max(a, b)] = min(a, b)
            summit[min(a, b)] = max(summit[a], summit[b])
    heads = np.array([_find_leader(leader, i) for i in range(len(leader))])
    return np.unique(heads, return_inverse=True)[1][basins].astype(np.int32)


def _find_leader(leader: Ints, i: int) -> int:
    while leader[i] != i:
        i = int(leader[i])
    return i


def _find_passages(basins: Values, relief: Floats) -> tuple[Ints, Ints, Floats]:
    """Pairs of basins that touch, and how wide the widest passage is, in order from the widest."""
    ends, heights = [], []
    for here, there in (((slice(1, None), slice(None)), (slice(-1), slice(None))), _BESIDE):
        border = (basins[here] != basins[there]) & (basins[here] > 0) & (basins[there] > 0)
        ends.append(np.sort(np.stack([basins[here][border], basins[there][border]], axis=1), axis=1))
        heights.append(np.minimum(relief[here][border], relief[there][border]))
    pairs, pair = np.unique(np.concatenate(ends), axis=0, return_inverse=True)
    widest = np.zeros(len(pairs))
    np.maximum.at(widest, pair.ravel(), np.concatenate(heights))
    order = np.argsort(-widest, kind="stable")
    return pairs[order, 0], pairs[order, 1], widest[order]


_BESIDE = ((slice(None), slice(1, None)), (slice(None), slice(-1)))


def _inherit_attributes(parts: TracedFootprints, footprints: TracedFootprints, i: int) -> TracedFootprints:
    """Parts with what they have from the footprint they were: its class, its cluster and its place in the order."""
    count = len(parts)
    order = parts.order.copy()
    order[:, :2] = footprints.order[i, :2]
    return replace(
        parts,
        value=np.full(count, footprints.value[i]),
        cluster=np.full(count, footprints.cluster[i]),
        touches_nodata=np.full(count, footprints.touches_nodata[i]),
        order=order,
        runs=ComponentRuns.none(),
    )
