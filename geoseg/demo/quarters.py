"""The dense parts of a town: blocks around courts, estates of flats, and industry."""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.demo import blocks, halls, houses
from geoseg.demo.content import CONTAINER, LORRY
from geoseg.demo.draft import Draft
from geoseg.demo.shapes import divided, frame_of, shrunk
from geoseg.demo.streets import car_park, streets


def estate(draft: Draft, land: shapely.Polygon) -> None:
    """Blocks of flats among lawns and car parks."""
    for block in streets(draft, land, 9000, 8.0):
        draft.pave(block, draft.style.lawn(draft.rng))
        for plot in divided(block, 2400, draft.rng):
            if draft.rng.random() < 0.25:
                car_park(draft, plot)
            else:
                for site in shrunk(plot, 4.0):
                    draft.solids += blocks.slab(site, draft.style, draft.rng)
                draft.plant(plot, 8.0, 0.45)


def town(draft: Draft, land: shapely.Polygon) -> None:
    """Blocks built up around courts."""
    for block in streets(draft, land, draft.rng.uniform(3600, 6800), 10.0):
        draft.pave(block, draft.style.paving(draft.rng))
        for site in shrunk(block.simplify(2.0), 0.8):
            is_convex = site.area > 0.99 * site.convex_hull.area
            (_closed_block if is_convex and draft.rng.random() < 0.85 else _open_block)(draft, site)


def _closed_block(draft: Draft, site: shapely.Polygon) -> None:
    draft.solids += blocks.courtyard(site, draft.style, draft.rng)
    for court in shrunk(site, 15.0):
        draft.pave(court, draft.style.lawn(draft.rng))
        draft.plant(court, 7.0, 0.5)


def _open_block(draft: Draft, site: shapely.Polygon) -> None:
    """Rows of houses around small yards."""
    for plot in divided(site, 850, draft.rng):
        for yard in shrunk(plot, 0.6):
            draft.pave(yard, draft.style.lawn(draft.rng))
            draft.solids += houses.row(yard, draft.style, draft.rng)
        draft.plant(plot, 8.0, 0.3)


def industrial(draft: Draft, land: shapely.Polygon) -> None:
    rng, style = draft.rng, draft.style
    for block in streets(draft, land, rng.uniform(9000, 20000), 10.0):
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
                draft.solids += halls.hall(site, style, rng)
            elif use < 0.82:
                draft.solids += halls.tanks(site, rng)
            elif use < 0.92:
                car_park(draft, site)
            else:
                _depot(draft, site)


def _depot(draft: Draft, land: shapely.Polygon) -> None:
    """Containers in rows, and lorries."""
    frame, long, wide = frame_of(land)
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
