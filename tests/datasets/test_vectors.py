"""Polygons are drawn on the scene's own pixels, wherever they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from heard import Heard
from made import HERE, UTM33, RasterWriter, photo
from numpy.typing import NDArray
from rasterio.features import rasterize
from town import on_map, square

from geoseg.datasets.builder import DatasetBuilder, Origin, find_pairs, pair_with_label
from geoseg.datasets.classes import parse_class_table
from geoseg.datasets.images import read_window
from geoseg.datasets.schema import Dataset
from geoseg.datasets.vectors import VectorOptions, prepare_vectors
from geoseg.errors import InputError

TABLE = parse_class_table("background=,building=*")
WANTED = VectorOptions(Origin("town", "ODbL", "me", "here"), TABLE, ("red", "green", "blue"), form="masks")


def town(
    folder: Path, write_raster: RasterWriter, shapes: list[Any], crs: str = UTM33, **fields: Any
) -> Path:
    write_raster("a.tif", photo(60, 80))
    geopandas.GeoDataFrame(fields, geometry=shapes, crs=UTM33).to_crs(crs).to_file(
        folder / "a_buildings.geojson"
    )
    return folder


def prepared(folder: Path, wanted: VectorOptions = WANTED) -> Dataset:
    shop = DatasetBuilder(folder / "out", 0)
    return prepare_vectors(find_pairs(folder, "*.tif", "*_buildings.geojson"), wanted, shop)


def label(dataset: Dataset) -> NDArray[np.uint8]:
    return read_window(dataset.label_path(dataset.items[0]))[0]


@pytest.mark.parametrize("crs", [UTM33, "EPSG:4326", "EPSG:3857"])
def test_pixels_whose_centres_lie_inside(write_raster: RasterWriter, tmp_path: Path, crs: str) -> None:
    shapes = [square(10.2, 5.2, 20), square(50.2, 30.2, 7), square(70.2, 50.2, 30)]
    found = label(prepared(town(tmp_path, write_raster, shapes, crs)))
    assert np.array_equal(found, rasterize(shapes, (60, 80), transform=HERE))


def test_windows_do_not_show(
    write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    shapes = [on_map(*(chance.uniform(0, 80, (5, 2)))).convex_hull for _ in range(40)]
    monkeypatch.setattr("geoseg.datasets.images.ImageInfo.windows.__defaults__", (16,))
    found = label(prepared(town(tmp_path, write_raster, shapes)))
    assert np.array_equal(found, rasterize(shapes, (60, 80), transform=HERE))


def test_a_field_holds_the_class(write_raster: RasterWriter, tmp_path: Path) -> None:
    folder = town(tmp_path, write_raster, [square(0, 0, 4), square(10, 10, 4)], kind=["hut", "barn"])
    wanted = replace(
        WANTED, class_field="kind", table=parse_class_table("background=,house=hut villa,farm=barn")
    )
    found = label(prepared(folder, wanted))
    assert (found[2, 2], found[12, 12], found[30, 30]) == (1, 2, 0)


def test_ground_that_nobody_labelled_is_ignored(write_raster: RasterWriter, tmp_path: Path) -> None:
    folder = town(tmp_path, write_raster, [square(0, 0, 4)])
    geopandas.GeoDataFrame(geometry=[square(0, 0, 30)], crs=UTM33).to_file(tmp_path / "area.gpkg")
    found = label(prepared(folder, replace(WANTED, labelled=tmp_path / "area.gpkg")))
    assert (found[2, 2], found[20, 20], found[40, 40]) == (1, 0, 255)


@pytest.mark.parametrize("name", ["all.gpkg", "all.csv"])
def test_one_file_for_all_images_is_read_around_them(
    write_raster: RasterWriter, tmp_path: Path, name: str, heard: Heard
) -> None:
    """Whether the file finds by place or is read once and sorted, labels are those of files of their own."""
    shapes = []
    for number in range(3):
        place = HERE @ HERE.translation(number * 200, 0)
        write_raster(f"images/{number}.tif", photo(60, 80), transform=place)
        shapes += [square(number * 200 + 10, 10 + number, 20), square(number * 200 - 100, 10, 9)]
    everything = geopandas.GeoDataFrame({"kind": ["hut"] * 6}, geometry=shapes, crs=UTM33).to_crs(4326)
    if name.endswith("csv"):
        rows = [f'"{shape.wkt}",hut' for shape in everything.geometry]
        (tmp_path / name).write_text("\n".join(["geometry,kind", *rows]))
    else:
        everything.to_file(tmp_path / name)
    pairs = pair_with_label(tmp_path, "images/*.tif", tmp_path / name)
    wanted = replace(WANTED, class_field="kind")
    dataset = prepare_vectors(pairs, wanted, DatasetBuilder(tmp_path / "out", 0))
    for number, item in enumerate(dataset.items):
        expected = rasterize([square(10, 10 + number, 20)], (60, 80), transform=HERE)
        assert np.array_equal(read_window(dataset.label_path(item))[0], expected)
    assert not heard.warnings
    assert not (tmp_path / "out" / ".spool").exists()


def test_fields_as_people_fill_them(write_raster: RasterWriter, tmp_path: Path, heard: Heard) -> None:
    """OpenStreetMap leaves building empty where there is none; numbers with gaps are read as decimals."""
    shapes = [square(20 * i, 0, 9) for i in range(4)]
    folder = town(
        tmp_path, write_raster, shapes, building=["yes", None, "Shed", "no"], storeys=[1, None, 2, 0]
    )
    osm = replace(
        WANTED, class_field="building", table=parse_class_table("background=no,building=*,shed=Shed")
    )
    assert label(prepared(folder, osm))[4, [4, 24, 44, 64]].tolist() == [1, 0, 2, 0]
    assert "1 polygons do not say their class and were left out" in heard.warnings
    numbers = replace(WANTED, class_field="storeys", table=parse_class_table("background=0,low=1,high=2"))
    (folder / "out" / "dataset.toml").unlink()
    assert label(prepared(folder, numbers))[4, [4, 24, 44, 64]].tolist() == [1, 0, 2, 0]


def test_a_file_of_another_place_is_told(write_raster: RasterWriter, tmp_path: Path, heard: Heard) -> None:
    prepared(town(tmp_path, write_raster, [square(9000, 0, 4)]))
    assert heard.warnings == [
        "1 polygons lie outside their image and were left out",
        "no polygon lies on any image; do both say the right CRS?",
    ]


def test_an_image_without_a_place_is_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    folder = town(tmp_path, write_raster, [square(0, 0, 4)])
    write_raster("a.tif", photo(60, 80), crs=None)
    with pytest.raises(InputError, match=r"a\.tif: has no place on Earth"):
        prepared(folder)


def test_a_missing_file_for_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        pair_with_label(tmp_path, "*.tif", tmp_path / "none.gpkg:houses")


def test_odd_polygons_are_told(write_raster: RasterWriter, tmp_path: Path, heard: Heard) -> None:
    crossed = on_map((0, 0), (10, 10), (10, 0), (0, 10))
    found = label(prepared(town(tmp_path, write_raster, [crossed, square(500, 500, 9)])))
    assert 40 <= found.sum() <= 60
    assert heard.warnings == [
        "1 polygons lie outside their image and were left out",
        "1 polygons cross themselves and were mended",
    ]


def test_points_are_no_buildings(write_raster: RasterWriter, tmp_path: Path) -> None:
    assert not label(prepared(town(tmp_path, write_raster, [shapely.Point(HERE @ (5, 5))]))).any()


def test_what_does_not_fit_is_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    folder = town(tmp_path, write_raster, [square(0, 0, 4)], kind=["tent"])
    with pytest.raises(InputError, match="has no field roof; it has kind"):
        prepared(folder, replace(WANTED, class_field="roof"))
    with pytest.raises(InputError, match="holds tent, which the class table does not name"):
        prepared(
            folder, replace(WANTED, class_field="kind", table=parse_class_table("background=,house=hut"))
        )


def test_broken_files_are_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    folder = town(tmp_path, write_raster, [square(0, 0, 4)])
    (folder / "a_buildings.geojson").write_text('{"type": "FeatureCollection", "features": [')
    with pytest.raises(InputError, match="not a vector file"):
        prepared(folder)
