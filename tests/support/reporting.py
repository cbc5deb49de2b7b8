"""A town of houses in a row whose areas are known, and a photograph of its ground."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely

UTM33 = "EPSG:32633"
LEFT, TOP = 500_000.0, 5_000_000.0


def make_town(number: int) -> gpd.GeoDataFrame:
    """Houses of 10 x (8 + i) m in a row, with what geoseg says of each."""
    houses = [shapely.box(LEFT + 20 * i, TOP - 30 - i, LEFT + 20 * i + 10, TOP - 22) for i in range(number)]
    columns = {
        "class": ["house"] * number,
        "area_m2": [10.0 * (8 + i) for i in range(number)],
        "confidence": np.linspace(0.5, 1, number),
    }
    return gpd.GeoDataFrame(columns, geometry=houses, crs=UTM33)


def write_photo(path: Path) -> Path:
    """Noise where the first houses stand, with the tags of a file that geoseg made."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 120, "width": 500, "crs": UTM33}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(0.5, 0, LEFT, 0, -0.5, TOP)) as raster:
        raster.write(np.random.default_rng(0).integers(0, 256, (3, 120, 500), np.uint8))
        made = {"model": "roofs", "threshold": 0.4}
        raster.update_tags(TIFFTAG_COPYRIGHT="City of <Example>", GEOSEG=json.dumps(made))
    return path
