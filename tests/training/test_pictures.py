"""Pictures of a run: what is in them, before they are drawn and after."""

from __future__ import annotations

import os
from errno import ENOSPC
from pathlib import Path

import numpy as np
import pytest
import torch
from heard import Heard
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from squares import array_set, quick
from torch import Tensor, nn

from geoseg.errors import WriteError
from geoseg.models.store import find_model
from geoseg.scores.confusion import Confusion
from geoseg.scores.pictures import FALSE_ALARM, MISS
from geoseg.training import pictures
from geoseg.training.answers import keep_answers
from geoseg.training.pictures import (
    choose_samples,
    compute_running_mean,
    draw_curves,
    draw_samples,
    make_sample,
)
from geoseg.training.processes import ProcessGroup
from geoseg.training.run import open_run
from geoseg.training.trainer import train_model
from geoseg.training.tuning import PatchResult, Tuner, find_whole_pieces

NONE = find_whole_pieces(np.zeros((2, 2), bool), np.zeros((2, 2), np.uint8))


class Bright(nn.Module):
    """Takes what is bright for a building, as it is in the made-up towns."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, :1] * 1000


@pytest.fixture
def judge(tmp_path: Path) -> Tuner:
    array_set(tmp_path / "data", ignore=7)
    labels = np.load(tmp_path / "data" / "c-labels.npy")
    labels[:, :8] = 7
    np.save(tmp_path / "data" / "c-labels.npy", labels)
    settings = quick(low=0.0, high=200.0, validation_patches=16)
    run = open_run(tmp_path / "data", tmp_path / "run", settings, torch.device("cpu"), ProcessGroup())
    return Tuner(run, keep_answers(run, Bright(), tmp_path), 0.5)


def test_a_right_answer_looks_like_the_truth(judge: Tuner) -> None:
    looks = judge.results()
    tables = Confusion.stack([look.confusion for look in looks]).total()
    assert tables.iou.tolist() == [1.0, 1.0]
    assert tables.pixels == 128 * 120
    piece = make_sample(judge, looks[0].number, 1.0)
    assert piece.title == "c, mean IoU 1.00"
    seen = piece.truth[:, 8:]
    np.testing.assert_array_equal(piece.predicted[:, 8:], seen)
    assert (piece.truth[:, :8] == 255).all()
    colors = {tuple(color) for color in seen.reshape(-1, 3).tolist()}
    assert colors == {(0, 0, 0), (0xE4, 0x57, 0x2E)}
    errors = {tuple(color) for color in piece.errors.reshape(-1, 3).tolist()}
    assert not errors & {FALSE_ALARM, MISS}
    assert piece.image is not None
    assert piece.image[seen.shape[0] // 2 :].max() > 200


def test_samples_are_drawn_in_rows_of_four(judge: Tuner, tmp_path: Path) -> None:
    looks = judge.results()
    path = draw_samples(judge, looks, tmp_path)
    with Image.open(path) as picture:
        width, height = picture.size
    assert height / width == pytest.approx(len(choose_samples(looks)) / 4, abs=0.05)


def look(number: int, right: int, missed: int, known: int = 100) -> PatchResult:
    return PatchResult(number, NONE, Confusion(np.array([[known - right - missed, 0], [missed, right]])))


def test_shown_patches_are_spread_from_best_to_worst() -> None:
    looks = [look(n, right=50 - n, missed=n) for n in range(21)]
    assert [number for number, _ in choose_samples(looks)] == [1, 5, 10, 15, 19]
    assert choose_samples(looks)[2][1] == pytest.approx(0.8)


def test_patches_without_buildings_or_labels_are_shown_only_where_there_are_no_others() -> None:
    empty, narrow, good = look(0, 0, 0), look(1, 4, 4, known=10), look(2, 30, 10)
    assert choose_samples([empty, narrow, good]) == [(2, 0.75)]
    (number, score), *_ = choose_samples([empty])
    assert number == 0
    assert np.isnan(score)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_a_running_mean_is_that_of_the_last_fiftieth(values: list[float]) -> None:
    window = max(1, len(values) // 50)
    expected = [np.mean(values[max(0, at + 1 - window) : at + 1]) for at in range(len(values))]
    np.testing.assert_allclose(compute_running_mean(np.array(values)), expected, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 130])
def test_curves_are_drawn_of_short_and_long_runs(steps: int, tmp_path: Path) -> None:
    lines = ["step,loss,learning_rate,seconds,validation_loss,validation_iou"]
    lines += [f"{step},{1 / (step + 1)},0.001,{step},," for step in range(steps - 1)]
    lines.append(f"{steps - 1},0.1,0.001,9,0.2,0.7")
    (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
    with Image.open(draw_curves(tmp_path)) as picture:
        assert picture.size == (1000, 800)
        assert np.asarray(picture)[..., :3].std() > 10
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("one_thread")
def test_a_run_ends_with_its_pictures(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    finished = train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    assert finished is not None
    assert [path.name for path in finished.pictures] == ["curves.png", "samples.png"]
    assert all(path.stat().st_size and str(path) in str(finished) for path in finished.pictures)


@pytest.mark.usefixtures("one_thread")
def test_pictures_that_cannot_be_drawn_cost_no_model(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object) -> None:
        raise RuntimeError("no font")

    array_set(tmp_path / "data")
    monkeypatch.setattr(pictures, "save_figure", give_up)
    finished = train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    assert finished is not None
    assert finished.pictures == ()
    assert any("no pictures of the training: no font" in line for line in heard.warnings)
    assert find_model(str(tmp_path / "run")).card == finished.card


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("name", "writer"), [("curves.png", "matplotlib.figure.Figure.savefig"), ("model.onnx", "onnx.save")]
)
def test_a_run_whose_last_files_cannot_be_written_goes_on_there(
    name: str, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_no_room(*_: object, **__: object) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    array_set(tmp_path / "data")
    with monkeypatch.context() as disk:
        disk.setattr(writer, find_no_room)
        with pytest.raises(WriteError, match=rf"{name} could not be written"):
            train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    finished = train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    assert finished is not None
    assert all((tmp_path / "run" / each).is_file() for each in ("model.onnx", "curves.png", "samples.png"))
