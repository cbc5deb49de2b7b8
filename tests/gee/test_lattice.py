"""The grid: on the lattice, covering, and the same for all."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from gee.grid import (
    Area,
    choose_crs,
    compute_lonlat_bounds,
    compute_lonlat_footprint,
    make_box_area,
    make_lattice,
    measure_worst_stretch,
    parse_export_crs,
    touches_shape,
)
from geoseg.errors import InputError
from geoseg.raster.grid import Window

UTM = CRS.from_epsg(32633)
CORNERS = st.tuples(st.floats(2e5, 7e5), st.floats(1e5, 8e6), st.floats(1, 2e4), st.floats(1, 2e4))


@given(corner=CORNERS, scale=st.sampled_from([0.1, 0.2, 0.25, 0.6, 1, 2.5, 4, 10, 20, 30, 60, 7]))
def test_a_grid_covers_its_shape_tightly_and_keeps_to_the_lattice(corner, scale):
    left, bottom, width, height = corner
    shape = shapely.box(left, bottom, left + width, bottom + height)
    step = 60 if (60 / scale).is_integer() and scale >= 10 else scale
    grid = make_lattice(UTM, scale, step).grid(shape)
    west, south, east, north = grid.bounds
    slack = step * 2e-6 + 1e-6
    assert west <= left + slack
    assert south <= bottom + slack
    assert east >= left + width - slack
    assert north >= bottom + height - slack
    assert left - west < step + slack
    assert east - left - width < step + slack
    for edge in (west, north):
        assert abs(edge / step - round(edge / step)) < 1e-6


def test_a_shape_on_the_lattice_gains_no_pixel():
    grid = make_lattice(UTM, 0.2).grid(shapely.box(390_000, 5_818_000, 391_000, 5_819_000))
    assert grid.shape == (5000, 5000)


@pytest.mark.parametrize("scale", [10, 20, 30, 60])
def test_scales_of_sentinel2_share_their_corners(scale):
    grid = make_lattice(UTM, scale, 60).grid(shapely.box(500_001, 5_300_001, 512_345, 5_312_345))
    assert (grid.transform.c, grid.transform.f) == (499_980, 5_312_400)


def test_a_scale_that_does_not_fit_60_m_keeps_to_itself():
    grid = make_lattice(UTM, 7, 60).grid(shapely.box(500_001, 5_300_001, 500_100, 5_300_100))
    assert grid.transform.c % 7 == 0


def test_pixels_of_degrees_and_feet_have_their_size_in_metres():
    degrees = make_lattice(CRS.from_epsg(4326), 10)
    assert degrees.pixel == pytest.approx(10 / 111_319.49)
    assert make_lattice(CRS.from_epsg(2263), 10).pixel == pytest.approx(32.80833333)


@pytest.mark.parametrize("scale", [0, -1, 1e9, float("nan")])
def test_scales_that_are_none(scale):
    with pytest.raises(InputError, match="--scale"):
        make_lattice(UTM, scale)


@pytest.mark.parametrize("text", ["nonsense", "EPSG:999999", "EPSG:4978"])
def test_crs_that_are_none(text):
    with pytest.raises(InputError, match="--crs"):
        parse_export_crs(text)


@pytest.mark.parametrize(("degrees", "stretch"), [(3, 0.0002), (6, 0.0019), (9, 0.0047)])
def test_lengths_far_from_the_middle_of_a_zone(degrees, stretch):
    """Scale factors of UTM at 50 degrees north, at so many degrees from the central meridian."""
    point = shapely.box(15 + degrees - 1e-6, 50 - 1e-6, 15 + degrees, 50)
    assert measure_worst_stretch(point, UTM) == pytest.approx(stretch, abs=6e-5)


def test_an_area_over_zones_is_laid_into_the_largest_and_told(heard):
    assert choose_crs(make_box_area(15.0, 50.0, 20.0, 51.0)).to_epsg() == 32633
    assert "lies in 2 UTM zones" in heard.warnings[0]
    assert "lengths are off by up to 0." in heard.warnings[0]
    assert "--split-zones" in heard.warnings[0]


def test_windows_beside_the_shape_do_not_touch_it():
    grid = make_lattice(UTM, 10).grid(shapely.box(500_000, 5_300_000, 501_000, 5_301_000))
    triangle = shapely.Polygon([(500_000, 5_300_000), (501_000, 5_300_000), (500_000, 5_301_000)])
    assert touches_shape(grid, triangle, Window(90, 0, 10, 10))
    assert not touches_shape(grid, triangle, Window(0, 90, 10, 10))


def test_a_footprint_across_the_antimeridian_is_cut_in_two():
    crs = CRS.from_epsg(32760)
    grid = make_lattice(crs, 60).grid(make_box_area(179.5, -17.5, -179.5, -17.0).within(crs))
    shape = compute_lonlat_footprint(grid)
    assert len(shapely.get_parts(shape)) == 2
    assert shape.bounds[0] >= -180
    assert shape.bounds[2] <= 180
    west, _, east, _ = compute_lonlat_bounds(grid)
    assert west > 179
    assert east < -179


def test_the_grid_reaches_as_far_as_the_area_bows():
    area = make_box_area(12.0, 50.0, 18.0, 50.1)
    shape = area.within(UTM)
    grid = make_lattice(UTM, 100).grid(shape)
    for lon in (12.0, 13.7, 15.0, 18.0):
        x, y, *_ = Area(shapely.box(lon, 50.0, lon + 1e-9, 50.0 + 1e-9), area.crs).within(UTM).bounds
        assert grid.bounds[1] <= y + 1
        assert grid.bounds[0] <= x <= grid.bounds[2]
