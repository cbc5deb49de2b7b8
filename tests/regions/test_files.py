"""Footprints in a file come in batches, the same from every format, and no file is read twice for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from heard import Heard
from layers import UTM33, footprints, scattered

from geoseg.errors import InputError
from geoseg.footprints.measure import AreaCrs
from geoseg.io.layers import TABLE_HEAD
from geoseg.regions import files
from geoseg.regions.files import FootprintLayer


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.geojson", "a.parquet"])
def test_batches_hold_every_footprint_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frame = footprints(scattered(count=25), UTM33)
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 10)
    batches = list(FootprintLayer.open(path).frames())
    assert [len(batch) for batch in batches] == [10, 10, 5]
    together = pd.concat(batches).sort_values("id")
    assert together["area_m2"].tolist() == frame["area_m2"].tolist()
    assert shapely.equals_exact(together.to_crs(UTM33).geometry.array, frame.geometry.array, 1e-3).all()


def test_batches_hold_no_footprint_twice_where_some_were_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a shapefile are only marked as deleted, and are passed over where it is read from the tenth row on."""
    path, table = tmp_path / "a.shp", tmp_path / "a.dbf"
    gpd.GeoDataFrame(
        {"id": range(25)}, geometry=shapely.box(range(25), 0, range(1, 26), 1), crs=UTM33
    ).to_file(path)
    content = bytearray(table.read_bytes())
    _, start, width = TABLE_HEAD.unpack_from(content)
    content[start + 4 * width] = ord("*")
    table.write_bytes(content)
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 10)
    found = [number for rows in FootprintLayer.open(path).frames() for number in rows["id"]]
    assert found == [number for number in range(25) if number != 4]


def test_rows_that_do_not_arrive_are_missed(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    footprints(scattered(count=9), UTM33).to_file(path, layer="buildings")
    layer = FootprintLayer.open(path)
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("DROP TRIGGER rtree_buildings_geom_delete")
        base.execute("DELETE FROM buildings WHERE fid = 3")
    with pytest.raises(InputError, match="only 8 of its 9 rows could be read"):
        list(layer.frames())


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.parquet"])
def test_rows_without_an_outline_are_no_footprints(tmp_path: Path, name: str) -> None:
    frame = footprints(scattered(count=9), UTM33)
    frame.loc[4, "geometry"], frame.loc[6, "geometry"] = None, shapely.Polygon()
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
    layer = FootprintLayer.open(path)
    (measured,) = layer.measured_frames(AreaCrs.choose(layer.extent))
    assert len(measured) == 7
    assert measured["area_m2"].sum() == pytest.approx(frame.geometry.dropna().area.sum(), rel=1e-3)


def test_geojson_is_read_once_for_all_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footprints(scattered(count=25), UTM33).to_file(tmp_path / "a.geojson")
    read, times = pyogrio.read_dataframe, list[Path]()

    def count(path: Path, **options: Any) -> Any:
        times.append(path)
        return read(path, **options)

    monkeypatch.setattr(files, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(pyogrio, "read_dataframe", count)
    layer = FootprintLayer.open(tmp_path / "a.geojson")
    assert layer.classes
    assert sum(map(len, layer.frames())) == 25
    assert len(times) == 1


def test_classes_that_are_numbers_stay_whole_where_some_are_missing(tmp_path: Path) -> None:
    """A column of whole numbers with gaps comes as decimals, but not where a part of it has no gap."""
    frame = gpd.GeoDataFrame(
        {"class": [1, None, 2]}, geometry=shapely.box(range(3), 0, range(1, 4), 1), crs=32633
    )
    frame.to_file(tmp_path / "classes.gpkg", layer="buildings")
    layer = FootprintLayer.open(tmp_path / "classes.gpkg")
    assert layer.classes == ["1", "2", "building"]
    assert [name for rows in layer.frames() for name in rows["class"]] == ["1", "building", "2"]


@pytest.mark.parametrize("name", ["broken.gpkg", "broken.parquet"])
def test_broken_outlines_cover_what_they_cover(tmp_path: Path, heard: Heard, name: str) -> None:
    """An hourglass, a courtyard that reaches out, and two parts over each other: areas by hand, in one warning."""
    at_x, at_y = 300_000, 5_400_000
    hourglass = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    torn = shapely.Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [[(5, 5), (15, 5), (15, 8), (5, 8)]])
    double = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10)])
    flat = shapely.Polygon([(0, 0), (10, 0), (5, 0)])
    square = shapely.box(0, 0, 10, 10)
    shapes = shapely.transform(
        np.array([hourglass, torn, double, flat, square]),
        lambda x, y: (x + at_x, y + at_y),
        interleaved=False,
    )
    frame = gpd.GeoDataFrame({"id": range(5)}, geometry=shapes, crs=UTM33)
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_file(tmp_path / name)
    layer = FootprintLayer.open(tmp_path / name)
    (measured,) = layer.measured_frames(AreaCrs.choose(layer.extent))
    whole_m2 = measured["area_m2"].iloc[-1]
    assert measured["area_m2"].to_numpy() == pytest.approx(whole_m2 * np.array([0.5, 0.85, 1.5, 1]))
    assert measured.geometry.is_valid.all()
    assert heard.warnings == [f"{tmp_path / name}: 4 of 5 footprints had invalid geometry and were repaired"]
