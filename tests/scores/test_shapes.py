"""Shapes of outlines: closed forms, and the published definitions done point by point."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import affinity, box

from geoseg.scores.shapes import (
    RingPoints,
    count_vertices,
    measure_near_lengths,
    measure_polis,
    measure_tangent_angles,
)

SQUARE = box(0, 0, 10, 10)
RING = SQUARE.difference(box(3, 3, 6, 6))
DISTANCES = (0.25, 0.5, 1.0)

LENGTHS = st.floats(4, 20)
HOUSES = st.builds(
    lambda width, height, angle, x, y: affinity.translate(
        affinity.rotate(box(0, 0, width, height).difference(box(0, 0, width / 3, height / 2)), angle), x, y
    ),
    LENGTHS, LENGTHS, st.floats(0, 90), st.floats(-2, 2), st.floats(-2, 2),
)  # fmt: skip


def array(*polygons: shapely.Geometry) -> NDArray[np.object_]:
    return np.array(polygons, dtype=object)


def test_vertices_are_counted_without_the_repeated_ones() -> None:
    several = shapely.MultiPolygon([SQUARE, box(20, 0, 22, 2)])
    slanted = shapely.Polygon([(0, 0), (4, 0), (0, 3)])
    assert count_vertices(array(SQUARE, RING, several, slanted)).tolist() == [4, 8, 8, 3]
    assert count_vertices(array()).tolist() == []


@given(st.lists(HOUSES, max_size=4), st.floats(0.3, 3))
def test_points_along_rings_keep_their_length_and_their_corners(houses: list, spacing: float) -> None:
    polygons = array(*houses, RING)
    points = RingPoints.along(polygons, spacing)
    lengths = np.bincount(points.owner, points.lengths)
    assert lengths == pytest.approx(shapely.length(polygons))
    assert points.lengths.max() <= 1.5 * spacing + 1e-9
    for number, polygon in enumerate(polygons):
        corners = {tuple(corner) for corner in shapely.get_coordinates(polygon)}
        assert corners <= {tuple(place) for place in points.places[points.owner == number]}


@pytest.mark.parametrize("shift", [0.0, 0.7, 3.0])
def test_polis_of_a_shifted_square_is_half_the_shift(shift: float) -> None:
    """Two corners of each lie on a wall of the other, two are as far from one as it was shifted."""
    moved = affinity.translate(SQUARE, shift)
    assert measure_polis(array(SQUARE), array(moved)) == pytest.approx([shift / 2])


def test_polis_of_a_larger_square_is_between_its_margin_and_the_diagonal_of_that() -> None:
    """Inner corners are as far from the walls as the margin is wide; outer ones from corners, sqrt 2 times that."""
    inner, outer = array(box(1, 1, 9, 9)), array(SQUARE)
    assert measure_polis(inner, outer) == pytest.approx([(1 + sqrt(2)) / 2])
    assert measure_polis(inner, outer) == measure_polis(outer, inner)


@given(st.lists(st.tuples(HOUSES, HOUSES), min_size=1, max_size=4))
def test_polis_is_the_mean_over_both_polygons_vertices(pairs: list) -> None:
    one, other = (array(*polygons) for polygons in zip(*pairs, strict=True))
    assert measure_polis(one, other) == pytest.approx([polis_step_by_step(*pair) for pair in pairs])


def polis_step_by_step(one: shapely.Polygon, other: shapely.Polygon) -> float:
    """Avbelj et al. (2015), equation 2."""
    sums = 0.0
    for polygon, target in ((one, other), (other, one)):
        corners = [shapely.Point(xy) for ring in rings_of(polygon) for xy in ring.coords[:-1]]
        sums += sum(target.boundary.distance(corner) for corner in corners) / (2 * len(corners))
    return sums


def rings_of(polygon: shapely.Polygon) -> list[shapely.LinearRing]:
    return [polygon.exterior, *polygon.interiors]


def test_the_same_outline_has_no_tangent_error() -> None:
    assert measure_tangent_angles(array(SQUARE, RING), array(SQUARE, RING), 0.6) == pytest.approx([0, 0])


def test_a_cut_corner_is_an_error_of_45_degrees() -> None:
    """Its pieces come to lie on either wall, shortened by sqrt 2, which is not too much."""
    cut = shapely.Polygon([(0, 0), (10, 0), (10, 6), (6, 10), (0, 10)])
    assert measure_tangent_angles(array(cut), array(SQUARE), 0.5) == pytest.approx([45])


def test_stair_steps_are_an_error_of_45_degrees() -> None:
    """As pixels leave them along a slanted wall."""
    slanted = shapely.Polygon([(0, 0), (10, 0), (0, 10)])
    corners = [(0, 0), (10, 0)] + [
        xy for step in range(10) for xy in ((10 - step, step + 1), (9 - step, step + 1))
    ]
    assert measure_tangent_angles(array(shapely.Polygon(corners)), array(slanted), 0.5) == pytest.approx([45])


def test_an_outline_that_comes_together_in_a_point_has_no_tangent_error() -> None:
    """All of it is nearest to one corner of the other."""
    far = box(30, 30, 31, 31)
    assert np.isnan(measure_tangent_angles(array(far), array(SQUARE), 0.6)).all()


@given(st.lists(st.tuples(HOUSES, HOUSES), min_size=1, max_size=4), st.floats(0.4, 2))
def test_tangent_errors_are_those_of_the_published_steps(pairs: list, spacing: float) -> None:
    one, other = (array(*polygons) for polygons in zip(*pairs, strict=True))
    expected = [tangent_step_by_step(*pair, spacing) for pair in pairs]
    # Close to a bound of the stretch, rounding decides whether a piece counts.
    found = measure_tangent_angles(one, other, spacing)
    for angle, bounds in zip(found, expected, strict=True):
        assert bounds[0] - 1e-4 <= angle <= bounds[1] + 1e-4


def tangent_step_by_step(
    predicted: shapely.Polygon, true: shapely.Polygon, spacing: float
) -> tuple[float, float]:
    """Girard et al. (2021): the largest turn of a piece, with the bounds of the stretch a little narrower and wider."""
    return tuple(
        max(
            angle
            for ring in rings_of(predicted)
            for angle, stretch in turns_of(ring, true.boundary, spacing)
            if 0.5 + slack < stretch < 2 - slack
        )
        for slack in (1e-6, -1e-6)
    )


def turns_of(
    ring: shapely.LinearRing, target: shapely.LineString, spacing: float
) -> list[tuple[float, float]]:
    """The angle and the stretch of each piece of a ring."""
    found = []
    for start, stop in pairwise(np.array(ring.coords)):
        number = max(1, round(float(np.hypot(*(stop - start))) / spacing))
        places = [start + (stop - start) * step / number for step in range(number + 1)]
        nearest = [
            np.array(target.interpolate(target.project(shapely.Point(place))).coords[0]) for place in places
        ]
        for piece, moved in zip(np.diff(places, axis=0), np.diff(nearest, axis=0), strict=True):
            length, moved_length = np.hypot(*piece), np.hypot(*moved)
            if moved_length > 0:
                cosine = abs(piece @ moved) / (length * moved_length)
                found.append((float(np.degrees(np.arccos(min(1, cosine)))), float(moved_length / length)))
    return found


def test_a_shifted_square_is_near_on_two_sides_and_at_four_ends() -> None:
    """Shifted by 2: the walls along the shift are near but for what is farther than the distance from the other's end."""
    moved = affinity.translate(SQUARE, 2)
    near = measure_near_lengths(array(SQUARE), array(moved), DISTANCES, 0.001)
    expected = [2 * (10 - 2 + distance) + 2 * distance for distance in DISTANCES]
    assert near[:, 0] == pytest.approx(expected, abs=0.01)


@given(st.lists(HOUSES, min_size=1, max_size=4), st.lists(HOUSES, max_size=4))
def test_near_lengths_are_those_within_buffers(one: list, other: list) -> None:
    near = measure_near_lengths(array(*one), array(*other), DISTANCES, 0.05)
    boundaries = shapely.union_all([shapely.boundary(polygon) for polygon in other])
    for row, distance in zip(near, DISTANCES, strict=True):
        around = shapely.buffer(boundaries, distance, quad_segs=16)
        exact = shapely.length(shapely.intersection([polygon.boundary for polygon in one], around))
        assert row == pytest.approx(exact, abs=0.3)


def test_many_neighbours_are_measured_point_by_point() -> None:
    row = array(*(box(x, 0, x + 4, 8) for x in range(0, 80, 5)))
    whole = array(box(0.3, 0.2, 79, 8.4))
    found = measure_near_lengths(whole, row, DISTANCES, 0.3)
    assert found == pytest.approx(measure_near_lengths(whole, row, DISTANCES, 0.3, most_neighbours=100))


def test_batches_change_nothing() -> None:
    rng = np.random.default_rng(0)
    one = shapely.box(*rng.uniform(0, 30, (2, 20)), *rng.uniform(31, 60, (2, 20)))
    other = shapely.box(*rng.uniform(0, 30, (2, 20)), *rng.uniform(31, 60, (2, 20)))
    measured = [
        partial(measure_polis, one, other),
        partial(measure_tangent_angles, one, other, 0.6),
        partial(measure_near_lengths, one, other, DISTANCES, 0.3),
    ]
    for measure in measured:
        np.testing.assert_array_equal(measure(at_once=3), measure())


def test_nothing_is_measured_of_nothing() -> None:
    assert measure_polis(array(), array()).tolist() == []
    assert measure_tangent_angles(array(), array(), 1).tolist() == []
    assert measure_near_lengths(array(), array(SQUARE), DISTANCES, 1).shape == (3, 0)
    assert measure_near_lengths(array(SQUARE), array(), DISTANCES, 1).tolist() == [[0], [0], [0]]
