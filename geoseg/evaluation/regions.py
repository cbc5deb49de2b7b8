"""Counts and areas of footprints per region: per place, per polygon of a file, or per square of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.evaluation.counting import TileCounts
from geoseg.evaluation.footprints import FootprintTable
from geoseg.evaluation.inputs.maps import Comparison
from geoseg.evaluation.measures import make_json_number
from geoseg.footprints.antimeridian import move_near
from geoseg.footprints.measure import Extent
from geoseg.raster.grid import WGS84, find_transformer
from geoseg.regions.pixels import locate_points
from geoseg.regions.polygons import Regions, read_regions
from geoseg.scores.confusion import Floats, divide


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
            divide(self.predicted, self.true) - 1,
            divide(self.predicted_m2, self.true_m2) - 1,
        )
        return [
            {
                "region": name,
                "predicted": int(self.predicted[at]),
                "true": int(self.true[at]),
                "count_error": make_json_number(count_error[at]),
                "predicted_m2": round(float(self.predicted_m2[at]), 1),
                "true_m2": round(float(self.true_m2[at]), 1),
                "area_error": make_json_number(area_error[at]),
            }
            for at, name in enumerate(self.names)
        ]


@dataclass(frozen=True)
class RegionAssignment:
    """Names of regions, and which of them the footprints of prediction and truth lie in: numbers of footprints and of regions."""

    names: tuple[str, ...]
    predicted: tuple[NDArray[np.intp], NDArray[np.intp]]
    true: tuple[NDArray[np.intp], NDArray[np.intp]]


def assign_places(counts: TileCounts) -> RegionAssignment:
    """Each place is a region."""
    names, place_of_tile = np.unique(counts.places, return_inverse=True)
    tables = counts.predicted, counts.true
    predicted, true = ((np.arange(len(table.tile)), place_of_tile[table.tile]) for table in tables)
    return RegionAssignment(tuple(map(str, names)), predicted, true)


def assign_regions(source: str, counts: TileCounts, comparison: Comparison) -> RegionAssignment:
    """The regions of a file or grid."""
    tables = counts.predicted, counts.true
    middles = np.concatenate([table.middle for table in tables], axis=1)
    place = find_place(middles if middles.size else list_corners(comparison), comparison)
    regions = read_regions(source, place)
    shapes = regions.near(place)
    predicted, true = (locate_points(find_middles(table, regions, place), shapes) for table in tables)
    return RegionAssignment(regions.names, predicted, true)


def compute_region_errors(counts: TileCounts, index: int, assigned: RegionAssignment) -> RegionErrors:
    """Errors of a class in each region."""
    tables = (counts.predicted, assigned.predicted), (counts.true, assigned.true)
    sums = [
        sum_by_region(table, index, regions, as_area, len(assigned.names))
        for as_area in (False, True)
        for table, regions in tables
    ]
    return RegionErrors(assigned.names, *sums)


def sum_by_region(
    table: FootprintTable,
    index: int,
    assigned: tuple[NDArray[np.intp], NDArray[np.intp]],
    as_area: bool,
    regions: int,
) -> Floats:
    """How many footprints of a class each region holds, or how large they are together."""
    footprint, region = assigned
    own = table.classes[footprint] == index
    weights = table.area_m2[footprint[own]] if as_area else np.ones(int(own.sum()))
    return np.bincount(region[own], weights=weights, minlength=regions).astype(np.float64)


def find_middles(table: FootprintTable, regions: Regions, place: Extent) -> NDArray[np.object_]:
    """The middles of footprints, where the regions near a place are laid out."""
    x, y = find_transformer(WGS84, regions.crs).transform(*table.middle)
    return np.asarray(shapely.points(move_near(x, regions.middle(place), regions.turn), y))


def find_place(lonlat: Floats, comparison: Comparison) -> Extent:
    """The box around longitudes and latitudes, in the CRS that all scenes share if they do: of masks, squares are those of stats."""
    crs = comparison.pairs[0].grid.crs
    if any(pair.grid.crs != crs for pair in comparison.pairs):
        crs = WGS84
    points = np.column_stack(find_transformer(WGS84, crs).transform(*lonlat))
    return Extent.around(crs, np.tile(points, 2))


def list_corners(comparison: Comparison) -> Floats:
    """Longitudes and latitudes of the corners of all scenes."""
    corners = []
    for pair in comparison.pairs:
        left, bottom, right, top = pair.grid.bounds
        corners.append(
            find_transformer(pair.grid.crs, WGS84).transform([left, left, right, right], [bottom, top] * 2)
        )
    return np.concatenate(corners, axis=1)
