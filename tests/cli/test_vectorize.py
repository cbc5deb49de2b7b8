"""`geoseg vectorize` from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner, Result
from made import RasterWriter

from geoseg.cli.main import geoseg
from geoseg.io import atomic


def run(*arguments: object) -> Result:
    return CliRunner().invoke(geoseg, ["vectorize", *map(str, arguments)])


def houses() -> np.ndarray:
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[5:25, 5:30], mask[30:50, 40:70], mask[55:57, 3:5] = 1, 2, 1
    return mask


def test_a_mask_with_a_place_has_pixels_of_a_known_size(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    refused = run(mask, "--out", tmp_path / "b.gpkg", "--gsd", "0.3")
    assert refused.exit_code == 2
    assert f"--gsd 0.3: {mask} has a place on Earth, which tells the size; leave it out" in refused.stderr


def test_a_mask_becomes_a_geopackage(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    result = run(mask, "--out", tmp_path / "b.gpkg", "--class", "1=house", "--class", "2=hall")
    assert result.exit_code == 0, result.output
    assert "2 footprints" in result.stdout
    assert "1 smaller one left out" in result.stdout
    found = gpd.read_file(tmp_path / "b.gpkg", layer="buildings")
    assert found["class"].tolist() == ["house", "hall"]
    assert found["regularized"].all()


def test_a_probability_alone_says_that_it_does_not_tell_where_one_building_ends(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    chances = write_raster("p.tif", (houses() > 0) * np.float32(0.9))
    for wish, told in (("auto", True), ("touching", False), ("none", False)):
        result = run(chances, "--threshold", 0.5, "--split", wish, "-o", tmp_path / f"{wish}.gpkg")
        assert result.exit_code == 0, result.output
        assert ("does not hold where one building ends" in result.stderr) == told


def test_the_summary_for_programs(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    result = run(
        mask, "--out", tmp_path / "b.gpkg", "--json", "--quiet", "--min-area", 0, "--regions", "grid:1km"
    )
    summary = json.loads(result.stdout)
    assert summary["footprints"] == 3
    assert summary["regions"] >= 1
    assert summary["area_m2"] == pytest.approx((20 * 25 + 20 * 30 + 4) * 0.09, rel=1e-2)


def test_every_wish_reaches_the_file(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    result = run(
        mask, "-o", tmp_path / "b.fgb", "--no-regularize", "--simplify", 1, "--split", "touching", "--connectivity", 8,
        "--crs", "EPSG:4326", "--area-crs", "EPSG:6933", "--strip", 7, "--workers", 1, "--max-hole", 0,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = gpd.read_file(tmp_path / "b.fgb")
    assert found.crs == "EPSG:4326"
    assert sorted(found["class"]) == ["building", "class 2"]
    assert not found["regularized"].any()


def test_a_project_opens_what_was_written(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    result = run(mask, "-o", tmp_path / "b.gpkg", "--qgis-project", tmp_path / "b.qgz")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b.qgz").exists()


def test_a_project_opens_a_mask_whose_crs_is_assumed(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255, crs=None)
    result = run(
        mask, "-o", tmp_path / "b.gpkg", "--qgis-project", tmp_path / "b.qgz", "--assume-crs", "EPSG:32633"
    )
    assert result.exit_code == 0, result.output


def test_the_same_command_twice_gives_the_same_bytes(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert run(mask, "-o", tmp_path / name / "b.gpkg", "--regions", "grid:1km").exit_code == 0
    assert (tmp_path / "one/b.gpkg").read_bytes() == (tmp_path / "two/b.gpkg").read_bytes()


def test_worker_processes_start_from_the_installed_command(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    command = [sys.executable, "-c", "from geoseg.cli.main import main; main()", "vectorize"]
    arguments = [str(mask), "--out", str(tmp_path / "b.gpkg"), "--workers", "2", "--strip", "16"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(gpd.read_file(tmp_path / "b.gpkg", layer="buildings")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--class", "house"], "--class house"),
        (["--class", "0=nothing"], "--class 0=nothing"),
        (["--class", "1="], "--class 1="),
        (["--min-area", "-3"], "--min-area -3"),
        (["--crs", "EPSG:x"], "--crs EPSG:x"),
        (["--area-crs", "EPSG:4326"], "--area-crs EPSG:4326"),
        (["--band", "4"], "--band 4"),
        (["--regions", "nowhere.gpkg"], "nowhere.gpkg"),
        (["--probability", "nowhere.tif"], "nowhere.tif"),
        (["--strip", "0"], "--strip"),
        (["--connectivity", "6"], "--connectivity"),
    ],
)
def test_misuse_is_told_in_one_line(
    write_raster: RasterWriter, tmp_path: Path, arguments: list[str], words: str
) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    result = run(mask, "--out", tmp_path / "b.gpkg", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "b.gpkg").exists()


@pytest.mark.parametrize("name", ["b.xyz", "b"])
def test_an_unknown_format_is_refused(write_raster: RasterWriter, tmp_path: Path, name: str) -> None:
    result = run(write_raster("mask.tif", houses()), "--out", tmp_path / name)
    assert result.exit_code == 2
    assert ".gpkg" in result.stderr


def test_what_is_there_stays_unless_overwrite_is_given(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    (tmp_path / "b.qgz").write_text("mine")
    result = run(mask, "-o", tmp_path / "b.gpkg", "--qgis-project", tmp_path / "b.qgz")
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert not (tmp_path / "b.gpkg").exists()
    assert (tmp_path / "b.qgz").read_text() == "mine"


def test_a_mask_without_crs_asks_for_it(write_raster: RasterWriter, tmp_path: Path) -> None:
    mask = write_raster("mask.tif", houses(), crs=None)
    refused = run(mask, "--out", tmp_path / "b.gpkg")
    assert refused.exit_code == 2
    assert "--assume-crs" in refused.stderr
    assert run(mask, "--out", tmp_path / "b.gpkg", "--assume-crs", "EPSG:32633").exit_code == 0


def test_stopped_between_its_files_the_same_command_goes_on(
    write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = write_raster("mask.tif", houses(), nodata=255)
    (tmp_path / "out").mkdir()
    command = (
        mask,
        "--out",
        tmp_path / "out/b.fgb",
        "--regions",
        "grid:1km",
        "--qgis-project",
        tmp_path / "out/b.qgz",
    )
    with monkeypatch.context() as patch:
        stop_after_renames(2, patch)
        assert run(*command).exit_code == 130
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert "b.fgb" in left
    assert "b.qgz" not in left
    done = run(*command)
    assert done.exit_code == 0, done.stderr
    names = {"b.fgb", "b.qml", "b_regions.fgb", "b_regions.qml", "b.qgz"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert run(*command).exit_code == 2, "a finished command must not be repeated by mistake"


def stop_after_renames(number: int, patch: pytest.MonkeyPatch) -> None:
    """Stop delivering once a number of files have their names."""
    left = [None] * number

    def rename(staged: dict[Path, Path]) -> None:
        for path, file in staged.items():
            if len(staged) > 1:  # not the note on a delivery
                if not left:
                    raise KeyboardInterrupt
                left.pop()
            os.replace(file, path)

    patch.setattr(atomic, "rename_files", rename)
