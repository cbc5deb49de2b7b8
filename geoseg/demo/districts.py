"""How each kind of district is laid out: its streets, plots, buildings, fields and trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import pi

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.demo import houses
from geoseg.demo.content import Colour, District, Material, Solid, Stripes, Surface, Trees, Vehicles
from geoseg.demo.shapes import Frame, Points, divided, frame_of, shrunk
from geoseg.demo.sprites import CAR, CONTAINER, LORRY
from geoseg.demo.style import Style, tinted

_PAINTS: tuple[Colour, ...] = (
    (228, 228, 226),
    (44, 46, 50),
    (122, 126, 130),
    (168, 172, 176),
    (132, 44, 40),
    (52, 74, 112),
    (196, 192, 182),
)
_CROPS: tuple[Colour, ...] = ((100, 118, 62), (186, 168, 112), (128, 130, 76), (84, 104, 58), (204, 186, 78), (156, 148, 98))
_WATER: Colour = (58, 76, 78)
_POOL: Colour = (92, 178, 196)
_SAND: Colour = (196, 178, 142)


@dataclass
class Draft:
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
        spots = np.column_stack([xs.ravel(), ys.ravel()]) + self.rng.uniform(-0.45, 0.45, (xs.size, 2)) * spacing_m
        kept = (self.rng.random(len(spots)) < share) & shapely.contains_xy(land, spots[:, 0], spots[:, 1])
        self.saplings.append((self._with_crowns(spots[kept], spacing_m), conifers))

    def _with_crowns(self, spots: Points, spacing_m: float) -> Points:
        largest = min(5.2, 0.72 * spacing_m)
        return np.column_stack([spots, self.rng.uniform(0.42, 1.0, len(spots)) * largest])

    def orchard(self, land: shapely.Polygon) -> None:
        """Small trees in rows."""
        frame, long, wide = frame_of(land)
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
        colours = np.array(_PAINTS)[self.rng.integers(len(_PAINTS), size=len(parked))]
        shades = self.rng.normal(1, 0.05, (len(parked), 1))
        return Vehicles(parked[:, :3], parked[:, 3].astype(np.intp), (colours * shades).astype(np.float32))

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
        colours = np.array(self.style.leaves)[self.rng.integers(len(self.style.leaves), size=count)]
        return (colours * self.rng.normal(1, 0.09, (count, 1))).astype(np.float32)


def laid_out(kind: str, land: shapely.Polygon, style: Style, rng: np.random.Generator) -> District:
    """A district of some kind on a piece of land."""
    draft = Draft(style, rng)
    _LAYOUTS[kind](draft, land)
    return draft.finished(kind)


def _forest(draft: Draft, land: shapely.Polygon) -> None:
    conifers = draft.rng.choice((0.05, 0.3, 0.85))
    draft.pave(land, Material(tinted((72, 74, 50), draft.rng, 0.06), fine=0.12, mid=0.2, broad=0.1))
    for stand in divided(land, 14000, draft.rng):
        if draft.rng.random() < 0.2:
            draft.pave(stand, draft.style.lawn(draft.rng))
            draft.plant(stand, 9.0, 0.15)
        else:
            draft.plant(stand, draft.rng.uniform(4.4, 6.2), 0.95, conifers)


def _fields(draft: Draft, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    for plot in divided(land, draft.rng.uniform(8000, 26000), draft.rng):
        for field_ in shrunk(plot, 1.2, 2.0):
            _field(draft, field_)
        if draft.rng.random() < 0.4:
            _tree_line(draft, plot)


def _field(draft: Draft, land: shapely.Polygon) -> None:
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
    furrows = Stripes(frame.angle, rng.uniform(1.2, 3.2), 0.09 if ploughed else 0.05, 0.0 if ploughed else rng.uniform(15, 26))
    draft.pave(land, Material(tinted(colour, rng, 0.08), 0.06, 0.07, 0.14, furrows))


def _tree_line(draft: Draft, land: shapely.Polygon) -> None:
    """Trees or bushes along one border of a field."""
    corners = shapely.get_coordinates(land.exterior)
    start, end = corners[(n := int(draft.rng.integers(len(corners) - 1)))], corners[n + 1]
    count = int(np.hypot(*(end - start)) / draft.rng.uniform(4, 9))
    spots = start + np.linspace(0, 1, count)[:, None] * (end - start) + draft.rng.normal(0, 0.7, (count, 2))
    draft.saplings.append((np.column_stack([spots, draft.rng.uniform(1.5, 4.2, count)]), 0.1))


def _farm(draft: Draft, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    plots = list(divided(land, 9000, draft.rng))
    home = int(np.argmax([plot.centroid.distance(land.centroid) for plot in plots]))
    for number, plot in enumerate(plots):
        for inner in shrunk(plot, 1.5, 2.0):
            (_farmstead if number == home else _field)(draft, inner)


def _farmstead(draft: Draft, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    for yard in shrunk(land, 8.0, 6.0):
        draft.pave(yard, style.paving(rng), treeless=True)
    for number, plot in enumerate(divided(land, 1500, rng)):
        for site in shrunk(plot, 3.0):
            if number == 0:
                draft.solids += houses.house(site, style, rng, "farmhouse")
            elif number == 1:
                draft.solids += houses.tanks(site, rng)
            elif rng.random() < 0.75:
                draft.solids += houses.hall(site, style, rng, "barn")
    draft.plant(land, 11.0, 0.35)


def _park(draft: Draft, land: shapely.Polygon) -> None:
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
        draft.pave(pond.intersection(land), Material(tinted(_WATER, rng, 0.1), 0.015, 0.02, 0.05), treeless=True)
    _path(draft, frame, long, wide, land)
    draft.plant(land, 10.0, 0.42)
    for site in list(divided(land, 3000, rng))[::5]:
        draft.solids += houses.shed(site, style, rng)


def _path(draft: Draft, frame: Frame, long: float, wide: float, land: shapely.Polygon) -> None:
    along = np.linspace(-0.6, 0.6, 25)
    bends = draft.rng.uniform(0.15, 0.3) * wide * np.sin(draft.rng.uniform(4, 7) * along + draft.rng.uniform(0, 6))
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
    lines = [pitch.exterior, shapely.Point(0, 0).buffer(9.1).exterior, shapely.LineString([(0, -29), (0, 29)])]
    lines += [shapely.box(-46, -20, -30, 20).exterior, shapely.box(30, -20, 46, 20).exterior]
    marks = shapely.union_all([line.buffer(0.09, cap_style="flat") for line in lines])
    draft.pave(frame.place(marks), Material((226, 228, 222), 0.02, 0.02, 0.0))


def _streets(draft: Draft, land: shapely.Polygon, block_m2: float, lane_m: float) -> list[shapely.Polygon]:
    """The land divided into blocks by lanes: what no block takes is asphalt with a kerb."""
    draft.pave(land, draft.style.road(), treeless=False)
    blocks = []
    kerb = Material(tinted((160, 156, 150), draft.rng, 0.04), 0.03, 0.03, 0.03)
    for piece in divided(land, block_m2, draft.rng):
        for walk in shrunk(piece, lane_m / 2, 2.5):
            draft.pave(walk, kerb)
            blocks += shrunk(walk, 1.4, 0.8)
            _park_cars(draft, walk, 0.12)
    draft.bare.append(land.difference(shapely.union_all(blocks)))
    return blocks


def _park_cars(draft: Draft, walk: shapely.Polygon, share: float) -> None:
    """Cars at the kerb."""
    kerb = shapely.LinearRing(walk.buffer(1.15, quad_segs=2).exterior)
    places = np.arange(3.0, kerb.length - 6, 6.2)
    for place in places[draft.rng.random(len(places)) < share]:
        start, end = shapely.get_coordinates(shapely.line_interpolate_point(kerb, [place, place + 4]))
        if abs(np.hypot(*(end - start)) - 4) < 0.02:
            draft.park([(start + end) / 2], float(np.arctan2(*(end - start)[::-1])))


def _village(draft: Draft, land: shapely.Polygon) -> None:
    draft.pave(land, draft.style.lawn(draft.rng))
    for plot in divided(land, draft.rng.uniform(900, 1600), draft.rng):
        if draft.rng.random() < 0.8:
            _garden(draft, plot, setback_m=4.0)
        elif draft.rng.random() < 0.5:
            _field(draft, plot)


def _suburb(draft: Draft, land: shapely.Polygon) -> None:
    size = draft.rng.uniform(330, 680)
    for block in _streets(draft, land, draft.rng.uniform(3800, 7000), 5.6):
        for plot in divided(block, size, draft.rng):
            _garden(draft, plot, setback_m=2.4)


def _garden(draft: Draft, plot: shapely.Polygon, setback_m: float) -> None:
    """A plot with a house, and what people put around it."""
    rng, style = draft.rng, draft.style
    draft.pave(plot, style.lawn(rng))
    homes = [home for site in shrunk(plot, setback_m) for home in houses.house(site, style, rng)]
    for home in homes:
        _drive(draft, plot, home)
        draft.pave(home.outline.buffer(rng.uniform(0.5, 1.4), join_style="mitre").intersection(plot), style.paving(rng))
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
        spot = frame.world(np.array([[u, side * (gap + 3.2)]]))[0]
        draft.park([spot], frame.angle + pi / 2)


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
        draft.pave(patch, Material(draft.style.soil, 0.1, 0.1, 0.0, Stripes(draft.rng.uniform(0, pi), 1.0, 0.12)))


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
    for start, end in zip(corners[:-1], corners[1:], strict=True):
        if draft.rng.random() < 0.5 and 6 < np.hypot(*(end - start)) < 60:
            count = int(np.hypot(*(end - start)) / 0.8)
            spots = start + np.linspace(0.06, 0.94, count)[:, None] * (end - start)
            sizes = draft.rng.uniform(0.62, 0.85, count)
            draft.saplings.append((np.column_stack([spots, sizes]), 0.0))


def _rows(draft: Draft, land: shapely.Polygon) -> None:
    for block in _streets(draft, land, draft.rng.uniform(3600, 5600), 7.0):
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


def _estate(draft: Draft, land: shapely.Polygon) -> None:
    """Blocks of flats among lawns and car parks."""
    for block in _streets(draft, land, 9000, 8.0):
        draft.pave(block, draft.style.lawn(draft.rng))
        for plot in divided(block, 2400, draft.rng):
            if draft.rng.random() < 0.25:
                _car_park(draft, plot)
            else:
                for site in shrunk(plot, 4.0):
                    draft.solids += houses.slab(site, draft.style, draft.rng)
                draft.plant(plot, 8.0, 0.45)


def _town(draft: Draft, land: shapely.Polygon) -> None:
    """Blocks built up around courts."""
    for block in _streets(draft, land, draft.rng.uniform(3600, 6800), 10.0):
        core = block.simplify(2.0)
        draft.pave(block, draft.style.paving(draft.rng))
        for site in shrunk(core, 0.8):
            is_convex = site.area > 0.995 * site.convex_hull.area
            build = houses.courtyard if is_convex and draft.rng.random() < 0.8 else houses.row
            draft.solids += build(site, draft.style, draft.rng)
            for court in shrunk(site, 15.0):
                draft.pave(court, draft.style.lawn(draft.rng))
                draft.plant(court, 7.0, 0.5)


def _industrial(draft: Draft, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    for block in _streets(draft, land, rng.uniform(9000, 20000), 10.0):
        draft.pave(block, style.lawn(rng))
        for plot in divided(block, rng.uniform(3500, 9000), rng):
            for yard in shrunk(plot, 2.5):
                draft.pave(yard, style.paving(rng) if rng.random() < 0.6 else style.road(), treeless=True)
                _works(draft, yard)
            draft.plant(plot, 8.0, 0.3)


def _works(draft: Draft, yard: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    parts = list(divided(yard, yard.area / rng.integers(1, 4), rng))
    for number, part in enumerate(parts):
        use = rng.random() if number else 0.0
        for site in shrunk(part, 3.0):
            if use < 0.7:
                draft.solids += houses.hall(site, style, rng)
            elif use < 0.82:
                draft.solids += houses.tanks(site, rng)
            elif use < 0.92:
                _car_park(draft, site)
            else:
                _depot(draft, site)


def _depot(draft: Draft, land: shapely.Polygon) -> None:
    """Containers in rows, and lorries."""
    frame, long, wide = frame_of(land)
    u, v = np.meshgrid(np.arange(-long / 2 + 8, long / 2 - 8, 13.0), np.arange(-wide / 2 + 3, wide / 2 - 3, 2.9))
    spots = frame.world(np.column_stack([u.ravel(), v.ravel()]))
    inside = shapely.contains_xy(land.buffer(-6), spots[:, 0], spots[:, 1])
    draft.park(spots[inside & (draft.rng.random(len(spots)) < 0.5)], frame.angle, draft.rng.choice((LORRY, CONTAINER)))


def _car_park(draft: Draft, land: shapely.Polygon) -> None:
    """Bays in rows, some of them taken."""
    draft.pave(land, draft.style.road(), treeless=True)
    frame, long, wide = frame_of(land)
    u, v = np.meshgrid(np.arange(-long / 2 + 3, long / 2 - 3, 2.6), np.arange(-wide / 2 + 5, wide / 2 - 4, 8.5))
    bays = np.column_stack([u.ravel(), v.ravel()])
    spots = frame.world(bays)
    inside = shapely.contains_xy(land.buffer(-3.2), spots[:, 0], spots[:, 1])
    for bay in bays[inside]:
        lines = frame.moved(*bay).place(shapely.box(1.24, -2.5, 1.36, 2.5))
        draft.pave(lines, Material((206, 206, 202), 0.02, 0.0, 0.0))
    draft.park(spots[inside & (draft.rng.random(len(spots)) < 0.45)], frame.angle + pi / 2)


_LAYOUTS: dict[str, Callable[[Draft, shapely.Polygon], None]] = {
    "forest": _forest,
    "fields": _fields,
    "farm": _farm,
    "park": _park,
    "village": _village,
    "suburb": _suburb,
    "rows": _rows,
    "estate": _estate,
    "town": _town,
    "industrial": _industrial,
}
