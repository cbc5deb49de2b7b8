"""Regions to count in: a user's polygons in any file and CRS, or the squares of a grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.areas.measure import (
    AreaCrs,
    Floats,
    Located,
    Polygons,
    centre_and_reach,
    equal_area_crs,
    metres_per_unit,
    sample_points,
    transformed,
)
from geoseg.footprints.areas.turns import brought_near, full_turn, laid_out, shifted
from geoseg.footprints.valid import mended, polygonal
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import WGS84, between

NAME_COLUMNS = ("region", "name", "id")
MOST_SQUARES = 1_000_000
FAITHFUL = 0.01


@dataclass(frozen=True)
class Regions:
    """Named polygons or multipolygons, valid, in one CRS. Regions may overlap: each counts for itself."""

    names: tuple[str, ...]
    shapes: Polygons
    crs: CRS

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes) or len(set(self.names)) != len(self.names):
            raise InputError(f"{len(self.shapes)} regions need as many names, all different")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def turn(self) -> float:
        """How far x goes once round Earth in the regions' CRS."""
        return full_turn(self.crs)

    def areas(self, area: AreaCrs) -> Floats:
        """True area of each region in square metres."""
        parts, owners = shapely.get_parts(self.shapes, return_index=True)
        sizes = area.areas(laid_out(parts, self.turn), self.crs)
        return np.bincount(owners, weights=sizes, minlength=len(self)).astype(np.float64)

    def near(self, place: Located) -> Polygons:
        """What of each region lies near a place, laid out in one piece around it; empty for regions far away.

        Regions come again at each turn round Earth, so one that is cut at the antimeridian is whole here.
        """
        parts, owners = shapely.get_parts(self.shapes, return_index=True)
        parts = laid_out(parts, self.turn)
        if np.isfinite(self.turn):
            steps = np.repeat([-self.turn, 0.0, self.turn], len(parts))
            parts, owners = shifted(np.tile(parts, 3), steps), np.tile(owners, 3)
        box = self.box_around(place)
        hit = shapely.intersects(parts, box)
        return merged(shapely.intersection(parts[hit], box), owners[hit], len(self))

    def middle(self, place: Located) -> float:
        """The x of a place's middle."""
        lon, lat, _ = centre_and_reach(place)
        return float(between(WGS84, self.crs).transform(lon, lat)[0])

    def box_around(self, place: Located) -> shapely.Polygon:
        """A box in the regions' CRS that holds a place, with some room."""
        x, y = between(place.crs, self.crs).transform(*sample_points(place, count=33))
        x, y = (values[np.isfinite(x) & np.isfinite(y)] for values in (x, y))
        if not x.size:
            raise InputError("the regions' CRS does not reach the footprints; reproject the regions")
        if np.isfinite(self.turn):
            x = x + self.turn * np.round((self.middle(place) - x) / self.turn)
        margin = 0.1 * max(np.ptp(x), np.ptp(y)) + 100 / metres_per_unit(self.crs)
        return shapely.box(x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin)

    def brought(self, polygons: Polygons, crs: CRS, place: Located) -> Polygons:
        """Polygons of another CRS in that of the regions, laid out around a place as `near` does."""
        moved = transformed(polygons, crs, self.crs)
        if not np.isfinite(shapely.total_bounds(moved)).all() and len(moved):
            raise InputError("the regions' CRS does not reach all footprints; reproject the regions")
        return mended(brought_near(laid_out(moved, self.turn), self.middle(place), self.turn))


def merged(pieces: Polygons, owners: np.ndarray, count: int) -> Polygons:
    """One shape for each of `count` owners, of all its pieces; an empty one for those without."""
    shapes = np.full(count, shapely.MultiPolygon(), dtype=object)
    order = np.argsort(owners, kind="stable")
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    for owner, group in zip(owners[order][starts], np.split(pieces[order], starts)[1:], strict=True):
        shapes[owner] = group[0] if len(group) == 1 else shapely.union_all(group)
    return polygonal(shapes)


def read_regions(
    source: str, place: Located, region_id: str | None = None, narrator: Narrator = QUIET
) -> Regions:
    """Regions from a vector file (`file` or `file:layer`), or the squares of `grid:1km` over a place."""
    if source.startswith("grid:"):
        return squares(square_size(source), place)
    path, layer = path_and_layer(source)
    frame = read_frame(path, layer)
    if frame.crs is None:
        raise InputError(f"{path}: the regions have no CRS; assign theirs, for example with ogr2ogr -a_srs")
    shapes = valid_polygons(np.asarray(frame.geometry.array), path, narrator)
    there = ~shapely.is_empty(shapes)
    if not there.any():
        raise InputError(f"{path} holds no polygon; give a layer of regions")
    if not there.all():
        narrator.warn(f"{path}: {int((~there).sum())} of {len(there)} regions are empty and left out")
    names = region_names(frame, region_id, path)[there]
    return united(names, shapes[there], CRS(frame.crs), narrator)


def path_and_layer(source: str) -> tuple[Path, str | None]:
    """The two halves of `file:layer`; the layer is none if the whole is a file."""
    whole = Path(source)
    if whole.exists() or ":" not in source:
        return whole, None
    file, layer = source.rsplit(":", 1)
    return Path(file), layer


def read_frame(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    """A layer of a vector file."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            return gpd.read_parquet(path)
        return pyogrio.read_dataframe(path, layer=layer or only_layer(path), force_2d=True)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise InputError(f"{path} cannot be read as regions: {error}") from None


def only_layer(path: Path) -> str:
    """The one layer with geometry in a file, if there is just one."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) != 1:
        found = f"holds the layers {', '.join(layers)}" if layers else "holds no layer with geometry"
        raise InputError(f"{path} {found}; say which one as {path.name}:LAYER")
    return layers[0]


def valid_polygons(shapes: Polygons, path: Path, narrator: Narrator) -> Polygons:
    """Shapes made valid, only their polygons kept."""
    kinds = set(shapely.get_type_id(shapes)) - {-1}
    if kinds & {0, 1, 2, 4, 5}:
        raise InputError(f"{path} holds points or lines; polygons are needed")
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if broken.any():
        narrator.warn(
            f"{path}: {int(broken.sum())} of {len(shapes)} polygons had invalid geometry and were repaired"
        )
    return polygonal(mended(shapely.force_2d(shapes)))


def region_names(frame: gpd.GeoDataFrame, region_id: str | None, path: Path) -> np.ndarray:
    """What each region is called: its value in a column, else its place in the file."""
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if region_id is not None and region_id not in columns:
        raise InputError(f"{path} has no column {region_id}; it has {', '.join(columns) or 'none'}")
    column = region_id or next((c for n in NAME_COLUMNS for c in columns if naming(frame, c, n)), None)
    if column is None:
        return np.array([str(number) for number in range(1, len(frame) + 1)], dtype=object)
    return np.asarray(frame[column].astype("string").fillna("unnamed"), dtype=object)


def naming(frame: gpd.GeoDataFrame, column: str, wanted: str) -> bool:
    """Whether a column is called so and tells all regions apart."""
    return column.lower() == wanted and bool(frame[column].is_unique and frame[column].notna().all())


def united(names: Sequence[str], shapes: Polygons, crs: CRS, narrator: Narrator) -> Regions:
    """Regions of which each name stands once: rows of the same name make one region."""
    different, owners = list(dict.fromkeys(names)), np.unique(names, return_inverse=True)[1]
    if len(different) == len(names):
        return Regions(tuple(names), shapes, crs)
    narrator.say(f"{len(names)} rows of {len(different)} names: rows of the same name make one region")
    place = {name: index for index, name in enumerate(different)}
    owners = np.array([place[name] for name in names])
    return Regions(tuple(different), merged(shapes, owners, len(different)), crs)


def square_size(source: str) -> float:
    """The side in metres of `grid:500m` or `grid:1km`."""
    match = re.fullmatch(r"grid:(\d+(?:\.\d+)?)(m|km)", source.strip())
    side = float(match[1]) * (1000 if match[2] == "km" else 1) if match else 0.0
    if not side:
        raise InputError(f"--regions {source}: write a grid as grid:500m or grid:1km")
    return side


def squares(side_m: float, place: Located) -> Regions:
    """Squares that cover a place, named after their lower left corners.

    They stand on round coordinates of the place's CRS where that is nearly true to area, else of an equal-area CRS.
    """
    crs = place.crs if is_faithful(place) else equal_area_crs(place)
    side = side_m / metres_per_unit(crs)
    x, y = between(place.crs, crs).transform(*sample_points(place, count=33))
    tolerance = 1e-9 * side
    low, high = (
        np.floor([x.min() / side + tolerance, y.min() / side + tolerance]),
        np.ceil([x.max() / side - tolerance, y.max() / side - tolerance]),
    )
    if np.prod(high - low) > MOST_SQUARES:
        raise InputError(f"grid:{side_m:g}m makes {np.prod(high - low):,.0f} squares; choose a larger side")
    rows, cols = np.mgrid[high[1] - 1 : low[1] - 1 : -1, low[0] : high[0]]
    left, bottom = cols.ravel() * side, rows.ravel() * side
    names = tuple(f"E{east:.0f}_N{north:.0f}" for east, north in zip(left, bottom, strict=True))
    return Regions(names, shapely.box(left, bottom, left + side, bottom + side), crs)


def is_faithful(place: Located) -> bool:
    """Whether a place's own CRS shows areas there nearly as they are."""
    return bool(place.crs.is_projected) and abs(AreaCrs(place.crs).distortion(place)) < FAITHFUL
