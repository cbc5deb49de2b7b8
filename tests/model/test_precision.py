"""Faster arithmetic is taken only where it leaves the answers as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.errors import InputError
from geoseg.model import openvino, precision
from geoseg.model.folder import Model, find_model
from geoseg.model.precision import Closeness, candidates, choose, closeness, compare, note_path
from geoseg.model.runtime import RuntimeKind

Saver = Callable[..., Model]
BF16 = RuntimeKind("cpu", "torch", "bf16")
FP32 = RuntimeKind("cpu", "torch", "fp32")


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16, whatever this one has: torch can reckon in it on any, if slowly."""
    monkeypatch.setattr(precision, "precisions", lambda *_: ["bf16", "fp32"])


@pytest.fixture
def network(small_unet: Callable[..., Any]) -> Callable[[float, float], Any]:
    """A U-Net whose logits are multiplied, then moved."""

    def build(factor: float, shift: float) -> Any:
        unet = small_unet()
        with torch.no_grad():
            unet.segmentation_head[0].weight *= factor
            unet.segmentation_head[0].bias.fill_(shift)
        return unet

    return build


@pytest.fixture
def steady(network: Callable[[float, float], Any], saved: Saver) -> Model:
    """Far from its threshold everywhere: no rounding changes an answer."""
    return saved(network(0.1, 6.0), check=True)


@pytest.fixture
def touchy(network: Callable[[float, float], Any], saved: Saver) -> Model:
    """At its threshold everywhere, and steep: every rounding changes answers."""
    return saved(network(300.0, 0.0), check=True)


@pytest.mark.usefixtures("both_precisions")
def test_bf16_is_taken_where_it_changes_nothing(steady: Model) -> None:
    assert choose(steady, "cpu", "torch", "auto") == BF16
    measured = compare(steady, BF16)
    assert 0 < measured.mean_difference < 0.002
    assert measured.flipped_share == 0


@pytest.mark.usefixtures("both_precisions")
def test_bf16_is_left_where_it_flips_pixels(touchy: Model) -> None:
    assert choose(touchy, "cpu", "torch", "auto") == FP32
    assert compare(touchy, BF16).flipped_share > 0.001


@pytest.mark.usefixtures("both_precisions")
def test_without_check_patches_nothing_is_risked(saved: Saver, small_unet: Callable[..., Any]) -> None:
    assert choose(saved(small_unet()), "cpu", "torch", "auto") == FP32


@pytest.mark.usefixtures("both_precisions")
@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(touchy: Model, wanted: Any) -> None:
    assert choose(touchy, "cpu", "torch", wanted).precision == wanted


@pytest.mark.skipif(not openvino.is_installed(), reason="openvino is not installed")
def test_openvino_is_chosen_on_a_cpu_by_itself_and_judged_the_same_way(steady: Model, touchy: Model) -> None:
    fastest = "bf16" if openvino.has_bf16() else "fp32"
    assert choose(steady, "cpu", "auto", "fp32").engine == "openvino"
    del touchy
    assert candidates("cpu", "auto", "auto")[0] == RuntimeKind("cpu", "openvino", fastest)  # type: ignore[arg-type]


def test_full_precision_is_close_to_itself(touchy: Model) -> None:
    assert compare(touchy, FP32) == Closeness(0.0, 0.0)


def test_classes_are_compared_by_the_most_probable(saved: Saver, small_unet: Callable[..., Any]) -> None:
    model = saved(small_unet(classes=3), outputs=3, check=True)
    assert compare(model, FP32) == Closeness(0.0, 0.0)
    assert compare(model, BF16).flipped_share > 0


@pytest.mark.parametrize(
    ("mean", "flipped", "enough"),
    [(0.002, 0.001, True), (0.0021, 0, False), (0, 0.0011, False), (float("nan"), 0, False)],
)
def test_closeness_has_two_bars(mean: float, flipped: float, enough: bool) -> None:
    assert Closeness(mean, flipped).is_enough is enough


def test_closeness_is_measured_once(steady: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = closeness(steady, BF16)
    monkeypatch.setattr(precision, "compare", lambda *_: pytest.fail("measured again"))
    assert closeness(steady, BF16) == measured


@pytest.mark.parametrize("note", ["", '{"mean_difference": 0.1', "[]", '{"other": 1}'])
def test_a_damaged_note_is_measured_anew(steady: Model, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "compare", lambda *_: Closeness(0.5, 0.25))
    path = note_path(steady, BF16)
    path.parent.mkdir(parents=True)
    path.write_text(note)
    assert closeness(steady, BF16) == Closeness(0.5, 0.25)
    assert json.loads(path.read_text()) == {"mean_difference": 0.5, "flipped_share": 0.25}


def test_a_cache_that_cannot_be_written_does_no_harm(
    steady: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(precision, "compare", lambda *_: Closeness(0.5, 0.25))
    assert closeness(steady, BF16) == Closeness(0.5, 0.25)


@pytest.mark.parametrize(
    ("engine", "wanted", "complaint"),
    [
        ("onnx", "auto", "--engine onnx: the model is a torch model; export it first"),
        ("torch", "fp16", "--engine torch --precision fp16: not possible on CPU"),
        ("openvino", "fp16", "--engine openvino --precision fp16: not possible on CPU"),
    ],
)
def test_what_cannot_be_had_is_refused(tiny_model: Path, engine: Any, wanted: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        choose(find_model(str(tiny_model)), "cpu", engine, wanted)


def test_openvino_is_for_cpus(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="--engine openvino: runs on the CPU only, not on mps"):
        choose(find_model(str(tiny_model)), "mps", "openvino", "auto")


def test_without_openvino_torch_runs(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = find_model(str(tiny_model))
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    assert choose(model, "cpu", "auto", "fp32").engine == "torch"
    with pytest.raises(InputError, match="--engine openvino: not installed: pip install openvino"):
        choose(model, "cpu", "openvino", "auto")


def test_onnx_models_run_as_they_are(write_onnx: Callable[..., Path]) -> None:
    path = write_onnx(class_names=["background", "roof"], resolution=30)
    model = find_model(str(path))
    assert choose(model, "cpu", "auto", "auto") == RuntimeKind("cpu", "onnx", "fp32")
    for device, engine, wanted in (
        ("cpu", "torch", "auto"),
        ("cpu", "auto", "bf16"),
        ("cuda:0", "auto", "auto"),
    ):
        with pytest.raises(InputError, match="an ONNX model runs as it is, on the CPU"):
            choose(model, device, engine, wanted)  # type: ignore[arg-type]
