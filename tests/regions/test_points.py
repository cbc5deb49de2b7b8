"""What happened to a file of points since it was drawn, and the rule that settles it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely
from heard import Heard
from layers import LONLAT
from sampled import answer, draw, make_map

from geoseg.errors import GeosegError, InputError
from geoseg.footprints.write.samples import write_sample_layers
from geoseg.regions.points import SamplePoints, read_points, set_answers

Change = Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    make_map(folder)
    return answer(draw(folder))


@pytest.fixture
def points(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(drawn, tmp_path / "points.gpkg"))


def change(path: Path, alter: Change) -> Path:
    """The file after somebody has been at it."""
    frame = alter(gpd.read_file(path, layer="points"))
    path.unlink()
    pyogrio.write_dataframe(frame, path, layer="points")
    return path


def read_back(path: Path) -> dict[int, str]:
    frame = read_points(path).frame
    return dict(zip(frame["id"].astype(int), frame["answer"], strict=True))


def test_points_come_back_as_they_were_drawn(points: Path, heard: Heard) -> None:
    found = read_points(points)
    assert len(found.frame) == 60
    assert found.strata["mapped"].tolist() == ["background", "building"]
    assert not heard.warnings
    sample = found.select_answered(["building"])
    assert len(sample) == 60
    assert sample.weights_m2.sum() == pytest.approx(sample.strata_m2.sum())


def shift(frame: gpd.GeoDataFrame, by: float) -> gpd.GeoDataFrame:
    first = frame["id"] <= 3
    return frame.set_geometry(frame.geometry.where(~first, frame.geometry.translate(by, 0)))


def test_points_moved_out_of_their_pixel_are_left_out(points: Path, heard: Heard) -> None:
    assert len(read_back(change(points, lambda frame: shift(frame, 0.7)))) == 57
    assert any("3 points were moved" in line for line in heard.warnings)


def test_points_moved_within_their_pixel_count(points: Path, heard: Heard) -> None:
    assert len(read_back(change(points, lambda frame: shift(frame, 0.4)))) == 60
    assert not heard.warnings


def test_deleted_points_are_as_if_not_looked_at(points: Path) -> None:
    found = read_points(change(points, lambda frame: frame[frame["id"] > 20]))
    assert found.select_answered(["building"]).answered.sum() == 40
    assert found.strata["stratum_points"].sum() == 60


def test_points_added_by_hand_are_left_out(points: Path, heard: Heard) -> None:
    def add(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        fresh = gpd.GeoDataFrame({"answer": ["building"]}, geometry=[frame.geometry[0]], crs=frame.crs)
        copied = frame.iloc[:1].assign(id=999)
        return pd.concat([frame, fresh, copied], ignore_index=True)

    assert len(read_back(change(points, add))) == 60
    assert any("2 points were added by hand" in line for line in heard.warnings)


@pytest.mark.parametrize(
    ("second", "expected"), [("not", "unsure"), ("building", "building"), ("", "building")]
)
def test_points_answered_twice(points: Path, second: str, expected: str) -> None:
    def again(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        first = frame["id"] == 1
        frame.loc[first, "answer"] = "building"
        return pd.concat([frame, frame[first].assign(answer=second)], ignore_index=True)

    assert read_back(change(points, again))[1] == expected


def test_another_crs_is_the_same_place(points: Path, heard: Heard) -> None:
    assert read_back(change(points, lambda frame: frame.to_crs(LONLAT))) == read_back(points)
    assert not heard.warnings


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_says_the_same(points: Path, tmp_path: Path, separator: str) -> None:
    frame = gpd.read_file(points, layer="points").drop(columns="geometry")
    frame.to_csv(tmp_path / "points.csv", index=False, sep=separator)
    assert read_back(tmp_path / "points.csv") == read_back(points)


def test_what_nobody_can_tell_is_left_out_and_told(points: Path, heard: Heard) -> None:
    set_answers(points, dict.fromkeys(range(1, 11), "unsure"))
    assert len(read_points(points).select_answered(["building"])) == 50
    assert any("10 of 60 points are unsure" in line for line in heard.warnings)


def blank(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.assign(answer="")


def misspell(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.assign(answer=frame["answer"].where(frame["id"] != 7, "Buidling"))


def test_a_stratum_that_no_answer_speaks_for_is_told(points: Path, heard: Heard) -> None:
    silent = change(
        points, lambda frame: frame.assign(answer=frame["answer"].where(frame["mapped"] == "building", ""))
    )
    assert read_points(silent).select_answered(["building"]).answered.tolist()[0] == 0
    assert heard.warnings == [
        f"{silent}: no point says anything of background: taken to be like the rest of what the map says there"
    ]


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (blank, "no point has an answer yet"),
        (misspell, "point 7 is answered 'Buidling'; answers are building, not, unsure"),
        (lambda frame: frame.drop(columns="stratum_m2"), "no column stratum_m2"),
        (lambda frame: frame[frame["mapped"] == "building"], "one is missing as a whole"),
        (lambda frame: frame[frame["mapped"] != "building"], "one is missing as a whole"),
        (lambda frame: frame.assign(stratum_m2=frame["id"] * 1.0), "stratum_m2 of the stratum"),
        (lambda frame: frame.assign(map=frame["id"].astype(str)), "two maps"),
        (lambda frame: frame.assign(stratum_m2=-1.0), "areas or chances that cannot be"),
        (lambda frame: frame.assign(id=None), "holds no point that geoseg drew"),
        (lambda frame: frame.set_geometry(shapely.buffer(frame.geometry.array, 1)), "holds no points"),
        (lambda frame: frame.assign(longitude="12,5"), "is no number; write decimals with a point"),
    ],
)  # fmt: skip
def test_what_no_rule_settles_is_refused_in_one_line(points: Path, alter: Change, words: str) -> None:
    path = change(points, alter)
    with pytest.raises(InputError, match=words) as caught:
        read_points(path).select_answered(["building"])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.gpkg", "missing.csv"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_points(tmp_path / name)


@pytest.mark.parametrize("suffix", ["gpkg", "csv"])
def test_an_answer_is_written_at_its_point_alone(points: Path, tmp_path: Path, suffix: str) -> None:
    path = points
    if suffix == "csv":
        path = tmp_path / "points.csv"
        gpd.read_file(points, layer="points").drop(columns="geometry").to_csv(path, index=False)
    before = read_back(path)
    set_answers(path, {5: "unsure"})
    assert read_back(path) == before | {5: "unsure"}


def test_one_answer_that_cannot_be_written_leaves_all_as_they_were(points: Path) -> None:
    before = read_back(points)
    with pytest.raises(InputError, match="has no point 61"):
        set_answers(points, {1: "unsure", 61: "not"})
    assert read_back(points) == before


def test_a_file_that_qgis_has_locked_is_told(points: Path) -> None:
    base = sqlite3.connect(points, timeout=0, isolation_level=None)
    base.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Exception, match="another program has it open"):
        set_answers(points, {1: "not"})
    base.close()


def test_answers_go_into_files_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no GeoPackage"):
        set_answers(tmp_path / "missing.gpkg", {1: "not"})
    assert not (tmp_path / "missing.gpkg").exists()


def test_a_sample_knows_its_map(points: Path) -> None:
    found: SamplePoints = read_points(points)
    assert len(found.map) == 16


def test_points_that_did_not_arrive_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = pyogrio.write_dataframe
    monkeypatch.setattr(
        pyogrio, "write_dataframe", lambda frame, *given, **options: write(frame[1:], *given, **options)
    )
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy([0, 1], [0, 1]), crs=LONLAT)
    with pytest.raises(GeosegError, match=r"points\.gpkg could not be written: only 1 of 2 features arrived"):
        write_sample_layers(tmp_path / "points.gpkg", {"points": frame}, ["building"])
    assert list(tmp_path.iterdir()) == []
