from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made import card

from geoseg.errors import InputError
from geoseg.models.card import Card, Scaling
from geoseg.raster.palette import ClassEntry

FULL = card(
    description="Buildings from aerial photographs.",
    classes=(
        ClassEntry("background", "#000000"),
        ClassEntry("house", "#E4572E"),
        ClassEntry("hall", "#4c9f70"),
    ),
    activation="softmax",
    threshold=0.4,
    min_area_m2=10.0,
    licence="CC-BY-4.0",
    sources=({"name": "Example towns", "licence": "CC-BY-4.0", "attribution": "© Example"},),
    metrics={"iou": 0.81, "places": {"Town": 0.8}},
    calibration={"temperature": 1.2},
    training={"epochs": 20},
    weights_sha256="0" * 64,
)


def written(**changes: Any) -> str:
    raw = json.loads(card().to_json())
    raw.update(changes)
    return json.dumps({name: value for name, value in raw.items() if value is not ...})


def scaled(**changes: Any) -> dict[str, Any]:
    return {"low": 0, "high": 255, **changes}


@pytest.mark.parametrize("original", [card(), FULL])
def test_a_card_survives_being_written(original: Card, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(original.to_json(), encoding="utf-8")
    assert Card.read(path) == original


def test_five_fields_make_a_card() -> None:
    raw = {
        "name": "roofs",
        "bands": ["red"],
        "classes": [{"name": "background", "color": "#000000"}, {"name": "roof", "color": "#ff0000"}],
        "gsd_m": 1,
        "gsd_range_m": [1, 2],
    }
    short = Card.parse(json.dumps(raw), "card.json")
    assert short.scaling == Scaling()
    assert short.class_channels == 1
    assert short.gsd_m == 1.0
    assert short.classes[1].rgb == (255, 0, 0)


def test_a_network_has_a_channel_a_class_or_one() -> None:
    assert card().class_channels == 1
    assert FULL.class_channels == 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Expecting value"),
        ("[]", r"the document is '\[\]', not an object"),
        ("null", "not an object"),
        (written(name=...), "name is missing"),
        (written(bands=...), "bands is missing"),
        (written(classes=...), "classes is missing"),
        (written(gsd_m=...), "gsd_m is missing"),
        (written(gsd_range_m=...), "gsd_range_m is missing"),
        (written(gds_m=1), "unknown field 'gds_m'; known are activation, bands"),
        (written(scaling=scaled(mode="x")), "unknown field 'scaling.mode'"),
        (written(classes=[{"name": "a", "colour": "#000000"}]), r"unknown field 'classes\[0\].colour'"),
        (written(classes=[{"name": "a"}]), r"classes\[0\].color is missing"),
        (written(name=3), "name is '3', not text"),
        (written(bands="rgb"), "bands is 'rgb', not a list"),
        (written(bands=[1, 2, 3]), r"bands\[0\] is '1', not text"),
        (written(bands=[]), "bands is empty"),
        (written(classes={"0": "a"}), "classes is .* not a list"),
        (written(classes=["a", "b"]), r"classes\[0\] is 'a', not an object"),
        (written(classes=[{"name": "a", "color": "#000000"}]), "at least two"),
        (written(classes=[{"name": f"c{i}", "color": "#000000"} for i in range(256)]), "a mask holds 255"),
        (written(classes=[{"name": "a", "color": "#000000"}] * 2), "two of the same name"),
        (written(classes=[{"name": " ", "color": "#000000"}] * 2), "has no name"),
        (written(classes=[{"name": "a", "color": "red"}] * 2), "colour 'red' is not written like"),
        (written(classes=[{"name": "a", "color": 7}] * 2), r"classes\[0\].color is '7', not text"),
        (written(gsd_m="0.3"), "gsd_m is '0.3', not a number"),
        (written(gsd_m=True), "gsd_m is 'True', not a number"),
        (written(gsd_m=0), "gsd_m 0 is not within"),
        (written(gsd_m=float("nan")), "gsd_m is nan"),
        (written(gsd_m=9), "gsd_m 9 is not within gsd_range_m, 0.15 to 0.6"),
        (written(gsd_range_m=[0.1]), "gsd_range_m has 1 entries, not 2"),
        (written(gsd_range_m=0.3), "gsd_range_m is '0.3', not a list"),
        (written(gsd_range_m=[0.1, float("inf")]), r"gsd_range_m\[1\] is inf"),
        (written(patch="512"), "patch is '512', not a whole number"),
        (written(patch=64.5), "patch is '64.5', not a whole number"),
        (written(patch=0), "patch 0 is no size"),
        (written(activation="relu"), "activation is 'relu', not sigmoid or softmax"),
        (written(activation=None), "activation is None"),
        (written(classes=[{"name": n, "color": "#000000"} for n in "abc"]), "sigmoid needs two classes"),
        (written(threshold="half"), "threshold is 'half', not a number"),
        (written(threshold=1), "threshold 1 is not between 0 and 1"),
        (written(min_area_m2=-1), "min_area_m2 -1 is below zero"),
        (written(licence=None), "licence is 'None', not text"),
        (written(sources={"name": "x"}), "sources is .* not a list"),
        (written(sources=["x"]), r"sources\[0\] is 'x', not an object"),
        (written(metrics=[1]), "metrics is .* not an object"),
        (written(weights_sha256="abc"), "weights_sha256 'abc' is not 64"),
        (written(scaling=[0, 255]), "scaling is .* not an object"),
        (written(scaling=scaled(low=255)), "from 255 to 255 leaves no range"),
        (written(scaling=scaled(high="255")), "scaling.high is '255', not a number"),
        (written(scaling=scaled(mean=0.4)), "scaling.mean is '0.4', not a list"),
        (written(scaling=scaled(mean=[0.4, 0.4])), "scaling.mean has 2 entries for 3 bands"),
        (written(scaling=scaled(std=[1, 1, 1, 1])), "scaling.std has 4 entries for 3 bands"),
        (written(scaling=scaled(std=[0, 1, 1])), "scaling.std must be above zero"),
        (written(scaling=scaled(mean=["a"])), r"scaling.mean\[0\] is 'a', not a number"),
        (written(scaling=scaled(stretch="sometimes")), "scaling.stretch is 'sometimes', not never or"),
        (written(scaling=scaled(percentiles=[99, 1])), "scaling.percentiles .* not rising"),
        (written(scaling=scaled(percentiles=[1, 101])), "scaling.percentiles"),
        (written(scaling=scaled(percentiles=[2])), "scaling.percentiles has 1 entries, not 2"),
        (written(name="\ud800"), r"it holds half of a character, '\\ud800'"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_used_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        Card.parse(text, "models/mine/card.json")
    assert str(caught.value).startswith("models/mine/card.json: not a usable model card: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_card_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"card.json: the model card cannot be read"):
        Card.read(path)


def test_cards_made_in_python_check_themselves() -> None:
    with pytest.raises(InputError, match="activation is 'tanh'"):
        card(activation="tanh")
    with pytest.raises(InputError, match="leaves no range"):
        Scaling(low=float("nan"))
    with pytest.raises(InputError, match="above zero"):
        Scaling(std=(float("nan"),))
