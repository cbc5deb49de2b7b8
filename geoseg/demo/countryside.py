"""Land with few houses: forests, fields, farms and parks."""

from __future__ import annotations

from math import pi

import numpy as np
import shapely

from geoseg.demo import halls, houses
from geoseg.demo.content import Colour, Material, Stripes
from geoseg.demo.draft import Draft
from geoseg.demo.shapes import Frame, divided, frame_of, shrunk
from geoseg.demo.style import tinted

_CROPS: tuple[Colour, ...] = (
    (100, 118, 62),
    (186, 168, 112),
    (128, 130, 76),
    (84, 104, 58),
    (204, 186, 78),
    (156, 148, 98),
)
_WATER: Colour = (58, 76, 78)


def forest(draft: Draft, land: shapely.Polygon) -> None:
    conifers = draft.rng.choice((0.05, 0.3, 0.85))
    draft.pave(land, Material(tinted((72, 74, 50), draft.rng, 0.06), fine=0.12, mid=0.2, broad=0.1))
    for stand in divided(land, 14000, draft.rng):
        if draft.rng.random() < 0.2:
            draft.pave(stand, draft.style.lawn(draft.rng))
            draft.plant(stand, 9.0, 0.15)
        else:
            draft.plant(stand, draft.rng.uniform(4.4, 6.2), 0.95, conifers)


def fields(draft: Draft, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    for plot in divided(land, draft.rng.uniform(8000, 26000), draft.rng):
        for plot_ in shrunk(plot, 1.2, 2.0):
            field(draft, plot_)
        if draft.rng.random() < 0.4:
            _tree_line(draft, plot)


def field(draft: Draft, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    frame, *_ = frame_of(land)
    use = rng.random()
    if use < 0.12:
        draft.pave(land, style.lawn(rng))
        draft.orchard(land)
        return
    if use < 0.3:
        draft.pave(land, style.lawn(rng))
        draft.plant(land, 18.0, 0.06)
        return
    ploughed = use < 0.52
    colour = style.soil if ploughed else _CROPS[rng.integers(len(_CROPS))]
    furrows = Stripes(
        frame.angle,
        rng.uniform(1.2, 3.2),
        0.09 if ploughed else 0.05,
        0.0 if ploughed else rng.uniform(15, 26),
    )
    draft.pave(land, Material(tinted(colour, rng, 0.08), 0.06, 0.07, 0.14, furrows))


def _tree_line(draft: Draft, land: shapely.Polygon) -> None:
    """Trees or bushes along one border of a field."""
    corners = shapely.get_coordinates(land.exterior)
    start, end = corners[(n := int(draft.rng.integers(len(corners) - 1)))], corners[n + 1]
    count = int(np.hypot(*(end - start)) / draft.rng.uniform(4, 9))
    spots = start + np.linspace(0, 1, count)[:, None] * (end - start) + draft.rng.normal(0, 0.7, (count, 2))
    draft.saplings.append((np.column_stack([spots, draft.rng.uniform(1.5, 4.2, count)]), 0.1))


def farm(draft: Draft, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    plots = list(divided(land, 9000, draft.rng))
    home = int(np.argmax([plot.centroid.distance(land.centroid) for plot in plots]))
    for number, plot in enumerate(plots):
        for inner in shrunk(plot, 1.5, 2.0):
            (_farmstead if number == home else field)(draft, inner)


def _farmstead(draft: Draft, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    for yard in shrunk(land, 8.0, 6.0):
        draft.pave(yard, style.paving(rng), treeless=True)
    for number, plot in enumerate(divided(land, 1500, rng)):
        for site in shrunk(plot, 3.0):
            if number == 0:
                draft.solids += houses.house(site, style, rng, "farmhouse")
            elif number == 1:
                draft.solids += halls.tanks(site, rng)
            elif rng.random() < 0.75:
                draft.solids += halls.hall(site, style, rng, "barn")
    draft.plant(land, 11.0, 0.35)


def park(draft: Draft, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    draft.pave(land, style.lawn(rng))
    frame, long, wide = frame_of(land)
    if rng.random() < 0.5:
        _pitch(draft, frame.moved(0.2 * long, 0.0), land)
    else:
        centre = frame.moved(rng.uniform(-0.2, 0.2) * long, 0.0)
        bumps = centre.world(rng.normal(0, 0.07 * wide, (6, 2)))
        pond = shapely.MultiPoint(bumps).buffer(0.09 * wide).convex_hull.buffer(0.06 * wide)
        draft.pave(pond.buffer(1.2).intersection(land), Material(style.soil), treeless=True)
        draft.pave(
            pond.intersection(land), Material(tinted(_WATER, rng, 0.1), 0.015, 0.02, 0.05), treeless=True
        )
    _path(draft, frame, long, wide, land)
    draft.plant(land, 10.0, 0.42)
    for site in list(divided(land, 3000, rng))[::5]:
        draft.solids += houses.shed(site, style, rng)


def _path(draft: Draft, frame: Frame, long: float, wide: float, land: shapely.Polygon) -> None:
    along = np.linspace(-0.6, 0.6, 25)
    bends = (
        draft.rng.uniform(0.15, 0.3)
        * wide
        * np.sin(draft.rng.uniform(4, 7) * along + draft.rng.uniform(0, 6))
    )
    line = shapely.LineString(frame.world(np.column_stack([along * long, bends + 0.18 * wide])))
    ways = line.buffer(1.3).intersection(land)
    draft.pave(ways, Material(tinted((186, 172, 146), draft.rng, 0.04)), treeless=True)


def _pitch(draft: Draft, frame: Frame, land: shapely.Polygon) -> None:
    """A football pitch with its lines."""
    pitch = shapely.box(-46, -29, 46, 29)
    if not land.contains(frame.place(pitch)):
        return
    angle = frame.angle + pi / 2
    grass = Material(tinted((92, 122, 66), draft.rng, 0.05), 0.04, 0.03, 0.03, Stripes(angle, 11.0, 0.06))
    draft.pave(frame.place(pitch.buffer(4, join_style="mitre")), grass, treeless=True)
    lines = [
        pitch.exterior,
        shapely.Point(0, 0).buffer(9.1).exterior,
        shapely.LineString([(0, -29), (0, 29)]),
    ]
    lines += [shapely.box(-46, -20, -30, 20).exterior, shapely.box(30, -20, 46, 20).exterior]
    marks = shapely.union_all([line.buffer(0.09, cap_style="flat") for line in lines])
    draft.pave(frame.place(marks), Material((226, 228, 222), 0.02, 0.02, 0.0))
