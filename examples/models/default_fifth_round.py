"""Makes the training set of the fifth round: large halls, drawn over ground without a building, and a second look from afar.

    python default_fifth_round.py SECOND_MODEL FOURTH_MODEL FOURTH_ROUND OUT

The fourth model took large white roofs for parking lots: nearly all it had learnt of wide, bright, flat ground was that nobody
lives there, and its pieces of halls were left unknown because the models did not agree. Now American pieces are labelled again
with the fourth model's look at half the resolution beside the other two, where a hall is as large as a house; and halls with
panels, seams, skylights and shadows are drawn over parking lots, crossings and fields. What people drew stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from default_fourth_round import AT_LEAST, BUILDING, NOTHING, VIEWS, paths_of
from default_second_round import Seer
from default_third_round import UNKNOWN
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from geoseg.datasets.schema import Item, read_dataset, write_dataset
from geoseg.models.store import find_model

SHARES = {"halls": 7, "us-buildings": 8, "us-parkinglot": 1, "us-airplane": 1}
"""What changes against the fourth round's shares."""
HALLS, SIDE = 160, 512
GROUNDS = {
    "no-parkinglot": 4, "no-intersection": 1, "no-freeway": 1, "no-overpass": 1, "no-agricultural": 1, "no-golfcourse": 1,
}  # fmt: skip
"""What halls are drawn over, and how often each piece lies in the bag: most stand beside parked cars."""
TONES = {
    (246, 247, 250): 5, (222, 224, 228): 3, (180, 180, 182): 2, (130, 128, 126): 2, (84, 84, 90): 1.5,
    (205, 84, 58): 1.5, (150, 74, 60): 1, (120, 140, 170): 1, (196, 178, 150): 1.5,
}  # fmt: skip
"""Colours of halls and how often they come: white sheet most of all, for that is what was missed."""
AFAR = 0.7
"""How sure the look from afar must be where the look from near sees nothing."""


def main(models: Sequence[str], fourth_round: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    fourth, seers = read_dataset(fourth_round), [Seer(find_model(name)) for name in models]
    items = [replace(item, **paths_of(item, fourth_round)) for item in fourth.items]
    items = [
        relabel(item, seers, out) if item.place in ("us-buildings", "us-parkinglot") else item
        for item in items
    ]
    items += draw_halls([item for item in items for _ in range(GROUNDS.get(item.place, 0))], out)
    shared = [replace(item, weight=SHARES.get(item.place, item.weight)) for item in items]
    write_dataset(replace(fourth, items=tuple(shared), folder=out), out)


def relabel(item: Item, seers: Sequence[Seer], out: Path) -> Item:
    label = out / f"{Path(item.image).stem}-afar.npy"
    np.save(label, agree(np.load(item.image), *seers))
    return replace(item, label=label.name)


def agree(values: NDArray[np.uint8], second: Seer, fourth: Seer) -> NDArray[np.uint8]:
    """What two models and a look from afar say: 0 nothing, 1 building, 255 where they do not agree."""
    near = np.stack([second(values, VIEWS), fourth(values, VIEWS)])
    afar = look_from_afar(values, fourth)
    classes = np.full(near.shape[1:], UNKNOWN, np.uint8)
    classes[(near < NOTHING).all(axis=0) & (afar < NOTHING)] = 0
    agreed = (near.mean(axis=0) > BUILDING) & (near > AT_LEAST).all(axis=0)
    classes[agreed | ((afar > AFAR) & (near.max(axis=0) > AT_LEAST))] = 1
    return classes


def look_from_afar(values: NDArray[np.uint8], seer: Seer) -> NDArray[np.float32]:
    """The probability that a model sees at half the resolution."""
    height, width = (size // 2 * 2 for size in values.shape[1:])
    halves = values[:, :height, :width].reshape(len(values), height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    far = seer(halves.round().astype(np.uint8), VIEWS)
    whole = ndimage.zoom(far, 2, order=1)
    return np.pad(
        whole, [(0, own - size) for own, size in zip(values.shape[1:], whole.shape, strict=True)], "edge"
    )


@dataclass(frozen=True)
class Frame:
    """A hall's own coordinates, in pixels from its middle: along and across."""

    along: NDArray[np.float64]
    across: NDArray[np.float64]

    @classmethod
    def turned(cls, rng: np.random.Generator) -> Frame:
        angle = rng.uniform(0, np.pi)
        rows, cols = np.mgrid[:SIDE, :SIDE] - SIDE / 2 - rng.uniform(-80, 80, 2)[:, None, None]
        return cls(cols * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - cols * np.sin(angle))

    def block(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """A part of a hall: a rectangle of 20 to 90 m."""
        length, width = rng.uniform(70, 300), rng.uniform(60, 180)
        middle = rng.uniform(-90, 90, 2)
        inside = (abs(self.along - middle[0]) < length / 2) & (abs(self.across - middle[1]) < width / 2)
        return np.asarray(inside)


def draw_halls(grounds: Sequence[Item], out: Path) -> Iterator[Item]:
    """Pieces of ground, put together, with a hall of one to four blocks over them."""
    for number in range(HALLS):
        rng = np.random.default_rng(1000 + number)
        image = lay_ground([grounds[i] for i in rng.integers(0, len(grounds), 4)])
        frame, numbers = Frame.turned(rng), np.zeros((SIDE, SIDE), np.int32)
        blocks = [frame.block(rng) for _ in range(rng.integers(1, 5))]
        whole = np.logical_or.reduce(blocks)
        image = cast_shadow(image, whole, rng)
        apart = rng.random() < 0.5
        for block in blocks:
            # Blocks of one hall are one building; where they stand as buildings of their own, each has its number.
            numbers[block] = numbers.max() + 1 if apart else 1
            image = np.where(block, draw_roof(frame, rng), image)
        soft = ndimage.gaussian_filter(image, (0, *[rng.uniform(0.3, 0.9)] * 2))
        name = f"hall-{number}"
        np.save(out / f"{name}.npy", soft.round().clip(0, 255).astype(np.uint8))
        np.save(out / f"{name}-classes.npy", whole.astype(np.uint8))
        np.save(out / f"{name}-buildings.npy", numbers)
        yield Item(
            f"{name}.npy", f"{name}-classes.npy", "halls", "train", 0.3, buildings=f"{name}-buildings.npy"
        )


def lay_ground(items: Sequence[Item]) -> NDArray[np.float64]:
    """Four pieces side by side."""
    pieces = [fit(np.load(item.image).astype(float)) for item in items]
    return np.concatenate([np.concatenate(pieces[:2], axis=2), np.concatenate(pieces[2:], axis=2)], axis=1)


def fit(piece: NDArray[np.float64]) -> NDArray[np.float64]:
    """A piece of exactly the size wanted."""
    half = SIDE // 2
    missing = [(0, 0), *((0, max(0, half - size)) for size in piece.shape[1:])]
    return np.pad(piece, missing, mode="reflect")[:, :half, :half]


def cast_shadow(
    image: NDArray[np.float64], hall: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    angle, length = rng.uniform(0, 2 * np.pi), int(rng.uniform(3, 22))
    shadow = np.zeros_like(hall)
    for step in range(1, length + 1):
        shadow |= ndimage.shift(hall, (step * np.sin(angle), step * np.cos(angle)), order=0)
    return np.where(shadow & ~hall, image * rng.uniform(0.3, 0.6), image)


def draw_roof(frame: Frame, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sheets of one tone, lit by side, with seams, ridges, skylights and machines."""
    tones = np.array(list(TONES), dtype=float)
    tone = tones[rng.choice(len(tones), p=np.array(list(TONES.values())) / sum(TONES.values()))]
    along, across = (frame.along, frame.across) if rng.random() < 0.5 else (frame.across, frame.along)
    light = np.where(
        (across + rng.uniform(-60, 60)) % rng.uniform(60, 200) < rng.uniform(20, 100), 0, rng.uniform(-25, 8)
    )
    light = light + rng.normal(0, rng.uniform(1, 5), light.shape)
    light -= draw_lines(along, rng.uniform(8, 40), rng.uniform(0.6, 2.5), rng) * rng.uniform(5, 90)
    light -= draw_lines(across, rng.uniform(30, 140), rng.uniform(0.8, 3), rng) * rng.uniform(5, 110)
    if rng.random() < 0.4:
        skylight = draw_lines(along, rng.uniform(20, 50), rng.uniform(3, 6), rng) * (
            (across % rng.uniform(25, 60)) > 12
        )
        light += skylight * rng.uniform(-50, 30)
    roof = tone[:, None, None] + light
    return place_machines(roof, rng) if rng.random() < 0.5 else roof


def draw_lines(
    at: NDArray[np.float64], spacing: float, width: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Lines at about equal distances, here and there interrupted."""
    number = np.floor(at / spacing)
    kept = rng.random(4 * SIDE)[number.astype(int) % (4 * SIDE)] < rng.uniform(0.4, 1)
    return np.where((at % spacing < width) & kept, 1.0, 0.0)


def place_machines(roof: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Small boxes with a shadow."""
    drawn = Image.new("L", (SIDE, SIDE), 128)
    pen = ImageDraw.Draw(drawn)
    for row, col in rng.integers(0, SIDE, (int(rng.integers(10, 60)), 2)):
        high, wide = (int(size) for size in rng.integers(4, 14, 2))
        pen.rectangle((col + 3, row + 3, col + wide + 3, row + high + 3), fill=70)
        pen.rectangle((col, row, col + wide, row + high), fill=int(rng.integers(120, 200)))
    return roof + (np.asarray(drawn, dtype=float) - 128) * 0.8


if __name__ == "__main__":
    main(sys.argv[1:3], *(Path(each).resolve() for each in sys.argv[3:5]))
