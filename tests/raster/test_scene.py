from __future__ import annotations

import logging
import struct
import zipfile
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import rasterio
from affine import Affine
from made import HERE, RasterWriter, photo
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.shutil import copy

from geoseg.errors import InputError
from geoseg.raster.bands import match_bands, parse_bands
from geoseg.raster.grid import Window
from geoseg.raster.scene import Scene, open_scene
from geoseg.raster.source import ignore_missing_place, open_raster


def read(scene: Scene, window: Window | None = None):
    with scene.open() as reader:
        return reader.read(window or Window(0, 0, *scene.grid.shape))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_pixels_are_read_as_they_are(write_raster: RasterWriter, dtype: str) -> None:
    values = photo(40, 50, bands=5, dtype=dtype)
    pixels = read(open_scene([str(write_raster("a.tif", values))]), Window(7, 9, 20, 30))
    assert (pixels.values == values[:, 7:27, 9:39]).all()
    assert pixels.values.dtype == dtype
    assert pixels.valid.all()


def test_bands_by_number_and_by_description(write_raster: RasterWriter) -> None:
    values = photo(8, 8, bands=4)
    path = write_raster("a.tif", values, photometric="minisblack", descriptions=("B4", "B3", "B2", "B8"))
    scene = open_scene([str(path)])
    assert parse_bands(scene.all_bands, "4, 1", "a") == (4, 1)
    assert parse_bands(scene.all_bands, "b8,B2", "a") == (4, 3)
    assert match_bands(scene.all_bands, ["B2", "B8"], "a") == (3, 4)
    assert (read(scene.with_bands((4, 1))).values == values[[3, 0]]).all()


def test_bands_of_two_types_are_read_apart_only(write_raster: RasterWriter, tmp_path: Path) -> None:
    radar, optical = photo(8, 8, bands=1, dtype="float32"), photo(8, 8, dtype="uint16")
    files = [write_raster("radar.tif", radar), *[write_raster("optical.tif", optical)] * 3]
    sources = "".join(
        f'<VRTRasterBand dataType="{"UInt16" if band > 1 else "Float32"}" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{file.name}</SourceFilename><SourceBand>{max(1, band - 1)}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band, file in enumerate(files, start=1)
    )
    place = ", ".join(map(str, HERE.to_gdal()))
    path = tmp_path / "both.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32633</SRS><GeoTransform>{place}</GeoTransform>{sources}</VRTDataset>'
    )
    scene = open_scene([str(path)]).with_bands((2, 3, 4))
    assert scene.dtype == "uint16"
    assert (read(scene).values == optical).all()
    with pytest.raises(InputError, match="bands 1, 2 hold float32 and uint16; bring all bands to one type"):
        scene.with_bands((1, 2))


def test_bands_are_found_by_other_names_of_their_colour(write_raster: RasterWriter) -> None:
    names = ("B2", "B3", "B4", "B8")
    sentinel = open_scene([str(write_raster("s2.tif", photo(8, 8, 4), descriptions=names))]).all_bands
    assert match_bands(sentinel, ["red", "green", "blue"], "s2") == (3, 2, 1)
    assert match_bands(sentinel, ["nir", "red"], "s2") == (4, 3)
    colored = open_scene([str(write_raster("c.tif", photo(8, 8), descriptions=("red", "green", "blue")))])
    assert match_bands(colored.all_bands, ["B2", "B4"], "c") == (3, 1)


def test_bands_that_are_only_numbered_have_no_colour(write_raster: RasterWriter) -> None:
    names = ("b1", "b2", "b3")
    path = write_raster("n.tif", photo(8, 8), descriptions=names, photometric="minisblack")
    assert match_bands(open_scene([str(path)]).all_bands, ["red", "green", "blue"], "n") == (1, 2, 3)


def test_colours_name_bands_too(write_raster: RasterWriter) -> None:
    path = write_raster("a.tif", photo(8, 8, bands=4), photometric="rgb")
    assert match_bands(open_scene([str(path)]).all_bands, ["blue", "red"], "a") == (3, 1)


def test_a_band_asked_for_by_name_is_data_whatever_its_colour(write_raster: RasterWriter) -> None:
    path = write_raster(
        "a.tif", photo(4, 4, 4), photometric="RGB", alpha="YES", descriptions=("B4", "B3", "B2", "B8")
    )
    bands = open_scene([str(path)]).all_bands
    assert bands[3].is_alpha
    assert match_bands(bands, ["B4", "B3", "B2", "B8"], "a") == (1, 2, 3, 4)
    assert match_bands(bands, ["red", "green", "blue"], "a") == (1, 2, 3)


def test_nodata_alpha_mask_and_nan_all_mean_unknown(write_raster: RasterWriter) -> None:
    values = photo(30, 30)
    hole = np.zeros((30, 30), bool)
    hole[5:12, 8:20] = True
    holed = np.where(hole, 0, values).astype("uint8")
    alpha = np.where(hole, 0, 255).astype("uint8")
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    floats = np.where(hole, np.nan, values).astype("float32")
    infinite = values.astype("float32")
    infinite[1, hole] = np.inf
    paths = [
        write_raster("nodata.tif", holed, nodata=0),
        write_raster("alpha.tif", np.concatenate([values, alpha[None]]), photometric="rgb", alpha="yes"),
        write_raster("mask.tif", values, mask=alpha),
        write_raster("nan.tif", floats),
        write_raster("nan-nodata.tif", floats, nodata=float("nan")),
        write_raster("inf.tif", infinite),
    ]
    with rasterio.open(paths[1]) as dataset:
        assert list(dataset.colorinterp) == colors
    for path in paths:
        scene = open_scene([str(path)])
        assert len(scene.bands) == 3
        pixels = read(scene)
        assert (pixels.valid == ~hole).all(), path
        assert (pixels.values[:, ~hole] == values[:, ~hole]).all(), path


def test_a_band_called_alpha_can_be_asked_for_as_data(write_raster: RasterWriter) -> None:
    values = photo(8, 8, bands=4)
    values[3, 2, 2] = 0
    scene = open_scene([str(write_raster("a.tif", values, photometric="rgb", alpha="yes"))])
    assert not read(scene).valid.all()
    pixels = read(scene.with_bands(parse_bands(scene.all_bands, "1,2,3,4", "a")))
    assert pixels.valid.all()
    assert (pixels.values == values).all()


def test_one_dark_band_is_not_nodata(write_raster: RasterWriter) -> None:
    values = photo(10, 10)
    values[0, 3, 3] = 0
    assert read(open_scene([str(write_raster("a.tif", values, nodata=0))])).valid.all()


def test_rotated_scenes_are_read_in_their_own_pixels(write_raster: RasterWriter) -> None:
    values = photo(20, 20)
    turned = HERE @ Affine.rotation(30)
    scene = open_scene([str(write_raster("a.tif", values, transform=turned))])
    assert scene.grid.transform.almost_equals(turned)
    assert scene.grid.gsd_m == pytest.approx(0.3, rel=1e-3)
    assert (read(scene).values == values).all()


def test_coarsening_is_the_mean_of_the_area(write_raster: RasterWriter) -> None:
    values = photo(90, 120)
    scene = open_scene([str(write_raster("a.tif", values))]).resample(0.9)
    assert scene.grid.shape == (30, 40)
    expected = values.reshape(3, 30, 3, 40, 3).mean(axis=(2, 4))
    assert read(scene).values == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize("gsd_m", [0.21, 0.3001, 0.47, 1.3])
def test_resampling_does_not_depend_on_the_windows_read(write_raster: RasterWriter, gsd_m: float) -> None:
    path = write_raster("a.tif", photo(200, 150), nodata=0, tiled=True, blockxsize=64, blockysize=64)
    scene = open_scene([str(path)]).resample(gsd_m)
    whole = read(scene)
    height, width = scene.grid.shape
    with scene.open() as reader:
        parts = [reader.read(Window(row, 0, min(13, height - row), width)) for row in range(0, height, 13)]
    assert (np.concatenate([p.values for p in parts], axis=1) == whole.values).all()
    assert (np.concatenate([p.valid for p in parts]) == whole.valid).all()


def test_overviews_serve_coarse_grids(write_raster: RasterWriter) -> None:
    path = write_raster("a.tif", photo(256, 256), tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.average)
        dataset.write(np.zeros((3, 256, 256), "uint8"))  # only the overviews still hold the picture
    with rasterio.open(path, overview_level=1) as overview:
        expected = overview.read()
    assert (read(open_scene([str(path)]).resample(1.2)).values == expected).mean() > 0.99


def test_several_files_are_one_scene_and_the_first_wins(write_raster: RasterWriter) -> None:
    values = photo(60, 80)
    left, right = values[:, :, :50], 255 - values[:, :, 40:]
    a = write_raster("tiles/a.tif", left)
    b = write_raster("tiles/b.tif", right, transform=HERE @ Affine.translation(40, 0))
    first = read(open_scene([str(a), str(b)]))
    assert (first.values[:, :, :50] == left).all()
    assert (first.values[:, :, 50:] == right[:, :, 10:]).all()
    second = read(open_scene([str(b), str(a)]))
    assert (second.values[:, :, 40:] == right).all()
    folder = open_scene([str(a.parent)])
    assert folder.grid.shape == (60, 80)
    assert folder.grid.transform.almost_equals(HERE)


def test_the_gaps_of_a_mosaic_are_unknown_and_nodata_lets_later_files_through(
    write_raster: RasterWriter,
) -> None:
    upper = photo(20, 20)
    upper[:, 5:10, 5:10] = 0
    lower = photo(20, 20, seed=1)
    a = write_raster("a.tif", upper, nodata=0)
    b = write_raster("b.tif", lower, nodata=0, transform=HERE @ Affine.translation(3, 3))
    pixels = read(open_scene([str(a), str(b)]))
    covered = np.zeros((23, 23), dtype=bool)
    covered[:20, :20] = covered[3:, 3:] = True
    assert (pixels.valid == covered).all()
    assert (pixels.values[:, 5:10, 5:10] == lower[:, 2:7, 2:7]).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_pixel_of_a_mosaic_is_known_where_any_band_is(write_raster: RasterWriter, dtype: str) -> None:
    """A bright roof is 255 in one band and less in the others: its file alone says what it is, in all bands."""
    left = np.full((3, 30, 40), 100, dtype)
    left[0, 10:14, 5:20] = 255
    left[:, 20:25, 5:20] = 255
    a = write_raster("a.tif", left, nodata=255)
    beside = write_raster("b.tif", left, nodata=255, transform=HERE @ Affine.translation(40, 0))
    below = write_raster("c.tif", np.full((3, 30, 80), 7, dtype), nodata=255)
    alone = read(open_scene([str(a)]))
    both = read(open_scene([str(a), str(beside)]))
    assert (both.valid == np.tile(alone.valid, 2)).all()
    assert (both.values[:, both.valid] == np.tile(left, 2)[:, both.valid]).all()
    filled = read(open_scene([str(a), str(beside), str(below)]))
    assert filled.valid.all()
    assert (filled.values == np.where(both.valid, np.tile(left, 2), 7)).all()


@pytest.mark.parametrize("gsd_m", [0.21, 0.6])
def test_a_mosaic_is_resampled_like_one_file(write_raster: RasterWriter, gsd_m: float) -> None:
    values = photo(60, 80)
    values[:, 20:40, 10:50] = 0
    whole = read(open_scene([str(write_raster("a.tif", values, nodata=0))]).resample(gsd_m))
    parts = [
        str(write_raster(f"{col}.tif", values[:, :, col : col + 40], nodata=0, transform=HERE @ Affine.translation(col, 0)))
        for col in (0, 40)
    ]  # fmt: skip
    mosaic = read(open_scene(parts).resample(gsd_m))
    assert (mosaic.valid == whole.valid).mean() > 0.99


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64"])
def test_a_mosaic_holds_numbers_of_any_size(write_raster: RasterWriter, dtype: str) -> None:
    left, right = np.full((1, 8, 8), 3, dtype), np.full((1, 8, 8), 7, dtype)
    a = write_raster("a.tif", left)
    b = write_raster("b.tif", right, transform=HERE @ Affine.translation(8, 0))
    assert (read(open_scene([str(a), str(b)])).values == np.concatenate([left, right], axis=2)).all()


def test_a_file_of_several_rasters_says_how_to_take_one_out(write_raster: RasterWriter) -> None:
    for name in ("one", "two"):
        more = {"APPEND_SUBDATASET": "YES"} if name == "two" else {}
        path = write_raster("several.gpkg", photo(64, 64), driver="GPKG", RASTER_TABLE=name, **more)
    with pytest.raises(
        InputError, match=r"it holds 2 rasters: take one out: gdal_translate GPKG:.*:one one\.tif"
    ) as told:
        open_scene([str(path)])
    with rasterio.open(str(told.value).split()[-2]) as one:
        assert one.shape == (64, 64)


def test_bands_in_another_order_are_no_mosaic(write_raster: RasterWriter) -> None:
    """Blue of one file beside red of another would go into one band without a word."""
    paths = [
        str(write_raster(f"{name}.tif", photo(20, 20), transform=HERE @ HERE.translation(20 * number, 0), descriptions=bands))
        for number, (name, bands) in enumerate((("a", ("Red", "Green", "Blue")), ("b", ("blue", "green", "red"))))
    ]  # fmt: skip
    with pytest.raises(
        InputError, match=r"b\.tif: its bands are blue, green, red, those of .*a\.tif red, green, blue"
    ):
        open_scene(paths)


def test_complex_numbers_are_no_mosaic(write_raster: RasterWriter) -> None:
    path = write_raster("a.tif", photo(8, 8, bands=1, dtype="complex64"))
    with pytest.raises(InputError, match=r"a\.tif: pixels of complex64 are no image"):
        open_scene([str(path), str(path)])


def test_archives_are_read_in_place(write_raster: RasterWriter, tmp_path: Path) -> None:
    values = photo(10, 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(write_raster("a.tif", values), "a.tif")
    assert (read(open_scene([f"/vsizip/{tmp_path}/a.zip/a.tif"])).values == values).all()


def test_web_addresses_are_read_in_place(write_raster: RasterWriter, web: str) -> None:
    values = photo(10, 10)
    write_raster("a.tif", values)
    assert (read(open_scene([f"{web}/a.tif"])).values == values).all()


def count_answers(web: str) -> tuple[int, int]:
    requests, size = urlopen(f"{web}/.counts").read().split()
    return int(requests), int(size)


@pytest.fixture
def cog(write_raster: RasterWriter, tmp_path: Path) -> Path:
    """With overviews, and noise that no compression makes small."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 2048, 1024)).astype(np.uint8)
    copy(write_raster("plain.tif", noise), tmp_path / "cog.tif", driver="COG", blocksize=256)
    return tmp_path / "cog.tif"


def test_a_strip_on_the_web_is_one_request(cog: Path, web: str) -> None:
    scene = open_scene([f"{web}/{cog.name}?signature=of-somebody"])
    requests, size = count_answers(web)
    with scene.open() as reader:
        strips = [reader.read(Window(row, 0, 256, 1024)).values for row in range(0, 2048, 256)]
    read_requests, read_size = np.subtract(count_answers(web), (requests, size))
    assert (np.concatenate(strips, axis=1) == read(open_scene([str(cog)])).values).all()
    assert read_requests <= len(strips)
    assert read_size <= cog.stat().st_size * 1.02


def test_coarser_pixels_on_the_web_come_from_an_overview(cog: Path, web: str) -> None:
    native, coarse = (open_scene([source]) for source in (str(cog), f"{web}/{cog.name}"))
    coarse = coarse.resample(3 * coarse.native.gsd_m)
    _, size = count_answers(web)
    pixels = read(coarse)
    assert (pixels.values == read(native.resample(3 * native.native.gsd_m)).values).all()
    assert count_answers(web)[1] - size < cog.stat().st_size / 3


def test_a_web_address_without_a_file_is_told(web: str) -> None:
    with pytest.raises(InputError, match=r"nothing\.tif"):
        open_scene([f"{web}/nothing.tif"])


def test_a_sample_is_spread_over_the_scene(write_raster: RasterWriter) -> None:
    values = np.broadcast_to(np.arange(2000, dtype="uint16"), (1, 700, 2000))
    with open_scene([str(write_raster("a.tif", values))]).open() as reader:
        sample = reader.sample()
    assert sample.values.min() == 0
    assert sample.values.max() == 15 * 128 - 1
    assert np.median(sample.values) == pytest.approx(960, abs=64)


def test_a_lonely_pixel_is_found(write_raster: RasterWriter) -> None:
    values = np.zeros((1, 1900, 2100), "uint8")
    values[0, 1000, 1000] = 7
    with open_scene([str(write_raster("a.tif", values, nodata=0))]).open() as reader:
        sample = reader.sample()
    assert sample.values[:, sample.valid].tolist() == [[7]]


def test_damage_is_named_or_left_out(write_raster: RasterWriter) -> None:
    path = damaged(
        write_raster("a.tif", photo(256, 256), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    )
    with pytest.raises(
        InputError, match=r"cannot read rows 128-191, columns 64-127 .*`on_read_error` nodata"
    ):
        read(open_scene([str(path)]))
    valid = read(open_scene([str(path)], on_read_error="nodata")).valid
    assert not valid[128:192, 64:128].any()
    assert valid.sum() == 256 * 256 - 64 * 64


def damaged(path: Path) -> Path:
    """Overwrite one block in the middle of a tiled file of 256 x 256 pixels."""
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(content)
    return path


def no_crs(write: RasterWriter) -> Path:
    return write("a.tif", photo(8, 8), crs=None)


def no_transform(write: RasterWriter) -> Path:
    return write("a.tif", photo(8, 8), transform=Affine.identity())


def control_points(write: RasterWriter) -> Path:
    points = [GroundControlPoint(r, c, 13 + c / 100, 52 - r / 100) for r, c in ((0, 0), (0, 8), (8, 0))]
    return write("a.tif", photo(8, 8), crs="EPSG:4326", transform=None, gcps=points)


def palette(write: RasterWriter) -> Path:
    path = write("a.tif", photo(8, 8, bands=1), photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {i: (i, 0, 0, 255) for i in range(256)})
    return path


def cmyk(write: RasterWriter) -> Path:
    return write("a.tif", photo(8, 8, bands=4), photometric="cmyk")


def complex_numbers(write: RasterWriter) -> Path:
    return write("a.tif", photo(8, 8).astype("complex64"))


def local_crs(write: RasterWriter) -> Path:
    return write("a.tif", photo(8, 8), crs='LOCAL_CS["site",UNIT["metre",1]]')


def text_file(write: RasterWriter) -> Path:
    path = write("a.tif", photo(8, 8))
    path.write_text("hello")
    return path


def truncated(write: RasterWriter) -> Path:
    path = write("a.tif", photo(8, 8))
    path.write_bytes(path.read_bytes()[:60])
    return path


def empty_file(write: RasterWriter) -> Path:
    path = write("a.tif", photo(8, 8))
    path.write_bytes(b"")
    return path


def alpha_only(write: RasterWriter) -> Path:
    path = write("a.tif", photo(8, 8, bands=1))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.alpha]
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_crs, "`assume_crs`"),
        (no_transform, "has no georeference"),
        (control_points, "gdalwarp"),
        (palette, "24-bit RGB first: gdal_translate -expand rgb .* rgb.tif"),
        (cmyk, "CMYK"),
        (complex_numbers, "complex"),
        (local_crs, "no place on Earth"),
        (text_file, "not a raster"),
        (truncated, "not a raster"),
        (empty_file, "not a raster"),
        (alpha_only, "alpha"),
    ],
)
def test_what_cannot_be_a_scene_is_told(write_raster: RasterWriter, make, message: str) -> None:
    path = make(write_raster)
    with pytest.raises(InputError, match=message) as caught:
        open_scene([str(path)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bands", "advice"),
    [(1, "`bands` 1,1,1$"), (2, "take an image that has them, or another `model`$"), (4, "`bands` 1,2,3$")],
)
def test_bands_that_do_not_fit_come_with_advice_that_works(
    write_raster: RasterWriter, bands: int, advice: str
) -> None:
    path = write_raster("a.tif", photo(8, 8, bands=bands), photometric="minisblack")
    with pytest.raises(InputError, match=advice):
        match_bands(open_scene([str(path)]).all_bands, ["red", "green", "blue"], "a")


def test_an_archive_is_told_from_the_images_inside(write_raster: RasterWriter, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(write_raster("a.tif", photo(8, 8)), "a.tif")
    with pytest.raises(InputError, match=r"name the image inside: /vsizip/.*/a\.zip/NAME\.tif"):
        open_scene([str(tmp_path / "a.zip")])
    assert open_scene([f"/vsizip/{tmp_path}/a.zip/a.tif"]).grid.shape == (8, 8)


def test_a_missing_crs_can_be_assumed(write_raster: RasterWriter) -> None:
    path = write_raster("a.tif", photo(8, 8), crs=None)
    assert open_scene([str(path)], assume_crs="EPSG:32633").grid.crs.to_epsg() == 32633
    with pytest.raises(InputError, match="`assume_crs` EPSG:0: not a coordinate reference system"):
        open_scene([str(path)], assume_crs="EPSG:0")
    with pytest.raises(InputError, match="EPSG:4978: WGS 84 has no coordinates of a map"):
        open_scene([str(path)], assume_crs="EPSG:4978")


def test_an_assumed_crs_that_contradicts_the_file_is_told(
    write_raster: RasterWriter, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(write_raster("a.tif", photo(8, 8), crs="EPSG:32633"))
    assert open_scene([path], assume_crs="EPSG:32633").grid.crs.to_epsg() == 32633
    assert not caplog.records
    assert open_scene([path], assume_crs="EPSG:32733").grid.crs.to_epsg() == 32733
    assert "UTM zone 33N; it is taken to be in WGS 84 / UTM zone 33S, as `assume_crs` says" in caplog.text


def test_paths_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no such file"):
        open_scene([str(tmp_path / "missing.tif")])
    with pytest.raises(InputError, match=r"no \.tif file"):
        open_scene([str(tmp_path / "empty")])
    with pytest.raises(InputError, match="no scene"):
        open_scene([])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"crs": "EPSG:32634"}, "CRS differs"),
        ({"transform": HERE @ Affine.scale(2)}, "pixel size differs .*a result of its own"),
        ({"transform": HERE @ Affine.translation(8.5, 0)}, "of a pixel off the grid"),
    ],
)
def test_files_that_do_not_belong_together_are_told(write_raster: RasterWriter, other, message: str) -> None:
    a = write_raster("a.tif", photo(8, 8))
    b = write_raster("b.tif", photo(8, 8), **other)
    with pytest.raises(InputError, match=message):
        open_scene([str(a), str(b)])


def test_files_of_other_kinds_are_told(write_raster: RasterWriter) -> None:
    a = write_raster("a.tif", photo(8, 8))
    b = write_raster("b.tif", photo(8, 8, bands=4), photometric="minisblack")
    with pytest.raises(InputError, match="4 bands of uint8"):
        open_scene([str(a), str(b)])


def test_unknown_bands_are_told(write_raster: RasterWriter) -> None:
    scene = open_scene([str(write_raster("a.tif", photo(8, 8, bands=4), photometric="minisblack"))])
    for request in ("9", "0", "-1", "nir", "", "1,,2"):
        with pytest.raises(InputError, match="`bands`"):
            parse_bands(scene.all_bands, request, "a.tif")
    with pytest.raises(InputError, match="the model wants 2 bands"):
        match_bands(scene.all_bands, ["x", "y"], "a.tif")


def lose_tag(path: Path, tag: int) -> None:
    """Let the values of a tag of a GeoTIFF lie beyond the end of the file, where nothing can be read."""
    content = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    entries = [directory + 2 + 12 * number for number in range(count)]
    (entry,) = [at for at in entries if struct.unpack_from("<H", content, at) == (tag,)]
    struct.pack_into("<I", content, entry + 8, len(content) + 1000)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("tag", "name"),
    [(33550, "GeoPixelScale"), (33922, "GeoTiePoints"), (34735, "GeoKeyDirectory"), (42112, "GDALMetadata")],
)
def test_a_tag_that_cannot_be_read_is_not_done_without(
    tag: int, name: str, write_raster: RasterWriter
) -> None:
    path = write_raster("a.tif", photo(8, 8), descriptions=("first", "second", "third"))
    lose_tag(path, tag)
    with pytest.raises(InputError, match=rf'a\.tif: not a raster .* \(IO error during reading of "{name}"\)'):
        open_scene([str(path)])


def test_a_tag_that_tells_nothing_of_pixels_may_be_lost(write_raster: RasterWriter) -> None:
    path = write_raster("a.tif", photo(8, 8))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_SOFTWARE="a program with a name")
    lose_tag(path, 305)
    assert open_scene([str(path)]).grid.shape == (8, 8)


def test_a_png_that_ends_too_early_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    with (
        ignore_missing_place(),
        rasterio.open(path, "w", driver="PNG", width=64, height=64, count=3, dtype="uint8") as dataset,
    ):
        dataset.write(noise)
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(InputError, match=r"a\.png: cannot be read"), open_raster(str(path), str(path)) as png:
        png.read()


@pytest.mark.parametrize("logger", ["rasterio._env", "rasterio._err"])
def test_pixels_that_gdal_could_not_find_are_not_zeros(
    logger: str, write_raster: RasterWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(dataset: DatasetReader, *_: object, **__: object) -> None:
        words = "_TIFFPartialReadStripArray:Cannot read offset/size for strile around ~0"
        logging.getLogger(logger).info("GDAL signalled an error: err_no=1, msg=%r", words)

    scene = open_scene([str(write_raster("a.tif", photo(8, 8)))])
    monkeypatch.setattr(DatasetReader, "read", lose, raising=False)
    with pytest.raises(InputError, match=r"a\.tif: .*Cannot read offset/size"):
        read(scene)
