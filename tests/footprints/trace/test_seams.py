"""Footprints traced in bands equal those of the whole image, whatever the height of the bands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rasterio.features import shapes
from scipy.ndimage import label

from geoseg.footprints.trace.outlines import JoinRules, trace_outlines
from geoseg.footprints.trace.pieces import BYTE_STEPS
from geoseg.footprints.trace.rings import Stitcher, TracedFootprints, build_footprints
from geoseg.raster.coding import FINE_STEPS

NODATA = 255
CORNERS = np.ones((3, 3))
SIDES = JoinRules()


def in_bands(mask, height, joining=SIDES, probability=None) -> TracedFootprints:
    """Footprints of a mask cut into bands, batch after batch as they are released."""
    stitcher = Stitcher(mask.shape[1], joining)
    batches = []
    for row in range(0, len(mask), height):
        values = None if probability is None else probability[row : row + height]
        batches.append(
            build_footprints(stitcher.add(trace_outlines(mask[row : row + height], row, joining, values)))
        )
    batches.append(build_footprints(stitcher.finish()))
    whole = TracedFootprints.merge(batches)
    released = np.concatenate([batch.polygons for batch in batches])
    assert [p.wkt for p in released] == [p.wkt for p in whole.polygons], "released out of order"
    return whole


def oracle(mask, connectivity=4) -> list[tuple[int, shapely.Geometry]]:
    """Footprints as unions of unit squares, by another library's labels of the whole image."""
    found = []
    for value in np.unique(mask[(mask != 0) & (mask != NODATA)]):
        labels, number = label(mask == value, structure=CORNERS if connectivity == 8 else None)
        for i in range(1, number + 1):
            row, col = np.nonzero(labels == i)
            found.append((int(value), shapely.union_all(shapely.box(col, row, col + 1, row + 1))))
    return found


def by_place(footprints) -> list[tuple[int, shapely.Geometry]]:
    return sorted(
        footprints, key=lambda entry: (entry[0], *entry[1].bounds, *entry[1].representative_point().coords[0])
    )


def assert_same(traced_ones: TracedFootprints, expected) -> None:
    assert shapely.is_valid(traced_ones.polygons).all()
    ours = by_place(zip(traced_ones.value.tolist(), traced_ones.polygons, strict=True))
    theirs = by_place(expected)
    assert [value for value, _ in ours] == [value for value, _ in theirs]
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        assert shapely.equals(one, other)


def masks(values=(0, 1), most=12) -> st.SearchStrategy[np.ndarray]:
    sides = st.integers(1, most)
    return arrays.arrays(np.uint8, st.tuples(sides, sides), elements=st.sampled_from(values))


@settings(max_examples=60, deadline=None)
@given(mask=masks(), data=st.data())
def test_bands_of_any_height_give_the_footprints_of_the_whole_image(mask, data) -> None:
    height = data.draw(st.integers(1, len(mask)))
    assert_same(in_bands(mask, height), oracle(mask))


@settings(max_examples=40, deadline=None)
@given(mask=masks((0, 1, 2, 7, NODATA)), data=st.data())
def test_classes_and_nodata_are_kept_apart(mask, data) -> None:
    height = data.draw(st.integers(1, len(mask)))
    assert_same(in_bands(mask, height), oracle(mask))


@settings(max_examples=40, deadline=None)
@given(mask=masks((0, 1, 2)), data=st.data())
def test_with_eight_neighbours_corners_join(mask, data) -> None:
    height = data.draw(st.integers(1, len(mask)))
    assert_same(in_bands(mask, height, JoinRules(connectivity=8)), oracle(mask, connectivity=8))


@settings(max_examples=40, deadline=None)
@given(mask=masks((0, 0, 1, 2, NODATA)), seed=st.integers(0, 99))
def test_nothing_depends_on_the_height_of_bands(mask, seed) -> None:
    probability = np.random.default_rng(seed).integers(0, 256, mask.shape, dtype=np.uint8)
    whole = in_bands(mask, len(mask), probability=probability)
    for height in range(1, len(mask)):
        cut = in_bands(mask, height, probability=probability)
        assert [p.wkt for p in cut.polygons] == [p.wkt for p in whole.polygons]
        for column in ("value", "probability", "known", "touches_nodata", "order"):
            np.testing.assert_array_equal(getattr(cut, column), getattr(whole, column))
        assert partition(cut.cluster) == partition(whole.cluster)


def partition(labels) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == one).tolist()) for one in labels}


def spiral(size: int) -> np.ndarray:
    mask = np.zeros((size, size), dtype=np.uint8)
    row = col = 0
    down, right = 0, 1
    mask[0, 0] = 1
    for length in [size - 1, *(n for n in range(size - 1, 0, -2) for _ in (0, 1))]:
        for _ in range(length):
            row, col = row + down, col + right
            mask[row, col] = 1
        down, right = right, -down
    return mask


def comb(height: int, width: int, back: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, ::2] = 1
    mask[back] = 1
    return mask


def rings(size: int) -> np.ndarray:
    row, col = np.indices((size, size))
    away = np.minimum.reduce([row, col, size - 1 - row, size - 1 - col])
    return (away % 2 == 0).astype(np.uint8)


def chessboard(size: int) -> np.ndarray:
    return (np.indices((size, size)).sum(axis=0) % 2).astype(np.uint8)


SHAPES = {
    "spiral": spiral(15),
    "comb hanging": comb(9, 11, 0),
    "comb standing": comb(9, 11, -1),
    "rings in rings": rings(13),
    "chessboard": chessboard(7),
    "full": np.ones((6, 5), dtype=np.uint8),
    "empty": np.zeros((6, 5), dtype=np.uint8),
    "single pixel": np.ones((1, 1), dtype=np.uint8),
    "hole that meets the outside at a corner": np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.uint8),
    "two holes that meet at a corner": np.pad(np.eye(2, dtype=np.uint8), 2, constant_values=0) ^ 1,
    "all nodata": np.full((4, 4), NODATA, dtype=np.uint8),
    "island in a courtyard": np.pad(np.pad(np.ones((2, 2), np.uint8), 2), 1, constant_values=1),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("connectivity", [4, 8])
def test_shapes_that_cross_many_seams(name: str, connectivity: int) -> None:
    mask = SHAPES[name]
    for height in range(1, len(mask) + 1):
        found = in_bands(mask, height, JoinRules(connectivity=connectivity))
        assert_same(found, oracle(mask, connectivity))


def town(size: int = 300, seed: int = 3) -> np.ndarray:
    chance = np.random.default_rng(seed)
    mask = np.zeros((size, size), dtype=np.uint8)
    for _ in range(120):
        (row, col), (height, width) = chance.integers(0, size, 2), chance.integers(2, 40, 2)
        mask[row : row + height, col : col + width] = chance.integers(0, 3)
    return mask


def gdal(mask) -> Iterator[tuple[int, shapely.Geometry]]:
    for shape, value in shapes(mask, mask=(mask > 0) & (mask != NODATA)):
        yield int(value), shapely.make_valid(shapely.geometry.shape(shape))


@pytest.mark.parametrize("height", [1, 7, 64, 300])
def test_a_town_equals_what_gdal_traces(height: int) -> None:
    mask = town()
    assert_same(in_bands(mask, height), gdal(mask))


def test_outlines_hold_no_needless_corner() -> None:
    for polygon in in_bands(town(), 5).polygons:
        for ring in (polygon.exterior, *polygon.interiors):
            steps = np.diff(np.asarray(ring.coords), axis=0)
            horizontal = steps[:, 0] != 0
            assert (horizontal != np.roll(horizontal, 1)).all()


def test_rings_start_at_their_first_corner_and_run_like_on_a_map() -> None:
    polygon = in_bands(rings(5), 2).polygons[-1]
    on_map = shapely.transform(polygon, lambda points: points * (1, -1))
    assert polygon.exterior.coords[0] == (0, 0)
    assert on_map.exterior.is_ccw
    assert not on_map.interiors[0].is_ccw


def test_nothing_is_kept_of_what_does_not_cross_the_seam() -> None:
    stitcher = Stitcher(40, JoinRules())
    houses = np.zeros((4, 40), dtype=np.uint8)
    houses[1:3, 2:38:4] = 1
    for band in range(50):
        released = build_footprints(stitcher.add(trace_outlines(houses, 4 * band, JoinRules())))
        assert len(released) == 9
        assert not len(stitcher._open.corners)


def test_only_what_crosses_the_seam_waits() -> None:
    stitcher = Stitcher(6, JoinRules())
    stitcher.add(
        trace_outlines(np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]], dtype=np.uint8), 0, JoinRules())
    )
    assert len(stitcher._open.corners) == 4


def test_footprints_come_by_last_row_then_by_first_pixel() -> None:
    mask = np.zeros((6, 9), dtype=np.uint8)
    mask[0:5, 0], mask[1:3, 2], mask[4:5, 8], mask[1, 5] = 1, 1, 1, 1
    released = in_bands(mask, 1)
    assert [tuple(map(int, p.bounds[:2])) for p in released.polygons] == [(5, 1), (2, 1), (0, 0), (8, 4)]


def test_neighbours_of_other_classes_make_a_cluster_that_comes_whole() -> None:
    mask = np.array([[1, 2, 0, 1], [1, 2, 0, 1], [1, 0, 0, 0], [1, 0, 3, 3]], dtype=np.uint8)
    stitcher = Stitcher(4, JoinRules())
    batches = [
        build_footprints(stitcher.add(trace_outlines(row[None], i, JoinRules())))
        for i, row in enumerate(mask)
    ]
    assert [len(batch) for batch in batches] == [0, 0, 1, 0]
    last = build_footprints(stitcher.finish())
    assert sorted(last.value) == [1, 2, 3]
    assert last.cluster[list(last.value).index(1)] == last.cluster[list(last.value).index(2)]
    assert len(set(last.cluster)) == 2


def test_corners_make_clusters_where_they_are_asked_for() -> None:
    mask = np.array([[1, 0, 0, 2], [0, 1, 2, 0], [1, 0, 0, 0]], dtype=np.uint8)
    assert len(set(in_bands(mask, 1).cluster)) == 4
    assert sorted(np.bincount(in_bands(mask, 1, JoinRules(clusters=8)).cluster)) == [5]


def test_without_clusters_each_footprint_is_released_as_it_closes() -> None:
    mask = np.array([[1, 2], [1, 0], [1, 0], [0, 0]], dtype=np.uint8)
    alone = JoinRules(clusters=0)
    stitcher = Stitcher(2, alone)
    counts = [
        len(build_footprints(stitcher.add(trace_outlines(row[None], i, alone)))) for i, row in enumerate(mask)
    ]
    assert counts == [0, 1, 0, 1]


@settings(max_examples=30, deadline=None)
@given(mask=masks((0, 1, 1, NODATA)), data=st.data())
def test_confidence_is_the_mean_of_the_known_probabilities_inside(mask, data) -> None:
    probability = data.draw(arrays.arrays(np.uint8, mask.shape))
    found = in_bands(mask, data.draw(st.integers(1, len(mask))), probability=probability)
    for polygon, total, known in zip(found.polygons, found.probability, found.known, strict=True):
        row, col = np.nonzero(mask == 1)
        mine = shapely.contains_xy(polygon, col + 0.5, row + 0.5)
        values = probability[row, col][mine]
        assert known == (values != 255).sum()
        assert total == BYTE_STEPS[values[values != 255]].astype(int).sum()
        assert total <= known * FINE_STEPS * 254 / 250


@settings(max_examples=30, deadline=None)
@given(mask=masks((0, 1, NODATA)), data=st.data())
def test_touching_nodata_is_sharing_a_side_with_it(mask, data) -> None:
    found = in_bands(mask, data.draw(st.integers(1, len(mask))))
    row, col = np.nonzero(mask == NODATA)
    unknown = shapely.union_all(shapely.box(col, row, col + 1, row + 1))
    for polygon, touches in zip(found.polygons, found.touches_nodata, strict=True):
        assert touches == (shapely.intersection(polygon, unknown).length > 0)
