"""What the map of the app gets: pictures, footprints or a picture of them where they are too many, and regions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from rasterio.features import rasterize

from geoseg.app.runs import FinishedRun
from geoseg.app.views import FootprintView
from geoseg.raster.palette import ClassEntry
from geoseg.reports.layers import open_raster_layer, to_rgb
from geoseg.reports.plot import FOOTPRINT_COLOR
from geoseg.reports.report import MOST_FOOTPRINTS, write_switch, write_switches
from geoseg.reports.view import Bounds, View
from geoseg.reports.webmap import (
    PICTURE_SIDE,
    WEB_MERCATOR,
    WebImage,
    find_corners,
    make_map_data,
    make_web_image,
    write_data_url,
)

PROBABILITY_SIDE = 1200
"""A probability is smooth: more pixels show no more, and cost time."""
BASE_MAP = {
    "url": "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
    "attribution": "© OpenStreetMap contributors",
}
PICTURE_OPACITY = 170


def make_images(run: FinishedRun) -> list[WebImage]:
    """The image, and the probability to be switched on."""
    image, probability = open_raster_layer(str(run.scene.path)), open_raster_layer(str(run.probability))
    with ThreadPoolExecutor() as pool:
        drawn = [
            pool.submit(make_web_image, "image", image, True, PICTURE_SIDE),
            pool.submit(make_web_image, "probability", probability, False, PROBABILITY_SIDE),
        ]
        return [each.result() for each in drawn]


def make_map(
    key: str,
    version: int,
    view: FootprintView,
    regions: gpd.GeoDataFrame | None,
    images: Sequence[WebImage],
    classes: Sequence[ClassEntry] = (),
) -> dict[str, Any]:
    """All that the component draws. Where `key` is a new one it begins anew; where `version` is, it changes polygons."""
    buildings = view.buildings
    pictured = len(buildings) > MOST_FOOTPRINTS
    if pictured:
        images = [*images, draw_footprints(buildings, classes)]
    data = make_map_data(buildings.iloc[:0] if pictured else buildings, regions, images, "", classes)
    placed = buildings.crs is not None
    if placed:
        data["baseMap"] = BASE_MAP
    switches = write_switches(images, data | {"regions": {"rings": [1]}} if placed else data)
    if placed:
        switches += write_switch("base map", None, is_shown=False).replace(
            "> base map", "> base map <small>(asks openstreetmap.org)</small>"
        )
    return {
        "id": f"{key}-{pictured}", "partial": False, "version": version, "map": data, "switches": switches, "pictured": pictured,
        "note": describe_map(len(buildings), pictured),
    }  # fmt: skip


def leave_out_images(data: dict[str, Any], known: str | None) -> dict[str, Any]:
    """What the component draws, without the images of the map that the browser has already: they are most of it."""
    if data["id"] != known or data["pictured"]:
        return data
    return data | {"partial": True, "map": data["map"] | {"images": []}}


def describe_map(count: int, pictured: bool) -> str:
    """What a screen reader says when the map has changed."""
    if not pictured:
        return f"The map shows {count:,} buildings; click one for its area, confidence and corners."
    return (
        f"{count:,} buildings are too many to click in a browser: the map shows a picture of them. Numbers and files "
        "have them all."
    )


def draw_footprints(buildings: gpd.GeoDataFrame, classes: Sequence[ClassEntry] = ()) -> WebImage:
    """A picture of footprints, for where there are too many to be drawn one by one; several classes in their colours."""
    several = {entry.name: entry.color for entry in classes} if len(classes) > 1 else {}
    palette = [FOOTPRINT_COLOR, *several.values()]
    kinds = pd.Index(several).get_indexer(buildings["class"]) + 2  # 1 is what has no colour of its own
    frame = buildings if buildings.crs is None else buildings.to_crs(WEB_MERCATOR)
    west, south, east, north = map(float, frame.total_bounds)
    bounds: Bounds = (west, south, east, north)
    side = round(PICTURE_SIDE * min(1.0, (east - west) / (north - south)))
    picture = View.of(frame.crs and WEB_MERCATOR, bounds, max(1, side))
    shape = picture.height, picture.width
    covered = rasterize(
        zip(frame.geometry, kinds.tolist(), strict=True),
        out_shape=shape,
        transform=picture.transform,
        dtype="uint8",
    )
    clear = np.array([(0, 0, 0, 0), *((*to_rgb(color), PICTURE_OPACITY) for color in palette)], np.uint8)
    colors = clear[covered]
    corners = find_corners(picture.crs, bounds)
    return WebImage("footprints", write_data_url(colors), corners)
