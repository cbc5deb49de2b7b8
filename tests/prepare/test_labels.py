"""Label rasters of other grids: fractions are exact, shares survive, nothing unknown is called known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from made import RasterWriter, photo
from pyproj import Transformer

from geoseg.errors import InputError
from geoseg.prepare.classes import class_table
from geoseg.prepare.dataset import Dataset
from geoseg.prepare.labels import LabelSet, class_fractions, points_along, prepare_labels
from geoseg.prepare.making import Origin, Workshop
from geoseg.prepare.pairs import find_pairs
from geoseg.prepare.picture import opened, picture, read_window
from geoseg.raster.grid import Window

CORNER = (400_000, 5_800_000)
TEN_METRES = Affine.translation(*CORNER) @ Affine.scale(10, -10)
TWO_METRES = Affine.translation(*CORNER) @ Affine.scale(2, -2)
ESM = class_table("esm")


def wanted(**changes: object) -> LabelSet:
    return LabelSet(Origin("esm", "CC-BY-4.0", "JRC", "doi"), ESM, ("red", "green", "blue"), **changes)  # type: ignore[arg-type]


def prepared(folder: Path, **changes: object) -> Dataset:
    pairs = find_pairs(folder, "images/*.tif", "labels/*.tif")
    return prepare_labels(pairs, wanted(**changes), Workshop(folder / "out", 0))


def test_fractions_on_an_aligned_grid_are_exact(write_raster: RasterWriter) -> None:
    fine = np.random.default_rng(1).choice([1, 250, 255], (200, 300), p=[0.6, 0.1, 0.3]).astype(np.uint8)
    image = picture(write_raster("images/a.tif", photo(40, 60), transform=TEN_METRES))
    label = write_raster("labels/a.tif", fine, transform=TWO_METRES)
    grid = image.grid
    assert grid is not None
    assert points_along(grid, picture(label).grid) == 5  # type: ignore[arg-type]
    with opened(label) as dataset:
        found = class_fractions(dataset, label, grid, Window(0, 0, 40, 60), 5, ESM)
    expected = [(fine == value).reshape(40, 5, 60, 5).mean(axis=(1, 3)) for value in (1, 250, 255)]
    assert np.array_equal(found, expected)


def test_fractions_across_projections_follow_the_ground(write_raster: RasterWriter) -> None:
    """A label in EPSG:3035 that is residential east of a line: every pixel knows its share of that side."""
    to_laea = Transformer.from_crs(32633, 3035, always_xy=True)
    x, y = to_laea.transform(CORNER[0] + 300, CORNER[1] - 200)
    left, top = round(x / 2) * 2 - 1000, round(y / 2) * 2 + 1000
    fine = np.ones((1000, 1000), np.uint8)
    fine[:, 500:] = 255
    label = write_raster("labels/a.tif", fine, crs="EPSG:3035", transform=Affine(2, 0, left, 0, -2, top))
    image = picture(write_raster("images/a.tif", photo(40, 60), transform=TEN_METRES))
    with opened(label) as dataset:
        found = class_fractions(dataset, label, image.grid, Window(0, 0, 40, 60), 16, ESM)  # type: ignore[arg-type]
    offsets = (np.arange(50) + 0.5) / 50
    cols, rows = np.meshgrid(
        (np.arange(60)[:, None] + offsets).ravel(), (np.arange(40)[:, None] + offsets).ravel()
    )
    east = to_laea.transform(CORNER[0] + 10 * cols, CORNER[1] - 10 * rows)[0] >= left + 1000
    expected = east.reshape(40, 50, 60, 50).mean(axis=(1, 3))
    assert np.abs(found[2] - expected).max() < 0.13
    assert np.abs(found[2] - expected).mean() < 0.002
    assert np.allclose(found.sum(axis=0), 1)
    assert (found[2] == 0).any()
    assert (found[2] == 1).any()


def test_the_threshold_decides(write_raster: RasterWriter, tmp_path: Path) -> None:
    fine = np.ones((10, 10), np.uint8)
    fine[:5, :3] = 255  # 60 % of the first pixel
    fine[:5, 5:7] = 250  # 40 % of the second
    fine[5:, :] = 0  # nothing known
    write_raster("images/a.tif", photo(2, 2), transform=TEN_METRES)
    write_raster("labels/a.tif", fine, transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert read_window(dataset.label_path(dataset.items[0]))[0].tolist() == [[2, 0], [255, 255]]
    assert [each.name for each in dataset.classes] == ["other", "non-residential", "residential"]


def test_unknown_pixels_of_the_image_are_ignored(write_raster: RasterWriter, tmp_path: Path) -> None:
    pixels = photo(2, 2)
    pixels[:, 0, 0] = 0
    write_raster("images/a.tif", pixels, transform=TEN_METRES, nodata=0)
    write_raster("labels/a.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert read_window(dataset.label_path(dataset.items[0]))[0].tolist() == [[255, 2], [2, 2]]


def test_ground_beyond_the_label_is_ignored(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("images/a.tif", photo(2, 4), transform=TEN_METRES)
    write_raster("labels/a.tif", np.full((10, 10), 255, np.uint8), transform=TWO_METRES)
    dataset = prepared(tmp_path)
    assert read_window(dataset.label_path(dataset.items[0]))[0].tolist() == [[2, 2, 255, 255]] * 2


def test_values_that_the_table_does_not_know_are_refused(write_raster: RasterWriter, tmp_path: Path) -> None:
    write_raster("images/a.tif", photo(2, 2), transform=TEN_METRES)
    write_raster("labels/a.tif", np.full((10, 10), 77, np.uint8), transform=TWO_METRES)
    with pytest.raises(InputError, match="holds 77, which the class table does not name"):
        prepared(tmp_path)


def test_a_threshold_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="--threshold 0"):
        wanted(threshold=0.0)
