"""A file and its layer are told apart on every system."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyogrio.errors import DataSourceError
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.io.addresses import is_vector_file, parse_layer_path
from geoseg.io.layers import TABLE_HEAD, parse_layer_crs, read_layer, read_layer_facts, refuse_missing_rows
from geoseg.raster.source import open_raster


@pytest.mark.parametrize(
    ("source", "file", "layer"),
    [
        ("town.gpkg", "town.gpkg", None),
        ("town.gpkg:wards", "town.gpkg", "wards"),
        ("C:\\maps\\town.gpkg", "C:\\maps\\town.gpkg", None),
        ("C:/maps/town.gpkg", "C:/maps/town.gpkg", None),
        ("C:\\maps\\town.gpkg:wards", "C:\\maps\\town.gpkg", "wards"),
        ("https://maps.org:8080/town.gpkg", "https://maps.org:8080/town.gpkg", None),
    ],
)
def test_a_layer_is_named_after_the_last_colon(source: str, file: str, layer: str | None) -> None:
    assert parse_layer_path(source) == (Path(file), layer)
    assert is_vector_file(source)


def test_a_folder_where_one_file_is_needed_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; .* geoseg publish .* --out all\.parquet"):
        read_layer(tmp_path, None)
    with pytest.raises(InputError, match="is a folder; name one file of it"), open_raster(str(tmp_path), "a"):
        pass


def test_a_layer_of_which_rows_do_not_arrive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wards.gpkg"
    gpd.GeoDataFrame(geometry=shapely.box(range(9), 0, range(1, 10), 1), crs=32633).to_file(
        path, layer="wards"
    )
    assert len(read_layer(path, None)) == 9
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE gpkg_ogr_contents SET feature_count = 10")
    with pytest.raises(InputError, match=r"wards\.gpkg: .*only 9 of its 10 rows could be read"):
        read_layer(path, None)


def test_rows_of_a_shapefile_that_were_deleted_are_not_missed(tmp_path: Path) -> None:
    """They are only marked, until somebody packs the file, and GDAL counts them."""
    path, table = tmp_path / "wards.shp", tmp_path / "wards.dbf"
    shapes = shapely.box(range(9), 0, range(1, 10), 1)
    gpd.GeoDataFrame({"name": list("abcdefghi")}, geometry=shapes, crs=32633).to_file(path)
    content = bytearray(table.read_bytes())
    _, start, width = TABLE_HEAD.unpack_from(content)
    content[start + 4 * width] = ord("*")
    table.write_bytes(content)
    assert pyogrio.read_info(path)["features"] == 9
    assert "".join(read_layer(path, None)["name"]) == "abcdfghi"
    with pytest.raises(DataSourceError, match="only 7 of its 9 rows"):
        refuse_missing_rows(7, 9, path)


def test_a_file_with_a_colon_in_its_name_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg:b"
    try:
        path.touch()
    except OSError:
        pytest.skip("this system has no such names")
    assert parse_layer_path(str(path)) == (path, None)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, "no coordinate reference system"),
        ("EPSG:0", "cannot be read"),
        (
            CRS.from_epsg(32633)
            .to_wkt()
            .replace('"Latitude of natural origin",0', '"Latitude of natural origin",999'),
            "cannot be read",
        ),
    ],
)
def test_a_layer_without_a_crs_is_refused(written: str | None, words: str) -> None:
    with pytest.raises(InputError, match=rf"town.gpkg: .*{words}"):
        parse_layer_crs(written, Path("town.gpkg"))


def test_a_layer_tells_its_crs() -> None:
    assert parse_layer_crs("EPSG:32633", Path("town.gpkg")) == CRS.from_epsg(32633)


def test_what_is_no_layer_is_refused_without_advice_on_drivers(tmp_path: Path) -> None:
    (tmp_path / "points.gpkg").write_text("no layer")
    with pytest.raises(InputError, match=r"^.*points.gpkg: not a vector file .*supported file format\)$"):
        read_layer(tmp_path / "points.gpkg", None)


def test_a_crs_that_cannot_be_read_for_a_moment_is_not_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "roofs.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=32633).to_file(path)
    read = pyogrio.read_dataframe
    monkeypatch.setattr(
        pyogrio,
        "read_dataframe",
        lambda *given, **options: read(*given, **options).set_crs(None, allow_override=True),
    )
    with pytest.raises(InputError, match=r"roofs\.gpkg: .*reference system could be read once only"):
        read_layer(path, None)


def test_facts_without_a_crs_that_is_there_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "roofs.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=32633).to_file(path)
    assert read_layer_facts(path, "roofs")["crs"] == "EPSG:32633"
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("DELETE FROM gpkg_spatial_ref_sys WHERE srs_id = 32633")
    with pytest.raises(DataSourceError, match="unable to read srs_id"):
        read_layer_facts(path, "roofs")


def test_a_parquet_file_that_describes_its_columns_wrongly_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wards.parquet"
    gpd.GeoDataFrame({"seen": [True]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633).to_parquet(path)
    table = pq.read_table(path)
    told = {key: text.replace(b'"bool"', b'"boOl"') for key, text in table.schema.metadata.items()}
    pq.write_table(table.replace_schema_metadata(told), path)
    with pytest.raises(InputError, match=r"wards\.parquet: not a vector file that can be read"):
        read_layer(path, None)
