"""The Inria layout: cities, the usual validation images, and a refusal that says what was expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import RasterWriter, photo

from geoseg.errors import InputError
from geoseg.prepare.inria import InriaSet, prepare_inria
from geoseg.prepare.making import Origin, Workshop
from geoseg.prepare.picture import read_window
from geoseg.prepare.splits import SplitRule


@pytest.fixture
def source(write_raster: RasterWriter, tmp_path: Path) -> Path:
    for name in ("austin1", "austin5", "austin6", "tyrol-w1", "tyrol-w36"):
        write_raster(f"AerialImageDataset/train/images/{name}.tif", photo(8, 8))
        write_raster(f"AerialImageDataset/train/gt/{name}.tif", np.full((8, 8), 255, np.uint8))
    return tmp_path


def test_the_first_five_images_of_a_city_validate(source: Path) -> None:
    dataset = prepare_inria(source, InriaSet(Origin("inria")), Workshop(source / "out", 0))
    assert {item.place: item.split for item in dataset.items} == {
        "austin1": "validation", "austin5": "validation", "austin6": "train",
        "tyrol-w1": "validation", "tyrol-w36": "train",
    }  # fmt: skip
    assert (read_window(dataset.label_path(dataset.items[0])) == 1).all()


def test_whole_cities_validate(source: Path) -> None:
    rule = InriaSet(Origin("inria"), SplitRule(validation=["tyrol-w"]))
    dataset = prepare_inria(source, rule, Workshop(source / "out", 0))
    assert {item.place: item.split for item in dataset.items} == {"austin": "train", "tyrol-w": "validation"}


def test_another_layout_is_refused(tmp_path: Path, write_raster: RasterWriter) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        InputError, match=r"expected AerialImageDataset/train with images and gt, found pictures"
    ):
        prepare_inria(tmp_path, InriaSet(Origin("inria")), Workshop(tmp_path / "out", 0))


def test_another_name_is_refused(source: Path, write_raster: RasterWriter) -> None:
    for folder in ("images", "gt"):
        write_raster(f"AerialImageDataset/train/{folder}/Paris.tif", photo(8, 8, 1))
    with pytest.raises(InputError, match="expected a name like austin12"):
        prepare_inria(source, InriaSet(Origin("inria")), Workshop(source / "out", 0))
