"""`geoseg prepare` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from click.testing import CliRunner, Result
from made import HERE, UTM33, RasterWriter, photo

from geoseg.cli.prepare import command
from geoseg.datasets.schema import read_dataset
from geoseg.io.access import lock_folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def source(write_raster: RasterWriter, tmp_path: Path) -> Path:
    for number in range(3):
        write_raster(f"images/{number}.tif", photo(64, 64, seed=number), transform=None, crs=None)
        write_raster(f"masks/{number}.tif", (photo(64, 64, 1, seed=9) > 200).astype(np.uint8) * 255)
    return tmp_path


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_masks_are_made_and_audited(source: Path) -> None:
    done = run(
        "masks",
        source,
        "--gsd",
        0.3,
        "--out",
        source / "set",
        "--licence",
        "CC0",
        "--source",
        "here",
        "--workers",
        0,
    )
    assert done.exit_code == 0, done.output
    assert "2 train, 1 validation" in done.stdout
    assert "building" in done.stdout
    assert (source / "set/audit.png").exists()
    assert read_dataset(source / "set").licence == "CC0"
    audited = run("audit", source / "set", "--json", "--quiet", "--workers", 0)
    assert json.loads(audited.stdout)["problems"] == []


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_the_licence_is_asked_for(source: Path) -> None:
    done = run("masks", source, "--gsd", 0.3, "--out", source / "set", "--workers", 0)
    assert "licence or source is unknown; say --licence" in done.stderr


def test_demo_places_share_no_ground(tmp_path: Path) -> None:
    done = run(
        "demo", "--scenes", 2, "--size", 200, "--out", tmp_path / "demo", "--workers", 0, "--json", "--quiet"
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["problems"] == []
    assert summary["items"] == {"train": 2, "validation": 0, "test": 0}


@pytest.mark.parametrize(
    ("form", "label"), [((), "labels/a.fgb"), (("--as", "vectors"), "labels/a.fgb"), (("--as", "masks"), "labels/a.tif")]
)  # fmt: skip
def test_labels_of_polygons_are_outlines_or_masks(
    write_raster: RasterWriter, tmp_path: Path, form: tuple[str, ...], label: str
) -> None:
    write_raster("a.tif", photo(64, 64))
    house = shapely.transform(shapely.box(10, 10, 30, 30), lambda x, y: HERE @ (x, y), interleaved=False)
    geopandas.GeoDataFrame(geometry=[house], crs=UTM33).to_file(tmp_path / "houses.gpkg")
    found = ["--images", "*.tif", "--footprints", tmp_path / "houses.gpkg", "--workers", 0]
    done = run("vectors", tmp_path, *found, *form, "--out", tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert "building 9.8%" in done.stdout
    dataset = read_dataset(tmp_path / "set")
    assert dataset.items[0].label == label
    assert dataset.label_path(dataset.items[0]).is_file()


@pytest.mark.parametrize("kind", ["vectors", "coco"])
def test_another_form_of_labels_is_refused(tmp_path: Path, kind: str) -> None:
    done = run(kind, tmp_path, "--as", "shapes", "--gsd", 1, "--out", tmp_path / "set")
    assert done.exit_code == 2
    assert "'shapes' is not one of 'masks', 'vectors'" in done.stderr
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("audit", "nowhere"), "there is no dataset.toml"),
        (("masks", "nowhere", "--out", "x"), "nowhere: no such folder"),
        (("masks", ".", "--out", "x", "--size", "3"), "--size 3: write WIDTHxHEIGHT"),
        (("masks", ".", "--out", "x", "--validation-share", "2"), "--validation-share 2"),
        (("coco", ".", "--out", "x", "--gsd", "1"), "expected a COCO file"),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_stopped_in_its_audit_the_same_command_goes_on(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "masks", source, "--gsd", 0.3, "--out", source / "set", "--workers", 0

    def stop(*_: object) -> None:
        (source / "set/labels/.1.tif.abcdefgh").mkdir()
        (source / "set/labels/.1.tif.abcdefgh/.lock").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("geoseg.datasets.prepare.audit_dataset", stop)
        assert run(*command).exit_code == 130
    assert (source / "set/dataset.toml").exists()
    assert run(*command, "--name", "other").exit_code == 2
    done = run(*command)
    assert done.exit_code == 0, done.output
    names = {path.relative_to(source / "set").as_posix() for path in (source / "set").rglob("*")}
    labels = {"labels", *(f"labels/{number}.tif" for number in range(3))}
    assert names - {".lock"} == {"dataset.toml", "audit.json", "audit.png", *labels}
    assert run(*command).exit_code == 2


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_second_run_in_the_same_folder_is_kept_out(source: Path) -> None:
    with lock_folder(source / "set"):
        done = run("masks", source, "--gsd", 0.3, "--out", source / "set", "--workers", 0)
    assert done.exit_code == 1
    assert "another run" in done.stderr
