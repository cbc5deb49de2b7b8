"""What a world is made of: ground surfaces, buildings, trees and vehicles. Places are in metres, y down."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.synthetic.pixels import Segments, extract_segments

CAR, LORRY, CONTAINER = range(3)

Color = tuple[float, float, float]
Planes = NDArray[np.float64]


@dataclass(frozen=True)
class Stripes:
    """Parallel lines on a surface, such as furrows or mowing lines."""

    angle: float
    period_m: float
    depth: float
    tramlines_m: float = 0.0


@dataclass(frozen=True)
class Material:
    """A colour (0 to 255) and how much it varies from pixel to pixel, from step to step, and over a field."""

    color: Color
    fine: float = 0.05
    mid: float = 0.05
    broad: float = 0.05
    stripes: Stripes | None = None


@dataclass(frozen=True)
class Surface:
    """A piece of ground. A higher layer lies over a lower one, whichever district either belongs to."""

    shape: Any
    material: Material
    layer: int = 0

    @cached_property
    def sides(self) -> Segments:
        return extract_segments(self.shape)


@dataclass(frozen=True)
class RoofFinish:
    """What a roof is covered with: a colour, how blotched it is, and seams that run down the slope."""

    color: Color
    blotches: float = 0.06
    grain: float = 0.04
    seam_m: float = 0.0
    seam_depth: float = 0.0


@dataclass(frozen=True)
class RoofFitting:
    """Something small and flat-topped on a roof: a chimney, a window, a solar panel."""

    outline: shapely.Polygon
    color: Color
    height_m: float

    @cached_property
    def sides(self) -> Segments:
        return extract_segments(self.outline)


@dataclass(frozen=True)
class Solid:
    """A building and its kind.

    The roof is made of wings. A wing is a few planes (a, b, c, slope): a*x + b*y + c is the distance in metres from
    one side of the wing, and the roof rises by `slope` from there; where the slope is zero the wing ends in a gable.
    """

    outline: shapely.Polygon
    eave_m: float
    wings: tuple[Planes, ...]
    finish: RoofFinish
    kind: str
    fittings: tuple[RoofFitting, ...] = ()

    @cached_property
    def sides(self) -> Segments:
        return extract_segments(self.outline)

    @property
    def top_m(self) -> float:
        """A height that no part of it exceeds."""
        left, top, right, bottom = self.outline.bounds
        steepest = max(float(wing[:, 3].max()) for wing in self.wings)
        rise = steepest * min(right - left, bottom - top, 16.0) / 2
        return float(self.eave_m + rise + max((thing.height_m for thing in self.fittings), default=0.0))


@dataclass(frozen=True)
class Trees:
    """Many trees: place and crown radius (x, y, radius) in rows, their leaves' colours, and which are conifers."""

    places: NDArray[np.float64]
    colors: NDArray[np.float32]
    conifers: NDArray[np.bool_]


@dataclass(frozen=True)
class Vehicles:
    """What stands about and is no building: place and heading (x, y, angle) in rows, models, and colours."""

    places: NDArray[np.float64]
    models: NDArray[np.intp]
    colors: NDArray[np.float32]


NO_TREES = Trees(np.empty((0, 3)), np.empty((0, 3), np.float32), np.empty(0, bool))
NO_VEHICLES = Vehicles(np.empty((0, 3)), np.empty(0, np.intp), np.empty((0, 3), np.float32))


@dataclass(frozen=True)
class District:
    """All that one district holds, with the box (left, top, right, bottom) of each surface and solid.

    `solid_tops` tell how high each solid can reach at most.
    """

    kind: str
    surfaces: tuple[Surface, ...]
    solids: tuple[Solid, ...] = ()
    trees: Trees = NO_TREES
    vehicles: Vehicles = NO_VEHICLES
    surface_boxes: NDArray[np.float64] = field(init=False)
    solid_boxes: NDArray[np.float64] = field(init=False)
    solid_tops: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        surfaces = shapely.bounds([surface.shape for surface in self.surfaces]).reshape(-1, 4)
        solids = shapely.bounds([solid.outline for solid in self.solids]).reshape(-1, 4)
        object.__setattr__(self, "surface_boxes", surfaces)
        object.__setattr__(self, "solid_boxes", solids)
        object.__setattr__(self, "solid_tops", np.array([solid.top_m for solid in self.solids]))
