"""Halls of industry and farms, tanks and silos."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import shapely

from geoseg.demo.content import Colour, Finish, Fitting, Planes, Solid
from geoseg.demo.houses import fitting
from geoseg.demo.shapes import Box, Frame, centred, frame_of, gable, pyramid
from geoseg.demo.style import Style, tinted

_STEEL: Colour = (190, 192, 194)


def hall(land: shapely.Polygon, style: Style, rng: np.random.Generator, kind: str = "hall") -> list[Solid]:
    """A large hall: low gable, saw-tooth or flat, with skylights or vents."""
    frame, long, wide = frame_of(land)
    length, width = long * rng.uniform(0.55, 0.85), wide * rng.uniform(0.45, 0.8)
    frame = frame.moved(long * rng.uniform(-0.08, 0.08), wide * rng.uniform(-0.08, 0.08))
    while width > 9:
        box = centred(length, width)
        outline = frame.box(box)
        if land.contains(outline):
            wings, fittings = _hall_roof(frame, box, rng)
            finish = style.sheet_roof(rng)
            return [Solid(outline, rng.uniform(6, 11), wings, finish, kind, fittings)]
        length, width = 0.9 * length, 0.93 * width
    return []


def _hall_roof(
    frame: Frame, box: Box, rng: np.random.Generator
) -> tuple[tuple[Planes, ...], tuple[Fitting, ...]]:
    form = rng.choice(3)
    if form == 0:
        return tuple(frame.planes(tooth) for tooth in _teeth(box, rng.uniform(8, 13))), ()
    bays = max(1, round((box[3] - box[1]) / rng.uniform(18, 45))) if form == 1 else 1
    lines = np.linspace(box[1], box[3], bays + 1)
    slope = rng.uniform(0.06, 0.18) if form == 1 else 0.0
    wings = [gable((box[0], v0, box[2], v1), slope) for v0, v1 in pairwise(lines)]
    things = _skylights(frame, box, rng) if rng.random() < 0.6 else _vents(frame, box, rng)
    return tuple(frame.planes(wing) for wing in wings), tuple(things)


def _teeth(box: Box, about_m: float) -> list[Planes]:
    """Saw-tooth roof: each tooth rises gently and falls steeply."""
    count = max(2, round((box[2] - box[0]) / about_m))
    lines = np.linspace(box[0], box[2], count + 1)
    teeth = []
    for u0, u1 in pairwise(lines):
        tooth = gable((u0, box[1], u1, box[3]), 0.22, along_u=False)
        tooth[1, 3] = 1.5
        teeth.append(tooth)
    return teeth


def _skylights(frame: Frame, box: Box, rng: np.random.Generator) -> list[Fitting]:
    """Rows of light bands across the hall."""
    step, size = rng.uniform(6, 11), (1.2, 0.28 * (box[3] - box[1]))
    spots = [
        (u, v) for u in np.arange(box[0] + step / 2, box[2] - 1, step) for v in (0.5 * box[1], 0.5 * box[3])
    ]
    colour: Colour = (214, 218, 218) if rng.random() < 0.6 else (120, 136, 142)
    return [fitting(frame, float(u), v, size, colour, 0.2) for u, v in spots]


def _vents(frame: Frame, box: Box, rng: np.random.Generator) -> list[Fitting]:
    """Air-conditioning boxes here and there."""
    spots = rng.uniform(-0.42, 0.42, (rng.integers(2, 11), 2)) * (box[2] - box[0], box[3] - box[1])
    return [fitting(frame, u, v, (rng.uniform(1.5, 4), rng.uniform(1.2, 2.5)), _STEEL, 1.6) for u, v in spots]


def tanks(land: shapely.Polygon, rng: np.random.Generator) -> list[Solid]:
    """A row of round tanks or silos."""
    frame, long, wide = frame_of(land)
    radius = min(rng.uniform(3.0, 9.0), 0.4 * wide)
    count = int(min(4, 0.9 * long // (2.3 * radius)))
    colour = tinted((212, 212, 208), rng, 0.06)
    tanks = [
        _tank(frame.moved((n - (count - 1) / 2) * 2.3 * radius, 0.0), radius, colour, rng)
        for n in range(count)
    ]
    return [tank for tank in tanks if radius > 2 and land.contains(tank.outline)]


def _tank(frame: Frame, radius: float, colour: Colour, rng: np.random.Generator) -> Solid:
    ring, planes = pyramid(radius, 0.18, 32)
    return Solid(
        frame.place(ring), rng.uniform(6, 13), (frame.planes(planes),), Finish(colour, 0.05, 0.02), "tank"
    )
