"""What files of other programs answer, against closed forms: their activation is applied once, inside or outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import card, photo
from numpy.typing import NDArray
from runtimes import answer

from geoseg.errors import InputError
from geoseg.models.backends.base import Engine
from geoseg.models.store import CARD_FILE, find_model

pytest.importorskip("onnxruntime")

OnnxWriter = Callable[..., Path]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
KEYS = {
    "model_type": "Segmentor",
    "class_names": {"0": "background", "1": "roof"},
    "resolution": 20.0,
    "tiles_size": 64,
    "standardization_mean": MEAN,
    "standardization_std": STD,
}
THREE = {**KEYS, "class_names": {"2": "hall", "0": "ground", "1": "house"}}


@pytest.fixture(params=["openvino", "onnx"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    return request.param  # type: ignore[no-any-return]


def closed_form(raw: NDArray[Any], outputs: int) -> NDArray[Any]:
    kernel = np.random.default_rng(3).normal(0, 2, (outputs, 3))
    inputs = (raw / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    logits = np.einsum("ob,nbrc->norc", kernel, inputs)
    exp = np.exp(logits)
    return exp / (1 + exp) if outputs == 1 else exp / exp.sum(1, keepdims=True)


@pytest.mark.parametrize("side", [64, None])
@pytest.mark.parametrize(("outputs", "activation"), [(1, "Sigmoid"), (1, None), (3, "Softmax"), (3, None)])
def test_files_of_other_programs_give_probabilities(
    write_onnx: OnnxWriter, outputs: int, activation: str | None, side: int | None, engine: Engine
) -> None:
    keys = KEYS if outputs == 1 else THREE
    path = write_onnx(outputs=outputs, activation=activation, side=side, **keys)
    raw = np.stack([photo(64, 64, seed=seed) for seed in range(2)])
    np.testing.assert_allclose(
        answer(find_model(str(path)), raw, engine), closed_form(raw, outputs), atol=1e-5
    )


@pytest.mark.parametrize(
    "tail",
    [
        [("Identity", None)],
        [
            ("Mul", 1.0000002)
        ],  # as rounding does: a seventeenth of random networks answer 1.0000001 in onnxruntime
        [("Add", 2e-5)],
    ],
)
def test_a_sigmoid_inside_that_answers_a_little_over_one_gets_no_second(
    write_onnx: OnnxWriter, tail: Sequence[tuple[str, float | None]], engine: Engine
) -> None:
    path = write_onnx(activation="Sigmoid", weight=60.0, tail=tail, **KEYS)
    raw = photo(64, 64)[None]
    raw[..., :32] = 0  # surely no roof
    found = answer(find_model(str(path)), raw, engine)
    assert found.max() == 1
    assert found.min() < 0.01
    assert set(np.round(np.unique(found))) == {0, 1}


@pytest.mark.parametrize("tail", [[], [("Mul", 1.0)], [("Identity", None)]])
def test_logits_get_their_sigmoid_whatever_comes_last(
    write_onnx: OnnxWriter, tail: Sequence[tuple[str, float | None]], engine: Engine
) -> None:
    raw = photo(64, 64)[None]
    found = answer(find_model(str(write_onnx(tail=tail, **KEYS))), raw, engine)
    np.testing.assert_allclose(found, closed_form(raw, 1), atol=1e-5)


def test_logits_of_a_network_that_is_unsure_are_not_taken_for_probabilities(
    write_onnx: OnnxWriter, engine: Engine
) -> None:
    """All of them lie near zero; that a convolution comes last tells what they are."""
    found = answer(find_model(str(write_onnx(weight=1e-6, **KEYS))), photo(64, 64)[None], engine)
    np.testing.assert_allclose(found, 0.5, atol=1e-4)


def test_a_sigmoid_a_class_is_taken_as_it_is(write_onnx: OnnxWriter, engine: Engine) -> None:
    path = write_onnx(outputs=3, activation="Sigmoid", **THREE)
    found = answer(find_model(str(path)), photo(64, 64)[None], engine)
    assert not np.allclose(found.sum(1), 1, atol=0.1)


def test_open_sizes_take_any_patch(write_onnx: OnnxWriter, engine: Engine) -> None:
    raw = photo(96, 96)[None]
    model = find_model(str(write_onnx(activation="Sigmoid", **KEYS)))
    np.testing.assert_allclose(answer(model, raw, engine), closed_form(raw, 1), atol=1e-5)


def test_half_precision_inputs_are_fed(write_onnx: OnnxWriter, engine: Engine) -> None:
    raw = photo(64, 64)[None]
    model = find_model(str(write_onnx(activation="Sigmoid", dtype=np.float16, **KEYS)))
    found = answer(model, raw, engine)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, closed_form(raw, 1), atol=0.02)


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
    write_onnx: OnnxWriter, network: dict[str, Any], changes: dict[str, Any], complaint: str, engine: Engine
) -> None:
    path = write_onnx(**network)
    (path.parent / CARD_FILE).write_text(card(**changes).to_json())
    with pytest.raises(InputError, match=complaint):
        answer(find_model(str(path)), photo(64, 64)[None], engine)


def test_a_size_that_a_network_cannot_take_is_refused(write_onnx: OnnxWriter, engine: Engine) -> None:
    path = write_onnx(tail=[("Add", np.zeros((1, 1, 64, 64)))], **KEYS)
    model = find_model(str(path))
    np.testing.assert_allclose(answer(model, photo(64, 64)[None], engine).shape, (1, 1, 64, 64))
    with pytest.raises(
        InputError, match=r"model.onnx: cannot be run on a patch of 96 .*; try another `patch`"
    ):
        answer(model, photo(96, 96)[None], engine)
