"""How well footprints agree one by one, and how well their boundaries do.

A predicted footprint matches a true one of its class when their intersection over union reaches a threshold; each
matches one other at most, the most confident choosing first. So it is in the COCO evaluation, whose average precision
and recall are given as well, with all footprints counted however many there are, and average precision by size.

Boundary IoU, after Cheng et al. (2021), "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation": of truth
and prediction only the pixels within a distance of their own outline are compared. The published distance is 2 % of the
diagonal of an image; scenes larger than 512 pixels are treated as if cut into images of that size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.scores.confusion import Floats, divide

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0, 1, 101)
ROUNDING = 1e-10
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""COCO's sizes, from and up to so many pixels, both included."""
LEAST_SHARED = 1 / 3
"""Two footprints with an IoU of a half share a third of the sum of their areas."""


@dataclass(frozen=True)
class FootprintOutlines:
    """Footprints of one scene in any plane in which areas keep their proportions, each with its class and confidence."""

    polygons: NDArray[np.object_]
    classes: Ints
    confidence: Floats

    def __len__(self) -> int:
        return len(self.polygons)

    def select(self, chosen: Flags | Ints) -> FootprintOutlines:
        return FootprintOutlines(self.polygons[chosen], self.classes[chosen], self.confidence[chosen])

    @classmethod
    def merge(cls, batches: Sequence[FootprintOutlines]) -> FootprintOutlines:
        return cls(
            np.concatenate([np.empty(0, dtype=object), *(batch.polygons for batch in batches)]),
            np.concatenate([np.empty(0, dtype=np.int64), *(batch.classes for batch in batches)]),
            np.concatenate([np.empty(0), *(batch.confidence for batch in batches)]),
        )


@dataclass(frozen=True)
class OutlineOverlaps:
    """Pairs of a predicted and a true footprint of the same class that may share half of what they cover.

    Footprints are known by their numbers. Only pairs near enough in size and place are intersected; with a smaller
    `least_shared` also those that share less: 0 gives all that meet.
    """

    predicted: Ints
    true: Ints
    iou: Floats

    @classmethod
    def between(
        cls, predicted: FootprintOutlines, true: FootprintOutlines, least_shared: float = LEAST_SHARED
    ) -> OutlineOverlaps:
        one, other = shapely.STRtree(true.polygons).query(predicted.polygons, predicate="intersects")
        alike = predicted.classes[one] == true.classes[other]
        one, other = one[alike], other[alike]
        sizes = shapely.area(predicted.polygons)[one], shapely.area(true.polygons)[other]
        most = np.minimum(
            measure_shared_boxes(predicted.polygons[one], true.polygons[other]), np.minimum(*sizes)
        )
        hopeful = most >= (least_shared - ROUNDING) * (sizes[0] + sizes[1])
        one, other = one[hopeful], other[hopeful]
        shared = shapely.area(shapely.intersection(predicted.polygons[one], true.polygons[other]))
        whole = sizes[0][hopeful] + sizes[1][hopeful] - shared
        return cls(one, other, divide(shared, whole))

    def select(self, chosen: Flags | Ints) -> OutlineOverlaps:
        return OutlineOverlaps(self.predicted[chosen], self.true[chosen], self.iou[chosen])

    def find_iou(self, partners: Ints) -> Floats:
        """The IoU of each predicted footprint with its partner among the true ones; 0 where that is -1."""
        iou = np.zeros(len(partners))
        own = partners[self.predicted] == self.true
        iou[self.predicted[own]] = self.iou[own]
        return iou


def match_outlines(
    predicted: FootprintOutlines, true: FootprintOutlines, thresholds: Floats = IOU_THRESHOLDS
) -> Ints:
    """For each threshold of a half or more (rows), which true footprint each predicted one (columns) matches; -1 is none."""
    overlaps = OutlineOverlaps.between(predicted, true)
    return match_overlaps(overlaps, predicted.confidence, np.ones(len(true), dtype=bool), thresholds)


def match_overlaps(
    overlaps: OutlineOverlaps, confidence: Floats, counted: Flags, thresholds: Floats = IOU_THRESHOLDS
) -> Ints:
    """The same from overlaps; a true footprint that is not counted is taken only where no counted one is left."""
    matches = np.full((len(thresholds), len(confidence)), -1)
    for found, threshold in zip(matches, thresholds, strict=True):
        near = overlaps.select(overlaps.iou >= threshold - ROUNDING)
        contested = is_repeated(near.predicted) | is_repeated(near.true)
        found[near.predicted[~contested]] = near.true[~contested]
        resolve_conflicts(near.select(contested), confidence, counted, found)
    return matches


@dataclass(frozen=True)
class SizeMatches:
    """Which footprints count in each of COCO's sizes, and which of these have a partner: (size, threshold, footprint).

    A true footprint counts in its own size; a predicted one in that of its partner or, without one, in its own.
    """

    counted: Flags
    matched: Flags


def match_by_size(
    predicted: FootprintOutlines, true: FootprintOutlines, overlaps: OutlineOverlaps
) -> tuple[SizeMatches, SizeMatches]:
    """Predicted and true footprints by size, where the plane of the outlines is that of the pixels."""
    areas = shapely.area(predicted.polygons), shapely.area(true.polygons)
    matches_by_size: list[tuple[SizeMatches, SizeMatches]] = []
    for low, high in SIZES.values():
        own, counted = ((low <= area) & (area <= high) for area in areas)
        matches = match_overlaps(overlaps, predicted.confidence, counted)
        right = (matches >= 0) & counted[matches] if len(true) else np.zeros(matches.shape, dtype=bool)
        met = np.zeros((len(matches), len(true)), dtype=bool)
        threshold, number = np.nonzero(right)
        met[threshold, matches[threshold, number]] = True
        of_predicted = SizeMatches(right | ((matches < 0) & own), right)
        matches_by_size.append((of_predicted, SizeMatches(np.broadcast_to(counted, met.shape), met)))
    one, other = zip(*matches_by_size, strict=True)
    return stack_sizes(one), stack_sizes(other)


def stack_sizes(sizes: Sequence[SizeMatches]) -> SizeMatches:
    return SizeMatches(np.stack([each.counted for each in sizes]), np.stack([each.matched for each in sizes]))


def measure_shared_boxes(one: NDArray[np.object_], other: NDArray[np.object_]) -> Floats:
    """How large the overlap of two footprints' boxes is, pair by pair."""
    first, second = shapely.bounds(one).reshape(-1, 4), shapely.bounds(other).reshape(-1, 4)
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=1))


def is_repeated(numbers: Ints) -> Flags:
    """Which numbers stand in a list more than once."""
    return np.asarray(np.bincount(numbers)[numbers] > 1 if len(numbers) else np.zeros(0, dtype=bool))


def resolve_conflicts(pairs: OutlineOverlaps, confidence: Floats, counted: Flags, found: Ints) -> None:
    """Where several claim one another: the most confident chooses first, and takes the nearest counted one left."""
    order = np.lexsort((-pairs.iou, ~counted[pairs.true], pairs.predicted, -confidence[pairs.predicted]))
    taken: set[int] = set()
    for predicted, true in zip(pairs.predicted[order].tolist(), pairs.true[order].tolist(), strict=True):
        if found[predicted] < 0 and true not in taken:
            found[predicted] = true
            taken.add(true)


def compute_average_precision(right: Flags, weights: Floats, true: float) -> Floats:
    """COCO's average precision at each threshold (rows) of footprints sorted by confidence, the surest first.

    `weights` say how often each footprint counts (at each threshold, where they have rows), `true` how many there are in
    truth: both 1 and their number, unless places are drawn anew for an interval.
    """
    if not true:
        return np.full(len(right), np.nan)
    hits = np.cumsum(right * weights, axis=1)
    precision = hits / np.maximum(np.cumsum(weights, axis=-1), 1)
    highest = np.zeros((len(hits), hits.shape[1] + 1))  # the last one is for a recall that is never reached
    highest[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    places = np.array([np.searchsorted(recall, RECALL_LEVELS) for recall in hits / true])
    return np.asarray(np.take_along_axis(highest, places, axis=1).mean(axis=1))


DIAGONAL_SHARE = 0.02
LARGEST_IMAGE = 512

PixelFlags = NDArray[np.bool_]


def compute_boundary_distance(height: int, width: int) -> int:
    """The published distance for an image, in pixels."""
    diagonal = hypot(min(height, LARGEST_IMAGE), min(width, LARGEST_IMAGE))
    return max(1, round(DIAGONAL_SHARE * diagonal))


def extract_boundary(inside: PixelFlags, distance: int) -> PixelFlags:
    """The pixels inside that are within a distance of the outside; beyond the image is outside."""
    deep = erode_vertically(erode_vertically(inside, distance).T, distance).T
    return np.asarray(inside & ~deep)


def erode_vertically(inside: PixelFlags, distance: int) -> PixelFlags:
    """The pixels that are inside together with all pixels so far above and below, in runs of 2, 4, 8 ... pixels."""
    run = np.pad(inside, ((distance, distance), (0, 0)))
    length, whole = 1, 2 * distance + 1
    while length < whole:
        step = min(length, whole - length)
        run = run[:-step] & run[step:]
        length += step
    return np.asarray(run)
