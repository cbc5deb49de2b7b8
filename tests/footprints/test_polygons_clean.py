"""Holes are filled and details smoothed without making neighbours overlap or part."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geoseg.footprints.polygons import apply_to_parts, fill_small_holes, join_parts, simplify_clusters
from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.rings import Stitcher, build_footprints


def outlines(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    stitcher = Stitcher(mask.shape[1], JoinRules())
    stitcher.add(trace_outlines(mask, 0, JoinRules()))
    found = build_footprints(stitcher.finish())
    return found.polygons, found.cluster


HOUSES = np.array(
    [
        shapely.box(0, 0, 10, 10),
        shapely.box(0, 0, 10, 10) - shapely.box(1, 1, 2, 2) - shapely.box(4, 4, 8, 8),
        shapely.box(0, 0, 5, 5) - shapely.box(1, 1, 2, 3),
    ]
)


@pytest.mark.parametrize(
    ("largest", "holes"), [(0.0, [0, 2, 1]), (1.0, [0, 1, 1]), (2.0, [0, 1, 0]), (99.0, [0, 0, 0])]
)
def test_holes_up_to_a_size_are_filled(largest: float, holes: list[int]) -> None:
    filled = fill_small_holes(HOUSES, np.full(3, largest))
    assert shapely.get_num_interior_rings(filled).tolist() == holes
    assert shapely.equals(filled[0], HOUSES[0])
    assert shapely.is_valid(filled).all()


def test_each_footprint_has_its_own_largest_hole() -> None:
    filled = fill_small_holes(HOUSES, np.array([0.0, 0.5, 2.0]))
    assert shapely.get_num_interior_rings(filled).tolist() == [0, 2, 0]


def test_nothing_to_fill() -> None:
    assert len(fill_small_holes(HOUSES[:0], np.empty(0))) == 0
    assert fill_small_holes(HOUSES[:1], np.ones(1))[0] is HOUSES[0]


@given(mask=arrays.arrays(np.uint8, (14, 14), elements=st.sampled_from([0, 1, 1, 2, 2, 3])))
def test_simplified_neighbours_neither_overlap_nor_part(mask: np.ndarray) -> None:
    polygons, clusters = outlines(mask)
    smooth = simplify_clusters(polygons, clusters, 1.0)
    assert shapely.is_valid(smooth).all()
    assert shapely.get_num_coordinates(smooth).sum() <= shapely.get_num_coordinates(polygons).sum()
    for cluster in np.unique(clusters):
        together = smooth[clusters == cluster]
        assert shapely.area(together).sum() == pytest.approx(shapely.union_all(together).area)


@given(mask=arrays.arrays(np.uint8, (14, 14), elements=st.sampled_from([0, 0, 1, 2])))
def test_a_simplified_footprint_depends_on_its_own_cluster_alone(mask: np.ndarray) -> None:
    polygons, clusters = outlines(mask)
    together = simplify_clusters(polygons, clusters, 1.5)
    for cluster in np.unique(clusters):
        mine = clusters == cluster
        alone = simplify_clusters(polygons[mine], clusters[mine], 1.5)
        assert [p.wkt for p in alone] == [p.wkt for p in together[mine]]


def test_parts_that_meet_at_a_corner_are_changed_one_by_one() -> None:
    corner = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)])
    polygons = np.array([shapely.box(5, 5, 6, 6), corner])
    seen = []

    def change(parts, clusters):
        seen.append((len(parts), clusters.tolist()))
        return parts

    assert shapely.equals(apply_to_parts(polygons, np.array([4, 9]), change), polygons).all()
    assert seen == [(3, [4, 9, 9])]


def test_rejoined_makes_multipolygons_only_where_needed() -> None:
    parts = np.array([shapely.box(i, 0, i + 0.5, 1) for i in range(4)])
    whole = join_parts(parts, np.array([0, 1, 1, 2]))
    assert shapely.get_type_id(whole).tolist() == [3, 6, 3]
    assert len(join_parts(parts[:0], np.empty(0, dtype=np.int64))) == 0
