from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from squares import array_set, quick

from geoseg.cli.train import command
from geoseg.options import read_options
from geoseg.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(quick(steps=4).to_toml())
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_flags_go_before_the_file_and_the_settings_are_kept(tmp_path: Path, config: Path) -> None:
    array_set(tmp_path / "data")
    answer = run(
        tmp_path / "data", "--out", tmp_path / "run", "--config", config, "--steps", 3, "--json", "--quiet"
    )
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["model"] == str(tmp_path / "run")
    assert read_options(TrainOptions, tmp_path / "run" / "train.toml", {}) == quick(steps=3)


def test_samples_are_shown_as_a_picture(tmp_path: Path, config: Path) -> None:
    from PIL import Image

    array_set(tmp_path / "data")
    answer = run(tmp_path / "data", "--config", config, "--show-samples", tmp_path / "samples.png")
    assert answer.exit_code == 0, answer.output
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (8 * (32 + 4), 5 * (32 + 4))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--steps", "0"], "--steps 0: give at least 1"),
        (["--learning-rate", "inf"], "--learning-rate inf: give a finite number above zero"),
        (["--learning-rate", "nan"], "--learning-rate nan: give a finite number above zero"),
        (["--clip", "inf"], "--clip inf: give a finite number, zero or more"),
        (["--minutes", "-1"], "--minutes -1.0: give a finite number, zero or more"),
        (["--momentum", "1"], "--momentum 1.0: give a number from 0 to below 1"),
        (["--gsd", "0"], "--gsd 0.0: give a finite number above zero"),
        (["--empty", "1.5"], "--empty 1.5: give a number from 0 to 1"),
        (["--low", "nan"], "--low nan: give a finite number"),
        (["--low", "0", "--high", "0"], "--high 0: must be above low, 0"),
        (["--architecture", "vnet"], "--architecture vnet: unknown; known are unet-plain"),
        (["--loss", "hinge"], "unknown loss 'hinge'"),
        (["--derived", "evi"], "no index 'evi'"),
        (["--derived", "a = red ** 2"], "only + - * /"),
        (["--arguments", "{'width': 12}"], "multiple of 8"),
        (["--class-weights", "1"], "give 2 numbers"),
        (["--oversample", "shed=2"], "no class 'shed'"),
        (["--from", "nowhere"], "nowhere: no such folder"),
        (["--device", "cuda:9"], "--device cuda:9: not there"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    arguments: list[str], complaint: str, tmp_path: Path, config: Path
) -> None:
    array_set(tmp_path / "data")
    answer = run(tmp_path / "data", "--out", tmp_path / "run", "--config", config, "--quiet", *arguments)
    assert answer.exit_code == 2, answer.output
    assert complaint in answer.output
    assert len(answer.output.splitlines()) == 1


def test_a_file_of_unknown_or_wrong_settings_is_refused(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    for text, complaint in {
        "stepz = 3": "no option is called 'stepz'",
        "steps = 'many'": "--steps 'many': is no whole number",
        "schedule = 'sine'": "--schedule sine: give one of cosine",
        "steps =": "cannot be read as options",
    }.items():
        (tmp_path / "wrong.toml").write_text(text)
        answer = run(tmp_path / "data", "--out", tmp_path / "run", "--config", tmp_path / "wrong.toml")
        assert answer.exit_code == 2
        assert complaint in answer.output


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    answer = run(tmp_path, "--out", tmp_path / "run")
    assert answer.exit_code == 2
    assert "there is no dataset.toml" in answer.output


def test_settings_survive_their_file(tmp_path: Path) -> None:
    settings = TrainOptions(
        loss="0.5 * bce + focal(gamma=2)", half_weights=True, description='a "quoted" ä', high=0.0
    )
    (tmp_path / "all.toml").write_text(settings.to_toml(), encoding="utf-8")
    assert read_options(TrainOptions, tmp_path / "all.toml", {}) == settings
    assert settings.low is None


def test_the_ends_of_a_range_are_numbers_that_may_be_left_open(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text("low = -25\n")
    assert read_options(TrainOptions, tmp_path / "some.toml", {"high": 0.0}) == TrainOptions(
        low=-25.0, high=0.0
    )
    helped = run("--help").output
    assert "--low FLOAT" in helped
    assert "None" not in helped
