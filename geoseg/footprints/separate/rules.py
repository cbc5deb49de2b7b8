"""What tells that a footprint is several buildings: necks of its shape, or boundaries that the network sees in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, grey_closing

from geoseg.footprints.polygons import Flags, Floats
from geoseg.footprints.separate.basins import Body, Border
from geoseg.footprints.separate.sheet import Sheet
from geoseg.footprints.trace.pieces import get_unknown_value
from geoseg.raster.coding import FINE_STEPS, NODATA, PROBABILITY_STEP, Values

BLUR_REACH = 4
"""How many standard deviations a blur reaches."""


class SeparationRule(Protocol):
    """How the bodies of a footprint are known, from its own pixels and nothing else."""

    @property
    def room(self) -> int:
        """How far apart windows must lie on a sheet, so that none changes the relief of another, in pixels."""
        ...

    @property
    def pass_share(self) -> float:
        """Two bodies are never two buildings where the pass between them reaches this share of the lower summit."""
        ...

    def have_room(self, height: Floats, width: Floats) -> Flags:
        """Whether two bodies find room in boxes of these sizes, in pixels."""
        ...

    def draw_relief(self, sheet: Sheet) -> tuple[Floats, Values]:
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

    @property
    def room(self) -> int:
        return 0

    @property
    def pass_share(self) -> float:
        return self.narrow

    def have_room(self, height: Floats, width: Floats) -> Flags:
        room = np.minimum(height, width) >= 2 * self.least_reach_pixels
        return np.asarray(room & (np.maximum(height, width) >= 4 * self.least_reach_pixels))

    def draw_relief(self, sheet: Sheet) -> tuple[Floats, Values]:
        return distance_transform_edt(self.mask_valleys(sheet)), np.zeros(sheet.owner.shape, dtype=np.uint8)

    def stays_apart(self, border: Border, one: Body, other: Body) -> bool:
        low = min(one.summit, other.summit)
        return low >= self.least_reach_pixels and border.height < self.narrow * low

    def mask_valleys(self, sheet: Sheet) -> Flags:
        """Pixels that do not lie in a valley of the probability, whatever its height on either side."""
        if sheet.probability is None:
            return sheet.inside
        unknown = sheet.probability == get_unknown_value(sheet.probability)
        known = np.where(unknown, np.uint16(FINE_STEPS), sheet.probability)
        depth = np.zeros_like(known)
        for slot in sheet.slots:  # a closing would see the neighbours
            depth[slot] = grey_closing(known[slot], size=self.valley_pixels) - known[slot]
        return np.asarray(sheet.inside & (depth < self.deep * FINE_STEPS))


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

    @property
    def room(self) -> int:
        return ceil(BLUR_REACH * self.smoothing_pixels)

    @property
    def pass_share(self) -> float:
        return self.lowest_pass

    def have_room(self, height: Floats, width: Floats) -> Flags:
        return np.asarray(height * width >= 2 * max(self.least_pixels, 1.0))

    def draw_relief(self, sheet: Sheet) -> tuple[Floats, Values]:
        boundary, distance = (
            np.zeros(sheet.owner.shape, dtype=np.uint8)
            if told is None
            else np.where(told == NODATA, np.uint8(0), told)
            for told in (sheet.boundary, sheet.distance)
        )
        step = np.float32(PROBABILITY_STEP)
        rough = (distance * step) * (1 - boundary * step)
        relief: Floats = gaussian_filter(
            rough, self.smoothing_pixels, mode="constant", truncate=float(BLUR_REACH)
        )
        relief[~sheet.inside] = 0
        return relief, boundary

    def stays_apart(self, border: Border, one: Body, other: Body) -> bool:
        return (
            border.height < self.lowest_pass * min(one.summit, other.summit)
            and border.doubt * PROBABILITY_STEP >= self.least_boundary * border.length
            and min(one.pixels, other.pixels) >= self.least_pixels
        )
