"""`geoseg evaluate` as people run it: every kind of prediction and truth, and what can go wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import segmentation_models_pytorch as smp
import shapely
import torch
from affine import Affine
from evaluating import run, summary
from heard import Heard
from made import HERE, UTM33, RasterWriter, card, photo
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS

import geoseg
from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.errors import InputError
from geoseg.evaluation.inputs.requests import EvaluationRequest
from geoseg.evaluation.options import EvaluateOptions
from geoseg.evaluation.report.panels import read_photo
from geoseg.evaluation.results import compare_evaluations
from geoseg.evaluation.run import evaluate_comparison, evaluate_predictions, open_comparisons
from geoseg.models.store import save_model
from geoseg.raster.grid import PICTURE_CRS, PICTURE_TRANSFORM, Grid
from geoseg.raster.palette import ClassEntry
from geoseg.scores.confusion import Confusion

BOXES = shapely.box([10, 60, 120], [10, 20, 80], [30, 90, 150], [40, 50, 110])
SHIFTED = shapely.box([12, 60, 170], [10, 22, 80], [32, 90, 190], [40, 52, 110])
SHAPE = (128, 200)


def mask_of(boxes: NDArray[np.object_]) -> NDArray[np.uint8]:
    return np.asarray(rasterio.features.rasterize(boxes, SHAPE)).astype(np.uint8)


def layer(path: Path, boxes: NDArray[np.object_], crs: str = UTM33, **columns: Any) -> Path:
    on_map = shapely.transform(boxes, lambda x, y: HERE @ (x, y), interleaved=False)
    gpd.GeoDataFrame(columns, geometry=on_map, crs=UTM33).to_crs(crs).to_file(path)
    return path


@pytest.fixture
def masks(write_raster: RasterWriter) -> tuple[Path, Path]:
    return (
        write_raster("predicted.tif", mask_of(SHIFTED), nodata=255),
        write_raster("true.tif", mask_of(BOXES), nodata=255),
    )


def test_footprints_that_touch_themselves_are_compared_in_any_crs(tmp_path: Path) -> None:
    """Their rings cross by the last digit once they are moved to the truth's CRS."""
    touching = shapely.Polygon([(0, 0), (100, 0), (100, 30), (0, 100)], [[(50, 65), (40, 50), (50, 50)]])
    there = shapely.transform(touching, lambda points: points * 10 + (392_000, 5_820_000))
    for crs in (3857, 32633):
        gpd.GeoDataFrame(geometry=[there], crs=UTM33).to_crs(crs).to_file(tmp_path / f"{crs}.gpkg")
    found = summary(tmp_path / "32633.gpkg", tmp_path / "3857.gpkg", "--gsd", "5")
    assert found["classes"][1]["footprint_f1"]["value"] == 1


def test_two_masks_are_compared_pixel_by_pixel(masks: tuple[Path, Path]) -> None:
    found = summary(*masks)
    expected = Confusion.empty(2)
    expected.add(mask_of(BOXES), mask_of(SHIFTED))
    assert found["confusion"] == expected.counts.tolist()
    building = found["classes"][1]
    assert building["iou"]["value"] == pytest.approx(expected.iou[1], abs=1e-6)
    assert building["footprint_f1"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert building["best_min_area"] == {"area_m2": 0.0, "f1": pytest.approx(2 / 3, abs=1e-6)}
    assert found["regions"]["building"][0]["true"] == 3


def test_footprints_and_masks_say_the_same(masks: tuple[Path, Path], tmp_path: Path) -> None:
    of_masks = summary(*masks)
    predicted, true = layer(tmp_path / "p.gpkg", SHIFTED), layer(tmp_path / "t.geojson", BOXES, "EPSG:4326")
    for found in (summary(predicted, masks[1]), summary(masks[0], true)):
        assert found["confusion"] == of_masks["confusion"]
        assert found["classes"][1]["footprint_recall"] == of_masks["classes"][1]["footprint_recall"]
    area = layer(tmp_path / "area.gpkg", np.array([shapely.box(0, 0, 200, 128)]))
    both = summary(predicted, true, "--gsd", 0.05, "--area", area)
    assert both["classes"][1]["iou"]["value"] == pytest.approx(
        of_masks["classes"][1]["iou"]["value"], abs=0.01
    )
    assert both["regions"]["building"][0]["true_m2"] == pytest.approx(
        shapely.area(BOXES).sum() * 0.09, rel=1e-3
    )


def test_a_probability_tells_calibration_and_thresholds(
    masks: tuple[Path, Path], write_raster: RasterWriter
) -> None:
    levels = np.where(mask_of(BOXES) > 0, 150, 25).astype(np.uint8)
    path = write_raster("probability.tif", levels, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (0.004,)
    for found in (
        summary(path, masks[1], "--threshold", 0.5),
        summary(masks[1], masks[1], "--probability", path),
    ):
        building = found["classes"][1]
        share = mask_of(BOXES).mean()
        assert building["brier"]["value"] == pytest.approx(share * 0.4**2 + (1 - share) * 0.1**2, abs=1e-6)
        assert building["ece"]["value"] == pytest.approx(share * 0.4 + (1 - share) * 0.1, abs=1e-6)
        assert 0.1 < building["best_threshold"]["threshold"] < 0.6
        swept = {entry["threshold"]: entry["iou"] for entry in building["sweep"]}
        assert (swept[0.1], swept[0.15], swept[0.6], swept[0.65]) == (pytest.approx(share, abs=1e-6), 1, 1, 0)


def test_a_mask_of_other_pixels_is_brought_onto_the_truth(
    masks: tuple[Path, Path], write_raster: RasterWriter
) -> None:
    finer = np.repeat(np.repeat(mask_of(SHIFTED), 2, axis=0), 2, axis=1)
    path = write_raster("finer.tif", finer, nodata=255, transform=HERE @ Affine.scale(0.5))
    assert summary(path, masks[1])["confusion"] == summary(*masks)["confusion"]


def test_a_black_and_white_mask_keeps_its_white_on_another_grid(
    masks: tuple[Path, Path], write_raster: RasterWriter
) -> None:
    white = np.repeat(np.repeat(mask_of(SHIFTED) * np.uint8(255), 2, axis=0), 2, axis=1)
    path = write_raster("white.tif", white, transform=HERE @ Affine.scale(0.5))
    assert summary(path, masks[1])["confusion"] == summary(*masks)["confusion"]


def test_only_the_area_counts(masks: tuple[Path, Path], tmp_path: Path) -> None:
    area = layer(tmp_path / "area.gpkg", np.array([shapely.box(0, 0, 100, 100)]))
    found = summary(*masks, "--area", area)
    assert found["pixels"] == 100 * 100
    assert found["regions"]["building"][0]["true"] == 2


def test_regions_count_and_measure_footprints(masks: tuple[Path, Path], tmp_path: Path) -> None:
    halves = shapely.box([0, 100], [0, 0], [100, 200], [128, 128])
    regions = layer(tmp_path / "regions.gpkg", halves, name=["west", "east"])
    west, east = summary(*masks, "--regions", regions)["regions"]["building"]
    assert (west["region"], west["predicted"], west["true"], west["count_error"]) == ("west", 2, 2, 0)
    assert (east["predicted"], east["true"], east["area_error"]) == (
        1,
        1,
        pytest.approx(20 / 30 - 1, abs=1e-4),
    )


def test_a_middle_on_a_border_is_in_one_region_and_squares_are_those_of_stats(
    masks: tuple[Path, Path], tmp_path: Path
) -> None:
    """The middle of the first box is where the two halves meet."""
    halves = shapely.box([0, 20], [0, 0], [20, 200], [128, 128])
    rows = summary(*masks, "--regions", layer(tmp_path / "regions.gpkg", halves))["regions"]["building"]
    assert sum(row["true"] for row in rows) == len(BOXES)
    found = summary(*masks, "--regions", "grid:20m")["regions"]["building"]
    counted = geoseg.stats(layer(tmp_path / "true.gpkg", BOXES), "grid:20m", mask=masks[1]).regions
    known = set(counted["region"])
    assert {row["region"] for row in found} <= known


@pytest.mark.parametrize("side", [180.0, -180.0])
@pytest.mark.parametrize("regions", ["file", "grid:10m"])
def test_regions_hold_what_lies_on_both_sides_of_the_antimeridian(
    write_raster: RasterWriter, tmp_path: Path, side: float, regions: str
) -> None:
    step = 1e-5
    across = Affine(step, 0, side - 100 * step, 0, -step, -17)
    truth = write_raster("t.tif", mask_of(BOXES), nodata=255, transform=across, crs="EPSG:4326")
    ward = shapely.Polygon([(179.99, -18), (-179.99, -18), (-179.99, -16), (179.99, -16)])
    gpd.GeoDataFrame(geometry=[ward], crs="EPSG:4326").to_file(tmp_path / "wards.gpkg")
    source = tmp_path / "wards.gpkg" if regions == "file" else regions
    rows = summary(truth, truth, "--regions", source)["regions"]["building"]
    assert len(rows) < 1000
    assert sum(row["true"] for row in rows) == sum(row["predicted"] for row in rows) == len(BOXES)


def test_footprints_that_jump_at_the_antimeridian_are_those_that_go_on_beyond(tmp_path: Path) -> None:
    x, y = np.meshgrid(180 + np.arange(-5, 5) * 2e-4 - 4e-5, np.arange(3) * 2e-4)
    houses = shapely.box(x.ravel(), y.ravel(), x.ravel() + 1e-4, y.ravel() + 1e-4)
    jumping = shapely.transform(houses, lambda x, y: (np.where(x > 180, x - 360, x), y), interleaved=False)
    for name, shapes in (("a", houses), ("b", jumping)):
        gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:4326").to_file(tmp_path / f"{name}.gpkg")
    for order in ("ab", "ba"):
        found = summary(*(tmp_path / f"{name}.gpkg" for name in order))["classes"][1]
        assert found["iou"]["value"] > 0.999
        assert (found["footprint_f1"]["value"], found["count_error"]["value"]) == (1, 0)


@pytest.mark.parametrize("regions", ["file", "grid:10m"])
def test_regions_without_a_footprint_have_none(
    write_raster: RasterWriter, tmp_path: Path, regions: str
) -> None:
    zero = write_raster("zero.tif", np.zeros(SHAPE, np.uint8), nodata=255)
    halves = shapely.box([0, 100], [0, 0], [100, 200], [128, 128])
    source = layer(tmp_path / "regions.gpkg", halves, name=["west", "east"]) if regions == "file" else regions
    rows = summary(zero, zero, "--regions", source)["regions"]["building"]
    assert len(rows) == 2 if regions == "file" else 24 <= len(rows) <= 40
    assert {(row["predicted"], row["true"], row["true_m2"], row["count_error"]) for row in rows} == {
        (0, 0, 0, None)
    }


def test_two_predictions_are_compared_on_the_same_ground(masks: tuple[Path, Path]) -> None:
    found = summary(masks[1], masks[1], "--against", masks[0])
    difference = found["difference"]["building"]
    assert difference["iou"]["value"] == pytest.approx(
        1 - found["other"]["classes"][1]["iou"]["value"], abs=1e-6
    )
    assert difference["area_error"]["value"] == pytest.approx(
        -found["other"]["classes"][1]["area_error"]["value"], abs=1e-6
    )
    assert difference["count_error"]["value"] == 0
    assert found["one"]["overall_accuracy"]["value"] == 1
    told = run(masks[1], masks[1], "--against", masks[0]).stdout
    assert f"{difference['iou']['value']:+.3f}" in told
    assert "area error" in told


def test_a_difference_tells_calibration(masks: tuple[Path, Path], write_raster: RasterWriter) -> None:
    paths = []
    for name, inside in (("sure", 250), ("unsure", 150)):
        levels = np.where(mask_of(BOXES) > 0, inside, 0).astype(np.uint8)
        paths.append(write_raster(f"{name}.tif", levels, nodata=255))
        with rasterio.open(paths[-1], "r+") as dataset:
            dataset.scales = (0.004,)
    asked = (paths[0], masks[1], "--against", paths[1], "--threshold", 0.5)
    difference = summary(*asked)["difference"]["building"]
    assert difference["brier"]["value"] == pytest.approx(-mask_of(BOXES).mean() * 0.4**2, abs=1e-6)
    told = run(*asked).stdout
    assert "Brier" in told
    assert f"{difference['brier']['value']:+.3f}" in told


def test_many_tiles_tell_how_sure_a_difference_is(write_raster: RasterWriter) -> None:
    true, predicted = np.kron(photo(32, 32)[:2] // 129, np.ones((16, 16), np.uint8))
    true, predicted = (write_raster(f"{n}.tif", each, nodata=255) for n, each in enumerate((true, predicted)))
    found = summary(predicted, true, "--against", true)
    difference = found["difference"]["building"]["iou"]
    assert found["one"]["intervals"]["number"] == 16
    assert difference["low"] < difference["value"] < difference["high"] < 0
    told = run(predicted, true, "--against", true).stdout
    assert f"{difference['value']:+.3f} ({difference['low']:+.3f} {difference['high']:+.3f})" in told
    assert "interval over 16 tiles" in told


def test_one_tile_tells_no_interval(masks: tuple[Path, Path]) -> None:
    found = summary(*masks)
    assert found["intervals"]["number"] == 2
    assert found["classes"][1]["iou"]["low"] is found["classes"][1]["iou"]["high"] is None
    told = run(*masks).stdout
    assert told.count("2 tiles: too few to tell how sure the scores are") == 1
    assert "(" not in told.split("pixels ")[-1].split("totals")[0]


def test_the_table_names_every_class_and_score(masks: tuple[Path, Path]) -> None:
    done = run(*masks)
    assert done.exit_code == 0, done.output
    for word in ("background", "building", "mean", "boundary IoU", "F1", "area error", "overall accuracy"):
        assert word in done.stdout


def dataset(folder: Path, items: list[Item], **changes: Any) -> Path:
    classes = (ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e"))
    values = {
        "gsd_m": 0.3,
        "bands": ("red", "green", "blue"),
        "classes": classes,
        "folder": folder,
        **changes,
    }
    return write_dataset(Dataset("set", "CC0", "us", "here", items=tuple(items), **values), folder)


def test_a_model_is_run_over_the_validation_images_of_a_data_set(
    tmp_path: Path, tiny_model: Path, write_raster: RasterWriter
) -> None:
    """Labels as rasters, pictures without a place, arrays and polygons; training images are left alone."""
    write_raster("a.tif", photo(*SHAPE))
    write_raster("a_label.tif", mask_of(BOXES))
    layer(tmp_path / "a.geojson", BOXES)
    layer(tmp_path / "labelled.geojson", np.array([shapely.box(0, 0, 100, 128)]))
    Image.fromarray(photo(90, 80).transpose(1, 2, 0)).save(tmp_path / "b.png")
    Image.fromarray(photo(90, 80)[0] // 128).save(tmp_path / "b_label.png")
    np.save(tmp_path / "c.npy", photo(64, 70))
    np.save(tmp_path / "c_label.npy", np.where(photo(64, 70)[0] < 9, 255, 1).astype(np.uint8))
    path = dataset(
        tmp_path,
        [
            Item("a.tif", "a_label.tif", "one", "validation"),
            Item("a.tif", "a.geojson", "two", "validation", labelled="labelled.geojson"),
            Item("b.png", "b_label.png", "three", "validation", gsd_m=0.25),
            Item("c.npy", "c_label.npy", "four", "validation"),
            Item("missing.tif", "missing.tif", "five", "train"),
        ],
    )
    found = summary(tiny_model, path)
    known = int((np.load(tmp_path / "c_label.npy") != 255).sum())
    assert found["pixels"] == SHAPE[0] * SHAPE[1] + 100 * 128 + 90 * 80 + known
    assert found["places"] == 4
    assert {row["region"] for row in found["regions"]["building"]} == {"one", "two", "three", "four"}
    assert {"ece", "ap", "best_threshold", "temperature"} <= set(found["classes"][1])


def test_files_that_are_made_on_the_way_are_not_told(
    tmp_path: Path, tiny_model: Path, write_raster: RasterWriter, heard: Heard
) -> None:
    write_raster("image.tif", photo(*SHAPE))
    write_raster("label.tif", mask_of(BOXES))
    path = dataset(tmp_path, [Item("image.tif", "label.tif", "one", "validation")])
    evaluate_predictions([str(tiny_model)], str(path), EvaluateOptions(device="cpu"))
    assert any("Device" in line for line in heard.lines)
    assert not any("geoseg-evaluate-" in line for line in heard.lines)


def test_a_model_of_several_classes_is_scored_class_by_class(
    tmp_path: Path, write_raster: RasterWriter
) -> None:
    classes = tuple(ClassEntry(name, "#123456") for name in ("ground", "water", "roof"))
    torch.manual_seed(0)
    network = smp.Unet(
        "resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(8, 8, 8), classes=3
    )
    known = tuple(ClassEntry(entry.name, entry.color) for entry in classes)
    save_model(tmp_path / "model", network, card(classes=known, activation="softmax"))
    write_raster("a.tif", photo(*SHAPE))
    write_raster("label.tif", np.add(mask_of(BOXES), mask_of(SHIFTED), dtype=np.uint8))
    path = dataset(tmp_path, [Item("a.tif", "label.tif", "one", "validation")], classes=classes)
    page = tmp_path / "page.png"
    found = summary(tmp_path / "model", path, "--page", page)
    assert page.exists()
    for entry in found["classes"]:
        assert entry["true_pixels"] > 0
        assert 0 < entry["brier"]["value"] < 1
        assert "temperature" not in entry
    assert set(found["regions"]) == {"water", "roof"}


def test_results_in_a_folder_are_compared_with_a_data_set(tmp_path: Path, write_raster: RasterWriter) -> None:
    """They are called like the images, whatever they are: rasters or footprints."""
    for name in ("a", "b"):
        write_raster(f"images/{name}.tif", photo(*SHAPE))
        write_raster(f"labels/{name}.tif", mask_of(BOXES))
    write_raster("results/a.tif", mask_of(SHIFTED), nodata=255)
    items = [Item(f"images/{name}.tif", f"labels/{name}.tif", name, "validation") for name in ("a", "b")]
    path = dataset(tmp_path, items)
    refused("it should be called b.tif or b.gpkg", tmp_path / "results", path)
    layer(tmp_path / "results" / "b.gpkg", SHIFTED)
    found = summary(tmp_path / "results", path)
    expected = Confusion.empty(2)
    expected.add(mask_of(BOXES), mask_of(SHIFTED))
    assert found["confusion"] == (2 * expected.counts).tolist()
    area = layer(tmp_path / "area.gpkg", np.array([shapely.box(0, 0, 50, 128)]))
    assert summary(tmp_path / "results", path, "--area", area)["pixels"] == 2 * 50 * 128


def test_classes_go_by_their_names(tmp_path: Path, tiny_model: Path, write_raster: RasterWriter) -> None:
    """The model knows buildings only; water counts as background, whatever its value."""
    write_raster("a.tif", photo(*SHAPE))
    write_raster("label.tif", mask_of(BOXES) * np.uint8(2))
    classes = tuple(ClassEntry(name, "#123456") for name in ("background", "water", "building"))
    path = dataset(tmp_path, [Item("a.tif", "label.tif", "one", "validation")], classes=classes)
    found = summary(tiny_model, path)
    assert [entry["name"] for entry in found["classes"]] == ["background", "building"]
    assert found["classes"][1]["true_pixels"] == int(mask_of(BOXES).sum())


def test_the_page_shows_pieces_and_scores(
    tmp_path: Path, tiny_model: Path, write_raster: RasterWriter
) -> None:
    image, truth = (
        write_raster("image.tif", photo(*SHAPE)),
        write_raster("true.tif", mask_of(BOXES), nodata=255),
    )
    page = tmp_path / "page.png"
    done = run(tiny_model, truth, "--image", image, "--page", page)
    assert done.exit_code == 0, done.output
    picture = np.asarray(Image.open(page).convert("RGB"))
    assert min(picture.shape[:2]) > 500
    assert (picture == (0xE4, 0x57, 0x2E)).all(axis=2).sum() > 1000
    assert list(tmp_path.glob(".page*")) == []


@pytest.mark.parametrize(
    ("descriptions", "names"), [((), ("B2", "B3", "B4", "B8")), (("blue", "green", "red", "nir"), ())]
)
def test_pictures_show_red_as_red(
    write_raster: RasterWriter, descriptions: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Whether the data set or the file says which band that is."""
    values = np.zeros((4, *SHAPE), np.uint16)
    values[2, :, :100], values[0, :, 100:] = 3000, 1500
    path = write_raster("image.tif", values, descriptions=descriptions)
    grid = Grid(CRS(UTM33), HERE, *SHAPE)
    picture = read_photo(str(path), grid, names)
    assert picture[60, [20, 180]].tolist() == [[255, 0, 0], [0, 0, 128]]


def test_a_model_is_given_the_bands_that_a_file_calls_so(
    tmp_path: Path, tiny_model: Path, write_raster: RasterWriter
) -> None:
    """However the file orders them, and by whichever of their names."""
    values = photo(*SHAPE)
    write_raster("rgb.tif", values)
    write_raster("bgr.tif", values[::-1], descriptions=("B2", "B3", "B4"), photometric="MINISBLACK")
    Image.fromarray(mask_of(BOXES)).save(tmp_path / "label.png")
    found = [
        summary(tiny_model, dataset(tmp_path, [Item(image, "label.png", "one", "validation")], bands=bands))[
            "confusion"
        ]
        for image, bands in (("rgb.tif", ("red", "green", "blue")), ("bgr.tif", ("B4", "B3", "B2")))
    ]
    assert found[0] == found[1]


def test_a_page_without_image_or_probability_is_drawn_all_the_same(
    masks: tuple[Path, Path], tmp_path: Path
) -> None:
    assert run(*masks, "--page", tmp_path / "page.png").exit_code == 0
    again = run(*masks, "--page", tmp_path / "page.png")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def refused(message: str, *arguments: object) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_needs_an_image(tiny_model: Path, masks: tuple[Path, Path]) -> None:
    refused("give --image", tiny_model, masks[1])


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (("--probability", "nowhere.tif"), "is a data set"),
        (("--image", "nowhere.tif"), "is a data set and has its own images"),
        (("--gsd", 7), "is a data set and says how large its pixels are"),
        (("--min-area", -5), "give a finite number, zero or more"),
        (("--min-area", "nan"), "give a finite number, zero or more"),
        (("--gsd", 0), "give a finite number above zero"),
    ],
)
def test_options_that_a_data_set_leaves_no_room_for_are_refused(
    tiny_model: Path, tmp_path: Path, option: tuple[object, ...], why: str
) -> None:
    path = dataset(tmp_path, [Item("a", "b", "c", "validation")])
    refused(why, tiny_model, path, *option)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (("--place", "mars"), "--place mars: "),
        (("--split", "test"), "is no data set"),
        (("--gsd", 7), "the rasters say where they lie"),
        (("--device", "cpu"), "only a model runs on a device"),
        (("--image", "nowhere.tif"), "add --page"),
    ],
)
def test_options_that_masks_leave_no_room_for_are_refused(
    masks: tuple[Path, Path], option: tuple[object, ...], why: str
) -> None:
    refused(why, *masks, *option)
    refused(why, *masks, "--against", masks[1], *option)


def test_options_that_footprints_leave_no_room_for_are_refused(
    masks: tuple[Path, Path], tmp_path: Path
) -> None:
    path = layer(tmp_path / "p.gpkg", SHIFTED)
    refused("footprints have no probability", path, masks[1], "--threshold", 0.5)
    refused("belongs to a mask", path, masks[1], "--probability", masks[0])


def test_an_option_of_either_prediction_is_heeded(
    tiny_model: Path, masks: tuple[Path, Path], write_raster: RasterWriter
) -> None:
    image = write_raster("image.tif", photo(*SHAPE))
    found = summary(*masks, "--against", tiny_model, "--image", image, "--device", "cpu")
    assert found["other"]["predicted"] == str(tiny_model)


def test_what_is_not_there_is_named(masks: tuple[Path, Path], tmp_path: Path) -> None:
    refused("nowhere.tif: no such file", tmp_path / "nowhere.tif", masks[1])
    refused("nowhere.gpkg", masks[0], tmp_path / "nowhere.gpkg")
    refused("no such folder and no built-in model", "no-such-model", masks[1], "--image", masks[0])


def test_a_second_prediction_is_looked_for_before_the_first_is_made(
    tiny_model: Path, masks: tuple[Path, Path], tmp_path: Path
) -> None:
    image = tmp_path / "no-image.tif"
    asked = (tiny_model, masks[1], "--image", image, "--against")
    refused("nowhere.gpkg: no such file", *asked, tmp_path / "nowhere.gpkg")
    refused("no such folder and no built-in model", *asked, "no-such-model")
    refused("no-image.tif: no such file", *asked, masks[0])


def test_a_mask_against_a_data_set_is_refused(masks: tuple[Path, Path], tmp_path: Path) -> None:
    refused("is no model", masks[0], dataset(tmp_path, [Item("a", "b", "c", "validation")]))


def test_an_empty_split_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    refused(
        "no item in the split test",
        tiny_model,
        dataset(tmp_path, [Item("a", "b", "c", "train")]),
        "--split",
        "test",
    )


def test_a_place_that_is_not_there_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    items = [Item("a", "b", "Town", "validation"), Item("c", "d", "Village", "train")]
    refused(
        "--place Village: not in the split validation; there are Town",
        tiny_model,
        dataset(tmp_path, items),
        "--place",
        "Village",
    )


def test_only_the_places_that_are_asked_for_count(
    tiny_model: Path, tmp_path: Path, write_raster: RasterWriter
) -> None:
    items = []
    for place, boxes in (("Town", BOXES), ("Village", BOXES[:1])):
        write_raster(f"{place}.tif", photo(*SHAPE))
        Image.fromarray(mask_of(boxes)).save(tmp_path / f"{place}.png")
        items.append(Item(f"{place}.tif", f"{place}.png", place, "validation"))
    path = dataset(tmp_path, items)
    both, town, village = (
        np.array(summary(tiny_model, path, *wanted)["confusion"])
        for wanted in ((), ("--place", "Town"), ("--place", "Village"))
    )
    assert (both == town + village).all()
    assert village[1].sum() == mask_of(BOXES[:1]).astype(bool).sum() < town[1].sum()


def test_classes_that_nobody_shares_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    classes = tuple(ClassEntry(name, "#123456") for name in ("ground", "water", "forest"))
    path = dataset(tmp_path, [Item("a", "b", "c", "validation")], classes=classes)
    refused("they share no class", tiny_model, path)


def test_labels_of_another_size_are_refused(
    tiny_model: Path, tmp_path: Path, write_raster: RasterWriter
) -> None:
    write_raster("a.tif", photo(*SHAPE))
    Image.fromarray(mask_of(BOXES)[:100]).save(tmp_path / "b.png")
    refused(
        "200 x 100 pixels, but its partner 200 x 128",
        tiny_model,
        dataset(tmp_path, [Item("a.tif", "b.png", "c", "validation")]),
    )


def test_two_places_have_nothing_in_common(masks: tuple[Path, Path], write_raster: RasterWriter) -> None:
    far = write_raster("far.tif", mask_of(BOXES), nodata=255, transform=Affine.translation(9_000, 0) @ HERE)
    refused("know no pixel in common", far, masks[1])


def test_pictures_without_a_place_need_a_pixel_size(tmp_path: Path) -> None:
    for name, boxes in (("p.png", SHIFTED), ("t.png", BOXES)):
        Image.fromarray(mask_of(boxes)).save(tmp_path / name)
    refused("say how large its pixels are", tmp_path / "p.png", tmp_path / "t.png")
    found = summary(tmp_path / "p.png", tmp_path / "t.png", "--gsd", 0.5)
    assert found["regions"]["building"][0]["true_m2"] == pytest.approx(
        shapely.area(BOXES).sum() / 4, rel=1e-3
    )


@pytest.mark.filterwarnings("ignore:The given matrix is equal to Affine.identity")
def test_rasters_in_the_plane_of_a_picture_need_a_pixel_size(write_raster: RasterWriter) -> None:
    """As geoseg infer writes the mask of a picture that lies nowhere."""
    nowhere = {"crs": PICTURE_CRS.to_wkt(), "transform": PICTURE_TRANSFORM}
    predicted, truth = (
        write_raster(name, mask_of(boxes), **nowhere)
        for name, boxes in (("p.tif", SHIFTED), ("t.tif", BOXES))
    )
    refused("say how large its pixels are", predicted, truth)
    found = summary(predicted, truth, "--gsd", 0.5)
    assert found["regions"]["building"][0]["true_m2"] == pytest.approx(
        shapely.area(BOXES).sum() / 4, rel=1e-3
    )


def test_footprints_are_found_beside_their_regions(masks: tuple[Path, Path], tmp_path: Path) -> None:
    """As `geoseg infer --regions` writes both into one file; which of them is ground nobody can tell."""
    predicted, both = layer(tmp_path / "p.gpkg", SHIFTED), tmp_path / "both.gpkg"
    for source, name in ((predicted, "buildings"), (layer(tmp_path / "r.gpkg", BOXES), "regions")):
        gpd.read_file(source).to_file(both, layer=name)
    assert summary(both, masks[1])["confusion"] == summary(predicted, masks[1])["confusion"]
    refused("both.gpkg holds the layers buildings, regions; say which one", *masks, "--area", both)


def test_footprints_without_a_crs_are_refused(masks: tuple[Path, Path], tmp_path: Path) -> None:
    path = layer(tmp_path / "p.gpkg", SHIFTED)
    with sqlite3.connect(path) as base:
        base.execute("UPDATE gpkg_geometry_columns SET srs_id = -1")
        base.execute("UPDATE gpkg_contents SET srs_id = -1")
    refused("p.gpkg: has no CRS", path, masks[1])


def test_two_predictions_are_compared_only_where_both_know_something(
    masks: tuple[Path, Path], write_raster: RasterWriter
) -> None:
    """Leaving out what is wrong makes no prediction better."""
    wise = np.where(mask_of(SHIFTED) == mask_of(BOXES), mask_of(SHIFTED), np.uint8(255))
    path = write_raster("wise.tif", wise, nodata=255)
    found = summary(path, masks[1], "--against", masks[0])
    assert found["one"]["pixels"] == found["other"]["pixels"] == int((wise != 255).sum())
    assert found["difference"]["building"]["iou"] == {"value": 0, "low": None, "high": None}
    assert summary(masks[0], masks[1])["pixels"] == SHAPE[0] * SHAPE[1]


def test_predictions_of_other_pixels_are_compared_in_the_finest(
    masks: tuple[Path, Path], tmp_path: Path, write_raster: RasterWriter
) -> None:
    """Polygons have no pixels: a coarse prediction and a fine one meet in the fine one's."""
    coarse = write_raster(
        "coarse.tif", mask_of(BOXES)[1::2, 1::2], nodata=255, transform=HERE @ Affine.scale(2)
    )
    truth = layer(tmp_path / "t.gpkg", BOXES)
    for one, other in ((coarse, masks[0]), (masks[0], coarse)):
        found = summary(one, truth, "--against", other)
        assert found["one"]["pixels"] == found["other"]["pixels"] == SHAPE[0] * SHAPE[1]
        counts = {str(one): found["one"], str(other): found["other"]}
        assert counts[str(masks[0])]["confusion"] == summary(masks[0], truth)["confusion"]


def test_evaluations_of_different_ground_are_no_pair(
    masks: tuple[Path, Path], write_raster: RasterWriter
) -> None:
    part = mask_of(SHIFTED)
    part[:, :140] = 255
    found = []
    for path in (masks[0], write_raster("part.tif", part, nodata=255)):
        request = EvaluationRequest(str(path), str(masks[1]))
        with open_comparisons([request]) as (comparison,):
            found.append(evaluate_comparison(comparison, request))
    with pytest.raises(InputError, match="different ground; open both together"):
        compare_evaluations(*found)
