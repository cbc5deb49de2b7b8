"""Raw files as other people publish them: photographs of a made town, with labels of the kinds that geoseg prepares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

CITY = "EPSG:32633"
EUROPE = "EPSG:3035"
BLOCK = 32
"""Pixels along a side of a plot: there is one building on each."""
ESM_VALUES = {"other": 1, "non-residential": 250, "residential": 255}

SPECTRA = np.random.default_rng(7).integers(400, 4000, (3, 13))
"""What each class reflects in each band, times 10,000."""


@dataclass(frozen=True)
class Town:
    """Bright buildings on dark ground. `boxes` are the row, column, height and width of each, `kinds` its class."""

    side: int
    boxes: tuple[tuple[int, int, int, int], ...]
    kinds: tuple[int, ...]
    grain: NDArray[np.uint8]

    @property
    def classes(self) -> NDArray[np.uint8]:
        classes = np.zeros((self.side, self.side), np.uint8)
        for (row, col, height, width), kind in zip(self.boxes, self.kinds, strict=True):
            classes[row : row + height, col : col + width] = kind
        return classes

    @property
    def is_built(self) -> NDArray[np.bool_]:
        return self.classes > 0

    @property
    def photo(self) -> NDArray[np.uint8]:
        """Red, green and blue (row, col, band): each class has a colour of its own."""
        classes = self.classes.astype(int)
        gains = np.stack([110 + classes * step % 110 for step in (37, 59, 83)], axis=-1)
        seen = np.where(classes[..., None] > 0, gains, (40, 50, 40)) + self.grain[..., None]
        return seen.astype(np.uint8)

    def outline(self, number: int, transform: Affine) -> shapely.Polygon:
        row, col, height, width = self.boxes[number]
        corners = ((col, row), (col + width, row), (col + width, row + height), (col, row + height))
        return shapely.Polygon([transform @ corner for corner in corners])


def draw_town(side: int, seed: int, kinds: int = 1) -> Town:
    """A town whose every plot has one building, of any of some kinds."""
    chance = np.random.default_rng(seed)
    plots = [(row, col) for row in range(0, side, BLOCK) for col in range(0, side, BLOCK)]
    boxes = []
    for row, col in plots:
        height, width = chance.integers(12, 22, 2)
        down, across = chance.integers(2, BLOCK - 2 - np.array([height, width]))
        boxes.append((row + int(down), col + int(across), int(height), int(width)))
    drawn = chance.integers(1, kinds + 1, len(plots))
    grain = chance.integers(0, 30, (side, side)).astype(np.uint8)
    return Town(side, tuple(boxes), tuple(map(int, drawn)), grain)


def place_scene(number: int, side: int, gsd_m: float) -> Affine:
    """Where the scene of a number lies; no two scenes have ground in common."""
    return Affine.translation(400_000 + number * 2 * side * gsd_m, 5_800_000) @ Affine.scale(gsd_m, -gsd_m)


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def save_raster(
    path: Path, bands: NDArray[Any], transform: Affine, crs: str = CITY, names: Sequence[str] = ()
) -> None:
    """Bands (band, row, col) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    profile = {
        "driver": "GTiff",
        "dtype": bands.dtype.name,
        "count": count,
        "crs": crs,
        "transform": transform,
    }
    with rasterio.open(path, "w", height=height, width=width, **profile) as file:
        file.write(bands)
        if names:
            file.descriptions = names


def save_scene(path: Path, town: Town, transform: Affine) -> None:
    save_raster(path, np.moveaxis(town.photo, -1, 0), transform)


def save_coco(folder: Path, towns: Mapping[str, Town]) -> None:
    """Photographs in a folder `images`, and annotation.json beside it, as the mapping challenge has them."""
    images, annotations = [], []
    for number, (name, town) in enumerate(towns.items()):
        save_picture(folder / "images" / f"{name}.jpg", town.photo)
        images.append({"id": number, "file_name": f"{name}.jpg", "height": town.side, "width": town.side})
        annotations += [annotate(number, 1000 * number + i, box) for i, box in enumerate(town.boxes)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 100, "name": "building", "supercategory": "building"}],
    }
    (folder / "annotation.json").write_text(json.dumps(content))


def annotate(image: int, number: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    row, col, height, width = box
    ring = [col, row, col + width, row, col + width, row + height, col, row + height]
    return {
        "id": number, "image_id": image, "category_id": 100, "iscrowd": 0, "area": height * width,
        "bbox": [col, row, width, height], "segmentation": [ring],
    }  # fmt: skip


def save_inria(folder: Path, towns: Mapping[str, Town], gsd_m: float) -> None:
    """Photographs in train/images, masks of 0 and 255 in train/gt."""
    for number, (name, town) in enumerate(towns.items()):
        transform = place_scene(number, town.side, gsd_m)
        save_scene(folder / "train" / "images" / f"{name}.tif", town, transform)
        mask = town.is_built[None].astype(np.uint8) * 255
        save_raster(folder / "train" / "gt" / f"{name}.tif", mask, transform)


def save_outlined(folder: Path, towns: Mapping[str, Town], gsd_m: float) -> None:
    """Scenes, and one file with the outlines of all their buildings."""
    shapes = []
    for number, (name, town) in enumerate(towns.items()):
        transform = place_scene(number, town.side, gsd_m)
        save_scene(folder / "scenes" / f"{name}.tif", town, transform)
        shapes += [town.outline(i, transform) for i in range(len(town.boxes))]
    gpd.GeoDataFrame(geometry=shapes, crs=CITY).to_file(folder / "outlines.gpkg")


def save_photographs(folder: Path, towns: Mapping[str, Town], size: tuple[int, int]) -> None:
    """Photographs without a place (width, height), and masks of class numbers."""
    for name, town in towns.items():
        for kind, pixels, ending in (("images", town.photo, "jpg"), ("masks", town.classes, "png")):
            large = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
            save_picture(folder / kind / f"{name}.{ending}", np.asarray(large))


def save_settlements(folder: Path, towns: Mapping[str, Town], bands: Sequence[str]) -> None:
    """Sentinel-2 images of 10 m in s2, and the European Settlement Map of their ground in its own CRS in esm."""
    for number, (name, town) in enumerate(towns.items()):
        transform = place_scene(number, town.side, 10)
        chance = np.random.default_rng(number)
        seen = np.moveaxis(SPECTRA[town.classes][..., : len(bands)], -1, 0)
        values = (seen + chance.integers(0, 200, seen.shape)).astype(np.uint16)
        save_raster(folder / "s2" / f"{name}.tif", values, transform, names=bands)
        save_settlement_map(folder / "esm" / f"{name}.tif", town, transform)


def save_settlement_map(path: Path, town: Town, transform: Affine) -> None:
    """Each pixel of the map has the class of the ground at its centre."""
    across = Transformer.from_crs(CITY, EUROPE, always_xy=True)
    left, top = transform @ (0, 0)
    right, bottom = transform @ (town.side, town.side)
    west, south, east, north = across.transform_bounds(left, bottom, right, top)
    width, height = round((east - west) / 10) + 8, round((north - south) / 10) + 8
    there = Affine.translation(west - 40, north + 40) @ Affine.scale(10, -10)
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = across.transform(*(there @ (cols, rows)), direction="INVERSE")
    col, row = (np.floor(each).astype(int) for each in ~transform @ (x, y))
    inside = (col >= 0) & (row >= 0) & (col < town.side) & (row < town.side)
    values = np.array(list(ESM_VALUES.values()), np.uint8)
    seen = values[town.classes[np.clip(row, 0, town.side - 1), np.clip(col, 0, town.side - 1)]]
    save_raster(path, np.where(inside, seen, 0).astype(np.uint8)[None], there, EUROPE)
