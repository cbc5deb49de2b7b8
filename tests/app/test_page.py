"""The page without a browser: what its fields are, what a run shows, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crops import write_crop
from streamlit.testing.v1 import AppTest

import geoseg.app
from geoseg.app import scenes, state
from geoseg.app.forms import FIRST_FIELDS, MORE_FIELDS, format_label, list_fields, make_options, show_labels
from geoseg.app.options import OPTIONS_VARIABLE, AppOptions, read_app_options
from geoseg.app.runs import TURN
from geoseg.app.scenes import SceneFile, look_at_scene
from geoseg.app.server import check_options
from geoseg.app.workspace import Workspace
from geoseg.errors import InputError
from geoseg.io.trust import trust_files

PAGE = Path(geoseg.app.__file__).with_name("find_page.py")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop: Path) -> Iterator[AppTest]:
    """The page in a workspace of its own, with a small example and an allowed folder."""
    (tmp_path / "allowed").mkdir()
    write_crop(tmp_path / "allowed" / "town.tif")
    monkeypatch.setenv(OPTIONS_VARIABLE, AppOptions(allow=(str(tmp_path / "allowed"),)).to_toml())
    workspace = Workspace(tmp_path)
    monkeypatch.setattr(state, "open_workspace", lambda: workspace)

    def take_crop(folder: Path) -> SceneFile:
        path = folder / "example.tif"
        path.write_bytes(crop.read_bytes())
        return look_at_scene(path, path.name, "example", AppOptions())

    monkeypatch.setattr(scenes, "find_example", take_crop)
    yield AppTest.from_file(PAGE, default_timeout=60)
    workspace.close()
    assert [path.name for path in tmp_path.iterdir()] == ["allowed"]


def find_button(app: AppTest, label: str) -> Any:
    return next(button for button in app.button if button.label == label)


def run_to_the_map(app: AppTest) -> None:
    """Press the button and wait until the run is over."""
    find_button(app, "Find buildings").click().run()
    page = app.session_state[state.STATE]
    page.run.wait(120)
    app.run()
    assert page.finished, page.run.error


def read_totals(app: AppTest) -> str:
    return next(each.proto.body for each in app.get("html") if "Totals" in each.proto.body)


def test_fields_are_the_options_of_the_command(app: AppTest) -> None:
    app.run()
    assert not app.exception
    fields = {widget.key for kind in (app.selectbox, app.number_input, app.text_input) for widget in kind}
    assert fields >= {*FIRST_FIELDS, *MORE_FIELDS}
    assert app.selectbox(key="split").options == ["auto", "touching", "none"]
    assert app.number_input(key="threshold").help == list_fields(["threshold"])[0].help
    assert "default" in app.selectbox(key="model").options


def test_a_run_shows_numbers_that_change_with_the_slider_alone(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.run()
    run_to_the_map(app)
    assert not app.exception
    first = read_totals(app)
    monkeypatch.setattr("geoseg.app.runs.infer_scene", None)  # the network cannot be asked again
    app.select_slider[0].set_value(0.8).run()
    assert not app.exception
    second = read_totals(app)
    assert second != first
    app.number_input(key="shown_min_area").set_value(1e6).run()
    assert "No buildings at this threshold" in app.info[0].value
    app.number_input(key="shown_min_area").set_value(None).run()
    app.select_slider[0].set_value(0.414).run()
    assert not app.exception


def test_the_address_gives_the_fields_their_values(app: AppTest) -> None:
    app.query_params["min_area_m2"] = "25.0"
    app.query_params["split"] = "touching"
    app.query_params["model"] = "/etc/passwd"
    app.run()
    assert not app.exception
    assert app.number_input(key="min_area_m2").value == 25
    assert app.selectbox(key="split").value == "touching"
    assert app.selectbox(key="model").value == "default"


def test_a_run_can_be_stopped(app: AppTest) -> None:
    app.run()
    with TURN:
        find_button(app, "Find buildings").click().run()
        find_button(app, "Stop").click().run()
        app.session_state[state.STATE].run.wait(10)
        app.run()
    assert app.info[0].value.startswith("Stopped")


def test_paths_are_opened_where_they_are_allowed(app: AppTest, tmp_path: Path) -> None:
    app.run()
    app.radio(key="source").set_value("path").run()
    app.text_input(key="path").set_value(str(tmp_path / "secret.tif")).run()
    assert "no image in the folders" in app.error[0].value
    assert find_button(app, "Find buildings").disabled
    app.text_input(key="path").set_value(str(tmp_path / "allowed" / "town.tif")).run()
    assert not app.error
    assert app.caption[0].value.startswith("town: 320 x 320")


def test_uploads_that_are_no_image_are_refused(app: AppTest) -> None:
    app.run()
    app.radio(key="source").set_value("upload").run()
    app.file_uploader[0].upload("notes.tif", b"hello", "image/tiff").run()
    assert "its content is no TIF image" in app.error[0].value
    assert find_button(app, "Find buildings").disabled


def test_answers_of_no_use_are_told_in_words_of_the_form(app: AppTest) -> None:
    app.run()
    app.text_input(key="gsd").set_value("-3").run()
    find_button(app, "Find buildings").click().run()
    app.session_state[state.STATE].run.wait(60)
    app.run()
    assert app.error[0].value.startswith("Pixel size -3")


def test_a_band_may_be_called_by_a_number(app: AppTest) -> None:
    app.run()
    app.text_input(key="bands").set_value("1").run()
    assert not app.error
    assert not find_button(app, "Find buildings").disabled


def test_labels_and_answers() -> None:
    assert format_label("simplify_m") == "Simplify (m)"
    assert show_labels("`min_area_m2` -3: give zero or more") == "Minimum area (m²) -3: give zero or more"
    assert make_options({"threshold": None, "gsd": 0.3, "bands": ""}).gsd == 0.3
    with pytest.raises(InputError, match="min_area_m2"):
        make_options({"min_area_m2": -1.0})


def test_options_reach_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = AppOptions(allow=("/data", 'C:\\with "quotes"'), port=8600, browser=False)
    monkeypatch.setenv(OPTIONS_VARIABLE, asked.to_toml())
    assert read_app_options() == asked


@pytest.mark.parametrize(("points", "title"), [("", "Find buildings"), ("points.gpkg", "Sample points")])
def test_who_is_to_answer_points_sees_them_first(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, points: str, title: str
) -> None:
    monkeypatch.setenv(OPTIONS_VARIABLE, AppOptions(points=points or None).to_toml())
    app = AppTest.from_file(PAGE.with_name("main.py"), default_timeout=60).run()
    assert [each.value for each in app.title] == [title]


def test_sessions_see_only_their_own(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    one, other = (workspace.open_session(key).make_folder("scene") for key in ("one", "other"))
    scenes.store_upload("a.tif", io.BytesIO(write_crop(tmp_path / "a.tif").read_bytes()), one, AppOptions())
    assert list(other.iterdir()) == []
    workspace.close()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"allow": ("/no/such/folder",)}, "no such folder"),
        ({"model": ("no-such-model",)}, "no built-in model"),
    ],
)
def test_a_server_that_could_not_serve_does_not_start(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_options(AppOptions(**asked))


def test_a_server_of_strangers_files_trusts_none() -> None:
    with trust_files(), pytest.raises(InputError, match="never trusts"):
        check_options(AppOptions())
