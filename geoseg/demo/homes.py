"""Where people live in houses of their own: villages, suburbs and rows, each house with its garden."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import numpy as np
import shapely

from geoseg.demo import houses
from geoseg.demo.content import Colour, Material, Solid, Stripes
from geoseg.demo.countryside import field
from geoseg.demo.draft import Draft
from geoseg.demo.shapes import Frame, divided, frame_of, shrunk
from geoseg.demo.streets import streets
from geoseg.demo.style import tinted

_POOL: Colour = (92, 178, 196)


def village(draft: Draft, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    for plot in divided(land, draft.rng.uniform(900, 1600), draft.rng):
        if draft.rng.random() < 0.8:
            _garden(draft, plot, setback_m=4.0)
        elif draft.rng.random() < 0.5:
            field(draft, plot)


def suburb(draft: Draft, land: shapely.Polygon) -> None:
    size = draft.rng.uniform(330, 680)
    for block in streets(draft, land, draft.rng.uniform(3800, 7000), 5.6):
        for plot in divided(block, size, draft.rng):
            _garden(draft, plot, setback_m=2.4)


def _garden(draft: Draft, plot: shapely.Polygon, setback_m: float) -> None:
    """A plot with a house, and what people put around it."""
    rng, style = draft.rng, draft.style
    draft.pave(plot, style.lawn(rng))
    homes = [home for site in shrunk(plot, setback_m) for home in houses.house(site, style, rng)]
    for home in homes:
        _drive(draft, plot, home)
        draft.pave(
            home.outline.buffer(rng.uniform(0.5, 1.4), join_style="mitre").intersection(plot),
            style.paving(rng),
        )
    draft.solids += homes
    _extras(draft, plot, homes)
    if rng.random() < 0.55:
        _hedge(draft, plot)
    draft.plant(plot, rng.uniform(5.0, 8.5), rng.uniform(0.1, 0.5))


def _drive(draft: Draft, plot: shapely.Polygon, home: Solid) -> None:
    """A paved way from the house to the border, with a car perhaps."""
    frame, _, wide = frame_of(plot)
    side = draft.rng.choice((-1.0, 1.0))
    local = frame.local(shapely.get_coordinates(home.outline))
    u = float(np.quantile(local[:, 0], draft.rng.choice((0.15, 0.85))))
    way = frame.place(shapely.box(u - 1.6, min(0.0, side * wide), u + 1.6, max(0.0, side * wide)))
    way = way.intersection(plot)
    draft.pave(way, draft.style.paving(draft.rng), treeless=True)
    gap = local[:, 1].max() if side > 0 else -local[:, 1].min()
    if draft.rng.random() < 0.5 and gap + 6 < wide / 2:
        spot = frame.world(np.array([[u, side * (gap + 3.2)]]))
        draft.park(spot, frame.angle + pi / 2)


def _extras(draft: Draft, plot: shapely.Polygon, homes: list[Solid]) -> None:
    """A shed, a pool, a patch of vegetables in what is free of the house."""
    taken = shapely.union_all([home.outline for home in homes]).buffer(1.5, quad_segs=1)
    free = [land for inner in shrunk(plot, 0.8) for land in shapely.get_parts(inner.difference(taken))]
    room = max(free, key=lambda land: land.area, default=None)
    if room is None or room.area < 60:
        return
    wish = draft.rng.random()
    if wish < 0.45:
        draft.solids += houses.shed(room, draft.style, draft.rng)
    elif wish < 0.6:
        _pool(draft, room)
    elif wish < 0.75:
        patch = shapely.Point(room.representative_point()).buffer(3.5, quad_segs=1).intersection(room)
        draft.pave(
            patch, Material(draft.style.soil, 0.1, 0.1, 0.0, Stripes(draft.rng.uniform(0, pi), 1.0, 0.12))
        )


def _pool(draft: Draft, room: shapely.Polygon) -> None:
    spot = room.representative_point()
    frame = Frame.at(spot.x, spot.y, frame_of(room)[0].angle)
    basin = frame.place(shapely.box(-draft.rng.uniform(2.5, 4.5), -1.9, draft.rng.uniform(2.5, 4.5), 1.9))
    rim = basin.buffer(1.0, join_style="mitre")
    if room.contains(rim):
        draft.pave(rim, Material((206, 200, 188), 0.02, 0.02, 0.0), treeless=True)
        draft.pave(basin, Material(tinted(_POOL, draft.rng, 0.06), 0.02, 0.04, 0.0))


def _hedge(draft: Draft, plot: shapely.Polygon) -> None:
    """A hedge along some borders of the plot."""
    corners = shapely.get_coordinates(plot.exterior)
    for start, end in pairwise(corners):
        if draft.rng.random() < 0.5 and 6 < np.hypot(*(end - start)) < 60:
            count = int(np.hypot(*(end - start)) / 0.8)
            spots = start + np.linspace(0.06, 0.94, count)[:, None] * (end - start)
            sizes = draft.rng.uniform(0.62, 0.85, count)
            draft.saplings.append((np.column_stack([spots, sizes]), 0.0))


def rows(draft: Draft, land: shapely.Polygon) -> None:
    for block in streets(draft, land, draft.rng.uniform(3600, 5600), 7.0):
        for plot in divided(block, 1150, draft.rng):
            draft.pave(plot, draft.style.lawn(draft.rng))
            homes = [home for site in shrunk(plot, 2.6) for home in houses.row(site, draft.style, draft.rng)]
            for home in homes:
                _strip_garden(draft, plot, home)
            draft.solids += homes
            draft.plant(plot, 6.5, 0.25)


def _strip_garden(draft: Draft, plot: shapely.Polygon, home: Solid) -> None:
    """The narrow garden before and behind a row house."""
    frame, long, wide = frame_of(home.outline)
    across = frame.local(shapely.get_coordinates(home.outline)[:2])
    runs_along = abs(across[1, 0] - across[0, 0]) < abs(across[1, 1] - across[0, 1])
    box = (-30, -wide / 2, 30, wide / 2) if runs_along else (-long / 2, -30, long / 2, 30)
    draft.pave(frame.box(box).intersection(plot), draft.style.lawn(draft.rng))
    yard = home.outline.buffer(draft.rng.uniform(0.5, 3.0), join_style="mitre").intersection(frame.box(box))
    draft.pave(yard.intersection(plot), draft.style.paving(draft.rng))
