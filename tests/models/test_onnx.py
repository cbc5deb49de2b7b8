"""ONNX files of other programs against closed forms, and geoseg's own against torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import card, photo
from numpy.typing import NDArray

from geoseg.errors import GeosegError, InputError
from geoseg.models import export
from geoseg.models.backends.base import RawPatches, RuntimeKind
from geoseg.models.card import Scaling
from geoseg.models.export import export_onnx
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.onnx_file import make_metadata
from geoseg.models.runtime import open_runtime
from geoseg.models.store import CARD_FILE, Model, find_model

pytest.importorskip("onnxruntime")

OnnxWriter = Callable[..., Path]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
DEEPNESS = {
    "model_type": "Segmentor",
    "class_names": {"0": "background", "1": "roof"},
    "resolution": 20.0,
    "tiles_size": 64,
    "tiles_overlap": 10,
    "standardization_mean": MEAN,
    "standardization_std": STD,
    "seg_thresh": 0.4,
}
THREE = {**DEEPNESS, "class_names": {"2": "hall", "0": "ground", "1": "house"}}


def run(model: Model, raw: NDArray[Any], patch: int = 64) -> NDArray[Any]:
    patches = RawPatches(patch, str(raw.dtype), make_fixed_normalisation(model.card))
    answer = open_runtime(model, patches, RuntimeKind("cpu", "onnx", "fp32"))(torch.from_numpy(raw))
    assert answer.dtype == torch.float32
    return answer.numpy()


def closed_form(raw: NDArray[Any], outputs: int) -> NDArray[Any]:
    kernel = np.random.default_rng(3).normal(0, 2, (outputs, 3))
    inputs = (raw / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    logits = np.einsum("ob,nbrc->norc", kernel, inputs)
    exp = np.exp(logits)
    return exp / (1 + exp) if outputs == 1 else exp / exp.sum(1, keepdims=True)


@pytest.mark.parametrize("side", [64, None])
@pytest.mark.parametrize(("outputs", "activation"), [(1, "Sigmoid"), (1, None), (3, "Softmax"), (3, None)])
def test_files_of_other_programs_give_probabilities(
    write_onnx: OnnxWriter, outputs: int, activation: str | None, side: int | None
) -> None:
    keys = DEEPNESS if outputs == 1 else THREE
    path = write_onnx(outputs=outputs, activation=activation, side=side, **keys)
    raw = np.stack([photo(64, 64, seed=seed) for seed in range(2)])
    np.testing.assert_allclose(run(find_model(str(path)), raw), closed_form(raw, outputs), atol=1e-5)


def test_a_sigmoid_a_class_is_taken_as_it_is(write_onnx: OnnxWriter) -> None:
    answer = run(find_model(str(write_onnx(outputs=3, activation="Sigmoid", **THREE))), photo(64, 64)[None])
    assert not np.allclose(answer.sum(1), 1, atol=0.1)


def test_open_sizes_take_any_patch(write_onnx: OnnxWriter) -> None:
    raw = photo(96, 96)[None]
    model = find_model(str(write_onnx(activation="Sigmoid", **DEEPNESS)))
    np.testing.assert_allclose(run(model, raw, patch=96), closed_form(raw, 1), atol=1e-5)


def test_half_precision_inputs_are_fed(write_onnx: OnnxWriter) -> None:
    raw = photo(64, 64)[None]
    model = find_model(str(write_onnx(activation="Sigmoid", dtype=np.float16, **DEEPNESS)))
    np.testing.assert_allclose(run(model, raw), closed_form(raw, 1), atol=0.02)


def test_the_keys_of_deepness_amount_to_a_card(write_onnx: OnnxWriter) -> None:
    found = find_model(str(write_onnx("roofs.onnx", **DEEPNESS))).card
    assert found.name == "roofs"
    assert found.bands == ("red", "green", "blue")
    assert [entry.name for entry in found.classes] == ["background", "roof"]
    assert (found.gsd_m, found.gsd_range_m) == (0.2, (0.1, 0.4))
    assert (found.patch, found.activation, found.threshold) == (64, "sigmoid", 0.4)
    assert found.scaling == Scaling(mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("changes", "attribute", "expected"),
    [
        ({"class_names": b"{0: 'background', 1: 'roof'}"}, "class_channels", 1),
        ({"class_names": ["roof"]}, "class_channels", 1),
        ({"model_type": "segmentor"}, "class_channels", 1),
        ({"tiles_size": None, "tile_size": 128}, "patch", 128),
        ({"tiles_size": None}, "patch", 512),
        ({"tiles_size": None, "side": 96}, "patch", 96),
        ({"seg_thresh": None}, "threshold", 0.5),
    ],
)
def test_what_is_left_out_or_written_otherwise_is_understood(
    write_onnx: OnnxWriter, changes: dict[str, Any], attribute: str, expected: object
) -> None:
    keys = {name: value for name, value in {**DEEPNESS, **changes}.items() if value is not None}
    assert getattr(find_model(str(write_onnx(**keys))).card, attribute) == expected


def test_class_names_are_in_the_order_of_their_numbers(write_onnx: OnnxWriter) -> None:
    classes = find_model(str(write_onnx(outputs=3, **THREE))).card.classes
    assert [entry.name for entry in classes] == ["ground", "house", "hall"]


def test_a_card_beside_the_file_counts_more(write_onnx: OnnxWriter) -> None:
    path = write_onnx(activation="Sigmoid", **DEEPNESS)
    (path.parent / CARD_FILE).write_text(card(name="beside").to_json())
    assert find_model(str(path)).card.name == "beside"
    assert find_model(str(path.parent)).card.name == "beside"


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({}, "neither a card.json beside it nor metadata inside it"),
        ({"resolution": 20}, "neither a card.json beside it nor metadata"),
        ({**DEEPNESS, "model_type": "Detector"}, "it is a Detector, not a Segmentor"),
        ({**DEEPNESS, "class_names": b"{0: "}, "class_names is '{0: ', which is no JSON"),
        ({**DEEPNESS, "class_names": []}, "class_names holds no names"),
        ({**DEEPNESS, "class_names": {"a": "b"}}, "invalid literal"),
        ({**DEEPNESS, "resolution": b"fine"}, "resolution is 'fine', which is no JSON"),
        ({**DEEPNESS, "resolution": [1]}, "cannot be understood"),
        ({**DEEPNESS, "resolution": 0}, "gsd_m 0 is not within"),
        ({**DEEPNESS, "standardization_std": [0, 1, 1]}, "scaling.std must be above zero"),
        ({**DEEPNESS, "standardization_mean": [0.4, 0.5]}, "scaling.mean has 2 entries for 3 bands"),
        ({**DEEPNESS, "seg_thresh": 2}, "threshold 2 is not between"),
        ({**THREE, "class_names": {"0": "a", "1": "b"}, "outputs": 3}, "2 class names for 3 channels"),
        ({**DEEPNESS, "open_bands": True}, "leaves open how many bands it takes or how many classes"),
        ({**DEEPNESS, "batch": 4}, "takes 4 patches at a time"),
        ({"geoseg_card": {}}, "not a usable model card: name is missing"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused_in_one_line(
    write_onnx: OnnxWriter, keys: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=f"model.onnx: .*{complaint}") as caught:
        find_model(str(write_onnx(**keys)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "changes", "complaint"),
    [
        ({"bands": 4}, {}, "takes 4 bands, but its card names 3"),
        ({"side": 32}, {}, "takes patches of 32 pixels only; use `patch` 32"),
        ({"outputs": 3}, {}, r"with 3 x 64 x 64 values .* but its card wants 1 x 64 x 64"),
        ({"batch": 2}, {}, "takes 2 patches at a time; export it for a batch of 1"),
    ],
)
def test_a_file_that_its_card_does_not_fit_is_refused(
    write_onnx: OnnxWriter, network: dict[str, Any], changes: dict[str, Any], complaint: str
) -> None:
    path = write_onnx(**network)
    (path.parent / CARD_FILE).write_text(card(**changes).to_json())
    with pytest.raises(InputError, match=complaint):
        run(find_model(str(path)), photo(64, 64)[None])


@pytest.mark.parametrize("content", [b"", b"not onnx at all"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"model.onnx: not an ONNX model that can be read"):
        find_model(str(tmp_path / "model.onnx"))


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    return path, export_onnx(find_model(str(tiny_model)), path)


def test_an_exported_model_answers_as_torch_does(tiny_model: Path, exported: tuple[Path, float]) -> None:
    path, difference = exported
    assert difference < 1e-5
    model, other = find_model(str(tiny_model)), find_model(str(path))
    raw = np.stack([photo(64, 64, seed=seed) for seed in (7, 8)])
    patches = RawPatches(64, "uint8", make_fixed_normalisation(model.card))
    expected = open_runtime(model, patches, RuntimeKind("cpu", "torch", "fp32"))(torch.from_numpy(raw))
    np.testing.assert_allclose(run(other, raw), expected.numpy(), atol=1e-5)


def test_an_exported_model_brings_its_card_along(tiny_model: Path, exported: tuple[Path, float]) -> None:
    original = find_model(str(tiny_model)).card
    assert find_model(str(exported[0])).card == card(name=original.name, weights_sha256="")
    assert [path.name for path in exported[0].parent.iterdir()] == ["tiny.onnx"]


def test_an_exported_model_says_to_deepness_what_it_needs(exported: tuple[Path, float]) -> None:
    import onnx

    keys = {prop.key: prop.value for prop in onnx.load(exported[0]).metadata_props}
    told = {name: json.loads(value) for name, value in keys.items()}
    assert told["model_type"] == "Segmentor"
    assert told["class_names"] == {"0": "background", "1": "building"}
    assert told["resolution"] == pytest.approx(30)
    assert told["tiles_size"] == told["tile_size"] == 64
    assert told["seg_thresh"] == 0.5
    np.testing.assert_allclose(told["standardization_mean"], [0.4] * 3)
    np.testing.assert_allclose(told["standardization_std"], [0.2] * 3)


def test_deepness_normalises_other_scales_to_the_same_inputs() -> None:
    other = card(scaling=Scaling(low=1000, high=9000, mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1)))
    keys = make_metadata(other)
    mean, std = (np.array(json.loads(keys[f"standardization_{name}"])) for name in ("mean", "std"))
    values = np.array([1000.0, 4321.0, 9000.0])
    expected = ((values - 1000) / 8000 - other.scaling.mean) / other.scaling.std
    np.testing.assert_allclose((values / 255 - mean) / std, expected, atol=1e-9)


def test_an_export_that_answers_otherwise_is_not_kept(
    exported: tuple[Path, float],
    small_unet: Callable[..., Any],
    saved: Callable[..., Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exporter that errs is played by one that writes another network."""
    monkeypatch.setattr(export, "write_onnx", lambda *written: shutil.copy(exported[0], written[-1]))
    model = saved(small_unet())
    with pytest.raises(GeosegError, match=r"other.onnx: not written, since its answers differ .* by 0\.\d+"):
        export_onnx(model, tmp_path / "other.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_exports_that_cannot_be_are_refused(
    tiny_model: Path, exported: tuple[Path, float], tmp_path: Path
) -> None:
    model = find_model(str(tiny_model))
    with pytest.raises(InputError, match="exists already; use `overwrite`"):
        export_onnx(model, exported[0])
    with pytest.raises(InputError, match=r"give a name that ends in .onnx"):
        export_onnx(model, tmp_path / "model.pt")
    with pytest.raises(InputError, match="missing does not exist"):
        export_onnx(model, tmp_path / "missing" / "model.onnx")
    with pytest.raises(InputError, match="is an ONNX model already"):
        export_onnx(find_model(str(exported[0])), tmp_path / "again.onnx")
