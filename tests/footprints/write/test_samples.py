"""The form, the colours and the project of a sample: by structure, and as a real QGIS reads them."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
from layers import GRID, write_raster
from qgis_python import ask_qgis, is_qgis_there
from sampled import answer, draw, make_map

from geoseg.footprints.write.samples import NEXT_PLACE, POINT_COLUMNS, SHOWN, make_sample_style

PROBE = Path(__file__).parents[2] / "support" / "qgis_sample_probe.py"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points and squares with their project, the image below; the first ten points are answered."""
    folder = tmp_path_factory.mktemp("sample")
    make_map(folder)
    image = write_raster(folder / "scene.tif", np.zeros((3, *GRID.shape), np.uint8))
    path = draw(
        folder, squares=8, side_m=60.0, image=str(image), qgis_project=folder / "points.qgz", points=40
    )
    return answer(path, lambda number, mapped: mapped if number <= 10 else "")


def read_style(path: Path, table: str) -> ElementTree.Element:
    with closing(sqlite3.connect(path)) as base:
        found = base.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = ?", [table]).fetchone()
    return ElementTree.fromstring(found[0])


def test_the_form_offers_three_answers_and_shows_nothing_that_leads(sample: Path) -> None:
    style = read_style(sample, "points")
    widgets = {
        field.attrib["name"]: field.find("editWidget").attrib["type"]  # type: ignore[union-attr]
        for field in style.iter("field")
        if field.find("editWidget") is not None
    }
    assert widgets["answer"] == "ValueMap"
    assert {name for name, kind in widgets.items() if kind != "Hidden"} == set(SHOWN["points"])
    offered = [
        option.attrib["value"] for option in style.iter("Option") if option.attrib.get("type") == "QString"
    ]
    assert [value for value in offered if value in ("building", "not", "unsure")] == [
        "building", "not", "unsure",
    ]  # fmt: skip


def test_only_what_people_say_can_be_changed(sample: Path) -> None:
    editable = read_style(sample, "points").find("editable")
    assert editable is not None
    changed = {field.attrib["name"] for field in editable if field.attrib["editable"] == "1"}
    assert changed == {"answer", "remark"}


def test_classes_with_odd_names_make_a_style_that_can_be_read() -> None:
    style = ElementTree.fromstring(make_sample_style("points", ["Müller's & <co>", "shed"]))
    filters = [rule.attrib["filter"] for rule in style.iter("rule")]
    assert "\"answer\" = 'Müller''s & <co>'" in filters


def test_the_project_leads_from_place_to_place(sample: Path) -> None:
    with zipfile.ZipFile(sample.with_suffix(".qgz")) as archive:
        root = ElementTree.fromstring(archive.read("points.qgs"))
    bookmarks = list(root.iter("Bookmark"))
    assert len(bookmarks) == 48
    frame = gpd.read_file(sample, layer="points").set_index("id")
    first = next(mark for mark in bookmarks if mark.attrib["group"] == "Sample points")
    corners = first.attrib["extent"].removeprefix("Polygon ((").removesuffix("))").split(", ")
    middle = np.array([list(map(float, corner.split())) for corner in corners[:4]]).mean(axis=0)
    assert middle == pytest.approx([frame.geometry[1].x, frame.geometry[1].y])


def test_columns_say_what_they_are(sample: Path) -> None:
    with closing(sqlite3.connect(sample)) as base:
        told = dict(
            base.execute("SELECT column_name, title FROM gpkg_data_columns WHERE table_name = 'points'")
        )
    assert told == {column.name: column.alias for column in POINT_COLUMNS}


def test_the_action_goes_to_the_first_place_without_an_answer() -> None:
    code = NEXT_PLACE.format(done="x", zoom="canvas.zoomScale(500)")
    compile(code, "action", "exec")


@pytest.fixture(scope="module")
def seen(sample: Path) -> dict[str, Any]:
    if not is_qgis_there():
        pytest.skip("no QGIS here (Debian: python3-qgis)")
    run = ask_qgis([str(PROBE), str(sample), str(sample.with_suffix(".qgz"))])
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_qgis_reads_the_widgets_back(seen: dict[str, Any]) -> None:
    points, squares = seen["points"], seen["squares"]
    assert (points["widgets"]["answer"], points["widgets"]["mapped"]) == ("ValueMap", "Hidden")
    assert squares["widgets"]["done"] == "CheckBox"
    assert points["shown"] == ["id", "answer", "remark"]
    assert [next(iter(choice.values())) for choice in points["choices"]] == ["", "building", "not", "unsure"]
    assert set(points["locked"]) == {column.name for column in POINT_COLUMNS} - {"answer", "remark"}
    assert points["legend"] == ["Building", "Not a building", "Cannot tell", "still to do"]


def test_qgis_opens_the_project_with_what_is_still_to_do(seen: dict[str, Any]) -> None:
    project = seen["project"]
    assert project["read"]
    assert all(valid for _, valid, _, _ in project["layers"])
    counts = {name: count for name, _, _, count in project["layers"]}
    assert (counts["Sample points, still to do"], counts["Sample points"]) == (30, 40)
    assert counts["Sample squares, still to do"] == 8
    shown = {name for name, _, visible, _ in project["layers"] if visible}
    assert "Image" in shown
    assert "Buildings" not in shown  # the map would lead whoever answers
    assert len(project["bookmarks"]) == 48
    assert all(known and width > 0 for _, _, known, width in project["bookmarks"])
    assert project["form"]["widgets"]["answer"] == "ValueMap"


def test_an_action_of_qgis_goes_to_the_next_place(seen: dict[str, Any]) -> None:
    assert [name for name, _ in seen["points"]["actions"]] == ["Next to do"]
    assert seen["next"] == [11, True]


def test_an_answer_given_in_qgis_arrives(seen: dict[str, Any], sample: Path) -> None:
    assert seen["committed"]
    frame = gpd.read_file(sample, layer="points").set_index("id")
    assert frame["answer"][seen["answered"]] == "building"
