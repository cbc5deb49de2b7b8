"""Area gained and lost by points answered twice: by hand, by simulation, and with files that do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from layers import GRID, footprints, write
from sampled import answer, draw, make_map

import geoseg
from geoseg.errors import InputError
from geoseg.regions.change import GAINED, LOST, OUTSIDE, UNCHANGED, AreaChange, estimate_change
from geoseg.regions.points import AnsweredSample, set_answers

STRATA = pd.DataFrame(
    {"mapped": ["background", "building"], "stratum_m2": [90_000.0, 10_000.0], "stratum_points": [150, 150]},
    index=["background", "building"],
)


def make_sample(stratum: np.ndarray, truth: np.ndarray) -> AnsweredSample:
    none = np.zeros(len(stratum))
    return AnsweredSample(STRATA, stratum.astype(np.intp), truth.astype(np.intp), none, none, none)


def test_where_maps_and_strata_agree_it_is_olofssons_estimate() -> None:
    # Of 150 points each: 3 of the background are new, 15 of the buildings are gone; the maps show no change.
    stratum = np.repeat([0, 1], 150)
    truth = np.concatenate(
        [np.repeat([GAINED, UNCHANGED], [3, 147]), np.repeat([LOST, UNCHANGED], [15, 135])]
    )
    found = estimate_change(make_sample(stratum, truth), np.zeros(300, np.intp), 0.0, 0.0)
    assert found.gained.value == pytest.approx(90_000 * 3 / 150)
    assert found.lost.value == pytest.approx(10_000 * 15 / 150)
    assert found.gained.low < 1800 < found.gained.high
    assert found.points == 300


def test_what_the_maps_say_narrows_the_interval() -> None:
    stratum, truth = np.repeat([0, 1], 150), np.repeat([GAINED, UNCHANGED], [6, 294])
    plain = estimate_change(make_sample(stratum, truth), np.full(300, UNCHANGED), 0.0, 0.0)
    mapped = np.where(truth == GAINED, GAINED, UNCHANGED)
    told = estimate_change(make_sample(stratum, truth), mapped, 3600.0, 0.0)
    assert told.gained.value == pytest.approx(plain.gained.value) == pytest.approx(3600)
    assert told.gained.high - told.gained.low < plain.gained.high - plain.gained.low


def test_change_that_no_point_met_counts_as_ground_without() -> None:
    stratum, truth = np.repeat([0, 1], 150), np.repeat([GAINED, UNCHANGED], [3, 297])
    without = estimate_change(make_sample(stratum, truth), np.full(300, UNCHANGED), 0.0, 0.0)
    assert estimate_change(make_sample(stratum, truth), np.full(300, UNCHANGED), 500.0, 200.0) == without


def test_points_outside_the_compared_ground_take_their_area_with_them() -> None:
    stratum, truth = np.repeat([0, 1], 150), np.tile(np.repeat([GAINED, UNCHANGED], [6, 144]), 2)
    mapped = np.where(np.arange(300) % 2 == 0, UNCHANGED, OUTSIDE)
    found = estimate_change(make_sample(stratum, truth), mapped, 0.0, 0.0)
    assert found.gained.value == pytest.approx(50_000 * 6 / 150)
    assert found.points == 150


def test_intervals_hold_the_truth() -> None:
    """Two maps with errors of their own; the truth is known, points are drawn from the strata of the first map."""
    random = np.random.default_rng(5)
    side = 400
    was = np.zeros((side, side), bool)
    for row, col in random.integers(0, side - 12, (260, 2)):
        was[row : row + 10, col : col + 10] = True
    now = was.copy()
    for row, col in random.integers(0, side - 12, (60, 2)):
        now[row : row + 10, col : col + 10] ^= True
    first, second = (truth ^ (random.random(truth.shape) < 0.03) for truth in (was, now))
    truth = np.select([now & ~was, was & ~now], [GAINED, LOST], UNCHANGED).ravel()
    mapped = np.select([second & ~first, first & ~second], [GAINED, LOST], UNCHANGED).ravel()
    pixels = [np.flatnonzero(~first.ravel()), np.flatnonzero(first.ravel())]
    strata = STRATA.assign(stratum_m2=[float(len(each)) for each in pixels])
    held = np.zeros(2)
    runs = 400
    for _ in range(runs):
        drawn = np.concatenate([random.choice(each, 200) for each in pixels])
        none = np.zeros(400)
        sample = AnsweredSample(strata, np.repeat([0, 1], 200), truth[drawn], none, none, none)
        found = estimate_change(sample, mapped[drawn], (mapped == GAINED).sum(), (mapped == LOST).sum())
        for kind, interval in enumerate((found.gained, found.lost)):
            held[kind] += interval.low <= (truth == kind + 1).sum() <= interval.high
    assert (held / runs >= 0.93).all()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A map, one of a later date that has ten buildings more and ten less, and a sample for each date."""
    before = gpd.read_file(make_map(tmp_path), layer="buildings")
    shapes = np.asarray(before.geometry.array)
    new = shapely.transform(shapes[:10], lambda places: places + np.array([20.0, -20.0]))
    write(tmp_path / "later.gpkg", footprints(np.concatenate([shapes[10:], new])))
    answer(draw(tmp_path, points=200))
    shutil.copy(tmp_path / "points.gpkg", tmp_path / "later-points.gpkg")
    points = gpd.read_file(tmp_path / "points.gpkg", layer="points")
    later = gpd.read_file(tmp_path / "later.gpkg", layer="buildings").to_crs(points.crs)
    built = points.intersects(later.union_all())
    set_answers(
        tmp_path / "later-points.gpkg",
        {int(n): "building" if there else "not" for n, there in zip(points["id"], built, strict=True)},
    )
    return tmp_path


def compare(place: Path, a: str = "points.gpkg", b: str | None = "later-points.gpkg") -> AreaChange | None:
    samples = {"samples_a": place / a, "samples_b": b and place / b}
    result = geoseg.compare(
        place / "buildings.gpkg", place / "later.gpkg", area=str(place / "mask.tif"), **samples
    )
    if result.change:
        assert str(result.change) in str(result)
        assert result.summary["adjusted_gained_m2"] == float(result.change.gained.value)
    return result.change


def test_maps_without_errors_keep_their_areas(place: Path) -> None:
    found = compare(place)
    assert found
    assert found.points == 200
    house = 14 * 16.0
    for interval in (found.gained, found.lost):
        assert interval.low <= 10 * house <= interval.high
        assert interval.value == pytest.approx(10 * house, rel=0.05)


def test_points_that_say_nothing_on_one_date_are_left_out(place: Path) -> None:
    set_answers(place / "later-points.gpkg", {1: "unsure", 2: ""})
    found = compare(place)
    assert found
    assert found.points == 198


def test_one_date_alone_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match="belong together"):
        compare(place, b=None)


def test_other_points_are_refused(place: Path) -> None:
    answer(draw(place, "others.gpkg", points=200, seed=2))
    with pytest.raises(InputError, match="answer one copy for each date"):
        compare(place, b="others.gpkg")


def test_no_answer_in_both_is_refused(place: Path) -> None:
    set_answers(place / "points.gpkg", dict.fromkeys(range(1, 201), "unsure"))
    with pytest.raises(InputError, match="no point has an answer"):
        compare(place)


def test_words_that_are_no_answer_are_refused(place: Path) -> None:
    set_answers(place / "points.gpkg", {7: "bulding"})
    with pytest.raises(InputError, match="point 7 is answered 'bulding'"):
        compare(place)


def test_points_of_another_place_are_refused(place: Path) -> None:
    far = gpd.GeoDataFrame(geometry=[shapely.box(*GRID.bounds)], crs=GRID.crs).translate(5000)
    far.to_file(place / "far.gpkg")
    with pytest.raises(InputError, match="no point lies on the ground"):
        geoseg.compare(
            place / "buildings.gpkg", place / "later.gpkg", area=str(place / "far.gpkg"),
            samples_a=place / "points.gpkg", samples_b=place / "later-points.gpkg",
        )  # fmt: skip
