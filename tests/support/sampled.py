"""A small map with a sample of it, and people who answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from layers import GRID, footprints, write, write_raster
from pyproj import CRS

import geoseg
from geoseg.footprints.write.samples import POINTS
from geoseg.regions.points import set_answers

LEFT, BOTTOM, RIGHT, TOP = GRID.bounds


def make_map(folder: Path, crs: CRS | None = None) -> Path:
    """Buildings on a lattice, the mask that they came from (its first 50 rows not seen), and a probability."""
    places = np.arange(20, 780, 40.0), np.arange(60, 580, 40.0)
    x, y = (each.ravel() for each in np.meshgrid(*places))
    boxes = shapely.box(LEFT + x, TOP - y - 16, LEFT + x + 14, TOP - y)
    frame = footprints(boxes)
    write(folder / "buildings.gpkg", frame if crs is None else frame.to_crs(crs))
    mask = np.zeros(GRID.shape, np.uint8)
    likely = np.full(GRID.shape, 10, np.uint8)
    for row, col in zip(y.astype(int), x.astype(int), strict=True):
        mask[row : row + 16, col : col + 14] = 1
        likely[row - 2 : row + 18, col - 2 : col + 16] = 125
        likely[row + 2 : row + 14, col + 2 : col + 12] = 240
    mask[:50], likely[:50] = 255, 255
    write_raster(folder / "mask.tif", mask, nodata=255)
    write_raster(folder / "probability.tif", likely, scale=0.004, nodata=255)
    return folder / "buildings.gpkg"


def draw(folder: Path, out: str = "points.gpkg", **options: object) -> Path:
    """Points over that map."""
    asked = {"mask": folder / "mask.tif", "points": 60, "overwrite": True} | options
    geoseg.sample(folder / "buildings.gpkg", folder / out, **asked)  # type: ignore[arg-type]
    return folder / out


def answer(path: Path, say: Callable[[int, str], str] = lambda number, mapped: mapped) -> Path:
    """Fill in what `say` makes of a point's number and what the map has there; the map's own word where it is left out."""
    frame = gpd.read_file(path, layer=POINTS)
    words = {int(n): say(int(n), m) for n, m in zip(frame["id"], frame["mapped"], strict=True)}
    set_answers(path, {n: "not" if word == "background" else word for n, word in words.items()})
    return path
