"""A data set of made-up places with the exact truth about their buildings: to try everything without any download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyogrio
import rasterio
from affine import Affine

from geoseg.demo.landscape import Layout
from geoseg.demo.scene import LAYER, DemoScene, write_scene
from geoseg.errors import InputError
from geoseg.footprints.files.replacing import replacing
from geoseg.prepare.classes import class_table
from geoseg.prepare.dataset import Dataset
from geoseg.prepare.making import Origin, Workshop
from geoseg.prepare.pairs import Pair
from geoseg.prepare.splits import SplitRule
from geoseg.prepare.vectors import VectorSet, prepare_vectors

APART_M = 1000.0


@dataclass(frozen=True)
class DemoSet:
    """How many places to draw, how large, and from which seed on."""

    origin: Origin
    splits: SplitRule
    scenes: int = 4
    size: int = 1024
    seed: int = 0
    gsd_m: float = 0.3

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.size < 1:
            raise InputError(
                f"{self.scenes} scenes of {self.size} pixels: there must be at least one of one pixel"
            )


def prepare_demo(wanted: DemoSet, workshop: Workshop) -> Dataset:
    """Draw the places and make a data set of them; images and truth lie in its folder."""
    folder = workshop.folder / "images"
    folder.mkdir(parents=True, exist_ok=True)
    apart_m = wanted.size * wanted.gsd_m + APART_M
    calls = [
        {
            "layout": Layout(wanted.seed + number, wanted.gsd_m),
            "size": wanted.size,
            "photo": folder / f"place{wanted.seed + number:03}.tif",
            "south_m": number * apart_m,
        }
        for number in range(wanted.scenes)
    ]
    pairs = workshop.all_done("Drawing places", drawn, calls, "places")
    table = class_table("background=,building=*")
    vectors = VectorSet(wanted.origin, table, ("red", "green", "blue"), wanted.gsd_m, splits=wanted.splits)
    return prepare_vectors(pairs, vectors, workshop)


def drawn(layout: Layout, size: int, photo: Path, south_m: float) -> Pair:
    """Draw one place and its truth, unless they are there, so far south that it shares no ground with the others."""
    truth = photo.with_suffix(".truth.gpkg")
    if not (photo.exists() and truth.exists()):
        with replacing(photo) as folder:
            write_scene(DemoScene(layout, size, size), folder / photo.name, folder / truth.name)
            move(folder / photo.name, folder / truth.name, south_m)
    return Pair(photo.stem, photo, truth)


def move(photo: Path, truth: Path, south_m: float) -> None:
    """Give a scene and its truth another place on Earth, since all are drawn at one and the same."""
    with rasterio.open(photo, "r+") as dataset:
        dataset.transform = Affine.translation(0, -south_m) @ dataset.transform
    buildings = pyogrio.read_dataframe(truth)
    buildings.geometry = buildings.translate(yoff=-south_m)
    pyogrio.write_dataframe(buildings, truth, layer=LAYER, geometry_type="Polygon")
