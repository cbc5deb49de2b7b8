"""The roads of the five older projects on real imagery, by geoseg's commands alone: what each step takes.

    python tests/benchmarks/roads.py IMAGERY --work FOLDER [--only uav]

IMAGERY is a folder with `accra`, `hot`, `houston_uav` and `s2_india` as their publishers offer them. Trainings are of a few
dozen steps with a small encoder: they show that a road can be walked, and what it costs, not what a network learns. Told are
seconds of a processor: on a busy machine those by the clock say little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from machine import machine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.windows import Window

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
CHIP = 300
TILE, TILES_ALONG, OWN = 1500, 4, 3000
SMALL = "--encoder resnet18 --steps 30 --batch 4"
MOSAICS = {"train": "banepa_c_0", "val": "banepa_n_0"}
ROOFS = ("banepa_e_0", "banepa_e_1", "nairobi_0", "zanzibar_1")
INDIA = ("000", "003", "006", "010", "012", "020", "030")

ROADS = {
    "mapping-challenge": f"""
        prepare coco crowdai --gsd 0.3 --as vectors --out crowdai-set
        prepare audit crowdai-set --fix
        train crowdai-set --out runs/crowdai --config {RECIPES}/mapping-challenge.toml {SMALL}
        evaluate runs/crowdai crowdai-set --page scores.png
        infer crowdai/val/images --model runs/crowdai --out results/ --coco results.json --gsd 0.3
    """,
    "inria-cvat": f"""
        prepare inria AerialImageDataset --out inria-set
        train inria-set --out runs/inria --config {RECIPES}/inria-cvat.toml {SMALL} --patch 256
        infer own.tif --model runs/inria --out first.gpkg --probability first.tif
        prepare cvat-export own.tif first.gpkg --probability first.tif --out task
        prepare cvat task --gsd 0.2 --out own-set
        train own-set --out runs/own --config {RECIPES}/inria-cvat.toml --from runs/inria --steps 20 --batch 4 --patch 256
        evaluate runs/own own-set --against runs/inria
        infer own.tif --model runs/own --out buildings.gpkg --mask mask.tif --probability probability.tif
        stats buildings.gpkg --regions grid:200m --mask mask.tif --probability probability.tif --csv areas.csv
    """,
    "uav": f"""
        prepare masks houston_uav --classes {RECIPES}/uav-classes.csv --size 368x368 --gsd 0.02 --out uav-set
        train uav-set --out runs/unet --config {RECIPES}/uav-unet.toml --steps 20 --batch 2
        train uav-set --out runs/deeplabv3plus --config {RECIPES}/uav-deeplabv3plus.toml {SMALL}
        train uav-set --out runs/pspnet --config {RECIPES}/uav-pspnet.toml {SMALL}
        evaluate runs/unet runs/deeplabv3plus runs/pspnet uav-set --page networks.png
        infer houston_uav/images/6411.jpg --model runs/unet --gsd 0.02 --mask classes.png
    """,
    "rooftops": f"""
        prepare vectors scenes --images *.tif --footprints outlines.gpkg --as masks --out rooftops-set
        train rooftops-set --out runs/rooftops --config {RECIPES}/rooftops.toml {SMALL}
        evaluate runs/rooftops rooftops-set --page roofs.png
        infer scenes/nairobi_0.tif --model runs/rooftops --out roofs.gpkg
    """,
    "sentinel-2": f"""
        prepare masks s2 --images *.tif --labels *_classes.png --classes vegetation=2,built-up=1,water=3,ignore=0
            --bands B4,B3,B2,B8 --gsd 10 --out s2-set
        train s2-set --out runs/s2/unet --config {RECIPES}/sentinel2-esm.toml {SMALL} --derived ndvi --high 255
        train s2-set --out runs/s2/deeplabv3 --config {RECIPES}/sentinel2-esm.toml {SMALL} --derived ndvi --high 255
            --architecture deeplabv3
        runs runs/s2 --curves curves.png
        evaluate runs/s2/unet runs/s2/deeplabv3 s2-set --page experiments.png
        infer s2/003.tif --model runs/s2/unet --gsd 10 --mask built.tif --out built.gpkg
    """,
}


def list_steps(road: str) -> Iterator[list[str]]:
    """The commands of a road; one that goes on in the next line is indented further."""
    for line in road.strip().replace("\n            ", " ").splitlines():
        yield line.split()


def make_raw_files(imagery: Path) -> None:
    """What the older projects began with, made of the imagery, in the folder to work in."""
    for split, name in MOSAICS.items():
        save_chips(imagery / "hot", name, Path("crowdai") / split)
    save_tiles(imagery / "accra")
    shutil.copytree(imagery / "houston_uav", "houston_uav", copy_function=shutil.copyfile)
    Path("scenes").mkdir()
    for name in ROOFS:
        shutil.copyfile(imagery / "hot" / f"{name}.tif", Path("scenes") / f"{name}.tif")
    read = [gpd.read_file(imagery / "hot" / f"{name}_buildings.geojson").geometry for name in ROOFS]
    gpd.GeoDataFrame(geometry=pd.concat(read, ignore_index=True)).to_file("outlines.gpkg")
    Path("s2").mkdir()
    for name in (f"{number}{end}" for number in INDIA for end in (".tif", "_classes.png")):
        shutil.copyfile(imagery / "s2_india" / name, Path("s2") / name)


def save_chips(folder: Path, name: str, out: Path) -> None:
    """Photographs of 300 x 300 pixels and a COCO file, out of a mosaic and its outlines."""
    (out / "images").mkdir(parents=True)
    with rasterio.open(folder / f"{name}.tif") as mosaic:
        shape = (3, mosaic.height // 2, mosaic.width // 2)
        pixels = mosaic.read(out_shape=shape, resampling=Resampling.average)
        to_pixels = ~(mosaic.transform @ Affine.scale(2))
        outlines = gpd.read_file(folder / f"{name}_buildings.geojson").to_crs(mosaic.crs.to_wkt()).geometry
    flat = shapely.transform(np.asarray(outlines.array), lambda x, y: to_pixels @ (x, y), interleaved=False)
    corners = [
        (r, c) for r in range(0, shape[1] - CHIP + 1, CHIP) for c in range(0, shape[2] - CHIP + 1, CHIP)
    ]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (row, col) in enumerate(corners):
        file = f"{number:012}.jpg"
        chip = pixels[:, row : row + CHIP, col : col + CHIP]
        Image.fromarray(np.moveaxis(chip, 0, -1)).save(out / "images" / file, quality=95)
        images.append({"id": number, "file_name": file, "height": CHIP, "width": CHIP})
        for polygon in clip_polygons(flat, row, col):
            left, top, right, bottom = polygon.bounds
            ring = np.asarray(polygon.exterior.coords).round(2).ravel().tolist()
            annotations.append(
                {
                    "id": len(annotations), "image_id": number, "category_id": 100, "iscrowd": 0,
                    "area": polygon.area, "bbox": [left, top, right - left, bottom - top], "segmentation": [ring],
                }
            )  # fmt: skip
    categories = [{"id": 100, "name": "building"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotation.json").write_text(json.dumps(content))


def clip_polygons(flat: NDArray[np.object_], row: int, col: int) -> Iterator[shapely.Polygon]:
    """The parts of outlines that lie in a chip, in its own pixels."""
    box = shapely.box(col, row, col + CHIP, row + CHIP)
    near = flat[shapely.intersects(flat, box)]
    parts = shapely.get_parts(shapely.intersection(shapely.make_valid(near), box))
    for part in parts[shapely.area(parts) > 2]:
        if part.geom_type == "Polygon":
            yield shapely.transform(part, lambda corners: corners - [col, row])


def save_tiles(folder: Path) -> None:
    """Twelve tiles with masks of 0 and 255, named as Inria names them, and a scene of one's own."""
    with (
        rasterio.open(folder / "accra_0.2m.tif") as photo,
        rasterio.open(folder / "accra_0.2m_buildings.tif") as labels,
    ):
        for number in range(12):
            down, across = divmod(number, TILES_ALONG)
            window = Window(1000 + across * TILE, 1000 + down * TILE, TILE, TILE)
            name = f"accra{number + 1}.tif"
            cut(photo, window, Path("AerialImageDataset/train/images") / name)
            cut(labels, window, Path("AerialImageDataset/train/gt") / name, as_mask=True)
        cut(photo, Window(1000, 5500, OWN, OWN), Path("own.tif"))


def cut(source: rasterio.DatasetReader, window: Window, out: Path, as_mask: bool = False) -> None:
    pixels = source.read(window=window)
    if as_mask:
        pixels = np.where(pixels == 1, 255, 0).astype(np.uint8)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = {"height": window.height, "width": window.width, "count": len(pixels), "dtype": "uint8"}
    place = {"crs": source.crs, "transform": source.window_transform(window)}
    with rasterio.open(out, "w", driver="GTiff", **size, **place) as file:
        file.write(pixels)


def run_step(command: list[str]) -> float:
    """Seconds of a processor that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "geoseg", *command, "--quiet"], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def name_step(command: list[str]) -> str:
    """What a step is called in the table."""
    return " ".join(command[:3] if command[0] == "prepare" else command[:2]).replace(f"{RECIPES}/", "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("imagery", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; must not be there yet")
    parser.add_argument("--only", choices=ROADS, action="append", help="walk this road alone")
    options = parser.parse_args()
    imagery = options.imagery.resolve()
    options.work.mkdir(parents=True)
    os.chdir(options.work)
    make_raw_files(imagery)
    print(machine(), "\n")
    print("| road | step | processor seconds |\n|---|---|---|", flush=True)
    for road in options.only or ROADS:
        for command in list_steps(ROADS[road]):
            print(f"| {road} | `{name_step(command)}` | {run_step(command):.0f} |", flush=True)


if __name__ == "__main__":
    main()
