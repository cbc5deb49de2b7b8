"""How far one layer of footprints is shifted against another: an offset of all of them is a matter of maps, not a change.

Outlines of both layers that are alike in size and lie near one another vote for the step between their middles. The step
with the most votes is taken if more outlines match after it than without it; the median of the steps between outlines that
match then tells it to a centimetre, however many buildings have really changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.spatial import KDTree

from geoseg.comparison.layers import ComparedLayer, Ints
from geoseg.footprints.measure import FloatArray
from geoseg.scores.outlines import IOU_THRESHOLDS, FootprintOutlines, match_outlines

FARTHEST_M = 15.0
"""The largest shift that is looked for: images and maps are rarely farther apart, and the next house is not much farther."""
BIN_M = 1.0
"""Steps are counted in squares so wide: middles of one building in two maps differ by about as much."""
ALIKE = 1.25
"""Two outlines that vote differ in area by this factor at most."""
SAMPLED = 5_000
"""Outlines that vote and are matched: their median is good to a centimetre where they scatter by half a metre."""
LEAST_PAIRS = 10
"""Fewer buildings cannot tell a shift of the map from changes of their own."""
ROUNDS = 3
"""Matching and taking the median by turns comes to rest after two rounds."""
LEAST_IOU = IOU_THRESHOLDS[:1]


@dataclass(frozen=True)
class LayerShift:
    """How far B lies off A, in metres to the east and north of the plane: subtract it, and B fits A.

    `spread_m`: half of the pairs lie within this distance of the shift. None: too few pairs tell it.
    """

    east_m: float = 0.0
    north_m: float = 0.0
    pairs: int = 0
    spread_m: float | None = None

    @property
    def is_known(self) -> bool:
        return self.spread_m is not None

    @property
    def length_m(self) -> float:
        return float(np.hypot(self.east_m, self.north_m))

    def __str__(self) -> str:
        return f"{self.east_m:.2f} m east, {self.north_m:.2f} m north"


def estimate_shift(a: ComparedLayer, b: ComparedLayer) -> LayerShift:
    """How far B lies off A."""
    if not len(a) or not len(b):
        return LayerShift()
    sampled = OutlineSample.draw(a, b)
    steps = [np.zeros(2), find_common_step(a, b, sampled.of_a)]
    matched = [sampled.match(step) for step in steps]
    # Where both match as many, the layers are left where they are.
    best = int(len(matched[1]) > len(matched[0]))
    differences, step = matched[best], steps[best]
    for _ in range(ROUNDS):
        if len(differences) < LEAST_PAIRS:
            return LayerShift(pairs=len(differences))
        step = np.median(differences, axis=0)
        differences = sampled.match(step)
    spread = float(np.median(np.hypot(*(differences - step).T))) if len(differences) else 0.0
    return LayerShift(float(step[0]), float(step[1]), len(differences), spread)


def find_common_step(a: ComparedLayer, b: ComparedLayer, of_a: Ints) -> FloatArray:
    """The step from A's middles to B's that the most outlines of about the same size have in common."""
    near = KDTree(b.middles).query_ball_point(a.middles[of_a], FARTHEST_M)
    one = np.repeat(of_a, [len(each) for each in near])
    other = np.concatenate([[], *near]).astype(np.int64)
    ratio = b.areas[other] / a.areas[one]
    alike = (ratio <= ALIKE) & (ratio >= 1 / ALIKE)
    steps = b.middles[other[alike]] - a.middles[one[alike]]
    if not len(steps):
        return np.zeros(2)
    edges = np.arange(-FARTHEST_M - BIN_M / 2, FARTHEST_M + BIN_M, BIN_M)
    votes = np.histogram2d(steps[:, 0], steps[:, 1], bins=[edges, edges])[0]
    # A peak may lie between two squares; nine together hold all of it.
    peak = np.unravel_index(np.argmax(uniform_filter(votes, 3, mode="constant")), votes.shape)
    middle = edges[list(peak)] + BIN_M / 2
    at_peak = np.abs(steps - middle).max(axis=1) <= 1.5 * BIN_M
    return np.asarray(np.median(steps[at_peak], axis=0))


@dataclass(frozen=True)
class OutlineSample:
    """Some outlines of A, and those of B that one of them may match after any shift that is looked for."""

    a: ComparedLayer
    b: ComparedLayer
    of_a: Ints
    of_b: Ints
    outlines_a: FootprintOutlines
    outlines_b: FootprintOutlines

    @classmethod
    def draw(cls, a: ComparedLayer, b: ComparedLayer) -> OutlineSample:
        of_a = np.unique(np.linspace(0, len(a) - 1, min(len(a), SAMPLED)).astype(np.int64))
        reach = FARTHEST_M + np.sqrt(a.areas[of_a])
        near = KDTree(b.middles).query_ball_point(a.middles[of_a], reach)
        of_b = np.unique(np.concatenate([[], *near]).astype(np.int64))
        return cls(a, b, of_a, of_b, make_outlines(a, of_a), make_outlines(b, of_b))

    def match(self, step: FloatArray) -> FloatArray:
        """The steps between the middles of outlines that match once B is moved back by a step."""
        moved = make_outlines(self.b.move(-step[0], -step[1]), self.of_b)
        partner = match_outlines(self.outlines_a, moved, LEAST_IOU)[0]
        paired = partner >= 0
        return np.asarray(self.b.middles[self.of_b[partner[paired]]] - self.a.middles[self.of_a[paired]])


def make_outlines(layer: ComparedLayer, numbers: Ints) -> FootprintOutlines:
    """Outlines of a layer as they are matched: all of one class, all as sure."""
    return FootprintOutlines(
        layer.read(numbers), np.zeros(len(numbers), dtype=np.int64), np.zeros(len(numbers))
    )
