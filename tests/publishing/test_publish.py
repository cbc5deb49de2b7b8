"""A country's data set: nothing lost, nothing twice, sorted, and read back by others' programs."""

from __future__ import annotations

import errno
import gzip
import json
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from click.testing import CliRunner
from heard import Heard
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import LONLAT, UTM33, footprints

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.errors import GeosegError, InputError
from geoseg.publishing.parquet import PublishedFile, PublishedSchema
from geoseg.publishing.places import HALF_M, encode_hilbert, find_quadkeys
from geoseg.publishing.sort import ExternalSorter
from geoseg.publishing.tiles import check_tiles, find_tiles, number_tiles, read_tiles, tell_of_full_tiles
from geoseg.workflows.publish import PartWriter

KILLED_AT_SECOND_NAME = """
import os, sys
rename, named = os.replace, []
def rename_and_die(source, target):
    rename(source, target)
    named.append(target)
    if str(target).endswith("parquet") and sum(str(each).endswith("parquet") for each in named) == 2:
        os._exit(9)
os.replace = rename_and_die
from geoseg.cli.main import geoseg
geoseg(["publish", *sys.argv[1:]])
"""
CELLS = st.integers(0, 2**16 - 1)
HERE = 300_000.0, 5_400_000.0


def houses(count: int = 40, seed: int = 0, east: float = 0.0, width: float = 400.0) -> gpd.GeoDataFrame:
    """Houses that do not touch, each with all columns."""
    chance = np.random.default_rng(seed)
    cells = chance.permutation(int(width / 20) ** 2)[:count]
    row, col = np.divmod(cells, int(width / 20))
    x, y = HERE[0] + east + 20 * col, HERE[1] + 20 * row
    size = chance.uniform(5, 15, (count, 2))
    return footprints(shapely.box(x, y, x + size[:, 0], y + size[:, 1]), UTM33, seed=seed)


def save(frame: gpd.GeoDataFrame, path: Path) -> Path:
    frame.to_file(path, layer="buildings") if path.suffix == ".gpkg" else frame.to_file(path)
    return path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three scenes side by side, two of them in one format and one in another."""
    folder = tmp_path / "results"
    folder.mkdir()
    for number, name in enumerate(("a.gpkg", "b.gpkg", "c.geojson")):
        save(houses(seed=number, east=1000.0 * number), folder / name)
    return folder


def test_all_footprints_arrive_with_their_columns(scenes: Path, tmp_path: Path) -> None:
    result = geoseg.publish(scenes, tmp_path / "all.parquet")
    assert (result.count, result.duplicates) == (120, 0)
    frame = gpd.read_parquet(tmp_path / "all.parquet")
    assert frame["id"].tolist() == list(range(1, 121))
    assert sorted(frame["source"].unique()) == ["a.gpkg", "b.gpkg", "c.geojson"]
    assert set(frame["image_date"]) == {"2026-05-04"}
    true = np.concatenate([houses(seed=n, east=1000.0 * n)["area_m2"].to_numpy() for n in range(3)])
    np.testing.assert_allclose(np.sort(frame["area_m2"]), np.sort(true), rtol=1e-12)
    assert frame.to_crs(UTM33).area.sum() == pytest.approx(true.sum(), rel=2e-3)


def test_footprints_without_an_id_are_known_by_their_row(tmp_path: Path) -> None:
    frame = houses().drop(columns="id")
    for name, rows in (("a.gpkg", frame[:30]), ("b.gpkg", frame[10:])):
        save(rows, tmp_path / name)
    result = geoseg.publish(
        [tmp_path / "a.gpkg", tmp_path / "b.gpkg"], tmp_path / "all.parquet", names="overture"
    )
    assert (result.count, result.duplicates) == (40, 20)
    rows = pq.read_table(tmp_path / "all.parquet", columns=["sources", "geometry"]).to_pylist()
    files = {name: gpd.read_file(tmp_path / name).to_crs(4326) for name in ("a.gpkg", "b.gpkg")}
    for row in rows:
        name, number = row["sources"][0]["record_id"].split(":")
        assert files[name].geometry[int(number) - 1].intersects(shapely.from_wkb(row["geometry"]).centroid)


def test_boxes_let_readers_fetch_a_place_only(scenes: Path, tmp_path: Path) -> None:
    geoseg.publish(scenes, tmp_path / "all.parquet")
    whole = gpd.read_parquet(tmp_path / "all.parquet")
    box = tuple(whole.query("source == 'b.gpkg'").total_bounds)
    part = gpd.read_parquet(tmp_path / "all.parquet", bbox=box)
    assert set(part["source"]) == {"b.gpkg"}
    assert len(part) == 40
    about = json.loads(pq.read_schema(tmp_path / "all.parquet").metadata[b"geo"])
    assert about["version"] == "1.1.0"
    assert about["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    np.testing.assert_allclose(about["columns"]["geometry"]["bbox"], whole.total_bounds)


@pytest.mark.parametrize("names", ["geoseg", "overture"])
def test_the_order_of_files_changes_no_row(names: Any, scenes: Path, tmp_path: Path) -> None:
    files = sorted(scenes.iterdir())
    for out, order in (("one", files), ("other", files[::-1])):
        geoseg.publish(order, tmp_path / f"{out}.parquet", names=names)
    one, other = (pq.read_table(tmp_path / f"{out}.parquet") for out in ("one", "other"))
    key = "geometry"
    assert sorted(one.column(key).to_pylist()) == sorted(other.column(key).to_pylist())


def test_rows_follow_the_curve(scenes: Path, tmp_path: Path) -> None:
    geoseg.publish(scenes, tmp_path / "all.parquet")
    bounds = gpd.read_parquet(tmp_path / "all.parquet").bounds.to_numpy()
    from geoseg.publishing.places import find_middles

    codes = encode_hilbert(find_middles(bounds))
    assert (np.diff(codes.astype(np.int64)) >= 0).all()


def test_of_overlapping_scenes_the_whole_and_the_surer_one_stays(tmp_path: Path) -> None:
    """A house is cut by the first scene's edge, another is surer in the second, a third is the same in both."""
    base = houses(3)
    one, other = base.copy(), base.copy()
    cut = shapely.box(*base.geometry.iloc[0].bounds)
    x0, y0, x1, y1 = cut.bounds
    one.loc[0, "geometry"] = shapely.box(x0, y0, (x0 + x1) / 2, y1)
    one["touches_edge"] = [True, False, False]
    one["confidence"], other["confidence"] = [0.99, 0.6, 0.8], [0.5, 0.7, 0.8]
    result = geoseg.publish(
        [save(one, tmp_path / "one.gpkg"), save(other, tmp_path / "other.gpkg")], tmp_path / "all.parquet"
    )
    assert (result.count, result.duplicates) == (3, 3)
    frame = gpd.read_parquet(tmp_path / "all.parquet").sort_values("confidence")
    assert frame["source"].tolist() == ["other.gpkg", "other.gpkg", "one.gpkg"]


def link_by_hand(one: gpd.GeoDataFrame, other: gpd.GeoDataFrame) -> bool:
    """Whether two single footprints are one building: half of the smaller one lies in the other."""
    a, b = one.geometry.iloc[0], other.geometry.iloc[0]
    return bool(a.intersection(b).area >= 0.5 * min(a.area, b.area) * (1 - 1e-9))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_footprint_goes_only_for_one_that_stays(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Chains of doubles through three scenes, against every pair looked at in the order of the ranks."""
    folder, chance = tmp_path_factory.mktemp("chains"), np.random.default_rng(seed)
    rows, files = [], []
    for number in range(3):
        x, y = HERE[0] + chance.uniform(0, 60, 12), HERE[1] + chance.uniform(0, 20, 12)
        frame = footprints(shapely.box(x, y, x + chance.uniform(4, 20, 12), y + 10))
        frame["confidence"] = chance.integers(1, 4, 12) / 4
        frame["touches_edge"] = chance.random(12) < 0.2
        files.append(save(frame, folder / f"{number}.gpkg"))
        rows += [
            (row["touches_edge"], -row["confidence"], number, row["id"], frame.iloc[[at]])
            for at, row in frame.iterrows()
        ]
    staying: list[Any] = []
    for row in sorted(rows, key=lambda row: row[:4]):
        if not any(row[2] != better[2] and link_by_hand(row[4], better[4]) for better in staying):
            staying.append(row)
    result = geoseg.publish(files, folder / "all.parquet", names="overture")
    told = gpd.read_parquet(folder / "all.parquet")["sources"]
    assert {source[0]["record_id"] for source in told} == {f"{row[2]}.gpkg:{row[3]}" for row in staying}
    assert (result.count, result.duplicates) == (len(staying), len(rows) - len(staying))


def test_of_two_halves_of_a_house_both_stay(tmp_path: Path) -> None:
    """The surer half takes the place of the whole house, which then cannot take that of the other half."""
    x, y = HERE
    halves = footprints(np.array([shapely.box(x, y, x + 10, y + 10), shapely.box(x + 10, y, x + 20, y + 10)]))
    house = footprints(np.array([shapely.box(x, y, x + 20, y + 10)]))
    halves["confidence"], house["confidence"] = [0.9, 0.7], [0.8]
    files = [save(halves, tmp_path / "halves.gpkg"), save(house, tmp_path / "house.gpkg")]
    result = geoseg.publish(files, tmp_path / "all.parquet")
    assert (result.count, result.duplicates) == (2, 1)
    assert set(gpd.read_parquet(tmp_path / "all.parquet")["source"]) == {"halves.gpkg"}


BEYOND = shapely.box(179.9999, 0, 180.0001, 0.0001)
WAYS_ACROSS = {
    "beyond": BEYOND,
    "before": shapely.box(-180.0001, 0, -179.9999, 0.0001),
    "jump": shapely.Polygon([(179.9999, 0), (-179.9999, 0), (-179.9999, 0.0001), (179.9999, 0.0001)]),
    "cut": shapely.MultiPolygon(
        [shapely.box(179.9999, 0, 180, 0.0001), shapely.box(-180, 0, -179.9999, 0.0001)]
    ),
}


@pytest.mark.parametrize("first", WAYS_ACROSS)
@pytest.mark.parametrize("second", WAYS_ACROSS)
def test_doubles_across_the_antimeridian(first: str, second: str, tmp_path: Path) -> None:
    """However a house there is written, it is one building, its box is small, and it lies in its area."""
    files = [
        save(footprints(np.array([WAYS_ACROSS[name]]), LONLAT), tmp_path / f"{place}.gpkg")
        for place, name in enumerate((first, second))
    ]
    area = gpd.GeoDataFrame({"name": ["Taveuni"]}, geometry=[shapely.box(-180.1, -1, -179.9, 1)], crs=LONLAT)
    area.to_file(tmp_path / "areas.gpkg")
    result = geoseg.publish(files, tmp_path / "all", partition=str(tmp_path / "areas.gpkg"))
    assert (list(map(Path, result.files)), result.duplicates) == ([tmp_path / "all" / "Taveuni.parquet"], 1)
    left, _, right, _ = gpd.read_parquet(next(iter(result.files))).total_bounds
    assert right - left == pytest.approx(0.0002, abs=1e-9)


def test_whole_numbers_stay_whole_where_a_footprint_has_none(tmp_path: Path) -> None:
    """GeoJSON with a gap in a column of numbers is read as decimals."""
    frame = houses(3)[["id", "geometry"]]
    frame["id"] = pd.array([1, None, 2**40 + 1], dtype="Int64")
    frame.to_file(tmp_path / "a.geojson")
    geoseg.publish(tmp_path / "a.geojson", tmp_path / "all.parquet", names="overture")
    records = [source[0]["record_id"] for source in gpd.read_parquet(tmp_path / "all.parquet")["sources"]]
    assert sorted(records) == ["a.geojson:1", f"a.geojson:{2**40 + 1}", "a.geojson:2"]


def test_rows_without_a_polygon_are_told(tmp_path: Path, heard: Heard) -> None:
    frame = houses(4)
    shapes = [*frame.geometry[:2], shapely.Polygon(), None]
    gpd.GeoDataFrame(frame.drop(columns="geometry"), geometry=shapes, crs=UTM33).to_file(tmp_path / "a.gpkg")
    assert geoseg.publish(tmp_path / "a.gpkg", tmp_path / "all.parquet").count == 2
    assert heard.warnings == [f"{tmp_path / 'a.gpkg'}: 2 of 4 rows hold no polygon and are left out"]


def test_a_file_without_footprints_has_no_doubles(scenes: Path, tmp_path: Path) -> None:
    save(houses(3).iloc[:0], scenes / "none.gpkg")
    result = geoseg.publish(scenes, tmp_path / "all.parquet")
    assert (result.count, result.duplicates) == (120, 0)


def test_neighbours_are_no_doubles(tmp_path: Path) -> None:
    """Row houses of which each scene has some share walls, and all stay."""
    walls = [shapely.box(HERE[0] + 6 * n, HERE[1], HERE[0] + 6 * n + 6, HERE[1] + 10) for n in range(10)]
    files = [save(footprints(np.array(walls[start::2])), tmp_path / f"{start}.gpkg") for start in range(2)]
    assert geoseg.publish(files, tmp_path / "all.parquet").count == 10


def test_files_by_quadkey_hold_what_lies_in_their_tiles(scenes: Path, tmp_path: Path) -> None:
    result = geoseg.publish(scenes, tmp_path / "country", partition="quadkey:15")
    assert result.count == 120
    assert len(result.files) > 1
    numbers: list[int] = []
    for name, rows in result.files.items():
        frame = gpd.read_parquet(name)
        assert len(frame) == rows
        boxes = frame.to_crs(3857).bounds.to_numpy()
        middles = np.column_stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)])
        # The middle of a box in degrees is a hair beside that on the map.
        assert np.mean(find_quadkeys(middles, 15) == Path(name).stem) > 0.9
        numbers += frame["id"].tolist()
    assert sorted(numbers) == list(range(1, 121))


def test_files_by_admin_area(scenes: Path, tmp_path: Path) -> None:
    areas = [
        shapely.box(HERE[0] + 1000 * n - 50, HERE[1] - 50, HERE[0] + 1000 * n + 450, HERE[1] + 450)
        for n in range(2)
    ]
    gpd.GeoDataFrame({"name": ["West/1", "Ost"]}, geometry=areas, crs=UTM33).to_file(tmp_path / "areas.gpkg")
    result = geoseg.publish(scenes, tmp_path / "country", partition=str(tmp_path / "areas.gpkg"))
    assert {Path(name).name: rows for name, rows in result.files.items()} == {
        "West-1.parquet": 40, "Ost.parquet": 40, "elsewhere.parquet": 40,
    }  # fmt: skip


@pytest.mark.parametrize("names", [["One", "one"], ["One", "Elsewhere"]])
def test_areas_whose_files_would_be_one_are_refused(scenes: Path, tmp_path: Path, names: list[str]) -> None:
    areas = gpd.GeoDataFrame({"name": names}, geometry=houses(2).geometry.to_list(), crs=UTM33)
    areas.to_file(tmp_path / "areas.gpkg")
    with pytest.raises(
        InputError, match=r"areas.gpkg: two areas have the same name, or one is called elsewhere"
    ):
        geoseg.publish(scenes, tmp_path / "country", partition=str(tmp_path / "areas.gpkg"))


def test_overtures_names(scenes: Path, tmp_path: Path) -> None:
    geoseg.publish(scenes, tmp_path / "all.parquet", names="overture")
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.column_names[:4] == ["id", "geometry", "bbox", "sources"]
    source = table.column("sources")[0].as_py()[0]
    assert source["dataset"] == "geoseg"
    assert source["record_id"].split(":")[0] in {"a.gpkg", "b.gpkg", "c.geojson"}
    assert source["confidence"] == table.column("confidence")[0].as_py()


def test_a_footprint_without_an_id_is_found_by_its_row(tmp_path: Path) -> None:
    """The first rows of b are in a, too, and are left out."""
    rows = houses(30).drop(columns="id")
    for name, part in {"a": rows[:10], "b": rows}.items():
        save(part, tmp_path / f"{name}.gpkg")
    geoseg.publish([tmp_path / "a.gpkg", tmp_path / "b.gpkg"], tmp_path / "all.parquet", names="overture")
    table = pq.read_table(tmp_path / "all.parquet")
    records = [each[0]["record_id"] for each in table.column("sources").to_pylist()]
    files = {name: gpd.read_file(tmp_path / name).to_crs(4326) for name in ("a.gpkg", "b.gpkg")}
    for record, outline in zip(records, shapely.from_wkb(table.column("geometry").to_pylist()), strict=True):
        name, _, row = record.partition(":")
        assert files[name].geometry.iloc[int(row) - 1].centroid.distance(outline.centroid) < 1e-9
    assert len(set(records)) == 30


def warn_as_gdal_does() -> None:
    with tell_of_full_tiles(Path("t.pmtiles")):
        warnings.warn("At least one tile exceeded the size and is coarser", RuntimeWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)


def test_full_tiles_are_told_in_one_line(heard: Heard) -> None:
    with pytest.warns(UserWarning, match="another"):
        warn_as_gdal_does()
    assert heard.warnings == ["t.pmtiles: at least one tile exceeded the size and is coarser"]


def test_tiles_for_looking(scenes: Path, tmp_path: Path) -> None:
    geoseg.publish(scenes, tmp_path / "all.parquet", tiles=tmp_path / "all.pmtiles")
    info = pyogrio.read_info(tmp_path / "all.pmtiles", layer="buildings")
    assert info["driver"] == "PMTiles"
    assert "area_m2" in info["fields"]
    assert info["features"] > 0


@settings(max_examples=30)
@given(
    keys=st.lists(st.integers(0, 2**40), max_size=300),
    run=st.integers(1, 60),
    block=st.integers(1, 20),
    step=st.integers(1, 50),
)
def test_rows_come_back_sorted_whatever_runs_and_blocks_are(
    keys: list[int], run: int, block: int, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sorter = ExternalSorter(tmp_path_factory.mktemp("runs"), run, block)
    for start in range(0, len(keys), step):
        part = keys[start : start + step]
        sorter.append(
            pa.table(
                {
                    "key": pa.array(part, pa.uint64()),
                    "sequence": pa.array(range(start, start + len(part)), pa.int64()),
                }
            )
        )
    found = [(row["key"], row["sequence"]) for table in sorter.merge() for row in table.to_pylist()]
    assert found == sorted(zip(keys, range(len(keys)), strict=True))


@given(
    st.integers(1, 8),
    st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=40),
)
def test_a_tile_of_the_map_is_one_run_of_the_curve(level: int, places: list[tuple[int, int]]) -> None:
    middles = ((np.array(places) + 0.5) / 2**15 - 1) * HALF_M
    keys = find_quadkeys(middles, level)[np.argsort(encode_hilbert(middles), kind="stable")]
    changes = 1 + int((keys[1:] != keys[:-1]).sum())
    assert changes == len(set(keys.tolist()))


def test_houses_around_the_corner_of_four_tiles_are_four_runs() -> None:
    level, corner = 10, np.array([519, 300])
    side = 2 * HALF_M / 2**level
    around = np.random.default_rng(0).uniform(-0.05, 0.05, (500, 2))
    middles = ((corner + around) * side - HALF_M) * [1, -1]
    keys = find_quadkeys(middles, level)[np.argsort(encode_hilbert(middles), kind="stable")]
    assert (len(set(keys)), int((keys[1:] != keys[:-1]).sum())) == (4, 3)


def test_quadkeys_are_those_of_the_web_map() -> None:
    """The example in Microsoft's description of the Bing Maps tile system: tile 3, 5 at level 3 is 213."""
    middle = (np.array([[3.5, 5.5]]) / 8 * 2 - 1) * HALF_M * [1, -1]
    assert find_quadkeys(middle, 3).tolist() == ["213"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["results", "--out", "x.gpkg"], "a data set ends in .parquet or .geoparquet"),
        (["results", "--out", "x.parquet", "--partition", "quadkey:6"], "makes a folder of files"),
        (["results", "--out", "x", "--partition", "quadkey:60"], "a level of 1 to 15"),
        (["results", "--out", "x.parquet", "--tiles", "x.mbtiles"], "a file of tiles ends in .pmtiles"),
        (["empty", "--out", "x.parquet"], "holds no file of footprints"),
        (["none.gpkg", "--out", "x.parquet"], "none.gpkg: no such file"),
        (["results/a.gpkg", "--out", "there.parquet"], "there.parquet: exists already"),
        (["nothing.gpkg", "--out", "x.parquet"], "no footprint is there"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*empty")
def test_what_cannot_be_is_refused_in_a_line(
    arguments: list[str], words: str, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenes.parent)
    Path("empty").mkdir()
    Path("there.parquet").touch()
    save(houses().iloc[:0], Path("nothing.gpkg"))
    done = CliRunner().invoke(command_line, ["publish", *arguments])
    assert done.exit_code == 2, done.output
    assert words in done.stderr


def test_a_folder_that_holds_a_data_set_is_replaced_only_where_asked(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "country"
    geoseg.publish(scenes, out, partition="quadkey:4")
    with pytest.raises(InputError, match="holds Parquet files already"):
        geoseg.publish(scenes, out, partition="quadkey:14")
    again = geoseg.publish(scenes, out, partition="quadkey:14", overwrite=True)
    assert {str(path) for path in out.glob("*.parquet")} == set(again.files)


def test_a_data_set_stays_until_the_new_one_is_whole(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "country"
    geoseg.publish(scenes, out, partition="quadkey:14")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    append, written = PublishedFile.append, []

    def append_once(self: PublishedFile, rows: Any) -> None:
        if written:
            raise geoseg.GeosegError("the disk is full")
        written.append(self)
        append(self, rows)

    monkeypatch.setattr(PublishedFile, "append", append_once)
    with pytest.raises(geoseg.GeosegError, match="the disk is full"):
        geoseg.publish(scenes, out, partition="quadkey:15", overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([scenes.name, out.name])


def test_a_part_that_cannot_be_written_is_called_as_it_would_be(tmp_path: Path) -> None:
    def fail() -> Iterator[pa.Table]:
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    (tmp_path / "country").mkdir()
    writer = PartWriter(PublishedSchema(()), {7: np.array([0.0, 0.0, 1.0, 1.0])})
    with pytest.raises(
        geoseg.GeosegError, match=r"country/0013\.parquet could not be written: no space left"
    ):
        writer.write(tmp_path / "unfinished.parquet", tmp_path / "country" / "0013.parquet", 7, fail())


def test_the_same_command_goes_on_where_a_kill_left_half_of_the_parts(scenes: Path, tmp_path: Path) -> None:
    out, tiles = tmp_path / "country", tmp_path / "c.pmtiles"
    arguments = [str(scenes), "--partition", "quadkey:15", "--tiles", str(tiles), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", KILLED_AT_SECOND_NAME, *arguments], check=False)
    assert done.returncode == 9
    assert len(list(out.glob("*.parquet"))) == 2
    assert not tiles.exists()
    again = CliRunner().invoke(command_line, ["publish", *arguments])
    assert again.exit_code == 0, again.output
    other = geoseg.publish(scenes, tmp_path / "other", partition="quadkey:15")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        Path(path).name: Path(path).read_bytes() for path in other.files
    }
    assert tiles.exists()


def test_a_kill_between_two_names_takes_no_earlier_part_away(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "country"
    earlier = geoseg.publish(scenes, out, partition="quadkey:14").files
    arguments = [str(scenes), "--partition", "quadkey:15", "--overwrite", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", KILLED_AT_SECOND_NAME, *arguments], check=False)
    assert done.returncode == 9
    assert all(Path(path).exists() for path in earlier)
    again = CliRunner().invoke(command_line, ["publish", *arguments, "--json"])
    assert {str(path) for path in out.iterdir()} == set(json.loads(again.stdout)["files"])


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    files = [tmp_path / day / "town.gpkg" for day in ("monday", "tuesday")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        save(houses(seed=number, east=1000.0 * number), file)
    geoseg.publish(files, tmp_path / "all.parquet")
    frame = gpd.read_parquet(tmp_path / "all.parquet")
    assert sorted(frame["source"].unique()) == ["monday/town.gpkg", "tuesday/town.gpkg"]


def make_roofs(count: int, longitude: float, latitude: float) -> gpd.GeoDataFrame:
    """Rectangles of half a metre to a third of a kilometre, some of them thin, turned any way."""
    chance = np.random.default_rng(count)
    length = np.exp(chance.uniform(np.log(0.5), np.log(300), count))
    width, angle = length * chance.uniform(0.02, 1, count), chance.uniform(0, np.pi, count)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * np.stack([length, width], 1)[:, None]
    turned = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(
        2, 0, 1
    )
    degrees = turned / 111_320 / [np.cos(np.radians(latitude)), 1]
    middles = chance.uniform(0, 0.3, (count, 1, 2)) + np.array([longitude, latitude])
    return gpd.GeoDataFrame({"id": range(count)}, geometry=shapely.polygons(degrees + middles), crs=4326)


def write_pmtiles(frame: gpd.GeoDataFrame, path: Path) -> Path:
    frame.to_file(path, layer="buildings", driver="PMTiles", NAME="roofs", MINZOOM="8", MAXZOOM="14")
    return path


@pytest.mark.parametrize("place", [(10, 50), (-0.2, -0.1), (-70, -55)])
def test_tiles_of_gdal_are_all_that_are_expected(place: tuple[float, float], tmp_path: Path) -> None:
    roofs = make_roofs(300, *place)
    written = write_pmtiles(roofs, tmp_path / "roofs.pmtiles")
    expected = np.unique(find_tiles(np.asarray(roofs.geometry.array)))
    check_tiles(written, expected, ["id"], written)
    there = {number for first, count in read_tiles(written) for number in range(first, first + count)}
    assert len(expected) > 0.8 * len(there)


def number_slowly(zoom: int, col: int, row: int) -> int:
    """As the specification of PMTiles has it."""
    number, side = sum(4**smaller for smaller in range(zoom)), 2**zoom // 2
    while side:
        right, low = int(col & side > 0), int(row & side > 0)
        number += side * side * ((3 * right) ^ low)
        if not low:
            if right:
                col, row = side - 1 - col, side - 1 - row
            col, row = row, col
        side //= 2
    return number


@pytest.mark.parametrize("zoom", [8, 11, 14])
def test_numbers_of_tiles_follow_the_specification(zoom: int) -> None:
    places = np.random.default_rng(zoom).integers(0, 2**zoom, (200, 2))
    side = 2 * HALF_M / 2**zoom
    middles = ((places + 0.5) * side - HALF_M) * [1, -1]
    assert number_tiles(shapely.points(middles), zoom).tolist() == [
        number_slowly(zoom, *place) for place in places.tolist()
    ]


def test_a_tile_that_is_lost_or_damaged_is_told(tmp_path: Path) -> None:
    roofs = make_roofs(300, 10, 50)
    written = write_pmtiles(roofs.iloc[1:], tmp_path / "roofs.pmtiles")
    far = find_tiles(np.asarray(make_roofs(3, 20, 40).geometry.array))
    with pytest.raises(GeosegError, match=r"out\.pmtiles: 5 of 5 tiles got lost"):
        check_tiles(written, far[:5], ["id"], Path("out.pmtiles"))
    content = written.read_bytes()
    other = content[:-6] + bytes([content[-6] ^ 255]) + content[-5:]  # a digit of the last tile's checksum
    for damaged in (content[:-100], content[:1000], content[:50], other, b""):
        written.write_bytes(damaged)
        with pytest.raises(GeosegError, match=r"out\.pmtiles: was damaged while it was written"):
            check_tiles(written, far[:0], ["id"], Path("out.pmtiles"))


def rewrite_description(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Put another description into a PMTiles file, at its end."""
    content = bytearray(path.read_bytes())
    start, size = struct.unpack_from("<2Q", content, 24)
    told = json.loads(gzip.decompress(content[start : start + size]))
    change(told)
    packed = gzip.compress(json.dumps(told).encode())
    struct.pack_into("<2Q", content, 24, len(content), len(packed))
    path.write_bytes(content + packed)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda told: told.pop("name"), "name"),
        (lambda told: told.pop("vector_layers"), "vector_layers"),
        (lambda told: told.update(vector_layers=[]), "column id"),
        (lambda told: told["vector_layers"][0]["fields"].pop("id"), "column id"),
    ],
)
def test_tiles_that_no_longer_tell_what_they_are_are_refused(
    change: Callable[[dict[str, Any]], object], lost: str, tmp_path: Path
) -> None:
    written = write_pmtiles(make_roofs(3, 10, 50), tmp_path / "roofs.pmtiles")
    none = np.empty(0, np.uint64)
    rewrite_description(written, lambda told: None)
    check_tiles(written, none, ["id"], written)
    rewrite_description(written, change)
    with pytest.raises(GeosegError, match=rf"out\.pmtiles: no longer tells its {lost}, lost while"):
        check_tiles(written, none, ["id"], Path("out.pmtiles"))
