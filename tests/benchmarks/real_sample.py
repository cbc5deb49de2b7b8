"""Whether a sample of a real place tells its true area: Accra, where people drew every building, sampled ten times over.

    python tests/benchmarks/real_sample.py IMAGERY --keep FOLDER

IMAGERY is a folder that holds `accra` as its publisher offers it (examples/models/README.md). The model `default` maps its west,
which it has not learnt from; `geoseg sample` draws points, the labels answer them, `geoseg stats` makes the figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from machine import machine, table
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

import geoseg
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.write.samples import NOT_BUILDING, POINTS
from geoseg.raster.grid import Window as GridWindow
from geoseg.raster.mask import read_raster_grid
from geoseg.regions.pixels import RegionPixels
from geoseg.regions.points import set_answers
from geoseg.regions.polygons import read_regions

WEST_COLUMNS = 1792
UNKNOWN = 255
GRID = "grid:250m"


def crop(source: Path, out: Path) -> Path:
    """The west of a raster."""
    with rasterio.open(source) as whole:
        window = Window(0, 0, WEST_COLUMNS, whole.height)
        profile = whole.profile | {"width": WEST_COLUMNS, "compress": "deflate", "photometric": None}
        values = whole.read(window=window)
    profile = {name: value for name, value in profile.items() if value is not None}
    with rasterio.open(out, "w", **profile) as part:
        part.write(values)
    return out


def map_place(imagery: Path, folder: Path) -> None:
    """Image, labels and map of the west; ground without labels counts as not seen."""
    image = crop(imagery / "accra" / "accra_0.2m.tif", folder / "scene.tif")
    labels = crop(imagery / "accra" / "accra_0.2m_buildings.tif", folder / "labels.tif")
    geoseg.infer(image, folder / "buildings.gpkg", probability=folder / "probability.tif", overwrite=True)
    with rasterio.open(folder / "probability.tif") as like, rasterio.open(labels) as dataset:
        size = {"height": like.height, "width": like.width, "transform": like.transform}
        with WarpedVRT(dataset, crs=dataset.crs, nodata=UNKNOWN, **size) as placed:
            seen, profile = placed.read(1) != UNKNOWN, dataset.profile | size
    with rasterio.open(folder / "seen.tif", "w", **profile) as dataset:
        dataset.write(np.where(seen, 0, UNKNOWN).astype(np.uint8), 1)


def measure_truth(folder: Path) -> NDArray[np.float64]:
    """The true built area of each square of the grid."""
    grid = read_raster_grid(str(folder / "labels.tif"))
    pixels = RegionPixels(read_regions(GRID, grid), grid, AreaCrs.choose(grid), 1)
    with rasterio.open(folder / "labels.tif") as dataset:
        labels = dataset.read(1)
    built = np.where(labels == UNKNOWN, 0, labels).astype(np.float64)
    pixels.add(GridWindow(0, 0, *labels.shape), labels != UNKNOWN, built[None])
    assert pixels.expected_m2 is not None
    return pixels.expected_m2[0]


def answer_points(path: Path, labels: Path) -> None:
    """Fill in what the labels say at each point."""
    points = gpd.read_file(path, layer=POINTS)
    with rasterio.open(labels) as dataset:
        found = [value[0] for value in dataset.sample(zip(points.geometry.x, points.geometry.y, strict=True))]
    answers = ["building" if value == 1 else NOT_BUILDING for value in found]
    set_answers(path, dict(zip(points["id"], answers, strict=True)))


def sample_once(folder: Path, points: int, seed: int, truth: NDArray[np.float64]) -> tuple[object, ...]:
    """One sample: its figures beside the true ones."""
    sample, rasters = folder / f"points-{seed}.gpkg", {"mask": folder / "seen.tif"}
    rasters["probability"] = folder / "probability.tif"
    geoseg.sample(folder / "buildings.gpkg", sample, points=points, seed=seed, overwrite=True, **rasters)
    answer_points(sample, folder / "labels.tif")
    result = geoseg.stats(folder / "buildings.gpkg", GRID, samples=sample, **rasters)
    assert result.accuracy is not None
    row = result.accuracy.set_index("class").loc["building"]
    held = result.regions["adjusted_low_m2"].le(truth) & result.regions["adjusted_high_m2"].ge(truth)
    there = result.regions["seen_area_m2"].to_numpy() > 0
    low, high = row["adjusted_low_m2"] / 1e4, row["adjusted_high_m2"] / 1e4
    true = truth.sum() / 1e4
    return (
        seed,
        f"{row['mapped_area_m2'] / 1e4:.2f}",
        f"{row['adjusted_area_m2'] / 1e4:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{true:.2f}",
        "yes" if low <= true <= high else "no",
        f"{int(held[there].sum())} of {int(there.sum())}",
        f"{row['users_accuracy']:.1%}",
        f"{row['producers_accuracy']:.1%}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("imagery", type=Path, help="the folder that holds accra")
    parser.add_argument(
        "--keep", type=Path, required=True, help="where the map is kept, since models are slow"
    )
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    if not (given.imagery / "accra" / "accra_0.2m.tif").exists():
        sys.exit(f"{given.imagery}: holds no accra; see examples/models/README.md for where to get it")
    given.keep.mkdir(parents=True, exist_ok=True)
    if not (given.keep / "seen.tif").exists():
        map_place(given.imagery, given.keep)
    truth = measure_truth(given.keep)
    rows = [sample_once(given.keep, given.points, seed, truth) for seed in range(1, given.seeds + 1)]
    print(f"{machine()}; {given.points} points, areas in hectares\n")
    header = ("seed", "mapped", "adjusted", "95 % interval", "true", "held", f"held in {GRID}", "user's", "producer's")  # fmt: skip
    print(table(header, rows))


if __name__ == "__main__":
    main()
