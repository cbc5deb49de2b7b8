"""What becomes of buildings: by constructions whose answer is known, by properties, and with files of all kinds."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from click.testing import CliRunner
from heard import Heard
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import GRID, LONLAT, UTM33, moved, write_raster
from limits import limited_files
from numpy.typing import NDArray
from pyproj import CRS, Transformer

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.comparison.ground import RasterGround
from geoseg.comparison.groups import FATES
from geoseg.comparison.layers import OutlineCleaner, OutlineStore
from geoseg.comparison.places import find_mapped_change
from geoseg.errors import InputError, WriteError
from geoseg.footprints.measure import Extent, make_equal_area_crs
from geoseg.raster.grid import Grid, find_transformer
from geoseg.regions.change import GAINED
from geoseg.workflows.compare import CompareResult, open_comparison
from geoseg.workflows.options import CompareOptions

LEFT, BOTTOM, RIGHT, TOP = GRID.bounds
SPACING_M = 30.0
TO_MERIDIAN = 200_000.0, 0.0
"""Where north of the map is north on the ground, and its metres are 0.04 % longer."""


def town(count: int = 36, seed: int = 0) -> NDArray[np.object_]:
    """Houses of different sizes on plots, some turned; none near another."""
    chance = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(count)))
    row, col = np.divmod(np.arange(count), across)
    half = chance.uniform(4, 10, (count, 2))
    x, y = LEFT + 60 + SPACING_M * col, TOP - 60 - SPACING_M * row
    boxes = shapely.box(x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1])
    turned = [
        shapely.affinity.rotate(box, angle)
        for box, angle in zip(boxes, chance.uniform(0, 90, count), strict=True)
    ]
    return np.array(turned, dtype=object)


def move(shapes: NDArray[np.object_], east: float, north: float) -> NDArray[np.object_]:
    return np.asarray(shapely.transform(shapes, lambda points: points + np.array([east, north])))


def halves(shape: Any) -> list[Any]:
    """A building cut into two by a line through its middle."""
    x, y = shape.centroid.coords[0]
    far = 1000.0
    return [
        shape & shapely.box(x - far, y - far, x, y + far),
        shape & shapely.box(x, y - far, x + far, y + far),
    ]


def frame(shapes: Sequence[Any] | NDArray[np.object_], crs: Any = UTM33, **columns: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def compare(a: Any, b: Any, **options: Any) -> CompareResult:
    one, other = (each if isinstance(each, gpd.GeoDataFrame) else frame(each) for each in (a, b))
    return geoseg.compare(one, other, **options)


def counted(result: CompareResult) -> dict[str, int]:
    return {name: number for name, number in result.counts.items() if number}


def test_a_layer_is_the_same_as_itself() -> None:
    result = compare(town(), town())
    assert counted(result) == {"same": 36}
    assert result.shift.length_m == 0
    assert result.shift.pairs == 36
    assert result.areas["gained_m2"] == result.areas["lost_m2"] == 0
    np.testing.assert_allclose(result.changes["overlap"], 1, atol=1e-9)
    np.testing.assert_allclose(result.areas["area_a_m2"], shapely.area(town()).sum(), rtol=1e-3)


@settings(max_examples=10)
@given(east=st.floats(-12, 12), north=st.floats(-12, 12), seed=st.integers(0, 5))
def test_a_shifted_copy_is_the_same_and_the_shift_is_told(east: float, north: float, seed: int) -> None:
    if np.hypot(east, north) > 14:
        return
    shapes = move(town(seed=seed), *TO_MERIDIAN)
    result = compare(shapes, move(shapes, east, north))
    assert counted(result) == {"same": 36}
    assert result.shift.east_m == pytest.approx(east, abs=0.02)
    assert result.shift.north_m == pytest.approx(north, abs=0.02)
    assert result.areas["gained_m2"] == 0


def test_the_shift_is_found_among_changes() -> None:
    """A third is gone, a third is new, and outlines wobble; half a centimetre is left of a shift of 5 m."""
    chance = np.random.default_rng(1)
    true = move(town(900), *TO_MERIDIAN)
    kept = chance.random(900) < 0.66
    wobbled = np.array([move(np.array([each]), *chance.normal(0, 0.15, 2))[0] for each in true[kept]])
    new = move(town(300, seed=4), TO_MERIDIAN[0] + 900, 0)
    result = compare(true, [*move(wobbled, 3, -4), *move(new, 3, -4)])
    assert result.shift.east_m == pytest.approx(3, abs=0.03)
    assert result.shift.north_m == pytest.approx(-4, abs=0.03)
    assert result.shift.spread_m == pytest.approx(0.15 * 1.177, abs=0.03)
    assert result.counts["same"] == kept.sum()
    assert result.counts["only_a"] == (~kept).sum()


def test_without_correction_the_shift_is_told_and_stays(heard: Heard) -> None:
    shapes = move(town(), *TO_MERIDIAN)
    result = compare(shapes, move(shapes, 6, 0), shift=False)
    assert result.shift.east_m == pytest.approx(6, abs=0.02)
    assert result.counts["same"] < 36
    assert any("6.00 m east" in line and "left as it is" in line for line in heard.lines)


def test_too_few_buildings_tell_no_shift(heard: Heard) -> None:
    result = compare(town(4), move(town(4), 1, 0))
    assert not result.shift.is_known
    assert result.summary["shift"] == {"east_m": None, "north_m": None, "spread_m": None, "pairs": 4}
    assert any("only 4 buildings match" in line for line in heard.warnings)


def test_a_building_in_two_is_split_and_two_in_one_are_merged() -> None:
    whole = town()
    parted = [*halves(whole[0]), *whole[1:]]
    split = compare(whole, parted)
    assert counted(split) == {"same": 35, "split": 1}
    row = split.changes.query("change == 'split'").iloc[0]
    assert (row["count_a"], row["count_b"], row["id_a"], row["id_b"]) == (1, 2, "1", "1, 2")
    assert row["overlap"] == pytest.approx(1, abs=1e-6)
    assert row["gained_m2"] == pytest.approx(0, abs=1e-3)
    assert counted(compare(parted, whole)) == {"same": 35, "merged": 1}


def test_buildings_gone_new_and_changed_are_told_with_their_areas() -> None:
    before = town()
    grown = shapely.box(*before[5].bounds).buffer(12, join_style="mitre")
    after = [*before[2:5], grown, *before[6:], shapely.box(LEFT + 300, TOP - 100, LEFT + 320, TOP - 90)]
    ground = frame([shapely.box(*GRID.bounds)])
    result = compare(before, after, area=write_area(ground))
    assert counted(result) == {"same": 33, "changed": 1, "only_a": 2, "only_b": 1}
    lost = shapely.area(before[:2]).sum()
    gained = 200 + grown.area - before[5].area
    assert result.areas["lost_m2"] == pytest.approx(lost, rel=2e-3)
    assert result.areas["gained_m2"] == pytest.approx(gained, rel=2e-3)
    one = result.changes.set_index("change").loc["only_b"]
    assert one["area_a_m2"] == 0
    assert one["overlap"] == 0
    assert one["id_a"] is None or np.isnan(one["id_a"])


def write_area(ground: gpd.GeoDataFrame, name: str = "area") -> tuple[str, ...]:
    import tempfile

    path = Path(tempfile.mkdtemp()) / f"{name}.geojson"
    ground.to_crs(LONLAT).to_file(path)
    return (str(path),)


def test_a_shed_at_a_house_splits_nothing() -> None:
    house = shapely.box(LEFT + 100, TOP - 200, LEFT + 120, TOP - 190)
    shed = shapely.box(LEFT + 118, TOP - 192, LEFT + 121, TOP - 190)
    result = compare([*town(), house], [*town(), house, shed])
    assert counted(result) == {"same": 37}


def test_of_several_that_meet_several_those_that_match_are_pairs() -> None:
    """Two houses stand in both; an outline of the whole block that A has as well belongs to neither."""
    x, y = LEFT + 400, TOP - 400
    left, right = shapely.box(x, y, x + 10, y + 10), shapely.box(x + 10, y, x + 20, y + 10)
    block = shapely.box(x, y, x + 20, y + 10)
    result = compare([*town(), left, right, block], [*town(), left, right])
    assert counted(result) == {"same": 38, "only_a": 1}


@st.composite
def layers_of_a_town(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """Two states of a town, made from one by taking away, parting, shrinking and adding."""
    base = town(25, seed=draw(st.integers(0, 3)))
    fates = draw(
        st.lists(
            st.sampled_from(["both", "a", "b", "a parted", "b parted", "smaller"]), min_size=25, max_size=25
        )
    )
    states: tuple[list[Any], list[Any]] = ([], [])
    for shape, fate in zip(base, fates, strict=True):
        small = shapely.affinity.scale(shape, 0.6, 0.6)
        in_a = {"b": [], "a parted": halves(shape)}.get(fate, [shape])
        in_b = {"a": [], "b parted": halves(shape), "smaller": [small]}.get(fate, [shape])
        states[0].extend(in_a)
        states[1].extend(in_b)
    for number in range(2):  # so that both have the same ground
        corner = shapely.box(
            LEFT + 20 + 500 * number,
            TOP - 30 - 500 * number,
            LEFT + 32 + 500 * number,
            TOP - 20 - 500 * number,
        )
        states[0].append(corner)
        states[1].append(corner)
    return states


MIRRORED = {
    "same": "same",
    "changed": "changed",
    "only_a": "only_b",
    "only_b": "only_a",
    "split": "merged",
    "merged": "split",
}


@settings(max_examples=10)
@given(layers_of_a_town())
def test_the_other_way_round_everything_is_mirrored(states: tuple[list[Any], list[Any]]) -> None:
    there, back = compare(*states), compare(*states[::-1])
    assert {MIRRORED[name]: number for name, number in there.counts.items()} == back.counts
    for one, other in (("area_a_m2", "area_b_m2"), ("gained_m2", "lost_m2")):
        assert there.areas[one] == pytest.approx(back.areas[other], rel=1e-6, abs=1e-3)
    assert there.shift.east_m == pytest.approx(-back.shift.east_m, abs=1e-6)


@settings(max_examples=10)
@given(layers_of_a_town())
def test_every_footprint_is_in_one_row_and_areas_add_up(states: tuple[list[Any], list[Any]]) -> None:
    result = compare(*states)
    for side, shapes in zip("ab", states, strict=True):
        named = [number for each in result.changes[f"id_{side}"].dropna() for number in each.split(", ")]
        assert sorted(map(int, named)) == list(range(1, len(shapes) + 1))
        assert result.areas[f"area_{side}_m2"] == pytest.approx(shapely.area(shapes).sum(), rel=2e-3)


def test_only_common_ground_is_compared() -> None:
    """Of a scene's buildings and a country's, only what lies in the scene's mask counts."""
    near, far = town(), move(town(), 5000, 0)
    known = np.full(GRID.shape, 255, dtype=np.uint8)
    known[:, :165] = 0
    folder = Path(write_area(frame([shapely.box(*GRID.bounds)]))[0]).parent
    mask = write_raster(folder / "mask.tif", known, nodata=255)
    result = compare(near, far, area=(str(mask),), shift=False)
    x = shapely.get_coordinates(shapely.point_on_surface(near))[:, 0]
    assert counted(result) == {"only_a": int((x < LEFT + 165).sum())}
    both = compare(near, [*near, *far])
    assert counted(both) == {"same": 36}
    assert both.ground == "the rectangle in which both layers have footprints"


def test_ground_of_several_files_is_what_they_share(tmp_path: Path) -> None:
    areas = []
    for number, box in enumerate(((LEFT, BOTTOM, LEFT + 165, TOP), (LEFT + 105, BOTTOM, RIGHT, TOP))):
        areas.append(str(tmp_path / f"{number}.gpkg"))
        frame([shapely.box(*box)]).to_file(areas[-1])
    result = compare(town(), town(), area=areas)
    x = shapely.get_coordinates(shapely.point_on_surface(town()))[:, 0]
    assert counted(result) == {"same": int(((x >= LEFT + 105) & (x <= LEFT + 165)).sum())}


@pytest.mark.parametrize("code", [4326, 3857, 32760])
def test_ground_that_a_raster_saw_lies_on_both_sides_of_the_antimeridian(code: int) -> None:
    crs, plane = CRS.from_epsg(code), make_equal_area_crs(Extent(LONLAT, (179.99, -17, 180.01, -16.99)))
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(180, -17)
    pixel = 1e-5 if crs.is_geographic else 1.0
    grid = Grid(
        crs, Affine.translation(abs(x), y) @ Affine.scale(pixel, -pixel) @ Affine.translation(-50, 0), 20, 100
    )
    ground = RasterGround("", grid, lambda: iter([(slice(0, 20), np.ones((20, 100), bool))]), plane)
    cols = np.arange(-10, 110) + 0.5
    points = find_transformer(crs, plane).transform(*grid.transform @ (cols, np.full(120, 10.5)))
    assert ground.holds(np.transpose(points)).tolist() == [*[False] * 10, *[True] * 100, *[False] * 10]


def write_across(shape: Any, way: str) -> Any:
    """A polygon that goes on beyond 180 degrees, as others write it."""
    if way == "jump":
        return shapely.transform(shape, lambda x, y: (np.where(x > 180, x - 360, x), y), interleaved=False)
    if way == "cut":
        west, east = shape & shapely.box(0, -90, 180, 90), shape & shapely.box(180, -90, 360, 90)
        parts = [west, shapely.affinity.translate(east, -360)]
        return shapely.MultiPolygon([part for part in parts if part.area])
    return shape


@pytest.mark.parametrize("way", ["beyond", "jump", "cut"])
def test_on_both_sides_of_the_antimeridian_all_is_as_elsewhere(way: str) -> None:
    """A in degrees, B a part of it in UTM: the ground is the part, and a grid has few squares."""
    step, at = 1e-5, np.arange(10)
    col, row = np.meshgrid(at, at[:4])
    x, y = 180 + (col.ravel() * 30 - 150) * step, -17.03 + row.ravel() * 30 * step
    shapes = shapely.box(x, y, x + (10 + row.ravel()) * step, y + (10 + col.ravel() % 7) * step)
    a = frame([write_across(shape, way) for shape in shapes], LONLAT)
    b = frame(shapes[col.ravel() < 7], LONLAT).to_crs(32760)
    result = compare(a, b, regions="grid:100m")
    assert counted(result) == {"same": 28}
    assert result.areas["area_a_m2"] == pytest.approx(geoseg.stats(b, "grid:100m").area_m2, rel=1e-6)
    assert result.regions is not None
    assert len(result.regions) < 20
    assert result.regions["area_a_m2"].sum() == pytest.approx(result.areas["area_a_m2"])
    assert result.regions["same"].sum() == 28


def test_other_crs_and_other_formats_give_the_same(tmp_path: Path) -> None:
    frame(town(), osm_id=range(100, 136)).to_crs(LONLAT).to_file(tmp_path / "osm.geojson")
    frame(town(), id=[f"x{i}" for i in range(36)]).to_crs(3857).to_parquet(tmp_path / "overture.parquet")
    result = geoseg.compare(tmp_path / "osm.geojson", tmp_path / "overture.parquet", tmp_path / "c.gpkg")
    assert counted(result) == {"same": 36}
    assert result.changes.crs == LONLAT
    assert result.changes["id_a"].tolist() == [str(number) for number in range(100, 136)]
    assert result.changes["id_b"].tolist() == [f"x{i}" for i in range(36)]


def test_whole_numbers_stay_whole_where_one_is_missing() -> None:
    numbered = frame(town(), id=pd.array([None, *range(2, 37)], dtype="Int64"))
    told = compare(numbered, town()).changes.set_index("id_b")["id_a"]
    assert pd.isna(told["1"])
    assert told.drop("1").tolist() == [str(number) for number in range(2, 37)]


def test_dates_and_classes_go_along() -> None:
    parted = [*halves(town()[0]), *town()[1:]]
    a = frame(town(), image_date=["2024-05-01"] * 36, **{"class": ["house"] * 36})
    b = frame(parted, image_date=["2026-05-04", "2026-05-06", *[None] * 35])
    row, other = compare(a, b).changes.iloc[0], compare(a, b).changes.iloc[1]
    assert (row["date_a"], row["date_b"], row["class_a"]) == ("2024-05-01", "2026-05-04/2026-05-06", "house")
    assert other["date_b"] is None or other["date_b"] != other["date_b"]


def test_regions_count_each_row_once_and_divide_areas(tmp_path: Path) -> None:
    wards = [shapely.box(LEFT, BOTTOM, LEFT + 140, TOP), shapely.box(LEFT + 140, BOTTOM, RIGHT, TOP)]
    frame(wards, name=["west", "east"]).to_file(tmp_path / "wards.gpkg")
    before, after = town()[:-4], town()[4:]
    result = compare(before, after, regions=str(tmp_path / "wards.gpkg"), csv=str(tmp_path / "wards.csv"))
    regions = result.regions
    assert regions is not None
    assert regions["region"].tolist() == ["west", "east"]
    for name in FATES:
        assert regions[name].sum() == result.counts[name]
    for name, area in result.areas.items():
        assert regions[name].sum() == pytest.approx(area, rel=1e-5)
    assert set(result.changes["region"]) == {"west", "east"}
    assert (tmp_path / "wards.csv").read_text().startswith("region,same,changed,only_a")


def test_each_area_is_divided_by_its_own_ground() -> None:
    """A house west of a border grows to the east, another to the west: what is lost and gained lies where it lies."""
    x, y = LEFT + TO_MERIDIAN[0], BOTTOM
    shapes = {
        "a": [shapely.box(x - 10, y, x, y + 10), shapely.box(x, y + 50, x + 20, y + 60)],
        "b": [shapely.box(x - 10, y, x + 20, y + 10), shapely.box(x - 10, y + 50, x + 15, y + 60)],
    }
    wards = [shapely.box(x - 100, y - 100, x, y + 200), shapely.box(x, y - 100, x + 100, y + 200)]
    result = compare(
        *shapes.values(), shift=False, area=write_area(frame([shapely.union_all(wards)])),
        regions=frame(wards, name=["west", "east"]),
    )  # fmt: skip
    assert counted(result) == {"changed": 2}
    assert result.regions is not None
    west, east = result.regions[["area_a_m2", "area_b_m2", "gained_m2", "lost_m2"]].to_numpy()
    assert west == pytest.approx([100, 200, 100, 0], rel=2e-3, abs=0.1)
    assert east == pytest.approx([200, 350, 200, 50], rel=2e-3, abs=0.1)


def test_the_layer_is_styled_and_a_project_shows_it_over_both(tmp_path: Path) -> None:
    for name, shapes in (("a", town()), ("b", town()[3:])):
        frame(shapes).to_file(tmp_path / f"{name}.gpkg", layer="buildings")
    options = {"qgis_project": tmp_path / "p.qgz", "regions": "grid:100m"}
    geoseg.compare(tmp_path / "a.gpkg", tmp_path / "b.gpkg", tmp_path / "c.gpkg", **options)
    with sqlite3.connect(tmp_path / "c.gpkg") as base:
        styles = dict(base.execute("SELECT f_table_name, styleQML FROM layer_styles"))
    assert set(styles) == {"changes", "changes_by_region"}
    assert all(f'value="{name}"' in styles["changes"] for name in FATES)
    import zipfile

    text = zipfile.ZipFile(tmp_path / "p.qgz").read("p.qgs").decode()
    assert [name for name in ("Changes", "Changes by region", "B", "A") if f"<layername>{name}<" in text] == [
        "Changes", "Changes by region", "B", "A",
    ]  # fmt: skip


def test_other_layers_of_the_file_stay(tmp_path: Path) -> None:
    for name in ("a", "b"):
        frame(town()).to_file(tmp_path / f"{name}.gpkg")
    out = tmp_path / "c.gpkg"
    frame(town()).to_file(out, layer="notes")
    geoseg.compare(tmp_path / "a.gpkg", tmp_path / "b.gpkg", out)
    with pytest.raises(InputError, match="holds a layer changes already"):
        geoseg.compare(tmp_path / "a.gpkg", tmp_path / "b.gpkg", out)
    geoseg.compare(tmp_path / "a.gpkg", tmp_path / "b.gpkg", out, overwrite=True)
    assert set(gpd.list_layers(out)["name"]) >= {"notes", "changes"}


@pytest.mark.parametrize("suffix", [".fgb", ".geojson", ".parquet", ".shp"])
@pytest.mark.filterwarnings("ignore:Column names longer")
def test_every_format_holds_all_rows(suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        frame(town()).to_file(tmp_path / f"{name}.gpkg")
    result = geoseg.compare(
        tmp_path / "a.gpkg", tmp_path / "b.gpkg", tmp_path / f"c{suffix}", regions="grid:200m"
    )
    assert len(result.changes) == 36
    assert result.regions is not None
    assert (tmp_path / f"c_by_region{suffix}").exists()


def test_points_lines_and_broken_polygons_are_told(heard: Heard, tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    odd = [
        shapely.Point(LEFT, TOP),
        shapely.LineString([(LEFT, TOP), (RIGHT, TOP)]),
        None,
        *move(np.array([bow]), LEFT + 150, TOP - 200),
    ]
    result = compare(town(), [*town(), *odd])
    assert counted(result) == {"same": 36, "only_b": 1}
    told = " ".join(heard.warnings)
    assert "1 of 40 polygons had invalid geometry and were repaired" in told
    assert "2 of 40 features are points or lines and were left out" in told


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(command_line, ["compare", *map(str, arguments)])


def test_the_command_prints_sums_and_json(tmp_path: Path) -> None:
    for name, shapes in (("a", town()), ("b", town()[3:])):
        frame(shapes).to_file(tmp_path / f"{name}.gpkg")
    area = tmp_path / "area.geojson"
    frame([shapely.box(*GRID.bounds)]).to_file(area)
    a, b, out = (tmp_path / f"{name}.gpkg" for name in "abc")
    done = invoke(a, b, "--out", out, "--area", area)
    assert done.exit_code == 0, done.output
    assert "33 same, 0 changed, 3 only in A, 0 only in B, 0 split, 0 merged" in done.stdout
    told = json.loads(
        invoke(a, b, "--out", out, "--area", area, "--overwrite", "--json", "--no-shift").stdout
    )
    assert told["only_a"] == 3
    assert told["shift"]["pairs"] == 33


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: frame(move(town(), 3e5, 0)).to_file(f / "b.gpkg"), "lie 29"),
        (
            lambda f: frame([]).to_file(f / "b.gpkg"),
            "holds no footprint, so nobody knows where it was looked",
        ),
        (lambda f: frame([shapely.Point(LEFT, TOP)]).to_file(f / "b.gpkg"), "holds points or lines only"),
        (lambda f: frame(town(), crs=None).to_file(f / "b.gpkg"), "no coordinate reference system"),
        (lambda f: (f / "b.gpkg").write_text("no file of polygons"), "not a vector file that can be read"),
        (lambda f: None, "b.gpkg: no such file"),
    ],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.filterwarnings("ignore:.*empty")
def test_what_cannot_be_compared_is_refused_in_a_line(make: Any, words: str, tmp_path: Path) -> None:
    frame(town()).to_file(tmp_path / "a.gpkg")
    make(tmp_path)
    done = invoke(tmp_path / "a.gpkg", tmp_path / "b.gpkg", "--out", tmp_path / "c.gpkg")
    assert done.exit_code == 2, done.output
    assert words in done.stderr.replace("\n", " ")
    assert not (tmp_path / "c.gpkg").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "c.txt"], "choose one of these endings"),
        (["--out", "a.gpkg"], "a.gpkg: is itself read"),
        (["--out", "c.gpkg", "--same-iou", "1.5"], "--same-iou 1.5: give a number between 0 and 1"),
        (["--out", "c.gpkg", "--csv", "t.csv"], "--csv t.csv: holds a row for each region"),
        (["--out", "c.gpkg", "--area", "none.gpkg"], "none.gpkg: there is no such file"),
        (["--out", "c.gpkg", "--qgis-project", "p.qgs"], "a QGIS project ends in .qgz"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        frame(town()).to_file(f"{name}.gpkg")
    done = invoke("a.gpkg", "b.gpkg", *options)
    assert done.exit_code == 2, done.output
    assert words in done.stderr


def test_a_layer_without_footprints_is_compared_where_the_ground_is_known() -> None:
    area = write_area(frame([shapely.box(*GRID.bounds)]))
    assert counted(compare(frame([]), town(), area=area)) == {"only_b": 36}
    assert counted(compare(town(), frame([]), area=area)) == {"only_a": 36}


def test_footprints_of_one_layer_that_overlap_are_not_counted_twice() -> None:
    whole = town()
    copy = [*whole, whole[0]]
    result = compare(whole, copy)
    assert result.areas["area_a_m2"] == pytest.approx(result.areas["area_b_m2"])
    assert result.areas["gained_m2"] == pytest.approx(0, abs=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_gained_is_what_no_footprint_of_a_covers_and_lost_what_none_of_b_does(seed: int) -> None:
    """In crowded layers, footprints of other rows reach into a row."""
    chance = np.random.default_rng(seed)
    boxes = [
        shapely.box(*low, *(low + chance.uniform(4, 18, 2)))
        for low in np.array([LEFT, BOTTOM]) + TO_MERIDIAN + chance.uniform(0, 120, (60, 2))
    ]
    a, b = boxes[:40], boxes[20:]
    b[:20] = [shapely.affinity.translate(box, *chance.normal(0, 1, 2)) for box in b[:20]]
    result = compare(a, b, shift=False, area=write_area(frame([shapely.box(*frame(boxes).total_bounds)])))
    rows = result.changes[result.changes["change"] != "same"]
    for name, side, shapes, others in (("gained", "b", b, a), ("lost", "a", a, b)):
        members = rows[f"id_{side}"].fillna("").str.findall(r"\d+")
        covered = [shapely.union_all([shapes[int(number) - 1] for number in each]) for each in members]
        alone = shapely.area(shapely.difference(covered, shapely.union_all(others)))
        # Map metres are 0.04 % longer.
        assert rows[f"{name}_m2"].to_numpy() == pytest.approx(alone, rel=2e-3, abs=0.01)


def test_points_say_of_the_ground_what_the_sums_say(tmp_path: Path) -> None:
    """A new house whose outline reaches over the old one beside it: there, nothing is gained."""
    x, y = LEFT + TO_MERIDIAN[0], BOTTOM
    old, new = shapely.box(x, y, x + 10, y + 10), shapely.box(x + 8, y, x + 18, y + 10)
    for name, shapes in (("a", [old]), ("b", [old, new])):
        frame(shapes).to_file(tmp_path / f"{name}.gpkg")
    area = write_area(frame([shapely.box(x - 50, y - 50, x + 50, y + 50)]))
    options = CompareOptions(shift=False, area=area)
    with open_comparison(*(str(tmp_path / f"{name}.gpkg") for name in "ab"), options) as comparison:
        places = np.meshgrid(np.arange(x, x + 20, 0.1) + 0.05, np.arange(y, y + 10, 0.1) + 0.05)
        longitude, latitude = find_transformer(UTM33, LONLAT).transform(*map(np.ravel, places))
        met_m2 = 0.01 * (find_mapped_change(comparison, longitude, latitude) == GAINED).sum()
        assert comparison.counts["same"] == comparison.counts["only_b"] == 1
        assert comparison.figures.gained.sum() == pytest.approx(80, rel=2e-3)
        assert met_m2 == pytest.approx(80)


def test_degrees_far_north_give_the_same() -> None:
    shapes = moved(move(town(), 0, 3_000_000), UTM33, LONLAT)
    assert counted(compare(frame(shapes, LONLAT), frame(shapes, LONLAT))) == {"same": 36}


@pytest.mark.parametrize("plane", [4326, 32631])
def test_outlines_that_reach_where_the_plane_does_not_are_left_out(plane: int) -> None:
    near, far = shapely.box(500_000, 5_400_000, 500_010, 5_400_010), shapely.box(9e8, 9e8, 9.1e8, 9.1e8)
    shapes = [near, far, shapely.MultiPolygon([near, far])]
    cleaner = OutlineCleaner("roofs.gpkg", CRS.from_epsg(plane))
    kept, polygons = cleaner.clean(gpd.GeoDataFrame(geometry=shapes, crs=UTM33), CRS.from_user_input(UTM33))
    assert kept.tolist() == [True, False, False]
    assert len(polygons) == 1
    assert cleaner.empty == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit to the size of files")
def test_outlines_that_find_no_room_are_told_of_in_one_line(tmp_path: Path) -> None:
    store = OutlineStore(tmp_path / "a.wkb")
    with limited_files(1_000), pytest.raises(WriteError, match=r"a\.wkb could not be written: no space left"):
        fill(store)
    store.close()


def fill(store: OutlineStore) -> None:
    store.append(shapely.box(0, 0, np.arange(1.0, 101.0), 1))
    store.finish()
