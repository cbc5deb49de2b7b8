"""What a browser needs to draw a map without asking any server: pictures as data, outlines as whole numbers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS
from rasterio.warp import transform_bounds

from geoseg.raster.palette import ClassEntry
from geoseg.raster.source import make_rasterio_crs
from geoseg.reports.layers import AREA_UNITS, Colors, RasterLayer, find_area_column, read_colors
from geoseg.reports.plot import AREA_LIMITS_M2, CLASS_COLORS
from geoseg.reports.view import Bounds, View

WEB_MERCATOR, LONLAT = CRS.from_epsg(3857), CRS.from_epsg(4326)
STEPS_PER_DEGREE = 1e7
"""A step is a centimetre."""
STEPS_PER_PIXEL = 100.0
PICTURE_SIDE = 2000
WEBP_QUALITY, WEBP_METHOD = 80, 2
"""Twice as fast as Pillow's own method, and a fiftieth larger."""
RAMP_COLORS = 9
FRAME_HEIGHT = 480


def read_asset(name: str) -> str:
    """A script, style or template that stands in pages."""
    return (files("geoseg.reports") / "assets" / name).read_text(encoding="utf-8")


def write_json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


@dataclass(frozen=True)
class WebImage:
    """A picture with its place as the map takes it: the corners south west and north east."""

    name: str
    url: str
    corners: tuple[tuple[float, float], tuple[float, float]]
    shown: bool = True

    def to_json(self) -> Mapping[str, Any]:
        return {"name": self.name, "url": self.url, "bounds": self.corners, "shown": self.shown}


def make_web_image(name: str, layer: RasterLayer, shown: bool = True, side: int = PICTURE_SIDE) -> WebImage:
    """A raster as a picture for the map, in Web Mercator where it has a place; `side` is its longer side in pixels."""
    bounds = layer.bounds
    if layer.crs is not None:
        bounds = transform_bounds(make_rasterio_crs(layer.crs), make_rasterio_crs(WEB_MERCATOR), *bounds)
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    view = View.of(layer.crs and WEB_MERCATOR, bounds, max(1, round(side * min(1, width / height))))
    return WebImage(name, write_data_url(read_colors(layer, view)), find_corners(view.crs, bounds), shown)


def find_corners(crs: CRS | None, bounds: Bounds) -> tuple[tuple[float, float], tuple[float, float]]:
    """Latitude before longitude, as Leaflet wants it."""
    west, south, east, north = bounds
    if crs is not None and crs != LONLAT:
        west, south, east, north = transform_bounds(
            make_rasterio_crs(crs), make_rasterio_crs(LONLAT), *bounds
        )
    return (south, west), (north, east)


def write_data_url(colors: Colors) -> str:
    """A picture as WebP in an address of its own."""
    packed = io.BytesIO()
    Image.fromarray(colors).save(packed, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"


def move_to_map(frame: gpd.GeoDataFrame) -> tuple[NDArray[np.object_], float]:
    """Shapes in degrees, or in pixels where they have no place, and the steps in which they are told."""
    if frame.crs is None:
        return np.asarray(frame.geometry.array), STEPS_PER_PIXEL
    return np.asarray(frame.to_crs(LONLAT).geometry.array), STEPS_PER_DEGREE


def encode_shapes(shapes: NDArray[np.object_], steps: float) -> list[list[list[list[int]]]]:
    """The parts of each shape, and the rings of each part, as steps from point to point, the first from zero.

    The closing point of a ring is left out.
    """
    parts, owners = shapely.get_parts(shapes, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    whole = np.rint(points * steps).astype(np.int64)
    is_first = np.diff(ring_of_point, prepend=-1) > 0
    moves = np.diff(whole, axis=0, prepend=0)
    moves[is_first] = whole[is_first]
    starts = np.append(np.flatnonzero(is_first), len(points)).tolist()
    flat = moves.ravel().tolist()
    encoded: list[list[list[list[int]]]] = [[] for _ in shapes]
    last = -1
    for ring, part in enumerate(part_of_ring.tolist()):
        owner = encoded[owners[part]]
        if part != last:
            owner.append([])
            last = part
        owner[-1].append(flat[2 * starts[ring] : 2 * starts[ring + 1] - 2])
    return encoded


def describe_buildings(frame: gpd.GeoDataFrame, known: Sequence[str] = ()) -> Mapping[str, Any]:
    """Footprints as columns: rings, area, confidence and class; `known` classes keep their order and colours.

    Without them the classes that occur are put in order.
    """
    shapes, steps = move_to_map(frame)
    kinds = frame["class"].astype(str) if "class" in frame else np.full(len(frame), "building")
    classes = [*known, *sorted(set(kinds) - set(known))]
    confidence = None
    if "confidence" in frame and frame["confidence"].notna().any():
        confidence = [
            None if np.isnan(value) else round(float(value), 3) for value in frame["confidence"].astype(float)
        ]
    return {
        "rings": [[ring for part in parts for ring in part] for parts in encode_shapes(shapes, steps)],
        "area": np.round(frame[find_area_column(frame)].astype(float), 1).tolist(),
        "confidence": confidence,
        "class": [classes.index(kind) for kind in kinds],
        "classes": classes,
    }


def describe_regions(frame: gpd.GeoDataFrame | None) -> Mapping[str, Any]:
    if frame is None:
        return {"rings": []}
    once = frame.drop_duplicates("region") if "region" in frame else frame
    shapes, steps = move_to_map(once)
    return {"rings": encode_shapes(shapes, steps)}


def make_ramp() -> Sequence[Sequence[int]]:
    """The colours from little to much, as pictures have them."""
    colors = colormaps["plasma"](np.linspace(0, 1, RAMP_COLORS))
    ramp: list[list[int]] = np.rint(colors[:, :3] * 255).astype(int).tolist()
    return ramp


def make_map_data(
    buildings: gpd.GeoDataFrame,
    regions: gpd.GeoDataFrame | None,
    images: Sequence[WebImage],
    attribution: str,
    classes: Sequence[ClassEntry] = (),
) -> dict[str, Any]:
    """All that the map draws; `classes` that a model knows are shown in their own colours."""
    shapes, steps = move_to_map(buildings)
    bounds = images[0].corners if images else find_corners(LONLAT, find_bounds(shapes, regions))
    described = describe_buildings(buildings, [entry.name for entry in classes])
    return {
        "plane": buildings.crs is None,
        "scale": steps,
        "bounds": bounds,
        "images": [image.to_json() for image in images],
        "buildings": described,
        "coloring": "class" if len(described["classes"]) > 1 else "one",
        "regions": describe_regions(regions),
        "ramp": make_ramp(),
        "areas": AREA_LIMITS_M2,
        "classColors": [*(entry.color for entry in classes), *CLASS_COLORS] if len(classes) > 1 else CLASS_COLORS,
        "attribution": attribution,
        "words": {
            "area": "Area", "confidence": "Confidence", "class": "Class", "corners": "Corners",
            "unit": AREA_UNITS[find_area_column(buildings) or "area_m2"],
        },
    }  # fmt: skip


def find_bounds(shapes: NDArray[np.object_], regions: gpd.GeoDataFrame | None) -> Bounds:
    """Around the buildings, else around the regions, else the world."""
    for each in (shapes, None if regions is None else move_to_map(regions)[0]):
        if each is not None and len(each):
            west, south, east, north = map(float, shapely.total_bounds(each))
            return west, south, east, north
    return -180.0, -85.0, 180.0, 85.0


def make_map_frame(
    buildings: gpd.GeoDataFrame,
    regions: gpd.GeoDataFrame | None = None,
    images: Sequence[WebImage] = (),
    height: int = FRAME_HEIGHT,
) -> str:
    """The map of footprints in a page that is not ours, such as a notebook: a frame with all it needs in itself."""
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
