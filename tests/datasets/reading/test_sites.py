"""Images and labels of a data set stay open between patches, and are opened anew when somebody wrote them anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from geoseg.datasets.reading.sites import open_site
from geoseg.datasets.schema import Dataset, Item
from geoseg.errors import InputError
from geoseg.raster.grid import Window
from geoseg.raster.palette import ClassEntry

CLASSES = (ClassEntry("background", "#000000"), ClassEntry("building", "#ffffff"))


def make_dataset(item: Item, folder: Path) -> Dataset:
    return Dataset("d", "CC0", "me", "here", 0.5, ("red",), CLASSES, (item,), folder)


def write_array(path: Path, values: NDArray[np.uint8]) -> None:
    np.save(path, values)


def write_geotiff(path: Path, values: NDArray[np.uint8]) -> None:
    bands = values if values.ndim == 3 else values[None]
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": count}
    with rasterio.open(path, "w", height=height, width=width, **profile) as file:
        file.write(bands)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let a file that is open be written")
@pytest.mark.parametrize(("suffix", "write"), [(".npy", write_array), (".tif", write_geotiff)])
def test_files_that_were_written_anew_are_read_anew(
    suffix: str, write: Callable[[Path, NDArray[np.uint8]], None], tmp_path: Path
) -> None:
    image, label = tmp_path / f"image{suffix}", tmp_path / f"label{suffix}"
    item = Item(image.name, label.name, "a", gsd_m=0.5)
    dataset = make_dataset(item, tmp_path)
    for side in (8, 12):
        values = np.arange(side * side, dtype=np.uint8).reshape(side, side)
        write(image, values[None])
        write(label, values % 2)
        patch = open_site(dataset, item, 0.5).read(Window(0, 0, side, side))
        assert np.array_equal(patch.values[0], values)
        assert np.array_equal(patch.classes, values % 2)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_damaged_label_is_told_in_one_line(tmp_path: Path) -> None:
    for name in ("image.tif", "label.tif"):
        write_geotiff(tmp_path / name, np.ones((64, 64), np.uint8))
    label = tmp_path / "label.tif"
    label.write_bytes(label.read_bytes()[:2000])
    item = Item("image.tif", "label.tif", "a", gsd_m=0.5)
    with pytest.raises(InputError, match=r"label\.tif: cannot be read .*; the file is damaged: get it again"):
        open_site(make_dataset(item, tmp_path), item, 0.5)


def test_an_image_that_is_gone_while_it_is_read_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((1, 8, 8), np.uint8))
    np.save(tmp_path / "label.npy", np.zeros((8, 8), np.uint8))
    item = Item("image.npy", "label.npy", "a", gsd_m=0.5)
    site = open_site(make_dataset(item, tmp_path), item, 0.5)
    (tmp_path / "image.npy").unlink()
    with pytest.raises(InputError, match=r"image\.npy: cannot be read \(No such file"):
        site.read(Window(0, 0, 8, 8))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["image.tif", "label.tif"])
def test_a_file_that_cannot_be_opened_any_more_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    for each in ("image.tif", "label.tif"):
        write_geotiff(tmp_path / each, np.ones((64, 64), np.uint8))
    item = Item("image.tif", "label.tif", "a", gsd_m=0.5)
    site = open_site(make_dataset(item, tmp_path), item, 0.5)
    (tmp_path / name).write_bytes(b"no raster")
    with pytest.raises(InputError, match=rf"{name}: not a raster that can be read"):
        site.read(Window(0, 0, 32, 32))
