"""Houses of many shapes. A maker gets a piece of land and gives buildings that stay inside it."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
import shapely

from geoseg.demo.content import Colour, Finish, Fitting, Planes, Solid
from geoseg.demo.shapes import (
    Box,
    Frame,
    flat,
    frame_of,
    gable,
    outward,
    polygons,
    pyramid,
    shrunk,
    union,
)
from geoseg.demo.style import Style, tinted

Plan = tuple[list[Box], list[Planes]]
_STOREY_M = 2.9
_PANEL: Colour = (42, 50, 72)
_BRICK: Colour = (128, 96, 82)
_GLASS: Colour = (112, 128, 142)
_STEEL: Colour = (190, 192, 194)


def house(land: shapely.Polygon, style: Style, rng: np.random.Generator, kind: str = "house") -> list[Solid]:
    """A detached house of some shape, as large as the land and chance allow, or none where there is no room."""
    frame, long, wide = frame_of(land)
    frame = frame if rng.random() < 0.9 else Frame.at(frame.x, frame.y, rng.uniform(0, pi))
    frame = frame.moved(long * rng.uniform(-0.12, 0.12), wide * rng.uniform(-0.1, 0.1))
    length = min(rng.uniform(9.5, 17.0), 0.62 * long)
    width = min(rng.uniform(7.5, 11.0), 0.72 * wide, length)
    while min(length, width) > 5.5:
        boxes, wings = _SHAPES[rng.choice(len(_SHAPES), p=_SHAPE_SHARES)](length, width, rng)
        outline = frame.place(union(boxes))
        if land.contains(outline):
            return [_home(outline, frame, boxes[0], wings, style, rng, kind)]
        length, width = 0.86 * length, 0.92 * width
    return []


def _home(
    outline: shapely.Polygon,
    frame: Frame,
    core: Box,
    wings: list[Planes],
    style: Style,
    rng: np.random.Generator,
    kind: str,
) -> Solid:
    is_flat = not any(wing[:, 3].any() for wing in wings)
    finish = style.flat_roof(rng) if is_flat else style.roof(rng)
    eave = _STOREY_M * rng.integers(1, 3) + rng.uniform(0, 0.8)
    fittings = tuple(_roof_things(frame, core, rng))
    return Solid(outline, eave, tuple(frame.planes(wing) for wing in wings), finish, kind, fittings)


def _plain(length: float, width: float, rng: np.random.Generator) -> Plan:
    box = _centred(length, width)
    hip = rng.choice((0.0, 0.0, 1.0, 1.4))
    slope = _pitch(rng)
    return [box], [gable(box, slope, hips=(slope * hip, slope * hip))]


def _flat_roofed(length: float, width: float, rng: np.random.Generator) -> Plan:
    main = _centred(length, width)
    wing = (main[0], main[1] - width * rng.uniform(0.2, 0.5), main[0] + length * rng.uniform(0.35, 0.6), 0.0)
    boxes = [main, wing] if rng.random() < 0.5 else [main]
    return boxes, [flat(box) for box in boxes]


def _el(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A main wing and one that leaves it at one end: an L."""
    main, slope = _centred(length, 0.75 * width), _pitch(rng)
    side = rng.choice((-1, 1))
    arm = 0.62 * width
    u0 = main[2] - arm if side > 0 else main[0]
    wing = (u0, 0.0, u0 + arm, main[3] + width * rng.uniform(0.3, 0.7))
    hip = slope * rng.choice((0.0, 1.0))
    return [main, wing], [gable(main, slope, hips=(hip, hip)), gable(wing, slope, False, (0.0, hip))]


def _tee(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A wing that leaves the middle of the main one: a T."""
    main, slope = _centred(length, 0.75 * width), _pitch(rng)
    half, u = 0.3 * width, length * rng.uniform(-0.2, 0.2)
    wing = (u - half, 0.0, u + half, main[3] + width * rng.uniform(0.2, 0.6))
    hip = slope * rng.choice((0.0, 1.0))
    return [main, wing], [gable(main, slope, hips=(hip, hip)), gable(wing, slope, False, (0.0, hip))]


def _horseshoe(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A main wing with one at each end: a U."""
    long, slope = 1.25 * length, _pitch(rng)
    main = _centred(long, 0.7 * width)
    arm, reach = 0.26 * long, main[3] + width * rng.uniform(0.5, 1.0)
    left, right = (main[0], 0.0, main[0] + arm, reach), (main[2] - arm, 0.0, main[2], reach)
    return [main, left, right], [gable(main, slope), gable(left, slope, False), gable(right, slope, False)]


def _cross(length: float, width: float, rng: np.random.Generator) -> Plan:
    """Two wings that cross."""
    slope = _pitch(rng)
    main, wing = _centred(length, 0.6 * width), _centred(0.5 * length, 1.25 * width)
    return [main, wing], [gable(main, slope), gable(wing, slope, along_u=1.25 * width < 0.5 * length)]


def _with_annex(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A house and a lower, flat-roofed garage that leans on it."""
    main, slope = _centred(length, width), _pitch(rng)
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


def _centred(length: float, width: float) -> Box:
    return -length / 2, -width / 2, length / 2, width / 2


def _pitch(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.42, 0.85))


def _roof_things(frame: Frame, core: Box, rng: np.random.Generator) -> list[Fitting]:
    """A chimney, perhaps roof windows, perhaps solar panels."""
    things = [_block(frame, rng.uniform(0.5, 0.8) * core[0], rng.uniform(-0.6, 0.6), (0.9, 0.7), _BRICK, 3.4)]
    if rng.random() < 0.35:
        things += [_block(frame, u * core[2], 0.5 * core[3], (0.9, 1.2), _GLASS, 0.1) for u in (-0.4, 0.0, 0.4)]
    if rng.random() < 0.16:
        size = (core[2] * rng.uniform(0.7, 1.2), 0.55 * core[3])
        things.append(_block(frame, 0.0, -0.5 * core[3], size, _PANEL, 0.1))
    return things if rng.random() < 0.85 else []


def _block(frame: Frame, u: float, v: float, size: tuple[float, float], colour: Colour, top_m: float) -> Fitting:
    box = (u - size[0] / 2, v - size[1] / 2, u + size[0] / 2, v + size[1] / 2)
    return Fitting(frame.box(box), colour, top_m)


def shed(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A garden shed or garage."""
    frame, long, wide = frame_of(land)
    box = _centred(min(rng.uniform(3.0, 7.0), 0.8 * long), min(rng.uniform(2.6, 4.2), 0.8 * wide))
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
    count = int(min(0.94 * long / unit, rng.integers(4, 13)))
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
    slope, eave, finish = rng.uniform(0.5, 0.8), _STOREY_M * 2 + rng.uniform(0, 1), style.roof(rng)
    is_flat, uneven = rng.random() < 0.2, rng.choice((0.0, 0.3, 0.8))
    units = []
    for u0, u1 in zip(ends[:-1], ends[1:], strict=True):
        box = (float(u0), -depth / 2, float(u1), depth / 2)
        wing = frame.planes(flat(box) if is_flat else gable(box, slope))
        chimney = _block(frame, box[0] + 0.5, rng.uniform(-1, 1), (0.8, 0.8), _BRICK, 3.2)
        own = Finish(tinted(finish.colour, rng, 0.06), finish.blotches, finish.grain, finish.seam_m, finish.seam_depth)
        top = eave + uneven * rng.standard_normal()
        units.append(Solid(frame.box(box), top, (wing,), own, "row_house", (chimney,)))
    return units


def courtyard(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A block built up along its edge around a court: one building with a hole, or many wall to wall."""
    depth = rng.uniform(10.5, 13.5)
    inner = shrunk(land, depth)
    if len(inner) != 1 or inner[0].area < 60:
        return slab(land, style, rng)
    ring = shapely.Polygon(land.exterior, [inner[0].exterior])
    wings = _ring_wings(land, depth, rng.uniform(0.45, 0.7) if rng.random() < 0.8 else 0.0)
    if rng.random() < 0.3:
        return [Solid(ring, _STOREY_M * rng.integers(3, 6), wings, style.roof(rng), "courtyard")]
    return [
        Solid(piece, _STOREY_M * 4 + rng.normal(0, 1.3), wings, style.roof(rng), "town_house", _lights(piece, rng))
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
    return (_block(frame, rng.uniform(-2, 2), rng.uniform(-2, 2), (1.2, 0.8), _BRICK, 3.0),)


def slab(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A flat-roofed block of flats, sometimes set at an angle."""
    frame, long, wide = frame_of(land)
    angle = rng.choice((0.0, 0.0, pi / 4, rng.uniform(0, pi)))
    frame = Frame.at(frame.x, frame.y, frame.angle + float(angle))
    length, width = min(0.85 * long, rng.uniform(28, 70)), min(0.6 * wide, rng.uniform(11, 15))
    while width > 6:
        outline = frame.box(_centred(length, width))
        if land.contains(outline):
            return [_slab(frame, outline, _centred(length, width), style, rng)]
        length, width = 0.8 * length, 0.96 * width
    return []


def _slab(frame: Frame, outline: shapely.Polygon, box: Box, style: Style, rng: np.random.Generator) -> Solid:
    heads = [
        _block(frame, float(u), rng.uniform(-2, 2), (4.0, 3.0), (150, 148, 144), 2.6)
        for u in np.arange(box[0] + 6, box[2] - 4, 16)
    ]
    eave = _STOREY_M * rng.integers(4, 8)
    return Solid(outline, eave, (frame.planes(flat(box)),), style.flat_roof(rng), "apartments", tuple(heads))


def hall(land: shapely.Polygon, style: Style, rng: np.random.Generator, kind: str = "hall") -> list[Solid]:
    """A large hall: low gable, saw-tooth or flat, with skylights or vents."""
    frame, long, wide = frame_of(land)
    length, width = long * rng.uniform(0.55, 0.85), wide * rng.uniform(0.45, 0.8)
    frame = frame.moved(long * rng.uniform(-0.08, 0.08), wide * rng.uniform(-0.08, 0.08))
    while width > 9:
        box = _centred(length, width)
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
    wings = [gable((box[0], v0, box[2], v1), slope) for v0, v1 in zip(lines[:-1], lines[1:], strict=True)]
    things = _skylights(frame, box, rng) if rng.random() < 0.6 else _vents(frame, box, rng)
    return tuple(frame.planes(wing) for wing in wings), tuple(things)


def _teeth(box: Box, about_m: float) -> list[Planes]:
    """Saw-tooth roof: each tooth rises gently and falls steeply."""
    count = max(2, round((box[2] - box[0]) / about_m))
    lines = np.linspace(box[0], box[2], count + 1)
    teeth = []
    for u0, u1 in zip(lines[:-1], lines[1:], strict=True):
        tooth = gable((u0, box[1], u1, box[3]), 0.22, along_u=False)
        tooth[1, 3] = 1.5
        teeth.append(tooth)
    return teeth


def _skylights(frame: Frame, box: Box, rng: np.random.Generator) -> list[Fitting]:
    """Rows of light bands across the hall."""
    step, size = rng.uniform(6, 11), (1.2, 0.28 * (box[3] - box[1]))
    spots = [(u, v) for u in np.arange(box[0] + step / 2, box[2] - 1, step) for v in (0.5 * box[1], 0.5 * box[3])]
    colour: Colour = (214, 218, 218) if rng.random() < 0.6 else (120, 136, 142)
    return [_block(frame, float(u), v, size, colour, 0.2) for u, v in spots]


def _vents(frame: Frame, box: Box, rng: np.random.Generator) -> list[Fitting]:
    """Air-conditioning boxes here and there."""
    spots = rng.uniform(-0.42, 0.42, (rng.integers(2, 11), 2)) * (box[2] - box[0], box[3] - box[1])
    return [_block(frame, u, v, (rng.uniform(1.5, 4), rng.uniform(1.2, 2.5)), _STEEL, 1.6) for u, v in spots]


def tanks(land: shapely.Polygon, rng: np.random.Generator) -> list[Solid]:
    """A row of round tanks or silos."""
    frame, long, wide = frame_of(land)
    radius = min(rng.uniform(3.0, 9.0), 0.4 * wide)
    count = int(min(4, 0.9 * long // (2.3 * radius)))
    colour = tinted((212, 212, 208), rng, 0.06)
    tanks = [_tank(frame.moved((n - (count - 1) / 2) * 2.3 * radius, 0.0), radius, colour, rng) for n in range(count)]
    return [tank for tank in tanks if radius > 2 and land.contains(tank.outline)]


def _tank(frame: Frame, radius: float, colour: Colour, rng: np.random.Generator) -> Solid:
    ring, planes = pyramid(radius, 0.18, 32)
    return Solid(frame.place(ring), rng.uniform(6, 13), (frame.planes(planes),), Finish(colour, 0.05, 0.02), "tank")
