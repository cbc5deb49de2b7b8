"""Pictures of what a network is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.bandnames import shown
from geoseg.learn.patches.augment import RECIPES
from geoseg.learn.patches.batches import Ready, batches
from geoseg.learn.training.run import Run
from geoseg.model.card import Card

SHOWN = 8
GAP = 4


def show_samples(run: Run, path: Path) -> None:
    """Write a picture of patches as they are, and below them as each preset varies them, labels tinted in."""
    patches = run.patches()
    rows = []
    for recipe in RECIPES.values():
        dataset = run.patch_dataset(replace(patches, recipe=recipe))
        batch = next(batches(dataset, [range(SHOWN)], 0, torch.device("cpu")))
        ready = run.transform(recipe)(batch)
        rows.append(np.concatenate([framed(picture) for picture in tinted(ready, run.card)], axis=1))
    save_picture(path, np.concatenate(rows))


def tinted(ready: Ready, card: Card) -> list[NDArray[np.uint8]]:
    """Patches as a person sees them, each class but the first in its colour, unknown ground darkened."""
    inputs = visible(ready.inputs, card)
    colors = torch.tensor([each.rgb for each in card.classes] + [(0, 0, 0)]) / 255
    labels = torch.where(ready.labels < len(card.classes), ready.labels, len(card.classes)).long()
    tint = colors[labels].movedim(-1, 1)
    mixed = torch.where((labels > 0)[:, None], inputs * 0.65 + tint * 0.35, inputs)
    return [np.asarray((one.clamp(0, 1) * 255).byte().movedim(0, -1).numpy()) for one in mixed]


def visible(inputs: Tensor, card: Card) -> Tensor:
    """Red, green and blue of network inputs as they were before they were normalised."""
    bands = inputs.shape[1]
    mean, std = (
        torch.tensor([values[i % len(values)] for i in range(bands)]).view(1, -1, 1, 1)
        for values in (card.scaling.mean, card.scaling.std)
    )
    return (inputs * std + mean)[:, list(shown(card.bands))]


def framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with white beside and below it."""
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def save_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    Image.fromarray(picture).save(unfinished, format="PNG")
    unfinished.replace(path)
