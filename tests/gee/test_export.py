"""The whole command against the test server: what ends up in the folder."""

from __future__ import annotations

import json
import re
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from earth_server.service import MOST_BYTES
from earth_server.world import Scene, ramp

SMALL = ("--bbox", "15.00,48.00,15.03,48.02", "--start", "2023-05-01", "--end", "2023-09-30")


@pytest.fixture
def small_tiles(export):
    export.tile = 128


def ground(path, band, top=9973):
    """What a file must hold, from where its pixels lie alone."""
    with rasterio.open(path) as file:
        left, up = round(file.transform.c / file.transform.a), round(file.transform.f / file.transform.e)
        gx, gy = np.meshgrid(np.arange(left, left + file.width), np.arange(up, up + file.height))
    return ramp(band, top)(gx, gy, 0)


def pixels(path):
    with rasterio.open(path) as file:
        return file.read()


def test_a_composite_and_its_label_lie_on_one_grid(export):
    summary = export.done(*SMALL, "--label", "ghsl", "--label", "worldcover")
    names = [layer["layer"] for layer in summary["exports"][0]["layers"]]
    assert names == ["sentinel2", "ghsl", "worldcover"]
    grids = set()
    for name in names:
        with rasterio.open(export.out / f"{name}.tif") as file:
            grids.add((file.crs.to_string(), file.transform, file.shape))
    ((crs, transform, _),) = grids
    assert crs == "EPSG:32633"
    assert transform.a == 10
    assert transform.c % 60 == 0
    assert transform.f % 60 == 0


def test_every_pixel_is_the_one_clear_look_at_its_place(export, small_tiles, earth):
    export.done(*SMALL)
    for number, band in enumerate(["B2", "B3", "B4", "B8"]):
        np.testing.assert_array_equal(
            pixels(export.out / "sentinel2.tif")[number], ground(export.out / "sentinel2.tif", band)
        )
    assert len(earth.tile_grids()) > 3


def test_tiles_cover_the_grid_once_and_lie_on_the_60_m_lattice(export, small_tiles, earth):
    grid = export.done(*SMALL)["exports"][0]
    covered = np.zeros((grid["height"], grid["width"]), int)
    left, top = round(grid["transform"][2] / 10), round(grid["transform"][5] / -10)
    for x, y, width, height in earth.tile_grids():
        covered[y - top : y - top + height, x - left : x - left + width] += 1
    assert (covered == 1).all()
    assert left % 6 == 0
    assert top % 6 == 0
    assert earth.peak <= 8


def test_the_file_says_what_it_is(export):
    export.done(*SMALL, "--bands", "B4,B8")
    with rasterio.open(export.out / "sentinel2.tif") as file:
        assert file.descriptions == ("B4", "B8")
        assert file.scales == (0.0001, 0.0001)
        assert file.nodata == 0
        assert file.dtypes == ("uint16", "uint16")
        assert file.profile["tiled"]
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert re.fullmatch("[0-9a-f]{64}", file.tags()["GEOSEG_SHA256"])


def test_one_kilometre_of_brandenburg_in_tiles_by_the_byte_rule(export, earth):
    summary = export.done("--point", "13.386,52.508", "--size", "600", "--source", "brandenburg")
    assert (summary["exports"][0]["width"], summary["exports"][0]["height"]) == (3000, 3000)
    assert earth.largest_request == 2816**2 * 6 <= MOST_BYTES
    image = pixels(export.out / "brandenburg.tif")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[0], ground(export.out / "brandenburg.tif", "R", 250))


def test_tiles_beside_the_area_are_not_asked_for(export, small_tiles, earth, tmp_path):
    triangle = {
        "type": "Polygon",
        "coordinates": [[[15.0, 48.0], [15.05, 48.0], [15.0, 48.04], [15.0, 48.0]]],
    }
    (tmp_path / "triangle.geojson").write_text(json.dumps(triangle))
    export.done("--aoi", tmp_path / "triangle.geojson", *SMALL[2:])
    asked = sum(width * height for _, _, width, height in earth.tile_grids())
    image = pixels(export.out / "sentinel2.tif")
    assert asked < 0.85 * image[0].size
    assert (image[0] == 0).sum() == image[0].size - asked


def test_labels_become_masks(export):
    export.done(
        *SMALL, "--source", "none", *(f"--label={name}" for name in ("ghsl", "ghsl-class", "wsf2015"))
    )
    for name in ("ghsl", "ghsl-class", "wsf2015"):
        with rasterio.open(export.out / f"{name}.tif") as file:
            assert file.descriptions == ("built",)
            assert file.nodata == 255
            assert set(np.unique(file.read())) <= {0, 1, 255}
    codes = pixels(export.out / "ghsl-class.tif")
    assert (codes == 255).any(), "a code that the legend does not know is nodata"
    assert (pixels(export.out / "wsf2015.tif") == 1).all()


def test_labels_keep_their_own_values_if_asked(export):
    export.done(
        *SMALL, "--source", "none", "--label", "ghsl", "--label", "worldcover", "--label-values", "own"
    )
    assert set(np.unique(pixels(export.out / "worldcover.tif"))) == {10, 50, 80}
    with rasterio.open(export.out / "ghsl.tif") as file:
        assert file.descriptions == ("built_percent",)
        assert file.read().max() == 100


def test_a_finer_label_is_averaged(export):
    export.done(
        *SMALL, "--source", "none", "--label", "open-buildings", "--scale", "8", "--label-values", "own"
    )
    with rasterio.open(export.out / "open-buildings.tif") as file:
        left, up = round(file.transform.c / 4), round(-file.transform.f / 4)
        gx, gy = np.meshgrid(np.arange(left, left + 2 * file.width), np.arange(up, up + 2 * file.height))
        fine = (gx // 3 * 31 + gy // 3 * 17) % 101
        mean = fine.reshape(file.height, 2, file.width, 2).mean(axis=(1, 3))
        assert np.abs(file.read(1) - mean).max() <= 0.5 + 1e-9


def test_every_label_of_earth_engine_can_be_exported(export):
    names = (
        "ghsl",
        "ghsl-class",
        "wsf2015",
        "worldcover",
        "dynamic-world",
        "open-buildings",
        "open-buildings-polygons",
    )
    summary = export.done(*SMALL, "--source", "none", *(f"--label={name}" for name in names))
    assert [layer["layer"] for layer in summary["exports"][0]["layers"]] == list(names)
    assert 0.1 < (pixels(export.out / "open-buildings-polygons.tif") == 1).mean() < 0.9


def test_a_settlement_map_among_ones_own_assets(export, earth):
    earth.assets["projects/geoseg-test/assets/esm"].bands = {
        "built": earth.assets["projects/geoseg-test/assets/esm"].bands["b1"]
    }
    export.done(*SMALL, "--source", "none", "--label", "esm:projects/geoseg-test/assets/esm")
    assert set(np.unique(pixels(export.out / "esm.tif"))) == {0, 1}


def test_any_other_asset_in_the_smallest_type_that_holds_it(export):
    export.done(*SMALL, "--asset", "projects/geoseg-test/assets/dem", "--bands", "elevation")
    with rasterio.open(export.out / "dem.tif") as file:
        assert file.dtypes == ("float32",)
        assert file.descriptions == ("elevation",)
        assert file.read().min() >= 0


def test_the_number_of_clear_looks(export):
    export.done(*SMALL, "--looks")
    assert (pixels(export.out / "sentinel2_looks.tif") == 1).all()


@pytest.mark.parametrize(
    ("mask", "is_ground"), [("csplus", True), ("scl", True), ("s2cloudless", True), ("none", False)]
)
def test_each_cloud_mask_leaves_the_ground(export, mask, is_ground):
    export.done(*SMALL, "--mask", mask, "--bands", "B4")
    found = pixels(export.out / "sentinel2.tif")[0]
    assert (found == ground(export.out / "sentinel2.tif", "B4")).all() == is_ground


@pytest.mark.parametrize("composite", ["least-cloudy", "latest", "p25"])
def test_each_composite_without_clouds_is_the_ground(export, composite):
    export.done(*SMALL, "--composite", composite, "--bands", "B4")
    found = pixels(export.out / "sentinel2.tif")[0]
    np.testing.assert_array_equal(found, ground(export.out / "sentinel2.tif", "B4"))


def test_least_cloudy_puts_the_clearest_scene_on_top(export, earth):
    export.done(*SMALL, "--composite", "least-cloudy", "--mask", "none", "--bands", "B4")
    path = export.out / "sentinel2.tif"
    with rasterio.open(path) as file:
        left, up = round(file.transform.c / 10), round(-file.transform.f / 10)
        gx, gy = np.meshgrid(np.arange(left, left + file.width), np.arange(up, up + file.height))
    clearest = min(
        earth.assets["COPERNICUS/S2_SR_HARMONIZED"].scenes,
        key=lambda s: s.properties["CLOUDY_PIXEL_PERCENTAGE"],
    )
    clouds = ((gx // 37 + gy // 41 + clearest.number) % 3) != 0
    np.testing.assert_array_equal(pixels(path)[0], ground(path, "B4") + 20000 * clouds)


def test_naip_leaves_out_scenes_without_infrared(export, earth):
    export.done("--bbox", "-100.001,40.0,-100.0,40.001", "--source", "naip")
    assert json.loads((export.out / "naip.json").read_text())["properties"]["geoseg:scenes"] == ["m_1"]


def test_scenes_without_a_cloud_score_are_counted(export, earth):
    earth.assets["GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"].scenes.pop()
    result = export(*SMALL)
    assert "1 of 3 scenes have no cloud score (csplus) and are left out" in result.stderr
    assert "--mask scl" in result.stderr


def test_no_scene_with_a_cloud_score_is_an_error(export, earth):
    earth.assets["GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"].scenes.clear()
    assert "none of the 3 scenes has a cloud score" in export.refused(*SMALL)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (
            ("--start", "2030-01-01", "--end", "2030-02-01"),
            "from 2030-01-01 to 2030-02-01: 3 over the area, 0 from",
        ),
        (("--max-cloud", "5"), "with at most 5 % clouds: 3 over the area, 3 from"),
    ],
)
def test_an_empty_collection_says_which_filter_emptied_it(export, options, culprit):
    assert culprit in export.refused(*SMALL, *options)
    assert not list(export.out.glob("*.tif"))


def test_an_area_without_any_scene(export, earth):
    for scene in earth.assets["COPERNICUS/S2_SR_HARMONIZED"].scenes:
        scene.bounds = (100.0, 0.0, 101.0, 1.0)
    assert "has no scene over the area: 0 over the area" in export.refused(*SMALL)


def test_fiji_across_the_antimeridian_is_one_grid(export, earth):
    earth.assets["COPERNICUS/S2_SR_HARMONIZED"].scenes[0].bounds = (-180.0, -18.0, -179.9, -16.0)
    grid = export.done("--bbox", "179.98,-17.01,-179.98,-17.0", *SMALL[2:])["exports"][0]
    assert grid["crs"] in {"EPSG:32760", "EPSG:32701"}
    assert 420 < grid["width"] < 440
    record = json.loads((export.out / "sentinel2.json").read_text())
    assert len(record["properties"]["geoseg:scenes"]) == 3


def test_each_zone_in_its_own_folder(export):
    summary = export.done("--bbox", "17.99,48.0,18.01,48.005", *SMALL[2:], "--split-zones")
    assert [grid["crs"] for grid in summary["exports"]] == ["EPSG:32633", "EPSG:32634"]
    assert (export.out / "EPSG_32633" / "sentinel2.tif").exists()
    assert (export.out / "EPSG_32634" / "sentinel2.tif").exists()


def test_another_crs_and_scale(export):
    grid = export.done(*SMALL, "--crs", "EPSG:3035", "--scale", "20")["exports"][0]
    assert grid["crs"] == "EPSG:3035"
    assert grid["transform"][0] == 20
    assert grid["transform"][2] % 60 == 0


def test_the_record_beside_the_file(export, earth):
    export.done(*SMALL)
    record = json.loads((export.out / "sentinel2.json").read_text())
    about = record["properties"]
    with rasterio.open(export.out / "sentinel2.tif") as file:
        assert record["stac_version"] == "1.1.0"
        assert about["proj:code"] == "EPSG:32633"
        assert about["proj:shape"] == list(file.shape)
        assert about["proj:transform"] == list(file.transform)[:6]
        assert about["geoseg:sha256"] == file.tags()["GEOSEG_SHA256"]
    assert about["geoseg:scenes"] == ["S0", "S1", "S2"]
    assert about["start_datetime"].startswith("2023-05-02")
    assert about["geoseg:recipe"]["mask"] == "csplus"
    assert about["geoseg:recipe"]["mask_threshold"] == 0.6
    assert "Copernicus" in about["geoseg:attribution"]
    assert about["geoseg:expression"] == earth.pixel_requests[0].body["expression"]
    assert record["assets"]["data"]["bands"][0] == {
        "name": "B2",
        "eo:common_name": "blue",
        "data_type": "uint16",
        "nodata": 0,
        "raster:scale": 0.0001,
        "raster:offset": 0,
    }
    west, south, east, north = record["bbox"]
    assert west <= 15.0
    assert east >= 15.03
    assert south <= 48.0
    assert north >= 48.02


def test_the_same_again_asks_for_no_pixel(export, earth):
    first = export.done(*SMALL)
    before = (export.out / "sentinel2.tif").read_bytes()
    asked = len(earth.pixel_requests)
    again = export.done(*SMALL)
    assert again["exports"][0]["layers"][0]["already_there"]
    assert len(earth.pixel_requests) == asked
    assert (export.out / "sentinel2.tif").read_bytes() == before
    assert first["exports"][0]["layers"][0]["requests"] == asked


def test_other_settings_never_overwrite_unasked(export):
    export.done(*SMALL)
    assert "was made with other settings" in export.refused(*SMALL, "--mask", "none")
    export.done(*SMALL, "--mask", "none", "--overwrite")


def test_a_dry_run_asks_for_nothing(export, earth):
    summary = export.done(*SMALL, "--label", "ghsl", "--dry-run")
    (image, label) = summary["exports"][0]["layers"]
    width, height = summary["exports"][0]["width"], summary["exports"][0]["height"]
    assert image["bytes"] == width * height * 4 * 3
    assert label["bytes"] == width * height * 2
    assert image["tiles"] == image["requests"] == 1
    assert not earth.requests
    assert not export.out.exists()


@pytest.mark.parametrize("side", [0, 15, 8193, -64])
def test_tiles_of_a_senseless_side_are_refused(export, side):
    assert f"--tile {side}: must be from 16 to 8192 pixels" in export.refused(*SMALL, "--tile", side)


def test_smaller_tiles_make_the_same_file(export):
    export.done(*SMALL, "--out", export.folder / "one")
    export.done(*SMALL, "--out", export.folder / "many", "--tile", 64)
    one, many = ((export.folder / out / "sentinel2.tif").read_bytes() for out in ("one", "many"))
    assert one == many


def test_the_summary_for_people(export):
    result = export(*SMALL, "--dry-run")
    assert "sentinel2: B2, B3, B4, B8 (uint16), 1 tile of up to 1024 px, 1 request, " in result.stdout


def test_progress_is_told_on_stderr(export, monkeypatch):
    minutes = SimpleNamespace(monotonic=count(0, 60).__next__)
    monkeypatch.setattr("geoseg.cli.console.time", minutes)
    result = export(*SMALL)
    assert "3 scenes, 2023-05-02 to 2023-07-01" in result.stderr
    assert "MP" in result.stderr
    assert result.stdout.splitlines()[-1].endswith("sentinel2.tif")


def test_new_scenes_do_not_disturb_what_is_there(export, earth):
    export.done(*SMALL)
    earth.assets["COPERNICUS/S2_SR_HARMONIZED"].scenes.append(Scene("S9", 1_690_000_000_000, 3))
    assert export.done(*SMALL)["exports"][0]["layers"][0]["already_there"]


def test_labels_of_other_years_are_told(export):
    assert "the label ghsl shows 2018, the pictures 2023-05-01" in export(*SMALL, "--label", "ghsl").stderr


def test_labels_of_the_same_years_are_not(export):
    assert (
        "labelled wrongly"
        not in export(*SMALL, "--label", "worldcover", "--start", "2021-05-01", "--end", "2023-09-30").stderr
    )
