"""`import geoseg` is light and says all that it offers; its functions give what the commands write."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from front_door import STUB, write_stub
from made import HERE, RasterWriter, photo

import geoseg
from geoseg import api
from geoseg.errors import InputError

HEAVY = ("numpy", "torch", "rasterio", "geopandas", "shapely", "click")
SETTINGS = {"engine": "torch", "precision": "fp32", "device": "cpu"}


@pytest.fixture
def scene(write_raster: RasterWriter) -> Path:
    """Smooth light and dark patches, on which even random weights draw outlines."""
    noise = np.random.default_rng(1).random((3, 40, 30))
    return write_raster("scene.tif", (np.kron(noise, np.ones((10, 10))) * 255).astype("uint8"))


def test_the_import_loads_nothing_heavy() -> None:
    check = f"import sys, geoseg; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_everything_it_offers_is_there() -> None:
    assert set(geoseg.__all__) <= set(dir(geoseg))
    for name in geoseg.__all__:
        assert getattr(geoseg, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        _ = geoseg.segment


def test_editors_see_the_options_that_there_are() -> None:
    written, made = STUB.read_text(encoding="utf-8"), write_stub()
    assert ast.dump(ast.parse(written)) == ast.dump(ast.parse(made)), "run python tests/support/front_door.py"
    keywords = inspect.signature(api.infer).parameters
    assert keywords["max_hole_m2"].default == 2.0
    assert "true square metres" in (api.infer.__doc__ or "")


def test_a_scene_becomes_buildings_in_memory(scene: Path, tiny_model: Path) -> None:
    result = geoseg.infer(scene, model=str(tiny_model), min_area_m2=1, **SETTINGS)
    assert result.count == len(result.buildings) > 5
    assert result.area_m2 == pytest.approx(result.buildings["area_m2"].sum())
    assert result.mask.shape == (400, 300)
    assert result.regions is None
    assert "Buildings" in result._repr_html_()
    folder = result.out.parent
    assert folder.exists()
    del result
    assert not folder.exists()


def test_results_show_themselves_in_few_lines(write_raster: RasterWriter, tmp_path: Path) -> None:
    made = geoseg.prepare("demo", None, tmp_path / "demo", scenes=2, size=64)
    mask = write_raster("mask.tif", np.kron([[1, 0], [0, 1]], np.ones((20, 20))).astype("uint8"))
    scored = geoseg.evaluate(mask, mask)
    assert (repr(made), repr(scored)) == (str(made), str(scored))
    assert len(repr(geoseg.open_model())) < 200


@pytest.mark.parametrize("scene", [None, 5, np.zeros((3, 10, 10)), [None]])
def test_what_is_no_path_is_refused_in_one_line(scene: object) -> None:
    with pytest.raises(InputError, match="give a file by its path, or several, not a "):
        geoseg.infer(scene)


def test_what_is_neither_path_nor_frame_is_refused_in_one_line(tmp_path: Path) -> None:
    array = np.zeros((4, 4), np.uint8)
    for call in (
        lambda: geoseg.vectorize(array),
        lambda: geoseg.stats(array, "grid:1km"),
        lambda: geoseg.compare("a.gpkg", array),
        lambda: geoseg.evaluate(array, "truth.tif"),
        lambda: geoseg.open_model(array),
    ):
        with pytest.raises(InputError, match=r"give a file by its path, or .* not a ndarray"):
            call()


def test_an_error_about_a_frame_names_the_argument() -> None:
    nowhere = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)])
    with pytest.raises(InputError, match=r"^`footprints`: has no coordinate reference system") as told:
        geoseg.stats(nowhere, "grid:1km")
    assert told.value.parameter == "footprints"


def test_files_are_those_of_the_command(scene: Path, tiny_model: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from geoseg.cli.main import geoseg as command

    ours, theirs = tmp_path / "ours.gpkg", tmp_path / "theirs.gpkg"
    result = geoseg.infer([scene], ours, model=tiny_model.as_posix(), min_area_m2=12, **SETTINGS)
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    run = CliRunner().invoke(
        command, ["infer", str(scene), "--out", str(theirs), f"--model={tiny_model}", "--min-area=12", *flags]
    )
    assert run.exit_code == 0, run.stderr
    assert ours.read_bytes() == theirs.read_bytes()
    assert result.mask is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.gpkg", "scene.tif", "theirs.gpkg"]


def test_regions_may_be_a_frame(scene: Path, tiny_model: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as raster:
        left, bottom, right, top = raster.bounds
        middle = (left + right) / 2
        halves = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]
        wards = gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=raster.crs.to_wkt())
    result = geoseg.infer(scene, model=str(tiny_model), regions=wards, region_id="name", **SETTINGS)
    assert result.regions["region"].tolist() == ["west", "east"]
    assert result.regions["built_area_m2"].sum() == pytest.approx(result.area_m2, rel=1e-6)
    counted = geoseg.stats(result.buildings, wards.to_crs(4326), region_id="name")
    assert counted.regions["built_area_m2"].sum() == pytest.approx(counted.area_m2)
    assert counted.area_m2 == pytest.approx(result.area_m2, rel=1e-3)
    assert counted.count == result.count


def test_a_mask_becomes_footprints(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:30, 10:40] = 1
    result = geoseg.vectorize(write_raster("mask.tif", mask), regularize=False)
    assert result.area_m2 == pytest.approx(20 * 30 * 0.3**2, rel=1e-3)
    assert len(result.buildings) == 1
    kept = geoseg.vectorize(tmp_path / "mask.tif", tmp_path / "b.fgb", classes=["1=roof"], regularize=False)
    assert set(kept.buildings["class"]) == {"roof"}
    assert (tmp_path / "b.fgb").exists()


def test_a_data_set_is_prepared(tmp_path: Path) -> None:
    result = geoseg.prepare(
        "demo", None, tmp_path / "places", scenes=2, size=128, validation_share=0.5, workers=0
    )
    assert result.folder == tmp_path / "places"
    assert (result.folder / "dataset.toml").exists()
    assert {item.split for item in result.dataset.items} == {"train", "validation"}


@pytest.mark.parametrize(
    ("kind", "source", "options", "words"),
    [
        ("shapes", "here", {}, "`kind` shapes: give one of masks, vectors"),
        ("masks", None, {}, "`source`: must be given"),
        ("coco", "here", {}, "`gsd` 0.3"),
        ("demo", None, {"validation_share": 1.0}, "`validation_share` 1.0: give a number from 0 to below 1"),
    ],
)
def test_a_data_set_that_cannot_be_is_refused(
    tmp_path: Path, kind: str, source: str | None, options: dict[str, float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        geoseg.prepare(kind, source, tmp_path / "out", **options)


def test_footprints_are_evaluated(write_raster: RasterWriter) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:30, 10:40] = 1
    path = write_raster("mask.tif", mask)
    found = geoseg.vectorize(path, regularize=False).buildings
    result = geoseg.evaluate([found, path], path)
    assert "1.000" in str(result)
    assert json.loads(json.dumps(result.summary))


@pytest.mark.parametrize(("name", "words"), [("all.qgs", "ends in .qgz"), ("there.qgz", "exists already")])
def test_a_project_that_cannot_be_written_is_refused_before_the_work(
    scene: Path, tiny_model: Path, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "there.qgz").write_text("precious")
    before = sorted(tmp_path.iterdir())
    project = tmp_path / name
    with pytest.raises(InputError, match=words):
        geoseg.infer(scene, tmp_path / "b.gpkg", model=str(tiny_model), qgis_project=project, **SETTINGS)
    with pytest.raises(InputError, match=words):
        geoseg.vectorize(scene, tmp_path / "b.gpkg", qgis_project=project)
    assert sorted(tmp_path.iterdir()) == before


def test_a_frame_that_no_file_can_hold_is_told_in_one_line() -> None:
    box = shapely.box(0, 0, 1, 1)
    frame = gpd.GeoDataFrame({"storeys": [1, "two"]}, geometry=[box, box], crs="EPSG:4326")
    with pytest.raises(InputError, match=r"`footprints`: the frame has a column of mixed values .*storeys"):
        geoseg.stats(frame, "grid:100km")


def test_a_project_of_files_that_go_with_the_result_is_refused(scene: Path, tmp_path: Path) -> None:
    project = tmp_path / "all.qgz"
    for ask in (
        lambda: geoseg.infer(scene, qgis_project=project),
        lambda: geoseg.vectorize(scene, qgis_project=project),
        lambda: geoseg.compare(scene, scene, qgis_project=project),
    ):
        with pytest.raises(InputError, match=r"`qgis_project` .*all.qgz: shows files that stay; give `out`"):
            ask()


def test_a_model_and_its_card() -> None:
    card = geoseg.open_model("default").card
    assert isinstance(card, geoseg.Card)
    assert card.bands == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("options", "parameter", "words"),
    [
        ({"min_area_m2": -1}, "min_area_m2", "zero or more"),
        ({"min_area_m2": "large"}, "min_area_m2", "is no number"),
        ({"threshold": 1}, "threshold", "between 0 and 1"),
        ({"connectivity": 6}, "connectivity", "give one of 4, 8"),
        ({"engine": "caffe"}, "engine", "give one of auto"),
        ({"overwrite": "yes"}, "overwrite", "true or false"),
        ({"gsd": "coarse"}, "gsd", "give auto, native"),
    ],
)
def test_an_error_names_the_parameter(
    scene: Path, options: dict[str, object], parameter: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        geoseg.infer(scene, **options)
    assert caught.value.parameter == parameter


def test_a_sentinel_scene_is_told_the_model_that_fits(write_raster: RasterWriter) -> None:
    place = {"transform": HERE @ Affine.scale(10 / 0.3, 10 / 0.3), "descriptions": ("B2", "B3", "B4", "B8")}
    scene = write_raster("s2.tif", photo(64, 64, 4, "uint16"), **place)
    with pytest.raises(InputError, match=r"too coarse for default.*use `model` sentinel2-builtup"):
        geoseg.infer(scene)
    with pytest.raises(InputError, match=r"the model wants 4 bands.*has 3"):
        geoseg.infer(
            write_raster("rgb.tif", photo(64, 64), transform=place["transform"]), model="sentinel2-builtup"
        )


def test_an_option_that_is_none_is_an_error_of_python(scene: Path) -> None:
    with pytest.raises(TypeError, match=r"infer\(\) has no option `min_area`; did you mean `min_area_m2`\?"):
        geoseg.infer(scene, min_area=12)
    with pytest.raises(TypeError, match=r"infer\(\) has no option `resolution`; see help\(geoseg.infer\)"):
        geoseg.infer(scene, resolution=0.3)
