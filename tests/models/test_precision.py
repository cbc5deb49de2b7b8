"""Faster arithmetic is taken only where it leaves the answers as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.errors import InputError
from geoseg.models import precision
from geoseg.models.backends import openvino
from geoseg.models.backends.base import RuntimeKind
from geoseg.models.precision import (
    AnswerDifference,
    choose_runtime,
    find_difference,
    list_candidates,
    make_cache_path,
    measure_difference,
)
from geoseg.models.store import Model, find_model

Saver = Callable[..., Model]
BF16 = RuntimeKind("cpu", "torch", "bf16")
FP32 = RuntimeKind("cpu", "torch", "fp32")


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16, whatever this one has: torch can reckon in it on any, if slowly."""
    monkeypatch.setattr(precision, "list_precisions", lambda *_: ["bf16", "fp32"])


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
    assert choose_runtime(steady, "cpu", "torch", "auto") == BF16
    measured = measure_difference(steady, BF16)
    assert 0 < measured.mean_difference < 0.002
    assert measured.flipped_share == 0


@pytest.mark.usefixtures("both_precisions")
def test_bf16_is_left_where_it_flips_pixels(touchy: Model) -> None:
    assert choose_runtime(touchy, "cpu", "torch", "auto") == FP32
    assert measure_difference(touchy, BF16).flipped_share > 0.001


@pytest.mark.usefixtures("both_precisions")
def test_without_check_patches_nothing_is_risked(saved: Saver, small_unet: Callable[..., Any]) -> None:
    assert choose_runtime(saved(small_unet()), "cpu", "torch", "auto") == FP32


@pytest.mark.usefixtures("both_precisions")
@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(touchy: Model, wanted: Any) -> None:
    assert choose_runtime(touchy, "cpu", "torch", wanted).precision == wanted


@pytest.mark.skipif(not openvino.is_openvino_installed(), reason="openvino is not installed")
def test_openvino_is_chosen_on_a_cpu_by_itself_and_judged_the_same_way(steady: Model, touchy: Model) -> None:
    fastest = "bf16" if openvino.supports_bf16() else "fp32"
    assert choose_runtime(steady, "cpu", "auto", "fp32").engine == "openvino"
    del touchy
    assert list_candidates("cpu", "auto", "auto")[0] == RuntimeKind("cpu", "openvino", fastest)  # type: ignore[arg-type]


def test_full_precision_is_close_to_itself(touchy: Model) -> None:
    assert measure_difference(touchy, FP32) == AnswerDifference(0.0, 0.0)


def test_classes_are_compared_by_the_most_probable(saved: Saver, small_unet: Callable[..., Any]) -> None:
    model = saved(small_unet(classes=3), outputs=3, check=True)
    assert measure_difference(model, FP32) == AnswerDifference(0.0, 0.0)
    assert measure_difference(model, BF16).flipped_share > 0


@pytest.mark.parametrize(
    ("mean", "flipped", "enough"),
    [(0.002, 0.001, True), (0.0021, 0, False), (0, 0.0011, False), (float("nan"), 0, False)],
)
def test_closeness_has_two_bars(mean: float, flipped: float, enough: bool) -> None:
    assert AnswerDifference(mean, flipped).is_small is enough


def test_closeness_is_measured_once(steady: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = find_difference(steady, BF16)
    monkeypatch.setattr(precision, "measure_difference", lambda *_: pytest.fail("measured again"))
    assert find_difference(steady, BF16) == measured


@pytest.mark.parametrize("note", ["", '{"mean_difference": 0.1', "[]", '{"other": 1}'])
def test_a_damaged_note_is_measured_anew(steady: Model, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "measure_difference", lambda *_: AnswerDifference(0.5, 0.25))
    path = make_cache_path(steady, BF16)
    path.parent.mkdir(parents=True)
    path.write_text(note)
    assert find_difference(steady, BF16) == AnswerDifference(0.5, 0.25)
    assert json.loads(path.read_text()) == {"mean_difference": 0.5, "flipped_share": 0.25}


def test_a_cache_that_cannot_be_written_does_no_harm(
    steady: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(precision, "measure_difference", lambda *_: AnswerDifference(0.5, 0.25))
    assert find_difference(steady, BF16) == AnswerDifference(0.5, 0.25)


@pytest.mark.parametrize(
    ("engine", "wanted", "complaint"),
    [
        ("onnx", "auto", "`engine` onnx: the model is a torch model; export it first"),
        ("torch", "fp16", "`engine` torch `precision` fp16: not possible on CPU"),
        ("openvino", "fp16", "`engine` openvino `precision` fp16: not possible on CPU"),
    ],
)
def test_what_cannot_be_had_is_refused(tiny_model: Path, engine: Any, wanted: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        choose_runtime(find_model(str(tiny_model)), "cpu", engine, wanted)


def test_openvino_is_for_cpus(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="`engine` openvino: runs on the CPU only, not on mps"):
        choose_runtime(find_model(str(tiny_model)), "mps", "openvino", "auto")


def test_without_openvino_torch_runs(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = find_model(str(tiny_model))
    monkeypatch.setattr(precision, "is_openvino_installed", lambda: False)
    assert choose_runtime(model, "cpu", "auto", "fp32").engine == "torch"
    with pytest.raises(InputError, match="`engine` openvino: not installed: pip install openvino"):
        choose_runtime(model, "cpu", "openvino", "auto")


def test_onnx_models_run_as_they_are(write_onnx: Callable[..., Path]) -> None:
    path = write_onnx(class_names=["background", "roof"], resolution=30)
    model = find_model(str(path))
    assert choose_runtime(model, "cpu", "auto", "auto") == RuntimeKind("cpu", "onnx", "fp32")
    for device, engine, wanted in (
        ("cpu", "torch", "auto"),
        ("cpu", "auto", "bf16"),
        ("cuda:0", "auto", "auto"),
    ):
        with pytest.raises(InputError, match="an ONNX model runs as it is, on the CPU"):
            choose_runtime(model, device, engine, wanted)  # type: ignore[arg-type]
