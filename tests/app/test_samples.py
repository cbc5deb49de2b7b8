"""Sample points in the app: what is said is in the file at once, and what a browser makes up is not."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.windows import Window

import geoseg
from geoseg.app.options import AppOptions
from geoseg.app.runs import FinishedRun
from geoseg.app.samples import PointSurvey, describe_estimate, draw_points, estimate_built_area, store_points
from geoseg.app.server import check_options
from geoseg.app.views import ViewRequest, Views
from geoseg.errors import InputError
from geoseg.footprints.write.samples import POINTS
from geoseg.regions.points import set_answers


@pytest.fixture
def points(finished: FinishedRun, tmp_path: Path) -> Path:
    return draw_points(finished, 60, tmp_path)


@pytest.fixture
def survey(points: Path, finished: FinishedRun) -> PointSurvey:
    return PointSurvey(points, finished.scene.path)


def read_answers(path: Path) -> dict[int, str]:
    frame = gpd.read_file(path, layer=POINTS)
    return dict(zip(frame["id"], frame["answer"], strict=True))


def shrink_bounds(dataset: Any) -> shapely.Polygon:
    """The ground of a raster without its rim."""
    return shapely.box(*dataset.bounds).buffer(-20)


def test_what_is_said_is_in_the_file_at_once_and_the_next_point_follows(survey: PointSurvey) -> None:
    assert [choice.key for choice in survey.choices] == ["b", "n", "u"]
    for number, word in [(1, "building"), (2, "not"), (3, "unsure")]:
        assert survey.number == number
        survey.say(number, word)
        assert read_answers(survey.path)[number] == word
    assert (survey.done, survey.number) == (3, 4)


def test_back_leads_to_what_was_said_and_on_to_what_was_not(survey: PointSurvey) -> None:
    survey.say(1, "not")
    survey.say(2, "not")
    survey.go_back()
    survey.go_back()
    survey.go_back()
    assert (survey.number, survey.to_json()["answer"]) == (1, "not")
    survey.say(1, "building")
    assert survey.number == 3
    assert read_answers(survey.path)[1] == "building"


def test_an_interrupted_survey_goes_on_where_it_was(survey: PointSurvey) -> None:
    set_answers(survey.path, dict.fromkeys([1, 2, 4], "not"))
    again = PointSurvey(survey.path, survey.image)
    assert (again.done, again.number) == (3, 3)
    set_answers(survey.path, dict.fromkeys(again.answers, "not"))
    assert PointSurvey(survey.path, survey.image).is_complete


@pytest.mark.parametrize(("number", "word"), [(9999, "building"), (1, "castle"), (None, "not"), ("1", "not")])
def test_what_a_browser_makes_up_changes_nothing(survey: PointSurvey, number: object, word: str) -> None:
    survey.say(number, word)  # type: ignore[arg-type]
    assert survey.done == 0
    assert set(read_answers(survey.path).values()) == {""}


def test_the_point_is_in_the_middle_of_its_picture(survey: PointSurvey) -> None:
    with rasterio.open(survey.image) as scene:
        frame = gpd.read_file(survey.path, layer=POINTS).to_crs(scene.crs)
        row = frame[frame.within(shrink_bounds(scene))].iloc[0]
        at = scene.index(row.geometry.x, row.geometry.y)
        true = scene.read(window=Window(at[1] - 1, at[0] - 1, 3, 3)).mean(axis=(1, 2))
    place = survey.draw_place(int(row["id"]))
    assert [place[name]["across"] for name in ("near", "around")] == ["30 m across", "120 m across"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(place["near"]["url"].partition(",")[2]))))
    middle = picture[230:250, 230:250, :3].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, true, atol=30)


def test_the_area_by_the_points_is_that_of_the_command(
    survey: PointSurvey, finished: FinishedRun, tmp_path: Path
) -> None:
    views = Views(finished)
    own = views.find(views.own)
    frame = gpd.read_file(survey.path, layer=POINTS)
    for number, mapped in zip(frame["id"], frame["mapped"], strict=True):
        survey.say(int(number), "not" if mapped == "background" or number % 9 == 0 else mapped)
    area, low, high = estimate_built_area(finished, own, survey)
    with rasterio.open(finished.mask) as mask:
        whole = gpd.GeoDataFrame({"name": ["all"]}, geometry=[shrink_bounds(mask)], crs=mask.crs)
    whole.to_file(tmp_path / "whole.gpkg")
    told = geoseg.stats(
        finished.buildings, tmp_path / "whole.gpkg", mask=finished.mask, samples=survey.path
    ).accuracy
    row = told.set_index("class").loc["building"]
    assert [area, low, high] == pytest.approx(
        [row["adjusted_area_m2"], row["adjusted_low_m2"], row["adjusted_high_m2"]]
    )
    assert area < own.area
    assert [path.name for path in survey.path.parent.iterdir() if "whole" in path.name] == ["whole.gpkg"]
    assert list(describe_estimate(finished, own, survey)) == [
        "built-up, by 60 points",
        "at least, at most (95 % interval)",
    ]
    other = views.find(ViewRequest(0.7, finished.min_area_m2))
    assert estimate_built_area(finished, other, survey) != (area, low, high)


def test_no_answer_yet_gives_one_line(survey: PointSurvey, finished: FinishedRun) -> None:
    views = Views(finished)
    with pytest.raises(InputError, match="no point has an answer yet"):
        estimate_built_area(finished, views.find(views.own), survey)


def test_uploads_that_are_no_points_are_refused_and_leave_nothing(
    finished: FinishedRun, tmp_path: Path
) -> None:
    for name, content, words in (
        ("../notes.gpkg", b"hello", "notes.gpkg: is no GeoPackage of points"),
        ("map.gpkg", finished.buildings.read_bytes(), "is no sample that geoseg drew|no points"),
    ):
        folder = tmp_path / "points"
        folder.mkdir()
        with pytest.raises(InputError, match=words):
            store_points(name, io.BytesIO(content), folder, 100)
        assert not folder.exists()


def test_an_image_without_a_place_is_refused(points: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(tmp_path / "picture.png")
    with pytest.raises(InputError, match="does not say where it lies"):
        PointSurvey(points, tmp_path / "picture.png")


def test_points_without_an_image_do_not_start_a_server(points: Path) -> None:
    with pytest.raises(InputError, match="belong together"):
        check_options(AppOptions(points=str(points)))
