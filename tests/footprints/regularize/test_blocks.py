from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from buildings import GSD_M, KINDS, Town, town, traced_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import shapes as shapes_of
from scipy import ndimage
from shapely import Polygon, affinity, box

from geoseg.errors import InputError
from geoseg.footprints.regularize.blocks import regularize_footprints

Polygons = NDArray[np.object_]


@pytest.fixture(scope="module")
def made() -> Town:
    return town(180, seed=4)


@pytest.fixture(scope="module")
def straight(made: Town) -> tuple[Polygons, NDArray[np.bool_]]:
    return regularize_footprints(made.traced, made.clusters, GSD_M)


def alone(*polygons: Polygon) -> tuple[Polygons, NDArray[np.int64]]:
    return np.array(polygons), np.arange(len(polygons))


def iou(polygons: Polygons, others: Polygons) -> NDArray[np.float64]:
    common = shapely.area(shapely.intersection(polygons, others))
    return common / (shapely.area(polygons) + shapely.area(others) - common)


def corner_angles_deg(polygon: Polygon) -> NDArray[np.float64]:
    """Turns at the corners of all rings, 90 for a right angle either way."""
    turns = []
    for ring in (polygon.exterior, *polygon.interiors):
        sides = np.diff(np.asarray(ring.coords), axis=0)
        turn = np.arctan2(*np.roll(sides, -1, axis=0).T[::-1]) - np.arctan2(*sides.T[::-1])
        turns.append(np.abs((np.degrees(turn) + 180) % 360 - 180))
    return np.concatenate(turns)


def wkb(polygons: Polygons) -> list[bytes]:
    return list(shapely.to_wkb(polygons))


@pytest.mark.parametrize("kind", KINDS)
def test_straightened_buildings_are_nearer_to_the_truth(
    kind: str, made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    chosen = made.kinds == kind
    before, after = (iou(p[chosen], made.truth[chosen]).mean() for p in (made.traced, straight[0]))
    assert after > before + 0.015


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"tank"}))
def test_nearly_all_buildings_with_walls_are_straightened(
    kind: str, made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    assert straight[1][made.kinds == kind].mean() >= 0.9


def test_areas_are_neither_larger_nor_smaller_on_average(
    made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    assert shapely.area(straight[0]).sum() == pytest.approx(shapely.area(made.traced).sum(), rel=0.003)


def test_every_footprint_stays_one_valid_polygon_near_its_outline(
    made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    shapes, _ = straight
    assert shapely.is_valid(shapes).all()
    assert (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all()
    assert (iou(shapes, made.traced) >= 0.85).all()
    change, area = np.abs(shapely.area(shapes) - shapely.area(made.traced)), shapely.area(made.traced)
    assert (change <= np.maximum(0.05 * area, GSD_M / 4 * shapely.length(made.traced))).all()


def test_houses_in_a_row_leave_no_gap_and_no_overlap(
    made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    for row in np.unique(made.clusters[made.kinds == "row"]):
        before, houses = made.traced[made.clusters == row], straight[0][made.clusters == row]
        assert shapely.coverage_is_valid(houses)
        touching = shapely.length(shapely.intersection(before[:-1], before[1:])) > 0
        walls = shapely.intersection(houses[:-1], houses[1:])
        assert ((shapely.length(walls) > 0) == touching).all()
        assert shapely.area(walls).sum() == 0


def test_clean_houses_in_a_row_share_a_straight_wall_of_two_points() -> None:
    made = town(12, seed=3, noise_pixels=0, kinds=("row",))
    houses, straight = regularize_footprints(made.traced, made.clusters, GSD_M)
    assert straight.all()
    for row in range(12):
        neighbours = houses[made.clusters == row]
        walls = shapely.intersection(neighbours[:-1], neighbours[1:])
        assert all(wall.geom_type == "LineString" and len(wall.coords) == 2 for wall in walls)


@pytest.mark.parametrize("kind", ["rectangle", "L", "T", "U", "courtyard"])
def test_clean_masks_give_right_angles_and_as_many_corners_as_built(kind: str) -> None:
    made = town(20, seed=2, noise_pixels=0, kinds=(kind,))
    shapes, straight = regularize_footprints(made.traced, made.clusters, GSD_M)
    assert straight.all()
    for shape, truth in zip(shapes, made.truth, strict=True):
        np.testing.assert_allclose(corner_angles_deg(shape), 90, atol=1e-6)
        assert shapely.get_num_coordinates(shape) == shapely.get_num_coordinates(truth)
        assert shapely.hausdorff_distance(shape, truth) < GSD_M
        assert len(shape.interiors) == len(truth.interiors)


def test_a_bay_keeps_its_diagonal() -> None:
    made = town(20, seed=2, noise_pixels=0, kinds=("bay",))
    shapes, straight = regularize_footprints(made.traced, made.clusters, GSD_M)
    assert straight.all()
    for shape in shapes:
        np.testing.assert_allclose(np.sort(corner_angles_deg(shape)), [45, 45, 90, 90, 90], atol=6)


def test_wings_keep_their_two_directions() -> None:
    made = town(20, seed=2, noise_pixels=0, kinds=("wings",))
    shapes, straight = regularize_footprints(made.traced, made.clusters, GSD_M)
    assert straight.all()
    assert (iou(shapes, made.truth) > 0.97).all()
    right = np.array([np.isclose(corner_angles_deg(shape), 90, atol=1e-6).sum() for shape in shapes])
    assert (right >= 4).all()


def test_round_roofs_stay_round() -> None:
    made = town(20, seed=2, noise_pixels=0, kinds=("tank",))
    shapes, straight = regularize_footprints(made.traced, made.clusters, GSD_M)
    assert not straight.any()
    assert (shapely.get_num_coordinates(shapes) > 12).all()
    assert (iou(shapes, made.truth) > 0.96).all()
    np.testing.assert_allclose(shapely.area(shapes), shapely.area(made.traced), rtol=0.01)


def test_straight_polygons_stay_as_they_are() -> None:
    truth = town(90, seed=8, noise_pixels=0, kinds=("rectangle", "L", "T", "U", "courtyard", "bay"))
    shapes, straight = regularize_footprints(truth.truth, truth.clusters, GSD_M)
    assert straight.all()
    assert shapely.hausdorff_distance(shapes, truth.truth).max() < 1e-4


def test_straightening_again_changes_little(made: Town, straight: tuple[Polygons, NDArray[np.bool_]]) -> None:
    shapes, flags = straight
    again, _ = regularize_footprints(shapes, made.clusters, GSD_M)
    same = iou(again, shapes)[flags & (made.kinds != "row")]
    assert np.median(same) > 0.9999
    assert np.quantile(same, 0.05) > 0.97


def test_a_footprint_depends_on_its_own_cluster_alone(
    made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    for cluster in np.unique(made.clusters):
        own = made.clusters == cluster
        shapes, flags = regularize_footprints(made.traced[own], made.clusters[own], GSD_M)
        assert wkb(shapes) == wkb(straight[0][own])
        assert (flags == straight[1][own]).all()


def test_blocks_do_not_change_the_result(made: Town, straight: tuple[Polygons, NDArray[np.bool_]]) -> None:
    shapes, _ = regularize_footprints(made.traced, made.clusters, GSD_M, points_at_once=1000)
    assert wkb(shapes) == wkb(straight[0])


def test_the_order_of_clusters_does_not_matter(
    made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    order = np.argsort(-made.clusters, kind="stable")
    shapes, flags = regularize_footprints(made.traced[order], made.clusters[order], GSD_M)
    assert wkb(shapes) == wkb(straight[0][order])
    assert (flags == straight[1][order]).all()


def test_the_order_within_a_cluster_does_not_matter(
    made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    order = np.arange(len(made.traced))[::-1]
    shapes, flags = regularize_footprints(made.traced[order], made.clusters[order], GSD_M)
    assert (flags == straight[1][order]).all()
    assert shapely.hausdorff_distance(shapes, straight[0][order]).max() < 1e-6


@pytest.mark.parametrize("east", [1234.5, -7e5])
def test_buildings_elsewhere_get_the_same_shape(
    east: float, made: Town, straight: tuple[Polygons, NDArray[np.bool_]]
) -> None:
    moved = np.array([affinity.translate(p, east, 4 * east) for p in made.traced])
    shapes, flags = regularize_footprints(moved, made.clusters, GSD_M)
    back = np.array([affinity.translate(p, -east, -4 * east) for p in shapes])
    assert (flags == straight[1]).all()
    assert shapely.hausdorff_distance(back, straight[0]).max() < 1e-5


def test_the_polygons_given_are_not_changed(made: Town) -> None:
    before = wkb(made.traced)
    regularize_footprints(made.traced, made.clusters, GSD_M)
    assert wkb(made.traced) == before


def test_neighbours_need_no_common_corner_to_share_a_wall() -> None:
    long, left, right = box(0, 0, 12, 6), box(0, 6, 6, 12), box(6, 6, 12, 12)
    shapes, straight = regularize_footprints(np.array([long, left, right]), np.zeros(3, dtype=int), GSD_M)
    assert straight.all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.hausdorff_distance(shapes, np.array([long, left, right])).max() < 1e-9


def test_a_house_in_the_courtyard_of_another_fills_it() -> None:
    labels = np.full((60, 60), -1, dtype=np.int32)
    labels[5:55, 5:55], labels[20:40, 20:41] = 0, 1
    traced = traced_labels(labels)
    shapes, straight = regularize_footprints(np.array([traced[0], traced[1]]), np.zeros(2, dtype=int), GSD_M)
    assert straight.all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.union_all(shapes).area == pytest.approx((50 * GSD_M) ** 2)


def test_parts_that_meet_at_a_corner_stay_one_footprint() -> None:
    footprint = shapely.multipolygons([box(0, 0, 6, 6), box(6, 6, 12, 12)])
    shapes, straight = regularize_footprints(np.array([footprint]), np.zeros(1, dtype=int), GSD_M)
    assert straight.all()
    assert shapes[0].is_valid
    assert shapely.hausdorff_distance(shapes[0], footprint) < 1e-9


def test_a_shape_too_far_from_its_outline_is_not_accepted() -> None:
    comb = shapely.union_all([box(0, 0, 12, 0.6), *(box(2 * i, 0, 2 * i + 0.6, 6) for i in range(6))])
    shapes, straight = regularize_footprints(*alone(comb), GSD_M)
    if straight[0]:
        assert iou(shapes, np.array([comb]))[0] >= 0.85
    assert shapes[0].is_valid


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_smallest_footprints_are_not_lost(size: int) -> None:
    shed = box(0, 0, size * GSD_M, GSD_M)
    shapes, _ = regularize_footprints(*alone(shed), GSD_M)
    assert shapely.hausdorff_distance(shapes[0], shed) < 1e-9


def test_no_footprints_stay_none() -> None:
    shapes, straight = regularize_footprints(np.empty(0, dtype=object), np.empty(0, dtype=np.int64), GSD_M)
    assert len(shapes) == len(straight) == 0


@pytest.mark.parametrize("resolution_m", [0, -0.3, float("nan")])
def test_pixels_without_size_are_refused(resolution_m: float) -> None:
    with pytest.raises(InputError, match=f"{resolution_m} m large"):
        regularize_footprints(*alone(box(0, 0, 9, 9)), resolution_m)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    blur=st.sampled_from([0.0, 0.7, 1.5, 3.0]),
    classes=st.integers(1, 4),
    together=st.booleans(),
)
def test_blobs_of_any_shape_stay_valid_and_keep_fitting(
    seed: int, blur: float, classes: int, together: bool
) -> None:
    chance = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(chance.random((40, 40)), blur)
    ranks = field.ravel().argsort().argsort().reshape(field.shape)
    values = ranks % (classes + 1) if blur == 0 else ranks * (classes + 1) // ranks.size
    labels = ndimage.label(values)[0] - 1
    traced = np.array(every_polygon(labels))
    clusters = np.zeros(len(traced), dtype=int) if together else np.arange(len(traced))
    shapes, straight = regularize_footprints(traced, clusters, GSD_M)
    assert shapely.is_valid(shapes).all()
    assert (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all()
    assert (shapely.area(shapes) > 0).all()
    assert (iou(shapes[straight], traced[straight]) >= 0.85 - 1e-9).all()
    if together:
        assert shapely.coverage_is_valid(shapes)
    assert wkb(regularize_footprints(traced, clusters, GSD_M)[0]) == wkb(shapes)


def every_polygon(labels: NDArray[np.int64]) -> list[Polygon]:
    found = shapes_of(labels.astype(np.int32), mask=labels >= 0, transform=Affine.scale(GSD_M, -GSD_M))
    return [shapely.geometry.shape(geometry) for geometry, _ in found]
