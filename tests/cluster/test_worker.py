"""What a worker settles for itself: its threads, its GPU, and whether it can work at all."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.core import error_message
from rasterio._err import CPLE_AppDefinedError

from geoseg.cluster import worker
from geoseg.cluster.place import SharedPlace, share_place
from geoseg.cluster.worker import WorkerFacts, choose_threads, claim_device, describe_worker, run_task
from geoseg.errors import GeosegError, InputError, WriteError
from geoseg.inference.options import PredictOptions
from geoseg.io.atomic import explain_write_errors


@pytest.mark.parametrize(
    ("environment", "cores", "neighbours", "threads"),
    [(None, 8, 2, 4), ("1", 8, 2, 4), ("1", 8, 100, 1), ("3", 8, 2, 3), ("many", 8, 4, 2), (None, 1, 0, 1)],
)
def test_a_worker_takes_its_share_of_the_cores_unless_somebody_said_a_number(
    environment: str | None, cores: int, neighbours: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    monkeypatch.setattr(worker, "count_cores", lambda: cores)
    assert choose_threads(neighbours) == threads


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(worker, "find_devices", lambda request: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    claim_device.cache_clear()
    yield tmp_path
    claim_device.cache_clear()
    while worker.HELD:
        worker.HELD.pop().release(force=True)


def test_a_worker_keeps_its_gpu(two_gpus: Path) -> None:
    assert [claim_device("auto") for _ in range(3)] == ["cuda:0"] * 3


def test_workers_of_a_machine_take_a_gpu_each(two_gpus: Path) -> None:
    code = (
        "import sys; from geoseg.cluster import worker\n"
        "worker.tempfile.gettempdir = lambda: sys.argv[1]\n"
        "print(worker.claim_number(2), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(two_gpus)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline().strip() == "0"
        assert claim_device("auto") == "cuda:1"
        other.communicate("")
    assert worker.claim_number(2) == 0  # the system has lifted the lock


def test_more_workers_than_gpus_share_them(two_gpus: Path) -> None:
    assert sorted([worker.claim_number(2), worker.claim_number(2)]) == [0, 1]
    assert worker.claim_number(2) in (0, 1)


@pytest.mark.parametrize("seen", ["MIG-GPU-8932f937/1/0", ",".join([f"GPU-{uuid.UUID(int=7)}"] * 8)])
def test_gpus_may_have_long_names_and_slashes_in_them(
    seen: str, two_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert [worker.claim_number(2), worker.claim_number(2)] == [0, 1]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert worker.claim_number(2) == 0  # of all GPUs


def test_one_gpu_needs_no_claim(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "find_devices", lambda request: ["cuda:0"])
    assert claim_device("cuda") == "cuda:0"
    assert not worker.HELD


def test_a_worker_says_why_it_cannot_work() -> None:
    assert "install the same version" in describe_worker("0.0.1", None).problem
    missing = describe_worker(worker.__version__, PredictOptions(model="/nowhere/model.onnx"))
    assert "no such folder" in missing.problem
    assert describe_worker(worker.__version__, None) == WorkerFacts()


def test_a_task_looks_before_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with share_place(tmp_path, threads=3) as place:
        assert run_task(place, 1, len, [1, 2]) == 2
        assert os.environ["OMP_NUM_THREADS"] == "3"
        old = SharedPlace(place.folder, place.token, version="0.0.1")
        with pytest.raises(GeosegError, match="asks it to work; install the same version"):
            run_task(old, 1, len, [])
    with pytest.raises(InputError, match="does not see the folder"):
        run_task(place, 1, len, [])
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_gdal_does_not_hide_what_a_worker_says(tmp_path: Path) -> None:
    def fail_to_write(path: str) -> None:
        with explain_write_errors(Path(path)):
            raise CPLE_AppDefinedError(3, 1, "no room")

    with share_place(tmp_path) as place, pytest.raises(WriteError, match="could not be written") as raised:
        run_task(place, 1, fail_to_write, "mask.tif")
    sent = error_message(raised.value)["exception"]
    assert str(pickle.loads(sent.data)) == str(raised.value)  # type: ignore[attr-defined]


def test_workers_of_a_killed_run_stop_when_the_next_begins(tmp_path: Path) -> None:
    (tmp_path / ".at-work-old").touch()
    with share_place(tmp_path, alone=False), share_place(tmp_path, alone=False) as place:
        assert len(list(tmp_path.glob(".at-work-*"))) == 3
        with share_place(tmp_path):
            assert not place.is_there()


def test_trust_goes_with_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GEOSEG_TRUST", "1")
    with share_place(tmp_path) as place:
        monkeypatch.delenv("GEOSEG_TRUST")
        assert run_task(place, 1, os.environ.get, "GEOSEG_TRUST") == "1"
    assert "GEOSEG_TRUST" not in os.environ
