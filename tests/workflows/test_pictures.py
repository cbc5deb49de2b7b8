"""Photographs and masks that lie nowhere on Earth: from a JPEG to outlines over it, in pixels or in metres."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from bright import (
    BOX,
    ENGINE,
    draw_picture,
    make_drone_tags,
    save_picture,
    save_tiff_photo,
    write_bright_model,
)
from heard import Heard
from made import HERE, RasterWriter
from PIL import Image

import geoseg
from geoseg.errors import InputError
from geoseg.raster.exif import read_exif
from geoseg.raster.scene import open_scene
from geoseg.raster.source import open_raster

WALLS = shapely.box(20, -60, 70, -30)
"""The outline of the building in the picture: x in columns, y in rows upwards from the top edge."""


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_bright_model(tmp_path))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_picture(tmp_path / "photo.jpg", draw_picture())


def read_only_outline(path: Path) -> shapely.Polygon:
    layer = {"layer": "buildings"} if path.suffix == ".gpkg" else {}
    (outline,) = gpd.read_file(path, **layer).geometry
    return outline


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson", ".shp"])
def test_a_photograph_gets_outlines_in_its_own_pixels(
    photo: Path, model: str, tmp_path: Path, suffix: str
) -> None:
    result = geoseg.infer(photo, tmp_path / f"out{suffix}", model=model, **ENGINE)
    assert read_only_outline(tmp_path / f"out{suffix}").symmetric_difference(WALLS).area < 30
    assert result.area_m2 is None
    assert result.area_px == pytest.approx(30 * 50, rel=0.02)
    if suffix in (".gpkg", ".fgb"):
        assert result.buildings is not None
        assert result.buildings.crs is None


def test_sizes_are_in_pixels_unless_somebody_says_how_large_they_are(
    photo: Path, model: str, tmp_path: Path
) -> None:
    in_pixels = geoseg.infer(photo, tmp_path / "px.gpkg", model=model, regularize=False, **ENGINE).buildings
    in_metres = geoseg.infer(
        photo, tmp_path / "m.gpkg", model=model, regularize=False, gsd=0.25, **ENGINE
    ).buildings
    assert in_pixels is not None
    assert in_metres is not None
    assert list(in_pixels.columns) == [
        "id", "class", "area_px", "perimeter_px", "confidence", "regularized", "width_px", "length_px",
        "orientation_deg", "touches_nodata", "touches_edge", "image_date", "geometry",
    ]  # fmt: skip
    sizes = in_pixels[["area_px", "perimeter_px", "width_px", "length_px"]].to_numpy()
    np.testing.assert_allclose(sizes, [[1500, 160, 30, 50]], rtol=1e-12)
    sizes = in_metres[["area_m2", "perimeter_m", "width_m", "length_m"]].to_numpy()
    np.testing.assert_allclose(sizes, [[1500 * 0.0625, 160 * 0.25, 7.5, 12.5]], rtol=1e-12)
    assert in_metres.geometry.iloc[0].equals(WALLS)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("gsd", [0.3, 0.05])
def test_the_mask_has_the_pixels_of_the_picture(
    photo: Path, model: str, tmp_path: Path, suffix: str, gsd: float
) -> None:
    mask = tmp_path / f"mask{suffix}"
    result = geoseg.infer(photo, mask=mask, model=model, gsd=gsd, **ENGINE)
    expected = np.zeros((100, 120), np.uint8)
    expected[BOX] = 1
    assert result.mask is not None
    assert result.mask.shape == (100, 120)
    # At 0.05 m the model sees one pixel of 0.3 m for six by six of the picture.
    assert (result.mask != expected).sum() <= (0 if gsd == 0.3 else 4 * 160)
    assert np.array_equal(np.asarray(Image.open(mask)), result.mask)


def test_a_resampled_answer_is_the_nearest_one(tmp_path: Path, model: str) -> None:
    """Each block of six by six pixels of the picture is one of the model's: no other can be the nearest."""
    small = np.random.default_rng(5).random((20, 30)) > 0.5
    values = np.where(np.kron(small, np.ones((6, 6), bool))[..., None], 240, 20).astype(np.uint8)
    photo = save_picture(tmp_path / "photo.png", np.repeat(values, 3, axis=2))
    result = geoseg.infer(photo, mask=tmp_path / "mask.png", model=model, gsd=0.05, **ENGINE)
    assert np.array_equal(result.mask, np.kron(small, np.ones((6, 6), np.uint8)))


def test_a_png_says_by_itself_what_is_unknown(write_raster: RasterWriter, model: str, tmp_path: Path) -> None:
    values = np.moveaxis(draw_picture(), -1, 0).copy()
    values[:, :10] = 0
    scene = write_raster("scene.tif", values, nodata=0)
    result = geoseg.infer(scene, mask=tmp_path / "mask.png", model=model, **ENGINE)
    assert result.mask is not None
    assert (result.mask[:10] == 255).all()
    (tmp_path / "mask.png.aux.xml").unlink()
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(tmp_path / "mask.png") as raster,
    ):
        assert raster.nodata == 255


def test_a_png_of_a_scene_keeps_its_place(write_raster: RasterWriter, model: str, tmp_path: Path) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0))
    geoseg.infer(scene, mask=tmp_path / "mask.png", model=model, **ENGINE)
    with rasterio.open(tmp_path / "mask.png") as raster:
        assert raster.transform.almost_equals(HERE)
        assert raster.crs.to_epsg() == 32633


def test_a_drone_tells_the_size_of_its_pixels_and_the_user_knows_better(
    tmp_path: Path, model: str, heard: Heard
) -> None:
    """100 m up with a lens of 24 mm, a picture of 1200 x 800 pixels: 100 * 43.27 / 24 / 1442 = 0.125 m."""
    boxes = [(slice(100, 400), slice(100, 500))]
    photo = save_picture(tmp_path / "dji.jpg", draw_picture(800, 1200, boxes), **make_drone_tags())
    told = geoseg.infer(photo, tmp_path / "a.gpkg", model=model, **ENGINE)
    assert told.area_m2 == pytest.approx(300 * 400 * 0.125**2, rel=0.02)
    assert any("pixels of 0.125 m, by its camera 100 m above" in line for line in heard.lines)
    stated = geoseg.infer(photo, tmp_path / "b.gpkg", model=model, gsd=0.25, **ENGINE)
    assert stated.area_m2 == pytest.approx(300 * 400 * 0.25**2, rel=0.02)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_drone_is_understood_in_any_format(tmp_path: Path, model: str, suffix: str) -> None:
    boxes = [(slice(100, 400), slice(100, 500))]
    picture, photo = draw_picture(800, 1200, boxes), tmp_path / f"dji{suffix}"
    if suffix == ".tif":
        save_tiff_photo(photo, picture, make_drone_tags())
    else:
        save_picture(photo, picture, **make_drone_tags())
    told = geoseg.infer(photo, tmp_path / "a.gpkg", model=model, **ENGINE)
    assert told.area_m2 == pytest.approx(300 * 400 * 0.125**2, rel=0.02)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damaged_tags_of_a_camera_say_nothing(tmp_path: Path, suffix: str) -> None:
    photo = tmp_path / f"dji{suffix}"
    if suffix == ".tif":
        save_tiff_photo(photo, draw_picture(), make_drone_tags())
    else:
        save_picture(photo, draw_picture(), **make_drone_tags())
    content = photo.read_bytes()
    assert read_exif(photo)["EXIF_FocalLengthIn35mmFilm"].startswith("24")
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(
            content[: chance.randrange(8, len(content))] if chance.random() < 0.2 else content
        )
        for _ in range(20):
            damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
        photo.write_bytes(damaged)
        assert all(name.startswith("EXIF_") for name in read_exif(photo))


def test_an_array_is_read_like_a_picture_of_the_same_pixels(tmp_path: Path, model: str) -> None:
    """As `numpy.save` writes it: in the order of rows or of columns, with the low or the high byte first."""
    values = np.moveaxis(draw_picture(), -1, 0)
    arrays = {
        "c": np.ascontiguousarray(values),
        "fortran": np.asfortranarray(values),
        "wide": values.astype(">u2"),
        "long": values.astype(np.int64),
        "real": values.astype(np.float32),
    }
    expected = geoseg.infer(
        save_picture(tmp_path / "photo.png", draw_picture()),
        mask=tmp_path / "photo-mask.png",
        model=model,
        **ENGINE,
    ).mask
    assert expected is not None
    assert expected.any()
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        with open_raster(str(tmp_path / f"{name}.npy"), name) as dataset:
            assert np.array_equal(dataset.read(), values)
    found = geoseg.infer(tmp_path / "fortran.npy", mask=tmp_path / "m.png", model=model, **ENGINE).mask
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.ones((2, 3, 4, 4)), "has 4 axes; it must be"),
        (np.ones((3, 4, 4), complex), "array of complex128"),
        (np.ones((3, 0, 4), np.uint8), "is no image"),
        (np.ones((3, 4, 4), bool), "array of bool"),
        (np.array([[{}]], object), "not an array that can be read"),
    ],
)
def test_an_array_that_is_no_image_is_refused(array: np.ndarray, complaint: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=rf"a\.npy: .*{complaint}|a\.npy: an {complaint}"):
        open_scene([str(tmp_path / "a.npy")])


def test_an_array_cut_short_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 40, 40)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"a\.npy: not an array that can be read"):
        open_scene([str(tmp_path / "a.npy")])


def test_a_tilted_camera_is_not_believed(tmp_path: Path, model: str, heard: Heard) -> None:
    photo = save_picture(tmp_path / "dji.jpg", draw_picture(), **make_drone_tags(pitch="-30.00"))
    assert geoseg.infer(photo, tmp_path / "a.gpkg", model=model, **ENGINE).area_m2 is None
    assert any("nothing tells how large they are" in line for line in heard.lines)


@pytest.mark.parametrize("mask", ["mask.png", "mask.tif"])
def test_a_mask_without_a_place_becomes_the_same_outlines(
    photo: Path, model: str, tmp_path: Path, mask: str
) -> None:
    inferred = geoseg.infer(photo, tmp_path / "a.gpkg", mask=tmp_path / mask, model=model, **ENGINE)
    again = geoseg.vectorize(tmp_path / mask, tmp_path / "b.gpkg")
    assert again.area_px == inferred.area_px
    assert again.buildings.geometry.equals(inferred.buildings.geometry)  # type: ignore[union-attr]
    measured = geoseg.vectorize(tmp_path / mask, tmp_path / "c.gpkg", gsd_m=0.3)
    assert measured.area_m2 == pytest.approx(inferred.area_px * 0.09)  # type: ignore[operator]


def test_smallest_areas_go_by_the_assumed_pixels(photo: Path, model: str, tmp_path: Path) -> None:
    """1500 pixels of the model's 0.3 m are 135 m²."""
    assert geoseg.infer(photo, tmp_path / "a.gpkg", model=model, min_area_m2=134, **ENGINE).count == 1
    assert geoseg.infer(photo, tmp_path / "b.gpkg", model=model, min_area_m2=136, **ENGINE).count == 0


def test_no_warning_of_a_library_leaks(photo: Path, model: str, tmp_path: Path) -> None:
    flags = [flag for name, value in ENGINE.items() for flag in (f"--{name}", value)]
    outputs = ["--out", "o.geojson", "--mask", "m.png", "--probability", "p.tif", "--qgis-project", "q.qgz"]
    command = [
        sys.executable,
        "-W",
        "always",
        "-m",
        "geoseg",
        "infer",
        str(photo),
        "--model",
        model,
        "--gsd",
        "0.2",
    ]
    done = subprocess.run(
        [*command, *flags, *outputs], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "georef" not in done.stderr.lower()
    assert "crs" not in done.stderr.lower()
    assert "NotGeo" not in done.stderr
    vectorized = [sys.executable, "-W", "always", "-m", "geoseg", "vectorize", "m.png", "--out", "v.fgb"]
    done = subprocess.run(vectorized, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Warning" not in done.stderr


def test_geojson_names_no_crs_and_geoparquet_an_unknown_one(photo: Path, model: str, tmp_path: Path) -> None:
    geoseg.infer(photo, tmp_path / "o.geojson", model=model, **ENGINE)
    document = json.loads((tmp_path / "o.geojson").read_text())
    assert "crs" not in document
    assert "y upwards from its top edge" in document["description"]
    found = geoseg.infer(photo, tmp_path / "o.parquet", model=model, **ENGINE).buildings
    assert found is not None
    assert found.crs is None


def test_a_raster_that_lost_its_crs_can_be_read_as_a_picture(
    write_raster: RasterWriter, model: str, tmp_path: Path
) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_picture(), -1, 0), crs=None)
    with pytest.raises(InputError, match=r"`assume_crs` EPSG:32633; a picture .* `gsd` 0\.3"):
        geoseg.infer(scene, tmp_path / "a.gpkg", model=model, **ENGINE)
    result = geoseg.infer(scene, tmp_path / "b.gpkg", model=model, gsd=0.3, **ENGINE)
    assert result.area_m2 == pytest.approx(1500 * 0.09, rel=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crs": "EPSG:4326"}, "`crs` EPSG:4326: the picture has no place on Earth"),
        ({"regions": "grid:1km"}, "`regions` grid:1km: the picture has no place on Earth"),
        ({"area_crs": "EPSG:3857"}, "`area_crs` EPSG:3857: the picture has no place"),
        ({"assume_crs": "EPSG:32633"}, "`assume_crs` EPSG:32633: .*no world file, no transform"),
        ({"gsd": "0"}, "`gsd` 0: give auto, native or a size"),
        ({"gsd": "3"}, "pixels of 3 m are too coarse"),
        ({"mask": "mask.jpg"}, r"a raster ends in \.tif or \.tiff or \.png"),
        ({"probability": "p.png"}, r"a raster ends in \.tif or \.tiff$"),
    ],
)
def test_what_a_picture_cannot_have_is_refused(
    photo: Path, model: str, tmp_path: Path, options: dict[str, str], words: str
) -> None:
    outputs = {name: tmp_path / value for name, value in options.items() if name in ("mask", "probability")}
    with pytest.raises(InputError, match=words):
        geoseg.infer(photo, tmp_path / "o.gpkg", model=model, **ENGINE, **{**options, **outputs})
    assert not (tmp_path / "o.gpkg").exists()


def test_pictures_are_not_joined_to_a_mosaic(photo: Path, model: str, tmp_path: Path) -> None:
    other = save_picture(tmp_path / "other.jpg", draw_picture())
    with pytest.raises(InputError, match="no place on Earth, so it cannot be joined"):
        geoseg.infer([photo, other], tmp_path / "o.gpkg", model=model, **ENGINE)


def test_a_mask_with_regions_needs_a_place(tmp_path: Path) -> None:
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"`regions` grid:1km: the picture has no place"):
        geoseg.vectorize(tmp_path / "mask.png", tmp_path / "o.gpkg", regions="grid:1km")
    with pytest.raises(InputError, match=r"`gsd_m` -1: give a finite number above zero"):
        geoseg.vectorize(tmp_path / "mask.png", tmp_path / "o.gpkg", gsd_m=-1)
