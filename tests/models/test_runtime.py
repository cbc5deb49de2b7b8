from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from heard import Heard
from made import photo
from runtimes import answer

from geoseg.errors import InputError
from geoseg.models import runtime
from geoseg.models.backends.base import RuntimeKind
from geoseg.models.runtime import describe_device, explain_unused_gpu, find_devices, load_backend
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

    raw = np.stack([photo(64, 64, seed=seed) for seed in range(2)])
    network = smp.from_pretrained(str(tiny_model)).eval()
    with torch.inference_mode():
        expected = network((torch.from_numpy(raw) / 255 - 0.4) / 0.2).sigmoid()
    np.testing.assert_allclose(answer(find_model(str(tiny_model)), raw, "torch"), expected.numpy(), atol=1e-5)


def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    """Its converter sends word to Google when it is imported, and keeps a number for the user in ~/intel."""
    code = (
        "import sys; from geoseg.models.runtime import load_backend; load_backend('openvino')\n"
        "assert not [name for name in sys.modules if name.startswith(('openvino_telemetry', 'openvino.tools.ovc'))]\n"
        "import openvino.tools.ovc"  # for who wants it
    )
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "CI": "true"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | home)


@pytest.mark.parametrize(
    ("engine", "library"), [("openvino", "openvino"), ("onnx", "onnxruntime"), ("torch", "torch")]
)
def test_an_engine_that_is_not_installed_is_named_with_its_remedy(
    engine: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"geoseg.models.backends.{engine}", raising=False)
    with pytest.raises(InputError, match=rf"`engine` {engine}: not installed: pip install \S+$"):
        load_backend(engine)  # type: ignore[arg-type]


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
    monkeypatch.setattr(runtime, "count_threads", lambda: 1)
    assert describe_device("cpu") == "CPU (1 thread)"
    assert describe_device("cuda:1") == "GPU 1 (Example 9000)"
    assert describe_device("mps") == "GPU (Apple)"
    assert str(RuntimeKind("cpu", "openvino", "bf16")) == "openvino bf16 on cpu"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.usefixtures("driver", "no_gpu")
def test_an_idle_gpu_is_told_of(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert find_devices("auto") == ["cpu"]
    assert "PyTorch is a CPU build" in heard.warnings[0]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "PyTorch (CUDA 13.0) cannot use it" in str(explain_unused_gpu())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert explain_unused_gpu() is None


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("driver", "no_torch")
def test_without_torch_a_gpu_is_told_of_once_with_the_command_that_uses_it(heard: Heard) -> None:
    assert find_devices("auto") == ["cpu"]
    (line,) = heard.warnings
    assert line.startswith("this machine has an NVIDIA GPU but PyTorch")
    assert line.endswith('pip install "geoseg[torch]"')
    assert find_devices("cpu") == ["cpu"]
    assert len(heard.warnings) == 1
    with pytest.raises(
        InputError, match=r"`device` cuda: not there; .* needs PyTorch: pip install \"geoseg\[torch\]\""
    ):
        find_devices("cuda")


@pytest.mark.usefixtures("no_torch")
def test_without_torch_and_gpu_nothing_is_said(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> None:
    monkeypatch.setattr(runtime, "has_nvidia_driver", lambda: False)
    assert find_devices("auto") == ["cpu"]
    assert not heard.warnings
