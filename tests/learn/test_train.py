from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import RasterWriter
from squares import array_set, quick, town

from geoseg.errors import GeosegError, InputError
from geoseg.learn.settings import Settings
from geoseg.learn.training import checkpoint
from geoseg.learn.training.train import Trainer, train
from geoseg.model.folder import find_model
from geoseg.model.network import load_network
from geoseg.narrator import Narrator


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses(folder: Path) -> list[tuple[int, float]]:
    with (folder / "metrics.csv").open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


class Heard(Narrator):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


def test_training_gives_a_model_that_knows_its_squares(tmp_path: Path, write_raster: RasterWriter) -> None:
    array_set(tmp_path / "data")
    settings = quick(steps=80, validate_every=40, ema=0.8)
    finished = train(tmp_path / "data", tmp_path / "run", settings)
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
    assert losses(tmp_path / "run")[-1][1] < losses(tmp_path / "run")[0][1] / 2
    assert infers(tmp_path, write_raster) > 0.75


def infers(folder: Path, write_raster: RasterWriter) -> float:
    """IoU of what `geoseg infer` finds with the new model on a scene that it never saw."""
    import rasterio

    from geoseg.infer import Outputs, infer
    from geoseg.predict.job import Wishes

    image, labels = town(96, 7)
    scene, mask = write_raster("scene.tif", image), folder / "mask.tif"
    infer([str(scene)], Outputs(mask=mask), Wishes(model=str(folder / "run")))
    with rasterio.open(mask) as dataset:
        found = dataset.read(1)
    return float(((found == 1) & (labels == 1)).sum() / ((found == 1) | (labels == 1)).sum())


def test_training_alike_twice_gives_the_same_weights(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    for name in ("one", "two"):
        train(tmp_path / "data", tmp_path / name, quick(augment="strong", workers=0))
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    one, two = (load_network(find_model(str(tmp_path / name))).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("step", "schedule"), [(1, "cosine"), (7, "plateau"), (11, "one-cycle")])
def test_a_run_goes_on_exactly_where_it_was_stopped(
    step: int, schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array_set(tmp_path / "data")
    settings = quick(ema=0.9, schedule=schedule, validate_every=2, patience=1, optimizer="adamax")
    train(tmp_path / "data", tmp_path / "whole", settings)
    learn = Trainer.learn

    def dies(self: Trainer, *arguments: Any) -> float:
        if self.step == step:
            raise KeyboardInterrupt
        return learn(self, *arguments)

    monkeypatch.setattr(Trainer, "learn", dies)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "data", tmp_path / "broken", settings)
    monkeypatch.setattr(Trainer, "learn", learn)
    train(tmp_path / "data", tmp_path / "broken", settings)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    one, two = (find_model(str(tmp_path / name)) for name in ("whole", "broken"))
    assert one.weights_sha256 == two.weights_sha256
    assert one.card.threshold == two.card.threshold


COMMAND = [sys.executable, "-c", "from geoseg.cli.train import command; command()"]


def flags(settings: Settings, folder: Path) -> list[str]:
    (folder / "settings.toml").write_text(settings.to_toml())
    return ["--config", str(folder / "settings.toml"), "--quiet"]


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    settings = quick(steps=14)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [*COMMAND, str(tmp_path / "data"), *flags(settings, tmp_path), "--out"]
    subprocess.run([*arguments, str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([*arguments, str(tmp_path / "killed")], env=environment)
    log = tmp_path / "killed" / "metrics.csv"
    while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 8):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "card.json").exists()
    subprocess.run([*arguments, str(tmp_path / "killed")], check=True, env=environment, capture_output=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


SMALL_RESNET: dict[str, Any] = {
    "architecture": "unet", "encoder": "resnet18", "weights": "none", "optimizer": "sgd",
    "arguments": '{"encoder_depth": 3, "decoder_channels": [32, 16, 8]}',
}  # fmt: skip


@pytest.mark.parametrize("network", [{}, SMALL_RESNET])
def test_two_processes_train_as_one(network: dict[str, Any], tmp_path: Path) -> None:
    """Also with batch normalisation, whose statistics are those of the whole batch."""
    array_set(tmp_path / "data")
    settings = quick(steps=10, validate_every=5, loss="bce + dice + 0.5 * lovasz", **network)
    train(tmp_path / "data", tmp_path / "one", settings)
    code = COMMAND[2]
    (tmp_path / "start.py").write_text(code)
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29613",
    ]
    done = subprocess.run(
        [
            *launcher,
            str(tmp_path / "start.py"),
            str(tmp_path / "data"),
            *flags(settings, tmp_path),
            "--out",
            str(tmp_path / "two"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [step for step, _ in one] == [step for step, _ in two]
    assert np.allclose([loss for _, loss in one], [loss for _, loss in two], rtol=1e-4)
    cards = [find_model(str(tmp_path / name)).card for name in ("one", "two")]
    scores = [card.metrics["validation"]["classes"]["building"]["iou"] for card in cards]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_accumulated_pieces_are_the_batch(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train(tmp_path / "data", tmp_path / "one", quick())
    train(tmp_path / "data", tmp_path / "two", quick(accumulate=2))
    one, two = ([loss for _, loss in losses(tmp_path / name)] for name in ("one", "two"))
    assert np.allclose(one, two, rtol=1e-4)


def test_more_classes_and_bands_and_derived_ones(tmp_path: Path) -> None:
    array_set(tmp_path / "data", classes=3, bands=4)
    settings = quick(steps=60, derived="ndvi; bright = red + green", loss="cross-entropy + focal", class_weights="auto",
                     oversample="auto", label_smoothing=0.05, half_weights=True, validate_every=30)  # fmt: skip
    finished = train(tmp_path / "data", tmp_path / "run", settings)
    assert finished is not None
    model = find_model(str(tmp_path / "run"))
    assert [band.formula for band in model.card.derived] == ["(nir - red) / (nir + red)", "red + green"]
    assert model.architecture["in_channels"] == 6
    assert model.card.metrics["validation"]["macro_iou"] > 0.6
    with torch.inference_mode():
        assert load_network(model)(torch.zeros(1, 4, 32, 32)).shape == (1, 3, 32, 32)


def test_a_model_to_start_from_gives_its_head_start(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train(tmp_path / "data", tmp_path / "first", quick(steps=60))
    array_set(tmp_path / "more", classes=3, bands=4)
    heard = Heard()
    settings = quick(steps=6, start_from=str(tmp_path / "first"))
    train(tmp_path / "more", tmp_path / "second", settings, narrator=heard)
    train(tmp_path / "data", tmp_path / "again", settings)
    assert losses(tmp_path / "again")[0][1] < losses(tmp_path / "first")[0][1] / 2
    assert find_model(str(tmp_path / "second")).architecture["in_channels"] == 4


def test_a_finished_model_is_not_overwritten_unasked(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train(tmp_path / "data", tmp_path / "run", quick(steps=3))
    with pytest.raises(InputError, match="--overwrite"):
        train(tmp_path / "data", tmp_path / "run", quick(steps=3))
    train(tmp_path / "data", tmp_path / "run", quick(steps=4), overwrite=True)
    assert len(losses(tmp_path / "run")) == 4


def test_a_run_does_not_go_on_under_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array_set(tmp_path / "data")
    monkeypatch.setattr("geoseg.learn.training.train.finish", lambda *_: None)
    train(tmp_path / "data", tmp_path / "run", quick(steps=3))
    with pytest.raises(InputError, match=r"learning_rate 0\.005, not 0\.1"):
        train(tmp_path / "data", tmp_path / "run", quick(steps=3, learning_rate=0.1))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    with pytest.raises(GeosegError, match=r"bad-batch.pt: the loss of this batch.*lower --learning-rate"):
        train(
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

    def fills_up(state: Any, path: Any) -> None:
        if next(count) >= 1:
            Path(path).write_bytes(b"half a che")
            raise OSError(28, "No space left on device")
        written(state, path)

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(GeosegError, match="No space left"):
        train(tmp_path / "data", tmp_path / "run", quick(validate_every=12))
    monkeypatch.setattr(torch, "save", written)
    assert checkpoint.load(tmp_path / "run" / "last.pt")["step"] == 3
    assert [path.name for path in (tmp_path / "run").glob(".last*")] == []
    train(tmp_path / "data", tmp_path / "run", quick(validate_every=12))
    assert [step for step, _ in losses(tmp_path / "run")] == list(range(12))


def test_a_class_that_validation_lacks_is_told(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    np.save(tmp_path / "data" / "c-labels.npy", np.zeros((128, 128), np.uint8))
    heard = Heard()
    finished = train(tmp_path / "data", tmp_path / "run", quick(steps=3), narrator=heard)
    assert finished is not None
    assert finished.card.threshold == 0.5
    assert any("class building is in the validation split" in line for line in heard.warnings)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    with pytest.raises(InputError, match="--batch 4: must be a multiple of 3"):
        train(tmp_path / "data", tmp_path / "run", quick(accumulate=3))


def test_early_stopping_stops(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train(
        tmp_path / "data",
        tmp_path / "run",
        quick(steps=40, validate_every=1, early_stopping=1, learning_rate=1e-9),
    )
    assert len(losses(tmp_path / "run")) < 40
