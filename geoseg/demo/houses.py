"""Houses of many shapes. A maker gets a piece of land and gives buildings that stay inside it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import pi

import numpy as np
import shapely

from geoseg.demo.content import Colour, Finish, Fitting, Planes, Solid
from geoseg.demo.shapes import Box, Frame, centred, flat, frame_of, gable, union
from geoseg.demo.style import Style, tinted

Plan = tuple[list[Box], list[Planes]]
STOREY_M = 2.9
_PANEL: Colour = (42, 50, 72)
BRICK: Colour = (128, 96, 82)
_GLASS: Colour = (112, 128, 142)


def house(land: shapely.Polygon, style: Style, rng: np.random.Generator, kind: str = "house") -> list[Solid]:
    """A detached house of some shape, as large as the land and chance allow, or none where there is no room."""
    frame, long, wide = frame_of(land)
    frame = frame if rng.random() < 0.9 else Frame.at(frame.x, frame.y, rng.uniform(0, pi))
    frame = frame.moved(long * rng.uniform(-0.12, 0.12), wide * rng.uniform(-0.1, 0.1))
    length = min(rng.uniform(9.5, 17.0), 0.62 * long)
    width = min(rng.uniform(7.5, 11.0), 0.72 * wide, length)
    while min(length, width) > 5.5:
        plan = _SHAPES[rng.choice(len(_SHAPES), p=_SHAPE_SHARES)](length, width, rng)
        outline = frame.place(union(plan[0]))
        if land.contains(outline):
            return [_home(outline, frame, plan, style, rng, kind)]
        length, width = 0.86 * length, 0.92 * width
    return []


def _home(
    outline: shapely.Polygon, frame: Frame, plan: Plan, style: Style, rng: np.random.Generator, kind: str
) -> Solid:
    boxes, wings = plan
    is_flat = not any(wing[:, 3].any() for wing in wings)
    finish = style.flat_roof(rng) if is_flat else style.roof(rng)
    eave = STOREY_M * rng.integers(1, 3) + rng.uniform(0, 0.8)
    fittings = tuple(_roof_things(frame, boxes[0], rng))
    return Solid(outline, eave, tuple(frame.planes(wing) for wing in wings), finish, kind, fittings)


def _plain(length: float, width: float, rng: np.random.Generator) -> Plan:
    box = centred(length, width)
    hip = rng.choice((0.0, 0.0, 1.0, 1.4))
    slope = _pitch(rng)
    return [box], [gable(box, slope, hips=(slope * hip, slope * hip))]


def _flat_roofed(length: float, width: float, rng: np.random.Generator) -> Plan:
    main = centred(length, width)
    wing = (main[0], main[1] - width * rng.uniform(0.2, 0.5), main[0] + length * rng.uniform(0.35, 0.6), 0.0)
    boxes = [main, wing] if rng.random() < 0.5 else [main]
    return boxes, [flat(box) for box in boxes]


def _el(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A main wing and one that leaves it at one end: an L."""
    main, slope = centred(length, 0.75 * width), _pitch(rng)
    side = rng.choice((-1, 1))
    arm = 0.62 * width
    u0 = main[2] - arm if side > 0 else main[0]
    wing = (u0, 0.0, u0 + arm, main[3] + width * rng.uniform(0.3, 0.7))
    hip = slope * rng.choice((0.0, 1.0))
    return [main, wing], [gable(main, slope, hips=(hip, hip)), gable(wing, slope, False, (0.0, hip))]


def _tee(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A wing that leaves the middle of the main one: a T."""
    main, slope = centred(length, 0.75 * width), _pitch(rng)
    half, u = 0.3 * width, length * rng.uniform(-0.2, 0.2)
    wing = (u - half, 0.0, u + half, main[3] + width * rng.uniform(0.2, 0.6))
    hip = slope * rng.choice((0.0, 1.0))
    return [main, wing], [gable(main, slope, hips=(hip, hip)), gable(wing, slope, False, (0.0, hip))]


def _horseshoe(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A main wing with one at each end: a U."""
    long, slope = 1.25 * length, _pitch(rng)
    main = centred(long, 0.7 * width)
    arm, reach = 0.26 * long, main[3] + width * rng.uniform(0.5, 1.0)
    left, right = (main[0], 0.0, main[0] + arm, reach), (main[2] - arm, 0.0, main[2], reach)
    return [main, left, right], [gable(main, slope), gable(left, slope, False), gable(right, slope, False)]


def _cross(length: float, width: float, rng: np.random.Generator) -> Plan:
    """Two wings that cross."""
    slope = _pitch(rng)
    main, wing = centred(length, 0.6 * width), centred(0.5 * length, 1.25 * width)
    return [main, wing], [gable(main, slope), gable(wing, slope, along_u=1.25 * width < 0.5 * length)]


def _with_annex(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A house and a lower, flat-roofed garage that leans on it."""
    main, slope = centred(length, width), _pitch(rng)
    annex = (main[2] - 0.01, main[1] + 0.1 * width, main[2] + rng.uniform(3.2, 5.0), main[1] + 0.75 * width)
    hip = slope * rng.choice((0.0, 1.0))
    return [main, annex], [gable(main, slope, hips=(hip, hip)), flat(annex)]


_SHAPES: tuple[Callable[[float, float, np.random.Generator], Plan], ...] = (
    _plain,
    _flat_roofed,
    _el,
    _tee,
    _horseshoe,
    _cross,
    _with_annex,
)
_SHAPE_SHARES = (0.34, 0.1, 0.18, 0.13, 0.05, 0.05, 0.15)


def _pitch(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.42, 0.85))


def _roof_things(frame: Frame, core: Box, rng: np.random.Generator) -> list[Fitting]:
    """A chimney, perhaps roof windows, perhaps solar panels."""
    things = [fitting(frame, rng.uniform(0.5, 0.8) * core[0], rng.uniform(-0.6, 0.6), (0.9, 0.7), BRICK, 3.4)]
    if rng.random() < 0.35:
        things += [
            fitting(frame, u * core[2], 0.5 * core[3], (0.9, 1.2), _GLASS, 0.1) for u in (-0.4, 0.0, 0.4)
        ]
    if rng.random() < 0.16:
        size = (core[2] * rng.uniform(0.7, 1.2), 0.55 * core[3])
        things.append(fitting(frame, 0.0, -0.5 * core[3], size, _PANEL, 0.1))
    return things if rng.random() < 0.85 else []


def fitting(
    frame: Frame, u: float, v: float, size: tuple[float, float], colour: Colour, top_m: float
) -> Fitting:
    box = (u - size[0] / 2, v - size[1] / 2, u + size[0] / 2, v + size[1] / 2)
    return Fitting(frame.box(box), colour, top_m)


def shed(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A garden shed or garage."""
    frame, long, wide = frame_of(land)
    box = centred(min(rng.uniform(3.0, 7.0), 0.8 * long), min(rng.uniform(2.6, 4.2), 0.8 * wide))
    frame = frame.moved(long * rng.uniform(-0.4, 0.4), wide * rng.uniform(-0.4, 0.4))
    outline = frame.box(box)
    if min(box[2], box[3]) < 1.2 or not land.contains(outline):
        return []
    pitched = rng.random() < 0.5
    wing = frame.planes(gable(box, 0.4) if pitched else flat(box))
    finish = style.roof(rng) if pitched else style.flat_roof(rng)
    return [Solid(outline, 2.4, (wing,), finish, "outbuilding")]


def row(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """Houses wall to wall, each with an outline of its own."""
    frame, long, wide = frame_of(land)
    depth, unit = min(rng.uniform(8.5, 11.5), 0.5 * wide), rng.uniform(5.2, 7.6)
    count = min(int(0.94 * long / unit), int(rng.integers(4, 13)))
    frame = frame.moved(0.0, wide * rng.uniform(-0.16, 0.16))
    while count >= 2:
        ends = (np.arange(count + 1) - count / 2) * unit
        if land.contains(frame.box((ends[0], -depth / 2, ends[-1], depth / 2))):
            return _units(frame, ends, depth, style, rng)
        count -= 1
    return []


def _units(
    frame: Frame, ends: np.ndarray, depth: float, style: Style, rng: np.random.Generator
) -> list[Solid]:
    slope, eave, finish = rng.uniform(0.5, 0.8), STOREY_M * 2 + rng.uniform(0, 1), style.roof(rng)
    is_flat, uneven = rng.random() < 0.2, rng.choice((0.0, 0.3, 0.8))
    units = []
    for u0, u1 in pairwise(ends):
        box = (float(u0), -depth / 2, float(u1), depth / 2)
        wing = frame.planes(flat(box) if is_flat else gable(box, slope))
        chimney = fitting(frame, box[0] + 0.5, rng.uniform(-1, 1), (0.8, 0.8), BRICK, 3.2)
        own = Finish(
            tinted(finish.colour, rng, 0.06), finish.blotches, finish.grain, finish.seam_m, finish.seam_depth
        )
        top = eave + uneven * rng.standard_normal()
        units.append(Solid(frame.box(box), top, (wing,), own, "row_house", (chimney,)))
    return units
