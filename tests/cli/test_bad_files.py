"""Damaged files of other people, through the commands that read them: one line, exit code 1 or 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rasterio
from click.testing import CliRunner, Result
from limits import limited_files
from made import HERE, UTM33, RasterWriter, photo
from squares import array_set

from geoseg.cli.console import speak_on_console
from geoseg.cli.main import geoseg
from geoseg.footprints.write.geopackage import is_geopackage

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

NESTED = "[" * 100_000
HUGE = "9" * 400
LARGER = "9" * 5000


def run(*arguments: object) -> Result:
    return CliRunner().invoke(geoseg, [str(argument) for argument in arguments])


def is_told_in_one_line(done: Result) -> bool:
    """Whether a run ended with a sentence that somebody foresaw."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "--debug" not in done.stderr, done.stderr
    assert len(errors) == 1, done.output
    return done.exit_code in (1, 2)


@pytest.fixture
def scene(write_raster: RasterWriter) -> Path:
    return write_raster("scene.tif", photo(64, 64))


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


def infer(model: Path, scene: Path, *flags: object) -> Result:
    return run("infer", scene, "--model", model, "--mask", scene.parent / "m.tif", "--device", "cpu", *flags)


@pytest.mark.parametrize(
    "text", [NESTED, "{", "", '{"patch": ' + HUGE + "}", '{"gsd_m": ' + LARGER + "}", "\x00"]
)
def test_cards(model: Path, scene: Path, text: str) -> None:
    (model / "card.json").write_text(text)
    assert is_told_in_one_line(infer(model, scene))


@pytest.mark.parametrize("field", ["gsd_m", "patch", "threshold", "min_area_m2", "bands", "classes"])
@pytest.mark.parametrize("value", [HUGE, "-" + HUGE, "1e999", '"a"', "[[]]", "{}", "null", "[" + HUGE + "]"])
def test_fields_of_cards(model: Path, scene: Path, field: str, value: str) -> None:
    card = json.loads((model / "card.json").read_text())
    written = json.dumps({**card, field: "HERE"}).replace('"HERE"', value)
    (model / "card.json").write_text(written)
    assert is_told_in_one_line(infer(model, scene))


@pytest.mark.parametrize("value", ['"deep"', "1000000000", HUGE, "[]"])
def test_the_depth_of_an_encoder(model: Path, scene: Path, value: str) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(
        json.dumps({**config, "encoder_depth": "HERE"}).replace('"HERE"', value)
    )
    assert is_told_in_one_line(infer(model, scene))


@pytest.mark.parametrize("kept", [0, 1, 5, 20, 100, 128, 1000])
def test_check_patches_that_are_cut_off(model: Path, scene: Path, kept: int) -> None:
    content = (model / "check.npy").read_bytes()
    (model / "check.npy").write_bytes(content[:kept])
    done = infer(model, scene)
    assert done.exit_code == 0 or is_told_in_one_line(
        done
    )  # an engine of one precision does not look at them


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_metadata_of_onnx_that_is_no_text(model: Path, scene: Path, engine: str) -> None:
    document = onnx.load(model / "model.onnx")
    document.metadata_props.add(key="AAAA", value="BBBB")
    content = (
        document.SerializeToString()
        .replace(b"AAAA", b"\xff\xfe\xfd\xfc")
        .replace(b"BBBB", b"\xff\xfe\xfd\xfc")
    )
    (model / "alone.onnx").write_bytes(content)
    done = infer(model / "alone.onnx", scene, "--engine", engine)
    assert done.exit_code == 0 or is_told_in_one_line(done)


@pytest.mark.parametrize(
    "text", ["a = " + NESTED, "gsd = " + HUGE, "gsd = " + LARGER, "patch = " + HUGE, "\xff", "["]
)
def test_options(model: Path, scene: Path, text: str) -> None:
    (scene.parent / "o.toml").write_text(text, encoding="latin-1")
    assert is_told_in_one_line(infer(model, scene, "--config", scene.parent / "o.toml"))
    assert is_told_in_one_line(
        run("train", scene.parent, "--out", scene.parent / "run", "--config", scene.parent / "o.toml")
    )


@pytest.mark.parametrize(
    "text", ["a = " + NESTED, "gsd_m = " + HUGE, "items = 3", "[[items]]\nimage = []", "\xff"]
)
def test_data_sets(scene: Path, text: str) -> None:
    (scene.parent / "dataset.toml").write_text(text, encoding="latin-1")
    assert is_told_in_one_line(run("prepare", "audit", scene.parent))


def feature(coordinates: str, kind: str = "Polygon") -> str:
    geometry = f'{{"type": "{kind}", "coordinates": {coordinates}}}'
    return f'{{"type": "FeatureCollection", "features": [{{"type": "Feature", "properties": {{"n": [1]}}, "geometry": {geometry}}}]}}'


GEOJSON = [
    feature("[[[15, 52], [15.1, 52], [15.1, 52.1]]]"),
    feature("[[[15, 52], [15.1, 52]]]"),
    feature("[[[15, 52], [[1], 52], [15.1, 52.1], [15, 52]]]"),
    feature('[[["a", 52], [15.1, 52], [15.1, 52.1], [15, 52]]]'),
    feature("[[[1e999, 52], [15.1, 52], [15.1, 52.1], [1e999, 52]]]"),
    feature("[[[1e300, 52], [1.1e300, 52], [1.1e300, 1e300], [1e300, 52]]]"),
    feature("[]"),
    feature("[[[15, 52], [15.1, 52], [15.1, 52.1], [15, 52]]]", "Ring"),
    NESTED,
    "{",
    "",
    '{"type": "FeatureCollection", "features": 3}',
]


@pytest.mark.parametrize("text", GEOJSON)
def test_outlines(scene: Path, write_raster: RasterWriter, text: str) -> None:
    folder = scene.parent
    (folder / "regions.geojson").write_text(text)
    mask = write_raster("mask.tif", (photo(64, 64, 1) > 128).astype(np.uint8), nodata=255)
    for done in (
        run("vectorize", mask, "--out", folder / "b.gpkg", "--regions", folder / "regions.geojson"),
        run("stats", folder / "regions.geojson", "--regions", "grid:1km"),
        run("evaluate", folder / "regions.geojson", mask),
        run(
            "prepare",
            "vectors",
            folder,
            "--images",
            "scene.tif",
            "--footprints",
            folder / "regions.geojson",
            "--out",
            folder / "set",
        ),
    ):
        assert done.exit_code == 0 or is_told_in_one_line(done)


@pytest.mark.parametrize("damage", ["cut", "zeros", "header", "no contents", "text"])
def test_geopackages_that_are_to_be_replaced(scene: Path, write_raster: RasterWriter, damage: str) -> None:
    mask = write_raster("mask.tif", (photo(64, 64, 1) > 128).astype(np.uint8), nodata=255)
    out = scene.parent / "b.gpkg"
    assert run("vectorize", mask, "--out", out).exit_code == 0
    content = bytearray(out.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 3]
    elif damage == "zeros":
        content[4096:] = bytes(len(content) - 4096)
    elif damage == "header":
        content = content[:16] + bytes(84) + content[100:]
    elif damage == "text":
        content = bytearray(b"SQLite format 3\0 and nothing more")
    else:
        with sqlite3.connect(out) as base:
            base.execute("DROP TABLE gpkg_contents")
        base.close()
        content = bytearray(out.read_bytes())
    out.write_bytes(content)
    before = out.read_bytes()
    done = run("vectorize", mask, "--out", out, "--overwrite")
    if done.exit_code == 0:
        assert is_geopackage(out)
    else:
        assert is_told_in_one_line(done)
        assert out.read_bytes() == before


def annotate(folder: Path, **changes: Any) -> Path:
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [[1, 1, 9, 1, 9, 9]],
        **changes.pop("annotation", {}),
    }
    image = {"id": 1, "file_name": "scene.tif", "height": 64, "width": 64, **changes.pop("image", {})}
    content = {
        "images": [image],
        "categories": [{"id": 1, "name": "building", **changes.pop("category", {})}],
        "annotations": [annotation],
    }
    (folder / "coco").mkdir(exist_ok=True)
    (folder / "coco/annotations.json").write_text(
        json.dumps(content).replace('"HUGE"', "1e300").replace('"LARGE"', HUGE)
    )
    return folder / "coco"


COCO = [
    {"annotation": {"segmentation": [["HUGE", 1, 9, 1, 9, 9]]}},
    {"annotation": {"segmentation": [["LARGE", 1, 9, 1, 9, 9]]}},
    {"annotation": {"segmentation": [[[1], 1, 9, 1, 9, 9]]}},
    {"annotation": {"segmentation": {"size": ["HUGE", 64], "counts": ["HUGE"]}}},
    {"annotation": {"segmentation": {"size": 3, "counts": [4096]}}},
    {"annotation": {"segmentation": {"size": [64, 64], "counts": "\x7f"}}},
    {"annotation": {"segmentation": {"size": [64, 64], "counts": "\u00e4"}}},
    {"annotation": {"segmentation": 7}},
    {"annotation": {"segmentation": [], "bbox": ["HUGE", 0, 4, "LARGE"]}},
    {"annotation": {"segmentation": [], "bbox": "abcd"}},
    {"annotation": {"id": "HUGE"}},
    {"annotation": {"image_id": "HUGE"}},
    {"annotation": {"category_id": "LARGE"}},
    {"annotation": {"category_id": [1]}},
    {"annotation": {"iscrowd": [1]}},
    {"image": {"id": "HUGE"}},
    {"image": {"height": "HUGE"}},
    {"image": {"height": "LARGE"}},
    {"image": {"file_name": ["scene.tif"]}},
    {"image": {"file_name": "a\0b.tif"}},
    {"category": {"id": "HUGE"}},
    {"category": {"name": ["building"]}},
]


@pytest.mark.parametrize("changes", COCO, ids=str)
@pytest.mark.parametrize("form", ["masks", "vectors"])
def test_coco(scene: Path, changes: dict[str, Any], form: str) -> None:
    source = annotate(scene.parent, **changes)
    flags = (
        "--images",
        scene.parent,
        "--gsd",
        0.3,
        "--out",
        scene.parent / "set",
        "--workers",
        0,
        "--as",
        form,
    )
    done = run("prepare", "coco", source, *flags)
    assert done.exit_code == 0 or is_told_in_one_line(done)


@pytest.mark.parametrize("text", [NESTED, '{"images": ' + NESTED, '{"a": ' + LARGER + "}"])
def test_coco_that_is_no_json(scene: Path, text: str) -> None:
    (scene.parent / "coco").mkdir()
    (scene.parent / "coco/annotations.json").write_text(text)
    assert is_told_in_one_line(
        run("prepare", "coco", scene.parent / "coco", "--gsd", 0.3, "--out", scene.parent / "set")
    )


SHAPES = [
    '<polygon label="a" points="1,1;9,1;9,9" z_order="x"/>',
    '<polygon label="a" points="1,1;9,1;9,9" z_order="' + LARGER + '"/>',
    '<polygon label="a" points="1,1;9,1;1e999,9"/>',
    '<polygon label="a" points="1e300,1;9,1e300;9,9"/>',
    '<polygon label="a" points="1;2"/>',
    '<box label="a" xtl="1e300" ytl="0" xbr="9" ybr="-1e300" rotation="1e300"/>',
    '<ellipse label="a" cx="1" cy="1" rx="1e308" ry="inf"/>',
    '<mask label="a" rle="' + LARGER + '" left="0" top="0" width="4" height="4"/>',
    '<mask label="a" rle="16" left="' + HUGE + '" top="0" width="4" height="4"/>',
    '<mask label="a" rle="99999999999999999999" left="0" top="0" width="4" height="4"/>',
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape[:60])
def test_cvat(scene: Path, shape: str) -> None:
    text = f'<annotations><image id="0" name="scene.tif" width="64" height="64">{shape}</image></annotations>'
    folder = scene.parent / "task"
    folder.mkdir()
    shutil.copy(scene, folder)
    (folder / "annotations.xml").write_text(text)
    done = run("prepare", "cvat", folder, "--gsd", 0.3, "--out", scene.parent / "set", "--workers", 0)
    assert done.exit_code == 0 or is_told_in_one_line(done)


@pytest.mark.parametrize("size", ["x", "-1", LARGER, "99999999999"])
def test_sizes_in_cvat(scene: Path, size: str) -> None:
    folder = scene.parent / "task"
    folder.mkdir()
    (folder / "annotations.xml").write_text(
        f'<annotations><image id="0" name="scene.tif" width="{size}" height="64"/></annotations>'
    )
    assert is_told_in_one_line(run("prepare", "cvat", folder, "--gsd", 0.3, "--out", scene.parent / "set"))


def test_archives_that_point_before_their_beginning(scene: Path) -> None:
    archive = scene.parent / "task.zip"
    with zipfile.ZipFile(archive, "w") as files:
        files.write(scene, "scene.tif")
        files.writestr("annotations.xml", "<annotations/>")
    content = archive.read_bytes()
    archive.write_bytes(content[:50] + content[2050:])
    done = run("prepare", "cvat", archive, "--gsd", 0.3, "--out", scene.parent / "set")
    assert is_told_in_one_line(done)
    assert "cannot be unpacked" in done.stderr


def test_arrays_whose_header_is_no_python(scene: Path) -> None:
    array_set(scene.parent / "arrays", side=64)
    for name in ("a.npy", "a-labels.npy"):
        content = (scene.parent / "arrays" / name).read_bytes()
        (scene.parent / "arrays" / name).write_bytes(content.replace(b"(", b"{", 1))
    done = run("prepare", "audit", scene.parent / "arrays", "--workers", 0)
    assert is_told_in_one_line(done) if done.exit_code else "not an array that can be read" in done.output


def test_places_where_pixels_have_no_size(model: Path, scene: Path) -> None:
    (scene.parent / "scene.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>1e300, 0.3, 0, 5400000, 0, -0.3</GeoTransform></PAMDataset>"
    )
    assert is_told_in_one_line(infer(model, scene))


@pytest.mark.parametrize("suffix", [".parquet", ".fgb"])
@pytest.mark.parametrize("command", ["stats", "plot", "compare", "publish", "sample"])
def test_footprints_that_are_cut_or_garbled(scene: Path, suffix: str, command: str) -> None:
    folder = scene.parent
    mask = folder / "mask.tif"
    with rasterio.open(
        mask, "w", driver="GTiff", dtype="uint8", count=1, height=64, width=64, crs=UTM33, transform=HERE
    ) as dataset:
        dataset.write(np.pad(np.ones((40, 40), np.uint8), 12), 1)
    file = folder / f"b{suffix}"
    assert run("vectorize", mask, "--out", file).exit_code == 0
    content = file.read_bytes()
    flags = {
        "stats": ["--regions", "grid:1km"],
        "compare": [mask.with_name("c.fgb")],
        "sample": ["--points", 5, "--mask", mask],
    }
    out = [
        "--out",
        folder / f"out{'.png' if command == 'plot' else '.parquet' if command == 'publish' else '.gpkg'}",
    ]
    run("vectorize", mask, "--out", folder / "c.fgb")
    for damaged in (content[:120], content[:40] + bytes(60) + content[100:], content[: len(content) // 2]):
        file.write_bytes(damaged)
        before = sorted(folder.iterdir())
        done = run(command, file, *flags.get(command, []), *out)
        assert done.exit_code == 0 or is_told_in_one_line(done)
        assert done.exit_code == 0 or sorted(folder.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["demo-scene", "{}/d.tif", "--size", "512"], "d.tif"),
        (
            ["prepare", "demo", "--scenes", "2", "--size", "256", "--workers", "0", "--out", "{}/set"],
            "place000.tif",
        ),
        (["models", "export", "{}/../model", "--to", "{}/m.onnx"], "m.onnx"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_full_disk(model: Path, command: list[str], file: str) -> None:
    folder = model.parent / "out"
    folder.mkdir()
    arguments = [part.format(folder) for part in command]
    with limited_files(20_000):
        done = run(*arguments)
    assert done.exit_code == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert f"{file} could not be written" in last
    assert "no space left" in last or "no space is left" in last
    assert not list(folder.glob("*.tif"))


def test_quiet_silences_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    with speak_on_console(quiet=True):
        warnings.warn("a library's own affair", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == ""
    with speak_on_console(quiet=False), pytest.warns(RuntimeWarning):
        warnings.warn("a library's own affair", RuntimeWarning, stacklevel=1)
