"""Lanes between blocks, kerbs, and cars along them and in car parks."""

from __future__ import annotations

from math import pi

import numpy as np
import shapely

from geoseg.demo.content import Material
from geoseg.demo.draft import Draft
from geoseg.demo.shapes import divided, frame_of, shrunk
from geoseg.demo.style import tinted


def streets(draft: Draft, land: shapely.Polygon, block_m2: float, lane_m: float) -> list[shapely.Polygon]:
    """The land divided into blocks by lanes: what no block takes is asphalt with a kerb."""
    draft.pave(land, draft.style.road())
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
            draft.park((start + end)[None] / 2, float(np.arctan2(*(end - start)[::-1])))


def car_park(draft: Draft, land: shapely.Polygon) -> None:
    """Bays in rows, some of them taken."""
    draft.pave(land, draft.style.road(), treeless=True)
    frame, long, wide = frame_of(land)
    u, v = np.meshgrid(
        np.arange(-long / 2 + 3, long / 2 - 3, 2.6), np.arange(-wide / 2 + 5, wide / 2 - 4, 8.5)
    )
    bays = np.column_stack([u.ravel(), v.ravel()])
    spots = frame.world(bays)
    inside = shapely.contains_xy(land.buffer(-3.2), spots[:, 0], spots[:, 1])
    for bay in bays[inside]:
        lines = frame.moved(*bay).place(shapely.box(1.24, -2.5, 1.36, 2.5))
        draft.pave(lines, Material((206, 206, 202), 0.02, 0.0, 0.0))
    draft.park(spots[inside & (draft.rng.random(len(spots)) < 0.45)], frame.angle + pi / 2)
