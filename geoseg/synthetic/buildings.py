"""Buildings of all kinds: houses of many shapes, blocks around courts, slabs of flats, halls and tanks.

A function gets a piece of land and returns buildings that stay inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import pi

import numpy as np
import shapely

from geoseg.synthetic.geometry import (
    Box,
    LocalFrame,
    compute_side_planes,
    extract_polygons,
    find_frame,
    make_centred_box,
    make_flat_roof,
    make_gable_roof,
    make_pyramid,
    shrink_land,
    unite_boxes,
)
from geoseg.synthetic.objects import Color, Planes, RoofFinish, RoofFitting, Solid
from geoseg.synthetic.style import Style, vary_color

Plan = tuple[list[Box], list[Planes]]
STOREY_M = 2.9
_PANEL: Color = (42, 50, 72)
BRICK: Color = (128, 96, 82)
_GLASS: Color = (112, 128, 142)


def build_house(
    land: shapely.Polygon, style: Style, rng: np.random.Generator, kind: str = "house"
) -> list[Solid]:
    """A detached house of some shape, as large as the land and chance allow, or none where there is no room."""
    frame, long, wide = find_frame(land)
    frame = frame if rng.random() < 0.9 else LocalFrame.at(frame.x, frame.y, rng.uniform(0, pi))
    frame = frame.moved(long * rng.uniform(-0.12, 0.12), wide * rng.uniform(-0.1, 0.1))
    length = min(rng.uniform(9.5, 17.0), 0.62 * long)
    width = min(rng.uniform(7.5, 11.0), 0.72 * wide, length)
    while min(length, width) > 5.5:
        plan = _HOUSE_PLANS[rng.choice(len(_HOUSE_PLANS), p=_HOUSE_PLAN_SHARES)](length, width, rng)
        outline = frame.place(unite_boxes(plan[0]))
        if land.contains(outline):
            return [_make_house(outline, frame, plan, style, rng, kind)]
        length, width = 0.86 * length, 0.92 * width
    return []


def _make_house(
    outline: shapely.Polygon, frame: LocalFrame, plan: Plan, style: Style, rng: np.random.Generator, kind: str
) -> Solid:
    boxes, wings = plan
    is_flat = not any(wing[:, 3].any() for wing in wings)
    finish = style.flat_roof(rng) if is_flat else style.roof(rng)
    eave = STOREY_M * rng.integers(1, 3) + rng.uniform(0, 0.8)
    fittings = tuple(_make_roof_fittings(frame, boxes[0], rng))
    return Solid(outline, eave, tuple(frame.planes(wing) for wing in wings), finish, kind, fittings)


def _plan_plain(length: float, width: float, rng: np.random.Generator) -> Plan:
    box = make_centred_box(length, width)
    hip = rng.choice((0.0, 0.0, 1.0, 1.4))
    slope = _choose_slope(rng)
    return [box], [make_gable_roof(box, slope, hips=(slope * hip, slope * hip))]


def _plan_flat_roofed(length: float, width: float, rng: np.random.Generator) -> Plan:
    main = make_centred_box(length, width)
    wing = (main[0], main[1] - width * rng.uniform(0.2, 0.5), main[0] + length * rng.uniform(0.35, 0.6), 0.0)
    boxes = [main, wing] if rng.random() < 0.5 else [main]
    return boxes, [make_flat_roof(box) for box in boxes]


def _plan_l_shape(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A main wing and one that leaves it at one end: an L."""
    main, slope = make_centred_box(length, 0.75 * width), _choose_slope(rng)
    side = rng.choice((-1, 1))
    arm = 0.62 * width
    u0 = main[2] - arm if side > 0 else main[0]
    wing = (u0, 0.0, u0 + arm, main[3] + width * rng.uniform(0.3, 0.7))
    hip = slope * rng.choice((0.0, 1.0))
    return [main, wing], [
        make_gable_roof(main, slope, hips=(hip, hip)),
        make_gable_roof(wing, slope, False, (0.0, hip)),
    ]


def _plan_t_shape(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A wing that leaves the middle of the main one: a T."""
    main, slope = make_centred_box(length, 0.75 * width), _choose_slope(rng)
    half, u = 0.3 * width, length * rng.uniform(-0.2, 0.2)
    wing = (u - half, 0.0, u + half, main[3] + width * rng.uniform(0.2, 0.6))
    hip = slope * rng.choice((0.0, 1.0))
    return [main, wing], [
        make_gable_roof(main, slope, hips=(hip, hip)),
        make_gable_roof(wing, slope, False, (0.0, hip)),
    ]


def _plan_u_shape(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A main wing with one at each end: a U."""
    long, slope = 1.25 * length, _choose_slope(rng)
    main = make_centred_box(long, 0.7 * width)
    arm, reach = 0.26 * long, main[3] + width * rng.uniform(0.5, 1.0)
    left, right = (main[0], 0.0, main[0] + arm, reach), (main[2] - arm, 0.0, main[2], reach)
    return [main, left, right], [
        make_gable_roof(main, slope),
        make_gable_roof(left, slope, False),
        make_gable_roof(right, slope, False),
    ]


def _plan_cross(length: float, width: float, rng: np.random.Generator) -> Plan:
    """Two wings that cross."""
    slope = _choose_slope(rng)
    main, wing = make_centred_box(length, 0.6 * width), make_centred_box(0.5 * length, 1.25 * width)
    return [main, wing], [
        make_gable_roof(main, slope),
        make_gable_roof(wing, slope, along_u=1.25 * width < 0.5 * length),
    ]


def _plan_with_annex(length: float, width: float, rng: np.random.Generator) -> Plan:
    """A house and a lower, flat-roofed garage that leans on it."""
    main, slope = make_centred_box(length, width), _choose_slope(rng)
    annex = (main[2] - 0.01, main[1] + 0.1 * width, main[2] + rng.uniform(3.2, 5.0), main[1] + 0.75 * width)
    hip = slope * rng.choice((0.0, 1.0))
    return [main, annex], [make_gable_roof(main, slope, hips=(hip, hip)), make_flat_roof(annex)]


_HOUSE_PLANS: tuple[Callable[[float, float, np.random.Generator], Plan], ...] = (
    _plan_plain,
    _plan_flat_roofed,
    _plan_l_shape,
    _plan_t_shape,
    _plan_u_shape,
    _plan_cross,
    _plan_with_annex,
)
_HOUSE_PLAN_SHARES = (0.34, 0.1, 0.18, 0.13, 0.05, 0.05, 0.15)


def _choose_slope(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.42, 0.85))


def _make_roof_fittings(frame: LocalFrame, core: Box, rng: np.random.Generator) -> list[RoofFitting]:
    """A chimney, perhaps roof windows, perhaps solar panels."""
    things = [
        make_fitting(frame, rng.uniform(0.5, 0.8) * core[0], rng.uniform(-0.6, 0.6), (0.9, 0.7), BRICK, 3.4)
    ]
    if rng.random() < 0.35:
        things += [
            make_fitting(frame, u * core[2], 0.5 * core[3], (0.9, 1.2), _GLASS, 0.1) for u in (-0.4, 0.0, 0.4)
        ]
    if rng.random() < 0.16:
        size = (core[2] * rng.uniform(0.7, 1.2), 0.55 * core[3])
        things.append(make_fitting(frame, 0.0, -0.5 * core[3], size, _PANEL, 0.1))
    return things if rng.random() < 0.85 else []


def make_fitting(
    frame: LocalFrame, u: float, v: float, size: tuple[float, float], color: Color, top_m: float
) -> RoofFitting:
    box = (u - size[0] / 2, v - size[1] / 2, u + size[0] / 2, v + size[1] / 2)
    return RoofFitting(frame.box(box), color, top_m)


def build_shed(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A garden shed or garage."""
    frame, long, wide = find_frame(land)
    box = make_centred_box(min(rng.uniform(3.0, 7.0), 0.8 * long), min(rng.uniform(2.6, 4.2), 0.8 * wide))
    frame = frame.moved(long * rng.uniform(-0.4, 0.4), wide * rng.uniform(-0.4, 0.4))
    outline = frame.box(box)
    if min(box[2], box[3]) < 1.2 or not land.contains(outline):
        return []
    pitched = rng.random() < 0.5
    wing = frame.planes(make_gable_roof(box, 0.4) if pitched else make_flat_roof(box))
    finish = style.roof(rng) if pitched else style.flat_roof(rng)
    return [Solid(outline, 2.4, (wing,), finish, "outbuilding")]


def build_row(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """Houses wall to wall, each with an outline of its own."""
    frame, long, wide = find_frame(land)
    depth, unit = min(rng.uniform(8.5, 11.5), 0.5 * wide), rng.uniform(5.2, 7.6)
    count = min(int(0.94 * long / unit), int(rng.integers(4, 13)))
    frame = frame.moved(0.0, wide * rng.uniform(-0.16, 0.16))
    while count >= 2:
        ends = (np.arange(count + 1) - count / 2) * unit
        if land.contains(frame.box((ends[0], -depth / 2, ends[-1], depth / 2))):
            return _make_row_houses(frame, ends, depth, style, rng)
        count -= 1
    return []


def _make_row_houses(
    frame: LocalFrame, ends: np.ndarray, depth: float, style: Style, rng: np.random.Generator
) -> list[Solid]:
    slope, eave, finish = rng.uniform(0.5, 0.8), STOREY_M * 2 + rng.uniform(0, 1), style.roof(rng)
    is_flat, uneven = rng.random() < 0.2, rng.choice((0.0, 0.3, 0.8))
    units = []
    for u0, u1 in pairwise(ends):
        box = (float(u0), -depth / 2, float(u1), depth / 2)
        wing = frame.planes(make_flat_roof(box) if is_flat else make_gable_roof(box, slope))
        chimney = make_fitting(frame, box[0] + 0.5, rng.uniform(-1, 1), (0.8, 0.8), BRICK, 3.2)
        own = RoofFinish(
            vary_color(finish.color, rng, 0.06),
            finish.blotches,
            finish.grain,
            finish.seam_m,
            finish.seam_depth,
        )
        top = eave + uneven * rng.standard_normal()
        units.append(Solid(frame.box(box), top, (wing,), own, "row_house", (chimney,)))
    return units


def build_courtyard(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A block built up along its edge around a court: one building with a hole, or many wall to wall."""
    depth = rng.uniform(10.5, 13.5)
    inner = shrink_land(land, depth)
    if len(inner) != 1 or inner[0].area < 60:
        return build_slab(land, style, rng)
    ring = shapely.Polygon(land.exterior, [inner[0].exterior])
    wings = _make_ring_wings(land, depth, rng.uniform(0.45, 0.7) if rng.random() < 0.8 else 0.0)
    if rng.random() < 0.3:
        return [Solid(ring, STOREY_M * rng.integers(3, 6), wings, style.roof(rng), "courtyard")]
    return [
        Solid(
            piece,
            STOREY_M * 4 + rng.normal(0, 1.3),
            wings,
            style.roof(rng),
            "town_house",
            _make_chimneys(piece, rng),
        )
        for piece in _cut_ring(ring, land, depth, rng)
    ]


def _make_ring_wings(land: shapely.Polygon, depth: float, slope: float) -> tuple[Planes, ...]:
    """For each side of a convex block a wing with its ridge along the side, hipped at the outer corners."""
    sides = compute_side_planes(shapely.get_coordinates(land.exterior))
    wings = []
    for number, side in enumerate(sides):
        back = np.append(-side[:2], depth - side[2])
        ends = sides[[number - 1, (number + 1) % len(sides)]]
        wings.append(np.column_stack([np.vstack([side, back, ends]), np.full(4, slope)]))
    return tuple(wings)


def _cut_ring(
    ring: shapely.Polygon, land: shapely.Polygon, depth: float, rng: np.random.Generator
) -> list[shapely.Polygon]:
    """The ring cut across into houses; neighbours share the very same wall."""
    corners = shapely.get_coordinates(land.exterior)
    cuts = []
    for start, end, side in zip(corners[:-1], corners[1:], compute_side_planes(corners), strict=True):
        length = float(np.hypot(*(end - start)))
        count = int((length - 2 * depth) // rng.uniform(11, 22))
        for share in (np.arange(count) + rng.uniform(0.2, 0.8)) / max(count, 1):
            foot = start + (end - start) * (depth + share * (length - 2 * depth)) / length
            cuts.append(shapely.LineString([foot - 0.5 * side[:2], foot + (depth + 0.5) * side[:2]]))
    noded = shapely.union_all([ring.boundary, *cuts])
    faces = extract_polygons(shapely.polygonize(shapely.get_parts(noded)))
    return [face for face in faces if ring.contains(face.representative_point())]


def _make_chimneys(piece: shapely.Polygon, rng: np.random.Generator) -> tuple[RoofFitting, ...]:
    """Some chimneys along the middle of a town house."""
    spot = piece.representative_point()
    frame = LocalFrame.at(spot.x, spot.y, rng.uniform(0, pi))
    return (make_fitting(frame, rng.uniform(-2, 2), rng.uniform(-2, 2), (1.2, 0.8), BRICK, 3.0),)


def build_slab(land: shapely.Polygon, style: Style, rng: np.random.Generator) -> list[Solid]:
    """A flat-roofed block of flats, sometimes set at an angle."""
    frame, long, wide = find_frame(land)
    angle = rng.choice((0.0, 0.0, pi / 4, rng.uniform(0, pi)))
    frame = LocalFrame.at(frame.x, frame.y, frame.angle + float(angle))
    length, width = min(0.85 * long, rng.uniform(28, 70)), min(0.6 * wide, rng.uniform(11, 15))
    while width > 6:
        outline = frame.box(make_centred_box(length, width))
        if land.contains(outline):
            return [_make_slab(frame, outline, make_centred_box(length, width), style, rng)]
        length, width = 0.8 * length, 0.96 * width
    return []


def _make_slab(
    frame: LocalFrame, outline: shapely.Polygon, box: Box, style: Style, rng: np.random.Generator
) -> Solid:
    heads = [
        make_fitting(frame, float(u), rng.uniform(-2, 2), (4.0, 3.0), (150, 148, 144), 2.6)
        for u in np.arange(box[0] + 6, box[2] - 4, 16)
    ]
    eave = STOREY_M * rng.integers(4, 8)
    return Solid(
        outline, eave, (frame.planes(make_flat_roof(box)),), style.flat_roof(rng), "apartments", tuple(heads)
    )


_STEEL: Color = (190, 192, 194)


def build_hall(
    land: shapely.Polygon, style: Style, rng: np.random.Generator, kind: str = "hall"
) -> list[Solid]:
    """A large hall: low gable, saw-tooth or flat, with skylights or vents."""
    frame, long, wide = find_frame(land)
    length, width = long * rng.uniform(0.55, 0.85), wide * rng.uniform(0.45, 0.8)
    frame = frame.moved(long * rng.uniform(-0.08, 0.08), wide * rng.uniform(-0.08, 0.08))
    while width > 9:
        box = make_centred_box(length, width)
        outline = frame.box(box)
        if land.contains(outline):
            wings, fittings = _make_hall_roof(frame, box, rng)
            finish = style.sheet_roof(rng)
            return [Solid(outline, rng.uniform(6, 11), wings, finish, kind, fittings)]
        length, width = 0.9 * length, 0.93 * width
    return []


def _make_hall_roof(
    frame: LocalFrame, box: Box, rng: np.random.Generator
) -> tuple[tuple[Planes, ...], tuple[RoofFitting, ...]]:
    form = rng.choice(3)
    if form == 0:
        return tuple(frame.planes(tooth) for tooth in _make_saw_teeth(box, rng.uniform(8, 13))), ()
    bays = max(1, round((box[3] - box[1]) / rng.uniform(18, 45))) if form == 1 else 1
    lines = np.linspace(box[1], box[3], bays + 1)
    slope = rng.uniform(0.06, 0.18) if form == 1 else 0.0
    wings = [make_gable_roof((box[0], v0, box[2], v1), slope) for v0, v1 in pairwise(lines)]
    things = _make_skylights(frame, box, rng) if rng.random() < 0.6 else _make_vents(frame, box, rng)
    return tuple(frame.planes(wing) for wing in wings), tuple(things)


def _make_saw_teeth(box: Box, about_m: float) -> list[Planes]:
    """Saw-tooth roof: each tooth rises gently and falls steeply."""
    count = max(2, round((box[2] - box[0]) / about_m))
    lines = np.linspace(box[0], box[2], count + 1)
    teeth = []
    for u0, u1 in pairwise(lines):
        tooth = make_gable_roof((u0, box[1], u1, box[3]), 0.22, along_u=False)
        tooth[1, 3] = 1.5
        teeth.append(tooth)
    return teeth


def _make_skylights(frame: LocalFrame, box: Box, rng: np.random.Generator) -> list[RoofFitting]:
    """Rows of light bands across the hall."""
    step, size = rng.uniform(6, 11), (1.2, 0.28 * (box[3] - box[1]))
    spots = [
        (u, v) for u in np.arange(box[0] + step / 2, box[2] - 1, step) for v in (0.5 * box[1], 0.5 * box[3])
    ]
    color: Color = (214, 218, 218) if rng.random() < 0.6 else (120, 136, 142)
    return [make_fitting(frame, float(u), v, size, color, 0.2) for u, v in spots]


def _make_vents(frame: LocalFrame, box: Box, rng: np.random.Generator) -> list[RoofFitting]:
    """Air-conditioning boxes here and there."""
    spots = rng.uniform(-0.42, 0.42, (rng.integers(2, 11), 2)) * (box[2] - box[0], box[3] - box[1])
    return [
        make_fitting(frame, u, v, (rng.uniform(1.5, 4), rng.uniform(1.2, 2.5)), _STEEL, 1.6) for u, v in spots
    ]


def build_tanks(land: shapely.Polygon, rng: np.random.Generator) -> list[Solid]:
    """A row of round tanks or silos."""
    frame, long, wide = find_frame(land)
    radius = min(rng.uniform(3.0, 9.0), 0.4 * wide)
    count = int(min(4, 0.9 * long // (2.3 * radius)))
    color = vary_color((212, 212, 208), rng, 0.06)
    tanks = [
        _make_tank(frame.moved((n - (count - 1) / 2) * 2.3 * radius, 0.0), radius, color, rng)
        for n in range(count)
    ]
    return [tank for tank in tanks if radius > 2 and land.contains(tank.outline)]


def _make_tank(frame: LocalFrame, radius: float, color: Color, rng: np.random.Generator) -> Solid:
    ring, planes = make_pyramid(radius, 0.18, 32)
    return Solid(
        frame.place(ring), rng.uniform(6, 13), (frame.planes(planes),), RoofFinish(color, 0.05, 0.02), "tank"
    )
