"""What stands in each region: buildings counted once, areas split exactly at borders, medians exact."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from geoseg.footprints.measure import AreaCrs
from geoseg.raster.grid import Grid, Window


class RegionStatistics:
    """Gathers footprints and strips of rasters, in any order and any cut, into one row per region and class.

        regions = read_regions("admin.gpkg:districts", region_id="name", place=grid, narrator=narrator)
        statistics = RegionStatistics(regions, area, classes=("building",), grid=grid)
        frame["region"] = statistics.add_footprints(frame)      # for every batch
        statistics.add_strip(window, mask, probability)         # for every strip, where rasters are at hand
        table = statistics.table()                              # for FootprintWriter.add_regions

    `classes` are the names of the mask's classes 1, 2, ... (background left out).
    """

    def __init__(
        self,
        regions: object,
        area: AreaCrs,
        classes: Sequence[str],
        grid: Grid | None = None,
        confusion: object = None,
    ) -> None:
        raise NotImplementedError

    def add_footprints(self, footprints: gpd.GeoDataFrame) -> NDArray[np.object_]:
        """Count footprints (columns `class`, `area_m2`, `confidence`, geometry) and name each one's region.

        A footprint is counted where its representative point lies; the name is None where that is in no region.
        """
        raise NotImplementedError

    def add_strip(
        self, window: Window, mask: NDArray[np.uint8] | None, probability: NDArray[np.uint8] | None
    ) -> None:
        """Add what a window of the rasters saw: mask (rows, cols), probability (rows, cols) or (bands, rows, cols).

        Both as `geoseg infer` writes them: 255 is nodata, a probability is 250 times itself.
        """
        raise NotImplementedError

    def table(self) -> gpd.GeoDataFrame:
        """One row per region and class, in the order of the regions."""
        raise NotImplementedError
