"""A run tells how far it is, can be stopped, and says in a line why it failed; then nothing of it stays."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from crops import run_to_the_end

from geoseg.app.forms import make_options
from geoseg.app.options import AppOptions
from geoseg.app.runs import TURN, FinishedRun, Progress, Run
from geoseg.app.scenes import look_at_scene
from geoseg.inference.threads import CancelToken
from geoseg.workflows.infer import infer_scene


def test_a_run_finds_what_the_command_finds(finished: FinishedRun, crop: Path, tmp_path: Path) -> None:
    out = tmp_path / "buildings.gpkg"
    expected = infer_scene([str(crop)], out, make_options({}))
    assert finished.result.count == expected.count > 0
    assert finished.buildings.read_bytes() == out.read_bytes()
    assert finished.threshold == finished.card.threshold


def test_progress_tells_time_left(tmp_path: Path, crop: Path) -> None:
    scene = look_at_scene(crop, "crop.tif", "upload", AppOptions())
    run = Run(scene, tmp_path, make_options({}), CancelToken())
    with run.task("Predicting", 10.0, "Mpx", 0.0) as advance:
        assert str(run.progress) == "Predicting"
        advance(5.0)
        assert run.progress.share == 0.5
        advance(7.0)
    assert run.progress.share == 1.0
    assert str(Progress("Predicting", 0.25, 61.2)) == "Predicting: 25%, 0:01:01 left"


def test_a_run_that_waits_for_another_can_be_stopped(tmp_path: Path, crop: Path) -> None:
    scene = look_at_scene(crop, "crop.tif", "upload", AppOptions())
    folder = tmp_path / "run"
    folder.mkdir()
    run = Run(scene, folder, make_options({}), CancelToken())
    with TURN:
        run.start()
        run.wait(0.3)
        assert (run.state, run.is_over) == ("waiting", False)
        run.stop()
        run.wait(10)
    assert run.state == "stopped"
    assert not folder.exists()


def test_a_run_that_works_can_be_stopped(tmp_path: Path, crop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    scene = look_at_scene(crop, "crop.tif", "upload", AppOptions())
    folder, parent = tmp_path / "run", CancelToken()
    folder.mkdir()
    run = Run(scene, folder, make_options({"tta": "d4"}), parent)
    task = Run.task

    def notice(self: Run, *arguments: object) -> object:
        begun.set()
        parent.cancel()  # as the end of a session does
        return task(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "task", notice)
    run.start()
    run.wait(60)
    assert begun.is_set()
    assert run.state == "stopped"
    assert run.finished is None
    assert not folder.exists()


def test_a_failure_is_told_in_words_of_the_form_without_paths(tmp_path: Path, crop: Path) -> None:
    scene = look_at_scene(crop, "crop.tif", "upload", AppOptions())
    run = run_to_the_end(scene, tmp_path / "run", gsd=30.0)
    assert run.state == "failed"
    assert run.error.startswith("Pixel size 30")
    assert str(crop.parent) not in run.error
    assert not (tmp_path / "run").exists()
    run = run_to_the_end(scene, tmp_path / "other", model="sentinel2-builtup")
    assert str(crop.parent) not in run.error
