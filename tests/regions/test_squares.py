"""Squares that hands have changed since they were drawn: left out by the stated rule, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from heard import Heard
from layers import LONLAT
from sampled import draw, make_map

from geoseg.errors import InputError
from geoseg.regions.squares import read_square_layer, read_squares

Change = Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of squares, all of them done."""
    make_map(tmp_path)
    drawn = draw(tmp_path, "squares.gpkg", points=None, squares=12, side_m=60.0)
    rewrite(drawn, lambda frame: frame.assign(done=True))
    return drawn


def rewrite(path: Path, change: Change, layer: str = "squares") -> None:
    pyogrio.write_dataframe(change(gpd.read_file(path, layer=layer)), path, layer=layer)


def shift(frame: gpd.GeoDataFrame, rows: int, east: float) -> gpd.GeoDataFrame:
    shapes = np.asarray(frame.geometry.array).copy()
    shapes[:rows] = shapely.transform(shapes[:rows], lambda places: places + np.array([east, 0.0]))
    return frame.set_geometry(shapes, crs=frame.crs)


def widen(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The first square pulled to the right; its lower left corner stays."""
    shapes = np.asarray(frame.geometry.array).copy()
    left, bottom, right, top = shapes[0].bounds
    shapes[0] = shapely.box(left, bottom, right + 30, top)
    return frame.set_geometry(shapes, crs=frame.crs)


def add_by_hand(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """One more, with nothing but a shape and a tick."""
    shape = shapely.box(*(np.array(frame.geometry.iloc[0].bounds) + 500))
    rows = [*frame.drop(columns="geometry").to_dict("records"), {"done": True}]
    return gpd.GeoDataFrame(rows, geometry=[*frame.geometry, shape], crs=frame.crs)


def copy_one(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.iloc[[*range(len(frame)), 0]].reset_index(drop=True)


def copy_aside(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """A copy that was moved stands before the square itself."""
    twice = frame.iloc[[0, *range(len(frame))]].reset_index(drop=True)
    return shift(twice, 1, 60.0)


def lose_a_shape(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    shapes = np.asarray(frame.geometry.array).copy()
    shapes[0] = None
    return frame.set_geometry(shapes, crs=frame.crs)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda frame: shift(frame, 3, 20.0), 9),
        (lambda frame: shift(frame, 3, 0.3), 12),
        (widen, 11),
        (add_by_hand, 12),
        (copy_one, 12),
        (copy_aside, 12),
        (lose_a_shape, 11),
    ],
    ids=["moved", "moved by a hair", "widened", "added", "copied", "copied aside", "without a shape"],
)  # fmt: skip
def test_squares_changed_by_hand_are_left_out_and_told(
    path: Path, heard: Heard, change: Change, left: int
) -> None:
    before = read_square_layer(path)
    rewrite(path, change)
    kept = read_square_layer(path)
    assert len(kept) == left
    assert set(kept["id"]) <= set(before["id"])
    changed = len(gpd.read_file(path, layer="squares")) - left
    assert (f"{changed} squares were added, moved, resized or copied" in "\n".join(heard.warnings)) == bool(
        changed
    )


def test_deleted_squares_count_as_not_looked_at(path: Path) -> None:
    rewrite(path, lambda frame: frame.iloc[4:])
    assert len(read_square_layer(path)) == 8


@pytest.mark.parametrize(
    "change",
    [lambda frame: frame.to_crs(LONLAT), lambda frame: shift(frame, 12, 100.0)],
    ids=["another CRS", "all moved"],
)
def test_where_no_square_is_in_its_place_one_line_says_so(path: Path, change: Change) -> None:
    rewrite(path, change)
    with pytest.raises(InputError, match="no square lies where it was drawn"):
        read_square_layer(path)


def test_marks_outside_of_all_squares_are_told(path: Path, heard: Heard) -> None:
    squares = read_square_layer(path)
    inside = squares.geometry.representative_point()
    far = gpd.GeoSeries([shapely.Point(0, 0)], crs=squares.crs)
    marks = gpd.GeoDataFrame({"remark": [""] * 13}, geometry=[*inside, *far], crs=squares.crs)
    pyogrio.write_dataframe(marks, path, layer="marks")
    found = read_squares(path, [], squares.crs)
    assert found.marked.tolist() == [1] * 12
    assert "1 marks lie in no square" in "\n".join(heard.warnings)


def test_a_stratum_of_which_no_square_is_done_is_told(path: Path, heard: Heard) -> None:
    frame = gpd.read_file(path, layer="squares")
    first = frame["stratum"].iloc[0]
    rewrite(path, lambda squares: squares.assign(done=squares["stratum"] != first))
    read_squares(path, [], frame.crs)
    assert f"no square of {first} is done" in "\n".join(heard.warnings)
