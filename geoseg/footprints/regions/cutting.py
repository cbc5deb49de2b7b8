"""Footprints split at the borders of regions, so that the parts add up exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.footprints.areas.measure import PROBE_M, AreaCrs, Floats, Polygons, metres_per_unit

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Overlaps:
    """Which footprint lies in which region, with what share of its area, and whether it is counted there.

    In order of footprints, then of regions.
    """

    footprint: Indices
    region: Indices
    share: Floats
    counted: NDArray[np.bool_]


class Territory:
    """Regions of one CRS, made ready for many questions."""

    def __init__(self, regions: Polygons, crs: CRS, area: AreaCrs) -> None:
        self.regions = regions
        self.crs = crs
        self.area = area
        shapely.prepare(regions)

    def overlaps(self, footprints: Polygons) -> Overlaps:
        """Split footprints of the same CRS among the regions.

        A footprint is counted where its representative point lies; on a border, in the first region it touches. Shares
        are taken in the regions' own plane, where neighbouring regions fit each other without a gap, so that over
        regions that cover a footprint once they add up to one.
        """
        tree = shapely.STRtree(footprints)
        region, footprint = tree.query(self.regions, predicate="intersects")
        inside = np.zeros(len(region), dtype=bool)
        covered = tree.query(self.regions, predicate="covers")
        inside[positions(covered, region, footprint, len(footprints))] = True
        order = np.lexsort((region, footprint))
        region, footprint, inside = region[order], footprint[order], inside[order]
        share = np.ones(len(region))
        share[~inside] = self.shares(footprints[footprint[~inside]], region[~inside])
        points = shapely.point_on_surface(footprints)[footprint]
        counted = counted_once(points, self.regions[region], footprint, inside)
        kept = (share > 0) | counted
        return Overlaps(footprint[kept], region[kept], share[kept], counted[kept])

    def shares(self, footprints: Polygons, regions: Indices) -> Floats:
        """The share of each footprint's true area that lies in its region.

        The plane's own scale changes a little across a footprint; it is taken to change evenly there, which leaves
        shares that add up to one exactly and are wrong by the square of the footprint's size over Earth's radius only.
        """
        pieces = shapely.intersection(footprints, self.regions[regions])
        sizes, wholes = shapely.area(pieces), shapely.area(footprints)
        centres = shapely.get_coordinates(shapely.centroid(footprints)).T
        held = sizes > 0
        away = np.zeros_like(centres)
        away[:, held] = shapely.get_coordinates(shapely.centroid(pieces[held])).T - centres[:, held]
        slopes = density_slopes(centres[0], centres[1], self.crs, self.area)
        return np.asarray(sizes / wholes * (1 + (slopes * away).sum(axis=0)), dtype=np.float64)


def positions(pairs: NDArray[np.intp], region: Indices, footprint: Indices, count: int) -> Indices:
    """Where pairs of (region, footprint) stand in a longer list of pairs."""
    keys = region * count + footprint
    order = np.argsort(keys)
    found: Indices = order[np.searchsorted(keys, pairs[0] * count + pairs[1], sorter=order)]
    return found


def density_slopes(x: Floats, y: Floats, crs: CRS, area: AreaCrs) -> Floats:
    """By what part the true area of a square unit grows for each unit towards x and towards y."""
    step = 10 * PROBE_M / metres_per_unit(crs)
    here = area.densities(x, y, crs)
    across = area.densities(x + step, y, crs) - area.densities(x - step, y, crs)
    up = area.densities(x, y + step, crs) - area.densities(x, y - step, crs)
    return np.stack([across, up]) / (2 * step * here)


def counted_once(
    points: Polygons, regions: Polygons, footprint: Indices, inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether each pair's point lies in its region; a point on a border belongs to the first region in the list."""
    within = np.zeros(len(points), dtype=bool)
    within[inside] = True
    x, y = shapely.get_coordinates(points).T
    within[~inside] = shapely.contains_xy(regions[~inside], x[~inside], y[~inside])
    homeless = np.flatnonzero(~np.isin(footprint, footprint[within]))
    touching = homeless[shapely.intersects_xy(regions[homeless], x[homeless], y[homeless])]
    within[touching[np.unique(footprint[touching], return_index=True)[1]]] = True
    return within
