from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made import photo

from geoseg.errors import InputError
from geoseg.models.backends.base import RawPatches, RuntimeKind
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import describe_device, explain_unused_gpu, find_devices, open_runtime
from geoseg.models.store import find_model


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_torch_answers_by_the_formula(tiny_model: Path) -> None:
    import segmentation_models_pytorch as smp

    model = find_model(str(tiny_model))
    raw = torch.from_numpy(np.stack([photo(64, 64, seed=seed) for seed in range(2)]))
    network = smp.from_pretrained(str(tiny_model)).eval()
    with torch.inference_mode():
        expected = network((raw / 255 - 0.4) / 0.2).sigmoid()
    patches = RawPatches(64, "uint8", make_fixed_normalisation(model.card))
    answer = open_runtime(model, patches, RuntimeKind("cpu", "torch", "fp32"))(raw)
    assert torch.allclose(answer, expected, atol=1e-5)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_cpu_is_used() -> None:
    assert find_devices("auto") == ["cpu"]
    assert find_devices("cpu") == ["cpu"]
    assert find_devices("cpu,cpu") == ["cpu"]


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_found_by_name() -> None:
    assert find_devices("auto") == find_devices("cuda") == ["cuda:0", "cuda:1"]
    assert find_devices("cuda:1") == ["cuda:1"]
    assert find_devices("cuda:1, cuda:0") == ["cuda:1", "cuda:0"]
    assert find_devices("cuda,cuda:0") == ["cuda:0", "cuda:1"]


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("request_", ["cuda", "cuda:0", "mps", "gpu", "", "tpu,cpu", "cpu,cuda:7"])
def test_devices_that_are_not_there_are_refused(request_: str) -> None:
    with pytest.raises(InputError, match=r"`device` \S*: not there; this machine has cpu"):
        find_devices(request_)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"`device` cuda:2: not there; this machine has cuda:0, cuda:1, cpu"):
        find_devices("cuda:0,cuda:2")


@pytest.mark.usefixtures("two_gpus")
def test_devices_of_two_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="`device` cuda:0,cpu: give devices of one kind"):
        find_devices("cuda:0,cpu")


def test_devices_have_names_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Example 9000")
    assert describe_device("cpu") == f"CPU ({torch.get_num_threads()} threads)"
    assert describe_device("cuda:1") == "GPU 1 (Example 9000)"
    assert describe_device("mps") == "GPU (Apple)"
    assert str(RuntimeKind("cpu", "openvino", "bf16")) == "openvino bf16 on cpu"


def test_an_idle_gpu_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "PyTorch is a CPU build" in str(explain_unused_gpu())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "PyTorch (CUDA 13.0) cannot use it" in str(explain_unused_gpu())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert explain_unused_gpu() is None
