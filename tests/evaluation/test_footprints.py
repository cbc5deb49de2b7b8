"""Footprints matched and measured on a grid: plain loops over all pairs, and closed forms in true metres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from made import HERE, UTM33, RasterWriter
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.evaluation.counting import TileGrid, count_pair
from geoseg.evaluation.footprints import BOUNDARY_DISTANCES_M, TileTable, compare_outlines, match_footprints
from geoseg.evaluation.inputs.maps import (
    ClassMap,
    EvaluationPair,
    MapStrip,
    RasterMap,
    RestrictedMap,
    VectorMap,
    get_footprint_layer,
    get_outline_layer,
)
from geoseg.raster.grid import Grid
from geoseg.raster.mask import open_mask
from geoseg.scores.outlines import FootprintOutlines
from geoseg.scores.shapes import measure_polis

HEIGHT, WIDTH = 300, 410
GRID = Grid(CRS(UTM33), HERE, HEIGHT, WIDTH)
TILES = TileGrid(HEIGHT, WIDTH)
BOXES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(3, 20), st.integers(3, 20)), max_size=8
)


def boxes(
    sides: list[tuple[float, float, float, float]], classes: list[int] | None = None
) -> FootprintOutlines:
    """Boxes given as left, top, width and height, in pixels."""
    left, top, width, height = np.array(sides, dtype=float).reshape(-1, 4).T
    polygons = shapely.box(left, top, left + width, top + height)
    numbers = np.array(classes or [1] * len(sides), dtype=np.int64)
    return FootprintOutlines(polygons, numbers, np.full(len(sides), np.nan))


def on_grid(outlines: FootprintOutlines, **changes: Any) -> VectorMap:
    return VectorMap("layer", outlines, WIDTH, **changes)


def pair(predicted: ClassMap, truth: ClassMap, grid: Grid = GRID, **changes: Any) -> EvaluationPair:
    return EvaluationPair("x", "here", grid, predicted, truth, **changes)


def without_overlaps(outlines: FootprintOutlines) -> FootprintOutlines:
    """Those that share no ground with an earlier one, so that no two claim the same partner."""
    kept: list[int] = []
    for number, polygon in enumerate(outlines.polygons):
        if not any(polygon.intersection(outlines.polygons[other]).area for other in kept):
            kept.append(number)
    return outlines.select(np.array(kept, dtype=np.int64))


@given(BOXES, BOXES)
def test_matches_and_their_iou_are_those_of_all_pairs(predicted: list, true: list) -> None:
    one, other = without_overlaps(boxes(predicted)), without_overlaps(boxes(true))
    found, met = match_footprints(one, other, GRID, TILES)
    iou = np.array(
        [[a.intersection(b).area / a.union(b).area for b in other.polygons] for a in one.polygons]
    ).reshape(len(one), len(other))
    best, best_of_true = (iou.max(axis=axis, initial=0) for axis in (1, 0))
    assert found.iou == pytest.approx(np.where(best >= 0.5, best, 0))
    assert met.iou == pytest.approx(np.where(best_of_true >= 0.5, best_of_true, 0))
    assert found.matched[0].tolist() == (best >= 0.5).tolist()


def test_outlines_are_measured_in_true_metres() -> None:
    """At 60 degrees north a pixel of a metre in Web Mercator is half a metre."""
    north = Grid(CRS.from_epsg(3857), Affine(1, 0, 2_000_000, 0, -1, 8_399_737.9), HEIGHT, WIDTH)
    one, other = boxes([(100, 100, 40, 20)]), boxes([(103, 100, 40, 20)])
    found, met = compare_outlines(one, other, north, TILES)
    assert found.length_m == pytest.approx([60], rel=0.01)
    assert found.polis_m == pytest.approx([0.75], rel=0.01)
    # Two walls of 20 m, of which the last 1.5 m lie beyond the other's end, and the ends of a wall of 10 m.
    expected = [2 * (20 - 1.5 + distance) + 2 * distance for distance in BOUNDARY_DISTANCES_M]
    assert found.near_m[:, 0] == pytest.approx(expected, abs=1)
    assert met.near_m == pytest.approx(found.near_m, abs=1)
    assert found.vertices.tolist() == met.vertices.tolist() == [4]
    assert np.isnan(met.polis_m).all()


@given(BOXES, BOXES)
def test_only_outlines_that_match_have_a_distance(predicted: list, true: list) -> None:
    one, other = without_overlaps(boxes(predicted)), without_overlaps(boxes(true))
    found, _ = compare_outlines(one, other, GRID, TILES)
    for polygon, distance in zip(one.polygons, found.polis_m, strict=True):
        partners = [b for b in other.polygons if polygon.intersection(b).area >= polygon.union(b).area / 2]
        expected = [measure_polis(np.array([polygon]), np.array([b]))[0] * 0.3 for b in partners]
        assert distance == pytest.approx(expected[0], rel=1e-3) if partners else np.isnan(distance)


def test_a_boundary_of_another_class_is_not_near() -> None:
    one, other = boxes([(10, 10, 40, 20)], [1]), boxes([(10, 10, 40, 20), (10, 10, 40, 20)], [2, 3])
    found, met = compare_outlines(one, other, GRID, TILES)
    assert not found.near_m.any()
    assert not met.near_m.any()


def test_outlines_that_match_are_of_one_tile() -> None:
    """Their middles lie on either side of the edge between two tiles."""
    edge = TILES.side
    found, met = compare_outlines(
        boxes([(edge - 10, 10, 18, 20)]), boxes([(edge - 8, 10, 18, 20)]), GRID, TILES
    )
    assert found.tile.tolist() == met.tile.tolist() == [1]


def test_sums_by_tile_leave_out_the_background() -> None:
    table = TileTable(np.array([0, 1, 1, 2]), np.array([0, 0, 2, 2]))
    assert table.sum_by_tile(None, 3, 3).tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert table.sum_by_tile(np.array([9.0, 2.5, 1.0, 0.5]), 3, 3)[2].tolist() == [0, 1, 0.5]
    both = TileTable.concatenate([table, table], np.array([0, 3]))
    assert both.tile.tolist() == [0, 0, 2, 2, 3, 3, 5, 5]


class Array:
    """A map that is an array in memory."""

    def __init__(self, classes: NDArray[np.uint8]) -> None:
        self.name, self.classes = "array", classes

    def read(self, rows: slice) -> MapStrip:
        return MapStrip(self.classes[rows])


@pytest.fixture
def mask(write_raster: RasterWriter) -> RasterMap:
    """A mask in which two touching buildings are one."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[20:60, 20:60] = 1
    return RasterMap(open_mask(str(write_raster("mask.tif", values, nodata=255))))


PARTED = boxes([(20, 20, 20, 40), (40, 20, 20, 40)])


@pytest.mark.parametrize(("parts", "footprints"), [(True, 2), (False, 1)])
def test_footprints_that_a_model_parts_count_instead_of_what_the_mask_joins(
    mask: RasterMap, parts: bool, footprints: int
) -> None:
    predicted = RasterMap(mask.mask, outlines=on_grid(PARTED), parts_buildings=parts)
    counts = count_pair(pair(predicted, on_grid(PARTED)), 2)
    assert len(counts.predicted.tile) == footprints
    assert len(counts.predicted_outlines.tile) == 2
    assert counts.predicted.matched[0].sum() == (2 if parts else 1)


def test_a_map_is_known_by_what_it_was_before_it_was_restricted(mask: RasterMap) -> None:
    layer = on_grid(PARTED)
    outlined = RasterMap(mask.mask, outlines=layer)
    assert get_outline_layer(RestrictedMap(RestrictedMap(layer, mask), mask)) is layer
    assert get_footprint_layer(RestrictedMap(layer, mask)) is layer
    assert get_outline_layer(RestrictedMap(outlined, mask)) is layer
    assert get_footprint_layer(outlined) is get_outline_layer(mask) is None


def test_outlines_on_unknown_ground_do_not_count() -> None:
    true = np.zeros((HEIGHT, WIDTH), np.uint8)
    true[:, 250:] = 255
    outlines = boxes([(10, 20, 30, 30), (300, 20, 40, 30)])
    seen = RestrictedMap(on_grid(outlines), Array(true))
    counts = count_pair(pair(on_grid(outlines), seen), 2)
    assert counts.predicted_outlines.tile.tolist() == counts.true_outlines.tile.tolist() == [0]


def test_small_predicted_outlines_may_be_left_out() -> None:
    outlines = boxes([(10, 20, 30, 30), (100, 20, 3, 3)])
    counts = count_pair(pair(on_grid(outlines), on_grid(outlines), min_area_m2=1.0), 2)
    assert counts.predicted_outlines.vertices.tolist() == [4]
    assert counts.true_outlines.vertices.tolist() == [4, 4]


def test_maps_in_memory_have_no_outlines() -> None:
    values = np.ones((HEIGHT, WIDTH), np.uint8)
    assert count_pair(pair(Array(values), Array(values)), 2).predicted_outlines is None
