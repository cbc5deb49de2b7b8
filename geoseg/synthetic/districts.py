"""The kinds of district, from forest to town and industry, and how each is laid out on its land."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import pi

import numpy as np
import shapely

from geoseg.synthetic.buildings import (
    build_courtyard,
    build_hall,
    build_house,
    build_row,
    build_shed,
    build_slab,
    build_tanks,
)
from geoseg.synthetic.geometry import (
    DistrictBuilder,
    LocalFrame,
    divide_land,
    find_frame,
    lay_car_park,
    lay_streets,
    shrink_land,
)
from geoseg.synthetic.objects import CONTAINER, LORRY, Color, District, Material, Solid, Stripes
from geoseg.synthetic.style import Style, vary_color

_CROPS: tuple[Color, ...] = (
    (100, 118, 62),
    (186, 168, 112),
    (128, 130, 76),
    (84, 104, 58),
    (204, 186, 78),
    (156, 148, 98),
)
_WATER: Color = (58, 76, 78)


def lay_out_forest(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    conifers = draft.rng.choice((0.05, 0.3, 0.85))
    draft.pave(land, Material(vary_color((72, 74, 50), draft.rng, 0.06), fine=0.12, mid=0.2, broad=0.1))
    for stand in divide_land(land, 14000, draft.rng):
        if draft.rng.random() < 0.2:
            draft.pave(stand, draft.style.lawn(draft.rng))
            draft.plant(stand, 9.0, 0.15)
        else:
            draft.plant(stand, draft.rng.uniform(4.4, 6.2), 0.95, conifers)


def lay_out_fields(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    for plot in divide_land(land, draft.rng.uniform(8000, 26000), draft.rng):
        for field in shrink_land(plot, 1.2, 2.0):
            lay_out_field(draft, field)
        if draft.rng.random() < 0.4:
            _add_tree_line(draft, plot)


def lay_out_field(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    frame, *_ = find_frame(land)
    use = rng.random()
    if use < 0.12:
        draft.pave(land, style.lawn(rng))
        draft.plant_orchard(land)
        return
    if use < 0.3:
        draft.pave(land, style.lawn(rng))
        draft.plant(land, 18.0, 0.06)
        return
    ploughed = use < 0.52
    color = style.soil if ploughed else _CROPS[rng.integers(len(_CROPS))]
    furrows = Stripes(
        frame.angle,
        rng.uniform(1.2, 3.2),
        0.09 if ploughed else 0.05,
        0.0 if ploughed else rng.uniform(15, 26),
    )
    draft.pave(land, Material(vary_color(color, rng, 0.08), 0.06, 0.07, 0.14, furrows))


def _add_tree_line(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    """Trees or bushes along one border of a field."""
    corners = shapely.get_coordinates(land.exterior)
    start, end = corners[(n := int(draft.rng.integers(len(corners) - 1)))], corners[n + 1]
    count = int(np.hypot(*(end - start)) / draft.rng.uniform(4, 9))
    spots = start + np.linspace(0, 1, count)[:, None] * (end - start) + draft.rng.normal(0, 0.7, (count, 2))
    draft.saplings.append((np.column_stack([spots, draft.rng.uniform(1.5, 4.2, count)]), 0.1))


def lay_out_farm(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    plots = list(divide_land(land, 9000, draft.rng))
    home = int(np.argmax([plot.centroid.distance(land.centroid) for plot in plots]))
    for number, plot in enumerate(plots):
        for inner in shrink_land(plot, 1.5, 2.0):
            (_lay_out_farmstead if number == home else lay_out_field)(draft, inner)


def _lay_out_farmstead(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    for yard in shrink_land(land, 8.0, 6.0):
        draft.pave(yard, style.paving(rng), treeless=True)
    for number, plot in enumerate(divide_land(land, 1500, rng)):
        for site in shrink_land(plot, 3.0):
            if number == 0:
                draft.solids += build_house(site, style, rng, "farmhouse")
            elif number == 1:
                draft.solids += build_tanks(site, rng)
            elif rng.random() < 0.75:
                draft.solids += build_hall(site, style, rng, "barn")
    draft.plant(land, 11.0, 0.35)


def lay_out_park(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    draft.pave(land, style.lawn(rng))
    frame, long, wide = find_frame(land)
    if rng.random() < 0.5:
        _add_pitch(draft, frame.moved(0.2 * long, 0.0), land)
    else:
        centre = frame.moved(rng.uniform(-0.2, 0.2) * long, 0.0)
        bumps = centre.world(rng.normal(0, 0.07 * wide, (6, 2)))
        pond = shapely.MultiPoint(bumps).buffer(0.09 * wide).convex_hull.buffer(0.06 * wide)
        draft.pave(pond.buffer(1.2).intersection(land), Material(style.soil), treeless=True)
        draft.pave(
            pond.intersection(land), Material(vary_color(_WATER, rng, 0.1), 0.015, 0.02, 0.05), treeless=True
        )
    _add_path(draft, frame, long, wide, land)
    draft.plant(land, 10.0, 0.42)
    for site in list(divide_land(land, 3000, rng))[::5]:
        draft.solids += build_shed(site, style, rng)


def _add_path(
    draft: DistrictBuilder, frame: LocalFrame, long: float, wide: float, land: shapely.Polygon
) -> None:
    along = np.linspace(-0.6, 0.6, 25)
    bends = (
        draft.rng.uniform(0.15, 0.3)
        * wide
        * np.sin(draft.rng.uniform(4, 7) * along + draft.rng.uniform(0, 6))
    )
    line = shapely.LineString(frame.world(np.column_stack([along * long, bends + 0.18 * wide])))
    ways = line.buffer(1.3).intersection(land)
    draft.pave(ways, Material(vary_color((186, 172, 146), draft.rng, 0.04)), treeless=True)


def _add_pitch(draft: DistrictBuilder, frame: LocalFrame, land: shapely.Polygon) -> None:
    """A football pitch with its lines."""
    pitch = shapely.box(-46, -29, 46, 29)
    if not land.contains(frame.place(pitch)):
        return
    angle = frame.angle + pi / 2
    grass = Material(vary_color((92, 122, 66), draft.rng, 0.05), 0.04, 0.03, 0.03, Stripes(angle, 11.0, 0.06))
    draft.pave(frame.place(pitch.buffer(4, join_style="mitre")), grass, treeless=True)
    lines = [
        pitch.exterior,
        shapely.Point(0, 0).buffer(9.1).exterior,
        shapely.LineString([(0, -29), (0, 29)]),
    ]
    lines += [shapely.box(-46, -20, -30, 20).exterior, shapely.box(30, -20, 46, 20).exterior]
    marks = shapely.union_all([line.buffer(0.09, cap_style="flat") for line in lines])
    draft.pave(frame.place(marks), Material((226, 228, 222), 0.02, 0.02, 0.0))


_POOL: Color = (92, 178, 196)


def lay_out_village(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    for plot in divide_land(land, draft.rng.uniform(900, 1600), draft.rng):
        if draft.rng.random() < 0.8:
            _lay_out_garden(draft, plot, setback_m=4.0)
        elif draft.rng.random() < 0.5:
            lay_out_field(draft, plot)


def lay_out_suburb(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    size = draft.rng.uniform(330, 680)
    for block in lay_streets(draft, land, draft.rng.uniform(3800, 7000), 5.6):
        for plot in divide_land(block, size, draft.rng):
            _lay_out_garden(draft, plot, setback_m=2.4)


def _lay_out_garden(draft: DistrictBuilder, plot: shapely.Polygon, setback_m: float) -> None:
    """A plot with a house, and what people put around it."""
    rng, style = draft.rng, draft.style
    draft.pave(plot, style.lawn(rng))
    homes = [home for site in shrink_land(plot, setback_m) for home in build_house(site, style, rng)]
    for home in homes:
        _add_drive(draft, plot, home)
        draft.pave(
            home.outline.buffer(rng.uniform(0.5, 1.4), join_style="mitre").intersection(plot),
            style.paving(rng),
        )
    draft.solids += homes
    _add_extras(draft, plot, homes)
    if rng.random() < 0.55:
        _add_hedge(draft, plot)
    draft.plant(plot, rng.uniform(5.0, 8.5), rng.uniform(0.1, 0.5))


def _add_drive(draft: DistrictBuilder, plot: shapely.Polygon, home: Solid) -> None:
    """A paved way from the house to the border, with a car perhaps."""
    frame, _, wide = find_frame(plot)
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


def _add_extras(draft: DistrictBuilder, plot: shapely.Polygon, homes: list[Solid]) -> None:
    """A shed, a pool, a patch of vegetables in what is free of the house."""
    taken = shapely.union_all([home.outline for home in homes]).buffer(1.5, quad_segs=1)
    free = [land for inner in shrink_land(plot, 0.8) for land in shapely.get_parts(inner.difference(taken))]
    room = max(free, key=lambda land: land.area, default=None)
    if room is None or room.area < 60:
        return
    chance = draft.rng.random()
    if chance < 0.45:
        draft.solids += build_shed(room, draft.style, draft.rng)
    elif chance < 0.6:
        _add_pool(draft, room)
    elif chance < 0.75:
        patch = shapely.Point(room.representative_point()).buffer(3.5, quad_segs=1).intersection(room)
        draft.pave(
            patch, Material(draft.style.soil, 0.1, 0.1, 0.0, Stripes(draft.rng.uniform(0, pi), 1.0, 0.12))
        )


def _add_pool(draft: DistrictBuilder, room: shapely.Polygon) -> None:
    spot = room.representative_point()
    frame = LocalFrame.at(spot.x, spot.y, find_frame(room)[0].angle)
    basin = frame.place(shapely.box(-draft.rng.uniform(2.5, 4.5), -1.9, draft.rng.uniform(2.5, 4.5), 1.9))
    rim = basin.buffer(1.0, join_style="mitre")
    if room.contains(rim):
        draft.pave(rim, Material((206, 200, 188), 0.02, 0.02, 0.0), treeless=True)
        draft.pave(basin, Material(vary_color(_POOL, draft.rng, 0.06), 0.02, 0.04, 0.0))


def _add_hedge(draft: DistrictBuilder, plot: shapely.Polygon) -> None:
    """A hedge along some borders of the plot."""
    corners = shapely.get_coordinates(plot.exterior)
    for start, end in pairwise(corners):
        if draft.rng.random() < 0.5 and 6 < np.hypot(*(end - start)) < 60:
            count = int(np.hypot(*(end - start)) / 0.8)
            spots = start + np.linspace(0.06, 0.94, count)[:, None] * (end - start)
            sizes = draft.rng.uniform(0.62, 0.85, count)
            draft.saplings.append((np.column_stack([spots, sizes]), 0.0))


def lay_out_rows(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    for block in lay_streets(draft, land, draft.rng.uniform(3600, 5600), 7.0):
        for plot in divide_land(block, 1150, draft.rng):
            draft.pave(plot, draft.style.lawn(draft.rng))
            homes = [
                home for site in shrink_land(plot, 2.6) for home in build_row(site, draft.style, draft.rng)
            ]
            for home in homes:
                _lay_out_strip_garden(draft, plot, home)
            draft.solids += homes
            draft.plant(plot, 6.5, 0.25)


def _lay_out_strip_garden(draft: DistrictBuilder, plot: shapely.Polygon, home: Solid) -> None:
    """The narrow garden before and behind a row house."""
    frame, long, wide = find_frame(home.outline)
    across = frame.local(shapely.get_coordinates(home.outline)[:2])
    runs_along = abs(across[1, 0] - across[0, 0]) < abs(across[1, 1] - across[0, 1])
    box = (-30, -wide / 2, 30, wide / 2) if runs_along else (-long / 2, -30, long / 2, 30)
    draft.pave(frame.box(box).intersection(plot), draft.style.lawn(draft.rng))
    yard = home.outline.buffer(draft.rng.uniform(0.5, 3.0), join_style="mitre").intersection(frame.box(box))
    draft.pave(yard.intersection(plot), draft.style.paving(draft.rng))


def lay_out_estate(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    """Blocks of flats among lawns and car parks."""
    for block in lay_streets(draft, land, 9000, 8.0):
        draft.pave(block, draft.style.lawn(draft.rng))
        for plot in divide_land(block, 2400, draft.rng):
            if draft.rng.random() < 0.25:
                lay_car_park(draft, plot)
            else:
                for site in shrink_land(plot, 4.0):
                    draft.solids += build_slab(site, draft.style, draft.rng)
                draft.plant(plot, 8.0, 0.45)


def lay_out_town(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    """Blocks built up around courts."""
    for block in lay_streets(draft, land, draft.rng.uniform(3600, 6800), 10.0):
        draft.pave(block, draft.style.paving(draft.rng))
        for site in shrink_land(block.simplify(2.0), 0.8):
            is_convex = site.area > 0.99 * site.convex_hull.area
            (_lay_out_closed_block if is_convex and draft.rng.random() < 0.85 else _lay_out_open_block)(
                draft, site
            )


def _lay_out_closed_block(draft: DistrictBuilder, site: shapely.Polygon) -> None:
    draft.solids += build_courtyard(site, draft.style, draft.rng)
    for court in shrink_land(site, 15.0):
        draft.pave(court, draft.style.lawn(draft.rng))
        draft.plant(court, 7.0, 0.5)


def _lay_out_open_block(draft: DistrictBuilder, site: shapely.Polygon) -> None:
    """Rows of houses around small yards."""
    for plot in divide_land(site, 850, draft.rng):
        for yard in shrink_land(plot, 0.6):
            draft.pave(yard, draft.style.lawn(draft.rng))
            draft.solids += build_row(yard, draft.style, draft.rng)
        draft.plant(plot, 8.0, 0.3)


def lay_out_industry(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    for block in lay_streets(draft, land, rng.uniform(9000, 20000), 10.0):
        draft.pave(block, style.lawn(rng))
        for plot in divide_land(block, rng.uniform(3500, 9000), rng):
            for yard in shrink_land(plot, 2.5):
                draft.pave(yard, style.paving(rng) if rng.random() < 0.6 else style.road(), treeless=True)
                _lay_out_works(draft, yard)
            draft.plant(plot, 8.0, 0.3)


def _lay_out_works(draft: DistrictBuilder, yard: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    parts = list(divide_land(yard, yard.area / rng.integers(1, 4), rng))
    for number, part in enumerate(parts):
        use = rng.random() if number else 0.0
        for site in shrink_land(part, 3.0):
            if use < 0.7:
                draft.solids += build_hall(site, style, rng)
            elif use < 0.82:
                draft.solids += build_tanks(site, rng)
            elif use < 0.92:
                lay_car_park(draft, site)
            else:
                _lay_out_depot(draft, site)


def _lay_out_depot(draft: DistrictBuilder, land: shapely.Polygon) -> None:
    """Containers in rows, and lorries."""
    frame, long, wide = find_frame(land)
    u, v = np.meshgrid(
        np.arange(-long / 2 + 8, long / 2 - 8, 13.0), np.arange(-wide / 2 + 3, wide / 2 - 3, 2.9)
    )
    spots = frame.world(np.column_stack([u.ravel(), v.ravel()]))
    inside = shapely.contains_xy(land.buffer(-6), spots[:, 0], spots[:, 1])
    draft.park(
        spots[inside & (draft.rng.random(len(spots)) < 0.5)],
        frame.angle,
        draft.rng.choice((LORRY, CONTAINER)),
    )


_LAYOUTS: dict[str, Callable[[DistrictBuilder, shapely.Polygon], None]] = {
    "forest": lay_out_forest,
    "fields": lay_out_fields,
    "farm": lay_out_farm,
    "park": lay_out_park,
    "village": lay_out_village,
    "suburb": lay_out_suburb,
    "rows": lay_out_rows,
    "estate": lay_out_estate,
    "town": lay_out_town,
    "industrial": lay_out_industry,
}


def lay_out_district(kind: str, land: shapely.Polygon, style: Style, rng: np.random.Generator) -> District:
    """A district of some kind on a piece of land."""
    draft = DistrictBuilder(style, rng)
    _LAYOUTS[kind](draft, land)
    return draft.finished(kind)
