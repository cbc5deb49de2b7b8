from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heard import Heard
from limits import limited_files
from made import RasterWriter
from squares import array_set, quick, read_losses, town
from torch import nn

from geoseg.errors import GeosegError, InputError
from geoseg.io.access import lock_folder
from geoseg.models.network import load_network
from geoseg.models.store import find_model
from geoseg.training import run as checkpoint
from geoseg.training.options import TrainOptions
from geoseg.training.patches import batches
from geoseg.training.trainer import Trainer, train_model

pytestmark = pytest.mark.usefixtures("one_thread", "no_pictures")


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than these runs; test_pictures.py has them."""
    monkeypatch.setattr("geoseg.training.trained_model.draw_pictures", lambda *_: ())


@contextmanager
def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever trains here presses Ctrl-C at a step."""
    learn = Trainer.learn

    def dies(self: Trainer, *arguments: Any) -> float:
        if self.step == step:
            raise KeyboardInterrupt
        return learn(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "learn", dies)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_training_gives_a_model_that_knows_its_squares(tmp_path: Path, write_raster: RasterWriter) -> None:
    array_set(tmp_path / "data")
    settings = quick(steps=80, validate_every=40, ema=0.8)
    finished = train_model(tmp_path / "data", tmp_path / "run", settings)
    assert finished is not None
    card = find_model(str(tmp_path / "run")).card
    assert card == finished.card
    assert card.metrics["validation"]["classes"]["building"]["iou"] > 0.8
    assert card.metrics["places"].keys() == {"c"}
    counts = np.array(card.metrics["confusion"]["true_by_predicted"])
    assert counts.sum() == 128 * 128
    assert card.metrics["validation"]["classes"]["building"]["iou"] == pytest.approx(
        counts[1, 1] / (counts.sum() - counts[0, 0]), abs=1e-4
    )
    assert card.sources[0]["licence"] == "CC0"
    assert card.training["seed"] == 0
    assert read_losses(tmp_path / "run")[-1][1] < read_losses(tmp_path / "run")[0][1] / 2
    assert abs(card.calibration["total_error"]) < 0.05
    assert card.calibration["ece"] <= card.calibration["ece_before"] + 0.01
    assert 0 <= card.min_area_m2 <= 144 * 0.3**2
    assert infers(tmp_path, write_raster) > 0.75


def infers(folder: Path, write_raster: RasterWriter) -> float:
    """IoU of what `geoseg infer` finds with the new model on a scene that it never saw."""
    import rasterio

    from geoseg.workflows.infer import infer_scene
    from geoseg.workflows.options import InferOptions

    image, labels = town(96, 7)
    scene, mask = write_raster("scene.tif", image), folder / "mask.tif"
    infer_scene([str(scene)], None, InferOptions(model=str(folder / "run"), mask=mask))
    with rasterio.open(mask) as dataset:
        found = dataset.read(1)
    return float(((found == 1) & (labels == 1)).sum() / ((found == 1) | (labels == 1)).sum())


def test_training_alike_twice_gives_the_same_weights(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    for name in ("one", "two"):
        train_model(tmp_path / "data", tmp_path / name, quick(augment="strong", workers=0))
    assert read_losses(tmp_path / "one") == read_losses(tmp_path / "two")
    one, two = (load_network(find_model(str(tmp_path / name))).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("step", "schedule"), [(1, "cosine"), (7, "plateau"), (11, "one-cycle")])
def test_a_run_goes_on_exactly_where_it_was_stopped(
    step: int, schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")
    settings = quick(ema=0.9, schedule=schedule, validate_every=2, patience=1, optimizer="adamax")
    train_model(tmp_path / "data", tmp_path / "whole", settings)
    with stopped_at(step, monkeypatch):
        train_model(tmp_path / "data", tmp_path / "broken", settings)
    train_model(tmp_path / "data", tmp_path / "broken", settings)
    assert read_losses(tmp_path / "broken") == read_losses(tmp_path / "whole")
    one, two = (find_model(str(tmp_path / name)) for name in ("whole", "broken"))
    assert one.weights_sha256 == two.weights_sha256
    assert one.card.threshold == two.card.threshold


def test_a_run_that_was_killed_while_it_wrote_its_model_goes_on(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=4))
    written = (tmp_path / "run/model.onnx").read_bytes()
    (tmp_path / "run/model.onnx").unlink()
    (tmp_path / "run/.unfinished").touch()
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=4))
    assert (tmp_path / "run/model.onnx").read_bytes() == written
    assert not (tmp_path / "run/.unfinished").exists()


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    settings = quick(steps=14)
    train_model(tmp_path / "data", tmp_path / "whole", settings)
    (tmp_path / "settings.toml").write_text(settings.to_toml())
    command = [sys.executable, "-c", "from geoseg.cli.train import command; command()"]
    given = [
        tmp_path / "data",
        "--config",
        tmp_path / "settings.toml",
        "--quiet",
        "--out",
        tmp_path / "killed",
    ]
    process = subprocess.Popen([*command, *map(str, given)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    log = tmp_path / "killed" / "metrics.csv"
    while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 8):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "card.json").exists()
    train_model(tmp_path / "data", tmp_path / "killed", settings)
    assert read_losses(tmp_path / "killed") == read_losses(tmp_path / "whole")


def test_accumulated_pieces_are_the_batch(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "one", quick())
    train_model(tmp_path / "data", tmp_path / "two", quick(accumulate=2))
    one, two = ([loss for _, loss in read_losses(tmp_path / name)] for name in ("one", "two"))
    assert np.allclose(one, two, rtol=1e-4)


def test_more_classes_and_bands_and_derived_ones(tmp_path: Path) -> None:
    array_set(tmp_path / "data", classes=3, bands=4)
    settings = quick(steps=60, derived="ndvi; bright = red + green", loss="cross-entropy + focal", class_weights="auto",
                     oversample="auto", label_smoothing=0.05, half_weights=True, validate_every=30)  # fmt: skip
    finished = train_model(tmp_path / "data", tmp_path / "run", settings)
    assert finished is not None
    model = find_model(str(tmp_path / "run"))
    assert [band.formula for band in model.card.derived] == ["(nir - red) / (nir + red)", "red + green"]
    assert model.architecture["in_channels"] == 6
    assert model.card.metrics["validation"]["macro_iou"] > 0.6
    with torch.inference_mode():
        assert load_network(model)(torch.zeros(1, 4, 32, 32)).shape == (1, 3, 32, 32)


def test_a_model_to_start_from_gives_its_head_start(tmp_path: Path, heard: Heard) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "first", quick(steps=60))
    array_set(tmp_path / "more", classes=3, bands=4)
    settings = quick(steps=6, start_from=str(tmp_path / "first"))
    train_model(tmp_path / "more", tmp_path / "second", settings)
    train_model(tmp_path / "data", tmp_path / "again", settings)
    assert not any("this run trains at" in line for line in heard.warnings)
    assert read_losses(tmp_path / "again")[0][1] < read_losses(tmp_path / "first")[0][1] / 2
    assert find_model(str(tmp_path / "second")).architecture["in_channels"] == 4


def test_a_model_to_start_from_that_knows_other_pixels_is_told(tmp_path: Path, heard: Heard) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "first", quick(steps=3))
    card = find_model(str(tmp_path / "first")).card
    settings = quick(steps=3, start_from=str(tmp_path / "first"), gsd=card.gsd_m / 4)
    train_model(tmp_path / "data", tmp_path / "second", settings)
    assert any(f"`gsd` {card.gsd_m:g} trains at the model's own" in line for line in heard.warnings)


def test_a_finished_model_is_not_overwritten_unasked(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    with pytest.raises(InputError, match="`overwrite`"):
        train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=4), overwrite=True)
    assert len(read_losses(tmp_path / "run")) == 4


def test_a_run_does_not_go_on_under_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array_set(tmp_path / "data")
    monkeypatch.setattr("geoseg.training.trainer.finish_model", lambda *_: None)
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    with pytest.raises(InputError, match=r"learning_rate 0\.005, not 0\.1"):
        train_model(tmp_path / "data", tmp_path / "run", quick(steps=3, learning_rate=0.1))


def test_a_run_from_before_a_setting_was_there_goes_on(tmp_path: Path) -> None:
    """What was not there had its default; anything else is another run."""
    settings = quick()
    before = {name: value for name, value in vars(settings).items() if name not in ("minutes", "tensorboard")}
    checkpoint.refuse_other_run(tmp_path, before, settings)
    checkpoint.refuse_other_run(tmp_path, before, quick(tensorboard=True))
    with pytest.raises(InputError, match=r"minutes 0\.0, not 5\.0"):
        checkpoint.refuse_other_run(tmp_path, before, quick(minutes=5.0))


class Clock:
    """A clock that each look moves on by a second."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def test_a_run_of_so_many_minutes_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """By a clock of a second a step, ten of a thousand steps fit; the rate falls to nothing all the same."""
    array_set(tmp_path / "data")
    monkeypatch.setattr("geoseg.training.trainer.time", Clock())
    settings = quick(steps=1000, minutes=1 / 6, warmup=0, validate_every=500)
    finished = train_model(tmp_path / "data", tmp_path / "run", settings)
    assert finished is not None
    assert finished.card.training["steps"] == 10
    rates = [float(row["learning_rate"]) for row in checkpoint.read_metrics(tmp_path / "run" / "metrics.csv")]
    assert rates == pytest.approx(
        [settings.learning_rate * (1 + np.cos(np.pi * i / 10)) / 2 for i in range(10)]
    )
    task = heard.tasks["Training"]
    assert (task.ticks[-1].total, task.total) == (10, 1000)
    assert "0.2 of 0.166667 minutes" in task.ticks[-1].note


def test_a_run_of_minutes_goes_on_with_those_it_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    array_set(tmp_path / "data")
    monkeypatch.setattr("geoseg.training.trainer.time", Clock())
    settings = quick(steps=1000, minutes=1 / 6, validate_every=500)
    with stopped_at(7, monkeypatch):
        train_model(tmp_path / "data", tmp_path / "run", settings)
    train_model(tmp_path / "data", tmp_path / "run", settings)
    assert heard.tasks["Training"].done == 6
    assert [step for step, _ in read_losses(tmp_path / "run")] == list(range(10))


def test_progress_tells_the_running_loss_and_the_last_score(tmp_path: Path, heard: Heard) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "run", quick())
    task = heard.tasks["Training"]
    assert sum(tick.amount for tick in task.ticks) == task.total == task.ticks[-1].total == 12
    rows = checkpoint.read_metrics(tmp_path / "run" / "metrics.csv")
    mean = float(rows[0]["loss"])
    for row in rows[1:]:
        mean = 0.95 * mean + 0.05 * float(row["loss"])
    assert task.ticks[-1].note == f"loss {mean:.4f}, IoU {float(rows[-1]['validation_iou']):.4f}"
    assert task.ticks[0].note == f"loss {float(rows[0]['loss']):.4f}"


def test_ground_without_a_label_counts_nowhere_whatever_it_is_called(tmp_path: Path) -> None:
    array_set(tmp_path / "data", ignore=9)
    labels = np.load(tmp_path / "data" / "c-labels.npy")
    labels[:, :40] = 9
    np.save(tmp_path / "data" / "c-labels.npy", labels)
    finished = train_model(tmp_path / "data", tmp_path / "run", quick())
    assert finished is not None
    assert np.sum(finished.card.metrics["confusion"]["true_by_predicted"]) == 128 * 88


def test_the_numbers_can_be_read_by_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a run was stopped: steps that were taken twice are there once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    array_set(tmp_path / "data")
    settings = quick(tensorboard=True)
    with stopped_at(8, monkeypatch):
        train_model(tmp_path / "data", tmp_path / "run", settings)
    train_model(tmp_path / "data", tmp_path / "run", settings)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    rows = checkpoint.read_metrics(tmp_path / "run" / "metrics.csv")
    for name in ("loss", "learning_rate", "validation_iou"):
        expected = {int(row["step"]): float(row[name]) for row in rows if row[name]}
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == pytest.approx(expected, rel=1e-6)
        assert len(events.Scalars(name)) == len(expected)


def test_tensorboard_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array_set(tmp_path / "data")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"not installed; pip install 'geoseg\[train\]'"):
        train_model(tmp_path / "data", tmp_path / "run", quick(tensorboard=True))
    assert not (tmp_path / "run").exists()
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    with pytest.raises(GeosegError, match=r"bad-batch.pt: the loss of this batch.*lower `learning_rate`"):
        train_model(
            tmp_path / "data",
            tmp_path / "run",
            quick(learning_rate=1e30, clip=0.0, warmup=0, architecture="unet-plain"),
        )
    batch = torch.load(tmp_path / "run" / "bad-batch.pt", weights_only=True)
    assert batch["values"].shape[:2] == (4, 3)


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array_set(tmp_path / "data")
    written = torch.save
    count = iter(range(100))

    def fills_up(state: Any, file: Any) -> None:
        if next(count) >= 1:
            file.write(b"half a che")
            raise OSError(28, "No space left on device")
        written(state, file)

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(GeosegError, match="no space left"):
        train_model(tmp_path / "data", tmp_path / "run", quick(validate_every=12))
    monkeypatch.setattr(torch, "save", written)
    assert checkpoint.load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 3
    assert [path.name for path in (tmp_path / "run").glob(".last*")] == []
    train_model(tmp_path / "data", tmp_path / "run", quick(validate_every=12))
    assert [step for step, _ in read_losses(tmp_path / "run")] == list(range(12))


def test_a_disk_that_really_is_full_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run was stopped at step 7; where it goes on, no file can grow beyond a few kilobytes."""
    array_set(tmp_path / "data")
    with stopped_at(7, monkeypatch):
        train_model(tmp_path / "data", tmp_path / "run", quick())
    good = (tmp_path / "run" / "last.pt").read_bytes()
    full = pytest.raises(GeosegError, match=r"last.pt could not be written: no space left on the disk")
    with limited_files(20_000), full:
        train_model(tmp_path / "data", tmp_path / "run", quick())
    assert (tmp_path / "run" / "last.pt").read_bytes() == good


def test_workers_that_shared_memory_has_no_room_for_are_not_begun(
    monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """Torch's workers would wait for ever for what they cannot hand over."""
    monkeypatch.setattr(batches, "count_shared_batches", lambda batch_bytes: 9)
    batches.fit_workers.cache_clear()
    assert [batches.fit_workers(workers, 100) for workers in (0, 2, 3)] == [0, 2, 2]
    assert "the batches of 2 of 3 worker processes" in heard.warnings[0]
    batches.fit_workers.cache_clear()


def test_a_process_that_cannot_share_memory_has_room_for_nothing() -> None:
    with limited_files(10_000):
        assert batches.count_shared_batches(9_000) > 0
        assert batches.count_shared_batches(90_000) == 0


def test_a_class_that_validation_lacks_is_told(tmp_path: Path, heard: Heard) -> None:
    array_set(tmp_path / "data")
    np.save(tmp_path / "data" / "c-labels.npy", np.zeros((128, 128), np.uint8))
    finished = train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    assert finished is not None
    assert finished.card.threshold == 0.5
    assert any("no pixel of building is in the validation split" in line for line in heard.warnings)


def stopped(data: Path, out: Path, settings: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a run, and stop it before its model is written."""
    with monkeypatch.context() as patched:
        patched.setattr("geoseg.training.trainer.finish_model", lambda *_: None)
        train_model(data, out, settings)


@pytest.mark.parametrize("changes", [{"classes": 3}, {"bands": 4}, {"side": 96}])
def test_a_run_does_not_go_on_with_other_data(
    changes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")
    array_set(tmp_path / "other", **changes)
    stopped(tmp_path / "data", tmp_path / "run", quick(steps=3), monkeypatch)
    with pytest.raises(InputError, match=r"last.pt: belongs to a run on other data"):
        train_model(tmp_path / "other", tmp_path / "run", quick(steps=3))


def test_a_refused_run_leaves_the_settings_of_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")
    stopped(tmp_path / "data", tmp_path / "run", quick(steps=3), monkeypatch)
    before = (tmp_path / "run" / "train.toml").read_text()
    with pytest.raises(InputError, match="learning_rate"):
        train_model(tmp_path / "data", tmp_path / "run", quick(steps=3, learning_rate=0.1))
    assert (tmp_path / "run" / "train.toml").read_text() == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"start_from": "run"}, "is the folder of the run itself"),
        ({"oversample": "building=0,background=0"}, "`oversample` leaves no pixel to draw"),
        ({"patch": 50}, "`patch` 50, `batch` 4: the network cannot be trained on such patches"),
        ({"architecture": "unett"}, "`architecture` unett: unknown"),
    ],
)
def test_a_run_that_cannot_begin_leaves_the_finished_model(
    changes: dict[str, Any], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    train_model(Path("data"), Path("run"), quick(steps=3))
    before = contents(Path("run"))
    with pytest.raises(InputError, match=complaint):
        train_model(Path("data"), Path("run"), quick(**{"steps": 3, **changes}), overwrite=True)
    assert contents(Path("run")) == before


def test_one_patch_at_a_time_is_refused_where_the_network_needs_two(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    settings = quick(architecture="deeplabv3+", encoder="resnet18", weights="none", arguments="", batch=1)
    with pytest.raises(InputError, match=r"`batch` 1: the network cannot be trained .* two patches or more"):
        train_model(tmp_path / "data", tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_second_run_is_kept_out_of_the_folder(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    with (
        lock_folder(tmp_path / "run"),
        pytest.raises(GeosegError, match="another run of the same command is at work"),
    ):
        train_model(tmp_path / "data", tmp_path / "run", quick(steps=3))
    assert train_model(tmp_path / "data", tmp_path / "run", quick(steps=3)) is not None


def test_a_slope_that_is_no_number_stops_the_run_before_it_spoils_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what may help may differ when the run goes on."""
    array_set(tmp_path / "data")
    backward = torch.Tensor.backward
    count = iter(range(100))

    def spoilt(self: torch.Tensor, *arguments: Any, **options: Any) -> None:
        backward(self * (float("nan") if next(count) == 5 else 1.0), *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "backward", spoilt)
    with pytest.raises(GeosegError, match=r"of step 5, or its slope is no number.*training goes on"):
        train_model(tmp_path / "data", tmp_path / "run", quick())
    state = checkpoint.load_checkpoint(tmp_path / "run" / "last.pt")
    assert state["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in state["network"].values())
    assert train_model(tmp_path / "data", tmp_path / "run", quick(learning_rate=1e-3)) is not None
    assert [step for step, _ in read_losses(tmp_path / "run")] == list(range(12))


def test_a_model_owes_to_the_one_it_started_from(tmp_path: Path, heard: Heard) -> None:
    array_set(tmp_path / "data", bands=4, licence="ODbL-1.0")
    train_model(tmp_path / "data", tmp_path / "first", quick(steps=3, derived="ndvi"))
    array_set(tmp_path / "more", bands=4, name="more")
    settings = quick(steps=3, start_from=str(tmp_path / "first"))
    train_model(tmp_path / "more", tmp_path / "next", settings)
    card = find_model(str(tmp_path / "next")).card
    assert card.licence == "ODbL-1.0; CC0"
    assert [source["name"] for source in card.sources] == ["squares", "more"]
    assert [band.formula for band in card.derived] == ["(nir - red) / (nir + red)"]
    assert "architecture" not in card.training["settings"]
    assert any("say `licence`" in line for line in heard.warnings)
    assert any(line.startswith("`architecture` unet-plain: not used") for line in heard.warnings)


@pytest.mark.parametrize("file", ["metrics.csv", "bad-batch.pt"])
def test_a_disk_that_is_full_is_told_whatever_is_written(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def full_below_the_head(_: Any, row: dict[str, Any]) -> None:
        if row["step"] != "step":
            full()

    if file == "metrics.csv":
        monkeypatch.setattr(csv.DictWriter, "writerow", full_below_the_head)
    else:
        monkeypatch.setattr(torch, "save", full)
    rate = 1e30 if file == "bad-batch.pt" else 1e-3
    settings = quick(learning_rate=rate, clip=0.0, warmup=0, validate_every=12, checkpoint_every=12)
    with pytest.raises(GeosegError, match=rf"{file} could not be written: no space left on the disk"):
        train_model(tmp_path / "data", tmp_path / "run", settings)
    assert not (tmp_path / "run" / "bad-batch.pt").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(InputError, match="no right to write"):
        train_model(tmp_path / "nowhere", tmp_path / "shut" / "run", quick())


def test_a_file_where_the_folder_should_be_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken: is a file where a folder is needed"):
        train_model(tmp_path / "nowhere", tmp_path / "taken", quick())


def test_answers_that_are_no_numbers_stop_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")
    sound = nn.Conv2d.forward

    def broken(self: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
        answers = sound(self, inputs)
        return answers if self.training else answers * float("inf")

    monkeypatch.setattr(nn.Conv2d, "forward", broken)
    with pytest.raises(GeosegError, match="validation patches with what is no number"):
        train_model(tmp_path / "data", tmp_path / "run", quick())


@pytest.mark.parametrize("weights", ["0,0", "1", "1,x", "-1,2", "1,inf"])
def test_class_weights_that_cannot_be_meant_are_refused(weights: str, tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    with pytest.raises(InputError, match=f"`class_weights` {weights}: give"):
        train_model(tmp_path / "data", tmp_path / "run", quick(class_weights=weights))


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    with pytest.raises(InputError, match="`batch` 4: must be a multiple of 3"):
        train_model(tmp_path / "data", tmp_path / "run", quick(accumulate=3))


def test_early_stopping_stops(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train_model(
        tmp_path / "data",
        tmp_path / "run",
        quick(steps=40, validate_every=1, early_stopping=1, learning_rate=1e-9),
    )
    assert len(read_losses(tmp_path / "run")) < 40
