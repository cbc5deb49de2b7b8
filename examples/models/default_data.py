"""Makes the training set of the default model from the imagery it is trained on.

    python make_data.py IMAGERY OUT

IMAGERY holds the folders accra, hot and dubai as their publishers offer them; OUT gets dataset.toml and the labels that
differ from the published ones. What is done to them, and why:

- Accra is one scene. Its western end is a place of its own, to validate on, with ground between that nobody sees.
  A part of its roofs was never drawn; there, background is no background, and the whole quarter is left out.
- The outlines of one Nairobi mosaic have to move by 1.5 m west and 1.3 m north (`geoseg prepare audit` finds it).
- Rio de Janeiro is never learnt from: another continent and sensor, it tells which recipe serves elsewhere (split test).
- Of Dubai, only the places whose buildings were drawn one by one serve; all other classes are background.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from geoseg.datasets.schema import Dataset, Item, Split, write_dataset
from geoseg.raster.palette import ClassEntry

UNKNOWN = 255
ACCRA_WEST = 1792
ACCRA_GAP = 128
ACCRA_UNDRAWN = (slice(3300, 6000), slice(4150, 7250))
HELD_OUT = ("dhaka",)
NAIROBI_SHIFT_M = (-1.5, 1.3)
DUBAI_PLACES = (1, 2, 3, 6)
DUBAI_GSD_M = 0.6


def main(imagery: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    items = (
        *accra(imagery / "accra", out),
        *drone_mosaics(imagery / "hot", out),
        *dubai(imagery / "dubai", out),
        *rio(imagery / "rio", out),
    )
    write_dataset(
        Dataset(
            name="roofs of Accra, Banepa, Nairobi, Zanzibar, Dhaka and Dubai",
            licence="CC-BY-4.0; labels ODbL-1.0",
            attribution="Open Cities AI Challenge, GFDRR Labs 2020, doi 10.34911/rdnt.f94cxb (imagery CC-BY-4.0, labels "
            "ODbL-1.0); OpenAerialMap / Open Imagery Network contributors (imagery CC-BY-4.0); labels © OpenStreetMap "
            "contributors (ODbL); Humans in the Loop / MBRSC (CC0)",
            source="doi 10.34911/rdnt.f94cxb; openaerialmap.org; openstreetmap.org; humansintheloop.org",
            gsd_m=0.3,
            bands=("red", "green", "blue"),
            classes=(ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e")),
            items=items,
        ),
        out,
    )


def accra(folder: Path, out: Path) -> list[Item]:
    image, mask = folder / "accra_0.2m.tif", folder / "accra_0.2m_buildings.tif"
    with rasterio.open(mask) as source:
        labels, profile = source.read(1), source.profile
    learnt, validated = labels.copy(), labels.copy()
    learnt[:, : ACCRA_WEST + ACCRA_GAP] = UNKNOWN
    learnt[ACCRA_UNDRAWN] = UNKNOWN
    validated[:, ACCRA_WEST:] = UNKNOWN
    items = []
    parts: list[tuple[str, NDArray[np.uint8], Split]] = [
        ("accra", learnt, "train"),
        ("accra-west", validated, "validation"),
    ]
    for name, part, split in parts:
        with rasterio.open(out / f"{name}.tif", "w", **profile | {"compress": "deflate"}) as written:
            written.write(part, 1)
        items.append(Item(str(image), f"{name}.tif", name, split))
    return items


def drone_mosaics(folder: Path, out: Path) -> list[Item]:
    items = []
    for image in sorted(folder.glob("*.tif")):
        place, outlines = image.stem.split("_")[0], folder / f"{image.stem}_buildings.geojson"
        if image.stem == "nairobi_1":
            outlines = shifted(outlines, out / outlines.name)
        items.append(Item(str(image), str(outlines), place, "validation" if place in HELD_OUT else "train"))
    return items


def shifted(outlines: Path, to: Path) -> Path:
    """Outlines in Web Mercator near the equator, where its metres are metres, moved by as many as they are off."""
    collection = json.loads(outlines.read_text())
    east, north = NAIROBI_SHIFT_M

    def moved(part: list[Any]) -> list[Any]:
        if isinstance(part[0], list):
            return [moved(each) for each in part]
        return [part[0] + east, part[1] + north]

    for feature in collection["features"]:
        feature["geometry"]["coordinates"] = moved(feature["geometry"]["coordinates"])
    to.write_text(json.dumps(collection))
    return Path(to.name)


def dubai(folder: Path, out: Path) -> list[Item]:
    items = []
    for number in DUBAI_PLACES:
        for image in sorted(folder.glob(f"images/tile{number}_*.jpg")):
            classes = np.array(Image.open(folder / "masks" / f"{image.stem}.png"))
            buildings = np.where(classes == 0, UNKNOWN, classes == 1).astype(np.uint8)
            label = f"{image.stem}.png"
            Image.fromarray(buildings).save(out / label)
            items.append(Item(str(image), label, f"dubai-{number}", gsd_m=DUBAI_GSD_M))
    return items


def rio(folder: Path, out: Path) -> list[Item]:
    items = []
    for image in sorted(folder.glob("images/*.tif")):
        with rasterio.open(folder / "masks" / image.name) as source:
            buildings, profile = (source.read(1) > 0).astype(np.uint8), source.profile | {"nodata": None}
        with rasterio.open(out / f"rio-{image.name}", "w", **profile) as written:
            written.write(buildings, 1)
        items.append(Item(str(image), f"rio-{image.name}", "rio", "test"))
    return items


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
