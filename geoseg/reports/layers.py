"""What pictures show: rasters as colours, and polygons, each in the CRS of a view and only as fine as it can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import from_bounds

from geoseg.errors import InputError
from geoseg.footprints.write.geopackage import BUILDINGS, CHANGES
from geoseg.io.addresses import is_vector_file, parse_layer_path
from geoseg.io.layers import read_layer
from geoseg.raster.bands import find_rgb_bands
from geoseg.raster.coding import NODATA, PROBABILITY_STEP
from geoseg.raster.display import stretch_values
from geoseg.raster.grid import PICTURE_TRANSFORM, find_bounds
from geoseg.raster.palette import ClassEntry
from geoseg.raster.source import make_rasterio_crs, open_raster, read_band_names
from geoseg.records import parse_json
from geoseg.reports.view import Bounds, View

Colors = NDArray[np.uint8]
"""Red, green, blue and opacity (row, col, 4)."""
RasterKind = Literal["image", "mask", "probability"]

MOST_CLASSES = 12
"""A band of whole numbers with more values than this is an image, not a mask, where it has no colours of its own."""
LOOK_SIDE = 512
LIKELY = (106, 27, 154)
CLEAR = (0, 0, 0, 0)
MASK_COLORS = ("#e4572e", "#2e86ab", "#76b041", "#ffc914", "#8f2d56", "#17bebb")
MARGIN = 0.05
"""Around polygons that are shown without a raster."""
POLYGON_TYPES = ("Polygon", "MultiPolygon")
AREA_UNITS = {"area_m2": "m²", "area_px": "pixels"}
"""The columns in which footprints have their area, of which each has one."""


@dataclass(frozen=True)
class RasterLayer:
    """A raster that is shown: `source` is what GDAL opens, `name` what people call it."""

    source: str
    name: str
    kind: RasterKind
    crs: CRS | None
    bounds: Bounds
    attribution: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """How geoseg made it: model, threshold and the like."""


@dataclass(frozen=True)
class ShapeLayer:
    """Polygons that are shown; `are_regions` says that they are not footprints."""

    name: str
    frame: gpd.GeoDataFrame
    are_regions: bool

    @property
    def crs(self) -> CRS | None:
        crs: CRS | None = self.frame.crs
        return crs

    @property
    def bounds(self) -> Bounds:
        west, south, east, north = map(float, self.frame.total_bounds)
        margin = MARGIN * max(east - west, north - south)
        return west - margin, south - margin, east + margin, north + margin


Layer = RasterLayer | ShapeLayer
Known = NDArray[np.bool_]


def open_layer(source: object) -> Layer:
    """A layer by its file, `file:layer`, or as geopandas holds it."""
    if isinstance(source, gpd.GeoDataFrame):
        return make_polygon_layer("polygons", source)
    if not isinstance(source, str | PathLike):
        raise InputError(
            f"a layer is a file or a GeoDataFrame, not a {type(source).__name__}; give several one after the other"
        )
    if is_vector_file(str(source)):
        path, layer = parse_layer_path(str(source))
        return make_polygon_layer(str(source), read_frame(path, layer))
    return open_raster_layer(str(source))


def read_polygons(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    """The polygons of a file."""
    return select_polygons(read_frame(path, layer))


def read_frame(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    """All that a layer holds, with no CRS where it lies in the pixels of a picture, whatever the file says."""
    frame = read_layer(path, layer, BUILDINGS, CHANGES)
    return frame.set_crs(None, allow_override=True) if "area_px" in frame else frame


def select_polygons(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame[frame.geom_type.isin(POLYGON_TYPES)]


def find_area_column(frame: gpd.GeoDataFrame) -> str | None:
    """Where footprints have their area; regions, and polygons of others, have none."""
    return next((name for name in AREA_UNITS if name in frame), None)


def make_polygon_layer(name: str, frame: gpd.GeoDataFrame) -> ShapeLayer:
    """The polygons of a frame; one without a row, as of a scene in which nothing was found, shows nothing."""
    polygons = select_polygons(frame)
    if len(frame) and not len(polygons):
        raise InputError(f"{name}: holds no polygon to show")
    return ShapeLayer(name, polygons, find_area_column(polygons) is None)


def open_raster_layer(source: str, name: str | None = None) -> RasterLayer:
    with open_raster(source, name or source) as dataset:
        crs = CRS.from_wkt(dataset.crs.to_wkt()) if dataset.crs else None
        transform = dataset.transform if crs else PICTURE_TRANSFORM
        tags = dataset.tags()
        return RasterLayer(
            source,
            name or source,
            find_raster_kind(dataset),
            crs,
            find_bounds(transform, *dataset.shape),
            tags.get("TIFFTAG_COPYRIGHT", ""),
            read_parameters(tags.get("GEOSEG", "")),
        )


def read_parameters(text: str) -> Mapping[str, Any]:
    with suppress(ValueError):
        parameters = parse_json(text)
        if isinstance(parameters, dict):
            return parameters
    return {}


def find_raster_kind(dataset: Any) -> RasterKind:
    """Whether a raster is an image, a mask or a probability."""
    if dataset.colorinterp[0] == ColorInterp.palette:
        return "mask"
    if dataset.dtypes[0] == "uint8" and np.isclose(dataset.scales[0], PROBABILITY_STEP):
        return "probability"
    if dataset.count > 1 or not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
        return "image"
    shape = min(dataset.height, LOOK_SIDE), min(dataset.width, LOOK_SIDE)
    look = dataset.read(1, out_shape=shape, resampling=Resampling.nearest)
    return "mask" if len(np.unique(look)) <= MOST_CLASSES else "image"


def read_colors(layer: RasterLayer, view: View) -> Colors:
    """A raster as the pixels of a view, clear where it knows nothing."""
    with open_raster(layer.source, layer.name) as dataset:
        resampling = Resampling.nearest if layer.kind == "mask" else Resampling.average
        bands = choose_shown_bands(dataset) if layer.kind == "image" else [1]
        values, known = read_values(dataset, bands, layer, view, resampling)
        if layer.kind == "image":
            return color_image(values, known)
        if layer.kind == "probability":
            return color_probability(values[0], known)
        return color_mask(values[0], known, find_palette(dataset))


def choose_shown_bands(dataset: Any) -> list[int]:
    """The numbers of the bands that are red, green and blue; of one band, that one three times."""
    return [number + 1 for number in find_rgb_bands(read_band_names(dataset))]


def read_values(
    dataset: Any, bands: Sequence[int], layer: RasterLayer, view: View, resampling: Resampling
) -> tuple[NDArray[Any], Known]:
    """Bands of a raster as the pixels of a view, and which of them are known; overviews are used where there are some."""
    if layer.crs and view.crs and not (layer.crs == view.crs and lies_upright(dataset.transform)):
        return warp_values(dataset, bands, view, resampling)
    values = np.zeros((len(bands), view.height, view.width), dataset.dtypes[0])
    known = np.zeros((view.height, view.width), dtype=bool)
    shared = intersect_bounds(layer.bounds, view.bounds)
    if shared is None:
        return values, known
    rows, cols = find_pixels(shared, view)
    window = from_bounds(*shared, transform=dataset.transform if layer.crs else PICTURE_TRANSFORM)
    shape = rows.stop - rows.start, cols.stop - cols.start
    values[:, rows, cols] = dataset.read(
        bands, window=window, out_shape=(len(bands), *shape), resampling=resampling
    )
    mask = dataset.dataset_mask(window=window, out_shape=shape, resampling=Resampling.nearest)
    known[rows, cols] = mask > 0
    return values, known


def lies_upright(transform: Affine) -> bool:
    """Whether rows run to the east and columns to the south, as those of a view do."""
    return transform.b == transform.d == 0 and transform.a > 0 > transform.e


def warp_values(
    dataset: Any, bands: Sequence[int], view: View, resampling: Resampling
) -> tuple[NDArray[Any], Known]:
    assert view.crs is not None
    with WarpedVRT(
        dataset, crs=make_rasterio_crs(view.crs), transform=view.transform, height=view.height, width=view.width,
        resampling=resampling, add_alpha=ColorInterp.alpha not in dataset.colorinterp,
    ) as warped:  # fmt: skip
        return warped.read(bands), warped.dataset_mask() > 0


def intersect_bounds(one: Bounds, other: Bounds) -> Bounds | None:
    west, south = max(one[0], other[0]), max(one[1], other[1])
    east, north = min(one[2], other[2]), min(one[3], other[3])
    return (west, south, east, north) if west < east and south < north else None


def find_pixels(bounds: Bounds, view: View) -> tuple[slice, slice]:
    """The rows and columns of a view that bounds within it cover, at least one of each."""
    (left, top), (right, bottom) = (
        ~view.transform @ corner for corner in ((bounds[0], bounds[3]), (bounds[2], bounds[1]))
    )
    row, col = min(round(top), view.height - 1), min(round(left), view.width - 1)
    return slice(row, max(row + 1, round(bottom))), slice(col, max(col + 1, round(right)))


def color_image(values: NDArray[Any], known: Known) -> Colors:
    """Bytes as they are, other values spread over what a screen can show."""
    if values.dtype == np.uint8:
        colors = values.transpose(1, 2, 0)
    else:
        known = known & np.isfinite(values).all(axis=0)
        colors = (
            stretch_values(np.where(known, values, np.nan))
            if known.any()
            else np.zeros((*known.shape, 3), np.uint8)
        )
    return np.dstack([colors, known * np.uint8(255)])


def color_probability(values: NDArray[np.uint8], known: Known) -> Colors:
    """From clear, where nothing is likely, to a strong violet."""
    known = known & (values != NODATA)
    likely = np.where(known, values * np.float32(PROBABILITY_STEP), 0)
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    colors[..., :3] = LIKELY
    colors[..., 3] = np.rint(255 * likely)
    return colors


def color_mask(values: NDArray[Any], known: Known, palette: Mapping[int, Sequence[int]]) -> Colors:
    """Classes in the colours of their file or in some of ours; the background is clear."""
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    for number, value in enumerate(np.unique(values[known])[:256]):
        color = palette.get(int(value)) or (*to_rgb(MASK_COLORS[number % len(MASK_COLORS)]), 255)
        colors[values == value] = color if value else CLEAR
    colors[~known] = CLEAR
    return colors


def find_palette(dataset: Any) -> Mapping[int, Sequence[int]]:
    try:
        palette: Mapping[int, Sequence[int]] = dataset.colormap(1)
    except ValueError:
        return {}
    return palette


def to_rgb(color: str) -> tuple[int, int, int]:
    return ClassEntry("colour", color).rgb
