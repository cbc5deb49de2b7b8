"""What tells that a footprint is several buildings: necks of its shape, or boundaries that the network sees in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, grey_closing

from geoseg.footprints.polygons import Flags, Floats
from geoseg.footprints.separate.basins import Body, Border
from geoseg.footprints.trace.pieces import get_unknown_value
from geoseg.raster.coding import FINE_STEPS, NODATA, PROBABILITY_STEP, Values


@dataclass(frozen=True)
class OwnPixels:
    """The pixels of one footprint in a window with a margin of one pixel, and what is known of them.

    `probability` is in steps, `boundary` and `distance` in 250ths.
    """

    row: int
    col: int
    inside: NDArray[np.bool_]
    probability: NDArray[np.uint16] | None = None
    boundary: NDArray[np.uint8] | None = None
    distance: NDArray[np.uint8] | None = None


class SeparationRule(Protocol):
    """How the bodies of a footprint are known, from its own pixels and nothing else."""

    def have_room(self, height: Floats, width: Floats) -> Flags:
        """Whether two bodies find room in boxes of these sizes, in pixels."""
        ...

    def draw_relief(self, own: OwnPixels) -> tuple[Floats, Values]:
        """How deep inside a building each pixel seems to lie, 0 outside, and how much like a border it looks."""
        ...

    def stays_apart(self, border: Border, one: Body, other: Body) -> bool:
        """Whether two bodies that meet at a border are two buildings."""
        ...


@dataclass(frozen=True)
class NeckRule:
    """Two bodies joined by a neck, or by pixels of which the network is less sure: what a plain mask can tell.

    Narrow valleys of the probability are set aside; the relief is the distance to the edge of what is left.
    """

    narrow: float = 0.65
    """A way between two bodies is a neck when it is narrower than this share of the narrower body."""
    least_reach_pixels: float = 3.0
    """A body reaches at least this far from its middle to its edge."""
    valley_pixels: int = 7
    """A valley of the probability between two roofs is narrower than this."""
    deep: float = 0.25
    """... and the probability at least this much lower in it."""

    def have_room(self, height: Floats, width: Floats) -> Flags:
        room = np.minimum(height, width) >= 2 * self.least_reach_pixels
        return np.asarray(room & (np.maximum(height, width) >= 4 * self.least_reach_pixels))

    def draw_relief(self, own: OwnPixels) -> tuple[Floats, Values]:
        return distance_transform_edt(self.mask_valleys(own)), np.zeros(own.inside.shape, dtype=np.uint8)

    def stays_apart(self, border: Border, one: Body, other: Body) -> bool:
        low = min(one.summit, other.summit)
        return low >= self.least_reach_pixels and border.height < self.narrow * low

    def mask_valleys(self, own: OwnPixels) -> Flags:
        """Pixels that do not lie in a valley of the probability, whatever its height on either side."""
        if own.probability is None:
            return own.inside
        unknown = own.probability == get_unknown_value(own.probability)
        known = np.where(unknown, np.uint16(FINE_STEPS), own.probability)
        depth = grey_closing(known, size=self.valley_pixels) - known
        return np.asarray(own.inside & (depth < self.deep * FINE_STEPS))


@dataclass(frozen=True)
class BoundaryRule:
    """Two buildings between which the network sees a boundary.

    The relief is the distance to the boundary as the network sees it, lower where it sees the boundary itself. The
    defaults were chosen by F1 of single buildings where the built-in model learnt (drone and aerial places counted
    alike, `tests/benchmarks/splitting.py --grid`), never where it is judged: it hardly changes from 0.2 to 0.4 of the
    first and from 0.2 to 0.3 of the second. Higher passes part more huts wall to wall, and more roofs that are one.
    """

    lowest_pass: float = 0.25
    """Two bodies stay apart where the pass between them is lower than this share of the lower summit..."""
    least_boundary: float = 0.25
    """... and the mean probability of a boundary along their border at least this."""
    least_pixels: float = 0.0
    """A smaller body is part of its neighbour: alone, it would be left out of the file."""
    smoothing_pixels: float = 1.0
    """Standard deviation of the blur that takes the network's grain from the relief; 0.5 and 1.5 are no better."""

    def have_room(self, height: Floats, width: Floats) -> Flags:
        return np.asarray(height * width >= 2 * max(self.least_pixels, 1.0))

    def draw_relief(self, own: OwnPixels) -> tuple[Floats, Values]:
        boundary, distance = (
            np.zeros(own.inside.shape, dtype=np.uint8)
            if told is None
            else np.where(told == NODATA, np.uint8(0), told)
            for told in (own.boundary, own.distance)
        )
        step = np.float32(PROBABILITY_STEP)
        rough = (distance * step) * (1 - boundary * step)
        relief: Floats = gaussian_filter(rough, self.smoothing_pixels, mode="constant")
        relief[~own.inside] = 0
        return relief, boundary

    def stays_apart(self, border: Border, one: Body, other: Body) -> bool:
        return (
            border.height < self.lowest_pass * min(one.summit, other.summit)
            and border.doubt * PROBABILITY_STEP >= self.least_boundary * border.length
            and min(one.pixels, other.pixels) >= self.least_pixels
        )
