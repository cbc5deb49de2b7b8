"""Makes the training set of the second round: what a first model says of it is laid over the labels.

    python second_round.py FIRST_MODEL FIRST_ROUND IMAGERY OUT

FIRST_ROUND is the folder that make_data.py made. Where its labels say background but the first model is sure of
something as wide as a building, somebody probably forgot to draw it: the second model is not told either way. The first
model's labels let buildings that touch run together; now a line of background parts them. Photographs nobody has drawn
(the folder unlabelled of IMAGERY) come in with what the first model is sure of; the rest of them is unknown. Each small
piece of the Swiss sheets is centred on a roof, so there the model may be less sure.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from geoseg.datasets.reading.labels import find_nearest_pixels, find_seams
from geoseg.datasets.reading.sites import open_site
from geoseg.datasets.schema import Dataset, Item, read_dataset, write_dataset
from geoseg.models.network import load_network
from geoseg.models.store import Model, find_model
from geoseg.raster.grid import Window

UNKNOWN = 255
SURE, SURE_NOT = 0.75, 0.2
FORGOTTEN = 0.85
NARROWEST_PIXELS = 7
SWISS_PIECES = 8
CENTRE = 0.5
UNLABELLED_GSD_M = 0.2
SIDE, MARGIN = 640, 64


def main(first_model: Path, first_round: Path, imagery: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model, dataset = find_model(str(first_model)), read_dataset(first_round)
    seer = Seer(model)
    absolute = [located(dataset, item) for item in dataset.items]
    drawn = [corrected(dataset, item, seer, out) if item.split == "train" else item for item in absolute]
    found = [seen(dataset, image, seer, out) for image in sorted((imagery / "unlabelled").glob("*/*.jpg"))]
    attribution = f"{dataset.attribution}; not drawn: © swisstopo, Maa- ja Ruumiamet (Estonia)"
    write_dataset(replace(dataset, items=(*drawn, *found), attribution=attribution), out)


class Seer:
    """The first model, looking at whole images and at what they look like mirrored and turned."""

    def __init__(self, model: Model) -> None:
        self.network = load_network(model).to(memory_format=torch.channels_last)
        scaling = model.card.scaling
        self.low, self.high = scaling.low, scaling.high
        self.mean, self.std = (torch.tensor(v).view(1, -1, 1, 1) for v in (scaling.mean, scaling.std))

    @torch.inference_mode()
    def __call__(self, values: NDArray[np.uint8], views: int) -> NDArray[np.float32]:
        """The probability of a building for each pixel of an image (band, row, col)."""
        height, width = values.shape[1:]
        # Small images are looked at whole: nothing is gained by a wide frame around them.
        side = min(SIDE, -(-max(height, width) // 32) * 32 + 2 * MARGIN)
        step = side - 2 * MARGIN
        padded = np.pad(values, ((0, 0), (MARGIN, MARGIN + step), (MARGIN, MARGIN + step)), mode="reflect")
        answer = np.zeros((height, width), np.float32)
        for row in range(0, height, step):
            for col in range(0, width, step):
                piece = padded[:, row : row + side, col : col + side]
                found = self.looked(torch.from_numpy(piece.copy())[None].float(), views)
                part = answer[row : row + step, col : col + step]
                part[:] = found[MARGIN : MARGIN + part.shape[0], MARGIN : MARGIN + part.shape[1]]
        return answer

    def looked(self, raw: torch.Tensor, views: int) -> NDArray[np.float32]:
        inputs = ((raw - self.low) / (self.high - self.low) - self.mean) / self.std
        total = torch.zeros(inputs.shape[-2:])
        for turn in range(views):
            view = torch.rot90(inputs, turn, (-2, -1)).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.network(view)
            total += torch.rot90(logits.float().sigmoid(), -turn, (-2, -1))[0, 0]
        return np.asarray(total / views)


def located(dataset: Dataset, item: Item) -> Item:
    return replace(
        item, image=str(dataset.image_path(item).resolve()), label=str(dataset.label_path(item).resolve())
    )


def corrected(dataset: Dataset, item: Item, seer: Seer, out: Path) -> Item:
    """An item whose background is unknown where the first model is sure of a building."""
    site = open_site(dataset, item, dataset.gsd_m)
    patch = site.read(Window(0, 0, *site.image.shape))
    claimed = (patch.classes == 0) & (seer(patch.values, 1) > FORGOTTEN)
    # An alley between two roofs is background, however sure the first model is.
    forgotten = ndimage.binary_opening(claimed, np.ones((NARROWEST_PIXELS, NARROWEST_PIXELS)))
    apart = drawn_apart(dataset, item, patch.classes.shape)
    classes = np.where(forgotten, np.uint8(UNKNOWN), apart)
    label = f"{Path(item.label).stem}-{item.place}.npy"
    np.save(out / label, classes)
    parts = np.mean((patch.classes == 1) & (apart == 0))
    print(f"{item.image}: {forgotten.mean():.2%} of it may have been forgotten, {parts:.2%} parts buildings")
    return replace(item, label=label)


def drawn_apart(dataset: Dataset, item: Item, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An item's classes, with buildings apart that its outlines, or its mask at its own resolution, tell apart."""
    label = dataset.label_path(item)
    if label.suffix == ".geojson":
        return open_site(dataset, item, dataset.gsd_m, apart=True).read(Window(0, 0, *shape)).classes
    drawn = np.array(Image.open(label))
    pieces, _ = ndimage.label(drawn == 1)
    at = np.ix_(
        *(find_nearest_pixels(0, size, own, size) for size, own in zip(shape, drawn.shape, strict=True))
    )
    classes = drawn[at].astype(np.uint8)
    return np.where(find_seams(pieces[at], classes), np.uint8(0), classes)


def seen(dataset: Dataset, image: Path, seer: Seer, out: Path) -> Item:
    """A photograph that nobody has drawn, with what the first model is sure of."""
    label = f"{image.parent.name}-{image.stem}.npy"
    item = Item(str(image), label, image.parent.name, gsd_m=UNLABELLED_GSD_M)
    np.save(out / label, np.zeros((100, 100), np.uint8))  # so that the image can be opened as any other
    site = open_site(replace(dataset, folder=out), item, dataset.gsd_m)
    probability = seer(site.read(Window(0, 0, *site.image.shape)).values, 4)
    classes = np.full(probability.shape, UNKNOWN, np.uint8)
    classes[probability < SURE_NOT] = 0
    classes[probability > SURE] = 1
    if image.parent.name == "swiss":
        classes[at_centres(probability > CENTRE)] = 1
    np.save(out / label, classes)
    print(f"{image.name}: {(classes == 1).mean():.1%} building, {(classes == UNKNOWN).mean():.1%} unsure")
    return item


def at_centres(roofs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The roofs that lie at the centre of one of the pieces of a sheet."""
    labels, _ = ndimage.label(roofs)
    rows, cols = (((np.arange(SWISS_PIECES) + 0.5) * size / SWISS_PIECES).astype(int) for size in roofs.shape)
    centred = np.setdiff1d(labels[np.ix_(rows, cols)], [0])
    return np.asarray(np.isin(labels, centred))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
