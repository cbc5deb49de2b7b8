"""What is tuned after training sees every validation patch once, and answers as the network that is written does."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heard import Heard
from limits import limited_files
from squares import array_set, quick
from torch import Tensor, nn

from geoseg.errors import GeosegError, WriteError
from geoseg.models.store import CHECK_FILE, find_model
from geoseg.scores.calibration import TemperatureScaling
from geoseg.training.answers import AnsweredBatch, keep_answers
from geoseg.training.networks import apply_temperature
from geoseg.training.patches.batches import PatchDataset
from geoseg.training.patches.sampling import GridPatches
from geoseg.training.pictures import SHOWN_RANKS
from geoseg.training.processes import ProcessGroup
from geoseg.training.run import TrainingRun, open_run
from geoseg.training.trained_model import CHECKED, collect_check_patches
from geoseg.training.trainer import train_model
from geoseg.training.tuning import Tuner

PATCHES = 16


class Levels(nn.Module):
    """Takes brightness for the logit, in a last layer that can be calibrated."""

    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        self.segmentation_head = nn.Conv2d(3, classes, 1)
        self.seen: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(inputs)
        answer: Tensor = self.segmentation_head(inputs)
        return answer


def opened(folder: Path, classes: int = 2, **changes: Any) -> TrainingRun:
    array_set(folder / "data", classes=classes)
    settings = quick(low=0.0, high=200.0, **changes)
    return open_run(folder / "data", folder / "run", settings, torch.device("cpu"), ProcessGroup())


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each validation patch is read."""
    counted: Counter[int] = Counter()
    entry = PatchDataset.entry

    def count(self: PatchDataset, number: int) -> dict[str, Any]:
        if isinstance(self.patches, GridPatches):
            counted[number] += 1
        return entry(self, number)

    monkeypatch.setattr(PatchDataset, "entry", count)
    return counted


@pytest.mark.parametrize("classes", [2, 3])
def test_tuning_reads_every_validation_patch_once(
    classes: int, tmp_path: Path, readings: Counter[int], heard: Heard
) -> None:
    array_set(tmp_path / "data", classes=classes)
    settings = quick(steps=2, warmup=0, validate_every=2, validation_patches=1)
    assert train_model(tmp_path / "data", tmp_path / "run", settings)
    on_the_way, in_pictures = settings.validation_patches, len(SHOWN_RANKS)
    assert len(readings) == PATCHES
    assert readings.total() <= PATCHES + on_the_way + in_pictures + CHECKED
    tuning = heard.tasks["Tuning"]
    assert tuning.total == sum(tick.amount for tick in tuning.ticks) == PATCHES
    assert not list((tmp_path / "run").glob(".answers*"))


@pytest.mark.parametrize("classes", [2, 3])
def test_calibrated_answers_are_those_of_the_calibrated_network(classes: int, tmp_path: Path) -> None:
    run = opened(tmp_path, classes)
    network, scaling = Levels(1 if classes == 2 else classes), TemperatureScaling(1.7, 0.0)
    kept = replace(keep_answers(run, network, tmp_path), scaling=scaling).count()
    apply_temperature(network, scaling, run.card.class_channels)
    expected = run.make_validator()(network, run.validation_batches())
    assert np.array_equal(kept.confusion.counts, expected.confusion.counts)
    assert np.abs(kept.levels - expected.levels).sum() <= 2e-3 * expected.levels.sum()
    np.testing.assert_allclose(kept.logits, expected.logits, atol=1e-5)


def test_uncalibrated_answers_are_counted_as_validation_counts(tmp_path: Path) -> None:
    run, network = opened(tmp_path), Levels()
    kept = keep_answers(run, network, tmp_path).count()
    expected = run.make_validator()(network, run.validation_batches())
    for name in ("levels", "odds", "logits", "truth"):
        assert np.array_equal(getattr(kept, name), getattr(expected, name)), name


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("bf16", 2)])
def test_answers_are_computed_and_kept_as_training_computes(
    precision: str, size: int, tmp_path: Path
) -> None:
    run, network = opened(tmp_path, precision=precision), Levels()
    kept = keep_answers(run, network, tmp_path)
    assert all(inputs.is_contiguous(memory_format=torch.channels_last) for inputs in network.seen)
    assert torch.load(kept.files[0])["logits"].element_size() == size
    batch = next(run.read_validation([5]))
    expected = run.make_validator().predict(network, run.make_validator().transform(batch))
    assert torch.equal(kept.find(5).logits, expected)


def test_logits_beyond_sixteen_bits_stay_certain(tmp_path: Path) -> None:
    logits = torch.tensor([1e9, -1e9, 3.0]).view(1, 1, 1, 3)
    whole = AnsweredBatch(torch.zeros(1), torch.zeros(1), logits, torch.zeros(1, 1, 3))
    whole.save(tmp_path / "one.pt", in_half=True)
    found = AnsweredBatch.load(tmp_path / "one.pt", torch.device("cpu")).logits.sigmoid().flatten()
    assert found.tolist() == pytest.approx([1.0, 0.0, 0.9526], abs=1e-4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit to the size of files")
def test_answers_that_find_no_room_are_told_of_in_one_line(tmp_path: Path) -> None:
    whole = AnsweredBatch(*[torch.zeros(1, 1, 64, 64)] * 4)
    with (
        limited_files(10_000),
        pytest.raises(WriteError, match=r"one\.pt could not be written: no space left"),
    ):
        whole.save(tmp_path / "one.pt", in_half=True)


def test_quicker_ways_are_checked_on_the_hardest_patches(tmp_path: Path) -> None:
    """Of sixteen validation patches eight are plain ground; before, every second one was taken, plain ones as well."""
    array_set(tmp_path / "data")
    image = np.full((3, 128, 128), 20, np.uint8)
    image[:, 64:] = np.random.default_rng(0).integers(90, 110, (64, 128))
    np.save(tmp_path / "data" / "c.npy", image)
    settings = quick(low=0.0, high=200.0, patch=32)
    run = open_run(tmp_path / "data", tmp_path / "run", settings, torch.device("cpu"), ProcessGroup())
    network = Levels()
    with torch.no_grad():
        network.segmentation_head.weight.fill_(1.0)
        mean, std = run.card.scaling.mean, run.card.scaling.std
        network.segmentation_head.bias.fill_(-sum((0.5 - m) / s for m, s in zip(mean, std, strict=True)))
    tuner = Tuner(run, keep_answers(run, network, tmp_path), 0.5)
    patches = collect_check_patches(tuner, tuner.results())
    assert patches.shape == (CHECKED, 3, 32, 32)
    assert patches.min() >= 90


def test_what_is_written_beside_a_model_is_its_own_validation_ground(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    train_model(tmp_path / "data", tmp_path / "run", quick(steps=2, warmup=0, validate_every=2))
    patches = np.load(tmp_path / "run" / CHECK_FILE)
    validation = np.load(tmp_path / "data" / "c.npy")
    grid = {
        validation[:, r : r + 32, c : c + 32].tobytes() for r in range(0, 128, 32) for c in range(0, 128, 32)
    }
    assert {patch.tobytes() for patch in patches} <= grid
    assert find_model(str(tmp_path / "run")).check_patches is not None


def test_a_disk_that_is_full_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(GeosegError, match=r"0\.pt could not be written: no space left"):
        keep_answers(run, Levels(), tmp_path)


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    run, network = opened(tmp_path), Levels()
    with torch.no_grad():
        network.segmentation_head.weight.fill_(float("nan"))
    with pytest.raises(GeosegError, match="what is no number; train with a lower `learning_rate`"):
        keep_answers(run, network, tmp_path)


def test_an_answer_that_was_never_given_is_not_found(tmp_path: Path) -> None:
    kept = keep_answers(opened(tmp_path), Levels(), tmp_path)
    with pytest.raises(KeyError):
        kept.find(PATCHES)
