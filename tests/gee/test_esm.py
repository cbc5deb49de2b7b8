"""The European Settlement Map from files: exact shares on the grid, and no code that nobody explained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from gee.catalogue import MASK, LayerBand
from gee.esm import Legend, SettlementMap
from gee.expressions import Marking
from gee.geotiff import GeoTiffFormat
from geoseg.errors import InputError
from geoseg.raster.grid import Grid

EUROPE = CRS.from_epsg(3035)
BOX = ("--bbox", "10.0,52.0,10.02,52.01")


def written(path, codes, left=4_321_000, top=3_210_000, pixel=2, crs=EUROPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "height": codes.shape[0],
        "width": codes.shape[1],
        "count": 1,
        "dtype": codes.dtype,
        "crs": crs,
    }
    with rasterio.open(path, "w", transform=Affine(pixel, 0, left, 0, -pixel, top), **profile) as file:
        file.write(codes, 1)
    return path


PERCENT = Marking(as_mask=False)
PLAIN = Legend()


def warped(path, grid, marking=PERCENT, legend=PLAIN):
    settlement = SettlementMap(path, legend, marking)
    band = LayerBand("built" if marking.as_mask else "built_percent")
    settlement.write(GeoTiffFormat(grid, (band,), MASK), path.parent / "label.tif")
    with rasterio.open(path.parent / "label.tif") as file:
        return file.read(1)


def grid(side, pixel=10, left=4_321_000, top=3_210_000):
    return Grid(EUROPE, Affine(pixel, 0, left, 0, -pixel, top), side, side)


@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.95))
def test_two_metres_become_ten_by_exact_shares(tmp_path_factory, seed, share):
    draw = np.random.default_rng(seed)
    codes = np.where(draw.random((60, 60)) < share, 255, 1).astype(np.uint8)
    path = written(tmp_path_factory.mktemp("esm") / "esm.tif", codes)
    percent = (codes == 255).reshape(12, 5, 12, 5).mean(axis=(1, 3)) * 100
    assert np.abs(warped(path, grid(12)) - percent).max() <= 0.5 + 1e-4


def test_a_mask_begins_at_its_share(tmp_path):
    codes = np.ones((10, 10), np.uint8)
    codes[:5, :5].flat[:13] = 255
    codes[:5, 5:].flat[:12] = 250
    path = written(tmp_path / "esm.tif", codes)
    np.testing.assert_array_equal(warped(path, grid(2), Marking()), [[1, 0], [0, 0]])
    np.testing.assert_array_equal(warped(path, grid(2), Marking(least_share=0.48)), [[1, 1], [0, 0]])


def test_nodata_does_not_count(tmp_path):
    codes = np.zeros((10, 10), np.uint8)
    codes[:5, :5] = 0
    codes[0, 0] = 255
    codes[:5, 5:] = 1
    path = written(tmp_path / "esm.tif", codes)
    np.testing.assert_array_equal(warped(path, grid(2)), [[100, 0], [255, 255]])


def test_tiles_of_a_folder_join_without_a_seam(tmp_path):
    draw = np.random.default_rng(1)
    codes = draw.choice(np.array([1, 255], np.uint8), (60, 60))
    whole = warped(written(tmp_path / "whole" / "esm.tif", codes), grid(12))
    for row, col in ((0, 0), (0, 33), (27, 0), (27, 33)):
        part = codes[row : 27 if row == 0 else 60, col : 33 if col == 0 else 60]
        written(tmp_path / "parts" / f"{row}_{col}.tif", part, 4_321_000 + 2 * col, 3_210_000 - 2 * row)
    settlement = SettlementMap(tmp_path / "parts", Legend(), Marking(as_mask=False))
    settlement.write(GeoTiffFormat(grid(12), (LayerBand("built_percent"),), MASK), tmp_path / "label.tif")
    with rasterio.open(tmp_path / "label.tif") as file:
        np.testing.assert_array_equal(file.read(1), whole)


def test_class_shares_survive_the_way_to_another_crs(export, tmp_path):
    draw = np.random.default_rng(2)
    blocks = np.kron(draw.random((80, 80)) < 0.4, np.ones((20, 20))).astype(bool)
    codes = np.where(blocks, 250, 1).astype(np.uint8)
    centre = (4_321_000, 3_210_000 + 16_000 // 2)
    path = written(tmp_path / "esm.tif", codes, *centre, pixel=10)
    lonlat = rasterio.warp.transform_bounds(
        EUROPE, 4326, centre[0] + 6000, centre[1] - 10_000, centre[0] + 10_000, centre[1] - 6000
    )
    box = ",".join(f"{edge:.6f}" for edge in lonlat)
    export.done(f"--bbox={box}", "--source", "none", "--label", f"esm:{path}", "--label-values", "own")
    with rasterio.open(export.out / "esm.tif") as file:
        share = file.read(1)
        assert file.crs.to_epsg() == 32632
    assert (share != 255).all()
    assert abs(share.mean() - 100 * blocks.mean()) < 4


def test_the_map_lies_on_the_grid_of_the_picture(export, tmp_path, earth):
    codes = np.full((2000, 2000), 1, np.uint8)
    codes[500:1500, 500:1500] = 255
    path = written(tmp_path / "esm.tif", codes, 4_310_000, 3_220_000, pixel=10)
    export.done(*BOX, "--start", "2023-05-01", "--end", "2023-09-30", "--label", f"esm:{path}")
    with rasterio.open(export.out / "esm.tif") as label, rasterio.open(export.out / "sentinel2.tif") as image:
        assert (label.transform, label.shape, label.crs) == (image.transform, image.shape, image.crs)
        assert set(np.unique(label.read())) <= {0, 1, 255}
    record = json.loads((export.out / "esm.json").read_text())
    assert record["properties"]["geoseg:recipe"]["codes"]["built"] == [250, 255]
    asked = len(earth.requests)
    export.done(*BOX, "--source", "none", "--label", f"esm:{path}")
    assert len(earth.requests) == asked, "files need no Earth Engine"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "none.tif", "holds no raster"),
        (lambda folder: folder, "holds no raster"),
        (lambda folder: written(folder / "a.tif", np.full((9, 9), 7, np.uint8)), "codes 7 that the legend"),
        (lambda folder: written(folder / "a.tif", np.ones((9, 9), np.uint16)), "8-bit codes"),
        (lambda folder: written(folder / "a.tif", np.ones((9, 9), np.uint8), crs=None), "with a CRS"),
        (
            lambda folder: written(folder / "a.tif", np.ones((9, 9), np.uint8), left=0),
            "does not reach the area",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_that_cannot_be_used(tmp_path, make, reason):
    (tmp_path / "in").mkdir()
    settlement = SettlementMap(make(tmp_path / "in"), Legend(), Marking())
    with pytest.raises(InputError, match=reason):
        settlement.write(GeoTiffFormat(grid(2), (LayerBand("built"),), MASK), tmp_path / "label.tif")
    assert not (tmp_path / "label.tif").exists()


def test_tiles_of_different_kinds(tmp_path):
    written(tmp_path / "in" / "a.tif", np.ones((9, 9), np.uint8))
    written(tmp_path / "in" / "b.tif", np.ones((9, 9), np.uint8), pixel=10)
    with pytest.raises(InputError, match="differ in CRS, pixel size or alignment"):
        SettlementMap(tmp_path / "in", Legend(), Marking()).write(
            GeoTiffFormat(grid(2), (LayerBand("b"),), MASK), tmp_path / "l.tif"
        )


def test_a_file_that_is_no_raster(tmp_path):
    (tmp_path / "a.tif").write_text("no")
    with pytest.raises(InputError, match="cannot be read as a raster"):
        SettlementMap(tmp_path / "a.tif", Legend(), Marking()).write(
            GeoTiffFormat(grid(2), (LayerBand("b"),), MASK), tmp_path / "l.tif"
        )


def test_a_legend_of_ones_own(tmp_path):
    codes = np.array([[2, 2], [3, 9]], np.uint8)
    path = written(tmp_path / "esm.tif", codes, pixel=10)
    legend = Legend.parse("nodata=9 other=2 built=3")
    np.testing.assert_array_equal(warped(path, grid(2), Marking(), legend), [[0, 0], [1, 255]])


@pytest.mark.parametrize(
    "text", ["", "built=1", "other=1 built=", "other=1 built=1", "other=a built=2", "other=1 built=999", "x"]
)
def test_legends_that_make_no_sense(text):
    with pytest.raises(InputError, match="--esm-codes"):
        Legend.parse(text)
