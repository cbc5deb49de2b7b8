"""Counts and areas of footprints per region: the regions of a file or grid, or the places of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.footprints.areas.measure import Extent
from geoseg.footprints.regions.regions import Regions, read_regions
from geoseg.learn.evaluation.measures import number
from geoseg.learn.evaluation.question import Comparison
from geoseg.learn.evaluation.tally import Buildings, Tally
from geoseg.learn.scores.confusion import Floats, ratio
from geoseg.narrator import Narrator
from geoseg.raster.grid import WGS84, between


@dataclass(frozen=True)
class RegionErrors:
    """Count and area of footprints, predicted and true, of one class per region."""

    names: tuple[str, ...]
    predicted: Floats
    true: Floats
    predicted_m2: Floats
    true_m2: Floats

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a region, with relative errors."""
        count_error, area_error = (
            ratio(self.predicted, self.true) - 1,
            ratio(self.predicted_m2, self.true_m2) - 1,
        )
        return [
            {
                "region": name,
                "predicted": int(self.predicted[at]),
                "true": int(self.true[at]),
                "count_error": number(count_error[at]),
                "predicted_m2": round(float(self.predicted_m2[at]), 1),
                "true_m2": round(float(self.true_m2[at]), 1),
                "area_error": number(area_error[at]),
            }
            for at, name in enumerate(self.names)
        ]


@dataclass(frozen=True)
class Homes:
    """Names of regions, and which of them the footprints of either side lie in: numbers of footprints and of regions."""

    names: tuple[str, ...]
    predicted: tuple[NDArray[np.intp], NDArray[np.intp]]
    true: tuple[NDArray[np.intp], NDArray[np.intp]]


def homes_by_place(counted: Tally) -> Homes:
    """Each place is a region."""
    names, place_of_tile = np.unique(counted.places, return_inverse=True)
    sides = counted.predicted, counted.true
    predicted, true = ((np.arange(len(side.tile)), place_of_tile[side.tile]) for side in sides)
    return Homes(tuple(map(str, names)), predicted, true)


def homes_in(source: str, counted: Tally, comparison: Comparison, narrator: Narrator) -> Homes:
    """The regions of a file or grid."""
    sides = counted.predicted, counted.true
    middles = np.concatenate([side.middle for side in sides], axis=1)
    extent = extent_of(middles if middles.size else corners_of(comparison))
    regions = read_regions(source, extent, narrator=narrator)
    predicted, true = (in_regions(side, regions) for side in sides)
    return Homes(regions.names, predicted, true)


def region_errors(counted: Tally, index: int, homes: Homes) -> RegionErrors:
    """Errors of a class in each region."""
    sides = (counted.predicted, homes.predicted), (counted.true, homes.true)
    sums = [
        sums_of(side, index, home, as_area, len(homes.names))
        for as_area in (False, True)
        for side, home in sides
    ]
    return RegionErrors(homes.names, *sums)


def sums_of(
    side: Buildings, index: int, home: tuple[NDArray[np.intp], NDArray[np.intp]], as_area: bool, regions: int
) -> Floats:
    """How many footprints of a class each region holds, or how large they are together."""
    footprint, region = home
    own = side.classes[footprint] == index
    weights = side.area_m2[footprint[own]] if as_area else np.ones(int(own.sum()))
    return np.bincount(region[own], weights=weights, minlength=regions).astype(np.float64)


def in_regions(side: Buildings, regions: Regions) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Footprints and the regions in which their middle lies."""
    points = shapely.points(*between(WGS84, regions.crs).transform(*side.middle))
    footprint, region = shapely.STRtree(regions.shapes).query(points, predicate="intersects")
    return footprint, region


def corners_of(comparison: Comparison) -> Floats:
    """Longitudes and latitudes of the corners of all scenes."""
    corners = []
    for pair in comparison.pairs:
        left, bottom, right, top = pair.grid.bounds
        corners.append(between(pair.grid.crs, WGS84).transform([left, left, right, right], [bottom, top] * 2))
    return np.concatenate(corners, axis=1)


def extent_of(lonlat: Floats) -> Extent:
    """The box around some longitudes and latitudes."""
    (west, south), (east, north) = lonlat.min(axis=1).tolist(), lonlat.max(axis=1).tolist()
    return Extent(WGS84, (west, south, east, north))
