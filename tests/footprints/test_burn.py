"""Footprints drawn back into a mask: as one drawing of them all would be, for any strips; what was not seen stays unknown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from bright import BOX, ENGINE, draw_picture, save_picture, write_bright_model
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import GRID, LONLAT, UTM33
from made import RasterWriter
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize

import geoseg
from geoseg.errors import GeosegError, InputError
from geoseg.footprints import burn
from geoseg.footprints.antimeridian import find_full_turn, shift_near
from geoseg.footprints.burn import FootprintBurner
from geoseg.footprints.measure import transform_polygons
from geoseg.raster.grid import Grid, PixelSize, make_picture_grid
from geoseg.raster.mosaic import write_strip
from geoseg.raster.plan import STRIP_PIXELS, Strip

SHAPE = (60, 80)
PICTURE = make_picture_grid(SHAPE, PixelSize(0.3, is_known=True))


def draw_polygons(seed: int, count: int = 12) -> NDArray[np.object_]:
    """Turned boxes, a few with a courtyard, on a plane of rows and columns."""
    rng = np.random.default_rng(seed)
    boxes = []
    for _ in range(count):
        col, row = rng.uniform(-5, SHAPE[1]), rng.uniform(-5, SHAPE[0])
        width, height = rng.uniform(4, 30, 2)
        box = shapely.box(col, row, col + width, row + height)
        holed = box.difference(box.buffer(-min(width, height) / 4)) if rng.random() < 0.3 else box
        boxes.append(shapely.affinity.rotate(holed, rng.uniform(0, 90)))
    return np.array(boxes, dtype=object)


def make_rows(polygons: NDArray[np.object_], grid: Grid = PICTURE) -> gpd.GeoDataFrame:
    placed = shapely.transform(polygons, lambda x, y: grid.transform @ (x, y), interleaved=False)
    names = np.where(np.arange(len(polygons)) % 2, "shed", "house")
    return gpd.GeoDataFrame({"class": names}, geometry=placed, crs=grid.crs if grid.is_placed else None)


def burn_polygons(
    rows: gpd.GeoDataFrame,
    seen: NDArray[np.uint8],
    batch: int = 5,
    grid: Grid = PICTURE,
    onto: Grid | None = None,
    strip_pixels: int = STRIP_PIXELS,
) -> NDArray[np.uint8]:
    """What comes of footprints that arrive in batches."""
    onto = onto or grid
    with TemporaryDirectory() as name:
        folder = Path(name)
        burner = FootprintBurner(grid, {"house": 1, "shed": 2}, folder)
        for start in range(0, len(rows), batch):
            burner.add(rows.iloc[start : start + batch])
        write_strip(folder / "seen.tif", seen[None], onto)
        strips = burner.burn(onto, [(Strip(0, 0, onto.height), folder / "seen.tif")], strip_pixels)
        drawn = []
        for _, path in strips:
            with rasterio.open(path) as dataset:
                drawn.append(dataset.read(1))
    return np.concatenate(drawn)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), strip_rows=st.integers(1, 70), batch=st.integers(1, 15))
def test_strips_and_batches_change_no_pixel(seed: int, strip_rows: int, batch: int) -> None:
    """A pixel holds the last footprint in which its middle lies."""
    polygons = draw_polygons(seed)
    seen, strip_pixels = np.zeros(SHAPE, np.uint8), strip_rows * SHAPE[1]
    drawn = burn_polygons(make_rows(polygons), seen, batch, strip_pixels=strip_pixels)
    whole = rasterize(((each, 1 + i % 2) for i, each in enumerate(polygons)), SHAPE)
    # Corners are rounded to a thousandth of a pixel.
    assert (drawn != whole).sum() <= 3
    rows, cols = np.indices(SHAPE)
    middles = shapely.points(cols + 0.5, rows + 0.5)
    expected = np.zeros(SHAPE, np.uint8)
    certain = np.ones(SHAPE, bool)
    for i, each in enumerate(polygons):
        expected[shapely.contains(each, middles)] = 1 + i % 2
        certain &= shapely.distance(shapely.boundary(each), middles) > 0.002
    assert np.array_equal(drawn[certain], expected[certain])


def test_strips_are_the_same_to_the_last_pixel_where_walls_pass_through_middles() -> None:
    """Diagonal walls between whole corners pass through the middles of pixels."""
    diamonds = [
        shapely.Polygon([(c, r - 7), (c + 7, r), (c, r + 7), (c - 7, r)]) for c, r in ((20, 20), (50, 33))
    ]
    rows = make_rows(np.array(diamonds, dtype=object))
    drawn = set()
    for strip_rows in (1, 2, 3, 7, 11, 60):
        burnt = burn_polygons(rows, np.zeros(SHAPE, np.uint8), strip_pixels=strip_rows * SHAPE[1])
        drawn.add(burnt.tobytes())
    assert len(drawn) == 1


def test_unknown_pixels_stay_unknown_and_other_classes_go() -> None:
    seen = np.zeros(SHAPE, np.uint8)
    seen[:, :10], seen[20:30, 60:70] = 255, 1
    rows = make_rows(np.array([shapely.box(5, 5, 20, 15)], dtype=object))
    drawn = burn_polygons(rows, seen)
    assert (drawn[:, :10] == 255).all()
    assert (drawn[5:15, 10:20] == 1).all()
    assert (drawn == 1).sum() == 100


@pytest.mark.parametrize("code", [4326, 3857])
@pytest.mark.parametrize("written", [4326, 3857, 32760])
def test_footprints_on_both_sides_of_the_antimeridian_are_drawn(code: int, written: int) -> None:
    crs = CRS.from_epsg(code)
    pixel = find_full_turn(crs) / 40_000_000
    transform = Affine(
        pixel, 0, find_full_turn(crs) / 2 - 40 * pixel, 0, -pixel, -15 * find_full_turn(crs) / 360
    )
    grid = Grid(crs, transform, *SHAPE)
    boxes = np.array([shapely.box(left, 10, left + 8, 20) for left in (10, 36, 60)], dtype=object)
    rows = make_rows(boxes, grid)
    moved = transform_polygons(rows.geometry.to_numpy(), crs, CRS.from_epsg(written))
    as_files_have_them = shift_near(moved, 0.0, find_full_turn(CRS.from_epsg(written)))
    drawn = burn_polygons(
        rows.set_geometry(as_files_have_them, crs=written), np.zeros(SHAPE, np.uint8), grid=grid
    )
    assert np.array_equal(drawn > 0, rasterize(boxes, SHAPE) > 0)


def test_an_outline_that_lies_nowhere_takes_no_other_along() -> None:
    shapes = [shapely.box(5, 5, 20, 15), shapely.Polygon(), shapely.box(30, 30, 40, 40)]
    drawn = burn_polygons(make_rows(np.array(shapes, dtype=object)), np.zeros(SHAPE, np.uint8))
    assert np.array_equal(drawn > 0, rasterize(shapes[::2], SHAPE) > 0)


def test_footprints_in_another_crs_and_on_finer_pixels_fall_into_place() -> None:
    grid = Grid(UTM33, GRID.transform, *SHAPE)
    finer = Grid(UTM33, GRID.transform @ Affine.scale(1 / 3), 3 * SHAPE[0], 3 * SHAPE[1])
    rows = make_rows(np.array([shapely.box(7, 9, 31, 22)], dtype=object), grid).to_crs(LONLAT)
    drawn = burn_polygons(rows, np.zeros(finer.shape, np.uint8), grid=grid, onto=finer)
    expected = np.zeros(finer.shape, np.uint8)
    expected[27:66, 21:93] = 1
    assert np.array_equal(drawn, expected)


def test_nothing_is_drawn_of_nothing() -> None:
    assert not burn_polygons(make_rows(draw_polygons(0, 0)), np.zeros(SHAPE, np.uint8)).any()


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_bright_model(tmp_path))


def draw_rough_picture() -> NDArray[Any]:
    """A building with a small hole and rough walls, and a speck."""
    values = draw_picture(boxes=[BOX, (slice(80, 82), slice(90, 92))])
    values[40:42, 40:42] = 20
    rng = np.random.default_rng(2)
    for row in range(30, 60):
        values[row, 70 : 70 + rng.integers(0, 3)] = 240
    return values


@pytest.mark.parametrize("name", ["mask.tif", "mask.png"])
def test_the_mask_is_what_the_footprints_are(
    write_raster: RasterWriter, model: str, tmp_path: Path, name: str
) -> None:
    scene = write_raster("scene.tif", np.moveaxis(draw_rough_picture(), -1, 0))
    outputs = {"out": tmp_path / "out.gpkg", "mask": tmp_path / name}
    result = geoseg.infer(scene, model=model, mask_from="footprints", **outputs, **ENGINE)
    with rasterio.open(outputs["mask"]) as dataset:
        mask, transform, tags = dataset.read(1), dataset.transform, dataset.tags()
    assert result.buildings is not None
    assert np.array_equal(mask, rasterize(result.buildings.geometry, mask.shape, transform=transform))
    assert mask[40:42, 40:42].all()
    assert not mask[80:82].any()
    assert json.loads(tags["GEOSEG"])["mask_from"] == "footprints"
    if name == "mask.tif":
        again = geoseg.vectorize(outputs["mask"], tmp_path / "again.gpkg")
        assert (again.count, again.area_m2) == (result.count, pytest.approx(result.area_m2, rel=0.02))


def test_the_mask_alone_can_be_cleaned(model: str, tmp_path: Path) -> None:
    photo = save_picture(tmp_path / "photo.png", draw_rough_picture())
    result = geoseg.infer(photo, mask=tmp_path / "clean.png", mask_from="footprints", model=model, **ENGINE)
    pixels = geoseg.infer(photo, mask=tmp_path / "pixels.png", model=model, **ENGINE).mask
    assert (result.out, result.buildings) == (None, None)
    assert result.mask is not None
    assert pixels is not None
    assert not pixels[40:42, 40:42].any()
    assert result.mask[40:42, 40:42].all()
    assert pixels[80:82].any()
    assert not result.mask[80:82].any()
    assert {path.name for path in tmp_path.iterdir()} == {
        "bright.onnx",
        "photo.png",
        "clean.png",
        "pixels.png",
    }


def test_a_cleaned_mask_of_a_photograph_is_as_sharp_as_the_photograph(model: str, tmp_path: Path) -> None:
    """The model sees pixels of 0.3 m, the mask has those of 0.05 m: a straight wall is no staircase of six pixels."""
    values = draw_picture(600, 720, [(slice(181, 361), slice(121, 421))])
    photo = save_picture(tmp_path / "photo.png", values)
    result = geoseg.infer(
        photo, mask=tmp_path / "m.png", mask_from="footprints", gsd=0.05, model=model, **ENGINE
    )
    expected = np.zeros((600, 720), np.uint8)
    expected[181:361, 121:421] = 1
    assert result.mask is not None
    assert (result.mask != expected).sum() < 6 * 960 / 2


def stop(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save_picture(tmp_path / "photo.png", draw_rough_picture())
    options = {"mask_from": "footprints", "model": model, **ENGINE}
    geoseg.infer(photo, mask=tmp_path / "whole.png", **options)
    with monkeypatch.context() as patch:
        patch.setattr(burn.FootprintBurner, "burn", stop)
        with pytest.raises(KeyboardInterrupt):
            geoseg.infer(photo, mask=tmp_path / "stopped.png", **options)
    assert list(tmp_path.glob("stopped.png.*.parts"))
    geoseg.infer(photo, mask=tmp_path / "stopped.png", **options)
    assert (tmp_path / "stopped.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not list(tmp_path.glob("*.parts"))


def test_a_cleaned_mask_needs_a_mask(model: str, tmp_path: Path) -> None:
    photo = save_picture(tmp_path / "photo.png", draw_picture())
    with pytest.raises(InputError, match="`mask_from` footprints: there is no mask"):
        geoseg.infer(photo, tmp_path / "o.gpkg", mask_from="footprints", model=model, **ENGINE)


def test_other_words_are_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`mask_from` polygons: give one of pixels, footprints"):
        geoseg.infer("x.png", mask=tmp_path / "m.png", mask_from="polygons", model=model, **ENGINE)


def test_a_folder_that_vanishes_is_told_in_our_words(tmp_path: Path) -> None:
    folder = tmp_path / "away" / "parts"
    folder.mkdir(parents=True)
    burner, rows = FootprintBurner(PICTURE, {"house": 1, "shed": 2}, folder), make_rows(draw_polygons(0))
    burner.add(rows)
    shutil.rmtree(tmp_path / "away")
    with pytest.raises(GeosegError, match=r"the folder .*away is gone"):
        burner.add(rows)
    with pytest.raises(GeosegError, match=r"the folder .*away is gone"):
        burner.burn(PICTURE, [(Strip(0, 0, SHAPE[0]), folder / "classes.tif")])
