from __future__ import annotations

import json
import os
import resource
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from heard import Heard
from hypothesis import given
from hypothesis import strategies as st
from layers import GRID, LONLAT, UTM33, footprints, scattered, write
from limits import limited_files
from pyogrio.errors import DataSourceError
from pyproj import CRS

from geoseg.errors import GeosegError, InputError
from geoseg.footprints.measure import AreaCrs
from geoseg.footprints.write.formats import check_arrived, check_index, check_table, write_batches
from geoseg.footprints.write.geopackage import FootprintWriter, add_region_layer
from geoseg.footprints.write.spool import FOOTPRINT_COLUMNS, REGION_COLUMNS, Column, cut_evenly
from geoseg.io.layers import read_days
from geoseg.regions.polygons import read_regions
from geoseg.regions.statistics import RegionStatistics

FORMATS = ["gpkg", "fgb", "geojson", "parquet", "shp"]


def read(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer=layer or ("buildings" if path.suffix == ".gpkg" else None))


def region_table(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    statistics = RegionStatistics(
        read_regions("grid:200m", GRID), AreaCrs.choose(GRID), {1: "building"}, GRID
    )
    statistics.add_footprints(frame)
    return statistics.table()


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as base:
        return base.execute(query).fetchall()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_back_what_was_written(tmp_path: Path, suffix: str) -> None:
    frame = footprints(scattered())
    path = write(tmp_path / f"out.{suffix}", frame, batch=33)
    back = read(path).sort_values("id", ignore_index=True)
    assert len(back) == len(frame)
    short = {column.fitted_name: column.name for column in FOOTPRINT_COLUMNS} if suffix == "shp" else {}
    back = back.rename(columns=short)
    for name in frame.columns.drop("geometry"):
        if frame[name].dtype.kind == "f":
            assert back[name].to_numpy(float) == pytest.approx(
                frame[name].to_numpy(), rel=1e-9, nan_ok=True
            ), name
        elif name == "image_date":
            assert read_days(back[name]) == frame[name].tolist()
        else:
            assert back[name].tolist() == frame[name].tolist(), name
    apart = back.geometry.to_crs(frame.crs).hausdorff_distance(frame.geometry)
    assert apart.max() < (0.02 if suffix == "geojson" else 1e-9)


@pytest.mark.parametrize("suffix", FORMATS)
def test_batches_and_reruns_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    frame = footprints(scattered())
    regions = region_table(frame)

    def files(name: str, batch: int) -> dict[str, bytes]:
        folder = tmp_path / name
        folder.mkdir()
        for _ in range(2):
            with FootprintWriter(
                folder / f"out.{suffix}", UTM33, ["building"], overwrite=True, batch_rows=64
            ) as writer:
                for start in range(0, len(frame), batch):
                    writer.append(frame.iloc[start : start + batch])
                writer.add_regions(regions)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert files("one", 1000) == files("two", 7) == files("three", 64)


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 12))
def test_rows_are_cut_evenly_however_they_come(sizes: list[int], rows: int) -> None:
    numbers = pa.array(range(sum(sizes)))
    starts = np.cumsum([0, *sizes])
    batches = [
        pa.RecordBatch.from_arrays([numbers.slice(start, size)], ["n"])
        for start, size in zip(starts, sizes, strict=False)
    ]
    cut = list(cut_evenly(batches, rows))
    assert [n for batch in cut for n in batch.column(0).to_pylist()] == list(range(sum(sizes)))
    assert [batch.num_rows for batch in cut[:-1]] == [rows] * (len(cut) - 1)
    assert all(0 < batch.num_rows <= rows for batch in cut)


def test_geojson_is_as_the_standard_wants_it(tmp_path: Path) -> None:
    path = write(tmp_path / "out.geojson", footprints(scattered(count=3)))
    content = json.loads(path.read_text())
    assert "crs" not in content
    lon, lat = content["features"][0]["geometry"]["coordinates"][0][0]
    assert (round(lon), round(lat)) == (12, 49)
    assert all(shapely.is_ccw(shapely.get_exterior_ring(shape)) for shape in read(path).geometry)


def test_a_shapefile_says_how_names_were_fitted(tmp_path: Path, heard: Heard) -> None:
    write(tmp_path / "out.shp", footprints(scattered()))
    assert "orientation_deg as orient_deg" in heard.warnings[0]


@pytest.mark.parametrize("columns", [FOOTPRINT_COLUMNS, REGION_COLUMNS], ids=["footprints", "regions"])
def test_fitted_names_fit_and_differ(columns: tuple[Column, ...]) -> None:
    names = [column.fitted_name for column in columns]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 10


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_building_at_all_makes_a_valid_empty_layer(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    with FootprintWriter(path, UTM33, ["building"]):
        pass
    back = read(path)
    assert len(back) == 0
    assert suffix == "geojson" or back.crs == UTM33
    assert suffix == "geojson" or {"id", "class", "area_m2"} <= set(back.columns)


def test_a_geopackage_is_laid_out_for_qgis(tmp_path: Path) -> None:
    path = write(tmp_path / "out.gpkg", footprints(scattered()), description="Areas measured somewhere.")
    assert rows(path, "PRAGMA user_version") == [(10200,)]
    assert rows(path, "SELECT identifier, description FROM gpkg_contents WHERE table_name = 'buildings'") == [
        ("Building footprints", "Areas measured somewhere.")
    ]
    assert rows(path, "SELECT count(*) FROM rtree_buildings_geom") == [(200,)]
    assert rows(
        path, "SELECT f_table_catalog, f_table_schema, f_table_name, useAsDefault FROM layer_styles"
    ) == [("", "", "buildings", 1)]
    aliases = dict(
        rows(path, "SELECT column_name, title FROM gpkg_data_columns WHERE table_name = 'buildings'")
    )
    assert aliases == {c.name: c.alias for c in FOOTPRINT_COLUMNS if c.name != "region"}
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []


def test_corner_touching_parts_become_multipolygons(tmp_path: Path) -> None:
    frame = footprints(scattered(count=3))
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)])
    frame.geometry = [frame.geometry[0], two, frame.geometry[2]]
    for suffix in ("gpkg", "parquet", "fgb"):
        back = read(write(tmp_path / f"out.{suffix}", frame)).sort_values("id")
        assert set(back.geom_type) == {"MultiPolygon"}
        assert back.geometry.area.to_numpy() == pytest.approx(frame.geometry.area.to_numpy())


def test_other_layers_stay(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    roads = gpd.GeoDataFrame({"name": ["main"]}, geometry=[shapely.LineString([(0, 0), (1, 1)])], crs=UTM33)
    roads.to_file(path, layer="roads")
    with rasterio.open(
        path, "w", driver="GPKG", width=8, height=8, count=1, dtype="uint8", crs="EPSG:32633",
        transform=Affine(2, 0, 0, 0, -2, 0), APPEND_SUBDATASET="YES", RASTER_TABLE="tiles",
    ) as raster:  # fmt: skip
        raster.write(np.full((1, 8, 8), 7, np.uint8))
    frame = footprints(scattered())
    for overwrite in (False, True, True):
        write(path, frame, overwrite=overwrite)
        assert read(path, "roads").equals(roads)
        assert len(read(path)) == len(frame)
        assert rows(path, "SELECT count(*) FROM tiles") == [(1,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "SELECT count(*) FROM rtree_buildings_geom") == [(200,)]


def test_footprints_go_into_a_geopackage_of_tables_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"name": ["a"]}), path, layer="notes", driver="GPKG")
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("DROP TABLE gpkg_geometry_columns")
    write(path, footprints(scattered()))
    assert rows(path, "SELECT name FROM notes") == [("a",)]


def test_footprints_of_others_leave_nothing_when_they_are_replaced(tmp_path: Path) -> None:
    """As ArcGIS writes them, whose column of outlines is called SHAPE."""
    path = tmp_path / "out.gpkg"
    for layer in ("buildings_old", "buildings"):
        options = {"layer": layer, "layer_options": {"GEOMETRY_NAME": "SHAPE"}, "append": path.exists()}
        pyogrio.write_dataframe(footprints(scattered()), path, driver="GPKG", **options)
    write(path, footprints(scattered()), overwrite=True)
    with closing(sqlite3.connect(path)) as base:
        names = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE name LIKE '%SHAPE%'")}
    assert {name for name in names if not name.startswith("rtree_buildings_old_SHAPE")} == set()
    assert "rtree_buildings_old_SHAPE" in names


def test_footprints_replaced_take_the_old_regions_with_them(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    frame = footprints(scattered())
    write(path, frame)
    add_region_layer(path, region_table(frame))
    write(path, frame, overwrite=True)
    assert set(pyogrio.list_layers(path)[:, 0]) == {"buildings", "layer_styles"}


def test_a_users_own_layer_of_regions_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM33).to_file(
        path, layer="regions"
    )
    write(path, footprints(scattered()), overwrite=True)
    assert read(path, "regions")["name"].tolist() == ["a"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_regions_go_with_the_footprints(tmp_path: Path, suffix: str) -> None:
    frame = footprints(scattered())
    table = region_table(frame)
    path = write(tmp_path / f"out.{suffix}", frame)
    target = add_region_layer(path, table)
    back = read(target, "regions" if suffix == "gpkg" else None)
    short = {c.fitted_name: c.name for c in REGION_COLUMNS} if suffix == "shp" else {}
    back = back.rename(columns=short).set_index("region").loc[table["region"]].reset_index()
    assert read_days(back["image_date"]) == read_days(table["image_date"])
    for column in (each for each in REGION_COLUMNS if each.kind != "text"):
        pd.testing.assert_series_equal(
            back[column.name].astype(float), table[column.name].astype(float), rtol=1e-12, check_names=False
        )
    assert len(read(path)) == len(frame)


def test_the_layers_row_is_the_tables_row_to_the_last_bit(tmp_path: Path) -> None:
    frame = footprints(scattered())
    table = region_table(frame)
    path = write(tmp_path / "out.gpkg", frame)
    add_region_layer(path, table)
    assert read(path, "regions")["built_area_m2"].tolist() == table["built_area_m2"].tolist()


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_there_is_not_replaced_without_asking(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"out.{suffix}", footprints(scattered()))
    before = path.read_bytes()
    with pytest.raises(InputError, match="use `overwrite`"):
        FootprintWriter(path, UTM33, ["building"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_leaves_what_was_there_before(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"out.{suffix}", footprints(scattered()))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def interrupted() -> None:
        with FootprintWriter(path, UTM33, ["building"], overwrite=True) as writer:
            writer.append(footprints(scattered(count=5)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"choose one of these endings"):
        FootprintWriter(tmp_path / "out.kml", UTM33, ["building"])


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="there is no folder"),
        FootprintWriter(tmp_path / "missing" / "out.gpkg", UTM33, ["building"]),
    ):
        pass


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "out.fgb").mkdir()
    with (
        pytest.raises(InputError, match="is a folder"),
        FootprintWriter(tmp_path / "out.fgb", UTM33, ["building"], overwrite=True),
    ):
        pass


def test_a_file_that_is_no_geopackage_is_only_replaced_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    path.write_text("something else")
    with pytest.raises(InputError, match="use `overwrite`"):
        write(path, footprints(scattered()))
    assert len(read(write(path, footprints(scattered()), overwrite=True))) == 200


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "out.gpkg", footprints(scattered()))
    path.chmod(0o444)
    with pytest.raises(InputError, match="is read-only"):
        write(path, footprints(scattered()), overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("mode", "lock"), [("DELETE", "IMMEDIATE"), ("DELETE", "EXCLUSIVE"), ("WAL", "DEFERRED")], ids=str
)
def test_a_geopackage_in_use_is_refused(tmp_path: Path, mode: str, lock: str, overwrite: bool) -> None:
    path = tmp_path / "out.gpkg"
    scatter = footprints(scattered())
    scatter.to_file(path, layer="theirs")

    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute(f"BEGIN {lock}")
        other.execute("SELECT count(*) FROM theirs").fetchone()
        with pytest.raises(GeosegError, match="another program has it open; close it there"):
            write(path, scatter, overwrite=overwrite)
    write(path, scatter, overwrite=overwrite)
    assert len(read(path, "theirs")) == len(read(path)) == len(scatter)


def test_an_error_of_the_callers_is_not_taken_for_one_of_writing(tmp_path: Path) -> None:
    def unreadable() -> None:
        with FootprintWriter(tmp_path / "out.gpkg", UTM33, ["building"]):
            raise OSError("the mask cannot be read")

    with pytest.raises(OSError, match="the mask cannot be read"):
        unreadable()
    assert os.listdir(tmp_path) == []


def test_a_broken_database_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "out.gpkg", footprints(scattered()))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(GeosegError, match=r"out\.gpkg"):
        write(path, footprints(scattered()))


@pytest.mark.parametrize(
    "lost",
    [
        "DROP TRIGGER rtree_buildings_geom_insert",
        "DROP TRIGGER trigger_insert_feature_count_buildings",
        "DROP TABLE rtree_buildings_geom",
        "DELETE FROM rtree_buildings_geom_rowid WHERE rowid = 1",
    ],
)
def test_an_index_that_did_not_arrive_is_noticed(tmp_path: Path, lost: str) -> None:
    path = write(tmp_path / "out.gpkg", footprints(scattered()))
    check_index(path, "buildings")
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(lost)
    with pytest.raises(DataSourceError, match="spatial index of buildings did not arrive"):
        check_index(path, "buildings")


def test_an_extent_that_did_not_arrive_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "out.gpkg", footprints(scattered()))
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE gpkg_contents SET min_x = NULL, min_y = NULL, max_x = NULL, max_y = NULL")
    with pytest.raises(DataSourceError, match="extent of buildings did not arrive"):
        check_index(path, "buildings")
    check_index(write(tmp_path / "empty.gpkg", footprints(scattered())[:0]), "buildings")


@pytest.mark.parametrize(
    "lost", ["PRAGMA application_id = 0", "DELETE FROM gpkg_spatial_ref_sys WHERE srs_id > 10000"]
)
def test_what_gdal_remarks_on_did_not_arrive(tmp_path: Path, lost: str) -> None:
    frame = footprints(scattered())
    path = write(tmp_path / "out.gpkg", frame)
    check_arrived(path, "buildings", len(frame))
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(lost)
    with pytest.raises(DataSourceError, match="not all of it arrived"):
        check_arrived(path, "buildings", len(frame))


def test_rows_of_a_shapefile_that_did_not_arrive_are_noticed(tmp_path: Path) -> None:
    table = write(tmp_path / "out.shp", footprints(scattered())).with_suffix(".dbf")
    check_table(table)
    content = table.read_bytes()
    (start,) = struct.unpack_from("<H", content, 8)
    no_mark = content[: start - 1] + b"\x1a" + content[start:]
    for damaged in (content[:-100], content[:-90] + bytes(80) + content[-10:], content[:-1], no_mark):
        table.write_bytes(damaged)
        with pytest.raises(DataSourceError, match=r"not all rows of out\.dbf arrived"):
            check_table(table)


@pytest.mark.parametrize(
    ("suffix", "limit"), [("gpkg", 200_000), ("gpkg", 4_300_000), ("geojson", 4_300_000)], ids=str
)
def test_no_room_left_is_one_clear_line(tmp_path: Path, suffix: str, limit: int) -> None:
    path = tmp_path / f"out.{suffix}"
    frame = footprints(scattered(count=20_000))
    with (
        limited_files(limit),
        pytest.raises(GeosegError, match=r"no space left|MB are free on the disk") as told,
    ):
        write(path, frame, batch=5_000)
    assert "\n" not in str(told.value)
    assert f"{path} could not be written" in str(told.value)
    assert os.listdir(tmp_path) == []


def test_memory_does_not_grow_with_the_number_of_footprints(tmp_path: Path) -> None:
    def peak_mb() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    frame = footprints(scattered(count=20_000))
    with FootprintWriter(tmp_path / "out.gpkg", UTM33, ["building"]) as writer:
        for _ in range(5):
            writer.append(frame)
        before = peak_mb()
        for _ in range(12):
            writer.append(frame)
    assert pyogrio.read_info(tmp_path / "out.gpkg", layer="buildings")["features"] == 340_000
    assert peak_mb() - before < 150


@pytest.mark.parametrize(
    "crs", [LONLAT, CRS.from_epsg(2263), CRS("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84")]
)
@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_any_crs_comes_back(tmp_path: Path, crs: CRS, suffix: str) -> None:
    frame = footprints(scattered()).to_crs(crs)
    back = read(write(tmp_path / f"out.{suffix}", frame))
    assert CRS(back.crs).equals(crs, ignore_axis_order=True)


@pytest.mark.parametrize(
    "lost", ["DELETE FROM gpkg_ogr_contents", "UPDATE gpkg_ogr_contents SET feature_count = 0"]
)
def test_a_number_of_rows_that_did_not_arrive_is_noticed(tmp_path: Path, lost: str) -> None:
    path = write(tmp_path / "out.gpkg", footprints(scattered()))
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(lost)
    with pytest.raises(DataSourceError, match="number of rows of buildings did not arrive"):
        check_index(path, "buildings")


@pytest.mark.parametrize("suffix", [".fgb", ".geojson", ".gpkg"])
def test_a_description_that_did_not_arrive_is_noticed(tmp_path: Path, suffix: str) -> None:
    frame = footprints(scattered())
    path = write(tmp_path / f"out{suffix}", frame, description="Areas measured somewhere.")
    check_arrived(path, "buildings", len(frame), "Areas measured somewhere.")
    with pytest.raises(DataSourceError, match="its description did not arrive"):
        check_arrived(path, "buildings", len(frame), "Areas measured elsewhere.")


def test_rows_of_a_flatgeobuf_that_did_not_arrive_are_noticed(tmp_path: Path) -> None:
    frame = footprints(scattered())
    path = write(tmp_path / "out.fgb", frame)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((DataSourceError, OSError)):
        check_arrived(path, "buildings", len(frame))


def test_what_stops_rows_on_their_way_to_gdal_is_raised_as_it_is(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})])

    def stop() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_arrays([pa.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))])], schema=schema)
        raise KeyboardInterrupt

    options = {"driver": "GPKG", "geometry_name": "geometry", "geometry_type": "Polygon", "crs": "EPSG:32633"}
    with pytest.raises(KeyboardInterrupt):
        write_batches(schema, stop(), tmp_path / "out.gpkg", layer="buildings", **options)
