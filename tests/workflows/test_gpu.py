"""What holds on a GPU. The same tests run on the processor in PyTorch, so that they are known to be right where no GPU is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from made import RasterWriter, photo
from runtimes import ask
from stopping import stop_after

from geoseg.errors import InputError
from geoseg.inference.predictor import find_largest_batch
from geoseg.models.backends.base import DeviceMemoryError, RawPatches, RuntimeKind
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import open_runtime
from geoseg.models.store import find_model
from geoseg.raster.plan import Plan
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions

torch = pytest.importorskip("torch")

HAS_GPU = torch.cuda.is_available()
ON_GPU = (pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU"))
DEVICES = ["cpu", pytest.param("cuda:0", marks=ON_GPU)]
SIDE = 64


@pytest.fixture
def options(tiny_model: Path) -> InferOptions:
    return InferOptions(model=str(tiny_model), engine="torch", precision="fp32", overwrite=True)


@pytest.fixture
def scene(write_raster: RasterWriter) -> str:
    return str(write_raster("scene.tif", photo(400, 200, seed=5)))


def infer(scene: str, folder: Path, options: InferOptions) -> tuple[bytes, bytes]:
    """The mask and the footprints of a run, as bytes."""
    folder.mkdir(exist_ok=True)
    out, mask = folder / "found.gpkg", folder / "mask.tif"
    infer_scene([scene], out, replace(options, mask=mask))
    return mask.read_bytes(), out.read_bytes()


def read_probability(scene: str, path: Path, options: InferOptions) -> np.ndarray:
    infer_scene([scene], None, replace(options, probability=path))
    with rasterio.open(path) as dataset:
        return dataset.read(1).astype(int)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_answers_as_openvino_does(
    scene: str, options: InferOptions, device: str, tmp_path: Path
) -> None:
    """In full precision; a GPU's convolutions may use TF32, which has ten bits."""
    found = read_probability(scene, tmp_path / "found.tif", replace(options, device=device))
    expected = read_probability(
        scene, tmp_path / "expected.tif", replace(options, device="cpu", engine="openvino")
    )
    assert np.ptp(expected) > 10
    assert np.abs(found - expected).max() <= (1 if device == "cpu" else 3)


@pytest.mark.parametrize("device", DEVICES)
def test_strips_and_a_stopped_run_change_no_byte(
    scene: str, options: InferOptions, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(options, device=device, patch=SIDE)
    expected = infer(scene, tmp_path / "whole", options)
    assert infer(scene, tmp_path / "again", options) == expected
    monkeypatch.setattr("geoseg.raster.plan.STRIP_PIXELS", 20_000)
    assert infer(scene, tmp_path / "low", options) == expected
    with stop_after(3):
        infer(scene, tmp_path / "stopped", options)
    assert list((tmp_path / "stopped").glob("*.parts/*"))
    assert infer(scene, tmp_path / "stopped", options) == expected


@pytest.mark.parametrize("device", DEVICES)
def test_patches_come_there_and_back(device: str) -> None:
    from geoseg.models.backends.torch import TorchDevice

    there = TorchDevice(device)
    values = photo(SIDE, SIDE)
    np.testing.assert_array_equal(there.download(there.upload(values))(), values)
    fetches = [there.download(there.upload(values) + step) for step in range(3)]
    for step, fetch in enumerate(fetches):
        np.testing.assert_array_equal(fetch(), values + step)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_flip_few_pixels(tiny_model: Path, precision: str) -> None:
    model = find_model(str(tiny_model))
    patches = RawPatches(SIDE, "uint8", make_fixed_normalisation(model.card))
    raw = np.stack([photo(SIDE, SIDE, seed=seed) for seed in range(8)])
    low, full = (
        ask(open_runtime(model, patches, RuntimeKind("cuda:0", "torch", kind)), raw)
        for kind in (precision, "fp32")
    )
    assert np.abs(low - full).mean() < 0.01


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="no CUDA GPU")
def test_a_gpu_that_is_nearly_full_takes_fewer_patches(tiny_model: Path) -> None:
    model = find_model(str(tiny_model))
    plan = Plan(height=1024, width=64 * 1024, patch=1024, overlap=0, strip_patch_rows=1)
    patches = RawPatches(plan.patch, "uint8", make_fixed_normalisation(model.card))
    runtime = open_runtime(model, patches, RuntimeKind("cuda:0", "torch", "fp32"))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction(2e9 / total)
        assert 1 <= find_largest_batch(runtime, plan, 3, "uint8") < 64
        torch.cuda.set_per_process_memory_fraction(1e8 / total)
        with pytest.raises(DeviceMemoryError, match="does not hold one patch of 1024 pixels"):
            find_largest_batch(runtime, plan, 3, "uint8")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
def test_all_gpus_share_a_scene_to_the_same_bytes(scene: str, options: InferOptions, tmp_path: Path) -> None:
    one, all_of_them = replace(options, device="cuda:0"), replace(options, device="cuda")
    assert infer(scene, tmp_path / "one", one) == infer(scene, tmp_path / "all", all_of_them)


@pytest.mark.skipif(HAS_GPU, reason="there is a CUDA GPU")
def test_a_gpu_that_is_not_there_is_one_line(scene: str, options: InferOptions, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`device` cuda: not there; this machine has cpu"):
        infer(scene, tmp_path / "out", replace(options, device="cuda"))
