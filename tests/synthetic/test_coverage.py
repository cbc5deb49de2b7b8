"""Polygons on pixels, compared with GDAL's rasteriser and with true areas."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize

from geoseg.raster.grid import Window
from geoseg.synthetic.pixels import burn_mask, compute_coverage, extract_segments

places = st.tuples(st.floats(-6, 46), st.floats(-6, 36))
WINDOW = Window(0, 0, 30, 40)


@given(st.lists(places, min_size=3, max_size=9))
def test_the_mask_is_gdals(corners: list[tuple[float, float]]) -> None:
    hull = shapely.MultiPoint(np.round(corners, 3) + 0.0007).convex_hull
    if hull.geom_type != "Polygon" or hull.area < 0.1:
        return
    ring = hull.difference(shapely.affinity.scale(hull, 0.5, 0.4))
    expected = rasterize([ring], out_shape=(30, 40)).astype(bool)
    np.testing.assert_array_equal(burn_mask(extract_segments(ring), WINDOW), expected)


@given(st.lists(places, min_size=3, max_size=9))
def test_coverage_adds_up_to_the_area(corners: list[tuple[float, float]]) -> None:
    hull = shapely.MultiPoint(corners).convex_hull
    if hull.geom_type != "Polygon":
        return
    seen = hull.intersection(shapely.box(0, 0, 40, 30))
    shares = compute_coverage(extract_segments(hull), WINDOW)
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.sum() == pytest.approx(seen.area, abs=0.13 * hull.length)


def test_coverage_of_a_box_on_quarters_is_exact() -> None:
    shares = compute_coverage(extract_segments(shapely.box(2.25, 3.5, 4.5, 5.0)), Window(2, 1, 4, 5))
    expected = np.outer((0, 0.5, 1, 0), (0, 0.75, 1, 0.5, 0))
    np.testing.assert_allclose(shares, expected, atol=1e-6)


def test_neighbours_that_share_a_wall_make_one_mask() -> None:
    turned = [shapely.affinity.rotate(shapely.box(u, 5, u + 7, 20), 23, (20, 15)) for u in (3, 10, 17)]
    np.testing.assert_array_equal(
        burn_mask(extract_segments(turned), WINDOW),
        burn_mask(extract_segments(shapely.union_all(turned, grid_size=1e-9)), WINDOW),
    )


@pytest.mark.parametrize("shape", [shapely.box(50, 50, 60, 60), shapely.box(-9, -9, -1, -1)])
def test_what_lies_outside_covers_nothing(shape: shapely.Polygon) -> None:
    assert not burn_mask(extract_segments(shape), WINDOW).any()
    assert not compute_coverage(extract_segments(shape), WINDOW).any()


def test_what_lies_around_covers_everything() -> None:
    assert burn_mask(extract_segments(shapely.box(-5, -5, 99, 99)), WINDOW).all()
    assert (compute_coverage(extract_segments(shapely.box(-5, -5, 99, 99)), WINDOW) == 1).all()
