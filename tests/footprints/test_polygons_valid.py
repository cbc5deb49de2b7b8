from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.footprints.measure import transform_polygons
from geoseg.footprints.polygons import keep_polygonal_parts, mend_polygons

# A courtyard that touches the outer wall in one point, in metres of UTM zone 33.
TOUCHING = shapely.transform(
    shapely.Polygon([(0, 0), (10, 0), (10, 3), (0, 10)], [[(5, 6.5), (4, 5), (5, 5)]]),
    lambda points: points * 100 + (392_000, 5_820_000),
)
corners = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=9)


def test_what_touches_itself_stays_valid_in_another_crs() -> None:
    moved = transform_polygons(np.array([TOUCHING], object), CRS("EPSG:32633"), CRS("EPSG:3857"))
    assert TOUCHING.is_valid
    assert not moved[0].is_valid
    whole = mend_polygons(moved)
    assert whole[0].is_valid
    assert whole[0].area == pytest.approx(moved[0].area, rel=1e-6)


@given(st.lists(corners, min_size=1, max_size=5))
def test_mended_shapes_are_valid_polygons_and_valid_ones_are_left_alone(
    rings: list[list[tuple[int, int]]],
) -> None:
    shapes = np.array([shapely.Polygon(ring) for ring in rings], object)
    whole = mend_polygons(shapes)
    assert shapely.is_valid(whole).all()
    assert set(shapely.get_type_id(whole)) <= {3, 6}
    for before, after in zip(shapes, whole, strict=True):
        if before.is_valid:
            assert after is before
        else:
            assert shapely.difference(after, before.convex_hull.buffer(1e-9)).is_empty


def test_points_and_lines_that_a_cut_leaves_over_are_dropped() -> None:
    square = shapely.box(0, 0, 1, 1)
    mixed = shapely.GeometryCollection([square, shapely.LineString([(1, 0), (2, 0)]), shapely.Point(3, 3)])
    left = keep_polygonal_parts(np.array([mixed, shapely.Point(0, 0), square], object))
    assert [shape.area for shape in left] == [1, 0, 1]
    assert set(shapely.get_type_id(left)) <= {3, 6}
