"""The area to export: read from anything that holds polygons, checked, and laid into a CRS."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, floor, hypot
from pathlib import Path
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import WGS84, crs_name, utm_crs

Shape: TypeAlias = shapely.Geometry
EDGES_ALONG_AREA = 200
HALF_ZONE_DEGREES = 3
ZONE_LATITUDES = (-80.0, 0.0, 56.0, 64.0, 72.0, 84.0)


@dataclass(frozen=True)
class Area:
    """Polygons on Earth. In longitude and latitude, longitudes run on past 180 rather than jump back."""

    shape: Shape
    crs: CRS
    name: str = "area"

    @cached_property
    def lonlat(self) -> Shape:
        """The polygons in longitude and latitude."""
        return self.within(WGS84)

    def within(self, crs: CRS) -> Shape:
        """The polygons in a CRS, their edges cut short first so that bent ones stay covered."""
        if crs == self.crs:
            return self.shape
        left, bottom, right, top = self.shape.bounds
        short_edges = shapely.segmentize(self.shape, hypot(right - left, top - bottom) / EDGES_ALONG_AREA)
        transformer = Transformer.from_crs(self.crs, crs, always_xy=True)

        def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

        projected = shapely.transform(short_edges, project)
        if not np.isfinite(shapely.get_coordinates(projected)).all():
            raise InputError(
                f"{self.name} reaches beyond where {crs_name(crs)} is defined; give another --crs"
            )
        return shapely.make_valid(unwrapped(projected) if crs.is_geographic else projected)

    @cached_property
    def zones(self) -> dict[str, Area]:
        """The part of the area in each UTM zone, the largest first."""
        left, bottom, right, top = self.lonlat.bounds
        if bottom < ZONE_LATITUDES[0] or top > ZONE_LATITUDES[-1]:
            raise InputError(f"{self.name} reaches beyond the UTM zones (80°S to 84°N); give a --crs")
        parts = defaultdict(list)
        for cell in zone_cells(left, right):
            part = shapely.intersection(self.lonlat, cell)
            if part.area > 0:
                parts[crs_name(utm_crs(*middle(cell)))].append(part)
        areas = {zone: Area(shapely.union_all(part), WGS84, zone) for zone, part in parts.items()}
        return dict(sorted(areas.items(), key=lambda item: -item[1].shape.area))

    def projected_as(self, crs: CRS) -> Area:
        """The same area, kept in another CRS."""
        return Area(self.within(crs), crs, self.name)


def zone_cells(left: float, right: float) -> list[Shape]:
    """Boxes that each lie in one UTM zone: all zones, the exceptions too, break at multiples of 3 degrees."""
    first, last = floor(left / HALF_ZONE_DEGREES), ceil(right / HALF_ZONE_DEGREES)
    return [
        shapely.box(column * HALF_ZONE_DEGREES, south, (column + 1) * HALF_ZONE_DEGREES, north)
        for column in range(first, last)
        for south, north in pairwise(ZONE_LATITUDES)
    ]


def middle(cell: Shape) -> tuple[float, float]:
    """Longitude, within 180 degrees, and latitude of the middle of a box."""
    point = shapely.centroid(cell)
    return (point.x + 180) % 360 - 180, point.y


def unwrapped(shape: Shape) -> Shape:
    """A shape cut or wrapped at the antimeridian, made whole by letting longitudes run on past 180."""
    left, _, right, _ = shape.bounds
    if right - left <= 180:
        return shape

    def shift(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([np.where(points[:, 0] < 0, points[:, 0] + 360, points[:, 0]), points[:, 1]])

    shifted = shapely.make_valid(shapely.transform(shape, shift))
    return shapely.union_all(shapely.get_parts(shifted)) if shifted.area > 0 else shape


def read_area(path: Path, narrator: Narrator = QUIET) -> Area:
    """The polygons of a vector file: GeoJSON, GeoPackage, Shapefile, anything GDAL reads."""
    shapes, crs = read_shapes(path)
    polygons = shapes[shapely.get_dimensions(shapes) == 2]
    if not len(polygons):
        raise InputError(
            f"{path} holds no polygon; an area of interest needs one (or use --point with --size)"
        )
    broken = int((~shapely.is_valid(polygons)).sum())
    if broken:
        narrator.warn(f"{path}: {broken} polygons cross themselves and were repaired; check them in QGIS")
        polygons = shapely.make_valid(polygons)
    return checked(Area(unwrapped_if(crs, shapely.union_all(polygons)), crs, path.stem))


def unwrapped_if(crs: CRS, shape: Shape) -> Shape:
    """Longitudes made whole, other coordinates as they are."""
    return unwrapped(shape) if crs.is_geographic else shape


def read_shapes(path: Path) -> tuple[NDArray[np.object_], CRS]:
    """Every geometry in a vector file, and their CRS."""
    import geopandas
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.exists():
        raise InputError(f"{path} does not exist; give a vector file with the area to export")
    try:
        frame = geopandas.read_file(path)
    except (DataSourceError, DataLayerError) as error:
        raise InputError(f"{path} cannot be read as a vector file: {error}") from None
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise InputError(f"{path} holds a table without geometries; give a file with polygons")
    if frame.crs is None:
        raise InputError(f"{path} does not say its CRS; set it with ogr2ogr -a_srs EPSG:4326 OUT {path}")
    shapes = frame.geometry.to_numpy()
    return shapes[~shapely.is_missing(shapes)], CRS(frame.crs)


def boxed(west: float, south: float, east: float, north: float) -> Area:
    """A box in longitude and latitude; one that runs east across the antimeridian has west > east."""
    if south >= north:
        raise InputError(f"--bbox has south {south:g} not below north {north:g}; the order is W,S,E,N")
    return checked(Area(shapely.box(west, south, east + 360 if east < west else east, north), WGS84, "bbox"))


def around(lon: float, lat: float, size_m: float) -> Area:
    """A square of `size_m` around a point, in the UTM zone of the place."""
    if size_m <= 0:
        raise InputError(f"--size {size_m:g} must be more than 0 metres")
    checked(
        Area(shapely.box(lon - 1e-9, lat - 1e-9, lon + 1e-9, lat + 1e-9), WGS84, f"--point {lon:g},{lat:g}")
    )
    crs = utm_crs((lon + 180) % 360 - 180, lat)
    x, y = map(round, Transformer.from_crs(WGS84, crs, always_xy=True).transform(lon, lat))
    half = size_m / 2
    return Area(shapely.box(x - half, y - half, x + half, y + half), crs, "point")


def checked(area: Area) -> Area:
    """The area, if it is somewhere on Earth and holds ground."""
    if area.shape.area <= 0:
        raise InputError(f"{area.name} holds no ground: its area is zero")
    left, bottom, right, top = area.shape.bounds
    if area.crs.is_geographic and (bottom < -90 or top > 90 or left < -360 or right > 540):
        raise InputError(
            f"{area.name} runs from {left:g},{bottom:g} to {right:g},{top:g}, which is not longitude,latitude "
            "in degrees; are the axes swapped, or is it in metres?"
        )
    return area
