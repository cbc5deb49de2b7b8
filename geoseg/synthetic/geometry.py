"""The geometry of plots and roofs: local frames, land that is divided again and again, and the planes of roofs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import atan2, cos, hypot, pi, sin

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.synthetic.objects import CAR, Color, District, Material, Planes, Solid, Surface, Trees, Vehicles
from geoseg.synthetic.style import Style, vary_color

_PAINTS: tuple[Color, ...] = (
    (228, 228, 226),
    (44, 46, 50),
    (122, 126, 130),
    (168, 172, 176),
    (132, 44, 40),
    (52, 74, 112),
    (196, 192, 182),
)


@dataclass
class DistrictBuilder:
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

    def plant_orchard(self, land: shapely.Polygon) -> None:
        """Small trees in rows."""
        frame, long, wide = find_frame(land)
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
        colors = np.array(_PAINTS)[self.rng.integers(len(_PAINTS), size=len(parked))]
        shades = self.rng.normal(1, 0.05, (len(parked), 1))
        return Vehicles(parked[:, :3], parked[:, 3].astype(np.intp), (colors * shades).astype(np.float32))

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
        colors = np.array(self.style.leaves)[self.rng.integers(len(self.style.leaves), size=count)]
        return (colors * self.rng.normal(1, 0.09, (count, 1))).astype(np.float32)


def lay_streets(
    draft: DistrictBuilder, land: shapely.Polygon, block_m2: float, lane_m: float
) -> list[shapely.Polygon]:
    """The land divided into blocks by lanes: what no block takes is asphalt with a kerb."""
    draft.pave(land, draft.style.road())
    blocks = []
    kerb = Material(vary_color((160, 156, 150), draft.rng, 0.04), 0.03, 0.03, 0.03)
    for piece in divide_land(land, block_m2, draft.rng):
        for walk in shrink_land(piece, lane_m / 2, 2.5):
            draft.pave(walk, kerb)
            blocks += shrink_land(walk, 1.4, 0.8)
            _park_cars(draft, walk, 0.12)
    draft.bare.append(land.difference(shapely.union_all(blocks)))
    return blocks


def _park_cars(draft: DistrictBuilder, walk: shapely.Polygon, share: float) -> None:
    """Cars at the kerb."""
    kerb = shapely.LinearRing(walk.buffer(1.15, quad_segs=2).exterior)
    places = np.arange(3.0, kerb.length - 6, 6.2)
    for place in places[draft.rng.random(len(places)) < share]:
        start, end = shapely.get_coordinates(shapely.line_interpolate_point(kerb, [place, place + 4]))
        if abs(np.hypot(*(end - start)) - 4) < 0.02:
            draft.park((start + end)[None] / 2, float(np.arctan2(*(end - start)[::-1])))


def lay_car_park(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    """Bays in rows, some of them taken."""
    draft.pave(land, draft.style.road(), treeless=True)
    frame, long, wide = find_frame(land)
    u, v = np.meshgrid(
        np.arange(-long / 2 + 3, long / 2 - 3, 2.6), np.arange(-wide / 2 + 5, wide / 2 - 4, 8.5)
    )
    bays = np.column_stack([u.ravel(), v.ravel()])
    spots = frame.world(bays)
    inside = shapely.contains_xy(land.buffer(-3.2), spots[:, 0], spots[:, 1])
    for bay in bays[inside]:
        lines = frame.moved(*bay).place(shapely.box(1.24, -2.5, 1.36, 2.5))
        draft.pave(lines, Material((206, 206, 202), 0.02, 0.0, 0.0))
    draft.park(spots[inside & (draft.rng.random(len(spots)) < 0.45)], frame.angle + pi / 2)


Box = tuple[float, float, float, float]
Points = NDArray[np.float64]
_GABLE = 0.0


@dataclass(frozen=True)
class LocalFrame:
    """A turned coordinate frame: u along something's length, v across it, its origin at (x, y)."""

    x: float
    y: float
    cos: float
    sin: float

    @classmethod
    def at(cls, x: float, y: float, angle: float) -> LocalFrame:
        return cls(x, y, cos(angle), sin(angle))

    @property
    def angle(self) -> float:
        return atan2(self.sin, self.cos)

    def world(self, places: Points) -> Points:
        u, v = places[:, 0], places[:, 1]
        return np.column_stack([u * self.cos - v * self.sin + self.x, u * self.sin + v * self.cos + self.y])

    def local(self, places: Points) -> Points:
        dx, dy = places[:, 0] - self.x, places[:, 1] - self.y
        return np.column_stack([dx * self.cos + dy * self.sin, dy * self.cos - dx * self.sin])

    def moved(self, u: float, v: float) -> LocalFrame:
        x, y = self.world(np.array([[u, v]]))[0]
        return LocalFrame(float(x), float(y), self.cos, self.sin)

    def turned(self) -> LocalFrame:
        """The same place, with length and width exchanged."""
        return LocalFrame(self.x, self.y, -self.sin, self.cos)

    def place(self, shape: shapely.Polygon) -> shapely.Polygon:
        placed: shapely.Polygon = shapely.transform(shape, self.world)
        return placed

    def box(self, box: Box) -> shapely.Polygon:
        """A box of this frame, in the world."""
        u0, v0, u1, v1 = box
        return shapely.Polygon(self.world(np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])))

    def planes(self, local: Planes) -> Planes:
        """Planes (a, b, c, slope) of this frame, in world metres."""
        a, b, c, slope = local.T
        ax, ay = a * self.cos - b * self.sin, a * self.sin + b * self.cos
        return np.column_stack([ax, ay, c - ax * self.x - ay * self.y, slope])


def find_frame(land: shapely.Polygon) -> tuple[LocalFrame, float, float]:
    """The frame along the longest side, its origin amid the land, with the land's length and width in it."""
    corners = shapely.get_coordinates(land.exterior)
    sides = np.diff(corners, axis=0)
    du, dv = sides[np.argmax(np.hypot(sides[:, 0], sides[:, 1]))]
    length = hypot(du, dv)
    frame = LocalFrame(0.0, 0.0, float(du / length), float(dv / length))
    local = frame.local(corners)
    low, high = local.min(axis=0), local.max(axis=0)
    (u, v), (long, wide) = (low + high) / 2, high - low
    frame = frame.moved(float(u), float(v))
    return (frame, float(long), float(wide)) if long >= wide else (frame.turned(), float(wide), float(long))


def cut_land(land: shapely.Polygon, frame: LocalFrame, u: float) -> list[shapely.Polygon]:
    """The two sides of a cut across the frame at u."""
    far = 2000.0
    halves = [(u - far, -far, u, far), (u, -far, u + far, far)]
    return [piece for half in halves for piece in extract_polygons(land.intersection(frame.box(half)))]


def extract_polygons(shape: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons that a shape is made of; slivers, lines and points do not count."""
    return [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and part.area > 1.0]


def divide_land(land: shapely.Polygon, area_m2: float, rng: np.random.Generator) -> Iterator[shapely.Polygon]:
    """The land cut across its length, again and again, until no piece is much larger than the area."""
    if land.area < 1.5 * area_m2:
        yield land
        return
    frame, long, _ = find_frame(land)
    for piece in cut_land(land, frame, long * rng.uniform(-0.09, 0.09)):
        yield from divide_land(piece, area_m2, rng)


def shrink_land(land: shapely.Polygon, by_m: float, corner_m: float = 0.0) -> list[shapely.Polygon]:
    """The land without a margin, its corners rounded."""
    inner = shapely.buffer(land, -by_m - corner_m, join_style="mitre")
    return extract_polygons(shapely.buffer(inner, corner_m, quad_segs=3) if corner_m else inner)


def compute_side_planes(points: Points) -> Planes:
    """For each side of a convex ring, the plane of the distance from it, growing inwards."""
    start, end = points[:-1], points[1:]
    along = (end - start) / np.hypot(*(end - start).T)[:, None]
    normals = np.column_stack([-along[:, 1], along[:, 0]])
    offsets = -(normals * start).sum(axis=1)
    inwards = np.sign(normals @ points.mean(axis=0) + offsets)
    return np.column_stack([normals * inwards[:, None], offsets * inwards])


def make_gable_roof(
    box: Box, slope: float, along_u: bool = True, hips: tuple[float, float] = (_GABLE, _GABLE)
) -> Planes:
    """A roof over a box with its ridge along u or v; `hips` are the slopes at the ridge's two ends."""
    u0, v0, u1, v1 = box
    across, ends = (slope, slope), hips
    u_slopes, v_slopes = (ends, across) if along_u else (across, ends)
    return np.array(
        [
            (1.0, 0.0, -u0, u_slopes[0]),
            (-1.0, 0.0, u1, u_slopes[1]),
            (0.0, 1.0, -v0, v_slopes[0]),
            (0.0, -1.0, v1, v_slopes[1]),
        ]
    )


def make_centred_box(length: float, width: float) -> Box:
    """A box about the origin."""
    return -length / 2, -width / 2, length / 2, width / 2


def make_flat_roof(box: Box) -> Planes:
    """A flat roof over a box."""
    return make_gable_roof(box, 0.0)


def make_pyramid(radius: float, slope: float, sides: int) -> tuple[shapely.Polygon, Planes]:
    """A regular polygon about the origin and the roof that rises from all its sides."""
    angles = np.arange(sides) * 2 * pi / sides
    ring = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    planes = compute_side_planes(np.vstack([ring, ring[:1]]))
    return shapely.Polygon(ring), np.column_stack([planes, np.full(sides, slope)])


def unite_boxes(boxes: Sequence[Box]) -> shapely.Polygon:
    """The outline of overlapping boxes."""
    joined = shapely.union_all([shapely.box(*box) for box in boxes])
    return shapely.Polygon(joined.exterior, list(joined.interiors))
