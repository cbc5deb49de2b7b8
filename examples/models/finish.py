"""Writes into a trained model's card what training cannot know: sources, known failures, scores measured afterwards.

    python finish.py MODEL FACTS.toml [SCORES.json ...] --out FOLDER

The patches on which geoseg tries faster arithmetic are drawn ones, for photographs of others are not ours to hand on.
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

import numpy as np

from geoseg.models.card import Card
from geoseg.models.export import write_model_onnx
from geoseg.models.store import CARD_FILE, CHECK_FILE, ONNX_FILE, find_model
from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo

KEPT = ("config.json", "model.safetensors")
SCORES = ("iou", "precision", "recall", "boundary_iou", "footprint_f1", "count_error", "area_error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("facts", type=Path)
    parser.add_argument("scores", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    facts = tomllib.loads(wanted.facts.read_text(encoding="utf-8"))
    for name in KEPT:
        if (wanted.model / name).exists():
            shutil.copyfile(wanted.model / name, wanted.out / name)
    if facts.get("checked_on_drawn_scenes"):
        np.save(
            wanted.out / CHECK_FILE,
            np.stack([render_photo(Layout(seed), Window(0, 0, 256, 256)) for seed in range(4)]),
        )
    card = told(Card.read(wanted.model / CARD_FILE), facts)
    measured = {path.stem: measures(json.loads(path.read_text())) for path in wanted.scores}
    metrics = {**card.metrics, "measured afterwards (value, and 95 % interval over tiles)": measured}
    (wanted.out / CARD_FILE).write_text(replace(card, metrics=metrics).to_json(), encoding="utf-8")
    write_model_onnx(find_model(str(wanted.out)), wanted.out / ONNX_FILE)


def measures(evaluation: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """What counts of an evaluation, for each class but the first: value, low, high."""
    return {
        each["name"]: {
            score: [round(each[score][end], 3) for end in ("value", "low", "high")]
            for score in SCORES
            if score in each
        }
        for each in evaluation["classes"][1:]
    }


def told(card: Card, facts: dict[str, Any]) -> Card:
    return replace(
        card,
        patch=facts["patch"],
        gsd_range_m=tuple(facts["gsd_range_m"]),
        sources=tuple(facts["sources"]),
        known_failures=tuple(facts["known_failures"]),
        training={**card.training, "commands": facts["commands"]},
    )


if __name__ == "__main__":
    main()
