"""Shares of the work, in any number and any order, leave what one process leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocks import Bench, draw_blocks, write_scene
from bright import ENGINE
from click.testing import CliRunner
from heard import Heard

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.cluster.shards import Shard
from geoseg.errors import GeosegError, InputError
from geoseg.inference.resume import Journal
from geoseg.io.access import lock_folder, share_folder
from geoseg.models.backends.base import RuntimeKind
from geoseg.workflows import shares
from geoseg.workflows.manifest import Manifest, SceneRecord, read_records


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("length", [0, 1, 6, 7, 100])
def test_shares_are_a_partition(count: int, length: int) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    for take in (Shard.take_run, Shard.take_every):
        assert sorted(item for shard in shards for item in take(shard, range(length))) == list(range(length))
    sizes = [len(shard.take_run(range(length))) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "x", "", "1", "1/0", "-1/3", "1.0/3", "1/3/5", "²/3", "9" * 99 + "/1"]
)
def test_what_is_no_share_is_refused_in_one_line(text: str, bench: Bench) -> None:
    with pytest.raises(InputError, match=r"`shard` .*: give the number of a share"):
        bench.infer("refused", shard=text)
    done = CliRunner().invoke(
        command_line,
        ["infer", str(bench.scene), "--out", str(bench.folder / "refused.gpkg"), "--shard", text],
    )
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: --shard")


@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_shares_in_any_order_leaves_the_bytes_of_one_process(bench: Bench, count: int) -> None:
    numbers = random.Random(count).sample(range(1, count + 1), count)
    there = 0
    for number in numbers:
        share = bench.infer(f"of-{count}", shard=f"{number}/{count}")
        there += share.mine
        assert len(share.missing) == share.strips - there
    assert there == share.strips
    bench.infer(f"of-{count}")
    assert bench.read(f"of-{count}") == bench.read("one")
    assert bench.list_strays() == []


def test_the_last_command_does_what_no_share_did_and_keeps_what_is_there(bench: Bench, heard: Heard) -> None:
    share = bench.infer("late", shard="2/3")
    before = {path.name: path.stat().st_mtime_ns for path in share.folder.glob("*-0*.tif")}
    written = json.loads((share.folder / "shard-2-of-3.json").read_text())
    assert (written["shard"], written["strips"]) == ("2/3", share.mine)
    assert json.loads((share.folder / "manifest.json").read_text())["strips"] == share.strips
    assert len(before) == 2 * share.mine
    told = CliRunner().invoke(command_line, [*words(bench, "late"), "--dry-run"])
    assert f"{share.mine} of {share.strips} are there; missing: 1, 2" in told.stdout
    bench.infer("late")
    assert f"Going on: {share.mine} of {share.strips} strips are there already" in heard.lines
    assert bench.read("late") == bench.read("one")


def words(bench: Bench, name: str) -> list[str]:
    flags = [word for flag, value in ENGINE.items() for word in (f"--{flag}", value)]
    outputs = [word for flag, path in bench.outputs(name).items() for word in (f"--{flag}", str(path))]
    return ["infer", str(bench.scene), "--model", bench.model, *outputs, *flags]


def test_parts_of_a_scene_that_has_changed_go_with_the_last_command(bench: Bench, tmp_path: Path) -> None:
    scene, out, model = tmp_path / "scene.tif", tmp_path / "m.tif", bench.model
    write_scene(scene, draw_blocks(seed=1))
    earlier = geoseg.infer(scene, mask=out, model=model, shard="1/2", **ENGINE)
    write_scene(scene, draw_blocks(seed=2))
    share = geoseg.infer(scene, mask=out, model=model, shard="2/2", **ENGINE)
    assert earlier.folder != share.folder
    geoseg.infer(scene, mask=out, model=model, **ENGINE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.qml", "m.tif", "scene.tif"]
    geoseg.infer(scene, mask=tmp_path / "alone.tif", model=model, **ENGINE)
    assert out.read_bytes() == (tmp_path / "alone.tif").read_bytes()


def test_parts_of_a_mask_that_has_changed_go_with_the_last_command(bench: Bench, tmp_path: Path) -> None:
    mask, out = tmp_path / "mask.tif", tmp_path / "b.gpkg"
    shutil.copyfile(bench.outputs("one")["mask"], mask)
    geoseg.vectorize(mask, out, shard="1/2", workers=0)
    shutil.copyfile(bench.outputs("one")["mask"], mask)
    geoseg.vectorize(mask, out, workers=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.gpkg", "mask.tif"]


def test_a_folder_of_a_run_that_was_killed_before_its_first_part_goes(bench: Bench, tmp_path: Path) -> None:
    mask, folder = tmp_path / "mask.tif", tmp_path / "b.gpkg.0123456789ab.parts"
    shutil.copyfile(bench.outputs("one")["mask"], mask)
    folder.mkdir(mode=0o700)
    for name in (".lock", ".member-shard-2-of-2.lock"):
        (folder / name).touch()
    geoseg.vectorize(mask, tmp_path / "b.gpkg", workers=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.gpkg", "mask.tif"]


def test_parts_that_somebody_works_on_stay(bench: Bench, tmp_path: Path) -> None:
    mask, out = tmp_path / "mask.tif", tmp_path / "b.gpkg"
    shutil.copyfile(bench.outputs("one")["mask"], mask)
    share = geoseg.vectorize(mask, out, shard="1/2", workers=0)
    shutil.copyfile(bench.outputs("one")["mask"], mask)
    with lock_folder(share.folder):
        geoseg.vectorize(mask, out, workers=0)
    assert share.folder.exists()


def test_a_share_that_is_late_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole is finished by another run after this one has looked at the outputs, and before it begins."""
    plan_work = shares.plan_work

    def plan_when_others_have_finished(*given: Any) -> Any:
        work = plan_work(*given)
        monkeypatch.undo()
        bench.infer("raced")
        return work

    bench.infer("raced", shard="1/2")
    monkeypatch.setattr(shares, "plan_work", plan_when_others_have_finished)
    with pytest.raises(InputError, match=r"raced\.tif: exists already"):
        bench.infer("raced", shard="2/2")
    assert bench.read("raced") == bench.read("one")
    assert [name for name in bench.list_strays() if "raced" in name] == []


def test_a_share_that_begins_while_the_whole_gets_its_names_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = Journal.remove

    def begin_a_share(journal: Journal) -> None:
        remove(journal)
        monkeypatch.undo()
        with pytest.raises(InputError, match=r"named\.gpkg: exists already, and is whole"):
            bench.infer("named", shard="2/2")

    monkeypatch.setattr(Journal, "remove", begin_a_share)
    bench.infer("named")
    assert bench.read("named") == bench.read("one")
    assert [name for name in bench.list_strays() if "named" in name] == []


def test_a_share_with_nothing_to_do_says_so(bench: Bench) -> None:
    share = bench.infer("many", shard="1/1000")
    assert share.mine == 0
    assert "share 1/1000 is done (0 strips)" in str(share)
    shutil.rmtree(share.folder)


def test_a_damaged_part_is_made_again(bench: Bench) -> None:
    share = bench.infer("damaged", shard="1/1")
    for part in [*share.folder.glob("traced-*/*.npz"), *share.folder.glob("classes-*.tif")][::3]:
        part.write_bytes(part.read_bytes()[:100])
    bench.infer("damaged")
    assert bench.read("damaged") == bench.read("one")


def test_other_footprints_can_be_made_of_the_same_strips(bench: Bench) -> None:
    bench.infer("small", shard="1/1")
    result = bench.infer("small", min_area_m2=30)
    alone = bench.infer("small-one", min_area_m2=30)
    assert result.count == alone.count
    assert bench.read("small") == bench.read("small-one")


def test_the_date_of_the_image_goes_along(bench: Bench) -> None:
    dated = {"date": "2026-05-04", "crs": "EPSG:4326"}
    bench.infer("dated-one", **dated)
    for number in (2, 1):
        bench.infer("dated", shard=f"{number}/2", **dated)
    assert set(bench.infer("dated", **dated).buildings["image_date"]) == {"2026-05-04"}
    assert bench.read("dated") == bench.read("dated-one")


def test_footprints_in_the_mask_are_those_of_one_process(bench: Bench) -> None:
    bench.infer("drawn-one", mask_from="footprints")
    for number in (2, 1):
        bench.infer("drawn", mask_from="footprints", shard=f"{number}/2")
    bench.infer("drawn", mask_from="footprints")
    assert bench.read("drawn") == bench.read("drawn-one")


def test_an_engine_that_the_first_share_took_is_that_of_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that joins the shares need not have their GPU, as long as nothing is missing."""
    auto = {"device": "auto", "engine": "auto", "precision": "auto"}
    share = bench.infer("gpu", shard="1/2", **ENGINE)
    bench.infer("gpu", shard="2/2", **auto)
    monkeypatch.setattr(
        "geoseg.inference.loaded.choose_runtime", lambda *_: RuntimeKind("cpu", "onnx", "fp32")
    )
    bench.infer("gpu", **auto)
    assert bench.read("gpu") == bench.read("one")
    assert not share.folder.exists()


def test_missing_shares_of_an_engine_that_is_not_here_are_no_work_for_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = bench.infer("left", shard="1/2")
    manifest = share.folder / "manifest.json"
    manifest.write_text(
        manifest.read_text().replace('"device": "cpu", "engine"', '"device": "cuda", "engine"')
    )
    monkeypatch.setattr(
        "geoseg.inference.loaded.choose_runtime", lambda *_: RuntimeKind("cpu", "onnx", "fp32")
    )
    with pytest.raises(
        InputError, match="its other shares are made by openvino fp32 on cuda, which this machine cannot"
    ):
        bench.infer("left", device="auto", engine="auto", precision="auto")
    shutil.rmtree(share.folder)


def test_who_works_in_a_folder_keeps_out_who_wants_it_alone(tmp_path: Path) -> None:
    with share_folder(tmp_path, "shard-1-of-2"), share_folder(tmp_path, "shard-2-of-2"):
        with (
            pytest.raises(GeosegError, match="shard-1-of-2, shard-2-of-2 are still at work"),
            lock_folder(tmp_path),
        ):
            pass
        with (
            pytest.raises(GeosegError, match="shard-1-of-2 is at work"),
            share_folder(tmp_path, "shard-1-of-2"),
        ):
            pass
    with lock_folder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


def test_a_share_of_a_mask_needs_an_output(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`shard` 1/2: give `out` as well"):
        geoseg.vectorize(tmp_path / "mask.tif", shard="1/2")


def test_no_share_joins_a_run_of_the_whole(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path),
        pytest.raises(GeosegError, match="another run of the same command is at work, and does all of it"),
        share_folder(tmp_path, "shard-1-of-2", looking_s=0.1),
    ):
        pass


def test_the_first_note_of_several_processes_stands(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.note("batch", 4) == 4
    assert journal.note("batch", 8) == 4


def test_shares_of_a_mask(bench: Bench) -> None:
    mask = bench.outputs("one")["mask"]
    options = {"strip_rows": 50, "workers": 0, "regions": str(bench.folder / "wards.gpkg")}
    geoseg.vectorize(mask, bench.folder / "v-one.gpkg", **options)
    for number in (3, 1, 2):
        share = geoseg.vectorize(mask, bench.folder / "v.gpkg", shard=f"{number}/3", **options)
    assert (share.strips, share.missing) == (12, ())
    geoseg.vectorize(mask, bench.folder / "v.gpkg", **options)
    assert (bench.folder / "v.gpkg").read_bytes() == (bench.folder / "v-one.gpkg").read_bytes()
    assert bench.list_strays() == []


def test_shares_of_a_mask_stay_until_its_footprints_are_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, out = bench.outputs("one")["mask"], bench.folder / "w.gpkg"
    options = {"strip_rows": 50, "workers": 0}
    share = geoseg.vectorize(mask, out, shard="1/2", **options)
    kept = sorted(path.name for path in share.folder.glob("traced-*"))
    rename = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) == out:
            raise PermissionError(13, "in use")  # as Windows says while QGIS shows the file
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(GeosegError, match=r"w\.gpkg could not be written"):
            geoseg.vectorize(mask, out, **options)
    assert sorted(path.name for path in share.folder.glob("traced-*")) == kept
    geoseg.vectorize(mask, out, **options)
    assert bench.list_strays() == []


def test_shares_of_many_scenes(bench: Bench, tmp_path: Path) -> None:
    for number in range(5):
        write_scene(tmp_path / f"s{number}.tif", draw_blocks(100, 100, seed=number))
    (tmp_path / "s5.tif").write_text("no raster")
    scenes = sorted(tmp_path.glob("*.tif"))
    options = {"model": bench.model, **ENGINE}
    one = geoseg.infer(scenes, f"{tmp_path / 'one'}/", **options)
    for number in (3, 1):
        share = geoseg.infer(scenes, f"{tmp_path / 'all'}/", shard=f"{number}/3", **options)
        assert share.manifest.name == f"manifest-shard-{number}-of-3.csv"
    assert [Path(each.scene).name for each in share.scenes] == ["s0.tif", "s3.tif"]
    result = geoseg.infer(scenes, f"{tmp_path / 'all'}/", **options)
    assert (result.earlier, len(result.done), len(result.failed)) == (3, 5, 1)
    for scene in one.done:
        name = Path(scene.out).name
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "all").iterdir() if path.suffix != ".gpkg") == sorted(
        path.name for path in (tmp_path / "one").iterdir() if path.suffix != ".gpkg"
    )


def test_a_scene_that_one_share_did_is_done_whatever_another_share_tells(tmp_path: Path) -> None:
    """Shares of two counts may each have had it; names tell nothing of which was first."""
    for shard, status in (("1-of-10", "done"), ("1-of-2", "failed")):
        share = Manifest(tmp_path / f"manifest-shard-{shard}.csv", {})
        share.rewrite([SceneRecord("s0.tif", status, key="k"), SceneRecord(f"{status}.tif", status, key="k")])
    manifest = Manifest.open(tmp_path / "manifest.csv")
    assert manifest.find("s0.tif", "k") == SceneRecord("s0.tif", "done", key="k")
    assert {each.status for each in read_records(manifest.path)} == {"done", "failed"}


def test_a_model_without_answers_leaves_no_strips(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoseg.models.backends.openvino import OpenVinoRuntime

    share = bench.infer("nan", shard="1/2")
    with monkeypatch.context() as patch:
        patch.setattr(
            OpenVinoRuntime, "predict", lambda self, patch: np.full((1, 64, 64), np.nan, np.float32)
        )
        with pytest.raises(GeosegError, match="answers with no number"):
            bench.infer("nan", shard="2/2")
    assert len(list(share.folder.glob("classes-*.tif"))) == share.mine
    assert len(list(share.folder.glob("traced-*/*.npz"))) == share.mine
    bench.infer("nan")
    assert bench.read("nan") == bench.read("one")


def test_strips_without_answers_take_no_others_with_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """A run that is stopped has the same end as one that is not: a warning, where any strip has an answer."""
    from geoseg.models.backends.openvino import OpenVinoRuntime

    bench.infer("half", shard="1/2")
    monkeypatch.setattr(
        OpenVinoRuntime, "predict", lambda self, patch: np.full((1, 64, 64), np.nan, np.float32)
    )
    mask = bench.infer("half").mask
    assert mask is not None
    assert (mask[:200] != 255).any()
    assert (mask[400:] == 255).all()
    assert any("answers with no number (NaN) for 100.00%" in each for each in heard.warnings)
