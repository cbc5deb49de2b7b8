"""Footprints of many pictures as one COCO file: for programs that score or show what is found in a folder of chips.

Coordinates are pixels with y downwards from the top edge, as COCO has them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS
from rasterio.features import rasterize

from geoseg.errors import InputError, shorten_error
from geoseg.footprints.measure import transform_to_pixels
from geoseg.footprints.write.geopackage import BUILDINGS
from geoseg.io.atomic import replace_text
from geoseg.raster.grid import Grid, PixelSize
from geoseg.raster.source import open_raster, read_grid

DIGITS = 3
"""Thousandths of a pixel: more than any outline is good for."""
SURE = 1.0
"""The score of footprints whose confidence nobody knows."""


@dataclass(frozen=True)
class CocoImages:
    """The images and categories of a COCO file, whose numbers results are to have."""

    images: Mapping[str, Any]
    categories: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | None) -> CocoImages | None:
        """Read them, or say in one line what is wrong; none where no file is given."""
        if path is None:
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            named = [(Path(each["file_name"]).name, each["id"]) for each in document["images"]]
            categories = {str(each["name"]): each["id"] for each in document.get("categories", [])}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"`coco_images` {path}: cannot be read as a COCO file with images ({shorten_error(error)})"
            ) from error
        twice = [name for name, times in Counter(name for name, _ in named).items() if times > 1]
        if twice:
            raise InputError(
                f"`coco_images` {path}: names several images {twice[0]} in different folders; results tell images apart by the "
                "names of their files alone"
            )
        return cls(dict(named), categories)

    def find_image(self, name: str) -> Any:
        if name not in self.images:
            raise InputError(f"`coco_images`: names no image {name}; it has {len(self.images)} images")
        return self.images[name]

    def find_category(self, name: str, number: int) -> Any:
        """The number of a category of this name; where there is one only, it is meant."""
        if len(self.categories) == 1:
            return next(iter(self.categories.values()))
        if self.categories and name not in self.categories:
            raise InputError(
                f"`coco_images`: names no category {name}; it has {', '.join(map(str, self.categories))}"
            )
        return self.categories.get(name, number)


def name_image(scene: str) -> str:
    """What the image of a scene is called in a COCO file."""
    return Path(urlsplit(scene).path if "://" in scene else scene).name


def write_coco(
    path: Path,
    scenes: Sequence[tuple[str, Path]],
    classes: Sequence[str],
    images: CocoImages | None = None,
    assume_crs: str | None = None,
) -> None:
    """Write the footprints of scenes, each with its file of footprints, as COCO.

    With `images`, a list of results with the numbers of that file; else a whole file with images, categories and
    annotations, each with its score. `assume_crs` is that of scenes that name none.
    """
    annotations: list[dict[str, Any]] = []
    described: list[dict[str, Any]] = []
    for number, (scene, footprints) in enumerate(scenes, start=1):
        name = name_image(scene)
        grid = read_pixel_grid(scene, assume_crs)
        image = images.find_image(name) if images else number
        described.append({"id": image, "file_name": name, "width": grid.width, "height": grid.height})
        for found in list_annotations(footprints, grid):
            kind = found.pop("class")
            value = classes.index(kind) + 1 if kind in classes else len(classes) + 1
            category = images.find_category(kind, value) if images else value
            annotations.append({"image_id": image, "category_id": category, **found})
    document: Any = annotations
    if images is None:
        numbered = [{"id": number, **each, "iscrowd": 0} for number, each in enumerate(annotations, start=1)]
        categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
        document = {"images": described, "categories": categories, "annotations": numbered}
    replace_text(path, json.dumps(document))


def read_pixel_grid(scene: str, assume_crs: str | None = None) -> Grid:
    """The pixels of a scene, wherever they lie."""
    with open_raster(scene, scene) as dataset:
        return read_grid(dataset, scene, assume_crs, PixelSize(1.0, is_known=True))


def list_annotations(footprints: Path, grid: Grid) -> Iterator[dict[str, Any]]:
    """The footprints of a file as COCO annotations in the pixels of a grid."""
    layer = gpd.read_file(footprints, layer=BUILDINGS)
    crs = CRS.from_user_input(layer.crs) if grid.is_placed else None
    polygons = transform_to_pixels(np.asarray(layer.geometry.array, dtype=object), crs, grid)
    boxes = shapely.bounds(polygons).reshape(-1, 4)
    for polygon, box, kind, confidence in zip(
        polygons, boxes, layer["class"], layer["confidence"], strict=True
    ):
        left, top, right, bottom = box
        yield {
            "class": str(kind),
            "segmentation": make_segmentation(polygon, grid.shape),
            "bbox": [round(float(value), DIGITS) for value in (left, top, right - left, bottom - top)],
            "area": round(float(polygon.area), DIGITS),
            "score": SURE if np.isnan(confidence) else round(float(confidence), 5),
        }


def make_segmentation(polygon: Any, shape: tuple[int, int]) -> Any:
    """The outer rings of a footprint; where it has a courtyard, run lengths, since COCO's polygons have no holes."""
    parts = shapely.get_parts(polygon)
    if shapely.get_num_interior_rings(parts).any():
        return make_run_lengths(polygon, shape)
    rings = (shapely.get_coordinates(part.exterior)[:-1] for part in parts)
    return [[round(float(value), DIGITS) for value in ring.ravel()] for ring in rings]


def make_run_lengths(polygon: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """The pixels of a footprint as runs down the columns, the first of them outside it."""
    pixels = rasterize([polygon], out_shape=shape).T.ravel()
    turns = np.flatnonzero(np.diff(pixels)) + 1
    bounds = np.concatenate([[0], turns, [pixels.size]])
    counts = np.diff(bounds).tolist()
    return {"size": list(shape), "counts": [0, *counts] if pixels[0] else counts}
