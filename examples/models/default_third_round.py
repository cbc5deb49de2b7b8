"""Makes the training set of the third round: outlines that tell single buildings apart, and much ground without any.

    python default_third_round.py SECOND_MODEL FIRST_ROUND IMAGERY OUT

FIRST_ROUND is the folder that default_data.py made, SECOND_MODEL the model of the second round, which says where a roof
may have been forgotten and what it is sure of in photographs that nobody has drawn. Everything is brought to 0.3 m once and
kept as arrays: image, classes and, where they are known, the number of the building each pixel lies in. New here:

- 962 of the aerial pieces of American cities that hold no building, boats, courts and aircraft drawn more often than fields;
  120 pieces of courts, harbours, runways and parking lots are kept back, to count false alarms on.
- The pieces of these cities with checked masks. They do not tell touching roofs apart, so they teach the building alone.
- Drawn scenes, whose halls are large and whose truth is exact.
- One mosaic of Zanzibar is kept out.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from default_data import ACCRA_GAP, ACCRA_WEST
from default_second_round import Seer, corrected, located, seen
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.datasets.reading.sites import open_site
from geoseg.datasets.schema import Dataset, Item, Split, read_dataset, write_dataset
from geoseg.models.store import find_model
from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import list_truth_polygons, render_photo

UNKNOWN = 255
GSD_M = 0.3
KEPT_OUT = ("zanzibar_1",)
KEPT_BACK = {"tenniscourt": 24, "harbor": 30, "runway": 24, "parkinglot": 26}
"""From this number on, pieces of these kinds are never learnt from: neighbouring numbers show neighbouring ground."""
SHARES = {
    "accra": 16, "banepa": 16, "zanzibar": 7, "nairobi": 7, "estonia": 6, "swiss": 4, "drawn": 4,
    "dubai-1": 2, "dubai-2": 2, "dubai-3": 2, "dubai-6": 2,
    "no-tenniscourt": 4, "no-harbor": 3, "no-parkinglot": 2.5, "no-runway": 2, "no-airplane": 2, "no-intersection": 1,
    "no-freeway": 1, "no-overpass": 1, "no-baseballdiamond": 1, "no-golfcourse": 0.7, "no-river": 0.6, "no-beach": 0.5,
    "no-agricultural": 0.3, "no-chaparral": 0.2, "no-forest": 0.2,
    "us-denseresidential": 4, "us-mediumresidential": 3.5, "us-sparseresidential": 3.5, "us-buildings": 1.5,
    "us-mobilehomepark": 1.5,
}  # fmt: skip
"""How often patches are drawn at a place, in percent: negatives mostly where the model errs."""
DRAWN_SEEDS, DRAWN_SIDE = range(100, 112), 1024


def main(second_model: str, first_round: Path, imagery: Path, out: Path) -> None:
    (out / "work").mkdir(parents=True, exist_ok=True)
    first = read_dataset(first_round)
    items = [
        *drawn_by_people(first, imagery, second_model, out),
        *american(imagery / "ucmerced", out),
        *drawn(out),
    ]
    shared = [item if item.split != "train" else replace(item, weight=SHARES[item.place]) for item in items]
    attribution = (
        f"{first.attribution}; not drawn: © swisstopo, Maa- ja Ruumiamet (Estonia), U.S. Geological Survey, National "
        "Geospatial Program (Yang and Newsam 2010)"
    )
    write_dataset(replace(first, items=tuple(shared), attribution=attribution, folder=out), out)


def drawn_by_people(first: Dataset, imagery: Path, second_model: str, out: Path) -> Iterator[Item]:
    """What the first two rounds learnt from and were judged by."""
    seer, work = Seer(find_model(second_model)), out / "work"
    for item in (located(first, each) for each in first.items):
        if item.place.startswith("accra"):
            yield packed(first, with_numbers(item, work), out, accra_part(item.place))
        elif item.split == "train":
            place = Path(item.image).stem if Path(item.image).stem in KEPT_OUT else item.place
            split: Split = "validation" if place in KEPT_OUT else "train"
            classes = corrected(first, item, seer, work).label if split == "train" else None
            yield packed(
                first,
                replace(item, place=place, split=split),
                out,
                classes=work / classes if classes else None,
            )
        elif item.split == "validation":
            yield packed(first, item, out)
    for image in sorted((imagery / "unlabelled").glob("*/*.jpg")):
        item = seen(first, image, seer, work)
        yield packed(replace(first, folder=work), item, out)


def accra_part(place: str) -> slice:
    return slice(None, ACCRA_WEST) if place == "accra-west" else slice(ACCRA_WEST + ACCRA_GAP, None)


def with_numbers(item: Item, work: Path) -> Item:
    """A mask that is so fine that its pieces are single buildings, with their numbers."""
    numbers = work / f"{item.place}-numbers.tif"
    with rasterio.open(item.label) as mask:
        pieces, _ = ndimage.label(mask.read(1) == 1)
        with rasterio.open(numbers, "w", **mask.profile | {"dtype": "int32", "nodata": None}) as file:
            file.write(pieces.astype(np.int32), 1)
    return replace(item, buildings=str(numbers))


def packed(
    dataset: Dataset, item: Item, out: Path, cols: slice = slice(None), classes: Path | None = None
) -> Item:
    """An item as arrays of 0.3 m; `cols` are those to keep of an image's own columns."""
    site = open_site(dataset, item, GSD_M)
    patch = site.read(Window(0, 0, *site.image.shape), with_buildings=True)
    name = f"{item.place}-{Path(item.image).stem}"
    if cols != slice(None):
        with rasterio.open(item.image) as image:
            width = image.width
        start, stop, _ = cols.indices(width)
        cols = slice(round(start * patch.valid.shape[1] / width), round(stop * patch.valid.shape[1] / width))
    learnt = patch.classes if classes is None else np.load(classes)
    learnt = np.where(patch.valid, learnt, UNKNOWN)
    np.save(out / f"{name}.npy", patch.values[..., cols])
    np.save(out / f"{name}-classes.npy", learnt[:, cols].astype(np.uint8))
    if patch.buildings is not None:
        np.save(out / f"{name}-buildings.npy", patch.buildings[:, cols].astype(np.int32))
    return Item(
        f"{name}.npy", f"{name}-classes.npy", item.place, item.split, GSD_M,
        buildings=None if patch.buildings is None else f"{name}-buildings.npy",
    )  # fmt: skip


def american(folder: Path, out: Path) -> Iterator[Item]:
    """Pieces of American cities: those without a building, and those with a checked mask."""
    with (folder / "index.csv").open(newline="", encoding="utf-8") as index:
        rows = list(csv.DictReader(index))
    for row in rows:
        name, kind = row["name"], row["class"]
        if row["without_building"] == "sure":
            kept_back = int(name.removeprefix(kind)) >= KEPT_BACK.get(kind, 10**6)
            yield piece(folder, name, f"no-{kind}", None, "test" if kept_back else "train", out)
        elif row["pseudo_checked"] == "1":
            yield piece(folder, name, f"us-{kind}", folder / "pseudo_checked" / f"{name}.png", "train", out)


def piece(folder: Path, name: str, place: str, mask: Path | None, split: Split, out: Path) -> Item:
    image = np.asarray(Image.open(folder / "images" / f"{name}.jpg").convert("RGB")).transpose(2, 0, 1)
    classes = np.zeros(image.shape[1:], np.uint8) if mask is None else np.asarray(Image.open(mask))
    np.save(out / f"{name}.npy", image)
    np.save(out / f"{name}-classes.npy", classes.astype(np.uint8))
    if split == "test":
        place = f"{place}-kept-back"
    return Item(f"{name}.npy", f"{name}-classes.npy", place, split, GSD_M)


def drawn(out: Path) -> Iterator[Item]:
    """Scenes that are drawn, with every building known exactly."""
    window = Window(0, 0, DRAWN_SIDE, DRAWN_SIDE)
    for seed in DRAWN_SEEDS:
        layout, name = Layout(seed, GSD_M), f"drawn-{seed}"
        outlines = [outline for _, outline in list_truth_polygons(layout, window)]
        numbers: NDArray[np.int32] = np.zeros((DRAWN_SIDE, DRAWN_SIDE), np.int32)
        rasterize(zip(outlines, range(1, len(outlines) + 1), strict=True), out=numbers)
        np.save(out / f"{name}.npy", render_photo(layout, window))
        np.save(out / f"{name}-classes.npy", (numbers > 0).astype(np.uint8))
        np.save(out / f"{name}-buildings.npy", numbers)
        yield Item(
            f"{name}.npy", f"{name}-classes.npy", "drawn", "train", GSD_M, buildings=f"{name}-buildings.npy"
        )


if __name__ == "__main__":
    main(sys.argv[1], *(Path(each).resolve() for each in sys.argv[2:5]))
