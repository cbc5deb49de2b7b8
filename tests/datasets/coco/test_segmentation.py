"""Shapes are drawn exactly as pycocotools draws them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize

from geoseg.datasets.coco.labels import convert_bbox, draw_segmentation, outline_segmentation
from geoseg.errors import InputError

oracle = pytest.importorskip("pycocotools.mask")
HEIGHT, WIDTH = 40, 57

coordinate = st.one_of(
    st.floats(-20, 80, allow_nan=False, width=32), st.integers(-5, 60).map(float), st.integers(0, 400).map(lambda n: n / 10)
)  # fmt: skip
corners = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=12)


def flat(points: list[tuple[float, float]]) -> list[float]:
    return [float(number) for point in points for number in point]


@given(polygons=st.lists(corners, min_size=1, max_size=3))
def test_polygons_equal_the_oracle(polygons: list[list[tuple[float, float]]]) -> None:
    written = [flat(points) for points in polygons]
    expected = oracle.decode(oracle.merge(oracle.frPyObjects(written, HEIGHT, WIDTH)))
    assert np.array_equal(draw_segmentation(written, HEIGHT, WIDTH), expected.astype(bool))


@pytest.mark.parametrize("seed", range(4))
def test_houses_equal_the_oracle(seed: int) -> None:
    chance = np.random.default_rng(seed)
    for _ in range(100):
        centre, size, angle = chance.uniform(0, 300, 2), chance.uniform(1, 60, 2), chance.uniform(0, 3.2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        house = [
            ((np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2) @ turn + centre).ravel().tolist()
        ]
        expected = oracle.decode(oracle.merge(oracle.frPyObjects(house, 300, 300)))
        assert np.array_equal(draw_segmentation(house, 300, 300), expected.astype(bool))


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_run_lengths_equal_the_oracle(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < share
    packed = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    written = {"size": packed["size"], "counts": packed["counts"].decode()}
    assert np.array_equal(draw_segmentation(written, HEIGHT, WIDTH), mask)
    changes = np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0))
    runs = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    assert np.array_equal(draw_segmentation({"size": [HEIGHT, WIDTH], "counts": runs}, HEIGHT, WIDTH), mask)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "three or more pairs"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three or more pairs"),
        ([["a", 2, 3, 4, 5, 6]], "something other than numbers"),
        ([[float("nan"), 2, 3, 4, 5, 6]], "three or more pairs"),
        ("polygon", "neither polygons nor run lengths"),
        (None, "neither polygons nor run lengths"),
        ([], "neither polygons nor run lengths"),
        ({"size": [4, 4], "counts": [1]}, "not of"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, "cover 3 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "\u00e9"}, "compressed text"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "compressed text"),
        ({"size": [HEIGHT, WIDTH], "counts": {"a": 1}}, "not whole numbers"),
    ],
)
def test_a_broken_shape_is_refused(segmentation: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_segmentation(segmentation, HEIGHT, WIDTH)


@given(polygons=st.lists(corners, min_size=1, max_size=3))
def test_outlines_are_valid_and_cover_what_the_polygons_cover(
    polygons: list[list[tuple[float, float]]],
) -> None:
    found = outline_segmentation([flat(points) for points in polygons], HEIGHT, WIDTH)
    whole = shapely.union_all(shapely.make_valid([shapely.Polygon(points) for points in polygons]))
    expected = whole.intersection(shapely.box(0, 0, WIDTH, HEIGHT))
    assert found.is_valid
    assert found.area == pytest.approx(expected.area, abs=1e-6)


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_outlines_of_run_lengths_hold_the_very_pixels(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < share
    packed = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    found = outline_segmentation({"size": packed["size"], "counts": packed["counts"].decode()}, HEIGHT, WIDTH)
    assert found.area == mask.sum()
    burnt = rasterize([found], (HEIGHT, WIDTH)) if mask.any() else np.zeros((HEIGHT, WIDTH))
    assert np.array_equal(burnt.astype(bool), mask)


@pytest.mark.parametrize("written", [[1, 2, 3], "abcd", None, [1, 2, "x", 4]])
def test_a_broken_box_is_refused(written: object) -> None:
    with pytest.raises(InputError, match="not four numbers"):
        convert_bbox(written)
