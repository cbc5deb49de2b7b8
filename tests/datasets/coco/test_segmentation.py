"""Shapes are drawn as they are: run lengths bit by bit, polygons to within a pixel of their outline."""

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


def test_a_box_covers_the_pixels_whose_middles_it_holds() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:20, 5:30] = True
    box = [5.0, 10.0, 30.0, 10.0, 30.0, 20.0, 5.0, 20.0]
    assert np.array_equal(draw_segmentation([box], HEIGHT, WIDTH), expected)
    other = [40.0, 10.0, 50.0, 10.0, 50.0, 20.0, 40.0, 20.0]
    expected[10:20, 40:50] = True
    assert np.array_equal(draw_segmentation([box, other], HEIGHT, WIDTH), expected)


@given(polygon=corners)
def test_a_polygon_differs_from_the_true_shape_along_its_outline_only(
    polygon: list[tuple[float, float]],
) -> None:
    drawn = draw_segmentation([flat(polygon)], HEIGHT, WIDTH)
    rows, cols = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    shape = shapely.Polygon(polygon)
    if not shape.is_valid:
        return
    inside = shapely.contains_xy(shape, cols, rows)
    near = shapely.distance(shape.exterior, shapely.points(cols, rows)) <= 1.0
    assert np.array_equal(drawn[~near], inside[~near])


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
        ([[1e9, 2, 3, 4, 5, 6]], "reaches 1e\\+09 pixels"),
        ([[1e300, 2, 3, 4, 5, 6]], "pixels away"),
        ("polygon", "neither polygons nor run lengths"),
        (None, "neither polygons nor run lengths"),
        ([], "neither polygons nor run lengths"),
        ({"size": [4, 4], "counts": [1]}, "not of"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, "cover 3 pixels"),
        # The sum of these is the right one, in 64 bits.
        ({"size": [HEIGHT, WIDTH], "counts": [*[2**62] * 4, HEIGHT * WIDTH]}, "cover 1844674407370955"),
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
