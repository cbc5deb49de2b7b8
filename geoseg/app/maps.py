"""What the map of the app gets: pictures, footprints or a picture of them where they are too many, and regions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rasterio.features import rasterize
from rasterio.warp import transform_bounds

from geoseg.app.regions import Ring
from geoseg.app.runs import FinishedRun
from geoseg.app.views import FootprintView
from geoseg.raster.palette import ClassEntry
from geoseg.raster.source import make_rasterio_crs
from geoseg.reports.layers import intersect_bounds, open_raster_layer, to_rgb
from geoseg.reports.plot import FOOTPRINT_COLOR
from geoseg.reports.report import (
    MOST_FOOTPRINTS,
    name_outlines,
    tells_confidence,
    write_switch,
    write_switches,
)
from geoseg.reports.view import Bounds, View
from geoseg.reports.webmap import (
    LONLAT,
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
BASE_MAP_LABEL = "base map <small>(asks openstreetmap.org)</small>"
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


@dataclass(frozen=True)
class MapRequest:
    """What a map is to show. Where `run` is a new one it begins anew; where `version` is, it changes polygons.

    `picture` stands for footprints that are too many, but for those of the `part` that is looked at, where they are few
    enough. `drawn` are the regions that were drawn on it.
    """

    run: str
    version: int
    view: FootprintView
    images: Sequence[WebImage]
    regions: gpd.GeoDataFrame | None = None
    classes: Sequence[ClassEntry] = ()
    picture: WebImage | None = None
    part: Bounds | None = None
    drawn: Sequence[Ring] = ()


def make_map(asked: MapRequest) -> dict[str, Any]:
    """All that the component draws."""
    buildings, classes, pictured = asked.view.buildings, asked.classes, asked.picture is not None
    images = [*asked.images, asked.picture] if asked.picture else asked.images
    shown = find_part(buildings, asked.part, asked.picture) if asked.picture else buildings
    data = make_map_data(shown, asked.regions, images, "", classes)
    what = name_outlines([entry.name for entry in classes])
    placed = buildings.crs is not None
    if placed:
        data["baseMap"] = BASE_MAP
    told = data | {"buildings": data["buildings"] | {"confidence": tells_confidence(buildings)}}
    switches = write_switches(images, told | {"regions": {"rings": [1]}} if placed else told, what)
    if placed:
        switches += write_switch("base map", None, is_shown=False, label=BASE_MAP_LABEL)
    part = asked.part if pictured and len(shown) else None
    return {
        "run": asked.run, "id": f"{asked.run}-{pictured}", "version": asked.version, "map": data, "switches": switches,
        "partial": False, "pictures": f"{asked.run} {asked.view.request.key if pictured else ''}",
        "pictured": pictured, "part": part, "drawn": list(asked.drawn),
        "note": describe_map(len(buildings), len(shown), what),
    }  # fmt: skip


def leave_out_images(data: dict[str, Any], known: str | None) -> dict[str, Any]:
    """What the component draws, without the images of the map that the browser has already: they are most of it."""
    if data["pictures"] != known:
        return data
    return data | {"partial": True, "map": data["map"] | {"images": []}}


def find_part(buildings: gpd.GeoDataFrame, part: Bounds | None, picture: WebImage) -> gpd.GeoDataFrame:
    """The footprints of a part of the map, given in degrees or pixels; none where they are too many."""
    (south, west), (north, east) = picture.corners
    seen = part and intersect_bounds(part, (west, south, east, north))
    if not seen:
        return buildings.iloc[:0]
    if buildings.crs is not None:
        seen = transform_bounds(make_rasterio_crs(LONLAT), make_rasterio_crs(buildings.crs), *seen)
    found = buildings.sindex.query(shapely.box(*seen))
    return buildings.iloc[np.sort(found)] if len(found) <= MOST_FOOTPRINTS else buildings.iloc[:0]


def parse_part(told: object) -> Bounds | None:
    """What the map tells of the part that is looked at; none where that is no part."""
    try:
        west, south, east, north = (float(side) for side in told)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    sound = np.isfinite([west, south, east, north]).all() and west < east and south < north
    return (west, south, east, north) if sound else None


def describe_map(count: int, shown: int, what: str) -> str:
    """What a screen reader says when the map has changed."""
    if shown:
        here = "The map shows" if shown == count else "This part of the map shows"
        return f"{here} {shown:,} {what}; click one for its area, confidence and corners."
    if not count:
        return ""
    return (
        f"{count:,} {what} are too many to be drawn one by one: the map shows a picture of them until you zoom in. Numbers "
        "and files have them all."
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
