"""Where a footprint stands in the order of a country: along a Hilbert curve over the square of the web map.

The curve fills one tile of the web map after the other, at every level, so that each tile is one run of the order.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.footprints.measure import FloatArray
from geoseg.raster.grid import WGS84, find_transformer

MERCATOR = CRS.from_epsg(3857)
HALF_M = 20_037_508.342789244
"""Half a side of the web map's square."""
LEVEL = 16
"""Cells of 600 m at the equator; neighbours within one keep the order in which they came."""
MOST_LATITUDE = 85.051128
"""Where the square ends; what lies nearer to a pole stands at its edge."""
DEEPEST = 15


def find_middles(boxes: FloatArray) -> FloatArray:
    """The middles of boxes in degrees, on the web map."""
    lon, lat = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    lat = np.clip(lat, -MOST_LATITUDE, MOST_LATITUDE)
    return np.column_stack(find_transformer(WGS84, MERCATOR).transform(lon, lat))


def encode_hilbert(middles: FloatArray, level: int = LEVEL) -> NDArray[np.uint64]:
    """How far along the curve through the cells of a level each point lies."""
    last = HALF_M - 2 * HALF_M / 2**level  # where the last cell begins: geopandas takes this for its place
    codes = gpd.GeoSeries(shapely.points(middles)).hilbert_distance((-HALF_M, -HALF_M, last, last), level)
    return np.asarray(codes, dtype=np.uint64)


def find_quadkeys(middles: FloatArray, level: int) -> NDArray[np.str_]:
    """The tile of the web map in which each point lies, as a quadkey."""
    tiles = 2**level
    x, y = np.clip(((middles * [1, -1] + HALF_M) / (2 * HALF_M) * tiles).astype(np.int64), 0, tiles - 1).T
    digits = [
        ((x >> bit & 1) + 2 * (y >> bit & 1)).astype(np.uint8).astype(str) for bit in range(level - 1, -1, -1)
    ]
    keys = digits[0]
    for digit in digits[1:]:
        keys = np.char.add(keys, digit)
    return np.asarray(keys)
