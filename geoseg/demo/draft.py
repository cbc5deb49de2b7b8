"""A district while it is laid out: paved, built upon, planted and parked in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.demo.content import CAR, Colour, District, Material, Solid, Surface, Trees, Vehicles
from geoseg.demo.shapes import Points, frame_of
from geoseg.demo.style import Style

_PAINTS: tuple[Colour, ...] = (
    (228, 228, 226),
    (44, 46, 50),
    (122, 126, 130),
    (168, 172, 176),
    (132, 44, 40),
    (52, 74, 112),
    (196, 192, 182),
)


@dataclass
class Draft:
    """A district being laid out. What is added later lies on top."""

    style: Style
    rng: np.random.Generator
    surfaces: list[Surface] = field(default_factory=list)
    solids: list[Solid] = field(default_factory=list)
    bare: list[shapely.Geometry] = field(default_factory=list)
    saplings: list[tuple[Points, float]] = field(default_factory=list)
    parked: list[tuple[float, float, float, int]] = field(default_factory=list)

    def pave(self, shape: shapely.Geometry, material: Material, treeless: bool = False) -> None:
        """Cover ground with a material, where trees may stand or not."""
        self.surfaces.append(Surface(shape, material))
        if treeless:
            self.bare.append(shape)

    def plant(self, land: shapely.Polygon, spacing_m: float, share: float, conifers: float = 0.15) -> None:
        """Scatter trees over the land, about the spacing apart, on a share of the places."""
        left, top, right, bottom = land.bounds
        ys, xs = np.mgrid[top:bottom:spacing_m, left:right:spacing_m]
        spots = (
            np.column_stack([xs.ravel(), ys.ravel()])
            + self.rng.uniform(-0.45, 0.45, (xs.size, 2)) * spacing_m
        )
        kept = (self.rng.random(len(spots)) < share) & shapely.contains_xy(land, spots[:, 0], spots[:, 1])
        self.saplings.append((self._with_crowns(spots[kept], spacing_m), conifers))

    def _with_crowns(self, spots: Points, spacing_m: float) -> Points:
        largest = min(5.2, 0.72 * spacing_m)
        return np.column_stack([spots, self.rng.uniform(0.42, 1.0, len(spots)) * largest])

    def orchard(self, land: shapely.Polygon) -> None:
        """Small trees in rows."""
        frame, long, wide = frame_of(land)
        step = self.rng.uniform(4.5, 6.5)
        u, v = np.meshgrid(np.arange(-long / 2, long / 2, step), np.arange(-wide / 2, wide / 2, step))
        spots = frame.world(np.column_stack([u.ravel(), v.ravel()]))
        spots = spots[shapely.contains_xy(land, spots[:, 0], spots[:, 1])]
        sizes = self.rng.uniform(0.28, 0.38, len(spots)) * step
        self.saplings.append((np.column_stack([spots, sizes]), 0.0))

    def park(self, places: Points, angle: float, model: int = CAR) -> None:
        """Leave vehicles at some places, heading somewhere."""
        self.parked += [(float(x), float(y), angle, model) for x, y in places]

    def finished(self, kind: str) -> District:
        return District(kind, tuple(self.surfaces), tuple(self.solids), self._trees(), self._vehicles())

    def _vehicles(self) -> Vehicles:
        parked = np.array(self.parked).reshape(-1, 4)
        colours = np.array(_PAINTS)[self.rng.integers(len(_PAINTS), size=len(parked))]
        shades = self.rng.normal(1, 0.05, (len(parked), 1))
        return Vehicles(parked[:, :3], parked[:, 3].astype(np.intp), (colours * shades).astype(np.float32))

    def _trees(self) -> Trees:
        """The trees that stand clear of walls and roads."""
        places = np.vstack([np.empty((0, 3)), *(spots for spots, _ in self.saplings)])
        chances = np.concatenate([[], *(np.full(len(spots), share) for spots, share in self.saplings)])
        clear = np.ones(len(places), bool)
        spots = shapely.points(places[:, :2])
        for shapes, room in (([solid.outline for solid in self.solids], 0.8), (self.bare, 0.4)):
            near = shapely.STRtree(shapes).query(spots, predicate="dwithin", distance=room * places[:, 2])
            clear[near[0]] = False
        conifers = self.rng.random(len(places)) < chances
        return Trees(places[clear], self._leaves(len(places))[clear], conifers[clear])

    def _leaves(self, count: int) -> NDArray[np.float32]:
        """A leaf colour for each tree."""
        colours = np.array(self.style.leaves)[self.rng.integers(len(self.style.leaves), size=count)]
        return (colours * self.rng.normal(1, 0.09, (count, 1))).astype(np.float32)
