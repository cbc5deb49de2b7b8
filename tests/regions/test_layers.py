"""Regions in layers without overlap: few for neighbours, and quickly found for thousands on one place."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import shapely
from made import HERE, UTM33
from pyproj import CRS

from geoseg.raster.grid import Grid, Window
from geoseg.regions import pixels
from geoseg.regions.pixels import find_first_missing, find_window, separate_overlapping


def make_discs(count: int, reach: float) -> np.ndarray:
    chance = np.random.default_rng(count)
    return shapely.buffer(shapely.points(chance.uniform(0, reach, (count, 2))), chance.uniform(5, 20, count))


@pytest.mark.parametrize("reach", [20, 100, 400])
def test_no_layer_holds_two_that_overlap(reach: float) -> None:
    shapes = make_discs(150, reach)
    layers = separate_overlapping(shapes)
    assert sorted(np.concatenate(layers).tolist()) == list(range(150))
    for layer in layers:
        for one, other in combinations(shapes[layer], 2):
            assert shapely.intersection(one, other).area == 0


def test_neighbours_that_share_borders_are_one_layer() -> None:
    rows, cols = np.mgrid[0:20, 0:20]
    squares = shapely.box(cols.ravel(), rows.ravel(), cols.ravel() + 1, rows.ravel() + 1)
    assert len(separate_overlapping(squares)) == 1
    whole = shapely.box(0, 0, 20, 20)
    assert len(separate_overlapping(np.append(squares, whole))) == 2
    assert len(separate_overlapping(np.append(whole, squares))) == 2


def test_empty_regions_need_no_room() -> None:
    empty = np.full(3, shapely.MultiPolygon(), dtype=object)
    assert [layer.tolist() for layer in separate_overlapping(empty)] == [[0, 1, 2]]
    assert separate_overlapping(empty[:0]) == []


def test_work_grows_with_the_number_of_regions_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of regions on one place, each is compared with few others, however many there are."""
    looked_at: list[int] = []
    overlap_truly = pixels.overlap_truly

    def count_and_look(shapes: Any, inner: Any, others: Any, index: int) -> Any:
        looked_at.append(len(others))
        return overlap_truly(shapes, inner, others, index)

    monkeypatch.setattr(pixels, "overlap_truly", count_and_look)
    pairs = []
    for count in (300, 900):
        looked_at.clear()
        separate_overlapping(make_discs(count, 10))
        pairs.append(sum(looked_at))
    assert 0 < pairs[1] <= 3 * pairs[0] < 300 * 299


@pytest.mark.parametrize(("numbers", "missing"), [([], 0), ([1, 2], 0), ([0, 1, 3], 2), ([0, 1, 2], 3)])
def test_the_first_missing_number(numbers: list[int], missing: int) -> None:
    assert find_first_missing(np.array(numbers, dtype=np.intp)) == missing


def test_the_pixels_around_a_shape() -> None:
    grid = Grid(CRS(UTM33), HERE, 100, 200)
    left, top = HERE @ (30, 40)
    shape = shapely.box(left + 0.1, top - 3.1, left + 6.1, top - 0.1)  # columns 30 to 50, rows 40 to 50
    assert find_window(np.array([shape]), grid) == Window(39, 29, 13, 23)
    assert find_window(np.array([shapely.MultiPolygon()], dtype=object), grid) == Window(0, 0, 0, 0)
    far = shapely.box(0, 0, 1, 1)
    assert find_window(np.array([far]), grid).height * find_window(np.array([far]), grid).width == 0
