"""What changed in each region: buildings counted once, areas divided at borders."""

from __future__ import annotations

import geopandas as gpd
import numpy as np

from geoseg.comparison.groups import FATES
from geoseg.footprints.measure import AreaCrs, Extent
from geoseg.regions.pixels import RegionOverlay
from geoseg.regions.polygons import Regions
from geoseg.scores.confusion import divide

AREAS = ("area_a_m2", "area_b_m2", "gained_m2", "lost_m2")


class RegionChanges:
    """Adds up rows of a comparison by region.

    A row is counted where its representative point lies. Its areas are divided as its outline is.
    """

    def __init__(self, regions: Regions, place: Extent, area: AreaCrs) -> None:
        self.regions = regions
        self.place = place
        self.area = area
        self._overlay = RegionOverlay(regions.near(place), regions.crs, area)
        self._counts = np.zeros((len(regions), len(FATES)), dtype=np.int64)
        self._areas = np.zeros((len(regions), len(AREAS)))

    def add(self, rows: gpd.GeoDataFrame) -> np.ndarray:
        """Add some rows, and name the region of each; None where it is in no region."""
        shapes = self.regions.reproject(np.asarray(rows.geometry.array), rows.crs, self.place)
        met = self._overlay.split_footprints(shapes)
        change = np.array([FATES.index(each) for each in rows["change"]], dtype=np.int64)
        counted = met.region[met.counted], change[met.footprint[met.counted]]
        np.add.at(self._counts, counted, 1)
        areas = rows[list(AREAS)].to_numpy(np.float64)
        np.add.at(self._areas, met.region, areas[met.footprint] * met.share[:, None])
        names = np.full(len(rows), None, dtype=object)
        footprint, first = np.unique(met.footprint[met.counted], return_index=True)
        names[footprint] = np.asarray(self.regions.names, dtype=object)[met.region[met.counted][first]]
        return names

    def table(self) -> gpd.GeoDataFrame:
        """One row per region, in their order."""
        built, _, gained, lost = self._areas.T
        columns = {
            "region": np.asarray(self.regions.names, dtype=object),
            **dict(zip(FATES, self._counts.T, strict=True)),
            **dict(zip(AREAS, self._areas.T, strict=True)),
            "changed_share": divide(gained + lost, built + gained),
            "region_area_m2": self.regions.areas(self.area),
        }
        return gpd.GeoDataFrame(columns, geometry=self.regions.shapes, crs=self.regions.crs)
