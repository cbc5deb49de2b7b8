"""A folder of runs says which was best, and by what the runs differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from geoseg.cli.main import geoseg
from geoseg.errors import InputError
from geoseg.training.options import TrainOptions
from geoseg.training.runs import compute_running_mean, find_differences, find_runs


def write_run(folder: Path, options: TrainOptions, ious: list[float], torn: str = "") -> None:
    """A run of ten steps to each validation, as training leaves it."""
    folder.mkdir(parents=True)
    (folder / "train.toml").write_text(options.to_toml(), encoding="utf-8")
    lines = ["step,loss,learning_rate,seconds,validation_loss,validation_iou"]
    for step in range(10 * len(ious)):
        iou = str(ious[step // 10]) if step % 10 == 9 else ""
        lines.append(f"{step},{1 / (step + 1)},0.001,{2.0 * (step + 1)},{0.5 if iou else ''},{iou}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n" + torn, encoding="utf-8")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_run(folder / "plain", TrainOptions(steps=40), [0.3, 0.5], torn="20,0.1")
    write_run(folder / "deep" / "er", TrainOptions(steps=20, encoder="resnet50", batch=4), [0.4, 0.62])
    write_run(folder / "young", TrainOptions(steps=40, name="other words"), [])
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(geoseg, ["runs", *map(str, arguments)])


def test_the_best_comes_first_with_what_differs(runs: Path) -> None:
    answer = run(runs, "--json")
    assert answer.exit_code == 0, answer.output
    best, plain, young = json.loads(answer.stdout)["runs"]
    assert [best["run"], plain["run"], young["run"]] == ["deep/er", "plain", "young"]
    assert best["best_iou"] == 0.62
    assert best["best_dice"] == pytest.approx(2 * 0.62 / 1.62, abs=1e-4)
    assert best["seconds"] == 40.0
    assert best["settings"] == {"encoder": "resnet50", "steps": 20, "batch": 4}
    assert (plain["state"], plain["steps"]) == ("50%", 20)
    assert young["best_iou"] is None


def test_the_table_is_for_people(runs: Path) -> None:
    lines = run(runs).stdout.splitlines()
    assert lines[0].split()[:6] == ["run", "IoU", "Dice", "steps", "time", "state"]
    assert "0.620" in lines[1]
    assert "0:00:40" in lines[1]
    assert "resnet50" in lines[1]


def test_words_are_no_difference(runs: Path) -> None:
    assert "name" not in find_differences(find_runs(runs))


def test_curves_are_drawn_over_each_other(runs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    assert run(runs, "--curves", picture).exit_code == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    refused = run(runs, "--curves", picture)
    assert (refused.exit_code, "exists already; use --overwrite" in refused.stderr) == (2, True)
    assert run(runs, "--curves", picture, "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_runs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no run of geoseg train"):
        find_runs(tmp_path / name)


def test_settings_that_cannot_be_read_are_told(runs: Path) -> None:
    (runs / "plain" / "train.toml").write_text("steps = [")
    refused = run(runs)
    assert (refused.exit_code, "train.toml: cannot be read as options" in refused.stderr) == (2, True)


def test_a_running_mean_is_that_of_the_last_values() -> None:
    values = np.random.default_rng(0).random(200)
    expected = [values[max(0, i - 3) : i + 1].mean() for i in range(200)]
    np.testing.assert_allclose(compute_running_mean(values), expected)
