from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import shapes
from shapely import box

from geoseg.footprints.regularize.network import build_network


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5), together=st.booleans())
def test_a_network_gives_its_polygons_back(seed: int, classes: int, together: bool) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, (12, 12)).astype(np.int32)
    traced = shapes(labels, mask=labels > 0, transform=Affine(0.3, 0, 7, 0, -0.3, 9))
    polygons = np.array([shapely.geometry.shape(geometry) for geometry, _ in traced])
    clusters = np.zeros(len(polygons), dtype=int) if together else np.arange(len(polygons))
    network = build_network(polygons, clusters, 0.3)
    again = network.polygons(network.points, network.sizes)
    assert shapely.equals(again, polygons).all()
    assert not together or shapely.coverage_is_valid(again)


def test_a_wall_between_neighbours_is_one_arc() -> None:
    network = build_network(np.array([box(0, 0, 4, 4), box(4, 0, 8, 4)]), np.zeros(2, dtype=int), 1.0)
    assert len(network.sizes) == 3
    assert np.bincount(network.step_arc).tolist().count(2) == 1
    shared = np.flatnonzero(np.bincount(network.step_arc) == 2)[0]
    assert sorted(network.step_polygon[network.step_arc == shared]) == [0, 1]


def test_neighbours_of_different_clusters_share_nothing() -> None:
    network = build_network(np.array([box(0, 0, 4, 4), box(4, 0, 8, 4)]), np.arange(2), 1.0)
    assert len(network.sizes) == 2
    assert network.closed.all()


@pytest.mark.parametrize("turn", [0, 1])
def test_a_corner_on_a_neighbours_wall_cuts_that_wall(turn: int) -> None:
    row = [box(0, 0, 9, 3), box(0, 3, 4, 6), box(4, 3, 9, 6)]
    polygons = np.array([shapely.affinity.rotate(p, 90 * turn, origin=(0, 0)) for p in row])
    network = build_network(polygons, np.zeros(3, dtype=int), 1.0)
    assert (np.bincount(network.step_arc) == 2).sum() == 3
    assert len(np.unique(network.ends)) == 4
