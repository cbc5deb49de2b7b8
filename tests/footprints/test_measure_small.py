"""Areas and perimeters by the ground under the middle, against the geodesic ones."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer

from geoseg.footprints.measure import SMALL_M, AreaCrs, Extent, measure_polygons

GEOD = Geod(ellps="WGS84")


def houses(crs: CRS, lon: float, lat: float, side_m: float) -> np.ndarray:
    """L-shaped houses with a courtyard around a place, in a CRS."""
    local = CRS.from_proj4(f"+proj=aeqd +lat_0={lat} +lon_0={lon}")
    shape = shapely.Polygon(
        np.array([(0, 0), (1, 0), (1, 0.4), (0.5, 0.4), (0.5, 1), (0, 1)]) * side_m,
        [np.array([(0.1, 0.1), (0.1, 0.3), (0.3, 0.3), (0.3, 0.1)]) * side_m],
    )
    placed = [shapely.affinity.translate(shape, dx, dy) for dx in (-3000, 0, 9000) for dy in (-4000, 0, 5000)]
    to_crs = Transformer.from_crs(local, crs, always_xy=True)
    return shapely.transform(np.array(placed), to_crs.transform, interleaved=False)


def geodesic(polygons: np.ndarray, crs: CRS) -> tuple[np.ndarray, np.ndarray]:
    to_lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
    fine = shapely.segmentize(polygons, shapely.length(polygons).max() / 400)
    lonlat = shapely.orient_polygons(shapely.transform(fine, to_lonlat.transform, interleaved=False))
    areas = [GEOD.geometry_area_perimeter(polygon)[0] for polygon in lonlat]
    return np.array(areas), np.array([GEOD.geometry_length(polygon.boundary) for polygon in lonlat])


PLACES = [
    ("EPSG:32632", 9.0, 48.0),
    ("EPSG:32633", 9.0, 48.0),
    ("EPSG:4326", 9.0, 48.0),
    ("EPSG:3857", 9.0, 60.0),
    ("EPSG:2263", -74.0, 40.7),
    ("EPSG:3031", 20.0, -80.0),
    ("EPSG:4326", 100.0, 0.0),
]


@pytest.mark.parametrize(("code", "lon", "lat"), PLACES)
@pytest.mark.parametrize("side_m", [12.0, 300.0])
def test_equal_to_the_geodesic_ones(code: str, lon: float, lat: float, side_m: float) -> None:
    crs = CRS.from_user_input(code)
    polygons = houses(crs, lon, lat, side_m)
    area = AreaCrs.choose(Extent(crs, tuple(shapely.total_bounds(polygons))))
    areas, perimeters = measure_polygons(area, polygons, crs)
    true_areas, true_perimeters = geodesic(polygons, crs)
    np.testing.assert_allclose(areas, true_areas, rtol=1e-5)
    np.testing.assert_allclose(perimeters, true_perimeters, rtol=5e-5)


@pytest.mark.parametrize("side_m", [12.0, 2 * SMALL_M])
def test_parts_that_meet_in_a_corner_are_measured_together(side_m: float) -> None:
    crs = CRS.from_epsg(32632)
    parts = shapely.box(
        500_000 + side_m * np.arange(2),
        5_000_000 + side_m * np.arange(2),
        *(low + side_m * np.arange(1, 3) for low in (500_000, 5_000_000)),
    )
    area = AreaCrs.choose(Extent(crs, tuple(shapely.total_bounds(parts))))
    whole = measure_polygons(area, np.array([shapely.MultiPolygon(parts.tolist())]), crs)
    for together, each in zip(whole, measure_polygons(area, parts, crs), strict=True):
        assert together[0] == pytest.approx(each.sum(), rel=1e-6)


def test_large_polygons_are_taken_vertex_by_vertex() -> None:
    crs = CRS.from_epsg(4326)
    polygons = houses(crs, 9.0, 60.0, 40 * SMALL_M)
    area = AreaCrs.choose(Extent(crs, tuple(shapely.total_bounds(polygons))))
    areas, perimeters = measure_polygons(area, polygons, crs)
    np.testing.assert_array_equal(areas, area.areas(polygons, crs))
    np.testing.assert_array_equal(perimeters, area.perimeters(polygons, crs))


def test_nothing_has_no_area() -> None:
    nothing = np.empty(0, dtype=object)
    crs = CRS.from_epsg(32632)
    area = AreaCrs.choose(Extent(crs, (5e5, 5e6, 5.1e5, 5.1e6)))
    assert [len(column) for column in measure_polygons(area, nothing, crs)] == [0, 0]


@pytest.mark.parametrize("plane", ["beside it", "of the whole Earth"])
@pytest.mark.parametrize("side_deg", [0.001, 0.1], ids=["small", "large"])
@pytest.mark.parametrize("how", ["jumps", "cut", "goes on"])
def test_what_the_antimeridian_crosses_is_as_large_as_elsewhere(
    how: str, side_deg: float, plane: str
) -> None:
    half = side_deg / 2
    box = {
        "jumps": shapely.Polygon([(180 - half, -16), (half - 180, -16), (half - 180, -15.999), (180 - half, -15.999)]),
        "cut": shapely.MultiPolygon(
            [shapely.box(180 - half, -16, 180, -15.999), shapely.box(-180, -16, half - 180, -15.999)]
        ),
        "goes on": shapely.box(180 - half, -16, 180 + half, -15.999),
    }[how]  # fmt: skip
    lonlat = CRS.from_epsg(4326)
    bounds = (179, -17, 181, -15) if plane == "beside it" else (-180, -17, 180, 60)
    area = AreaCrs.choose(Extent(lonlat, bounds))
    elsewhere = np.array([shapely.box(10, -16, 10 + side_deg, -15.999)])
    true_m2, true_m = geodesic(elsewhere, lonlat)
    found_m2, found_m = measure_polygons(area, np.array([box], dtype=object), lonlat)
    assert found_m2 == pytest.approx(true_m2, rel=1e-6)
    if how != "cut":  # there the parts have walls on the seam
        assert found_m == pytest.approx(true_m, rel=1e-6)
