"""What two layers say of some places: built in both or in none, in B alone, in A alone."""

from __future__ import annotations

import logging

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.comparison.groups import SAME
from geoseg.comparison.layer_comparison import LayerComparison
from geoseg.comparison.layers import ComparedLayer, Flags, Ints
from geoseg.footprints.measure import FloatArray
from geoseg.raster.grid import WGS84, find_transformer
from geoseg.regions.change import GAINED, LOST, OUTSIDE, UNCHANGED

log = logging.getLogger(__name__)

NO_GROUP, NO_FOOTPRINT = -1, -2


def find_mapped_change(
    comparison: LayerComparison, longitude: FloatArray, latitude: FloatArray
) -> NDArray[np.intp]:
    """What A and B say of each place, in the sense of their `gained_m2` and `lost_m2`: outlines of one building do not differ."""
    x, y = find_transformer(WGS84, comparison.a.plane).transform(longitude, latitude)
    places = np.column_stack([x, y])
    in_a, in_b = (
        find_groups(layer, of, places)
        for layer, of in ((comparison.a, comparison.groups.of_a), (comparison.b, comparison.groups.of_b))
    )
    differs = np.append(comparison.figures.change != SAME, [False, False])
    gained = (in_a == NO_FOOTPRINT) & differs[in_b]
    lost = (in_b == NO_FOOTPRINT) & differs[in_a]
    mapped = np.select([gained, lost], [GAINED, LOST], UNCHANGED).astype(np.intp)
    held = find_held(comparison, places)
    return np.where(held, mapped, OUTSIDE)


def find_groups(layer: ComparedLayer, of: Ints, places: FloatArray) -> Ints:
    """The group of the footprint that each place lies in: -1 where that is not compared, -2 where there is no footprint."""
    found = np.full(len(places), NO_FOOTPRINT, dtype=np.int64)
    if not len(layer):
        return found
    points = shapely.points(places)
    place, footprint = shapely.STRtree(shapely.box(*layer.boxes.T)).query(points, predicate="intersects")
    near, position = np.unique(footprint, return_inverse=True)
    inside = shapely.intersects(layer.read(near)[position], points[place])
    np.maximum.at(found, place[inside], of[footprint[inside]])
    return found


def find_held(comparison: LayerComparison, places: FloatArray) -> Flags:
    """Which places lie on the ground that is compared; others are left out, and told."""
    held = comparison.ground.holds(places)
    if not held.all():
        log.info(
            f"{int((~held).sum())} sample points lie outside the ground that is compared, and are left out"
        )
    return held
