"""Statistics of each region: buildings counted once, areas split exactly at borders, medians exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs, Extent, FloatArray, Georeferenced
from geoseg.footprints.write.spool import REGION_COLUMNS
from geoseg.io.layers import read_days
from geoseg.raster.coding import NODATA, find_unknown
from geoseg.raster.dates import join_dates
from geoseg.raster.grid import Grid, Window
from geoseg.regions.adjustment import AreaAdjuster, add_background
from geoseg.regions.pixels import Indices, RegionOverlay, RegionPixels
from geoseg.regions.polygons import Regions

DATE = "image_date"


@dataclass(frozen=True)
class FootprintParts:
    """Parts of footprints in regions: one element for each footprint and region that meet."""

    region: NDArray[np.intp]
    kind: NDArray[np.intp]
    area_m2: FloatArray
    whole_m2: FloatArray
    confidence: FloatArray
    counted: NDArray[np.bool_]

    @classmethod
    def merge(cls, several: Sequence[FootprintParts]) -> FootprintParts:
        """Several as one, in their order."""
        number, real = np.empty(0, np.intp), np.empty(0)
        filled = [cls(number, number, real, real, real, np.empty(0, bool)), *several]
        return cls(*(np.concatenate([getattr(each, field.name) for each in filled]) for field in fields(cls)))


@dataclass(frozen=True)
class RegionCounts:
    """What was counted of some footprints: their parts in regions, and the days of their images by row of the table."""

    parts: FootprintParts
    dates: Mapping[int, set[str]]


class RegionStatistics:
    """Gathers footprints and strips of rasters, in any cut, into one row per region and class.

        regions = read_regions("admin.gpkg:districts", grid, region_id="name")
        statistics = RegionStatistics(regions, area, {1: "building"}, grid)
        frame["region"] = statistics.add_footprints(frame)      # for every batch
        statistics.add_strip(window, mask, probability)         # for every strip, where rasters are at hand
        table = statistics.table()                              # for FootprintWriter.add_regions

    `classes` names the mask's values, the background left out; `place` is the raster's grid, or the extent of the
    footprints where there is no raster.
    """

    def __init__(
        self,
        regions: Regions,
        area: AreaCrs,
        classes: Mapping[int, str],
        place: Georeferenced,
        adjuster: AreaAdjuster | None = None,
    ) -> None:
        self.regions = regions
        self.area = area
        self.classes = dict(sorted(classes.items()))
        self.place = place
        self.adjuster: AreaAdjuster | None = None
        if adjuster is not None:
            self.adjust_by(adjuster)
        self._overlay = RegionOverlay(regions.near(place), regions.crs, area)
        self._parts_added: list[FootprintParts] = []
        self._pixels: RegionPixels | None = None
        self._dates: dict[int, set[str]] = {}

    @property
    def names(self) -> list[str]:
        """The classes in the order of the mask's values."""
        return list(self.classes.values())

    def adjust_by(self, adjuster: AreaAdjuster) -> None:
        """Correct areas by what is known of the map's errors."""
        if set(adjuster.classes[1:]) != set(self.names):
            known = ", ".join(adjuster.classes[1:])
            raise InputError(
                f"the map whose errors are known knows {known}; the footprints are {', '.join(self.names)}"
            )
        self.adjuster = adjuster

    def add_footprints(self, footprints: gpd.GeoDataFrame) -> NDArray[np.object_]:
        """Count footprints (columns `class`, `area_m2`, `confidence`, geometry) and name each one's region.

        A footprint is counted where its representative point lies; the name is None where that is in no region. Where
        regions overlap it counts in each, and the name is that of the first.
        """
        names = np.full(len(footprints), None, dtype=object)
        if not len(footprints):
            return names
        polygons = self.regions.reproject(np.asarray(footprints.geometry.array), footprints.crs, self.place)
        met = self._overlay.split_footprints(polygons)
        whole = footprints["area_m2"].to_numpy(np.float64)[met.footprint]
        kinds = pd.Index(self.names).get_indexer(footprints["class"])[met.footprint]
        if (kinds < 0).any():
            raise InputError(f"a footprint is of none of the classes {', '.join(self.names)}")
        confidence = read_confidence(footprints)[met.footprint]
        self._parts_added.append(
            FootprintParts(met.region, kinds, whole * met.share, whole, confidence, met.counted)
        )
        self._add_dates(
            footprints,
            met.footprint[met.counted],
            rows=met.region[met.counted] * len(self.names) + kinds[met.counted],
        )
        footprint, first = np.unique(met.footprint[met.counted], return_index=True)
        names[footprint] = np.asarray(self.regions.names, dtype=object)[met.region[met.counted][first]]
        return names

    def take_counts(self) -> RegionCounts:
        """What was added of footprints so far, for another process to add; here it is as if nothing had been."""
        counts = RegionCounts(FootprintParts.merge(self._parts_added), self._dates)
        self._parts_added, self._dates = [], {}
        return counts

    def add_counts(self, counts: RegionCounts) -> None:
        """Add what another process counted of some footprints in the same regions."""
        self._parts_added.append(counts.parts)
        for row, days in counts.dates.items():
            self._dates.setdefault(row, set()).update(days)

    def add_strip(
        self, window: Window, mask: NDArray[np.uint8] | None, probability: NDArray[np.generic] | None
    ) -> None:
        """Add what a window of the rasters saw: mask (row, col), probability (row, col) or (band, row, col).

        As `geoseg infer` writes them: 255 is nodata, a byte of probability is 250 times itself; a probability may also
        be a float from 0 to 1, with nan for nodata. With several classes there is one band each, and perhaps one for
        the background before them.
        """
        bands = None if probability is None else np.reshape(probability, (-1, window.height, window.width))
        if self._pixels is None:
            if not isinstance(self.place, Grid):
                raise InputError("strips of a raster need the raster's grid as the place of the statistics")
            self._pixels = RegionPixels(self.regions, self.place, self.area, len(self.names))
        self._pixels.add(window, find_seen_pixels(mask, bands), self._class_bands(bands))

    def _add_dates(self, footprints: gpd.GeoDataFrame, counted: Indices, rows: Indices) -> None:
        """Note on which days the images of counted footprints were taken."""
        if DATE not in footprints:
            return
        days = np.array(read_days(footprints[DATE]), dtype=object)
        for row, found in pd.Series(days[counted]).groupby(rows).unique().items():
            self._dates.setdefault(int(row), set()).update(filter(None, found))

    def _list_dates(self, rows: int) -> NDArray[np.object_]:
        dates = [self._dates.get(row) for row in range(rows)]
        return np.array([join_dates(days) if days else None for days in dates], dtype=object)

    def _class_bands(self, bands: NDArray[np.generic] | None) -> NDArray[np.generic] | None:
        """One band for each class, from a probability with or without a band for the background."""
        if bands is None or len(bands) == len(self.names):
            return bands
        if len(bands) > max(self.classes):
            return bands[list(self.classes)]
        raise InputError(
            f"a probability of {len(bands)} bands does not fit the classes {', '.join(self.names)}"
        )

    def table(self) -> gpd.GeoDataFrame:
        """One row per region and class, in the order of the regions."""
        count, kinds = len(self.regions), len(self.names)
        columns = {
            "region": np.repeat(np.asarray(self.regions.names, dtype=object), kinds),
            "class": np.tile(np.asarray(self.names, dtype=object), count),
            **self._build_count_columns(count * kinds),
            **self._build_area_columns(count, kinds),
            DATE: self._list_dates(count * kinds),
        }
        ordered = {column.name: columns[column.name] for column in REGION_COLUMNS}
        shapes = np.repeat(self.regions.shapes, kinds)
        table = gpd.GeoDataFrame(ordered, geometry=shapes, crs=self.regions.crs)
        table.attrs["description"] = f"Areas in square metres, measured in {self.area.name}."
        return table

    def _build_count_columns(self, rows: int) -> dict[str, NDArray[np.generic]]:
        """The columns about footprints counted once."""
        parts = FootprintParts.merge(self._parts_added)
        row, whole, sure = (
            each[parts.counted] for each in (self._row(parts), parts.whole_m2, parts.confidence)
        )
        sizes = pd.Series(whole).groupby(row)
        every = pd.RangeIndex(rows)
        return {
            "buildings": np.bincount(row, minlength=rows),
            "mean_area_m2": sizes.mean().reindex(every).to_numpy(),
            "median_area_m2": sizes.median().reindex(every).to_numpy(),
            "p90_area_m2": sizes.quantile(0.9).reindex(every).to_numpy(),
            "mean_confidence": pd.Series(sure).groupby(row).mean().reindex(every).to_numpy(),
        }

    def _row(self, tally: FootprintParts) -> NDArray[np.intp]:
        return tally.region * len(self.names) + tally.kind

    def _build_area_columns(self, count: int, kinds: int) -> dict[str, FloatArray]:
        """The columns about area, from footprints and pixels."""
        built = self.built_areas
        region = self.regions.areas(self.area)
        unknown = np.full(count, np.nan)
        seen = self._pixels.seen_m2 if self._pixels else unknown
        expected = self._pixels.expected_m2 if self._pixels else None
        base = self.base_areas
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(base[:, None] > 0, built / base[:, None], np.nan)
        adjusted = self._build_adjusted_columns(built, base)
        return {
            "built_area_m2": built.ravel(),
            "region_area_m2": np.repeat(region, kinds),
            "seen_area_m2": np.repeat(seen, kinds),
            "share": share.ravel(),
            "expected_area_m2": np.repeat(unknown, kinds) if expected is None else expected.T.ravel(),
            **dict(zip(("adjusted_area_m2", "adjusted_low_m2", "adjusted_high_m2"), adjusted, strict=True)),
        }

    def _build_adjusted_columns(self, built: FloatArray, base: FloatArray) -> tuple[FloatArray, ...]:
        """The error-adjusted columns; empty where the errors are not known."""
        if self.adjuster is None:
            return tuple(np.full(built.size, np.nan) for _ in range(3))
        order = [self.names.index(name) for name in self.adjuster.classes[1:]]
        estimates = self.adjuster.adjust_areas(add_background(built[:, order], base))
        back = np.argsort(order) + 1
        return tuple(estimate[:, back].ravel() for estimate in estimates)

    @property
    def base_areas(self) -> FloatArray:
        """The ground of each region that was looked at: what was seen of it, or all where no raster tells."""
        return self._pixels.seen_m2 if self._pixels else self.regions.areas(self.area)

    @property
    def built_areas(self) -> FloatArray:
        """What the footprints of each class cover of each region: (region, class)."""
        sums = np.zeros(len(self.regions) * len(self.names))
        for tally in self._parts_added:
            np.add.at(sums, self._row(tally), tally.area_m2)
        return sums.reshape(len(self.regions), len(self.names))


def read_confidence(footprints: gpd.GeoDataFrame) -> FloatArray:
    """Each footprint's confidence; unknown where the layer has none."""
    if "confidence" not in footprints:
        return np.full(len(footprints), np.nan)
    return np.asarray(footprints["confidence"], dtype=np.float64)


def find_seen_pixels(mask: NDArray[np.uint8] | None, bands: NDArray[np.generic] | None) -> NDArray[np.bool_]:
    """Which pixels have data."""
    if mask is not None:
        return np.asarray(mask != NODATA)
    if bands is None:
        raise InputError("a strip of statistics needs a mask or a probability")
    return ~find_unknown(bands[0])


def compute_extent(frame: gpd.GeoDataFrame) -> Extent:
    """Where a layer of footprints lies."""
    left, bottom, right, top = map(float, frame.total_bounds)
    return Extent(frame.crs, (left, bottom, right, top))
