"""Which rasters are masks, and what their values mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from made import RasterWriter

from geoseg.errors import InputError
from geoseg.raster.coding import FINE_STEPS
from geoseg.raster.mask import Mask, find_classes, open_mask, select_own_class

ALL = slice(0, 4)
UNKNOWN = np.iinfo(np.uint16).max


def pixels(*values: float, dtype: str = "uint8") -> np.ndarray:
    return np.resize(np.array(values, dtype=dtype), (4, 4))


def classes_of(mask: Mask) -> set[int]:
    return set(mask.read(slice(0, mask.grid.height))[0].ravel().tolist())


@pytest.mark.parametrize(
    ("values", "nodata", "expected"),
    [
        (pixels(0, 1, 2, 255), 255, {0, 1, 2, 255}),
        (pixels(0, 255), None, {0, 1}),
        (pixels(0, 1, 9), 9, {0, 1, 255}),
        (pixels(0, 1), 0, {0, 1}),
        (pixels(0, 255), 0, {0, 1}),
        (pixels(0, 1, -9999, dtype="int16"), -9999, {0, 1, 255}),
        (pixels(0, 1, 254, dtype="uint16"), None, {0, 1, 254}),
        (pixels(0, 3, dtype="int32"), None, {0, 3}),
    ],
)
def test_values_become_classes(write_raster: RasterWriter, values, nodata, expected: set[int]) -> None:
    mask = open_mask(str(write_raster("mask.tif", values, nodata=nodata)))
    assert classes_of(mask) == expected


def test_a_mask_inside_the_file_says_what_is_unknown(write_raster: RasterWriter) -> None:
    seen = np.where(np.arange(16).reshape(4, 4) < 3, 0, 255).astype(np.uint8)
    path = write_raster("mask.tif", np.ones((4, 4), np.uint8), mask=seen)
    values, _ = open_mask(str(path)).read(ALL)
    np.testing.assert_array_equal(values == 255, seen == 0)


def test_an_alpha_band_is_no_second_band(write_raster: RasterWriter) -> None:
    both = np.stack([pixels(0, 1), pixels(255)])
    path = write_raster("mask.tif", both, photometric="minisblack", alpha="yes")
    assert classes_of(open_mask(str(path))) == {0, 1}


def test_a_colour_table_does_not_matter(write_raster: RasterWriter) -> None:
    import rasterio

    path = write_raster("mask.tif", pixels(0, 1), photometric="palette")
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {0: (0, 0, 0, 0), 1: (255, 0, 0, 255)})
    assert classes_of(open_mask(str(path))) == {0, 1}


def test_a_threshold_cuts_scaled_values(write_raster: RasterWriter) -> None:
    path = write_raster("probability.tif", pixels(0, 125, 124, 250, 255), nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.scales = [0.004]
    classes, chance = open_mask(str(path), threshold=0.5).read(ALL)
    assert classes.ravel()[:5].tolist() == [0, 1, 0, 1, 255]
    assert chance is not None
    assert chance.ravel()[:5].tolist() == [0, 125, 124, 250, 255]  # bytes of geoseg infer stay bytes


def test_bytes_of_another_scale_become_steps(write_raster: RasterWriter) -> None:
    path = write_raster("percent.tif", pixels(0, 50, 49, 100, 255), nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.scales = [0.01]
    classes, chance = open_mask(str(path), threshold=0.5).read(ALL)
    assert classes.ravel()[:5].tolist() == [0, 1, 0, 1, 255]
    assert chance is not None
    assert chance.ravel()[:5].tolist() == [0, FINE_STEPS // 2, 49 * 500, FINE_STEPS, UNKNOWN]


def test_bytes_beyond_a_probability_of_one_are_refused(write_raster: RasterWriter) -> None:
    path = write_raster("probability.tif", pixels(0, 125, 251, 250, 255), nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.scales = [0.004]
    with pytest.raises(InputError, match="is no probability"):
        open_mask(str(path), threshold=0.5).read(ALL)


def test_percents_are_probabilities_where_the_file_says_so(write_raster: RasterWriter) -> None:
    path = write_raster("percent.tif", pixels(0, 49, 50, 100))
    with pytest.raises(InputError, match=r"value 100 is no probability .* gdal_edit\.py -scale 0\.01"):
        open_mask(str(path), threshold=0.5).read(ALL)
    with rasterio.open(path, "r+") as raster:
        raster.scales = [0.01]
    classes, chance = open_mask(str(path), threshold=0.5).read(ALL)
    assert classes.ravel()[:4].tolist() == [0, 0, 1, 1]
    assert chance is not None
    assert chance.ravel()[3] == FINE_STEPS


def test_decimals_that_are_not_numbers_are_unknown(write_raster: RasterWriter) -> None:
    path = write_raster("probability.tif", pixels(0.2, 0.7, np.nan, dtype="float32"))
    classes, chance = open_mask(str(path), threshold=0.5).read(ALL)
    assert classes.ravel()[:3].tolist() == [0, 1, 255]
    assert chance is not None
    assert chance.ravel()[2] == UNKNOWN


def test_one_of_several_bands(write_raster: RasterWriter) -> None:
    path = write_raster("bands.tif", np.stack([pixels(0), pixels(0, 1), pixels(0, 2)]))
    assert classes_of(open_mask(str(path), band=3)) == {0, 2}


def test_each_pixel_has_the_probability_of_its_own_class() -> None:
    chances = np.stack([pixels(1), pixels(2), pixels(3)])
    own = select_own_class(chances, pixels(0, 1, 2, 255))
    assert own.ravel()[:4].tolist() == [1, 2, 3, 1]
    assert (select_own_class(chances[:1], pixels(0, 2)) == 1).all()


def test_values_in_a_mask(write_raster: RasterWriter) -> None:
    assert find_classes(open_mask(str(write_raster("m.tif", pixels(0, 5, 7, 255), nodata=255)))) == [5, 7]


@pytest.mark.parametrize(("height", "block"), [(None, 16), (None, 128), (5, 16)])
def test_strips_cover_every_row_once(write_raster: RasterWriter, height: int | None, block: int) -> None:
    values = np.zeros((100, 32), np.uint8)
    path = write_raster("m.tif", values, tiled=True, blockxsize=block, blockysize=block)
    mask = open_mask(str(path))
    rows = [row for some in mask.strips(height) for row in range(some.start, some.stop)]
    assert rows == list(range(100))


FAULTS = [
    ({}, pixels(0.5, dtype="float32"), {}, "holds decimals.*`threshold`"),
    ({}, np.stack([pixels(0)] * 3), {}, "has 3 bands.*`band`"),
    ({"band": 2}, pixels(0), {}, "`band` 2"),
    ({"band": 0}, pixels(0), {}, "`band` 0"),
    ({"threshold": float("nan")}, pixels(0), {}, "`threshold` nan"),
    ({}, pixels(0), {"crs": None}, "no coordinate reference system.*`assume_crs`"),
    ({"assume_crs": "EPSG:0"}, pixels(0), {"crs": None}, "`assume_crs` EPSG:0"),
    ({}, pixels(1j, dtype="complex64"), {}, "complex"),
    ({"probability": "no.tif"}, pixels(0), {}, "no.tif"),
]


@pytest.mark.parametrize(("wish", "values", "profile", "words"), FAULTS)
def test_what_is_no_mask_is_refused_in_one_line(
    write_raster: RasterWriter, wish, values, profile, words: str
) -> None:
    path = write_raster("mask.tif", values, **profile)
    with pytest.raises(InputError, match=words) as refusal:
        open_mask(str(path), **wish)
    assert "\n" not in str(refusal.value)


UNREADABLE = [
    (pixels(0, 1, 255), {}, {}, "255 beside other classes.*--nodata 255"),
    (pixels(0, 300, dtype="uint16"), {}, {}, "value 300 is no class"),
    (pixels(0, -3, dtype="int16"), {}, {}, "value -3 is no class"),
    (pixels(0, 1.5, dtype="float32"), {}, {"threshold": 0.5}, "value 1.5 is no probability"),
    (pixels(0, -0.1, dtype="float32"), {}, {"threshold": 0.5}, "value -0.1 is no probability"),
]


@pytest.mark.parametrize(("values", "profile", "wish", "words"), UNREADABLE)
def test_values_that_mean_nothing_are_refused(
    write_raster: RasterWriter, values, profile, wish, words: str
) -> None:
    mask = open_mask(str(write_raster("mask.tif", values, **profile)), **wish)
    with pytest.raises(InputError, match=words):
        mask.read(ALL)


def test_scaled_values_are_probabilities_rather_than_classes(write_raster: RasterWriter) -> None:
    import rasterio

    path = write_raster("probability.tif", pixels(0, 125))
    with rasterio.open(path, "r+") as raster:
        raster.scales = [0.004]
    with pytest.raises(InputError, match=r"`threshold` 0\.5"):
        open_mask(str(path))


def test_what_is_not_there_or_no_raster_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.tif: no such file"):
        open_mask(str(tmp_path / "nothing.tif"))
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(InputError, match=r"text\.tif: not a raster"):
        open_mask(str(tmp_path / "text.tif"))


def test_a_probability_of_more_bands_than_classes_is_refused(write_raster: RasterWriter) -> None:
    mask = write_raster("mask.tif", pixels(0, 1))
    many = write_raster("probability.tif", np.zeros((258, *pixels(0, 1).shape[-2:]), np.uint8))
    with pytest.raises(
        InputError, match="has 258 bands; a probability has one, or one for each of 255 classes"
    ):
        open_mask(str(mask), probability=str(many))


def test_a_probability_must_have_the_masks_pixels(write_raster: RasterWriter) -> None:
    mask = write_raster("mask.tif", pixels(0, 1))
    other = write_raster("probability.tif", np.zeros((5, 4), np.uint8))
    with pytest.raises(InputError, match="same pixels"):
        open_mask(str(mask), probability=str(other))
    here = Affine(9e-7, 0, 13.4, 0, -9e-7, 52.5)
    mask = write_raster("degrees.tif", pixels(0, 1), crs="EPSG:4326", transform=here)
    there = here @ Affine.translation(1, 0)
    moved = write_raster("moved.tif", pixels(0, 1), crs="EPSG:4326", transform=there)
    with pytest.raises(InputError, match="same pixels"):
        open_mask(str(mask), probability=str(moved))
    with pytest.raises(InputError, match="give the mask itself"):
        open_mask(str(mask), probability=str(mask), threshold=0.5)
