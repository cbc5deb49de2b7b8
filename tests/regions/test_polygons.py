from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from heard import Heard
from layers import GRID, LONLAT, MERCATOR, UTM33, moved
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs, Extent
from geoseg.raster.grid import Grid
from geoseg.regions.polygons import Regions, read_regions

LEFT, BOTTOM, RIGHT, TOP = GRID.bounds
HALVES = [shapely.box(LEFT, BOTTOM, LEFT + 400, TOP), shapely.box(LEFT + 400, BOTTOM, RIGHT, TOP)]


def halves(**columns: list[object]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns or {"name": ["west", "east"]}, geometry=HALVES, crs=UTM33)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb", "parquet"])
@pytest.mark.parametrize("crs", [UTM33, LONLAT, MERCATOR], ids=["utm", "degrees", "mercator"])
def test_regions_come_from_any_file_in_any_crs(tmp_path: Path, suffix: str, crs: CRS) -> None:
    path = tmp_path / f"admin.{suffix}"
    frame = halves().to_crs(crs)
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    regions = read_regions(str(path), GRID)
    assert sorted(regions.names) == ["east", "west"]
    assert regions.areas(AreaCrs.choose(GRID)) == pytest.approx([240_000 * 0.9998] * 2, rel=1e-3)


def test_a_layer_is_named_after_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "admin.gpkg"
    halves().to_file(path, layer="districts")
    halves(name=["a", "b"]).to_file(path, layer="wards")
    assert read_regions(f"{path}:wards", GRID).names == ("a", "b")
    with pytest.raises(InputError, match=r"districts, wards; say which one as admin.gpkg:LAYER"):
        read_regions(str(path), GRID)
    with pytest.raises(InputError, match="has no layer parishes; it has districts, wards"):
        read_regions(f"{path}:parishes", GRID)


def test_a_column_names_the_regions(tmp_path: Path) -> None:
    path = tmp_path / "admin.gpkg"
    halves(code=[7, 9], Name=["west", "east"]).to_file(path)
    assert read_regions(str(path), GRID).names == ("west", "east")
    assert read_regions(str(path), GRID, region_id="code").names == ("7", "9")
    with pytest.raises(InputError, match="no column kode; it has code, Name"):
        read_regions(str(path), GRID, region_id="kode")


@pytest.mark.parametrize("file", ["admin.gpkg", "admin.parquet"])
def test_numbers_that_name_regions_are_whole_though_one_is_missing(tmp_path: Path, file: str) -> None:
    regions = halves(code=pd.array([7, None], dtype="Int64"))
    (regions.to_parquet if file.endswith("parquet") else regions.to_file)(tmp_path / file)
    assert read_regions(str(tmp_path / file), GRID, region_id="code").names == ("7", "unnamed")


def test_regions_without_a_name_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "admin.gpkg"
    halves(name=["same", "same"]).to_file(path)
    assert read_regions(str(path), GRID).names == ("1", "2")


def test_rows_of_one_name_make_one_region(tmp_path: Path, heard: Heard) -> None:
    path = tmp_path / "admin.gpkg"
    halves(code=["x", "x"]).to_file(path)
    regions = read_regions(str(path), GRID, "code")
    assert regions.names == ("x",)
    assert regions.shapes[0].equals(shapely.union_all(HALVES))
    assert "2 rows of 1 names" in heard.lines[0]


def test_invalid_regions_are_repaired_counted_and_said(tmp_path: Path, heard: Heard) -> None:
    path = tmp_path / "admin.gpkg"
    bow_tie = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    frame = gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=[bow_tie, shapely.box(2, 0, 3, 1)], crs=LONLAT)
    frame.to_file(path)
    regions = read_regions(str(path), Extent(LONLAT, (0, 0, 3, 1)), None)
    assert all(shape.is_valid for shape in regions.shapes)
    assert regions.shapes[0].area == pytest.approx(0.5)
    assert "1 of 2 polygons had invalid geometry and were repaired" in heard.warnings[0]


def test_empty_regions_are_left_out_and_said(tmp_path: Path, heard: Heard) -> None:
    path = tmp_path / "admin.gpkg"
    gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=[None, HALVES[0]], crs=UTM33).to_file(path)
    assert read_regions(str(path), GRID, None).names == ("b",)
    assert "1 of 2 regions are empty" in heard.warnings[0]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([], "holds no polygon"),
        ([shapely.Point(0, 0)], "points or lines"),
        ([shapely.Polygon()], "holds no polygon"),
    ],
)
def test_a_file_without_polygons_is_refused(tmp_path: Path, shapes: list[object], words: str) -> None:
    path = tmp_path / "admin.fgb"
    kind = "Point" if words == "points or lines" else "Polygon"
    frame = gpd.GeoDataFrame({"name": ["a"] * len(shapes)}, geometry=shapes, crs=UTM33)
    frame.to_file(path, geometry_type=kind, SPATIAL_INDEX="NO")
    with pytest.raises(InputError, match=words):
        read_regions(str(path), GRID)


def test_regions_without_a_crs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "admin.parquet"
    halves().set_crs(None, allow_override=True).to_parquet(path)
    with pytest.raises(InputError, match="no coordinate reference system"):
        read_regions(str(path), GRID)


@pytest.mark.parametrize("name", ["missing.gpkg", "missing.gpkg:layer"])
def test_a_missing_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_regions(name, GRID)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "admin.gpkg"
    path.write_text("not a database")
    with pytest.raises(InputError, match="not a vector file"):
        read_regions(str(path), GRID)


@pytest.mark.parametrize("source", ["grid:", "grid:1", "grid:0m", "grid:km", "grid:1mile", "grid:-5m"])
def test_a_grid_needs_a_size(source: str) -> None:
    with pytest.raises(InputError, match="grid:500m or grid:1km"):
        read_regions(source, GRID)


def test_a_grid_too_fine_is_refused() -> None:
    with pytest.raises(InputError, match="choose a larger side"):
        read_regions("grid:0.1m", GRID)


def test_squares_of_a_grid_stand_on_round_coordinates() -> None:
    regions = read_regions("grid:0.25km", GRID)
    assert len(regions) == 4 * 3
    assert regions.names[0] == "E300000_N5399750"
    assert shapely.union_all(regions.shapes).bounds == (300_000, 5_399_250, 301_000, 5_400_000)


@pytest.mark.parametrize(
    "grid",
    [
        Grid(LONLAT, Affine(1e-4, 0, 9, 0, -1e-4, 61), 300, 400),
        Grid(MERCATOR, Affine(10, 0, 1e6, 0, -10, 8e6), 300, 400),
        Grid(CRS.from_epsg(2263), Affine(3, 0, 980_000, 0, -3, 200_000), 900, 1200),
    ],
    ids=["degrees", "mercator", "feet"],
)
def test_squares_are_true_squares_in_any_crs(grid: Grid) -> None:
    regions = read_regions("grid:500m", grid)
    area = AreaCrs.choose(grid)
    assert regions.areas(area) == pytest.approx([250_000.0] * len(regions), rel=2e-3)
    corners = moved([shapely.box(*grid.bounds)], grid.crs, regions.crs)
    assert shapely.union_all(regions.shapes).buffer(1).covers(corners[0])


@pytest.mark.parametrize("code", [32633, 2263])
@pytest.mark.parametrize("side_m", [0.4, 2.5, 1000.0])
def test_squares_are_named_by_their_corners_in_metres_whatever_the_unit(code: int, side_m: float) -> None:
    crs, corner = CRS.from_epsg(code), np.array([300_000.0, 60_000.0])
    unit_m = crs.axis_info[0].unit_conversion_factor
    place = Extent(crs, (*corner / unit_m, *(corner + 3 * side_m) / unit_m))
    squares = read_regions(f"grid:{side_m:g}m", place)
    for name, shape in zip(squares.names, squares.shapes, strict=True):
        east, north = (float(part[1:]) for part in name.split("_"))
        assert (east, north) == pytest.approx(np.array(shape.bounds[:2]) * unit_m, abs=1e-6)


def test_names_must_differ() -> None:
    with pytest.raises(InputError, match="all different"):
        Regions(("a", "a"), np.array(HALVES, dtype=object), UTM33)


@pytest.mark.parametrize(
    "fiji",
    [
        shapely.box(179, -19, 181, -16),
        shapely.box(-181, -19, -179, -16),
        shapely.MultiPolygon([shapely.box(179, -19, 180, -16), shapely.box(-180, -19, -179, -16)]),
        shapely.Polygon([(179, -19), (-179, -19), (-179, -16), (179, -16)]),
    ],
    ids=["beyond 180", "beyond -180", "cut in two", "ring across"],
)
@pytest.mark.parametrize("crs", [LONLAT, CRS.from_epsg(32760)], ids=["degrees", "utm"])
def test_a_region_across_the_antimeridian_is_one_piece_near_the_data(
    fiji: shapely.Geometry, crs: CRS
) -> None:
    regions = Regions(("fiji",), np.array([fiji], dtype=object), LONLAT)
    bounds = (179.5, -18, 180.5, -17)
    place = Extent(
        crs, tuple(moved([shapely.box(*bounds)], LONLAT, crs)[0].bounds) if crs != LONLAT else bounds
    )
    piece = regions.near(place)[0]
    assert piece.geom_type == "Polygon"
    assert piece.bounds[2] - piece.bounds[0] == pytest.approx(1.2, abs=0.1)
    whole = AreaCrs.choose(Extent(LONLAT, (179, -19, 181, -16))).areas(
        [shapely.box(179, -19, 181, -16)], LONLAT
    )
    assert regions.areas(AreaCrs.choose(place)) == pytest.approx(whole, rel=1e-6)
    earth = AreaCrs.choose(Extent(LONLAT, (-180, -60, 180, 75)))
    assert regions.areas(earth) == pytest.approx(whole, rel=1e-6)


def test_a_region_far_away_is_empty_near_the_data() -> None:
    regions = Regions(("far",), np.array([shapely.box(100, 10, 101, 11)], dtype=object), LONLAT)
    assert regions.near(GRID)[0].is_empty


NEW_ZEALAND = Extent(LONLAT, (174.0, -41.0, 176.0, -39.0))
FAR_AND_WIDE = {
    "at the antipodes": shapely.box(-6, 39, -4, 41),
    "with a hole there": shapely.box(-20, 30, 10, 50) - shapely.box(-6, 39, -4, 41),
    "at home": shapely.box(174, -41, 176, -39),
    "across": shapely.box(170, -45, 190, -35),
    "half of Earth": shapely.box(-90, -80, 90, 80),
    "an ice cap": shapely.box(-180, -90, 180, -60),
}


@pytest.mark.parametrize("name", FAR_AND_WIDE)
def test_areas_are_true_wherever_a_region_lies(name: str) -> None:
    """By hand: of a band between two parallels, of Earth's ellipsoid, and of a part of it by its longitudes."""
    shape = FAR_AND_WIDE[name]
    regions = Regions((name,), np.array([shape]), LONLAT)

    def measure_band(south: float, north: float) -> float:
        sines, e = np.sin(np.radians([south, north])), np.sqrt(0.0066943799901413165)
        halves = sines / (1 - (e * sines) ** 2) + np.log((1 + e * sines) / (1 - e * sines)) / (2 * e)
        return float(np.pi * 6378137.0**2 * (1 - e**2) * np.diff(halves)[0])

    boxes = [shapely.Polygon(shape.exterior), *map(shapely.Polygon, shape.interiors)]
    areas = [measure_band(box.bounds[1], box.bounds[3]) * (box.bounds[2] - box.bounds[0]) / 360 for box in boxes]  # fmt: skip
    assert regions.areas(AreaCrs.choose(NEW_ZEALAND))[0] == pytest.approx(areas[0] - sum(areas[1:]), rel=1e-6)


def test_regions_that_jump_or_are_cut_are_whole_and_not_called_broken(tmp_path: Path, heard: Heard) -> None:
    """A bay between two capes, of which the antimeridian goes through, crosses itself as it is written."""
    corners = [(179, 0), (181, 0), (181, 2), (180.5, 2), (180.5, 1), (179.5, 1), (179.5, 2), (179, 2)]
    bay = shapely.Polygon(corners)
    jump = shapely.Polygon([(x - 360 if x > 180 else x, y) for x, y in corners])
    cut = shapely.MultiPolygon([shapely.box(179, 4, 180, 5), shapely.box(-180, 4, -179, 5)])
    rows = {"name": ["bay", "isle", "isle"]}
    shapes = [jump, cut, shapely.box(170, 4, 171, 5)]
    gpd.GeoDataFrame(rows, geometry=shapes, crs=LONLAT).to_file(tmp_path / "fiji.gpkg")
    place = Extent(LONLAT, (179.0, 0.0, 181.0, 5.0))
    found = read_regions(str(tmp_path / "fiji.gpkg"), place, "name")
    assert found.shapes[0].equals(bay)
    assert found.shapes[1].area == pytest.approx(3)
    assert not heard.warnings
