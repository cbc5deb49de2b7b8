"""Real places with the outlines that people drew, and what a model says of them: kept, since models are slow.

IMAGERY is a folder with `accra`, `hot`, `rio` and `elsewhere` as their publishers offer them (examples/models/README.md).
None of the places of `list_scenes` is learnt from by the built-in models; those of `list_learnt_scenes` all are.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.features import shapes
from rasterio.windows import Window
from shapely.geometry import shape

from geoseg.datasets.images import read_window
from geoseg.models.store import find_model
from geoseg.raster.grid import Grid
from geoseg.raster.mask import Probability, open_probability, read_raster_grid
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions

Polygons = NDArray[np.object_]
Pixels = NDArray[np.uint8]

NOWHERE, ORIGIN = "EPSG:32631", Affine.translation(500_000, 2_000_000)
ACCRA_WEST_COLUMNS, ACCRA_ROWS = 1792, 9728
UNKNOWN = 255
LEARNT_MOSAICS = (
    "banepa_c_0", "banepa_n_0", "banepa_e_0", "banepa_e_1", "nairobi_0", "nairobi_1", "zanzibar_0",
)  # fmt: skip
LEARNT_ACCRA = {"accra-mid": Window(1920, 0, 2180, 9728), "accra-east": Window(5200, 6200, 3504, 3500)}
"""Parts of Accra whose roofs were all drawn."""
LEARNT_KINDS = ("denseresidential", "mediumresidential", "sparseresidential", "buildings")
LEARNT_DUBAI = (1, 2, 3, 6)
HELD_OUT_MOSAICS = ("dhaka_0", "dhaka_1", "dhaka_2", "zanzibar_1")


@dataclass(frozen=True)
class Truth:
    """What people drew, in the CRS of the scene: buildings, whether as outlines or as pixels, and where nobody knows."""

    buildings: Polygons
    as_outlines: bool
    unknown: Polygons


@dataclass(frozen=True)
class Scene:
    """An image of a place. Places are of two groups: drone, and far, from the air or from space."""

    place: str
    group: str
    image: Path
    truth: Truth

    @property
    def name(self) -> str:
        return self.image.stem


@dataclass(frozen=True)
class Answer:
    """A model's outputs for a scene, and the true buildings in the pixels of that raster (x = col, y = row)."""

    scene: Scene
    grid: Grid
    classes: Pixels
    probabilities: Pixels
    separators: Pixels | None
    truth: Polygons
    unknown: Polygons


def list_scenes(imagery: Path, scratch: Path) -> Iterator[Scene]:
    """All scenes; those without a CRS are copied to `scratch`, where they get one."""
    scratch.mkdir(parents=True, exist_ok=True)
    yield crop_accra(imagery / "accra", "accra-west", Window(0, 0, ACCRA_WEST_COLUMNS, ACCRA_ROWS), scratch)
    yield from list_drone_scenes(imagery, HELD_OUT_MOSAICS)
    for image in sorted((imagery / "rio" / "images").glob("*.tif")):
        yield copy_scene("rio", image, imagery / "rio" / "masks" / image.name, 0.5, scratch)
    for folder in ("inria", "spacenet", "christchurch"):
        for image in sorted((imagery / "elsewhere" / folder / "images").iterdir()):
            mask = next((imagery / "elsewhere" / folder / "masks").glob(f"{image.stem}.*"))
            place = (
                "christchurch"
                if folder == "christchurch"
                else image.stem.split("_img")[0].rstrip("0123456789_-w")
            )
            yield copy_scene(place, image, mask, 0.3, scratch)


def list_drone_scenes(imagery: Path, names: Sequence[str]) -> Iterator[Scene]:
    """Mosaics whose buildings were drawn as outlines; those of Dhaka are one place."""
    for name in names:
        drawn = gpd.read_file(imagery / "hot" / f"{name}_buildings.geojson").geometry
        outlines = shapely.get_parts(drawn.explode().buffer(0).to_numpy())
        place = "dhaka" if name.startswith("dhaka") else name
        yield Scene(place, "drone", imagery / "hot" / f"{name}.tif", Truth(outlines, True, outlines[:0]))


def halve_scene(scene: Scene, scratch: Path) -> Scene:
    """A scene as if everything in it were half as large: houses become huts."""
    out = scratch / f"huts-{scene.name}.tif"
    with rasterio.open(scene.image) as whole:
        corner = np.array(whole.transform @ (0, 0))
        if not out.exists():
            shape = (whole.count, whole.height // 2, whole.width // 2)
            pixels = whole.read(out_shape=shape, resampling=Resampling.average)
            write_scene(out, pixels, whole.transform, whole.crs)
    smaller = shapely.transform(scene.truth.buildings, lambda corners: (corners + corner) / 2)
    truth = replace(scene.truth, buildings=smaller)
    return replace(scene, place=f"huts-{scene.place}", image=out, truth=truth)


def list_learnt_scenes(imagery: Path, scratch: Path) -> Iterator[Scene]:
    """Scenes that the built-in model learnt from: to choose rules by, so that the other places can judge them."""
    scratch.mkdir(parents=True, exist_ok=True)
    for scene in list_drone_scenes(imagery, LEARNT_MOSAICS):
        yield scene
        yield halve_scene(scene, scratch)
    for place, part in LEARNT_ACCRA.items():
        yield crop_accra(imagery / "accra", place, part, scratch)
    for number in LEARNT_DUBAI:
        for image in sorted((imagery / "dubai" / "images").glob(f"tile{number}_*.jpg")):
            drawn = read_window(imagery / "dubai" / "masks" / f"{image.stem}.png")[0]
            yield write_labelled(f"dubai-{number}", image, drawn == 1, drawn == 0, 0.6, scratch)
    with (imagery / "ucmerced" / "index.csv").open(newline="", encoding="utf-8") as index:
        rows = [
            row
            for row in csv.DictReader(index)
            if row["pseudo_checked"] == "1" and row["class"] in LEARNT_KINDS
        ]
    for row in rows:
        drawn = read_window(imagery / "ucmerced" / "pseudo_checked" / f"{row['name']}.png")[0]
        image = imagery / "ucmerced" / "images" / f"{row['name']}.jpg"
        yield write_labelled(f"us-{row['class']}", image, drawn == 1, drawn == UNKNOWN, 0.3, scratch)


def crop_accra(folder: Path, place: str, part: Window, scratch: Path) -> Scene:
    """A part of Accra; the western end is kept out of training."""
    out = scratch / f"{place}.tif"
    with (
        rasterio.open(folder / "accra_0.2m.tif") as whole,
        rasterio.open(folder / "accra_0.2m_buildings.tif") as drawn,
    ):
        labels, transform = drawn.read(1, window=part), whole.window_transform(part)
        if not out.exists():
            write_scene(out, whole.read(window=part), transform, whole.crs)
    truth = Truth(draw_outlines(labels == 1, transform), False, draw_outlines(labels == UNKNOWN, transform))
    return Scene(place, "drone", out, truth)


def copy_scene(place: str, image: Path, mask: Path, gsd_m: float, scratch: Path) -> Scene:
    """An image and its mask on a grid of square pixels that lies nowhere in particular."""
    drawn = read_window(mask)[0] > 0
    return write_labelled(place, image, drawn, np.zeros_like(drawn), gsd_m, scratch)


def write_labelled(
    place: str,
    image: Path,
    buildings: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    gsd_m: float,
    scratch: Path,
) -> Scene:
    out, transform = scratch / f"{place}-{image.stem}.tif", ORIGIN @ Affine.scale(gsd_m, -gsd_m)
    if not out.exists():
        write_scene(out, stretch_to_bytes(read_window(image)[:3]), transform, NOWHERE)
    truth = Truth(draw_outlines(buildings, transform), False, draw_outlines(unknown, transform))
    return Scene(place, "far", out, truth)


def write_scene(out: Path, pixels: Pixels, transform: Affine, crs: str | CRS) -> None:
    bands, height, width = pixels.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": bands, "crs": crs, "transform": transform}
    with rasterio.open(out, "w", height=height, width=width, compress="deflate", **profile) as file:
        file.write(pixels)


def stretch_to_bytes(pixels: NDArray[np.generic]) -> Pixels:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8)
    low, high = np.percentile(pixels.reshape(len(pixels), -1), (1, 99), axis=1)[..., None, None]
    return (((pixels - low) / (high - low)).clip(0, 1) * 255).astype(np.uint8)


def draw_outlines(inside: NDArray[np.bool_], transform: Affine) -> Polygons:
    """Pixels joined by their sides as polygons."""
    return np.array(
        [shape(s) for s, _ in shapes(inside.astype(np.uint8), mask=inside, transform=transform)], object
    )


def list_answers(
    imagery: Path,
    model: str,
    kept: Path,
    *,
    learnt: bool = False,
    gsd: str = "auto",
    group: str | None = None,
) -> Iterator[Answer]:
    """What a model says of every scene, or those of a group; what it said before is read from the folder `kept`."""
    scenes = list_learnt_scenes if learnt else list_scenes
    for scene in scenes(imagery, kept / "scenes"):
        if group in (None, scene.group):
            yield read_answer_of(scene, model, kept, gsd)


def read_answer_of(scene: Scene, model: str, kept: Path, gsd: str = "auto") -> Answer:
    """What a model says of a scene, from the folder `kept` where it said so before."""
    found = find_model(model)
    outputs = kept / f"{found.fingerprint[:12]}-{gsd}" / f"{scene.name}.tif"
    outputs.parent.mkdir(parents=True, exist_ok=True)
    if not outputs.exists():
        infer_scene([str(scene.image)], None, InferOptions(model=model, all_outputs=outputs, gsd=gsd))
    return read_answer(scene, outputs, found.card.threshold)


def read_answer(scene: Scene, outputs: Path, threshold: float) -> Answer:
    grid = read_raster_grid(str(outputs))
    opened: Probability = open_probability(str(outputs), grid)
    rows = slice(0, grid.height)
    probabilities = opened.read(rows)
    known = probabilities[0] != UNKNOWN
    to_pixels = ~grid.transform
    truth, unknown = (
        shapely.transform(shapes_, lambda x, y: to_pixels @ (x, y), interleaved=False)
        for shapes_ in (scene.truth.buildings, scene.truth.unknown)
    )
    classes = (known & (probabilities[0] >= threshold * 250)).astype(np.uint8)
    return Answer(scene, grid, classes, probabilities, opened.read_separators(rows), truth, unknown)


def leave_unknown_out(polygons: Polygons, unknown: Polygons) -> NDArray[np.bool_]:
    """Which polygons do not have their middle where nobody knows what is there."""
    if not len(unknown):
        return np.ones(len(polygons), dtype=bool)
    points, _ = shapely.STRtree(unknown).query(shapely.point_on_surface(polygons), predicate="intersects")
    return ~np.isin(np.arange(len(polygons)), points)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """What a benchmark on real places is asked: where they are, of which model, and where its answers are kept."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("imagery", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument(
        "--kept", type=Path, required=True, help="a folder for scenes and for what the model says"
    )
    return parser
