"""Many scenes, a result for each: the same files as one by one, what fails is told, what is finished is not done again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from bright import BOX, ENGINE, draw_picture, save_picture, write_bright_model
from click.testing import CliRunner, Result
from heard import Heard
from made import RasterWriter

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.datasets.coco.labels import draw_segmentation
from geoseg.errors import InputError
from geoseg.workflows import scenes as scenes_module

FLAGS = [flag for name, value in ENGINE.items() for flag in (f"--{name}", value)]


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_bright_model(tmp_path))


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    """Three pictures, the second without a building, the third with one that has a courtyard."""
    courtyard = draw_picture()
    courtyard[40:50, 30:50] = 20
    for name, values in (("a", draw_picture()), ("b", draw_picture(boxes=())), ("c", courtyard)):
        save_picture(tmp_path / "chips" / f"{name}.png", values)
    return tmp_path / "chips"


def run(model: str, *arguments: object) -> Result:
    return CliRunner().invoke(command_line, ["infer", *map(str, arguments), "--model", model, *FLAGS])


def read_manifest(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_scene_has_the_files_that_it_would_have_alone(
    write_raster: RasterWriter, model: str, tmp_path: Path, chips: Path
) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0))
    out, masks = tmp_path / "results", tmp_path / "masks"
    result = geoseg.infer([chips, scene], f"{out}/", mask=masks, model=model, **ENGINE)
    assert result.manifest == out / "manifest.csv"
    assert [Path(each.out).name for each in result.scenes] == ["a.gpkg", "b.gpkg", "c.gpkg", "scene.gpkg"]
    assert sorted(path.name for path in masks.iterdir()) == [
        "a.png",
        "b.png",
        "c.png",
        "scene.qml",
        "scene.tif",
    ]
    for each, image in zip(result.scenes, [*sorted(chips.iterdir()), scene], strict=True):
        alone = geoseg.infer(
            image, tmp_path / "alone.gpkg", mask=tmp_path / f"alone{Path(each.mask).suffix}", model=model,
            overwrite=True, **ENGINE,
        )  # fmt: skip
        assert alone.count == each.footprints
        assert Path(each.out).read_bytes() == (tmp_path / "alone.gpkg").read_bytes()
        assert Path(each.mask).read_bytes() == (tmp_path / f"alone{Path(each.mask).suffix}").read_bytes()
    assert result.count == 3
    assert result.area_m2 == pytest.approx(1500 * 0.09, rel=0.02)


def test_the_manifest_tells_of_every_scene(chips: Path, model: str, tmp_path: Path) -> None:
    (chips / "broken.png").write_text("no picture")
    done = run(model, chips, "--out", f"{tmp_path / 'results'}/", "--json")
    assert done.exit_code == 1
    rows = {Path(row["scene"]).name: row for row in read_manifest(tmp_path / "results" / "manifest.csv")}
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.png": "done", "b.png": "done", "broken.png": "failed", "c.png": "done",
    }  # fmt: skip
    assert rows["a.png"]["footprints"] == "1"
    assert float(rows["a.png"]["area_px"]) == pytest.approx(1500, rel=0.02)
    assert float(rows["a.png"]["seconds"]) > 0
    assert "not a raster that can be read" in rows["broken.png"]["reason"]
    assert f"{chips / 'broken.png'}: not a raster" in done.stderr
    assert "1 scene failed" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["failed"], summary["footprints"]) == (3, 1, 2)


def test_what_is_finished_is_not_done_again(
    chips: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[str] = []

    def infer_and_note(scene: Any, *arguments: Any) -> Any:
        worked.append(Path(scene[0]).name)
        return infer_scene(scene, *arguments)

    infer_scene = scenes_module.infer_scene
    monkeypatch.setattr(scenes_module, "infer_scene", infer_and_note)
    out = tmp_path / "results"

    def work() -> list[str]:
        worked.clear()
        geoseg.infer(chips, f"{out}/", model=model, **ENGINE)
        return list(worked)

    assert work() == ["a.png", "b.png", "c.png"]
    before = (out / "manifest.csv").read_text()
    assert work() == []
    assert (out / "manifest.csv").read_text() == before
    (out / "b.gpkg").unlink()
    assert work() == ["b.png"]
    save_picture(chips / "c.png", draw_picture(boxes=[BOX, (slice(70, 90), slice(20, 60))]))
    (out / "c.gpkg").unlink()
    assert work() == ["c.png"]
    # A run that was killed left a finished file, and half a line.
    with (out / "manifest.csv").open("a") as file:
        started = next(row for row in read_manifest(out / "manifest.csv") if row["scene"].endswith("a.png"))
        file.write(",".join([started["scene"], "started", *[""] * 4, *list(started.values())[6:]]) + "\n")
        file.write(f"{started['scene']},done,1")
    assert work() == ["a.png"]
    assert [row["status"] for row in read_manifest(out / "manifest.csv")] == ["done"] * 3


def test_other_options_need_overwrite(chips: Path, model: str, tmp_path: Path) -> None:
    out = f"{tmp_path / 'results'}/"
    geoseg.infer(chips, out, model=model, **ENGINE)
    refused = geoseg.infer(chips, out, model=model, min_area_m2=1, **ENGINE)
    assert [each.status for each in refused.scenes] == ["failed"] * 3
    assert "holds a layer buildings already" in refused.failed[0].reason
    # What was refused has not touched the earlier results, which the first command still knows.
    assert geoseg.infer(chips, out, model=model, **ENGINE).earlier == 3
    replaced = geoseg.infer(chips, out, model=model, min_area_m2=1, overwrite=True, **ENGINE)
    assert (len(replaced.done), replaced.earlier) == (3, 0)


def test_the_model_is_opened_once(
    chips: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def open_and_count(*arguments: Any) -> Any:
        opened.append(arguments)
        return open_runtime(*arguments)

    from geoseg.inference import loaded

    open_runtime = loaded.open_runtime
    monkeypatch.setattr(loaded, "open_runtime", open_and_count)
    geoseg.infer(chips, f"{tmp_path / 'results'}/", model=model, **ENGINE)
    assert len(opened) == 1


def test_progress_goes_over_all_scenes(chips: Path, model: str, tmp_path: Path, heard: Heard) -> None:
    (chips / "d.png").write_text("no picture")
    geoseg.infer(chips, f"{tmp_path / 'results'}/", model=model, **ENGINE)
    assert heard.total == 4
    assert sum(tick.amount for tick in heard.ticks) == pytest.approx(4)
    assert sum(line.startswith("Model") for line in heard.lines) == 1
    assert len(heard.warnings) == 1


def test_scenes_of_one_name_have_files_of_their_own(model: str, tmp_path: Path) -> None:
    for folder in ("north", "south"):
        save_picture(tmp_path / folder / "scene.png", draw_picture())
    out = tmp_path / "results"
    result = geoseg.infer([tmp_path / "north", tmp_path / "south"], f"{out}/", model=model, **ENGINE)
    assert [Path(each.out).name for each in result.scenes] == ["north_scene.gpkg", "south_scene.gpkg"]
    assert result.count == 2


def test_lists_name_scenes(chips: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("chips/a.png\nchips/missing.png\n")
    result = geoseg.infer(tmp_path / "list.txt", mask=tmp_path / "masks", model=model, **ENGINE)
    assert result.manifest == tmp_path / "masks" / "manifest.csv"
    assert [each.status for each in result.scenes] == ["done", "failed"]


def test_coco_holds_what_the_masks_hold(chips: Path, model: str, tmp_path: Path) -> None:
    """Drawn by our own reader of COCO, each picture's annotations are its mask; a courtyard stays open."""
    coco, masks = tmp_path / "all.json", tmp_path / "masks"
    options = {"regularize": False, "min_area_m2": 0, "max_hole_m2": 0}
    out = f"{tmp_path / 'results'}/"
    result = geoseg.infer(chips, out, mask=masks, coco=coco, model=model, **options, **ENGINE)
    assert result.coco == coco
    document = json.loads(coco.read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.png", "b.png", "c.png"]
    assert document["categories"] == [{"id": 1, "name": "building"}]
    assert [each["id"] for each in document["annotations"]] == [1, 2]
    assert all(0.9 < each["score"] <= 1 for each in document["annotations"])
    for image in document["images"]:
        drawn = np.zeros((100, 120), bool)
        for each in document["annotations"]:
            if each["image_id"] == image["id"]:
                drawn |= draw_segmentation(each["segmentation"], 100, 120).astype(bool)
                assert each["bbox"] == [20, 30, 50, 30]
        assert np.array_equal(drawn, read_png(masks / image["file_name"]) == 1)


def read_png(path: Path) -> Any:
    from PIL import Image

    return np.asarray(Image.open(path))


def test_coco_results_take_the_numbers_of_a_file(chips: Path, model: str, tmp_path: Path) -> None:
    names = {"images": [{"id": 70 + i, "file_name": f"val/{n}.png"} for i, n in enumerate("abc")]}
    (tmp_path / "val.json").write_text(json.dumps({**names, "categories": [{"id": 100, "name": "house"}]}))
    options = {"coco": tmp_path / "results.json", "coco_images": tmp_path / "val.json"}
    geoseg.infer(chips, f"{tmp_path / 'results'}/", model=model, **options, **ENGINE)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [(each["image_id"], each["category_id"]) for each in found] == [(70, 100), (72, 100)]
    assert set(found[0]) == {"image_id", "category_id", "segmentation", "bbox", "area", "score"}


@pytest.mark.parametrize(
    ("images", "words"),
    [(["a", "b"], "names no image c.png"), (["a", "b", "c", "more/c"], "names several images c.png")],
)
def test_numbers_that_do_not_fit_are_refused_before_any_work(
    chips: Path, model: str, tmp_path: Path, images: list[str], words: str
) -> None:
    listed = [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate(images)]
    (tmp_path / "val.json").write_text(json.dumps({"images": listed}))
    options = {"coco": tmp_path / "results.json", "coco_images": tmp_path / "val.json"}
    with pytest.raises(InputError, match=words):
        geoseg.infer(chips, f"{tmp_path / 'results'}/", model=model, **options, **ENGINE)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("assumed", [{}, {"assume_crs": "EPSG:32633"}])
def test_coco_of_scenes_with_a_place_is_in_their_pixels(
    write_raster: RasterWriter, model: str, tmp_path: Path, assumed: dict[str, str]
) -> None:
    crs = {"crs": None} if assumed else {}
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0), **crs)
    options = {"coco": tmp_path / "c.json", "crs": "EPSG:4326", "regularize": False, **assumed}
    geoseg.infer([scene], f"{tmp_path / 'results'}/", model=model, **options, **ENGINE)
    (only,) = json.loads((tmp_path / "c.json").read_text())["annotations"]
    corners = np.array(only["segmentation"][0]).reshape(-1, 2)
    assert shapely.Polygon(corners).symmetric_difference(shapely.box(20, 30, 70, 60)).area < 0.5


def test_a_dry_run_tells_of_every_scene_and_writes_nothing(chips: Path, model: str, tmp_path: Path) -> None:
    """Figures of one scene are those that a dry run of it alone gives; the last row sums them up."""
    (chips / "broken.png").write_bytes(b"no picture")
    before = sorted(tmp_path.rglob("*"))
    outputs = ("--out", f"{tmp_path}/results/", "--mask", tmp_path / "masks", "--dry-run")
    done = run(model, chips, *outputs, "--json", "--quiet")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["waiting"], told["done"], told["failed"]) == (3, 0, 1)
    by_name = {Path(each["scene"]).name: each for each in told["scenes"]}
    assert "not a raster that can be read" in by_name["broken.png"]["reason"]
    alone = json.loads(
        run(model, chips / "a.png", "--mask", tmp_path / "m.png", "--dry-run", "--json", "--quiet").stdout
    )
    for name in ("patches", "strips", "memory_bytes", "disk_bytes"):
        assert by_name["a.png"][name] == alone[name]
    assert told["patches"] == 3 * alone["patches"]
    assert told["memory_bytes"] == alone["memory_bytes"]
    assert told["disk_bytes"] == 4 * (alone["disk_bytes"] // 2)
    assert told["seconds"] == pytest.approx(sum(each.get("seconds", 0) for each in told["scenes"]))
    lines = run(model, chips, *outputs, "--quiet").stdout.splitlines()
    assert lines[0].split() == ["Scene", "Patches", "Memory", "Disk", "Time"]
    assert lines[-1].startswith("3 of 4 scenes")
    assert len(lines) == 6
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_passes_over_what_is_done(chips: Path, model: str, tmp_path: Path) -> None:
    geoseg.infer(chips, f"{tmp_path / 'results'}/", model=model, **ENGINE)
    (tmp_path / "results" / "b.gpkg").unlink()
    before = (tmp_path / "results" / "manifest.csv").read_bytes()
    outputs = ("--out", tmp_path / "results", "--dry-run")
    done = run(model, chips, *outputs, "--quiet")
    assert done.exit_code == 0
    assert [line.split()[-2:] == ["done", "already"] for line in done.stdout.splitlines()[1:4]] == [
        True,
        False,
        True,
    ]
    assert done.stdout.splitlines()[-1].startswith("1 of 3 scenes")
    told = json.loads(run(model, chips, *outputs, "--json", "--quiet").stdout)
    assert [each["status"] for each in told["scenes"]] == ["done", "waiting", "done"]
    assert (tmp_path / "results" / "manifest.csv").read_bytes() == before


def test_a_dry_run_tells_what_may_not_be_replaced(chips: Path, model: str, tmp_path: Path) -> None:
    geoseg.infer(chips, f"{tmp_path / 'results'}/", model=model, **ENGINE)
    outputs = ("--out", tmp_path / "results", "--min-area", "7", "--dry-run", "--quiet")
    refused = run(model, chips, *outputs)
    assert refused.exit_code == 1
    assert "use --overwrite to replace it" in refused.stdout
    assert run(model, chips, *outputs, "--overwrite").exit_code == 0


def test_a_dry_run_of_a_share_tells_of_its_scenes(chips: Path, model: str, tmp_path: Path) -> None:
    outputs = ("--out", f"{tmp_path}/results/", "--dry-run", "--json", "--quiet", "--shard", "2/2")
    told = json.loads(run(model, chips, *outputs).stdout)
    assert [Path(each["scene"]).name for each in told["scenes"]] == ["b.png"]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (
            ["--out", "results/", "--mask", "mask.tif"],
            "--mask mask.tif: names a file where others name a folder",
        ),
        (["--out", "out.gpkg", "--mask", "masks"], "--out out.gpkg: names a file where others"),
        (["--mask", "rasters", "--probability", "rasters"], "named for two kinds of rasters"),
        (["--out", "results/", "--qgis-project", "q.qgz"], "--qgis-project q.qgz: shows one scene"),
        (["--mask", "masks", "--coco", "c.json"], "--coco c.json: holds footprints; give --out"),
        (
            ["--out", "results/", "--coco", "c.json", "--coco-images", "x.json"],
            "--coco-images x.json: cannot be read",
        ),
        (["--out", "o.gpkg", "--coco", "c.json"], "--coco c.json: is written of many scenes"),
        (["--out", "chips/a.png/", "--mask", "masks"], "is a file where a folder is needed"),
        (["--out", "results/", "--model", "nothing"], "model nothing: no such folder"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    chips: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    flags = [] if "--model" in outputs else ["--model", model]
    done = CliRunner().invoke(command_line, ["infer", "chips/a.png", *outputs, *flags, *FLAGS])
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_foreign_manifest_is_left_alone(chips: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "manifest.csv").write_text("name,size\na,1\n")
    with pytest.raises(InputError, match="is no manifest of geoseg infer"):
        geoseg.infer(chips, tmp_path / "results", model=model, **ENGINE)


@pytest.mark.parametrize(
    ("before", "after"), [(",done,1,", ",done,one,"), ("a.png", "\xe4.png")], ids=["a number", "letters"]
)
def test_a_manifest_that_another_program_changed_is_told_in_one_line(
    chips: Path, model: str, tmp_path: Path, before: str, after: str
) -> None:
    results = f"{tmp_path / 'results'}/"
    manifest = geoseg.infer(chips, results, model=model, **ENGINE).manifest
    assert before in manifest.read_text()
    manifest.write_bytes(manifest.read_text().replace(before, after).encode("cp1252"))
    with pytest.raises(InputError, match=r"manifest\.csv: is no manifest of geoseg infer \("):
        geoseg.infer(chips, results, model=model, **ENGINE)


def test_what_shares_did_after_a_failed_run_is_not_done_again(
    chips: Path, model: str, tmp_path: Path
) -> None:
    results, options = f"{tmp_path / 'results'}/", {"model": model, **ENGINE}
    sound = (chips / "b.png").read_bytes()
    (chips / "b.png").write_text("no picture")
    assert len(geoseg.infer(chips, results, **options).failed) == 1
    (chips / "b.png").write_bytes(sound)
    for share in ("1/2", "2/2"):
        geoseg.infer(chips, results, shard=share, **options)
    result = geoseg.infer(chips, results, **options)
    assert (result.earlier, len(result.failed)) == (3, 0)
    assert [path.name for path in Path(results).glob("*.csv")] == ["manifest.csv"]


def test_scenes_are_counted_again_in_regions_that_changed(
    write_raster: RasterWriter, model: str, tmp_path: Path
) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0))
    regions = tmp_path / "regions.gpkg"
    options = {"regions": f"{regions}:wards", "model": model, "overwrite": True, **ENGINE}
    for count in (1, 2):
        wards = gpd.GeoSeries([shapely.box(0, 0, 1e6, 1e7)] * count, crs=f"EPSG:{32632 + count}")
        gpd.GeoDataFrame({"name": list("ab")[:count]}, geometry=wards).to_file(regions, layer="wards")
        result = geoseg.infer([scene], f"{tmp_path / 'results'}/", **options)
        assert result.earlier == 0
        assert len(gpd.read_file(result.scenes[0].out, layer="regions")) == count
    assert geoseg.infer([scene], f"{tmp_path / 'results'}/", **options).earlier == 1


def test_what_is_finished_with_a_frame_of_regions_is_not_done_again(
    write_raster: RasterWriter, model: str, tmp_path: Path
) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0))
    wards = gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(0, 0, 1e6, 1e7)], crs="EPSG:32633")
    for earlier in (0, 1):
        result = geoseg.infer([scene], f"{tmp_path / 'results'}/", regions=wards, model=model, **ENGINE)
        assert (result.earlier, len(result.failed)) == (earlier, 0)


def test_a_second_run_in_the_folder_is_kept_out(chips: Path, model: str, tmp_path: Path) -> None:
    from geoseg.io.access import lock_folder

    with lock_folder(tmp_path / "results"), pytest.raises(geoseg.GeosegError, match="another run"):
        geoseg.infer(chips, tmp_path / "results", model=model, **ENGINE)


def test_files_of_one_scene_stay_one_mosaic(write_raster: RasterWriter, model: str, tmp_path: Path) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0))
    geoseg.infer([scene, scene], tmp_path / "one.gpkg", model=model, **ENGINE)
    assert len(gpd.read_file(tmp_path / "one.gpkg", layer="buildings")) == 1
