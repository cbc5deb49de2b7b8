"""Footprints and regions made up for tests, and the rasters they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.footprints.measure import AreaCrs, measure_polygons
from geoseg.footprints.write.geopackage import FootprintWriter
from geoseg.raster.grid import Grid

UTM33 = CRS.from_epsg(32633)
LONLAT = CRS.from_epsg(4326)
MERCATOR = CRS.from_epsg(3857)
GRID = Grid(UTM33, Affine(1, 0, 300_000, 0, -1, 5_400_000), 600, 800)


def scattered(grid: Grid = GRID, count: int = 200, seed: int = 0) -> NDArray[np.object_]:
    """Boxes of 5 to 20 pixels all over a grid, in its CRS; they may overlap."""
    rng = np.random.default_rng(seed)
    col, row = rng.uniform(0, grid.width - 20, count), rng.uniform(0, grid.height - 20, count)
    boxes = shapely.box(col, row, col + rng.uniform(5, 20, count), row + rng.uniform(5, 20, count))
    return shapely.transform(boxes, lambda x, y: grid.transform @ (x, y), interleaved=False)


def footprints(
    polygons: NDArray[np.object_], crs: CRS = UTM33, classes: Sequence[str] = ("building",), seed: int = 0
) -> gpd.GeoDataFrame:
    """A layer of footprints with every column."""
    count, rng = len(polygons), np.random.default_rng(seed)
    bounds = tuple(shapely.total_bounds(polygons)) if count else GRID.bounds
    area = AreaCrs.choose(Place(crs, bounds))
    areas, perimeters = measure_polygons(area, polygons, crs)
    columns = {
        "id": np.arange(1, count + 1),
        "class": np.array([classes[i % len(classes)] for i in range(count)], dtype=object),
        "area_m2": areas,
        "perimeter_m": perimeters,
        "confidence": np.where(rng.random(count) < 0.1, np.nan, rng.random(count)),
        "regularized": rng.random(count) < 0.5,
        "width_m": rng.uniform(5, 10, count),
        "length_m": rng.uniform(10, 20, count),
        "orientation_deg": rng.uniform(0, 180, count),
        "touches_nodata": np.zeros(count, dtype=bool),
        "touches_edge": np.zeros(count, dtype=bool),
        "image_date": np.full(count, "2026-05-04", dtype=object),
    }
    return gpd.GeoDataFrame(columns, geometry=polygons, crs=crs)


class Place:
    """Where something lies."""

    def __init__(self, crs: CRS, bounds: tuple[float, ...]) -> None:
        self.crs = crs
        self.bounds = bounds


def write(
    path: Path,
    frame: gpd.GeoDataFrame,
    batch: int = 10**9,
    classes: Sequence[str] = ("building",),
    **options: Any,
) -> Path:
    """Write a layer in batches."""
    with FootprintWriter(path, CRS(frame.crs), classes, **options) as writer:
        writer.append(frame.iloc[:0])
        for start in range(0, len(frame), batch):
            writer.append(frame.iloc[start : start + batch])
    return path


def write_raster(path: Path, values: NDArray[Any], grid: Grid = GRID, **options: Any) -> Path:
    """A GeoTIFF of bands on a grid."""
    bands = values if values.ndim == 3 else values[None]
    scale, names = options.pop("scale", None), options.pop("names", None)
    profile = {"count": len(bands), "height": grid.height, "width": grid.width, "dtype": bands.dtype.name}
    crs = grid.crs.to_wkt()
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, transform=grid.transform, **profile, **options
    ) as raster:
        raster.write(bands)
        if scale:
            raster.scales = (scale,) * len(bands)
        if names:
            raster.descriptions = names
    return path


def moved(shapes: NDArray[np.object_] | Sequence[Any], source: CRS, target: CRS) -> NDArray[np.object_]:
    """Shapes with their vertices in another CRS."""
    change = Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(np.asarray(shapes, dtype=object), change.transform, interleaved=False)
