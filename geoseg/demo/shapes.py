"""The geometry of a plan: frames, land that is divided again and again, and the planes of roofs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.demo.content import Planes

Box = tuple[float, float, float, float]
Points = NDArray[np.float64]
_GABLE = 0.0


@dataclass(frozen=True)
class Frame:
    """A turned coordinate frame: u along something's length, v across it, its origin at (x, y)."""

    x: float
    y: float
    cos: float
    sin: float

    @classmethod
    def at(cls, x: float, y: float, angle: float) -> Frame:
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

    def moved(self, u: float, v: float) -> Frame:
        x, y = self.world(np.array([[u, v]]))[0]
        return Frame(float(x), float(y), self.cos, self.sin)

    def turned(self) -> Frame:
        """The same place, with length and width exchanged."""
        return Frame(self.x, self.y, -self.sin, self.cos)

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


def frame_of(land: shapely.Polygon) -> tuple[Frame, float, float]:
    """The frame along the longest side, its origin amid the land, with the land's length and width in it."""
    corners = shapely.get_coordinates(land.exterior)
    sides = np.diff(corners, axis=0)
    du, dv = sides[np.argmax(np.hypot(sides[:, 0], sides[:, 1]))]
    length = hypot(du, dv)
    frame = Frame(0.0, 0.0, float(du / length), float(dv / length))
    local = frame.local(corners)
    low, high = local.min(axis=0), local.max(axis=0)
    (u, v), (long, wide) = (low + high) / 2, high - low
    frame = frame.moved(float(u), float(v))
    return (frame, float(long), float(wide)) if long >= wide else (frame.turned(), float(wide), float(long))


def cut(land: shapely.Polygon, frame: Frame, u: float) -> list[shapely.Polygon]:
    """The two sides of a cut across the frame at u."""
    far = 2000.0
    halves = [(u - far, -far, u, far), (u, -far, u + far, far)]
    return [piece for half in halves for piece in polygons(land.intersection(frame.box(half)))]


def polygons(shape: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons that a shape is made of; slivers, lines and points do not count."""
    return [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and part.area > 1.0]


def divided(land: shapely.Polygon, area_m2: float, rng: np.random.Generator) -> Iterator[shapely.Polygon]:
    """The land cut across its length, again and again, until no piece is much larger than the area."""
    if land.area < 1.5 * area_m2:
        yield land
        return
    frame, long, _ = frame_of(land)
    for piece in cut(land, frame, long * rng.uniform(-0.09, 0.09)):
        yield from divided(piece, area_m2, rng)


def shrunk(land: shapely.Polygon, by_m: float, corner_m: float = 0.0) -> list[shapely.Polygon]:
    """The land without a margin, its corners rounded."""
    inner = shapely.buffer(land, -by_m - corner_m, join_style="mitre")
    return polygons(shapely.buffer(inner, corner_m, quad_segs=3) if corner_m else inner)


def outward(points: Points) -> Planes:
    """For each side of a convex ring, the plane of the distance from it, growing inwards."""
    start, end = points[:-1], points[1:]
    along = (end - start) / np.hypot(*(end - start).T)[:, None]
    normals = np.column_stack([-along[:, 1], along[:, 0]])
    offsets = -(normals * start).sum(axis=1)
    inwards = np.sign(normals @ points.mean(axis=0) + offsets)
    return np.column_stack([normals * inwards[:, None], offsets * inwards])


def gable(
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


def centred(length: float, width: float) -> Box:
    """A box about the origin."""
    return -length / 2, -width / 2, length / 2, width / 2


def flat(box: Box) -> Planes:
    """A flat roof over a box."""
    return gable(box, 0.0)


def pyramid(radius: float, slope: float, sides: int) -> tuple[shapely.Polygon, Planes]:
    """A regular polygon about the origin and the roof that rises from all its sides."""
    angles = np.arange(sides) * 2 * pi / sides
    ring = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    planes = outward(np.vstack([ring, ring[:1]]))
    return shapely.Polygon(ring), np.column_stack([planes, np.full(sides, slope)])


def union(boxes: Sequence[Box]) -> shapely.Polygon:
    """The outline of overlapping boxes."""
    joined = shapely.union_all([shapely.box(*box) for box in boxes])
    return shapely.Polygon(joined.exterior, list(joined.interiors))
