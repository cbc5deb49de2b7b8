"""What a sample says of a map: its points and squares laid over the footprints and regions that are counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.antimeridian import find_full_turn, lay_near, move_near
from geoseg.footprints.measure import FloatArray
from geoseg.footprints.write.samples import POINTS, SQUARES
from geoseg.io.layers import explain_read_errors
from geoseg.raster.grid import WGS84, Grid, Window, find_transformer
from geoseg.regions.adjustment import (
    BACKGROUND,
    SampleAdjustment,
    add_background,
)
from geoseg.regions.estimates import AnsweredPoints, Interval
from geoseg.regions.mapped import MapDigest
from geoseg.regions.pixels import locate_points
from geoseg.regions.points import AnsweredSample, read_points
from geoseg.regions.polygons import Regions
from geoseg.regions.squares import has_done_squares, read_squares
from geoseg.regions.statistics import RegionStatistics

log = logging.getLogger(__name__)

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class SampleLayers:
    """Which parts of a sample a file holds."""

    path: Path
    has_points: bool
    has_squares: bool

    @classmethod
    def find(cls, path: Path) -> SampleLayers:
        """Look into a file; one that is no GeoPackage holds points."""
        if not path.exists():
            raise InputError(f"{path}: there is no such file of samples")
        if path.suffix.lower() != ".gpkg":
            return cls(path, True, False)
        with explain_read_errors(str(path)):
            names = {str(name) for name, _ in pyogrio.list_layers(path)}
        if not names & {POINTS, SQUARES}:
            raise InputError(f"{path}: holds neither {POINTS} nor {SQUARES}; make some with geoseg sample")
        return cls(path, POINTS in names, SQUARES in names)


class PointLocator:
    """Finds out what the map says at each sample point, and in which region it lies, as footprints and strips pass by."""

    def __init__(self, sample: AnsweredSample, classes: list[str], crs: CRS, grid: Grid) -> None:
        self.sample = sample
        self.classes = classes
        self.mapped = np.zeros(len(sample), dtype=np.intp)
        self.seen = np.zeros(len(sample), dtype=bool)
        self._grid, self._crs = grid, crs
        self._points = shapely.points(*self._find_places(crs))
        col, row = ~grid.transform @ self._find_places(grid.crs)
        inside = (row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width)
        self._row, self._col = (np.where(inside, each, -1).astype(np.intp) for each in (row, col))

    def add_footprints(self, frame: gpd.GeoDataFrame) -> None:
        """Take some footprints: a point is of the class of the one that holds it."""
        shapes = lay_near(
            np.asarray(frame.geometry.array), self._find_middle(self._crs), find_full_turn(self._crs)
        )
        point, footprint = shapely.STRtree(shapes).query(self._points, predicate="intersects")
        numbers = pd.Index(self.classes).get_indexer(frame["class"].to_numpy()[footprint])
        self.mapped[point] = numbers + 1

    def add_strip(self, window: Window, seen: NDArray[np.bool_]) -> None:
        """Take some rows of the raster: a point counts where ground was seen."""
        here = (self._row >= window.row) & (self._row < window.stop_row)
        self.seen[here] = seen[self._row[here] - window.row, self._col[here]]

    def find_regions(self, regions: Regions) -> tuple[Ints, Ints]:
        """Pairs of a point and a region that it lies in; those outside of all are in one after the last."""
        places = shapely.points(*self._find_places(regions.crs))
        shapes = lay_near(regions.shapes, self._find_middle(regions.crs), regions.turn)
        point, region = locate_points(places, shapes)
        outside = np.setdiff1d(np.arange(len(places)), point)
        return np.append(point, outside), np.append(region, np.full(len(outside), len(regions)))

    def count(self, regions: Regions) -> SampleAdjustment:
        """The points on seen ground, by what the map says there and what is true."""
        kinds, sample = len(self.classes) + 1, self.sample
        everywhere = np.zeros((len(sample.strata), kinds, kinds), dtype=np.int64)
        in_regions = np.zeros((len(sample.strata), len(regions) + 1, kinds, kinds), dtype=np.int64)
        point, region = self.find_regions(regions)
        point, region, seen = point[self.seen[point]], region[self.seen[point]], self.seen
        np.add.at(everywhere, (sample.stratum[seen], self.mapped[seen], sample.truth[seen]), 1)
        np.add.at(in_regions, (sample.stratum[point], region, self.mapped[point], sample.truth[point]), 1)
        points = AnsweredPoints(everywhere, sample.strata_m2, sample.answered)
        return SampleAdjustment((BACKGROUND, *self.classes), points, in_regions)

    def _find_places(self, crs: CRS) -> FloatArray:
        """Where the points lie in a CRS, on the raster's side of the antimeridian: x, then y."""
        x, y = find_transformer(WGS84, crs).transform(self.sample.longitude, self.sample.latitude)
        return np.array([move_near(x, self._find_middle(crs), find_full_turn(crs)), y])

    def _find_middle(self, crs: CRS) -> float:
        """The x of the raster's middle in a CRS."""
        return float(find_transformer(self._grid.crs, crs).transform(*self._grid.centre)[0])


class MapSample:
    """A sample while its map is counted; gives the corrected figures when all was seen."""

    def __init__(self, path: Path, classes: list[str], crs: CRS, grid: Grid) -> None:
        layers = SampleLayers.find(path)
        self.path, self.classes, self.crs = path, classes, crs
        self.points: PointLocator | None = None
        self.made_from = ""
        if layers.has_points:
            points = read_points(path)
            self.made_from = points.map
            self.points = PointLocator(points.select_answered(classes), classes, crs, grid)
        self._has_squares = layers.has_squares
        self._middles: list[NDArray[np.object_]] = []
        self._digest = MapDigest()
        self._mapped_m2 = np.zeros(len(classes))
        self._footprints = 0

    def add_footprints(self, frame: gpd.GeoDataFrame) -> None:
        """Take some footprints, with their areas."""
        self._digest.add(frame)
        self._footprints += len(frame)
        sizes = frame.groupby("class")["area_m2"].sum().reindex(self.classes, fill_value=0.0)
        self._mapped_m2 += sizes.to_numpy()
        if self.points:
            self.points.add_footprints(frame)
        if self._has_squares:
            self._middles.append(np.asarray(frame.geometry.representative_point().array))

    def add_strip(self, window: Window, seen: NDArray[np.bool_]) -> None:
        """Take some rows of the raster."""
        if self.points:
            self.points.add_strip(window, seen)

    @property
    def is_same_map(self) -> bool:
        """Whether the points were drawn from these very footprints."""
        return str(self._digest) == self.made_from

    def adjust(self, statistics: RegionStatistics) -> SampleAdjustment | None:
        """Let statistics correct their areas by the points."""
        if self.points is None:
            return None
        if not self.points.seen.any():
            raise InputError(
                f"{self.path}: no point lies on ground that this map has seen; is it of this place?"
            )
        outside = int((~self.points.seen).sum())
        if outside:
            log.warning(
                f"{self.path}: {outside} points lie where this map has seen no ground, and are left out"
            )
        if not self.is_same_map:
            log.info(
                f"{self.path}: the points were drawn from another map: they are weighted by its strata and counted by what "
                "this one says"
            )
        found = self.points.count(statistics.regions)
        refuse_unknown_classes(self.path, found, self.mapped_areas)
        statistics.adjust_by(found)
        return found

    @property
    def mapped_areas(self) -> FloatArray:
        """What the map says of the ground that the points stand for: the area of the background, then of each class.

        Of the map that they were drawn from these are the strata, which leave out footprints on ground not seen.
        """
        assert self.points
        strata = self.points.sample.strata
        if self.is_same_map:
            by_class = strata.groupby("mapped")["stratum_m2"].sum()
            return np.asarray(by_class.reindex([BACKGROUND, *self.classes], fill_value=0.0), np.float64)
        whole = np.array([strata["stratum_m2"].sum()])
        areas: FloatArray = add_background(self._mapped_m2[None], whole)[0]
        return areas

    def describe_accuracy(self, found: SampleAdjustment) -> pd.DataFrame:
        """A row for each class: its area on all the ground, and how well the map shows it."""
        mapped = self.mapped_areas
        columns: dict[str, Any] = {
            "class": found.classes,
            "points": found.class_counts,
            "mapped_area_m2": mapped,
            **name_ends("adjusted", found.estimate_whole(mapped), "_m2", "_area"),
            **name_ends("users_accuracy", found.users_accuracy),
            **name_ends("producers_accuracy", found.estimate_producers_accuracy(mapped)),
        }
        return pd.DataFrame(columns)

    def estimate_buildings(self) -> Interval | None:
        """How many buildings there are on all the ground, by the squares."""
        if not self._has_squares or (self.points and not has_done_squares(self.path)):
            return None
        squares = read_squares(self.path, self._middles, self.crs)
        return squares.estimate_count(self._footprints)

    @property
    def footprints(self) -> int:
        return self._footprints


def refuse_unknown_classes(path: Path, found: SampleAdjustment, mapped_m2: FloatArray) -> None:
    """Refuse a sample that says nothing about a class of the map."""
    for name, points, area in zip(found.classes, found.class_counts, mapped_m2, strict=True):
        if area > 0 and not points:
            raise InputError(
                f"{path}: no answered point lies where the map says {name}; answer some there, or draw new points"
            )


def name_ends(stem: str, estimate: Interval, unit: str = "", what: str = "") -> dict[str, FloatArray]:
    """An estimate and its interval as three columns: adjusted_area_m2, adjusted_low_m2, adjusted_high_m2."""
    return {
        f"{stem}{what}{unit}": estimate.value,
        f"{stem}_low{unit}": estimate.low,
        f"{stem}_high{unit}": estimate.high,
    }


def describe_sources(found: SampleAdjustment, statistics: RegionStatistics) -> dict[str, NDArray[Any]]:
    """For each row of the table: how many points of its own the region has, and which ones its figures come from."""
    order = [statistics.names.index(name) for name in found.classes[1:]]
    mapped = add_background(statistics.built_areas[:, order], statistics.base_areas)
    kinds = len(statistics.names)
    counts = found.own_counts[: len(mapped)].sum(axis=1)
    return {
        "sample_points": np.repeat(counts, kinds),
        "adjusted_by": np.repeat(found.describe_sources(mapped), kinds),
    }
