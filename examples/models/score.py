"""Measures a model that is to be published, and writes its scores into its card: no score gets there in another way.

    python score.py MODEL FACTS.toml DATA

MODEL is the folder that is published, as `finish.py` wrote it. FACTS lists the places below `[[scores]]`, each with its `split` of
the data set DATA. The commands that say the same, and the checksum of the weights, go into the card as well.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import geoseg
from geoseg.models.card import Card
from geoseg.models.store import CARD_FILE

SCORES = ("iou", "precision", "recall", "boundary_iou", "footprint_f1", "count_error", "area_error", "ece")
MEASURED = "measured afterwards (value, and 95 % interval over tiles)"
MEASURED_WITH = "measured with"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("facts", type=Path)
    parser.add_argument("data", type=Path)
    wanted = parser.parse_args()
    facts = tomllib.loads(wanted.facts.read_text(encoding="utf-8"))
    try:
        print(json.dumps(score(wanted.model, facts, wanted.data), indent=1))
    except geoseg.GeosegError as error:
        sys.exit(str(error))


def score(folder: Path, facts: dict[str, Any], data: Path) -> dict[str, Any]:
    """Measure a model in the places of its facts, and write that into its card."""
    path = folder / CARD_FILE
    card = Card.read(path)
    rows = facts.get("scores")
    if not rows:
        raise geoseg.InputError(f"{folder}: its facts list no [[scores]] to measure")
    measured = {row["place"]: pick_scores(evaluate(folder, data, row)) for row in rows}
    circumstances = {
        "geoseg": geoseg.__version__,
        "weights_sha256": card.weights_sha256,
        "commands": [describe(row, facts, card) for row in rows],
    }
    metrics = {**card.metrics, MEASURED: measured, MEASURED_WITH: circumstances}
    path.write_text(replace(card, metrics=metrics).to_json(), encoding="utf-8")
    return measured


def evaluate(model: Path, data: Path, row: dict[str, str]) -> dict[str, Any]:
    """What `geoseg evaluate --json` says of a model in a place."""
    return geoseg.evaluate(str(model), str(data), split=row["split"], places=[row["place"]]).summary


def describe(row: dict[str, str], facts: dict[str, Any], card: Card) -> str:
    """The command that says the same, with the names of the model and of the data set."""
    data = facts.get("data", "data")
    words = ["geoseg", "evaluate", card.name, data, "--split", row["split"], "--place", row["place"]]
    return shlex.join(words)


def pick_scores(evaluation: dict[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """What counts of an evaluation, for each class but the first: value, low, high; null where there is no interval."""
    return {
        each["name"]: {
            name: [round_known(each[name][end]) for end in ("value", "low", "high")]
            for name in SCORES
            if name in each
        }
        for each in evaluation["classes"][1:]
    }


def round_known(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


if __name__ == "__main__":
    main()
