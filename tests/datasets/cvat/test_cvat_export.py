"""Pieces for CVAT come back as the labels they were made of, and the unsure ones go first."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from made import HERE, UTM33, RasterWriter, photo
from PIL import Image
from rasterio.features import rasterize

from geoseg.datasets.builder import DatasetBuilder, Origin
from geoseg.datasets.cvat.dataset import CvatOptions, prepare_cvat
from geoseg.datasets.cvat.export import CvatExportOptions, export_tiles
from geoseg.datasets.images import read_window
from geoseg.errors import InputError


@pytest.fixture
def footprints(tmp_path: Path) -> Path:
    courtyard = shapely.box(30, 30, 90, 90) - shapely.box(50, 50, 70, 70)
    shapes = [shapely.box(5, 5, 20, 15), courtyard]
    layer = geopandas.GeoDataFrame(geometry=shapes, crs=UTM33).affine_transform(HERE.to_shapely())
    layer.to_file(tmp_path / "footprints.gpkg")
    return tmp_path / "footprints.gpkg"


def test_what_goes_out_comes_back(write_raster: RasterWriter, footprints: Path, tmp_path: Path) -> None:
    scene = write_raster("scene.tif", photo(128, 128))
    assert export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(4, 64)) > 4
    wanted = CvatOptions(Origin("back"), 0.3)
    dataset = prepare_cvat(tmp_path / "task", wanted, DatasetBuilder(tmp_path / "back", 0))
    whole = np.zeros((128, 128), np.uint8)
    for item in dataset.items:
        row, col = (int(part[1:]) for part in item.place.split("_")[-2:])
        whole[row : row + 64, col : col + 64] = read_window(dataset.label_path(item))[0]
    shapes = geopandas.read_file(footprints).geometry
    assert np.array_equal(whole, rasterize(shapes, (128, 128), transform=HERE))
    assert [each.name for each in dataset.classes] == ["background", "building"]


def test_the_least_sure_pieces_go_out(write_raster: RasterWriter, footprints: Path, tmp_path: Path) -> None:
    scene = write_raster("scene.tif", photo(128, 128))
    probability = np.zeros((128, 128), np.uint8)
    probability[70:90, 10:30] = 125
    probability[:64, :64] = 255  # nodata is no doubt
    path = write_raster("probability.tif", probability)
    export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(1, 64, path))
    assert [piece.name for piece in (tmp_path / "task/images").iterdir()] == ["scene_r64_c0.tif"]


@pytest.mark.parametrize("finer", [0.5, 0.75, 2])
def test_the_probability_may_have_pixels_of_another_size(
    finer: float, write_raster: RasterWriter, footprints: Path, tmp_path: Path
) -> None:
    """As that of a model has, which looks at another resolution than the scene's."""
    scene = write_raster("scene.tif", photo(128, 128))
    side = round(128 * finer)
    probability = np.zeros((side, side), np.uint8)
    probability[side // 2 + 4 :, 4 : side // 2 - 4] = 125
    path = write_raster("probability.tif", probability, transform=HERE @ Affine.scale(1 / finer))
    export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(1, 64, path))
    assert [piece.name for piece in (tmp_path / "task/images").iterdir()] == ["scene_r64_c0.tif"]


def test_what_does_not_fit_is_refused(write_raster: RasterWriter, footprints: Path, tmp_path: Path) -> None:
    scene = write_raster("scene.tif", photo(64, 64))
    other = write_raster("probability.tif", photo(32, 32, 1))
    with pytest.raises(InputError, match="not of the same ground"):
        export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(1, 64, other))
    decimals = write_raster("decimals.tif", np.full((64, 64), 0.5, np.float32))
    with pytest.raises(InputError, match="holds float32, not bytes; give the probability that geoseg infer"):
        export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(1, 64, decimals))
    elsewhere = write_raster("probability.tif", photo(64, 64, 1), crs="EPSG:32634")
    with pytest.raises(InputError, match="is in EPSG:32634, its image in EPSG:32633"):
        export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(1, 64, elsewhere))
    nowhere = tmp_path / "nowhere.png"
    Image.fromarray(photo(64, 64, 1)[0]).save(nowhere)
    with pytest.raises(InputError, match=r"nowhere\.png: has no place on Earth"):
        export_tiles(scene, footprints, tmp_path / "task", CvatExportOptions(1, 64, nowhere))
    with pytest.raises(InputError, match="not a vector file"):
        export_tiles(scene, other, tmp_path / "task", CvatExportOptions(1, 64))
