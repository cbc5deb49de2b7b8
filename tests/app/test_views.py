"""Other thresholds and areas make other footprints of what the network said once; they are what the command line makes."""

from __future__ import annotations

import base64
import io
import shutil
import time
import zipfile
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from crops import run_to_the_end, write_crop
from PIL import Image

from geoseg.app.downloads import DOWNLOADS, Shown
from geoseg.app.maps import (
    MapRequest,
    draw_footprints,
    leave_out_images,
    make_images,
    make_map,
    parse_part,
)
from geoseg.app.options import AppOptions
from geoseg.app.runs import FinishedRun
from geoseg.app.scenes import look_at_scene
from geoseg.app.views import (
    FootprintView,
    ViewRequest,
    Views,
    list_neighbours,
    list_thresholds,
    vectorize_view,
)
from geoseg.reports.report import MOST_FOOTPRINTS
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions


@pytest.fixture(scope="module")
def views(finished: FinishedRun) -> Views:
    return Views(finished)


def test_the_first_view_is_the_file_of_the_run(views: Views, tmp_path: Path) -> None:
    view = views.find(views.own)
    assert view.file == views.run.buildings
    vectorize_view(views.run, views.own, tmp_path / "anew.gpkg")
    anew = gpd.read_file(tmp_path / "anew.gpkg", layer="buildings")
    assert anew.equals(gpd.read_file(view.file, layer="buildings"))


def test_another_view_is_what_the_command_finds(views: Views, crop: Path, tmp_path: Path) -> None:
    out = tmp_path / "buildings.gpkg"
    infer_scene([str(crop)], out, InferOptions(threshold=0.6, min_area_m2=30.0))
    expected, found = gpd.read_file(out, layer="buildings"), views.find(ViewRequest(0.6, 30.0)).buildings
    assert len(found) == len(expected)
    assert found["area_m2"].sum() == pytest.approx(expected["area_m2"].sum(), rel=0.01)
    assert found["area_m2"].min() >= 30.0


def test_a_higher_threshold_never_covers_more(views: Views) -> None:
    areas = [views.find(ViewRequest(threshold, 0.0)).area for threshold in (0.2, 0.5, 0.8)]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[-1]


def test_views_are_kept_but_not_all(views: Views) -> None:
    view = views.find(ViewRequest(0.5, 10.0))
    start = time.perf_counter()
    assert views.find(ViewRequest(0.5, 10.0)) is view
    assert time.perf_counter() - start < 0.05
    for threshold in np.linspace(0.3, 0.7, 9).round(2):
        views.find(ViewRequest(float(threshold), 10.0))
    assert len(list(views.run.folder.glob("view-*"))) <= 8


def test_a_step_of_the_threshold_finds_its_view_made(finished: FinishedRun) -> None:
    views = Views(finished)
    views.prepare_neighbours(ViewRequest(0.5, 7.0))
    wait(views.likely)
    for threshold in (0.49, 0.51):
        folder = finished.folder / f"view-{ViewRequest(threshold, 7.0).key}"
        assert gpd.read_file(folder / "buildings.fgb")["area_m2"].min() >= 7.0
    assert list_neighbours(ViewRequest(0.95, None), views.own) == [ViewRequest(0.94, None)]
    assert list_neighbours(ViewRequest(None, None), views.own) == []


def test_nothing_is_made_ahead_of_a_run_that_was_deleted(finished: FinishedRun, tmp_path: Path) -> None:
    gone = replace(finished, result=replace(finished.result, out=tmp_path / "gone" / "buildings.gpkg"))
    views = Views(gone)
    views.prepare_neighbours(ViewRequest(0.5, 7.0))
    assert all(likely.exception() for likely in views.likely)
    views.close()
    assert not (tmp_path / "gone").exists()


def test_totals_say_what_share_is_built(views: Views) -> None:
    view = views.find(views.own)
    numbers = views.summarize(view)
    ground = (320 * 0.3) ** 2
    assert views.seen_area == pytest.approx(ground, rel=0.01)
    assert numbers["buildings"] == f"{len(view.buildings)}"
    assert numbers["of the image is built up"] == f"{view.area / views.seen_area:.1%}"
    assert not views.has_interval


def test_the_interval_holds_at_the_own_threshold_alone(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = {"confusion": [[90, 10], [5, 95]]}
    monkeypatch.setitem(views.run.card.calibration, "confusion", confusion["confusion"])  # type: ignore[arg-type]
    assert views.has_interval
    own, other = views.find(views.own), views.find(ViewRequest(0.6, 30.0))
    assert any("95 % interval" in name for name in views.summarize(own))
    assert not any("95 % interval" in name for name in views.summarize(other))


def test_thresholds_hold_that_of_the_run() -> None:
    assert 0.414 in list_thresholds(0.414)
    assert list_thresholds(0.5) == sorted(set(list_thresholds(0.5)))


def take_away(shown: Shown, folder: Path) -> dict[str, Path]:
    """The files that the buttons give, by their labels."""
    made = {download.label: folder / f"taken{download.ending}" for download in DOWNLOADS}
    for download in DOWNLOADS:
        made[download.label].write_bytes(download.read(shown))
    return made


@pytest.mark.parametrize("name", ["mask.tif", "scene.vrt"])
def test_the_archive_for_qgis_holds_the_image_whatever_it_is_called(
    name: str, views: Views, tmp_path: Path
) -> None:
    run, scene = views.run, tmp_path / name
    crop = shutil.copy(run.scene.path, tmp_path / "crop.tif")
    rasterio.shutil.copy(crop, scene, driver="VRT" if name.endswith("vrt") else "GTiff")
    run = replace(run, scene=replace(run.scene, path=scene))
    download = next(each for each in DOWNLOADS if each.label == "QGIS project")
    packed = io.BytesIO(download.read(Shown(run, views.find(views.own), None)))
    zipfile.ZipFile(packed).extractall(tmp_path / "there")
    scene.unlink()
    (project,) = (tmp_path / "there").rglob("*.qgz")
    text = zipfile.ZipFile(project).read("project.qgs").decode()
    (image,) = {
        path for path in project.parent.glob("*.tif") if "mask" not in path.name and "prob" not in path.name
    }
    assert image.name in text
    with rasterio.open(image) as there, rasterio.open(views.run.scene.path) as own:
        np.testing.assert_array_equal(there.read(), own.read())
        assert there.files == [str(image)]


def test_every_file_can_be_taken_away(views: Views, tmp_path: Path) -> None:
    view = views.find(ViewRequest(0.6, 30.0))
    made = take_away(Shown(views.run, view, None), tmp_path)
    count = len(view.buildings)
    assert len(gpd.read_file(made["GeoPackage"], layer="buildings")) == count
    assert len(gpd.read_file(made["GeoJSON"])) == count
    with rasterio.open(made["Mask"]) as mask, rasterio.open(made["Probability"]) as probability:
        likely, known = probability.read(1) / 250 >= 0.6, probability.read(1) != 255
        np.testing.assert_array_equal(mask.read(1)[known] == 1, likely[known])
        assert mask.crs == probability.crs
        assert '"threshold": 0.6' in mask.tags()["GEOSEG"]
    page = made["Report"].read_text(encoding="utf-8")
    assert "<td>0.6</td>" in page
    assert made["QGIS project"].stat().st_size > 1000


def test_the_map_has_all_it_draws(views: Views) -> None:
    images = make_images(views.run)
    data = make_map(MapRequest("run", 1, views.find(views.own), images))
    assert [image["name"] for image in data["map"]["images"]] == ["image", "probability"]
    assert len(data["map"]["buildings"]["rings"]) == len(views.find(views.own).buildings)
    assert all(image["url"].startswith("data:") for image in data["map"]["images"])
    assert not data["pictured"]
    assert 'data-layer="base map">' in data["switches"]  # off at first


def test_too_many_footprints_become_a_picture_and_a_word(views: Views) -> None:
    frame = views.find(views.own).buildings
    many = gpd.GeoDataFrame(frame.iloc[np.arange(MOST_FOOTPRINTS + 1) % len(frame)].reset_index(drop=True))
    view = FootprintView(ViewRequest(0.1, 0.0), Path("nowhere"))
    view.__dict__["buildings"] = many
    picture = draw_footprints(many)
    data = make_map(MapRequest("run", 2, view, [], picture=picture))
    assert data["pictured"]
    assert data["part"] is None
    assert data["map"]["buildings"]["rings"] == []
    assert [image["name"] for image in data["map"]["images"]] == ["footprints"]
    assert "too many to be drawn one by one" in data["note"]
    south, west = picture.corners[0]
    np.testing.assert_allclose([west, south], frame.to_crs(4326).total_bounds[:2], atol=1e-4)

    # A part with few enough of them has their outlines; the picture is not sent again.
    first = frame.to_crs(4326).geometry.iloc[0]
    near = list(first.bounds)
    part = make_map(MapRequest("run", 3, view, [], picture=picture, part=parse_part(near)))
    around = many.to_crs(4326).intersects(shapely.box(*near))
    assert 0 < around.sum() <= len(part["map"]["buildings"]["rings"]) < len(many) / 5
    assert "This part of the map shows" in part["note"]
    assert 'value="confidence"' in data["switches"]
    assert leave_out_images(part, data["pictures"])["map"]["images"] == []
    for far in ((-500.0, -170.0, 500.0, 170.0), (100.0, -20.0, 101.0, -19.0)):
        assert make_map(MapRequest("run", 4, view, [], picture=picture, part=far))["part"] is None


@pytest.mark.parametrize(
    "told", [None, 7, "abcd", [1, 2, 3], [1, 1, 1, 2], [0, 0, float("inf"), 1], [[1], 2, 3, 4]]
)
def test_what_is_no_part_of_a_map_is_none(told: object) -> None:
    assert parse_part(told) is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("gsd", "column"), [("auto", "area_px"), (0.3, "area_m2")])
def test_a_picture_works_in_pixels_or_in_metres(tmp_path: Path, gsd: object, column: str) -> None:
    path = write_crop(tmp_path / "photo.png", driver="PNG", crs=None, transform=Affine.identity())
    scene = look_at_scene(path, "photo.png", "upload", AppOptions())
    run = run_to_the_end(scene, tmp_path / "run", gsd=gsd)
    assert run.finished, run.error
    views = Views(run.finished)
    for request in (views.own, ViewRequest(0.6, 10.0)):
        view = views.find(request)
        assert column in view.buildings
        assert view.buildings.crs is None
        assert "of the image is built up" in views.summarize(view)
    data = make_map(MapRequest("run", 0, view, make_images(run.finished)))
    assert data["map"]["plane"]
    assert "base map" not in data["switches"]
    made = take_away(Shown(run.finished, view, None), tmp_path)
    assert all(path.stat().st_size > 100 for path in made.values())


def test_a_model_of_several_classes_is_shown_in_its_colours(
    roofs: Path, color_model: Path, tmp_path: Path
) -> None:
    scene = look_at_scene(roofs, roofs.name, "upload", AppOptions())
    run = run_to_the_end(scene, tmp_path / "run", model=str(color_model)).finished
    assert run
    views = Views(run)
    assert views.own.threshold is None
    numbers = views.summarize(views.find(views.own))
    assert numbers["outlines"] == "6"
    assert "buildings" not in numbers
    for entry in run.card.classes[1:]:
        assert float(numbers[entry.name].split()[0]) == pytest.approx((30 * 50 + 64) * 0.09, rel=0.01)
    large = views.find(ViewRequest(None, 50.0))
    data = make_map(MapRequest("key", 1, large, [], classes=run.card.classes[1:]))
    assert "The map shows 3 outlines" in data["note"]
    assert "> outlines</label>" in data["switches"]
    data = data["map"]
    assert data["coloring"] == "class"
    assert data["buildings"]["classes"] == ["red roof", "green roof", "blue roof"]
    assert data["classColors"][:3] == [entry.color for entry in run.card.classes[1:]]
    assert sorted(data["buildings"]["class"]) == [0, 1, 2]


def test_a_picture_of_many_outlines_has_the_colours_of_their_classes(
    roofs: Path, color_model: Path, tmp_path: Path
) -> None:
    scene = look_at_scene(roofs, roofs.name, "upload", AppOptions())
    run = run_to_the_end(scene, tmp_path / "run", model=str(color_model)).finished
    assert run
    views = Views(run)
    picture = draw_footprints(views.find(views.own).buildings, run.card.classes[1:])
    pixels = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(picture.url.partition(",")[2]))).convert("RGBA")
    )
    shown = pixels[pixels[..., 3] > 0][:, :3].astype(int)
    for entry in run.card.classes[1:]:
        near = np.abs(shown - np.array(entry.rgb)).max(axis=1) < 40
        assert 0.2 < near.mean() < 0.45


def test_images_that_the_browser_has_are_not_sent_again(views: Views) -> None:
    view, images = views.find(views.own), make_images(views.run)
    first = make_map(MapRequest("key", 1, view, images))
    again = leave_out_images(make_map(MapRequest("key", 2, view, images)), first["pictures"])
    assert len(first["map"]["images"]) == len(images)
    assert again["map"]["images"] == []
    assert again["map"]["bounds"] == first["map"]["bounds"]
    assert again["switches"] == first["switches"]
    other = leave_out_images(make_map(MapRequest("other", 2, view, images)), first["pictures"])
    assert len(other["map"]["images"]) == len(images)
