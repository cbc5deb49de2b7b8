"""Training, writing and using networks that also tell where one building ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import ndimage
from squares import array_set, quick
from torch import nn

from geoseg.datasets.schema import Dataset, read_dataset, write_dataset
from geoseg.errors import InputError
from geoseg.models.backends.torch import ProbabilityNetwork
from geoseg.models.export import export_onnx
from geoseg.models.network import load_network
from geoseg.models.store import find_model
from geoseg.raster.coding import NODATA
from geoseg.training.losses import boundary_loss, distance_loss
from geoseg.training.optimizer import FullPrecisionDepthwise, MixedPrecision, speed_up_layers
from geoseg.training.processes import ProcessGroup
from geoseg.training.run import TrainingRun, open_run
from geoseg.training.trainer import train_model


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Squares whose buildings have numbers beside their classes."""
    folder = tmp_path / "data"
    dataset = array_set(folder)
    for item in dataset.items:
        pieces, _ = ndimage.label(np.load(folder / item.label))
        np.save(folder / f"{item.place}-numbers.npy", pieces.astype(np.int32))
    with_numbers(dataset, folder)
    return folder


def with_numbers(dataset: Dataset, folder: Path) -> None:
    items = tuple(replace(item, buildings=f"{item.place}-numbers.npy") for item in dataset.items)
    write_dataset(replace(dataset, items=items), folder)


def opened(folder: Path, **changes: object) -> TrainingRun:
    return open_run(folder, folder / "out", quick(**changes), torch.device("cpu"), ProcessGroup())


def test_a_model_of_three_outputs_is_trained_written_and_run(numbered: Path, tmp_path: Path) -> None:
    finished = train_model(numbered, tmp_path / "run", quick(augment="sensors", learning_rate=1e-2, steps=20))
    assert finished is not None
    model = find_model(str(tmp_path / "run"))
    assert model.card.outputs == ("building", "boundary", "distance")
    network = load_network(model)
    inputs = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert network(inputs).shape == (1, 3, 32, 32)
        answer = ProbabilityNetwork(network, model.card)(inputs)
        assert torch.allclose(answer, network(inputs).sigmoid())
    export_onnx(model, tmp_path / "model.onnx")
    exported = find_model(str(tmp_path / "model.onnx")).card
    assert exported.outputs == ("building",)
    alone = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"input": inputs.numpy()})
    np.testing.assert_allclose(alone[0], answer[:, :1].numpy(), atol=1e-4)


def test_boundary_and_distance_are_learnt(numbered: Path) -> None:
    """The losses of both outputs fall, and where nothing is known of them they are nought."""
    run = opened(numbered, augment="none")
    batch = next(run.batches(0))
    ready = run.transform(run.recipe)(batch)
    assert (ready.boundary == 1).any()
    assert ready.distance[ready.distance != NODATA].max() > 50
    network = nn.Conv2d(3, 2, 9, padding=4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        boundary, distance = network(ready.inputs).unbind(1)
        loss = boundary_loss(boundary, ready.boundary) + distance_loss(distance, ready.distance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    unknown = torch.full_like(ready.boundary, NODATA)
    assert boundary_loss(boundary.detach(), unknown) == distance_loss(distance.detach(), unknown) == 0


def test_masks_train_the_class_alone_and_empty_ones_know_that_nothing_ends_there(numbered: Path) -> None:
    dataset = read_dataset(numbered)
    items = [replace(item, buildings=None) if item.place == "a" else item for item in dataset.items]
    write_dataset(replace(dataset, items=tuple(items)), numbered)
    run = opened(numbered)
    site = run.ground.training[0]
    assert site.place == "a"
    patches = run.patch_dataset(replace(run.patches(), sites=(site,)))
    classes = np.load(numbered / "a-labels.npy")
    entry = patches[0]
    assert (entry["boundary"] == NODATA).all()
    assert (entry["distance"] == NODATA).all()
    np.save(numbered / "a-labels.npy", np.zeros_like(classes))
    empty = opened(numbered)
    entry = empty.patch_dataset(replace(empty.patches(), sites=(empty.ground.training[0],)))[0]
    assert not entry["boundary"].any()
    assert not entry["distance"].any()


def test_places_of_more_weight_are_drawn_more_often(numbered: Path) -> None:
    dataset = read_dataset(numbered)
    items = [replace(item, weight=3.0) if item.place == "b" else item for item in dataset.items]
    write_dataset(replace(dataset, items=tuple(items)), numbered)
    patches = opened(numbered, place_balance=1.0).patches()
    drawn = np.mean([patches.place(number)[0] == 1 for number in range(800)])
    assert drawn == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf")])
def test_a_weight_that_cannot_be_meant_is_refused(numbered: Path, weight: float) -> None:
    with pytest.raises(InputError, match="weight is"):
        replace(read_dataset(numbered).items[0], weight=weight)


def test_separating_needs_two_classes_and_single_buildings(tmp_path: Path) -> None:
    array_set(tmp_path / "masks")
    with pytest.raises(InputError, match=r"--separate always: .* needs two classes"):
        opened(tmp_path / "masks", separate="always")
    assert opened(tmp_path / "masks").card.separators == ()


def test_never_separating_leaves_the_class_alone(numbered: Path) -> None:
    assert opened(numbered, separate="never").card.outputs == ("building",)
    assert opened(numbered).card.outputs == ("building", "boundary", "distance")


def test_a_missing_file_of_numbers_is_named(numbered: Path) -> None:
    (numbered / "b-numbers.npy").unlink()
    with pytest.raises(InputError, match=r"b-numbers.npy: no such label"):
        opened(numbered)


def test_depthwise_layers_answer_alike_in_full_precision() -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    inputs = torch.randn(2, 8, 16, 16)
    before = network(inputs)
    quick_one = speed_up_layers(network, MixedPrecision("cpu", "bf16"))
    assert isinstance(quick_one[0], FullPrecisionDepthwise)
    assert type(quick_one[1]) is nn.Conv2d
    assert torch.equal(quick_one(inputs), before)
    assert (
        type(speed_up_layers(nn.Sequential(nn.Conv2d(8, 8, 3, groups=8)), MixedPrecision())[0]) is nn.Conv2d
    )
