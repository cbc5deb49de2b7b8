"""Large dwellings: blocks built up around a court, and slabs of flats."""

from __future__ import annotations

from math import pi

import numpy as np
import shapely

from geoseg.demo.content import Fitting, Planes, Solid
from geoseg.demo.houses import BRICK, STOREY_M, fitting
from geoseg.demo.shapes import Box, Frame, centred, flat, frame_of, outward, polygons, shrunk
from geoseg.demo.style import Style


def courtyard(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A block built up along its edge around a court: one building with a hole, or many wall to wall."""
    depth = rng.uniform(10.5, 13.5)
    inner = shrunk(land, depth)
    if len(inner) != 1 or inner[0].area < 60:
        return slab(land, style, rng)
    ring = shapely.Polygon(land.exterior, [inner[0].exterior])
    wings = _ring_wings(land, depth, rng.uniform(0.45, 0.7) if rng.random() < 0.8 else 0.0)
    if rng.random() < 0.3:
        return [Solid(ring, STOREY_M * rng.integers(3, 6), wings, style.roof(rng), "courtyard")]
    return [
        Solid(
            piece,
            STOREY_M * 4 + rng.normal(0, 1.3),
            wings,
            style.roof(rng),
            "town_house",
            _lights(piece, rng),
        )
        for piece in _ring_pieces(ring, land, depth, rng)
    ]


def _ring_wings(land: shapely.Polygon, depth: float, slope: float) -> tuple[Planes, ...]:
    """For each side of a convex block a wing with its ridge along the side, hipped at the outer corners."""
    sides = outward(shapely.get_coordinates(land.exterior))
    wings = []
    for number, side in enumerate(sides):
        back = np.append(-side[:2], depth - side[2])
        ends = sides[[number - 1, (number + 1) % len(sides)]]
        wings.append(np.column_stack([np.vstack([side, back, ends]), np.full(4, slope)]))
    return tuple(wings)


def _ring_pieces(
    ring: shapely.Polygon, land: shapely.Polygon, depth: float, rng: np.random.Generator
) -> list[shapely.Polygon]:
    """The ring cut across into houses; neighbours share the very same wall."""
    corners = shapely.get_coordinates(land.exterior)
    cuts = []
    for start, end, side in zip(corners[:-1], corners[1:], outward(corners), strict=True):
        length = float(np.hypot(*(end - start)))
        count = int((length - 2 * depth) // rng.uniform(11, 22))
        for share in (np.arange(count) + rng.uniform(0.2, 0.8)) / max(count, 1):
            foot = start + (end - start) * (depth + share * (length - 2 * depth)) / length
            cuts.append(shapely.LineString([foot - 0.5 * side[:2], foot + (depth + 0.5) * side[:2]]))
    noded = shapely.union_all([ring.boundary, *cuts])
    faces = polygons(shapely.polygonize(shapely.get_parts(noded)))
    return [face for face in faces if ring.contains(face.representative_point())]


def _lights(piece: shapely.Polygon, rng: np.random.Generator) -> tuple[Fitting, ...]:
    """Some chimneys along the middle of a town house."""
    spot = piece.representative_point()
    frame = Frame.at(spot.x, spot.y, rng.uniform(0, pi))
    return (fitting(frame, rng.uniform(-2, 2), rng.uniform(-2, 2), (1.2, 0.8), BRICK, 3.0),)


def slab(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A flat-roofed block of flats, sometimes set at an angle."""
    frame, long, wide = frame_of(land)
    angle = rng.choice((0.0, 0.0, pi / 4, rng.uniform(0, pi)))
    frame = Frame.at(frame.x, frame.y, frame.angle + float(angle))
    length, width = min(0.85 * long, rng.uniform(28, 70)), min(0.6 * wide, rng.uniform(11, 15))
    while width > 6:
        outline = frame.box(centred(length, width))
        if land.contains(outline):
            return [_slab(frame, outline, centred(length, width), style, rng)]
        length, width = 0.8 * length, 0.96 * width
    return []


def _slab(frame: Frame, outline: shapely.Polygon, box: Box, style: Style, rng: np.random.Generator) -> Solid:
    heads = [
        fitting(frame, float(u), rng.uniform(-2, 2), (4.0, 3.0), (150, 148, 144), 2.6)
        for u in np.arange(box[0] + 6, box[2] - 4, 16)
    ]
    eave = STOREY_M * rng.integers(4, 8)
    return Solid(outline, eave, (frame.planes(flat(box)),), style.flat_roof(rng), "apartments", tuple(heads))
