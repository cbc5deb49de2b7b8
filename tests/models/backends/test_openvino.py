"""OpenVINO against torch, and its cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import photo

from geoseg.models.backends import openvino
from geoseg.models.backends.base import RawPatches, RuntimeKind
from geoseg.models.normalisation import Normalisation, make_fixed_normalisation
from geoseg.models.runtime import open_runtime
from geoseg.models.store import Model, find_cache_folder, find_model

pytestmark = pytest.mark.skipif(not openvino.is_openvino_installed(), reason="openvino is not installed")

FP32 = RuntimeKind("cpu", "openvino", "fp32")
TORCH = RuntimeKind("cpu", "torch", "fp32")
SCALES = {"uint8": 1, "uint16": 40, "int16": -20, "float32": 1 / 255}


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return find_model(str(tiny_model))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stretched(model: Model, factor: float) -> Normalisation:
    """What a scene of other values gets: from its own tenth to its own nine tenths, the rest cut off."""
    plain = make_fixed_normalisation(model.card)
    low, high = sorted((25 * factor, 230 * factor))
    gain = tuple(gain * 255 / (high - low) for gain in plain.gain)
    offset = tuple(offset - g * low for offset, g in zip(plain.offset, gain, strict=True))
    return Normalisation(gain, offset, (low,) * 3, (high,) * 3, clip=True)


def largest_difference(model: Model, patches: RawPatches, raw: torch.Tensor) -> float:
    expected = open_runtime(model, patches, TORCH)(raw)
    answered = open_runtime(model, patches, FP32)(raw)
    assert answered.dtype == torch.float32
    assert answered.shape == expected.shape
    assert float(expected.std()) > 0.01
    return float((expected - answered).abs().max())


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("dtype", SCALES)
def test_openvino_answers_as_torch_does(model: Model, dtype: str, clip: bool) -> None:
    factor = SCALES[dtype]
    values = (photo(64, 64, seed=2)[None] * float(factor)).astype(dtype)
    normalisation = stretched(model, factor)
    patches = RawPatches(64, dtype, normalisation if clip else replace(normalisation, clip=False))
    assert largest_difference(model, patches, torch.from_numpy(values)) < 1e-4


def test_it_does_so_for_more_bands_and_classes(
    small_unet: Callable[..., Any], saved: Callable[..., Model]
) -> None:
    model = saved(small_unet(in_channels=11, classes=4), bands=11, outputs=4)
    patches = RawPatches(64, "uint16", make_fixed_normalisation(model.card))
    raw = torch.from_numpy(np.stack([photo(64, 64, 11, "uint16", seed) for seed in range(2)]))
    assert largest_difference(model, patches, raw) < 1e-4


@pytest.fixture(scope="module")
def conversion(tiny_model: Path) -> Any:
    return openvino.convert_network(find_model(str(tiny_model)), 64)


@pytest.fixture
def conversions(conversion: Any, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that the model was converted for; converting really once and copying that saves time."""
    done: list[int] = []

    def convert(model: Model, patch: int) -> Any:
        done.append(patch)
        return conversion.clone()

    monkeypatch.setattr(openvino, "convert_network", convert)
    return done


def answers(model: Model) -> torch.Tensor:
    patches = RawPatches(64, "uint8", make_fixed_normalisation(model.card))
    return open_runtime(model, patches, FP32)(torch.from_numpy(photo(64, 64)[None]))


def test_a_model_is_converted_once(model: Model, empty_cache: Path, conversions: list[int]) -> None:
    first = answers(model)
    kept = sorted(path.suffix for path in (empty_cache / "openvino").iterdir())
    assert kept == [".bin", ".xml"]
    assert torch.equal(answers(model), first)
    assert conversions == [64]


def test_a_cache_that_cannot_be_written_does_no_harm(
    model: Model, empty_cache: Path, conversions: list[int]
) -> None:
    empty_cache.write_text("a file where the folder should be")
    assert torch.equal(answers(model), answers(model))
    assert conversions == [64, 64]


@pytest.mark.parametrize("damaged", [".xml", ".bin"])
def test_a_damaged_cache_is_replaced(
    model: Model, empty_cache: Path, conversions: list[int], damaged: str
) -> None:
    first = answers(model)
    path = next((empty_cache / "openvino").glob(f"*{damaged}"))
    whole = path.read_bytes()
    # As another file, since the first run may still have the old one in its memory.
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    assert torch.equal(answers(model), first)
    assert path.stat().st_size == len(whole)
    assert torch.equal(answers(model), first)
    assert conversions == [64, 64]


def test_half_of_a_cache_is_completed(model: Model, empty_cache: Path, conversions: list[int]) -> None:
    first = answers(model)
    path = next((empty_cache / "openvino").glob("*.xml"))
    path.unlink()
    assert torch.equal(answers(model), first)
    assert path.exists()
    assert conversions == [64, 64]


def test_the_cache_lies_where_the_user_wants_it(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_cache_folder() == empty_cache
    monkeypatch.delenv("GEOSEG_CACHE")
    assert find_cache_folder().name == "geoseg"
