from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from squares import array_set, quick

from geoseg.errors import InputError
from geoseg.models.card import Scaling
from geoseg.models.normalisation import Normaliser, fit_scene_normalisation
from geoseg.models.store import save_model
from geoseg.training.networks import IMAGENET_MEAN, IMAGENET_STD
from geoseg.training.patches.augmentation import RECIPES
from geoseg.training.patches.batches import read_batches
from geoseg.training.processes import ProcessGroup
from geoseg.training.run import open_run


@pytest.mark.parametrize(
    ("dtype", "factor", "changes"),
    [
        ("uint8", 1, {}),
        ("uint16", 12, {}),
        ("uint16", 12, {"high": 10000.0, "stretch": "never"}),
        ("float32", 0.003, {"stretch": "always"}),
    ],
)
def test_training_sees_raw_values_as_inference_does(
    dtype: str, factor: float, changes: dict[str, Any], tmp_path: Path
) -> None:
    array_set(tmp_path)
    for place in "abc":
        np.save(
            tmp_path / f"{place}.npy",
            (np.load(tmp_path / f"{place}.npy").astype(float) * factor).astype(dtype),
        )
    run = open_run(
        tmp_path, tmp_path / "out", quick(augment="none", **changes), torch.device("cpu"), ProcessGroup()
    )
    patches = run.patches()
    batch = next(read_batches(run.patch_dataset(patches), [range(3)], 0, run.device))
    inputs = run.transform(RECIPES["none"])(batch).inputs
    for number in range(3):
        site, window = patches.place(number)
        patch = patches.sites[site].read(window)
        values, valid = patches.sites[site].image.look()
        rule = fit_scene_normalisation(run.card, values, valid, "scene")
        seen = Normaliser(rule)(patch.values.astype(np.float32)[None])[0]
        np.testing.assert_allclose(inputs[number].numpy(), seen, atol=2e-3)


def test_unknown_pixels_look_like_the_mean(tmp_path: Path) -> None:
    array_set(tmp_path)
    image = np.load(tmp_path / "a.npy").astype(np.float32)
    image[:, :64] = np.nan
    np.save(tmp_path / "a.npy", image)
    run = open_run(tmp_path, tmp_path / "out", quick(empty=1.0), torch.device("cpu"), ProcessGroup())
    batch = next(read_batches(run.patch_dataset(run.patches()), [range(40)], 0, run.device))
    ready = run.transform(RECIPES["strong"])(batch)
    assert torch.isfinite(ready.inputs).all()
    unknown = ready.labels == 255
    assert unknown.any()
    assert not ready.inputs.movedim(1, -1)[unknown].any()


def decibels(folder: Path) -> None:
    """Radar backscatter: a data set of values from -27.5 to -2.5 dB or so."""
    array_set(folder)
    for place in "abc":
        image = np.load(folder / f"{place}.npy").astype(np.float32)
        np.save(folder / f"{place}.npy", image / 8 - 32.5)


def scaling_of(folder: Path, **changes: Any) -> Scaling:
    return open_run(
        folder, folder / "out", quick(**changes), torch.device("cpu"), ProcessGroup()
    ).card.scaling


def test_a_range_in_decibels_may_end_at_zero(tmp_path: Path) -> None:
    decibels(tmp_path)
    asked = scaling_of(tmp_path, low=-30.0, high=0.0)
    assert (asked.low, asked.high, asked.stretch) == (-30.0, 0.0, "when-foreign")


def test_one_end_of_the_range_is_completed_from_the_data(tmp_path: Path) -> None:
    decibels(tmp_path)
    values = np.concatenate([np.load(tmp_path / f"{place}.npy").ravel() for place in "ab"])
    least, most = np.percentile(values, (1, 99))
    found = scaling_of(tmp_path)
    assert (found.low, found.high, found.stretch) == (
        pytest.approx(least, abs=0.2),
        pytest.approx(most, abs=0.2),
        "always",
    )
    above, below = scaling_of(tmp_path, low=-40.0), scaling_of(tmp_path, high=0.0)
    assert (above.low, above.high, above.stretch) == (-40.0, found.high, "when-foreign")
    assert (below.low, below.high, below.stretch) == (found.low, 0.0, "when-foreign")


def test_one_end_of_the_range_of_bytes_is_that_of_bytes(tmp_path: Path) -> None:
    array_set(tmp_path)
    assert (scaling_of(tmp_path, low=20.0).low, scaling_of(tmp_path, low=20.0).high) == (20, 255)
    assert (scaling_of(tmp_path, high=200.0).low, scaling_of(tmp_path, high=200.0).high) == (0, 200)
    assert (scaling_of(tmp_path).low, scaling_of(tmp_path).high) == (0, 255)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"low": 0.0}, "`low` 0: the data end at -"),
        ({"high": -30.0}, "`high` -30: the data begin at -2"),
        ({"low": 0.0, "high": 0.0}, "`high` 0: must be above low, 0"),
        ({"low": 3.0, "high": -3.0}, "`high` -3: must be above low, 3"),
    ],
)
def test_ranges_that_hold_nothing_are_refused(
    changes: dict[str, float], complaint: str, tmp_path: Path
) -> None:
    decibels(tmp_path)
    with pytest.raises(InputError, match=complaint):
        scaling_of(tmp_path, **changes)


HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("encoder", "mean", "std"),
    [
        ("resnet18", IMAGENET_MEAN, IMAGENET_STD),
        ("mit_b0", IMAGENET_MEAN, IMAGENET_STD),
        ("xception", HALF, HALF),
        ("inceptionv4", HALF, HALF),
        ("tu-tf_efficientnet_lite0.in1k", HALF, HALF),
        ("tu-mobilenetv3_small_100", IMAGENET_MEAN, IMAGENET_STD),
        ("dpn68", (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    ],
)
def test_photographs_are_scaled_as_the_encoder_learnt_from_them(
    encoder: str, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    array_set(tmp_path)
    found = scaling_of(tmp_path, architecture="unet", encoder=encoder, arguments="{}")
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


@pytest.mark.parametrize("weights", ["", "none"])
def test_from_scratch_the_data_tell_mean_and_spread(weights: str, tmp_path: Path) -> None:
    array_set(tmp_path)
    settings = quick(weights=weights)
    assert settings.from_scratch
    values = np.concatenate([np.load(tmp_path / f"{place}.npy").reshape(3, -1) for place in "ab"], 1) / 255
    found = scaling_of(tmp_path, weights=weights)
    assert found.mean == pytest.approx(values.mean(1), abs=0.02)
    assert found.std == pytest.approx(values.std(1), abs=0.02)


def test_a_model_to_start_from_tells_mean_and_spread(tmp_path: Path) -> None:
    array_set(tmp_path / "data")
    settings = quick(architecture="unet-plain")
    own = Scaling(0.0, 255.0, (0.3, 0.4, 0.5), (0.1, 0.2, 0.3))
    run = open_run(tmp_path / "data", tmp_path, settings, torch.device("cpu"), ProcessGroup())
    save_model(tmp_path / "old", run.create_network(), replace(run.card, scaling=own))
    found = scaling_of(tmp_path / "data", start_from=str(tmp_path / "old"), low=10.0)
    assert (found.low, found.mean, found.std) == (10.0, own.mean, own.std)
