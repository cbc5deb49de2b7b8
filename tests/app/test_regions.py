"""Districts that are drawn or uploaded are counted by geoseg's own statistics."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from geoseg.app.regions import (
    count_in_regions,
    make_region_table,
    parse_rings,
    store_regions,
    write_drawn_regions,
)
from geoseg.app.runs import FinishedRun
from geoseg.app.views import Views
from geoseg.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "regions"
    made.mkdir()
    return made


def test_a_drawn_region_counts_what_lies_in_it(finished: FinishedRun, folder: Path) -> None:
    view = Views(finished).find(Views(finished).own)
    west, south, east, north = view.buildings.to_crs(4326).total_bounds
    middle = (west + east) / 2
    rings = [
        [
            [west - 1e-4, south - 1e-4],
            [middle, south - 1e-4],
            [middle, north + 1e-4],
            [west - 1e-4, north + 1e-4],
        ],
        [
            [middle, south - 1e-4],
            [east + 1e-4, south - 1e-4],
            [east + 1e-4, north + 1e-4],
            [middle, north + 1e-4],
        ],
    ]
    table = count_in_regions(view, write_drawn_regions(rings, folder), finished)
    assert list(table["region"]) == ["Region 1", "Region 2"]
    assert table["buildings"].sum() == len(view.buildings)
    assert table["built_area_m2"].sum() == pytest.approx(view.buildings["area_m2"].sum(), rel=1e-6)
    assert "Built area (m²)" in make_region_table(table)


@pytest.mark.parametrize(
    ("classes", "head"), [(["building", "building"], "Buildings"), (["house", "tank"], "Outlines")]
)
def test_what_is_counted_is_called_what_it_is(classes: list[str], head: str) -> None:
    table = gpd.GeoDataFrame({"region": ["north", "north"], "class": classes, "buildings": [3, 4]})
    shown = make_region_table(table)
    assert list(shown) == ["Region", "Class", head]
    assert list(shown[head]) == [3, 4]


@pytest.mark.parametrize("kind", ["gpkg", "geojson", "zip"])
def test_regions_can_be_uploaded(tmp_path: Path, folder: Path, kind: str) -> None:
    frame = gpd.GeoDataFrame({"name": ["north"]}, geometry=[shapely.box(12, 48, 13, 49)], crs=4326)
    path = tmp_path / f"districts.{kind}"
    if kind == "zip":
        (tmp_path / "shape").mkdir()
        frame.to_file(tmp_path / "shape" / "districts.shp")
        with zipfile.ZipFile(path, "w") as archive:
            for file in (tmp_path / "shape").iterdir():
                archive.write(file, file.name)
    else:
        frame.to_file(path)
    kept = store_regions(path.name, io.BytesIO(path.read_bytes()), folder)
    assert len(gpd.read_file(kept)) == 1
    assert kept.is_relative_to(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("districts.shp", b"x", "upload regions as"),
        ("districts.zip", b"no archive", "not a zip archive"),
        ("districts.geojson", b"", "is empty"),
        ("districts.gpkg", b"<OGRVRTDataSource/>", "makes GDAL read other files"),
    ],
)
def test_other_files_are_refused_and_nothing_stays(
    folder: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        store_regions(name, io.BytesIO(content), folder)
    assert not folder.exists()


@pytest.mark.parametrize("inside", ["../evil.shp", "/evil.shp"])
def test_an_archive_cannot_write_elsewhere(tmp_path: Path, folder: Path, inside: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(inside, b"x")
    packed.seek(0)
    with pytest.raises(InputError, match="leads out"):
        store_regions("a.zip", packed, folder)
    assert [path.name for path in tmp_path.rglob("*.shp")] == []


def test_a_zip_bomb_is_refused(folder: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.shp", bytes(301_000_000))
    packed.seek(0)
    with pytest.raises(InputError, match="swell"):
        store_regions("a.zip", packed, folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    "value",
    [None, "x", [[1, 2]], [[[0, 0], [1, 1]]], [[[0, 0], [1, 1], ["a", 2]]], [[[0, 0], [1, 1], [1, 900]]]],
)
def test_what_is_no_ring_is_left_out(value: object) -> None:
    assert parse_rings(value) == []


def test_rings_are_taken() -> None:
    assert parse_rings([[[0, 0], [1, 0], [1, 1]]]) == [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]
