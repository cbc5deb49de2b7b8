"""Workers of Dask, on this machine and over TCP, make the files of one process, whatever dies on the way."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from blocks import (
    Bench,
    die_always,
    die_once,
    draw_blocks,
    run_cluster,
    start,
    wait_until,
    work_slowly,
    write_scene,
)
from bright import ENGINE
from heard import Heard

import geoseg
from geoseg.errors import GeosegError, InputError
from geoseg.inference.resume import Journal
from geoseg.io.access import is_locked

pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""Dask leaves closing sockets to the garbage collector."""


def test_workers_over_tcp_make_the_bytes_of_one_process(bench: Bench, address: str) -> None:
    bench.infer("tcp", dask=address)
    assert bench.read("tcp") == bench.read("one")
    assert bench.list_strays() == []


def test_workers_on_this_machine_make_the_bytes_of_one_process(bench: Bench) -> None:
    bench.infer("local", workers=3)
    assert bench.read("local") == bench.read("one")
    assert bench.list_strays() == []


def test_workers_do_a_share(bench: Bench, address: str) -> None:
    for number in (2, 1):
        share = bench.infer("both", dask=address, shard=f"{number}/2")
    assert share.missing == ()
    bench.infer("both")
    assert bench.read("both") == bench.read("one")


def test_workers_trace_a_mask(bench: Bench, address: str) -> None:
    mask = bench.outputs("one")["mask"]
    options = {"strip_rows": 50, "probability": str(bench.outputs("one")["probability"])}
    geoseg.vectorize(mask, bench.folder / "v-one.gpkg", workers=0, **options)
    geoseg.vectorize(mask, bench.folder / "v-tcp.gpkg", dask=address, **options)
    assert (bench.folder / "v-tcp.gpkg").read_bytes() == (bench.folder / "v-one.gpkg").read_bytes()
    assert bench.list_strays() == []


def test_each_scene_of_many_is_a_task(
    bench: Bench, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write_scene(tmp_path / f"s{number}.tif", draw_blocks(100, 100, seed=number))
    (tmp_path / "s3.tif").write_text("no raster")
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    scenes = [f"s{number}.tif" for number in range(4)]
    options = {"model": bench.model, **ENGINE}
    one = geoseg.infer(scenes, "one/", **options)
    result = geoseg.infer(scenes, "all/", dask=address, **options)
    assert (len(result.done), len(result.failed), result.earlier) == (3, 1, 0)
    assert [each.scene for each in result.scenes] == scenes
    for scene in one.done:
        assert (tmp_path / "all" / Path(scene.out).name).read_bytes() == Path(scene.out).read_bytes()
    assert geoseg.infer(scenes, "all/", dask=address, **options).earlier == 3
    assert not list((tmp_path / "all").glob(".at-work*"))


def test_a_worker_that_is_killed_costs_what_it_had_in_hand(
    bench: Bench, address: str, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.workflows.strips.work_on_strips", die_once)
    bench.infer("killed", dask=address)
    assert (bench.folder / "died").exists()
    assert bench.read("killed") == bench.read("one")
    assert any("1 lost on the way" in line for line in heard.lines)
    assert bench.list_strays() == []


def test_a_run_that_is_killed_goes_on(bench: Bench, address: str) -> None:
    code = (
        "import sys; from blocks import *; import geoseg.raster.plan, geoseg.workflows.strips as s\n"
        "geoseg.raster.plan.STRIP_PIXELS, s.work_on_strips = SMALL_STRIPS, work_slowly\n"
        "b = Bench.__new__(Bench); b.folder, b.model, b.scene = Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "b.infer('gone', dask=sys.argv[4])"
    )
    client = start("-c", code, str(bench.folder), bench.model, str(bench.scene), address)
    wait_until(lambda: len(list(bench.folder.glob("gone.gpkg.*.parts/classes-*.tif"))) > 1)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert not bench.outputs("gone")["mask"].exists()
    (folder,) = bench.folder.glob("gone.gpkg.*.parts")
    wait_until(lambda: not is_locked(folder / ".lock"))
    bench.infer("gone", dask=address)
    assert bench.read("gone") == bench.read("one")
    assert bench.list_strays() == []


def test_a_scheduler_that_is_killed_is_told_and_the_command_goes_on(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_cluster(tmp_path, 1) as (address, processes):

        def kill_scheduler(done: int) -> None:
            if done == 2:
                processes[0].kill()

        watch_strips(monkeypatch, kill_scheduler)
        monkeypatch.setattr("geoseg.workflows.strips.work_on_strips", work_slowly)
        with pytest.raises(GeosegError, match=r"tcp://.*: the scheduler is gone; what is finished is kept"):
            bench.infer("orphan", dask=address)
    bench.infer("orphan")
    assert bench.read("orphan") == bench.read("one")


def watch_strips(monkeypatch: pytest.MonkeyPatch, hear: object) -> None:
    """Hear how many tasks are done, whenever one is."""
    from geoseg.cluster.dask import Workers

    run = Workers.run

    def run_and_tell(*arguments: object) -> object:
        for number, result in enumerate(run(*arguments), start=1):  # type: ignore[arg-type]
            hear(number)  # type: ignore[operator]
            yield result

    monkeypatch.setattr(Workers, "run", run_and_tell)


def test_work_that_kills_every_worker_ends_with_a_line(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.workflows.strips.work_on_strips", die_always)
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with (
        run_cluster(tmp_path, 1) as (address, _),
        pytest.raises(GeosegError, match="1 workers in a row died of the same part"),
    ):
        bench.infer("deadly", dask=address)
    remove_parts(bench, "deadly")


def remove_parts(bench: Bench, name: str) -> None:
    for folder in bench.folder.glob(f"{name}.gpkg.*.parts"):
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "wrong",
    ["tcp://127.0.0.1:1", "nothing", "tcp://", "127.0.0.1", "http://127.0.0.1:1", "tls://127.0.0.1:1"],
)
def test_an_address_without_a_scheduler_is_told_in_a_line(wrong: str) -> None:
    from geoseg.cluster.dask import connect_to_scheduler

    with (
        pytest.raises(InputError, match=f"^`dask` {wrong}: no scheduler answers there.*$"),
        connect_to_scheduler(wrong, answer_s=0.5),
    ):
        pass


def test_workers_of_another_version_are_refused(
    bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.cluster.dask.__version__", "9.9")
    with pytest.raises(
        InputError, match=r"worker tcp://.*: has geoseg .*, not 9.9; install the same version .*1 more"
    ):
        bench.infer("version", dask=address)


def test_workers_keep_no_probabilities_that_nobody_asked_for(
    bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.workflows import infer

    kept: list[str] = []

    def list_parts(job: Any, journal: Journal, *others: Any) -> None:
        kept.extend(path.name for path in journal.folder.glob("*.tif"))
        write_mosaics(job, journal, *others)

    write_mosaics = infer.write_mosaics
    monkeypatch.setattr(infer, "write_mosaics", list_parts)
    geoseg.infer(bench.scene, mask=bench.folder / "alone.tif", model=bench.model, dask=address, **ENGINE)
    assert kept
    assert all(name.startswith("classes-") for name in kept)


def test_a_model_that_workers_do_not_have_is_told(
    bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.workflows.strips.make_absolute", lambda path: f"/nowhere{path}")
    with pytest.raises(InputError, match=r"worker tcp://.*: model /nowhere/.*bright.onnx: no such folder"):
        bench.infer("model", dask=address)


def test_a_scene_that_workers_do_not_see_is_told(
    bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.workflows import strips

    see = strips.make_absolute
    monkeypatch.setattr(
        strips, "make_absolute", lambda path: f"/nowhere{path}" if path.endswith(".tif") else see(path)
    )
    with pytest.raises(InputError, match=r"the worker \d+ on .*: /nowhere/.*scene.tif: no such file"):
        bench.infer("unseen", dask=address)
    remove_parts(bench, "unseen")


def test_a_folder_that_workers_do_not_see_is_told(
    bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.cluster.place.NOTE", ".elsewhere-")
    with pytest.raises(
        InputError, match=r"the worker \d+ on .* does not see the folder .*\.parts as the machine does"
    ):
        bench.infer("folder", dask=address)
    remove_parts(bench, "folder")


def test_a_worker_that_would_do_it_otherwise_is_told(
    bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.cluster.dask import Workers
    from geoseg.models.backends.base import RuntimeKind

    settle = Workers.settle_model
    other = RuntimeKind("cpu", "openvino", "bf16")
    monkeypatch.setattr(Workers, "settle_model", lambda *given: (other, settle(*given)[1]))
    with pytest.raises(
        InputError, match="would do it otherwise: `precision` is fp32 there, and bf16 where it is asked"
    ):
        bench.infer("otherwise", dask=address)
    remove_parts(bench, "otherwise")


@pytest.mark.parametrize(("name", "value"), [("workers", 2), ("dask", "tcp://127.0.0.1:8786")])
def test_without_dask_the_command_that_brings_it_is_told(
    name: str, value: object, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "geoseg.cluster.dask", raising=False)
    with pytest.raises(InputError, match=rf'`{name}` .*: needs distributed, .* pip install "geoseg\[dask\]"'):
        bench.infer("missing", **{name: value})


def test_workers_here_and_elsewhere_are_not_joined(bench: Bench) -> None:
    with pytest.raises(InputError, match="give one of the two"):
        bench.infer("two", workers=2, dask="tcp://127.0.0.1:8786")


def test_more_workers_than_the_memory_holds_are_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.inference.estimate.find_memory_bytes", lambda: 2**30)
    from geoseg.inference.estimate import refuse_too_large_job
    from geoseg.inference.job import plan_job
    from geoseg.inference.options import PredictOptions

    job = plan_job([str(bench.scene)], PredictOptions(model=bench.model, **ENGINE))
    refuse_too_large_job(job)
    with pytest.raises(InputError, match=r"`workers` 4: need .* use fewer"):
        refuse_too_large_job(job, 4)


def test_the_workers_are_still_there(cluster: tuple[str, list[Popen[bytes]]]) -> None:
    assert [process.poll() for process in cluster[1]] == [None] * 3
