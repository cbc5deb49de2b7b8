"""What geoseg export wrote becomes a training set: pairs as they lie, whole layers cut into pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from geoseg.datasets.exported import ExportFolder, describe_pairs
from geoseg.datasets.options import ExportSetOptions
from geoseg.datasets.prepare import prepare_dataset
from geoseg.datasets.reading.sites import open_site
from geoseg.datasets.schema import read_dataset
from geoseg.errors import InputError

PLACE = Affine(10, 0, 500_000, 0, -10, 5_300_000)
VALUES = "0 = background, 1 = built"


def write_layer(
    folder: Path, name: str, pixels: Any, nodata: float, roles: list[str], bands: list[str]
) -> None:
    """A layer and its record, as gee writes them."""
    profile = {
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
    }
    place = {"crs": "EPSG:32633", "transform": PLACE, "nodata": nodata}
    with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", **profile, **place) as raster:
        raster.write(pixels)
        raster.descriptions = bands
    record = {
        "properties": {
            "license": f"{name}-licence", "geoseg:attribution": f"{name} people", "geoseg:source": name.upper(),
            "proj:transform": list(PLACE)[:6], "geoseg:recipe": {"values": VALUES} if "labels" in roles else {},
        },
        "assets": {"data": {"href": f"./{name}.tif", "roles": roles, "bands": [{"name": band} for band in bands]}},
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(record))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A picture of 100 x 90 pixels, unknown in one corner, and its mask."""
    folder = tmp_path / "vienna"
    folder.mkdir()
    chance = np.random.default_rng(0)
    picture = chance.integers(1, 3000, (2, 100, 90)).astype(np.uint16)
    picture[:, :30, :20] = 0
    mask = (chance.random((1, 100, 90)) < 0.3).astype(np.uint8)
    mask[:, 90:, 80:] = 255
    write_layer(folder, "sentinel2", picture, 0, ["data"], ["B4", "B8"])
    write_layer(folder, "ghsl", mask, 255, ["data", "labels"], ["built"])
    return folder


def test_whole_layers_are_cut_into_pieces(exported: Path, tmp_path: Path) -> None:
    options = ExportSetOptions(side=30, workers=0, validation_share=0.4)
    dataset = prepare_dataset(exported, tmp_path / "set", options).dataset
    assert dataset == read_dataset(tmp_path / "set")
    assert (dataset.bands, dataset.gsd_m) == (("B4", "B8"), 10.0)
    assert dataset.licence == "sentinel2-licence; ghsl-licence"
    assert [each.name for each in dataset.classes] == ["background", "building"]
    assert {item.split for item in dataset.items} == {"train", "validation"}
    assert len(dataset.items) == 4 * 3 - 1, "the corner that is mostly unknown is left out"
    with rasterio.open(exported / "sentinel2.tif") as whole, rasterio.open(exported / "ghsl.tif") as labels:
        for item in dataset.items:
            with (
                rasterio.open(dataset.image_path(item)) as piece,
                rasterio.open(dataset.label_path(item)) as label,
            ):
                window = whole.window(*piece.bounds).round_offsets().round_lengths()
                np.testing.assert_array_equal(piece.read(), whole.read(window=window))
                np.testing.assert_array_equal(label.read(), labels.read(window=window))
                assert piece.descriptions == ("B4", "B8")
    open_site(dataset, dataset.items[0], dataset.gsd_m)


def test_neighbours_share_a_place_and_a_place_a_split(exported: Path, tmp_path: Path) -> None:
    dataset = prepare_dataset(exported, tmp_path / "set", ExportSetOptions(side=20, workers=0)).dataset
    places = {item.image: item.place for item in dataset.items}
    assert places["images/0000040_0000040.tif"] == places["images/0000060_0000060.tif"]
    assert places["images/0000040_0000040.tif"] != places["images/0000040_0000080.tif"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "ghsl.json").unlink(), "1 pictures and 0 labels"),
        (lambda folder: (folder / "sentinel2.json").write_text("[]"), "0 pictures and 1 labels"),
        (
            lambda folder: (folder / "ghsl.json").write_text(
                (folder / "ghsl.json").read_text().replace(VALUES, "share of a pixel")
            ),
            "is no mask of buildings",
        ),
    ],
)
def test_a_folder_that_is_no_set_is_refused(exported: Path, change: Any, words: str) -> None:
    change(exported)
    with pytest.raises(InputError, match=words):
        ExportFolder.read(exported)


def test_pieces_of_an_earlier_set_are_cut_anew(exported: Path, tmp_path: Path) -> None:
    for side in (50, 30):
        options = ExportSetOptions(side=side, workers=0, overwrite=True)
        dataset = prepare_dataset(exported, tmp_path / "set", options).dataset
        with rasterio.open(dataset.image_path(dataset.items[-1])) as piece:
            assert max(piece.shape) <= side


def test_a_raster_that_is_gone_is_told(exported: Path, tmp_path: Path) -> None:
    (exported / "sentinel2.tif").unlink()
    with pytest.raises(InputError, match=r"sentinel2\.tif: not a raster that can be read"):
        prepare_dataset(exported, tmp_path / "set", ExportSetOptions(workers=0))


@pytest.mark.parametrize(
    ("code", "step", "gsd_m"),
    [("EPSG:32633", 10.0, 10.0), ("EPSG:4326", 1e-4, 9.0), ("EPSG:3857", 10.0, 6.7)],
)
def test_the_resolution_is_told_in_true_metres(exported: Path, code: str, step: float, gsd_m: float) -> None:
    """In Vienna, a degree of longitude is 75 km long, and ten metres of the web's maps are under seven."""
    x, y = Transformer.from_crs("EPSG:4326", code, always_xy=True).transform(16.37, 48.2)
    path = exported / "sentinel2.json"
    record = json.loads(path.read_text())
    place = {"proj:code": code, "proj:transform": [step, 0, x, 0, -step, y], "proj:shape": [100, 90]}
    path.write_text(json.dumps({**record, "properties": {**record["properties"], **place}}))
    assert ExportFolder.read(exported).picture.gsd_m == pytest.approx(gsd_m, abs=0.15)


def test_a_picture_of_nothing_is_refused(exported: Path, tmp_path: Path) -> None:
    with rasterio.open(exported / "sentinel2.tif", "r+") as raster:
        raster.write(np.zeros((2, 100, 90), np.uint16))
    with pytest.raises(InputError, match="mostly unknown"):
        prepare_dataset(exported, tmp_path / "set", ExportSetOptions(workers=0))


def test_pairs_are_described(exported: Path) -> None:
    rows = ["split,name,place,built_share", "train,0_0,3,0.2", "train,0_1,3,0.3", "validation,5_5,7,0.5"]
    (exported / "pairs.csv").write_text("\n".join(rows) + "\n")
    dataset = describe_pairs(exported)
    assert dataset == read_dataset(exported)
    assert [(item.image, item.split) for item in dataset.items] == [
        ("train/images/0_0.tif", "train"), ("train/images/0_1.tif", "train"), ("validation/images/5_5.tif", "validation"),
    ]  # fmt: skip
    assert len({item.place for item in dataset.items}) == 2
