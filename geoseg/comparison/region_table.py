"""What changed in each region: buildings counted once, areas divided at borders."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.comparison.groups import FATES, SAME
from geoseg.comparison.layer_comparison import ChangeRows
from geoseg.comparison.layers import Polygons
from geoseg.footprints.measure import AreaCrs, Extent
from geoseg.footprints.polygons import keep_polygonal_parts
from geoseg.regions.pixels import RegionOverlaps, RegionOverlay
from geoseg.regions.polygons import Regions
from geoseg.scores.confusion import divide

AREAS = ("area_a_m2", "area_b_m2", "gained_m2", "lost_m2")


class RegionChanges:
    """Adds up rows of a comparison by region.

    A row is counted where its representative point lies. Each of its areas is divided as the ground is that it is of. `area` has
    the plane of the comparison.
    """

    def __init__(self, regions: Regions, place: Extent, area: AreaCrs) -> None:
        self.regions = regions
        self.place = place
        self.area = area
        self._overlay = RegionOverlay(regions.near(place), regions.crs, area)
        self._counts = np.zeros((len(regions), len(FATES)), dtype=np.int64)
        self._areas = np.zeros((len(regions), len(AREAS)))

    def add(self, rows: ChangeRows) -> NDArray[np.object_]:
        """Add some rows, and name the region of each; None where it is in no region."""
        frame = rows.frame
        change = np.array([FATES.index(each) for each in frame["change"]], dtype=np.int64)
        grounds = rows.in_a, rows.in_b, *find_changed_ground(rows)
        for at, (name, ground) in enumerate(zip(AREAS, grounds, strict=True)):
            met = self._split(ground, self.area.crs)
            areas = frame[name].to_numpy(np.float64)[met.footprint] * met.share
            np.add.at(self._areas[:, at], met.region, areas)
        met = self._split(np.asarray(frame.geometry.array), frame.crs)
        np.add.at(self._counts, (met.region[met.counted], change[met.footprint[met.counted]]), 1)
        names = np.full(len(frame), None, dtype=object)
        footprint, first = np.unique(met.footprint[met.counted], return_index=True)
        names[footprint] = np.asarray(self.regions.names, dtype=object)[met.region[met.counted][first]]
        return names

    def _split(self, polygons: Polygons, crs: CRS) -> RegionOverlaps:
        return self._overlay.split_footprints(self.regions.reproject(polygons, crs, self.place))

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


def find_changed_ground(rows: ChangeRows) -> tuple[Polygons, Polygons]:
    """What is in B alone and in A alone of each row, and nothing where it is the same building."""
    differs = rows.frame["change"].to_numpy() != FATES[SAME]
    gained, lost = (np.full(len(differs), shapely.MultiPolygon(), dtype=object) for _ in range(2))
    in_a, in_b = rows.in_a[differs], rows.in_b[differs]
    gained[differs] = keep_polygonal_parts(shapely.difference(in_b, in_a))
    lost[differs] = keep_polygonal_parts(shapely.difference(in_a, in_b))
    return gained, lost
