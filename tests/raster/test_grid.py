from __future__ import annotations

from math import cos, radians

import pytest
from affine import Affine
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.raster.grid import Grid, Window, find_utm_crs, format_crs


def grid(crs: str, x: float, y: float, size: float, shape: tuple[int, int] = (100, 200)) -> Grid:
    return Grid(CRS.from_user_input(crs), Affine.translation(x, y) @ Affine.scale(size, -size), *shape)


def test_utm_pixels_are_as_large_as_they_say() -> None:
    # On the central meridian UTM shrinks lengths by 0.9996.
    assert grid("EPSG:32633", 500_000, 5_820_000, 0.3).gsd_m == pytest.approx(0.3 / 0.9996, rel=1e-5)


@pytest.mark.parametrize("latitude", [0.0, 25.0, 48.0, 60.0, -33.0])
def test_web_mercator_pixels_shrink_with_the_cosine_of_the_latitude(latitude: float) -> None:
    from pyproj import Transformer

    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(13, latitude)
    across, _ = grid("EPSG:3857", x, y, 1.0, (1, 1)).pixel_size_m
    # The ellipsoid's parallel is a little longer than the sphere's.
    assert across == pytest.approx(cos(radians(latitude)), rel=0.004)


def test_degrees_become_square_metres_when_rescaled() -> None:
    degrees = grid("EPSG:4326", 13.4, 52.5, 4e-6, (3000, 2000))
    across, down = degrees.pixel_size_m
    assert across < 0.62 * down
    rescaled = degrees.rescale(0.3)
    assert rescaled.pixel_size_m == pytest.approx((0.3, 0.3), rel=1e-3)
    assert rescaled.bounds == pytest.approx(degrees.bounds, abs=1e-12)


def test_feet_are_feet() -> None:
    foot = grid("EPSG:2263", 980_000, 200_000, 1.0)
    assert foot.gsd_m == pytest.approx(0.3048, rel=1e-3)


def test_a_window_lies_where_its_pixels_lie() -> None:
    whole = grid("EPSG:32633", 500_000, 5_820_000, 0.5)
    part = whole.window(Window(10, 20, 30, 40))
    assert part.shape == (30, 40)
    assert part.transform @ (0, 0) == whole.transform @ (20, 10)


@pytest.mark.parametrize(
    ("crs", "x", "y", "size"), [("EPSG:32633", 500_000, 5_820_000, 0.3), ("EPSG:4326", 13.4, 52.5, 9e-7)]
)
def test_pixels_are_the_same_up_to_rounding(crs: str, x: float, y: float, size: float) -> None:
    one = grid(crs, x, y, size)
    for part, same in ((1e-3, True), (0.5, False), (1.0, False)):
        other = one.transform @ Affine.translation(part, 0)
        assert one.shares_pixels(other, one.shape) == same
    assert not one.shares_pixels(one.transform @ Affine.scale(1.001), one.shape)
    assert not one.shares_pixels(one.transform, (100, 201))


def test_windows_know_their_place_in_others() -> None:
    window = Window(10, 20, 30, 40)
    assert window.slices == (slice(10, 40), slice(20, 60))
    assert window.within(Window(5, 15, 100, 100)) == Window(5, 5, 30, 40)
    assert str(window) == "rows 10-39, columns 20-59"


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (13.4, 52.5, 32633),
        (5.3, 60.4, 32632),
        (15.6, 78.2, 32633),
        (-43.2, -22.9, 32723),
        (180.0, 0.0, 32660),
    ],
)
def test_utm_zones_have_their_exceptions(lon: float, lat: float, code: int) -> None:
    assert find_utm_crs(lon, lat).to_epsg() == code


def test_a_crs_is_called_by_its_code() -> None:
    assert format_crs(CRS.from_epsg(25833)) == "EPSG:25833"
    assert format_crs(CRS.from_proj4("+proj=laea +lat_0=1 +lon_0=2")) == "unknown"


@pytest.mark.parametrize("size", [0.0, float("nan")])
def test_pixels_need_a_size(size: float) -> None:
    with pytest.raises(InputError, match="gives pixels no size"):
        grid("EPSG:32633", 0, 0, size)


def test_a_grid_needs_pixels() -> None:
    with pytest.raises(InputError, match="0 x 10 pixels"):
        grid("EPSG:32633", 0, 0, 1, (10, 0))


def test_a_place_off_the_earth_is_told() -> None:
    with pytest.raises(InputError, match="nowhere on Earth"):
        _ = grid("EPSG:32633", 1e12, 1e12, 1).gsd_m
