"""SpaceNet's names pair images and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg.datasets.benchmarks import find_spacenet_pairs
from geoseg.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("image", "label", "name"),
    [
        (
            "train/AOI_2_Vegas/PS-RGB/SN2_buildings_train_AOI_2_Vegas_PS-RGB_img12.tif",
            "train/AOI_2_Vegas/geojson_buildings/SN2_buildings_train_AOI_2_Vegas_geojson_buildings_img12.geojson",
            "AOI_2_Vegas_img12",
        ),
        (
            "AOI_4_Shanghai_Train/RGB-PanSharpen/RGB-PanSharpen_AOI_4_Shanghai_img7.tif",
            "AOI_4_Shanghai_Train/geojson/buildings/buildings_AOI_4_Shanghai_img7.geojson",
            "AOI_4_Shanghai_img7",
        ),
        (
            "PS-RGB/SN6_Train_AOI_11_Rotterdam_PS-RGB_20190804111224_20190804111453_tile_8679.tif",
            "geojson_buildings/SN6_Train_AOI_11_Rotterdam_Buildings_20190804111224_20190804111453_tile_8679.geojson",
            "AOI_11_Rotterdam_20190804111224_20190804111453_tile_8679",
        ),
    ],
)
def test_names_pair(tmp_path: Path, image: str, label: str, name: str) -> None:
    touch(tmp_path, image, label, image.replace(".tif", "9.tif"), str(Path(image).with_name("notes.tif")))
    (pair,) = find_spacenet_pairs(tmp_path)
    assert (pair.name, pair.image, pair.label) == (name, tmp_path / image, tmp_path / label)


def test_areas_are_kept_apart(tmp_path: Path) -> None:
    for area in ("2_Vegas", "3_Paris"):
        touch(tmp_path, f"{area}/PS-RGB/x_AOI_{area}_PS-RGB_img1.tif", f"{area}/geojson_buildings/x_AOI_{area}_b_img1.geojson")  # fmt: skip
    assert [pair.name for pair in find_spacenet_pairs(tmp_path)] == ["AOI_2_Vegas_img1", "AOI_3_Paris_img1"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "found nothing"),
        (["pictures/a.tif"], r"expected SpaceNet's PS-RGB/.* found pictures$"),
        (["PS-RGB/x_AOI_2_Vegas_img1.tif"], "found PS-RGB$"),
        (
            ["PS-RGB/x_AOI_2_Vegas_img1.tif", "geojson_buildings/x_AOI_2_Vegas_img2.geojson"],
            "has no image AOI_2_Vegas_img2 in PS-RGB",
        ),
        (
            ["a/PS-RGB/x_AOI_2_Vegas_img1.tif", "b/PS-RGB/x_AOI_2_Vegas_img1.tif"],
            "SpaceNet image AOI_2_Vegas_img1 is there twice",
        ),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_spacenet_pairs(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no folder"):
        find_spacenet_pairs(tmp_path / "none")
