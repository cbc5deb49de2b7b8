"""Where a picture lies, against closed forms and pyproj's own convergence."""

from __future__ import annotations

from math import cos, degrees, pi, radians

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Proj

from geoseg.errors import InputError
from geoseg.reports.view import View, choose_bar_length, format_length, parse_window

UTM33 = CRS.from_epsg(32633)


def test_a_view_is_as_high_as_the_ground_is() -> None:
    assert View.of(UTM33, (0, 0, 400, 100), 800).height == 200
    at_60 = View.of(CRS.from_epsg(4326), (10, 59.9, 10.4, 60.1), 800)
    assert at_60.height == pytest.approx(800, rel=0.001)  # a degree of longitude is half as long there
    assert View.of(None, (0, -300, 600, 0), 100).height == 50
    assert View.of(UTM33, (0, 0, 1e9, 1), 100).height == 1


def test_the_width_on_the_ground_is_the_ellipsoids() -> None:
    on_the_middle_meridian = View.of(UTM33, (499_000, 5_000_000, 501_000, 5_001_000), 100)
    assert on_the_middle_meridian.metres_across == pytest.approx(2000 / 0.9996, rel=1e-6)
    mercator = View.of(CRS.from_epsg(3857), (0, 8_399_737, 1000, 8_400_737), 100)  # at 60 degrees
    assert mercator.metres_across == pytest.approx(1000 * cos(radians(60)), rel=0.005)
    assert View.of(None, (0, -10, 10, 0), 100).metres_across is None


@given(st.floats(12, 18), st.floats(-60, 60))
def test_north_is_turned_by_the_convergence_of_meridians(lon: float, lat: float) -> None:
    project = Proj(UTM33)
    x, y = project(lon, lat)
    view = View.of(UTM33, (x - 100, y - 100, x + 100, y + 100), 100)
    convergence = project.get_factors(lon, lat).meridian_convergence
    assert view.north is not None
    assert degrees(view.north - pi / 2) == pytest.approx(convergence, abs=0.01)


def test_a_picture_without_a_place_knows_no_north() -> None:
    assert View.of(None, (0, -10, 10, 0), 100).north is None


@given(st.floats(1e-3, 1e7))
def test_the_bar_is_the_longest_round_length_that_fits(across: float) -> None:
    length = choose_bar_length(across, 0.25)
    assert length <= across * 0.25 < length * 2.5000001
    assert f"{length:.0e}"[0] in "125"


def test_lengths_are_written_as_people_do() -> None:
    assert [format_length(metres) for metres in (0.5, 1, 200, 2000, 500_000)] == [
        "50 cm", "1 m", "200 m", "2 km", "500 km",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "3,0,1,2", "0,2,1,1", "0,0,inf,1", "nan,0,1,1"])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="`window`"):
        parse_window(text)


def test_a_window_is_four_numbers() -> None:
    assert parse_window("1, -2.5,3e2,4") == (1, -2.5, 300, 4)
