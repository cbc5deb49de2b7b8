"""The Inria layout: cities, the usual validation images, and a refusal that says what was expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import RasterWriter, photo

from geoseg.datasets.benchmarks import InriaOptions, prepare_inria
from geoseg.datasets.builder import DatasetBuilder, Origin, SplitRule
from geoseg.datasets.images import read_window
from geoseg.datasets.schema import read_dataset
from geoseg.errors import InputError


@pytest.fixture
def source(write_raster: RasterWriter, tmp_path: Path) -> Path:
    for name in ("austin1", "austin5", "austin6", "tyrol-w1", "tyrol-w36"):
        write_raster(f"AerialImageDataset/train/images/{name}.tif", photo(8, 8))
        write_raster(f"AerialImageDataset/train/gt/{name}.tif", np.full((8, 8), 255, np.uint8))
    return tmp_path


def test_the_first_five_images_of_a_city_validate(source: Path) -> None:
    dataset = prepare_inria(source, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0))
    assert {item.place: item.split for item in dataset.items} == {
        "austin1": "validation", "austin5": "validation", "austin6": "train",
        "tyrol-w1": "validation", "tyrol-w36": "train",
    }  # fmt: skip
    assert (read_window(dataset.label_path(dataset.items[0])) == 1).all()


def test_whole_cities_validate(source: Path) -> None:
    rule = InriaOptions(Origin("inria"), SplitRule(validation=["tyrol-w"]))
    dataset = prepare_inria(source, rule, DatasetBuilder(source / "out", 0))
    assert {item.place: item.split for item in dataset.items} == {"austin": "train", "tyrol-w": "validation"}


@pytest.mark.parametrize("inside", ["", "AerialImageDataset", "AerialImageDataset/train"])
def test_the_archive_may_be_given_from_any_folder(source: Path, inside: str) -> None:
    assert (
        len(
            prepare_inria(
                source / inside, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0)
            ).items
        )
        == 5
    )


def test_whole_cities_validate_by_share_where_none_is_named(source: Path) -> None:
    dataset = prepare_inria(
        source, InriaOptions(Origin("inria"), SplitRule(share=0.5)), DatasetBuilder(source / "out", 0)
    )
    assert sorted({(item.place, item.split) for item in dataset.items}, key=lambda each: each[1]) in (
        [("austin", "train"), ("tyrol-w", "validation")],
        [("tyrol-w", "train"), ("austin", "validation")],
    )


def test_what_is_known_of_the_set_is_written_down(source: Path) -> None:
    dataset = prepare_inria(source, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0))
    assert (dataset.gsd_m, dataset.bands) == (0.3, ("red", "green", "blue"))
    assert [each.name for each in dataset.classes] == ["background", "building"]
    assert read_dataset(source / "out") == dataset


def test_large_images_are_drawn_window_by_window(
    write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (700, 600))
    write_raster("train/images/vienna7.tif", photo(700, 600))
    write_raster("train/gt/vienna7.tif", truth)
    monkeypatch.setattr("geoseg.datasets.images.ImageInfo.windows.__defaults__", (512,))
    dataset = prepare_inria(tmp_path, InriaOptions(Origin("inria")), DatasetBuilder(tmp_path / "out", 0))
    assert np.array_equal(read_window(dataset.label_path(dataset.items[0]))[0], truth // 255)


def test_a_city_that_is_not_there_is_refused(source: Path) -> None:
    rule = InriaOptions(Origin("inria"), SplitRule(validation=["paris"]))
    with pytest.raises(InputError, match="paris: no such place; there are austin, tyrol-w"):
        prepare_inria(source, rule, DatasetBuilder(source / "out", 0))


def test_values_that_are_no_mask_are_refused(source: Path, write_raster: RasterWriter) -> None:
    write_raster("AerialImageDataset/train/gt/austin1.tif", np.full((8, 8), 7, np.uint8))
    with pytest.raises(InputError, match=r"austin1\.tif: holds 7, which the class table does not name"):
        prepare_inria(source, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0))


def test_a_mask_without_its_image_is_refused(source: Path) -> None:
    (source / "AerialImageDataset/train/images/austin5.tif").unlink()
    with pytest.raises(InputError, match=r"gt/austin5\.tif: has no image of the same name"):
        prepare_inria(source, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0))


def test_a_mask_of_another_size_is_refused(source: Path, write_raster: RasterWriter) -> None:
    write_raster("AerialImageDataset/train/gt/austin1.tif", np.zeros((4, 8), np.uint8))
    with pytest.raises(InputError, match=r"is 8 x 4 pixels, but its image .* 8 x 8"):
        prepare_inria(source, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0))


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        ([], "found nothing"),
        (["test/images"], "found test$"),
        (["train/images", "train/masks"], r"found train \(which holds images, masks\)"),
        (["AerialImageDataset/train/images"], r"found AerialImageDataset/train \(which holds images\)"),
    ],
)
def test_a_layout_that_is_not_inrias_is_described(tmp_path: Path, folders: list[str], found: str) -> None:
    for folder in folders:
        (tmp_path / "source" / folder).mkdir(parents=True)
    (tmp_path / "source").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=f"expected AerialImageDataset/train with images and gt, {found}"):
        prepare_inria(tmp_path / "source", InriaOptions(Origin("inria")), DatasetBuilder(tmp_path / "out", 0))


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no folder"):
        prepare_inria(tmp_path / "none", InriaOptions(Origin("inria")), DatasetBuilder(tmp_path / "out", 0))


def test_another_layout_is_refused(tmp_path: Path, write_raster: RasterWriter) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        InputError, match=r"expected AerialImageDataset/train with images and gt, found pictures"
    ):
        prepare_inria(tmp_path, InriaOptions(Origin("inria")), DatasetBuilder(tmp_path / "out", 0))


def test_another_name_is_refused(source: Path, write_raster: RasterWriter) -> None:
    for folder in ("images", "gt"):
        write_raster(f"AerialImageDataset/train/{folder}/Paris.tif", photo(8, 8, 1))
    with pytest.raises(InputError, match="expected a name like austin12"):
        prepare_inria(source, InriaOptions(Origin("inria")), DatasetBuilder(source / "out", 0))
