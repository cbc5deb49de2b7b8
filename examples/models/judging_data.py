"""Makes the data set that models are judged by: places that none of the rounds learns from.

    python judging_data.py IMAGERY OUT

IMAGERY holds the folders accra, hot, rio, elsewhere and ucmerced as their publishers offer them. Three places were seen from
drones, nine from aeroplanes and satellites; `no-building` are the pieces of courts, harbours, runways and parking lots that were
kept back to count false alarms on.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from default_data import ACCRA_WEST
from default_third_round import KEPT_BACK
from numpy.typing import NDArray
from PIL import Image
from rasterio.windows import Window

from geoseg.datasets.images import read_window
from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.raster.palette import ClassEntry

MOSAICS = {"dhaka_0": "dhaka", "dhaka_1": "dhaka", "dhaka_2": "dhaka", "zanzibar_1": "zanzibar"}
ELSEWHERE_GSD_M, RIO_GSD_M = 0.3, 0.5


def main(imagery: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    items = (
        accra_west(imagery / "accra", out),
        *drone_mosaics(imagery / "hot"),
        *chips(imagery / "rio", RIO_GSD_M, out),
        *(
            item
            for name in ("inria", "spacenet", "christchurch")
            for item in chips(imagery / "elsewhere" / name, ELSEWHERE_GSD_M, out)
        ),
        *kept_back(imagery / "ucmerced", out),
    )
    write_dataset(
        Dataset(
            name="places to judge by",
            licence="for judging only; each place under the licence of its publisher",
            attribution="Open Cities AI Challenge, GFDRR Labs 2020; OpenAerialMap / Open Imagery Network contributors; © "
            "OpenStreetMap contributors; Inria aerial image labelling; SpaceNet; Land Information New Zealand; U.S. Geological Survey",
            source="see the README of the imagery",
            gsd_m=ELSEWHERE_GSD_M,
            bands=("red", "green", "blue"),
            classes=(ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e")),
            items=items,
        ),
        out,
    )


def accra_west(folder: Path, out: Path) -> Item:
    """The western end of Accra, cut out."""
    for name, to in (("accra_0.2m", "accra-west"), ("accra_0.2m_buildings", "accra-west-label")):
        with rasterio.open(folder / f"{name}.tif") as whole:
            part = Window(0, 0, ACCRA_WEST, whole.height)
            profile = whole.profile | {
                "width": ACCRA_WEST,
                "compress": "deflate",
                "photometric": "minisblack",
            }
            with rasterio.open(out / f"{to}.tif", "w", **profile) as cut:
                cut.write(whole.read(window=part))
    return Item("accra-west.tif", "accra-west-label.tif", "accra-west", "test")


def drone_mosaics(folder: Path) -> Iterator[Item]:
    for name, place in MOSAICS.items():
        yield Item(str(folder / f"{name}.tif"), str(folder / f"{name}_buildings.geojson"), place, "test")


def chips(folder: Path, gsd_m: float, out: Path) -> Iterator[Item]:
    """Chips with a mask of the same name, as arrays: bytes, and 1 where a building is."""
    for image in sorted((folder / "images").iterdir()):
        mask = next((folder / "masks").glob(f"{image.stem}.*"))
        np.save(out / f"{image.stem}.npy", stretch_to_bytes(read_window(image)[:3]))
        np.save(out / f"{image.stem}-label.npy", (read_window(mask)[0] > 0).astype(np.uint8))
        yield Item(
            f"{image.stem}.npy", f"{image.stem}-label.npy", name_place(folder.name, image.stem), "test", gsd_m
        )


def name_place(folder: str, stem: str) -> str:
    """The town of a chip: chicago1_0, AOI_3_Paris_img418, tyrol-w2_12."""
    if folder in ("rio", "christchurch"):
        return folder
    return re.sub(r"^aoi_\d+_|_img\d+$|(-w)?\d+_\d+$", "", stem.lower())


def kept_back(folder: Path, out: Path) -> Iterator[Item]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as index:
        rows = [row for row in csv.DictReader(index) if row["without_building"] == "sure"]
    for row in rows:
        name, kind = row["name"], row["class"]
        if int(name.removeprefix(kind)) >= KEPT_BACK.get(kind, 10**6):
            # Decoders of JPEG differ in the last bit; published scores were made with this one.
            pixels = np.array(Image.open(folder / "images" / f"{name}.jpg")).transpose(2, 0, 1)
            np.save(out / f"{name}.npy", pixels)
            np.save(out / f"{name}-label.npy", np.zeros(pixels.shape[1:], np.uint8))
            yield Item(f"{name}.npy", f"{name}-label.npy", "no-building", "test", ELSEWHERE_GSD_M)


def stretch_to_bytes(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8)
    low, high = np.percentile(pixels.reshape(len(pixels), -1), (1, 99), axis=1)[..., None, None]
    return (((pixels - low) / (high - low)).clip(0, 1) * 255).astype(np.uint8)


if __name__ == "__main__":
    main(*(Path(each).resolve() for each in sys.argv[1:3]))
