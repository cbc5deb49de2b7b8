"""Faster arithmetic is taken only where it leaves the answers as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import photo
from runtimes import answer

from geoseg.errors import InputError
from geoseg.models import precision
from geoseg.models.backends.base import Backend, RuntimeKind
from geoseg.models.precision import (
    AnswerDifference,
    choose_runtime,
    find_difference,
    make_cache_path,
    measure_difference,
)
from geoseg.models.runtime import load_backend
from geoseg.models.store import CHECK_FILE, Model, find_model

Saver = Callable[..., Model]
BF16 = RuntimeKind("cpu", "torch", "bf16")
FP32 = RuntimeKind("cpu", "torch", "fp32")


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16, whatever this one has: torch can compute in it on any, if slowly."""
    pytest.importorskip("torch")
    for engine in ("torch", "openvino"):
        monkeypatch.setattr(load_backend(engine), "list_precisions", lambda _: ["bf16", "fp32"])


@pytest.fixture
def network(small_unet: Callable[..., Any]) -> Callable[[float, float], Any]:
    """A U-Net whose logits are multiplied, then moved."""
    torch = pytest.importorskip("torch")

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
    assert not measure_difference(touchy, BF16).is_small


@pytest.mark.usefixtures("both_precisions")
def test_without_check_patches_nothing_is_risked(saved: Saver, small_unet: Callable[..., Any]) -> None:
    assert choose_runtime(saved(small_unet()), "cpu", "torch", "auto") == FP32


@pytest.mark.usefixtures("both_precisions")
@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(touchy: Model, wanted: Any) -> None:
    assert choose_runtime(touchy, "cpu", "torch", wanted).precision == wanted


def has_bf16() -> bool:
    return "bf16" in load_backend("openvino").list_precisions("cpu")


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bf16")
def test_openvino_is_chosen_on_a_cpu_by_itself_and_judged_by_its_own_full_precision(
    network: Callable[[float, float], Any], saved: Saver
) -> None:
    steady = saved(network(0.1, 6.0), check=True)
    assert choose_runtime(steady, "cpu", "auto", "auto") == RuntimeKind("cpu", "openvino", "bf16")
    touchy = saved(network(300.0, 0.0), check=True)
    assert choose_runtime(touchy, "cpu", "auto", "auto") == RuntimeKind("cpu", "openvino", "fp32")


def test_full_precision_is_close_to_itself(touchy: Model) -> None:
    assert measure_difference(touchy, FP32) == AnswerDifference(0.0, 0.0)


def test_classes_are_compared_by_the_most_probable(saved: Saver, small_unet: Callable[..., Any]) -> None:
    model = saved(small_unet(classes=3), outputs=3, check=True)
    assert measure_difference(model, FP32) == AnswerDifference(0.0, 0.0)
    assert measure_difference(model, BF16).flipped_share > 0


@pytest.mark.parametrize(
    ("mean", "flipped", "enough"),
    [(0.002, 0.003, True), (0.0021, 0, False), (0, 0.0031, False), (float("nan"), 0, False)],
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
        ("onnx", "bf16", "`engine` onnx `precision` bf16: not possible on CPU"),
        ("torch", "fp16", "`engine` torch `precision` fp16: not possible on CPU"),
        ("openvino", "fp16", "`engine` openvino `precision` fp16: not possible on CPU"),
    ],
)
def test_what_cannot_be_had_is_refused(tiny_model: Path, engine: Any, wanted: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        choose_runtime(find_model(str(tiny_model)), "cpu", engine, wanted)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_onnx_files_are_for_cpus(tiny_model: Path, engine: Any) -> None:
    with pytest.raises(InputError, match=f"`engine` {engine}: runs on the CPU only, not on mps"):
        choose_runtime(find_model(str(tiny_model)), "mps", engine, "auto")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Play a machine where engines are not installed."""

    def forget(*engines: str) -> None:
        def load(engine: Any) -> Backend:
            if engine in engines:
                raise InputError(f"`engine` {engine}: not installed: pip install {engine}")
            return load_backend(engine)

        monkeypatch.setattr(precision, "load_backend", load)

    return forget


def test_the_fastest_engine_that_is_there_runs(tiny_model: Path, without: Callable[..., None]) -> None:
    model = find_model(str(tiny_model))
    without("openvino")
    assert choose_runtime(model, "cpu", "auto", "fp32").engine == "onnx"
    with pytest.raises(InputError, match="`engine` openvino: not installed: pip install openvino"):
        choose_runtime(model, "cpu", "openvino", "auto")
    without("openvino", "onnx")
    assert choose_runtime(model, "cpu", "auto", "fp32").engine == "torch"
    without("openvino", "onnx", "torch")
    with pytest.raises(InputError, match="`engine` openvino: not installed: pip install openvino"):
        choose_runtime(model, "cpu", "auto", "auto")


def test_a_network_that_cannot_be_converted_runs_in_torch(
    saved: Saver, small_unet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from geoseg.models import export

    def give_up(*_: object) -> None:
        raise RuntimeError("unknown operation")

    monkeypatch.setattr(export, "convert_network", give_up)
    model = saved(small_unet())
    assert choose_runtime(model, "cpu", "auto", "fp32").engine == "torch"
    with pytest.raises(InputError, match=r"torch cannot write this network as ONNX \(unknown operation\)"):
        choose_runtime(model, "cpu", "openvino", "fp32")


OnnxWriter = Callable[..., Path]
KEYS = {"class_names": ["background", "roof"], "resolution": 30}


def test_onnx_models_run_in_openvino(write_onnx: OnnxWriter) -> None:
    model = find_model(str(write_onnx(**KEYS)))
    assert choose_runtime(model, "cpu", "auto", "auto") == RuntimeKind("cpu", "openvino", "fp32")
    assert choose_runtime(model, "cpu", "onnx", "auto") == RuntimeKind("cpu", "onnx", "fp32")
    for device in ("cpu", "cuda:0"):
        with pytest.raises(InputError, match=r"model.onnx: an ONNX model runs on the CPU, and not in torch"):
            choose_runtime(model, device, "torch", "auto")


def test_onnx_models_that_openvino_cannot_read_run_in_onnxruntime(write_onnx: OnnxWriter) -> None:
    """Tossing a coin for each pixel is an operation that OpenVINO has not."""
    path = write_onnx(activation="Sigmoid", tail=[("Bernoulli", None)], **KEYS)
    model = find_model(str(path))
    assert choose_runtime(model, "cpu", "auto", "auto") == RuntimeKind("cpu", "onnx", "fp32")
    assert set(np.unique(answer(model, photo(64, 64)[None], "onnx"))) == {0, 1}
    with pytest.raises(InputError, match=r"model.onnx: OpenVINO cannot read it \("):
        choose_runtime(model, "cpu", "openvino", "auto")


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bf16")
@pytest.mark.parametrize(("weight", "expected"), [(0.1, "bf16"), (None, "fp32")])
def test_check_patches_beside_an_onnx_model_let_it_run_faster(
    write_onnx: OnnxWriter, weight: float | None, expected: str
) -> None:
    """One network is far from its threshold, the other often near it."""
    path = write_onnx(weight=weight, **KEYS)
    raw = np.random.default_rng(0).integers(120, 136, (2, 3, 64, 64)).astype(np.uint8)
    np.save(path.parent / CHECK_FILE, raw)
    assert choose_runtime(find_model(str(path)), "cpu", "auto", "auto").precision == expected


def test_check_patches_that_a_network_cannot_take_check_nothing(write_onnx: OnnxWriter) -> None:
    path = write_onnx(weight=0.1, side=96, **KEYS)
    np.save(path.parent / CHECK_FILE, photo(64, 64)[None])
    assert choose_runtime(find_model(str(path)), "cpu", "auto", "auto").precision == "fp32"
