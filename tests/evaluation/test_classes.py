"""Classes of predictions and truths that number or name them differently, against the case where they do not."""

from __future__ import annotations

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
from evaluating import run, summary
from heard import Heard
from made import HERE, UTM33, RasterWriter, card, photo
from numpy.typing import NDArray

from geoseg.datasets.schema import Dataset, Item, write_dataset
from geoseg.evaluation.inputs.classes import (
    IDENTITY,
    ClassScheme,
    make_named_classes,
    make_numbered_classes,
    match_classes,
)
from geoseg.evaluation.inputs.maps import sum_by_class
from geoseg.models.store import save_model
from geoseg.raster.palette import ClassEntry

SHAPE = (128, 200)
BOXES = shapely.box([10, 60, 120], [10, 20, 80], [30, 90, 150], [40, 50, 110])
KINDS = np.array([1, 2, 2])
NAMES = ("ground", "water", "building")


def burnt(kinds: NDArray[Any] = KINDS) -> NDArray[np.uint8]:
    pairs = zip(BOXES, kinds.tolist(), strict=True)
    return np.asarray(rasterio.features.rasterize(pairs, SHAPE)).astype(np.uint8)


def layer(path: Path, **columns: Any) -> Path:
    on_map = shapely.transform(BOXES, lambda x, y: HERE @ (x, y), interleaved=False)
    gpd.GeoDataFrame(columns, geometry=on_map, crs=UTM33).to_file(path)
    return path


def classes(*names: str) -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(name, "#123456") for name in names)


def dataset(folder: Path, label: str, names: tuple[str, ...], place: str = "one", **item: Any) -> Path:
    listed = (Item("image.tif", label, place, "validation", **item),)
    made = Dataset(
        "set", "CC0", "us", "here", 0.3, ("red", "green", "blue"), classes(*names), listed, folder=folder
    )
    return write_dataset(made, folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ground, water and building."""
    torch.manual_seed(0)
    network = smp.Unet(
        "resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(8, 8, 8), classes=3
    )
    folder = tmp_path_factory.mktemp("models") / "three"
    known = card(classes=classes(*NAMES), activation="softmax", training={"places": ["one", "two"]})
    save_model(folder, network, known)
    return folder


def scores_by_name(found: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in found["classes"]}


def test_the_order_of_a_truths_classes_changes_no_score(
    tmp_path: Path, model: Path, write_raster: RasterWriter
) -> None:
    write_raster("image.tif", photo(*SHAPE))
    write_raster("same.tif", burnt())
    write_raster("other.tif", np.array([0, 2, 1], dtype=np.uint8)[burnt()])
    same = summary(model, dataset(tmp_path, "same.tif", NAMES))
    other = summary(model, dataset(tmp_path, "other.tif", ("ground", "building", "water")))
    assert [entry["name"] for entry in other["classes"]] == ["ground", "building", "water"]
    assert scores_by_name(other) == scores_by_name(same)
    assert {"ece", "brier", "ap"} <= set(same["classes"][1])


def test_what_the_truth_does_not_know_is_background_to_its_probability_too(
    tmp_path: Path, model: Path, write_raster: RasterWriter
) -> None:
    """A class alone is scored as it is among others; the background has all the rest of its probability."""
    write_raster("image.tif", photo(*SHAPE))
    write_raster("all.tif", burnt())
    write_raster("one.tif", (burnt() == 2).astype(np.uint8))
    among = scores_by_name(summary(model, dataset(tmp_path, "all.tif", NAMES)))["building"]
    found = scores_by_name(summary(model, dataset(tmp_path, "one.tif", ("background", "building"))))
    for name in ("iou", "ece", "brier", "ap", "reliability", "sweep"):
        assert found["building"][name] == among[name]
    assert found["background"]["brier"]["value"] == pytest.approx(among["brier"]["value"], abs=2e-3)


def test_several_classes_have_no_best_threshold(
    tmp_path: Path, model: Path, write_raster: RasterWriter
) -> None:
    write_raster("image.tif", photo(*SHAPE))
    write_raster("label.tif", burnt())
    path = dataset(tmp_path, "label.tif", NAMES, place="three")
    assert all("best_threshold" not in entry for entry in summary(model, path)["classes"])
    assert "best threshold" not in run(model, path).stdout
    refused("tells several classes apart", model, path, "--threshold", 0.3)


def test_bands_of_one_class_are_summed() -> None:
    bands = np.array([[100, 10, 255], [30, 120, 255], [120, 121, 255]], dtype=np.uint8)[:, None]
    merged = sum_by_class(bands, np.array([0, 1, 0], dtype=np.uint8))
    assert merged[:, 0].tolist() == [[220, 131, 255], [30, 120, 255]]
    swapped = sum_by_class(bands, np.array([0, 2, 1], dtype=np.uint8))
    np.testing.assert_array_equal(swapped, bands[[0, 2, 1]])
    assert sum_by_class(bands, IDENTITY) is bands
    assert sum_by_class(bands + np.uint8(0), np.array([0, 0, 1], dtype=np.uint8)).max() == 255


def test_a_probability_may_know_classes_that_neither_mask_holds(
    tmp_path: Path, write_raster: RasterWriter
) -> None:
    mask = write_raster("mask.tif", (burnt() > 0).astype(np.uint8), nodata=255)
    levels = np.zeros((3, *SHAPE), np.uint8)
    levels[1], levels[0] = np.where(burnt() > 0, 200, 0), np.where(burnt() > 0, 50, 250)
    path = write_raster("probability.tif", levels, nodata=255)
    with rasterio.open(path, "r+") as probability:
        probability.scales = (0.004,) * 3
    found = scores_by_name(summary(mask, mask, "--probability", path))
    share = (burnt() > 0).mean()
    for name in ("background", "building"):
        assert found[name]["brier"]["value"] == pytest.approx(share * 0.2**2, abs=1e-6)
    assert found["class 2"]["brier"]["value"] == 0


@pytest.mark.parametrize("column", [["water", "building", "building"], [1, 2, 2], ["1", "2", "2"]])
def test_footprints_of_several_classes_are_those_of_a_mask(
    tmp_path: Path, write_raster: RasterWriter, column: list[Any]
) -> None:
    """Against a data set, by names or by numbers."""
    write_raster("image.tif", photo(*SHAPE))
    label = write_raster("label.tif", burnt())
    path = dataset(tmp_path, "label.tif", NAMES)
    folder = tmp_path / "results"
    folder.mkdir()
    layer(folder / "image.gpkg", **{"class": column})
    found = summary(folder, path)
    assert [entry["name"] for entry in found["classes"]] == list(NAMES)
    assert [entry["iou"]["value"] for entry in found["classes"]] == [1, 1, 1]
    assert [len(rows) and rows[0]["predicted"] for rows in found["regions"].values()] == [1, 2]
    if column[0] != "water":
        alone = summary(folder / "image.gpkg", label)
        assert alone["confusion"] == found["confusion"]


def test_footprints_as_vectorize_names_them_meet_their_mask(
    tmp_path: Path, write_raster: RasterWriter
) -> None:
    mask = write_raster("mask.tif", burnt(), nodata=255)
    footprints = layer(tmp_path / "p.gpkg", **{"class": ["building", "class 2", "class 2"]})
    for sides in ((footprints, mask), (mask, footprints)):
        assert [entry["iou"]["value"] for entry in summary(*sides)["classes"]] == [1, 1, 1]


def test_a_model_meets_footprints_by_name(tmp_path: Path, model: Path, write_raster: RasterWriter) -> None:
    image = write_raster("image.tif", photo(*SHAPE))
    by_mask = summary(model, write_raster("mask.tif", burnt(), nodata=255), "--image", image)
    truth = layer(tmp_path / "t.gpkg", **{"class": ["water", "building", "building"]})
    by_name = summary(model, truth, "--image", image)
    assert {
        name: entry["iou"] for name, entry in scores_by_name(by_name).items() if name != "background"
    } == {name: entry["iou"] for name, entry in scores_by_name(by_mask).items() if name != "ground"}
    plain = summary(model, layer(tmp_path / "plain.gpkg"), "--image", image)
    assert [entry["name"] for entry in plain["classes"]] == ["background", "building"]


def test_two_layers_meet_by_their_words(tmp_path: Path) -> None:
    truth = layer(tmp_path / "t.gpkg", **{"class": ["water", "house", "house"]})
    predicted = layer(tmp_path / "p.gpkg", **{"class": ["water", "house", "shed"]})
    found = scores_by_name(summary(predicted, truth))
    assert found["water"]["footprint_f1"]["value"] == 1
    assert (found["house"]["footprint_recall"]["value"], found["house"]["footprint_precision"]["value"]) == (
        0.5,
        1,
    )


def test_kinds_of_buildings_are_buildings(tmp_path: Path, write_raster: RasterWriter) -> None:
    mask = write_raster("mask.tif", (burnt() > 0).astype(np.uint8), nodata=255)
    truth = layer(tmp_path / "t.gpkg", **{"class": ["garage", None, "house"]})
    done = run(mask, truth)
    assert "t.gpkg: garage, house, unnamed all count as building" in done.stderr
    assert summary(mask, truth)["classes"][1]["iou"]["value"] == 1


def test_a_numbered_field_is_read_as_training_reads_it(tmp_path: Path, write_raster: RasterWriter) -> None:
    write_raster("image.tif", photo(*SHAPE))
    write_raster("results/image.tif", burnt(), nodata=255)
    layer(tmp_path / "label.geojson", kind=KINDS)
    found = summary(tmp_path / "results", dataset(tmp_path, "label.geojson", NAMES, class_field="kind"))
    assert [entry["iou"]["value"] for entry in found["classes"]] == [1, 1, 1]
    refused(
        "kind is '2', which is none of ground, building",
        tmp_path / "results",
        dataset(tmp_path, "label.geojson", ("ground", "building"), class_field="kind"),
    )


def refused(message: str, *arguments: object) -> None:
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_words_that_mean_nothing_to_the_other_side_are_refused(
    tmp_path: Path, write_raster: RasterWriter
) -> None:
    mask = write_raster("mask.tif", burnt(), nodata=255)
    footprints = layer(tmp_path / "p.gpkg", **{"class": ["roof", "lake", "lake"]})
    refused("p.gpkg: knows lake, roof, but", footprints, mask)
    write_raster("image.tif", photo(*SHAPE))
    write_raster("results/nothing.tif", burnt())
    layer(tmp_path / "results" / "image.gpkg", **{"class": ["roof", "lake", "lake"]})
    refused("share no class", tmp_path / "results", dataset(tmp_path, "mask.tif", NAMES))


def test_other_names_of_one_class_are_told(
    tmp_path: Path, tiny_model: Path, write_raster: RasterWriter
) -> None:
    write_raster("image.tif", photo(*SHAPE))
    write_raster("label.tif", (burnt() > 0).astype(np.uint8))
    done = run(tiny_model, dataset(tmp_path, "label.tif", ("ground", "water")))
    assert done.exit_code == 0
    assert "knows building" in done.stderr
    assert "water; they are taken for the same" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_places_that_a_model_learnt_from_are_told(
    tmp_path: Path, model: Path, write_raster: RasterWriter
) -> None:
    write_raster("image.tif", photo(*SHAPE))
    write_raster("label.tif", burnt())
    assert "was trained on places called one;" in run(model, dataset(tmp_path, "label.tif", NAMES)).stderr
    assert run(model, dataset(tmp_path, "label.tif", NAMES, place="three")).stderr == ""


def test_what_only_one_side_knows_is_told(heard: Heard) -> None:
    match_classes(
        ClassScheme("model", classes(*NAMES)), ClassScheme("set", classes("ground", "tent", "water"))
    )
    assert heard.lines == [
        "building of model: not known to set, so counted as background",
        "tent of set: not known to model, so counted as background",
    ]


def test_bare_numbers_stand_for_the_classes_of_the_side_that_names_them() -> None:
    mask = ClassScheme("m", make_numbered_classes(2), named=False)
    known = ClassScheme("d", classes(*NAMES))
    for legend in (match_classes(mask, known), match_classes(known, mask)):
        assert legend.classes == known.classes
        np.testing.assert_array_equal(legend.predicted, IDENTITY)
    longer = ClassScheme("n", make_numbered_classes(4), named=False)
    assert match_classes(mask, longer).classes == longer.classes


def test_a_truth_keeps_classes_that_a_prediction_happens_not_to_hold() -> None:
    words = ClassScheme("p", make_named_classes(["house"]), numbered=False)
    more = ClassScheme("t", make_named_classes(["house", "tent"]), numbered=False)
    assert [entry.name for entry in match_classes(words, more).classes[1:]] == ["house", "tent"]
    sure = ClassScheme("model", classes("ground", "house", "pool"))
    assert [entry.name for entry in match_classes(sure, more).classes[1:]] == ["house"]
