"""OpenVINO against torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import photo
from numpy.typing import NDArray
from runtimes import answer

from geoseg.models.backends.host import count_streams
from geoseg.models.normalisation import Normalisation, make_fixed_normalisation
from geoseg.models.precision import make_graph
from geoseg.models.store import Model, find_model

pytest.importorskip("openvino")

SCALES = {"uint8": 1, "uint16": 40, "int16": -20, "float32": 1 / 255}


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return find_model(str(tiny_model))


def stretched(model: Model, factor: float) -> Normalisation:
    """What a scene of other values gets: from its own tenth to its own nine tenths, the rest cut off."""
    plain = make_fixed_normalisation(model.card)
    low, high = sorted((25 * factor, 230 * factor))
    gain = tuple(gain * 255 / (high - low) for gain in plain.gain)
    offset = tuple(offset - g * low for offset, g in zip(plain.offset, gain, strict=True))
    return Normalisation(gain, offset, (low,) * 3, (high,) * 3, clip=True)


def compare(model: Model, raw: NDArray[Any], normalisation: Normalisation | None = None) -> None:
    """Both CPU engines answer as torch does."""
    expected = answer(model, raw, "torch", normalisation)
    assert expected.std() > 0.01
    for engine in ("openvino", "onnx"):
        found = answer(model, raw, engine, normalisation)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("dtype", SCALES)
def test_a_cpu_answers_as_torch_does(model: Model, dtype: str, clip: bool) -> None:
    factor = SCALES[dtype]
    values = (photo(64, 64, seed=2)[None] * float(factor)).astype(dtype)
    normalisation = stretched(model, factor)
    compare(model, values, normalisation if clip else replace(normalisation, clip=False))


def test_it_does_so_for_more_bands_and_classes(
    small_unet: Callable[..., Any], saved: Callable[..., Model]
) -> None:
    model = saved(small_unet(in_channels=11, classes=4), bands=11, outputs=4)
    compare(model, np.stack([photo(64, 64, 11, "uint16", seed) for seed in range(2)]))


def test_one_file_takes_patches_of_any_size(model: Model) -> None:
    for side in (32, 96):
        compare(model, photo(side, side)[None])


def test_a_patch_depends_on_no_other_of_its_batch(model: Model) -> None:
    raw = np.stack([photo(64, 64, seed=seed) for seed in range(3)])
    for engine in ("openvino", "onnx"):
        alone = np.concatenate([answer(model, patch[None], engine) for patch in raw])
        np.testing.assert_array_equal(answer(model, raw, engine), alone)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_threads_that_begin_together_get_the_answers_of_one(model: Model, engine: str) -> None:
    """In a process of its own: what an engine does at its very first answer is where threads could wait for each other."""
    code = f"""
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from geoseg.models.backends.base import RawPatches, RuntimeKind
from geoseg.models.backends.host import count_streams
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import open_runtime
from geoseg.models.store import find_model
model = find_model({str(model.weights.parent)!r})
kind = RuntimeKind("cpu", {engine!r}, "fp32")
raw = np.random.default_rng(0).integers(0, 255, (12, 1, 3, 64, 64), dtype="uint8")
runtimes = [open_runtime(model, RawPatches(64, "uint8", make_fixed_normalisation(model.card), many), kind) for many in (True, False)]
assert [runtime.streams for runtime in runtimes] == [3, 1]
with ThreadPoolExecutor(3) as pool:
    together = list(pool.map(runtimes[0], raw))
np.testing.assert_array_equal(np.concatenate(together), runtimes[1](raw[:, 0]))
"""
    make_graph(model)
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


def test_large_patches_take_no_more_memory_for_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert [count_streams(side, many=True) for side in (256, 512, 1024, 3072)] == [32, 8, 2, 1]
    assert count_streams(256, many=False) == 1


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_compiled_once_answers_the_same_again(model: Model, cache: Path) -> None:
    raw = photo(64, 64)[None]
    first = answer(model, raw)
    (kept,) = cache.rglob("*.blob")
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(answer(model, raw), first)
    assert kept.stat().st_mtime_ns == written
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(whole[: len(whole) // 2])
    np.testing.assert_array_equal(answer(model, raw), first)
    assert kept.stat().st_size >= len(whole)


def test_stretched_scenes_leave_nothing_in_the_cache(model: Model, cache: Path) -> None:
    answer(model, photo(64, 64)[None], normalisation=stretched(model, 1))
    assert not list(cache.rglob("*.blob"))


def test_a_cache_that_cannot_be_written_does_no_harm(model: Model, cache: Path) -> None:
    raw = photo(64, 64)[None]
    first = answer(model, raw)
    shutil.rmtree(cache)
    cache.write_text("a file where the folder should be")
    np.testing.assert_array_equal(answer(model, raw), first)
