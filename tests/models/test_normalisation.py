from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made import card, photo
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.models.card import Scaling
from geoseg.models.normalisation import (
    Normalisation,
    Normaliser,
    fit_scene_normalisation,
    make_fixed_normalisation,
)

BYTES = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
REFLECTANCE = Scaling(high=10_000, stretch="never")


def of_scene(values: NDArray[Any], scaling: Scaling, valid: NDArray[np.bool_] | None = None) -> Normalisation:
    known = np.ones(values.shape[1:], bool) if valid is None else valid
    return fit_scene_normalisation(card(scaling=scaling), values, known, "scene.tif")


def applied(normalisation: Normalisation, values: NDArray[Any]) -> NDArray[Any]:
    answer: NDArray[Any] = Normaliser(normalisation)(values[None].astype(np.float32))[0]
    return answer


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pixels_become_what_the_formula_says(dtype: str) -> None:
    scaling = Scaling(low=10, high=210, **BYTES)
    values = photo(16, 16, dtype=dtype)
    mean, std = (np.array(BYTES[name])[:, None, None] for name in ("mean", "std"))
    expected = ((values - 10.0) / 200 - mean) / std
    np.testing.assert_allclose(
        applied(make_fixed_normalisation(card(scaling=scaling)), values), expected, atol=2e-6
    )


def test_unknown_pixels_take_the_value_that_the_network_sees_as_the_mean() -> None:
    scaling = Scaling(low=10, high=210, **BYTES)
    neutral = make_fixed_normalisation(card(scaling=scaling)).neutral
    np.testing.assert_allclose(neutral, 10 + 200 * np.array(BYTES["mean"]))


@pytest.mark.parametrize("stretch", ["never", "when-foreign"])
def test_scenes_on_the_cards_scale_are_left_on_it(stretch: Any) -> None:
    scaling = Scaling(stretch=stretch, **BYTES)
    for values in (photo(64, 64), photo(64, 64, dtype="float32"), np.full((3, 8, 8), 90, np.uint8)):
        assert of_scene(values, scaling) == make_fixed_normalisation(card(scaling=scaling))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(photo(64, 64).astype(np.uint16) * 8, id="11-bit imagery"),
        pytest.param(photo(64, 64).astype(np.float32) / 255, id="reflectance of 0 to 1"),
        pytest.param(photo(64, 64).astype(np.int16) - 600, id="far below zero"),
    ],
)
def test_scenes_on_another_scale_are_stretched_by_their_own_percentiles(values: NDArray[Any]) -> None:
    found = of_scene(values, Scaling(percentiles=(2, 98)))
    low, high = np.percentile(values.reshape(3, -1).astype(float), (2, 98), axis=1)
    assert found.clip
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    stretched = applied(found, values)
    expected = (values.clip(low[:, None, None], high[:, None, None]) - low[:, None, None]) / (high - low)[
        :, None, None
    ]
    np.testing.assert_allclose(stretched, expected, atol=1e-5)
    assert stretched.min() == pytest.approx(0, abs=1e-5)
    assert stretched.max() == pytest.approx(1, abs=1e-5)


def test_a_card_may_ask_for_stretching_always() -> None:
    values = photo(64, 64)
    found = of_scene(values, Scaling(stretch="always", percentiles=(0, 100)))
    assert found.clip
    np.testing.assert_allclose(found.low, values.min(axis=(1, 2)))
    np.testing.assert_allclose(found.high, values.max(axis=(1, 2)))


def test_only_known_pixels_count() -> None:
    values = photo(64, 64)
    values[:, :, :32] = 255
    valid = np.zeros((64, 64), bool)
    valid[:, 32:] = True
    found = of_scene(values, Scaling(stretch="always"), valid)
    assert found == of_scene(values[:, :, 32:], Scaling(stretch="always"))


def test_a_band_of_one_value_can_be_stretched() -> None:
    found = of_scene(np.full((3, 8, 8), 7, np.uint8), Scaling(stretch="always"))
    assert np.isfinite(applied(found, np.full((3, 8, 8), 7, np.uint8))).all()


def test_bright_clouds_do_not_take_a_scene_off_its_scale() -> None:
    values = photo(64, 64).astype(np.uint16) * 20
    values[:, :12] = 13_000
    assert not of_scene(values, REFLECTANCE).clip


@pytest.mark.parametrize(
    ("values", "scaling"),
    [
        (photo(64, 64).astype(np.uint16) * 8, Scaling(stretch="never")),
        (photo(64, 64).astype(np.float32) / 255, Scaling(stretch="never")),
        (photo(64, 64), REFLECTANCE),
        (photo(64, 64).astype(np.float32) / 255, REFLECTANCE),
    ],
)
def test_a_model_that_never_stretches_refuses_another_scale(values: NDArray[Any], scaling: Scaling) -> None:
    expected = rf"scene.tif: values from .* to .*, but the model tiny expects 0 to {scaling.high:g}; rescale"
    with pytest.raises(InputError, match=expected):
        of_scene(values, scaling)


def test_a_scene_without_a_known_pixel_is_refused() -> None:
    with pytest.raises(InputError, match=r"scene.tif: holds no valid pixel"):
        of_scene(photo(8, 8), Scaling(), np.zeros((8, 8), bool))


@pytest.mark.parametrize("stretch", ["never", "always"])
def test_tensors_are_normalised_to_the_same_bits_as_arrays(stretch: Any) -> None:
    torch = pytest.importorskip("torch")
    values = photo(16, 16)
    rule = of_scene(values, Scaling(stretch=stretch, **BYTES))
    tensors = Normaliser(rule, torch.from_numpy)(torch.from_numpy(values[None]).float())
    np.testing.assert_array_equal(tensors[0].numpy(), applied(rule, values))
