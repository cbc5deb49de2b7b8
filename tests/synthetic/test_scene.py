"""A demo scene as files, and the command that writes it."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from rasterio.features import rasterize

from geoseg.cli.demo_scene import command
from geoseg.errors import InputError
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_truth_mask
from geoseg.synthetic.scene import SyntheticScene, write_scene


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    scene = SyntheticScene(Layout(7), 300, 260)
    for name in ("a", "b"):
        write_scene(scene, tmp_path / f"{name}.tif", tmp_path / f"{name}.gpkg")
    for suffix in (".tif", ".gpkg"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_photo_and_truth_lie_on_each_other(tmp_path: Path) -> None:
    scene = SyntheticScene(Layout(7, 0.5), 600, 520)
    count = write_scene(scene, tmp_path / "scene.tif", tmp_path / "truth.gpkg")
    buildings = geopandas.read_file(tmp_path / "truth.gpkg", layer="buildings")
    with rasterio.open(tmp_path / "scene.tif") as raster:
        assert raster.profile["tiled"]
        assert raster.compression is not None
        assert (raster.count, raster.shape, raster.dtypes[0]) == (3, (600, 520), "uint8")
        assert raster.crs == buildings.crs
        assert raster.res == (0.5, 0.5)
        mask = rasterize(buildings.geometry, out_shape=raster.shape, transform=raster.transform)
    assert len(buildings) == count > 10
    assert {"house", "row_house"} <= set(buildings["kind"])
    differing = (mask.astype(bool) != render_truth_mask(scene.layout, scene.window)).mean()
    assert differing < 1e-4


def test_pixels_are_true_metres() -> None:
    assert SyntheticScene(Layout(1, 0.3), 1000, 1000).grid.gsd_m == pytest.approx(0.3, rel=1e-4)


def test_a_larger_scene_holds_the_smaller(tmp_path: Path) -> None:
    for size in (64, 128):
        write_scene(
            SyntheticScene(Layout(3), size, size), tmp_path / f"{size}.tif", tmp_path / f"{size}.gpkg"
        )
    with rasterio.open(tmp_path / "64.tif") as small, rasterio.open(tmp_path / "128.tif") as large:
        difference = np.abs(small.read().astype(int) - large.read()[:, :64, :64])
    assert difference.mean() < 1  # JPEG alone tells them apart


def test_the_command_writes_both_files_and_tells_so(tmp_path: Path) -> None:
    result = run(tmp_path / "scene.tif", "--size", "96x64", "--seed", 5, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["width"], summary["height"]) == (96, 64)
    with rasterio.open(tmp_path / "scene.tif") as raster:
        assert raster.shape == (64, 96)
    assert len(geopandas.read_file(tmp_path / "scene.truth.gpkg")) == summary["buildings"]


def test_the_truth_goes_where_it_is_wanted(tmp_path: Path) -> None:
    assert run(tmp_path / "a.tif", "--size", 32, "--truth", tmp_path / "t.gpkg", "-q").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "t.gpkg"]


@pytest.mark.parametrize("size", ["0", "5x", "x", "1x2x3", "-4", "2.5", "wide", "10x0", "999999999"])
def test_a_size_that_is_none_is_refused_in_one_line(tmp_path: Path, size: str) -> None:
    result = run(tmp_path / "a.tif", f"--size={size}")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["a.png"], "must end in .tif"),
        (["none/a.tif"], "create it first"),
        (["a.tif", "--truth", "a.shp"], "must end in .gpkg"),
        (["a.tif", "--seed", "-1"], "out of range"),
        (["a.tif", "--gsd", "40"], "choose a resolution"),
    ],
)
def test_misuse_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_scene(SyntheticScene(Layout(1), 8, 8), tmp_path / "a.tif", tmp_path / "a.gpkg")
