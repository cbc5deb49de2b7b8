from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from heard import Heard
from hypothesis import given
from hypothesis import strategies as st
from layers import GRID, LONLAT, MERCATOR, UTM33, Place, moved
from pyproj import CRS, Geod

from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs, Extent, find_centre_and_reach
from geoseg.raster.grid import Grid

EARTH = Geod(ellps="WGS84")
PLACES = {
    "degrees": ("EPSG:4326", 9.0, 48.9),
    "web mercator": ("EPSG:3857", 9.0, 48.9),
    "own zone": ("EPSG:32632", 9.0, 48.9),
    "edge of zone": ("EPSG:32632", 11.9, 48.9),
    "neighbouring zone": ("EPSG:32633", 9.0, 48.9),
    "US feet": ("EPSG:2263", -74.0, 40.7),
    "equator": ("EPSG:32636", 33.0, 0.0),
    "south": ("EPSG:32756", 151.2, -33.9),
    "Arctic": ("EPSG:3413", 30.0, 89.9),
    "Antarctic": ("EPSG:3031", 30.0, -85.0),
    "antimeridian, metres": ("EPSG:32760", 179.9995, -17.0),
    "antimeridian, degrees": ("EPSG:4326", 179.9995, -17.0),
    "Web Mercator far north": ("EPSG:3857", 20.0, 78.0),
}


def courtyard(lon: float, lat: float, size_m: float = 60.0) -> shapely.Polygon:
    """A turned house with a courtyard, its vertices in degrees."""
    turned = shapely.affinity.rotate(shapely.box(-1, -0.6, 1, 0.6), 30)
    shape = shapely.difference(turned, shapely.affinity.scale(turned, 0.4, 0.4))

    def to_lonlat(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spots = np.zeros_like(x) + lon, np.zeros_like(x) + lat
        there = EARTH.fwd(*spots, np.degrees(np.arctan2(x, y)), np.hypot(x, y) * size_m)
        return np.where(there[0] < lon - 180, there[0] + 360, there[0]), there[1]

    return shapely.transform(shape, to_lonlat, interleaved=False)


@pytest.mark.parametrize(("code", "lon", "lat"), PLACES.values(), ids=PLACES)
def test_areas_and_perimeters_are_those_on_the_ellipsoid(code: str, lon: float, lat: float) -> None:
    crs = CRS(code)
    house = courtyard(lon, lat)
    true_area, true_length = (
        abs(EARTH.geometry_area_perimeter(house)[0]),
        EARTH.geometry_length(house.boundary),
    )
    there = moved([house], LONLAT, crs) if code != "EPSG:4326" else np.array([house])
    area = AreaCrs.choose(Place(crs, there[0].bounds))
    assert area.areas(there, crs)[0] == pytest.approx(true_area, rel=1e-6)
    assert area.perimeters(there, crs)[0] == pytest.approx(true_length, rel=1e-6)


@given(lon=st.floats(-179, 179), lat=st.floats(-89, 89), size_m=st.floats(5, 2000))
def test_areas_hold_anywhere_on_earth(lon: float, lat: float, size_m: float) -> None:
    house = courtyard(lon, lat, size_m)
    area = AreaCrs.choose(Extent(LONLAT, house.bounds))
    true_area, true_length = (
        abs(EARTH.geometry_area_perimeter(house)[0]),
        EARTH.geometry_length(house.boundary),
    )
    assert area.areas([house], LONLAT)[0] == pytest.approx(true_area, rel=1e-4)
    assert area.perimeters([house], LONLAT)[0] == pytest.approx(true_length, rel=1e-4)


@pytest.mark.parametrize("bounds", [(-10, 35, 40, 70), (-170, -60, 170, 75), (100, -45, 290, 45)])
def test_data_that_span_continents(bounds: tuple[float, float, float, float]) -> None:
    area = AreaCrs.choose(Extent(LONLAT, bounds))
    spots = [
        (lon, lat)
        for lon in np.linspace(bounds[0], bounds[2], 7)
        for lat in np.linspace(bounds[1], bounds[3], 7)
    ]
    houses = [courtyard(lon, lat) for lon, lat in spots]
    truth = [abs(EARTH.geometry_area_perimeter(house)[0]) for house in houses]
    assert area.areas(houses, LONLAT) == pytest.approx(np.array(truth), rel=1e-4)


def test_long_edges_bend_as_they_do_in_their_own_crs() -> None:
    field = shapely.box(9, 60, 10, 60.5)
    area = AreaCrs.choose(Extent(LONLAT, field.bounds))
    truth, length = EARTH.geometry_area_perimeter(shapely.segmentize(field, 1e-4))
    assert area.areas([field], LONLAT)[0] == pytest.approx(abs(truth), rel=1e-6)
    assert area.perimeters([field], LONLAT)[0] == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize(
    ("code", "percent"), [("EPSG:3857", "128.08% too large"), ("EPSG:32633", "0.41% too large")]
)
def test_a_distorting_crs_is_warned_about_with_a_number(code: str, percent: str, heard: Heard) -> None:
    place = Grid(MERCATOR, Affine(1, 0, 1e6, 0, -1, 6.2e6), 4000, 4000)
    area = AreaCrs.choose(place, code)
    assert area.crs == CRS(code)
    assert [percent in line for line in heard.warnings] == [True]


@pytest.mark.parametrize("code", ["auto", "EPSG:32633", "EPSG:6933"])
def test_a_true_crs_is_not_warned_about(code: str, heard: Heard) -> None:
    AreaCrs.choose(Place(UTM33, (499_000, 5_400_000, 501_000, 5_401_000)), code)
    assert heard.warnings == []


def test_distortion_is_the_ratio_of_areas() -> None:
    house = moved([courtyard(9.0, 48.9)], LONLAT, MERCATOR)
    place = Place(MERCATOR, house[0].bounds)
    planar = shapely.area(house)[0] / AreaCrs.choose(place).areas(house, MERCATOR)[0]
    assert AreaCrs(MERCATOR).compute_distortion(place) == pytest.approx(planar - 1, rel=1e-4)


def test_square_feet_become_square_metres() -> None:
    feet = CRS.from_epsg(2263)
    lot = np.array([shapely.box(980_000, 200_000, 981_000, 201_000)])
    assert AreaCrs(feet).areas(lot, feet)[0] == pytest.approx(1e6 * (1200 / 3937) ** 2, rel=1e-12)


@pytest.mark.parametrize("requested", ["EPSG:4326", "EPSG:4978", "furlongs", "EPSG:999999"])
def test_a_crs_without_square_metres_is_refused(requested: str) -> None:
    with pytest.raises(InputError, match=requested):
        AreaCrs.choose(GRID, requested)


def test_a_crs_that_does_not_reach_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="does not reach"):
        AreaCrs.choose(Extent(LONLAT, (9, 48, 9.1, 48.1)), "+proj=gnom +lat_0=-90")


def test_data_nowhere_on_earth_are_refused() -> None:
    with pytest.raises(InputError, match="nowhere on Earth"):
        AreaCrs.choose(Extent(UTM33, (1e30, 1e30, 2e30, 2e30)))


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        Grid(MERCATOR, Affine(30, 0, 1e6, 0, -30, 6.2e6), 500, 700),
        Grid(LONLAT, Affine(0.01, 0, 9, 0, -0.01, 61), 90, 130),
        Grid(UTM33, Affine.translation(7e5, 5e6) @ Affine.rotation(25) @ Affine.scale(10, -10), 400, 300),
        Grid(CRS.from_epsg(3031), Affine(100, 0, -20_000, 0, -100, 20_000), 400, 400),
    ],
    ids=["fine", "mercator", "degrees", "rotated", "pole"],
)
def test_pixels_are_as_large_as_their_polygons(grid: Grid) -> None:
    area = AreaCrs.choose(grid)
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, grid.height, 50), rng.integers(0, grid.width, 50)
    squares = shapely.transform(
        shapely.box(cols, rows, cols + 1, rows + 1), lambda x, y: grid.transform @ (x, y), interleaved=False
    )
    pixels = area.compute_pixel_areas(grid).at(rows + 0.5, cols + 0.5)
    assert pixels == pytest.approx(area.areas(squares, grid.crs), rel=1e-6)


def test_the_area_crs_can_be_written_down() -> None:
    area = AreaCrs.choose(GRID)
    assert CRS(area.name) == area.crs
    assert AreaCrs(UTM33).name == "EPSG:32633"


def test_the_centre_of_data_around_the_antimeridian_is_there() -> None:
    lon, lat, reach = find_centre_and_reach(Extent(LONLAT, (179.0, -18.0, 181.0, -16.0)))
    assert (abs(lon), lat) == (180.0, -17.0)
    assert reach < 2
