"""The kinds of district, and how each is laid out on its land."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shapely

from geoseg.demo import countryside, homes, quarters
from geoseg.demo.content import District
from geoseg.demo.draft import Draft
from geoseg.demo.style import Style

_LAYOUTS: dict[str, Callable[[Draft, shapely.Polygon], None]] = {
    "forest": countryside.forest,
    "fields": countryside.fields,
    "farm": countryside.farm,
    "park": countryside.park,
    "village": homes.village,
    "suburb": homes.suburb,
    "rows": homes.rows,
    "estate": quarters.estate,
    "town": quarters.town,
    "industrial": quarters.industrial,
}


def laid_out(kind: str, land: shapely.Polygon, style: Style, rng: np.random.Generator) -> District:
    """A district of some kind on a piece of land."""
    draft = Draft(style, rng)
    _LAYOUTS[kind](draft, land)
    return draft.finished(kind)
