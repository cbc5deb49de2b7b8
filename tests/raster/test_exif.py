"""The size of a drone photograph's pixels, against what makers and textbooks say."""

from __future__ import annotations

from math import hypot

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.raster.exif import CameraTags

PHANTOM_4_PRO = {"EXIF_FocalLength": "(8.8)", "EXIF_FocalLengthIn35mmFilm": "(24)"}
DOWN = 'drone-dji:RelativeAltitude="+100.00" drone-dji:GimbalPitchDegree="-90.00"'


def tags(exif: dict[str, str], xmp: str = DOWN, height: int = 3648, width: int = 5472) -> CameraTags:
    return CameraTags(exif, xmp, height, width)


def test_a_phantom_at_100_m_sees_what_its_maker_says() -> None:
    """DJI: the ground resolution of a Phantom 4 Pro is its height over 36.5, in centimetres."""
    assert tags(PHANTOM_4_PRO).find_pixel_size_m() == pytest.approx(1.00 / 36.5, rel=0.01)


def test_the_sensors_pixels_do_where_no_film_equivalent_is_told() -> None:
    """13.2 mm for 5472 pixels, told in pixels per inch as EXIF has it."""
    exif = {"EXIF_FocalLength": "(8.8)", "EXIF_FocalPlaneXResolution": f"({5472 / 13.2 * 25.4})"}
    assert tags(exif).find_pixel_size_m() == pytest.approx(100 * 13.2 / (8.8 * 5472))
    centimetres = {
        **exif,
        "EXIF_FocalPlaneXResolution": f"({5472 / 1.32})",
        "EXIF_FocalPlaneResolutionUnit": "3",
    }
    assert tags(centimetres).find_pixel_size_m() == pytest.approx(100 * 13.2 / (8.8 * 5472))


@given(
    height_m=st.floats(5, 500),
    focal_mm=st.integers(10, 200),
    side=st.integers(1000, 8000),
    shrink=st.integers(2, 8),
)
def test_a_picture_made_smaller_has_larger_pixels(
    height_m: float, focal_mm: int, side: int, shrink: int
) -> None:
    exif = {
        "EXIF_FocalLengthIn35mmFilm": str(focal_mm),
        "EXIF_PixelXDimension": str(4 * side),
        "EXIF_PixelYDimension": str(3 * side),
    }
    xmp = f"<drone-dji:RelativeAltitude>{height_m:.2f}</drone-dji:RelativeAltitude>"
    whole = CameraTags(exif, xmp, 3 * side, 4 * side).find_pixel_size_m()
    assert whole == pytest.approx(round(height_m, 2) * hypot(36, 24) / (focal_mm * 5 * side))
    turned = CameraTags(exif, xmp, 4 * side, 3 * side).find_pixel_size_m()
    smaller = CameraTags(exif, xmp, 3 * side // shrink, 4 * side // shrink).find_pixel_size_m()
    assert turned == pytest.approx(whole)
    assert smaller == pytest.approx(shrink * whole, rel=0.05)


@pytest.mark.parametrize(
    ("exif", "xmp"),
    [
        ({}, DOWN),
        (PHANTOM_4_PRO, ""),
        (PHANTOM_4_PRO, 'drone-dji:RelativeAltitude="-3.00"'),
        (PHANTOM_4_PRO, DOWN.replace("-90.00", "-45.00")),
        (PHANTOM_4_PRO, 'drone-dji:RelativeAltitude="high"'),
        ({"EXIF_FocalLength": "(8.8)"}, DOWN),
        ({**PHANTOM_4_PRO, "EXIF_FocalLengthIn35mmFilm": "0"}, DOWN),
        ({**PHANTOM_4_PRO, "EXIF_PixelXDimension": "5472", "EXIF_PixelYDimension": "5472"}, DOWN),
    ],
    ids=[
        "no lens",
        "no height",
        "below ground",
        "tilted",
        "no number",
        "no sensor",
        "lens of nothing",
        "cut out",
    ],
)
def test_what_does_not_tell_is_not_guessed(exif: dict[str, str], xmp: str) -> None:
    assert tags(exif, xmp).find_pixel_size_m() is None
