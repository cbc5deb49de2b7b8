"""Writes into a trained model's card what training cannot know: sources and known failures. `score.py` then measures it.

    python finish.py MODEL FACTS.toml --out FOLDER

The patches on which geoseg tries faster arithmetic are drawn ones, for photographs of others are not ours to hand on: of many
those of which the model is least sure. FACTS is default-facts.toml or another beside this file.
"""

from __future__ import annotations

import argparse
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.models.backends.base import RawPatches, RuntimeKind
from geoseg.models.card import Card
from geoseg.models.export import write_model_onnx
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import open_runtime
from geoseg.models.store import CARD_FILE, CHECK_FILE, ONNX_FILE, Model, find_model
from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo
from geoseg.training.tuning import DOUBT

KEPT = ("config.json", "model.safetensors")
SIDE = 256
DRAWN, CHECKED = 48, 8
"""Patches drawn, and kept: the eight hardest of 48 are as hard as dense quarters of Accra (bf16 moved 0.5 % of the second
default's pixels on them, 0.3 % on the eight hardest of 24 pieces of Accra, and 0.08 % on four patches that were not chosen)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    finish(wanted.model, tomllib.loads(wanted.facts.read_text(encoding="utf-8")), wanted.out)


def finish(model: Path, facts: dict[str, Any], out: Path) -> None:
    """Write the folder that is published."""
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(model / name, out / name)
    card = told(Card.read(model / CARD_FILE), facts)
    (out / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
    published = find_model(str(out))
    write_model_onnx(published, out / ONNX_FILE)
    if facts.get("checked_on_drawn_scenes"):
        np.save(out / CHECK_FILE, choose_hardest(find_model(str(out)), draw_patches(DRAWN)))


def draw_patches(count: int) -> NDArray[np.uint8]:
    return np.stack([render_photo(Layout(seed), Window(0, 0, SIDE, SIDE)) for seed in range(count)])


def choose_hardest(model: Model, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The patches with most pixels that are close to being of the other class."""
    look = RawPatches(patches.shape[-1], str(patches.dtype), make_fixed_normalisation(model.card))
    runtime = open_runtime(model, look, RuntimeKind("cpu", "torch", "fp32"))
    device = runtime.device
    seen = [device.download(runtime(device.upload(patch[None])))()[0, 0] for patch in patches]
    doubt = [float((np.abs(each - model.card.threshold) < DOUBT).mean()) for each in seen]
    return patches[np.sort(np.argsort(doubt)[::-1][:CHECKED])]


def told(card: Card, facts: dict[str, Any]) -> Card:
    return replace(
        card,
        patch=facts["patch"],
        gsd_range_m=tuple(facts["gsd_range_m"]),
        min_area_m2=facts.get("min_area_m2", card.min_area_m2),
        sources=tuple(facts["sources"]),
        known_failures=tuple(facts["known_failures"]),
        training={**card.training, "commands": facts["commands"]},
    )


if __name__ == "__main__":
    main()
