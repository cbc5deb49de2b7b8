"""Makes the training set of the model sentinel2-builtup from the folder s2_india of the imagery.

    python sentinel2_data.py IMAGERY OUT

Towns, vegetation and water were drawn by hand and coarsely; most bare ground was not drawn at all. A model that never
hears of bare ground takes it for towns. So what was not drawn is "other", too, but only far from drawn towns: near them it
may well be houses, and stays unknown. Pieces that show the same ground (`geoseg prepare audit` finds them) are of one split.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from geoseg.datasets.schema import Dataset, Item, Split, write_dataset
from geoseg.raster.palette import ClassEntry

UNKNOWN = 255
DRAWN = {"not drawn": 0, "built-up": 1, "vegetation": 2, "water": 3}
FAR = 30
VALIDATION = {"007", "010", "013", "018", "023", "027", "031", "037", "045", "048"}


def main(imagery: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    items = []
    for image in sorted((imagery / "s2_india").glob("*.tif")):
        drawn = np.array(Image.open(image.with_name(f"{image.stem}_classes.png")))
        np.save(out / f"{image.stem}.npy", classes(drawn))
        split: Split = "validation" if image.stem in VALIDATION else "train"
        items.append(Item(str(image), f"{image.stem}.npy", f"india-{image.stem}", split, gsd_m=10))
    write_dataset(
        Dataset(
            name="towns and water of India in Sentinel-2",
            licence="MIT; contains modified Copernicus Sentinel data",
            attribution="contains modified Copernicus Sentinel data; labels of an MIT repository",
            source="Sentinel-2 pieces of India, drawn by hand",
            gsd_m=10,
            bands=("B4", "B3", "B2", "B8"),
            classes=(
                ClassEntry("other", "#000000"),
                ClassEntry("built-up", "#e4572e"),
                ClassEntry("water", "#3c6edc"),
            ),
            items=tuple(items),
        ),
        out,
    )


def classes(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """0 other, 1 built-up, 2 water, 255 unknown."""
    built, blank = drawn == DRAWN["built-up"], drawn == DRAWN["not drawn"]
    away = ndimage.distance_transform_edt(~built) > FAR if built.any() else np.ones(drawn.shape, bool)
    found = np.full(drawn.shape, UNKNOWN, np.uint8)
    found[(drawn == DRAWN["vegetation"]) | (blank & away)] = 0
    found[built] = 1
    found[drawn == DRAWN["water"]] = 2
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
