"""A folder with everything that the commands in the documentation name: a small scene, its mask, its truth, regions."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from documents import ROOT
from PIL import Image
from scipy import ndimage

import geoseg
from geoseg.raster.coding import PROBABILITY_STEP, PROBABILITY_STEPS
from geoseg.raster.grid import Grid
from geoseg.regions.points import set_answers
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_truth_mask
from geoseg.synthetic.scene import SyntheticScene, write_scene

SIDE = 320
SENTINEL_BANDS = ("B4", "B3", "B2", "B8")


def furnish_folder(folder: Path, model: Path) -> None:
    """Write the scene and what belongs to it; `model` becomes runs/roofs."""
    scene = SyntheticScene(Layout(22), SIDE, SIDE)
    write_scene(scene, folder / "scene.tif", folder / "scene.truth.gpkg")
    true = render_truth_mask(scene.layout, scene.window)
    write_masks(folder, scene.grid, true)
    write_polygons(folder, scene.grid)
    write_samples(folder)
    write_pictures(folder)
    write_sentinel_image(folder / "sentinel2.tif", scene.grid)
    shutil.copytree(model, folder / "runs" / "roofs")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("models"))
    shutil.copy(folder / "scene.tif", folder / "examples" / "scene.tif")  # of the same town, a tenth as large
    geoseg.prepare("demo", None, folder / "data", scenes=2, size=128, validation_share=0.5, workers=0)


def write_masks(folder: Path, grid: Grid, true: np.ndarray) -> None:
    """The truth, two predictions that are a little wrong, and a probability."""
    smooth = ndimage.gaussian_filter(true.astype(float), 2.0)
    write_bytes(folder / "truth.tif", true, grid)
    write_bytes(folder / "mask.tif", smooth > 0.4, grid)
    write_bytes(folder / "other.tif", np.roll(true, 3, axis=1), grid)
    write_bytes(folder / "probability.tif", np.round(smooth * PROBABILITY_STEPS), grid, PROBABILITY_STEP)


def write_bytes(path: Path, values: np.ndarray, grid: Grid, scale: float = 1.0) -> None:
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "height": grid.height, "width": grid.width,
        "crs": grid.crs.to_wkt(), "transform": grid.transform, "nodata": 255,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values.astype(np.uint8), 1)
        dataset.scales = [scale]


def write_samples(folder: Path) -> None:
    """Points and squares over the footprints, answered by the truth."""
    rasters = {"mask": folder / "mask.tif", "probability": folder / "probability.tif"}
    geoseg.sample(folder / "buildings.gpkg", folder / "points.gpkg", points=200, **rasters)
    points = gpd.read_file(folder / "points.gpkg", layer="points")
    with rasterio.open(folder / "truth.tif") as dataset:
        places = zip(points.geometry.x, points.geometry.y, strict=True)
        answers = ["building" if value[0] == 1 else "not" for value in dataset.sample(places)]
    set_answers(folder / "points.gpkg", dict(zip(points["id"], answers, strict=True)))
    geoseg.sample(folder / "buildings.gpkg", folder / "squares.gpkg", squares=12, side_m=20, **rasters)
    squares = gpd.read_file(folder / "squares.gpkg", layer="squares").assign(done=True)
    squares.to_file(folder / "squares.gpkg", layer="squares")
    marks = gpd.read_file(folder / "truth.geojson").to_crs(squares.crs).representative_point()
    marked = gpd.GeoDataFrame({"remark": [""] * len(marks)}, geometry=marks)
    marked.to_file(folder / "squares.gpkg", layer="marks")


def write_pictures(folder: Path) -> None:
    """The scene as a photograph of pixels of 0.05 m, and the scene and chips of it in folders."""
    with rasterio.open(folder / "scene.tif") as dataset:
        image = Image.fromarray(np.moveaxis(dataset.read((1, 2, 3)), 0, -1))
    image.resize((6 * SIDE, 6 * SIDE)).save(folder / "photo.jpg")
    for name in ("scenes", "chips"):
        (folder / name).mkdir()
    for name in ("north", "south"):
        shutil.copy(folder / "scene.tif", folder / "scenes" / f"{name}.tif")
    for number in (1, 2):
        image.crop((0, 0, 200, 100 * number)).save(folder / "chips" / f"{number}.jpg")


def write_polygons(folder: Path, grid: Grid) -> None:
    """Footprints of the mask and of the truth, and regions."""
    geoseg.vectorize(folder / "mask.tif", folder / "buildings.gpkg", workers=0)
    for name in ("footprints", "2024", "2026"):
        shutil.copy(folder / "buildings.gpkg", folder / f"{name}.gpkg")
    geoseg.vectorize(folder / "truth.tif", folder / "truth.geojson", workers=0)
    left, bottom, right, top = grid.bounds
    middle = (left + right) / 2
    halves = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]
    wards = gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=grid.crs)
    wards.to_file(folder / "wards.gpkg", layer="wards")
    wards.to_file(folder / "admin.gpkg", layer="districts")
    wards.dissolve().to_crs(4326).to_file(folder / "surveyed.geojson")


def write_sentinel_image(path: Path, grid: Grid) -> None:
    """Reflectance of nowhere, with the names of its bands."""
    values = np.random.default_rng(0).integers(200, 4000, (len(SENTINEL_BANDS), 96, 96)).astype(np.uint16)
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": len(values), "height": 96, "width": 96,
        "crs": grid.crs.to_wkt(), "transform": rasterio.transform.from_origin(*grid.bounds[:2], 10, 10),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
        dataset.descriptions = SENTINEL_BANDS
