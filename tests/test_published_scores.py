"""Scores of models that are published come from the published files, by one script and by geoseg's own command."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from documents import ROOT
from scipy import ndimage
from squares import array_set, quick

from geoseg.cli.main import geoseg as command_line
from geoseg.datasets.schema import write_dataset
from geoseg.errors import InputError
from geoseg.models.card import Card
from geoseg.models.store import CARD_FILE, CHECK_FILE, ONNX_FILE, WEIGHTS_FILE, find_model
from geoseg.training.trainer import train_model

SCRIPTS = ROOT / "examples" / "models"
FACTS: dict[str, Any] = {
    "patch": 64, "gsd_range_m": [0.2, 0.5], "sources": [], "known_failures": ["all"], "commands": [], "data": "squares",
    "checked_on_drawn_scenes": True, "scores": [{"place": "c", "split": "validation"}, {"place": "a", "split": "train"}],
}  # fmt: skip


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"model_{name}", SCRIPTS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCORE, FINISH = load_script("score"), load_script("finish")
FINISH.DRAWN, FINISH.SIDE = 10, 64


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three outputs: building, boundary and distance, finished as the built-in ones are; its data beside it."""
    folder = tmp_path_factory.mktemp("published")
    dataset = array_set(folder / "data", side=96)
    for item in dataset.items:
        numbers, _ = ndimage.label(np.load(folder / "data" / item.label))
        np.save(folder / "data" / f"{item.place}-numbers.npy", numbers.astype(np.int32))
    items = tuple(replace(item, buildings=f"{item.place}-numbers.npy") for item in dataset.items)
    write_dataset(replace(dataset, items=items), folder / "data")
    settings = quick(steps=30, learning_rate=1e-2, validate_every=15, half_weights=True, name="squares")
    assert train_model(folder / "data", folder / "run", settings)
    FINISH.finish(folder / "run", FACTS, folder / "released")
    return folder


def evaluate(*words: object) -> Any:
    done = CliRunner().invoke(command_line, ["evaluate", *map(str, words), "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_scores_are_those_of_the_commands_that_the_card_tells(published: Path) -> None:
    released, data = published / "released", published / "data"
    assert find_model(str(released)).card.outputs == ("building", "boundary", "distance")
    SCORE.score(released, FACTS, data)
    card = Card.read(released / CARD_FILE)
    measured, circumstances = card.metrics[SCORE.MEASURED], card.metrics[SCORE.MEASURED_WITH]
    assert circumstances["commands"] == [
        "geoseg evaluate squares squares --split validation --place c",
        "geoseg evaluate squares squares --split train --place a",
    ]
    for command, place in zip(circumstances["commands"], ("c", "a"), strict=True):
        found = evaluate(released, data, *command.split()[4:])["classes"][1]
        for name in SCORE.SCORES:
            value = measured[place]["building"][name][0]
            assert value == (None if found[name]["value"] is None else round(found[name]["value"], 3))
    assert measured["c"]["building"]["iou"][0] > 0.5
    assert circumstances["weights_sha256"] == find_model(str(released)).weights_sha256


def test_measuring_twice_writes_the_same_card(published: Path) -> None:
    released = published / "released"
    facts = {**FACTS, "scores": FACTS["scores"][:1]}
    first = SCORE.score(released, facts, published / "data")
    text = (released / CARD_FILE).read_text()
    assert SCORE.score(released, facts, published / "data") == first
    assert (released / CARD_FILE).read_text() == text


def test_a_finished_model_has_all_files_and_the_hardest_patches(published: Path) -> None:
    released = published / "released"
    names = {CARD_FILE, CHECK_FILE, ONNX_FILE, WEIGHTS_FILE, "config.json"}
    assert {path.name for path in released.iterdir()} == names
    model = find_model(str(released))
    assert model.card.known_failures == ("all",)
    drawn = FINISH.draw_patches(12)
    chosen = FINISH.choose_hardest(model, drawn)
    assert chosen.shape == (FINISH.CHECKED, 3, FINISH.SIDE, FINISH.SIDE)
    assert {patch.tobytes() for patch in chosen} <= {patch.tobytes() for patch in drawn}


@pytest.mark.parametrize("name", ["default", "sentinel2-builtup"])
def test_scores_on_a_built_in_card_are_of_its_own_weights(name: str) -> None:
    """Cards older than the script do not say what they were measured with."""
    model = find_model(name)
    with_what = model.card.metrics.get(SCORE.MEASURED_WITH)
    if with_what is None:
        pytest.skip("the card was written before examples/models/score.py")
    assert with_what["weights_sha256"] == model.card.weights_sha256


def test_a_place_that_is_not_there_ends_the_script(published: Path) -> None:
    facts = {**FACTS, "scores": [{"place": "atlantis", "split": "validation"}]}
    before = (published / "released" / CARD_FILE).read_text()
    with pytest.raises(InputError, match="atlantis"):
        SCORE.score(published / "released", facts, published / "data")
    assert (published / "released" / CARD_FILE).read_text() == before


def test_facts_without_places_are_refused(published: Path) -> None:
    with pytest.raises(InputError, match=r"list no \[\[scores\]\]"):
        SCORE.score(published / "released", {}, published / "data")


def test_a_model_that_is_not_finished_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FINISH.finish(tmp_path, FACTS, tmp_path / "out")
