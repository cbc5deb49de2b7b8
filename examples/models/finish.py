"""Writes into a trained model's card what training cannot know: sources, known failures, scores measured afterwards.

    python finish.py MODEL FACTS.toml [SCORES.json ...] --out FOLDER

FACTS is default-facts.toml or another beside this file; each SCORES is what `geoseg evaluate MODEL DATA --json` printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.model.card import Card
from geoseg.model.folder import CARD

KEPT = ("config.json", "model.safetensors", "check.npy")
SCORES = ("iou", "precision", "recall", "footprint_f1", "count_error", "area_error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("facts", type=Path)
    parser.add_argument("scores", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (wanted.model / name).exists():
            shutil.copyfile(wanted.model / name, wanted.out / name)
    card = told(Card.read(wanted.model / CARD), tomllib.loads(wanted.facts.read_text(encoding="utf-8")))
    measured = {path.stem: json.loads(path.read_text()) for path in wanted.scores}
    metrics = {**card.metrics, **measured}
    (wanted.out / CARD).write_text(replace(card, metrics=metrics).to_json(), encoding="utf-8")


def told(card: Card, facts: dict[str, Any]) -> Card:
    return replace(
        card,
        patch=facts["patch"],
        sources=tuple(facts["sources"]),
        known_failures=tuple(facts["known_failures"]),
        training={**card.training, "commands": facts["commands"]},
    )


if __name__ == "__main__":
    main()
