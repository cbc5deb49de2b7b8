"""The card that an ONNX file brings along."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import card

from geoseg.errors import InputError
from geoseg.models.card import Scaling
from geoseg.models.onnx_card import make_metadata
from geoseg.models.store import CARD_FILE, find_model

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


def test_deepness_normalises_other_scales_to_the_same_inputs() -> None:
    other = card(scaling=Scaling(low=1000, high=9000, mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1)))
    keys = make_metadata(other)
    mean, std = (np.array(json.loads(keys[f"standardization_{name}"])) for name in ("mean", "std"))
    values = np.array([1000.0, 4321.0, 9000.0])
    expected = ((values - 1000) / 8000 - other.scaling.mean) / other.scaling.std
    np.testing.assert_allclose((values / 255 - mean) / std, expected, atol=1e-9)
