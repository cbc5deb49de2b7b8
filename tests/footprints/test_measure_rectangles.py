from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity, box

from geoseg.footprints.measure import measure_rectangles
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.rings import build_footprints


@pytest.mark.parametrize("azimuth", [0, 0.5, 30, 45, 89, 90, 135, 179])
def test_a_turned_rectangle_gives_its_sides_and_its_direction(azimuth: float) -> None:
    house = affinity.rotate(box(500_000, 4_000_000, 500_006, 4_000_015), -azimuth)
    width_m, length_m, orientation_deg = measure_rectangles(np.array([house]))
    assert width_m[0] == pytest.approx(6, abs=1e-6)
    assert length_m[0] == pytest.approx(15, abs=1e-6)
    assert orientation_deg[0] == pytest.approx(azimuth, abs=1e-4)


def test_an_l_is_measured_by_the_rectangle_around_it() -> None:
    width_m, length_m, orientation_deg = measure_rectangles(np.array([box(0, 0, 20, 10) - box(8, 4, 20, 10)]))
    assert (width_m[0], length_m[0], orientation_deg[0]) == pytest.approx((10, 20, 90))


def test_a_square_counts_the_long_side_nearer_north() -> None:
    squares = np.array([affinity.rotate(box(0, 0, 8, 8), -turn) for turn in (0, 20, 110, 200)])
    width_m, length_m, orientation_deg = measure_rectangles(squares)
    np.testing.assert_allclose(width_m, 8)
    np.testing.assert_allclose(length_m, 8)
    np.testing.assert_allclose(orientation_deg, [0, 20, 20, 20], atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_stair_steps_give_what_all_of_their_corners_give(seed: int) -> None:
    """To the last bit: GEOS itself, given whole polygons next to the origin, is the oracle."""
    pixels = np.random.default_rng(seed).random((40, 40)) < 0.58
    traced = build_footprints(
        trace_outlines(np.pad(pixels, 1).astype(np.uint8), 0, JoinRules(connectivity=8))
    )
    polygons = shapely.transform(traced.polygons, lambda points: points * (0.3, -0.3))
    near = [affinity.translate(each, -each.bounds[0], -each.bounds[1]) for each in polygons]
    corners = shapely.get_coordinates(shapely.oriented_envelope(near)).reshape(-1, 5, 2)
    sides = np.hypot(*np.diff(corners[:, :3], axis=1).transpose(2, 1, 0))
    width_m, length_m, _ = measure_rectangles(polygons)
    np.testing.assert_array_equal([width_m, length_m], [sides.min(axis=0), sides.max(axis=0)])


def test_no_footprints_have_no_shape() -> None:
    assert [len(column) for column in measure_rectangles(np.empty(0, dtype=object))] == [0, 0, 0]


@given(
    points=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=12),
    east=st.integers(-(10**6), 10**6),
)
def test_the_rectangle_holds_the_footprint_and_lies_where_it_says(
    points: list[tuple[int, int]], east: int
) -> None:
    hull = shapely.convex_hull(shapely.multipoints(points))
    if hull.geom_type != "Polygon":
        return
    width_m, length_m, orientation_deg = (
        column[0] for column in measure_rectangles(np.array([affinity.translate(hull, east)]))
    )
    assert 0 <= orientation_deg < 180
    assert 0 < width_m <= length_m
    x0, y0, x1, y1 = affinity.rotate(hull, orientation_deg, origin=(0, 0)).bounds
    assert (x1 - x0, y1 - y0) == pytest.approx((width_m, length_m), rel=1e-4)
    assert width_m * length_m == pytest.approx(hull.minimum_rotated_rectangle.area, rel=1e-6)
