"""A map inside a page that is not ours, such as a notebook: a frame with all it needs in itself."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

import geopandas as gpd

from geoseg.reports.page import read_asset, write_json
from geoseg.reports.webmap import WebImage, make_map_data

FRAME_HEIGHT = 480


def make_map_frame(
    buildings: gpd.GeoDataFrame,
    regions: gpd.GeoDataFrame | None = None,
    images: Sequence[WebImage] = (),
    height: int = FRAME_HEIGHT,
) -> str:
    """A frame with the map of footprints; it asks no server for anything."""
    page = Template(read_asset("frame.html")).substitute(
        leaflet_css=read_asset("leaflet.css"),
        leaflet_js=read_asset("leaflet.js"),
        map_css=read_asset("map.css"),
        map_js=read_asset("map.js"),
        data=write_json(make_map_data(buildings, regions, images, "")),
    )
    return (
        f'<iframe srcdoc="{escape(page)}" style="width:100%;height:{height}px;border:0;border-radius:8px" '
        'sandbox="allow-scripts" title="Map of the buildings"></iframe>'
    )
