from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result
from pyproj import Geod

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from layers import GRID, LONLAT, UTM33, footprints, scattered, write, write_raster

from geoseg.cli.main import geoseg
from geoseg.footprints.write.spool import REGION_COLUMNS
from geoseg.raster.grid import Grid
from geoseg.workflows.stats import StatsResult

LEFT, BOTTOM, RIGHT, TOP = GRID.bounds


@pytest.fixture
def buildings(tmp_path: Path) -> Path:
    return write(tmp_path / "buildings.gpkg", footprints(scattered()))


@pytest.fixture
def districts(tmp_path: Path) -> Path:
    shapes = [shapely.box(LEFT, BOTTOM, LEFT + 300, TOP), shapely.box(LEFT + 300, BOTTOM, RIGHT, TOP)]
    path = tmp_path / "districts.geojson"
    gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=shapes, crs=UTM33).to_crs(LONLAT).to_file(path)
    return path


def stats(*arguments: object) -> Result:
    return CliRunner().invoke(geoseg, ["stats", *map(str, arguments)])


def test_the_table_lands_in_the_geopackage_in_csv_and_on_the_screen(buildings: Path, districts: Path) -> None:
    csv = buildings.with_name("out.csv")
    run = stats(buildings, "--regions", districts, "--csv", csv)
    assert run.exit_code == 0, run.output
    layer, table = gpd.read_file(buildings, layer="regions"), pd.read_csv(csv)
    assert list(table.columns) == [column.name for column in REGION_COLUMNS]
    for name in table.columns[2:-1]:
        np.testing.assert_array_equal(table[name].astype(float), layer[name].astype(float), name)
    assert table["region"].tolist() == ["west", "east"]
    assert table["image_date"].tolist() == ["2026-05-04"] * 2
    assert len(gpd.read_file(buildings, layer="buildings")) == 200
    assert "west" in run.stdout
    assert "east" in run.stdout


def test_a_partition_adds_up_to_the_layer(buildings: Path) -> None:
    run = stats(buildings, "--regions", "grid:200m", "--json", "--quiet")
    summary = json.loads(run.stdout)
    total = gpd.read_file(buildings, layer="buildings")["area_m2"].sum()
    assert summary["built_area_m2"] == pytest.approx(total, rel=1e-9)
    assert summary["buildings"] == 200
    assert len(summary["rows"]) == summary["regions"] == 12


def test_rasters_give_seen_and_expected_area(buildings: Path, districts: Path, tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[:150] = 255
    probability = np.full(GRID.shape, 100, np.uint8)
    options = [
        *("--mask", write_raster(tmp_path / "mask.tif", mask, nodata=255)),
        *("--probability", write_raster(tmp_path / "p.tif", probability, scale=0.004, nodata=255)),
    ]
    assert stats(buildings, "--regions", districts, *options).exit_code == 0
    layer = gpd.read_file(buildings, layer="regions")
    assert (layer["seen_area_m2"] / layer["region_area_m2"]).tolist() == pytest.approx([0.75] * 2, rel=1e-4)
    assert (layer["expected_area_m2"] / layer["seen_area_m2"]).tolist() == pytest.approx([0.4] * 2, rel=1e-6)


def test_footprints_beyond_what_was_seen_are_told(buildings: Path, districts: Path, tmp_path: Path) -> None:
    """The mask of another scene, which has seen the west alone; a wall that reaches a little over nodata is no matter."""
    known = np.zeros(GRID.shape, dtype=np.uint8)
    known[:, 300:] = 255
    write_raster(tmp_path / "west.tif", known, nodata=255)
    table = gpd.read_file(buildings, layer="buildings")
    beyond = table.clip(shapely.box(LEFT + 300, BOTTOM, RIGHT, TOP)).area.sum()
    told = stats(buildings, "--regions", districts, "--mask", tmp_path / "west.tif", "--json").stderr
    assert int(re.findall(r"footprints cover ([\d,]+) m²", told)[0].replace(",", "")) == pytest.approx(
        beyond, rel=2e-3
    )
    nearly = table[table.bounds["maxx"] < LEFT + 301]
    west = write(tmp_path / "west.gpkg", footprints(np.asarray(nearly.geometry.array)))
    told = stats(west, "--regions", districts, "--mask", tmp_path / "west.tif", "--json").stderr
    assert "footprints cover" not in told


def test_a_black_and_white_mask_is_seen_wholly(buildings: Path, tmp_path: Path) -> None:
    """255 is building in a mask of 0 and 255, as for `vectorize`; unknown only where the file says so."""
    mask = np.zeros(GRID.shape, np.uint8)
    mask[:150] = 255
    path = write_raster(tmp_path / "plain.tif", mask)
    assert stats(buildings, "--regions", "grid:1km", "--mask", path).exit_code == 0
    layer = gpd.read_file(buildings, layer="regions")
    assert layer["seen_area_m2"].sum() == pytest.approx(GRID.height * GRID.width, rel=1e-3)


@pytest.mark.parametrize("kind", ["internal mask", "alpha band"])
def test_what_the_file_hides_is_unseen(buildings: Path, tmp_path: Path, kind: str) -> None:
    values, shown = np.zeros(GRID.shape, np.uint8), np.full(GRID.shape, 255, np.uint8)
    shown[:150] = 0
    path = tmp_path / "mask.tif"
    if kind == "alpha band":
        write_raster(path, np.stack([values, shown]), photometric="minisblack", alpha="yes")
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            write_raster(path, values)
            with rasterio.open(path, "r+") as raster:
                raster.write_mask(shown)
    assert stats(buildings, "--regions", "grid:1km", "--mask", path).exit_code == 0
    layer = gpd.read_file(buildings, layer="regions")
    assert layer["seen_area_m2"].sum() == pytest.approx((GRID.height - 150) * GRID.width, rel=1e-3)


@pytest.mark.parametrize("kind", ["float32", "uint8 in 255 steps", "two bands"])
def test_probabilities_of_other_makers(buildings: Path, tmp_path: Path, kind: str) -> None:
    half = np.full(GRID.shape, 0.5, np.float32)
    values, scale = {
        "float32": (half, None),
        "uint8 in 255 steps": (np.full(GRID.shape, 51, np.uint8), 1 / 102),
        "two bands": (np.stack([half / 5, half]), None),
    }[kind]
    path = write_raster(tmp_path / "p.tif", values, scale=scale)
    assert stats(buildings, "--regions", "grid:1km", "--probability", path).exit_code == 0
    layer = gpd.read_file(buildings, layer="regions")
    assert (layer["expected_area_m2"] / layer["seen_area_m2"]).iloc[0] == pytest.approx(0.5, rel=1e-5)


def test_bands_are_found_by_the_names_of_classes(tmp_path: Path) -> None:
    frame = footprints(scattered(), classes=("residential", "other"))
    path = write(tmp_path / "out.gpkg", frame, classes=("residential", "other"))
    bands = np.stack([np.full(GRID.shape, value, np.uint8) for value in (25, 50, 125)])
    names = ("background", "residential", "other")
    named = write_raster(tmp_path / "named.tif", bands, scale=0.004, names=names)
    assert stats(path, "--regions", "grid:1km", "--probability", named).exit_code == 0
    layer = gpd.read_file(path, layer="regions").set_index("class")
    share = (layer["expected_area_m2"] / layer["seen_area_m2"]).to_dict()
    assert share == pytest.approx({"residential": 0.2, "other": 0.5}, rel=1e-5)
    unnamed = write_raster(tmp_path / "unnamed.tif", bands, scale=0.004)
    run = stats(path, "--regions", "grid:1km", "--probability", unnamed, "--overwrite")
    assert run.exit_code == 2
    assert "describe each band with its class" in run.output


def test_geoparquet_of_either_ending_is_read(tmp_path: Path, districts: Path) -> None:
    footprints(scattered()).to_parquet(tmp_path / "theirs.geoparquet")
    csv = tmp_path / "table.csv"
    run = stats(
        tmp_path / "theirs.geoparquet", "--regions", districts, "--out", tmp_path / "t.gpkg", "--csv", csv
    )
    assert run.exit_code == 0, run.output
    assert pd.read_csv(csv)["buildings"].sum() == 200


def test_footprints_without_a_class_are_buildings(tmp_path: Path, districts: Path) -> None:
    frame = footprints(scattered(), classes=("building", "shed"))
    frame.loc[frame["class"] == "shed", "class"] = None
    frame.to_file(tmp_path / "theirs.gpkg", layer="buildings")
    run = stats(tmp_path / "theirs.gpkg", "--regions", districts, "--json", "-q")
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["buildings"] == 200


def test_a_building_that_the_antimeridian_cuts_is_one(tmp_path: Path) -> None:
    halves = shapely.box(179.9999, -17, 180, -16.9999), shapely.box(-180, -17, -179.9999, -16.9999)
    gpd.GeoSeries([shapely.MultiPolygon(halves)], crs=LONLAT).to_file(
        tmp_path / "fiji.gpkg", layer="buildings"
    )
    wards = [shapely.box(179, -18, 180, -16), shapely.box(-180, -18, -179, -16)]
    gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=wards, crs=LONLAT).to_file(tmp_path / "wards.fgb")
    run = stats(tmp_path / "fiji.gpkg", "--regions", tmp_path / "wards.fgb", "--json", "-q")
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    side_m2 = abs(Geod(ellps="WGS84").geometry_area_perimeter(halves[0])[0])
    assert told["buildings"] == 1
    assert [row["built_area_m2"] for row in told["rows"]] == pytest.approx([side_m2, side_m2], rel=1e-5)


@pytest.mark.parametrize("suffix", ["fgb", "geojson", "parquet", "shp"])
def test_other_formats_get_a_file_beside_them(tmp_path: Path, districts: Path, suffix: str) -> None:
    path = write(tmp_path / f"out.{suffix}", footprints(scattered()))
    run = stats(path, "--regions", districts)
    assert run.exit_code == 0, run.output
    read = gpd.read_parquet if suffix == "parquet" else gpd.read_file
    assert len(read(tmp_path / f"out_regions.{suffix}")) == 2


def test_footprints_of_other_makers_are_measured(tmp_path: Path, districts: Path) -> None:
    frame = footprints(scattered())
    path = tmp_path / "theirs.gpkg"
    frame[["geometry"]].to_crs(3857).to_file(path, layer="houses")
    run = stats(path, "--regions", districts, "--json", "-q")
    assert json.loads(run.stdout)["built_area_m2"] == pytest.approx(frame["area_m2"].sum(), rel=1e-6)


def test_a_second_run_needs_overwrite(buildings: Path, districts: Path) -> None:
    assert stats(buildings, "--regions", districts).exit_code == 0
    again = stats(buildings, "--regions", districts)
    assert (again.exit_code, "use --overwrite" in again.output) == (2, True)
    before = gpd.read_file(buildings, layer="regions")
    assert stats(buildings, "--regions", districts, "--overwrite").exit_code == 0
    assert gpd.read_file(buildings, layer="regions").equals(before)


def test_an_area_crs_that_distorts_is_warned_about(buildings: Path, districts: Path) -> None:
    run = stats(buildings, "--regions", districts, "--area-crs", "EPSG:3857")
    assert run.exit_code == 0
    assert "areas in EPSG:3857 are 129" in run.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.gpkg", "--regions", "grid:1km"], "no such file of footprints"),
        (["{buildings}", "--regions", "missing.gpkg"], "there is no such file"),
        (["{buildings}", "--regions", "grid:1parsec"], "grid:500m or grid:1km"),
        (["{buildings}", "--regions", "{districts}", "--region-id", "nom"], "no column nom"),
        (["{buildings}", "--regions", "{districts}", "--mask", "{districts}"], "not a raster"),
        (
            ["{buildings}", "--regions", "{districts}", "--mask", "{bare}"],
            "has no coordinate reference system",
        ),
        (
            ["{buildings}", "--regions", "{districts}", "--probability", "{raw}"],
            "is no probability (0 to 1)",
        ),
        (
            ["{buildings}", "--regions", "{districts}", "--mask", "{far}", "--probability", "{raw}"],
            "does not have the same pixels",
        ),
        (["{buildings}", "--regions", "{districts}", "--area-crs", "EPSG:4326"], "is not projected"),
        (["{districts}x", "--regions", "{districts}"], "no such file"),
        (["{bare}", "--regions", "{districts}"], "not a vector file"),
        (["{points}", "--regions", "{districts}"], "holds points or lines; polygons are needed"),
        (["{far_off}", "--regions", "{districts}"], "has a coordinate of 1e+12"),
        (["{buildings}", "--regions", "{points}:table"], "its layer table is a table without geometry"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    buildings: Path, districts: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    import rasterio
    from affine import Affine

    values = np.full(GRID.shape, 200, np.uint8)
    shifted = Grid(UTM33, GRID.transform @ Affine.translation(1, 0), GRID.height, GRID.width)
    files = {
        "buildings": buildings,
        "districts": districts,
        "raw": write_raster(tmp_path / "raw.tif", values),
        "far": write_raster(tmp_path / "far.tif", values, shifted),
        "bare": tmp_path / "bare.tif",
        "points": tmp_path / "points.gpkg",
        "far_off": tmp_path / "far.parquet",
    }
    pyogrio.write_dataframe(pd.DataFrame({"name": ["a"]}), files["points"], layer="table")
    gpd.GeoSeries([shapely.Point(LEFT, TOP)], crs=UTM33).to_file(files["points"], layer="points", mode="a")
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1e12, 1)], crs=UTM33).to_parquet(files["far_off"])
    profile = {"height": 4, "width": 4, "count": 1, "dtype": "uint8", "transform": Affine(2, 0, 0, 0, -2, 0)}
    with rasterio.open(files["bare"], "w", driver="GTiff", **profile) as raster:
        raster.write(values[None, :4, :4])
    before = buildings.read_bytes()
    run = stats(*[argument.format(**files) for argument in arguments])
    errors = [line for line in run.output.splitlines() if line.startswith("Error:")]
    assert run.exit_code == 2, run.output
    assert len(errors) == 1
    assert words in errors[0]
    assert buildings.read_bytes() == before


def test_an_empty_layer_needs_a_raster_to_say_where_it_is(tmp_path: Path, districts: Path) -> None:
    path = write(tmp_path / "none.gpkg", footprints(np.empty(0, dtype=object)))
    run = stats(path, "--regions", districts)
    assert (run.exit_code, "no footprint, and so no place" in run.output) == (2, True)
    mask = write_raster(tmp_path / "mask.tif", np.zeros(GRID.shape, np.uint8))
    run = stats(path, "--regions", districts, "--mask", mask)
    assert run.exit_code == 0, run.output
    assert gpd.read_file(path, layer="regions")["buildings"].tolist() == [0, 0]


def test_regions_in_the_same_geopackage_stay_there(buildings: Path, districts: Path) -> None:
    theirs = gpd.read_file(districts)
    theirs.to_file(buildings, layer="districts")
    assert stats(buildings, "--regions", f"{buildings}:districts").exit_code == 0
    assert gpd.read_file(buildings, layer="districts").equals(theirs)
    assert gpd.read_file(buildings, layer="regions")["region"].tolist() == ["west", "east"]


def test_long_names_stand_whole_in_the_table() -> None:
    frame = gpd.GeoDataFrame(
        {
            "region": ["Greater Metropolitan Area, North"],
            "class": ["secondary structure, destroyed"],
            "buildings": [3],
            "built_area_m2": [120.0],
            "share": [0.5],
        },
        geometry=[shapely.box(0, 0, 1, 1)],
        crs=4326,
    )
    heading, row = str(StatsResult(frame)).splitlines()
    assert row.startswith("Greater Metropolitan Area, North secondary structure, destroyed ")
    assert len(heading) == len(row)
