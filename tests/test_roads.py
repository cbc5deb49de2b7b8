"""The work of five older projects, each from its raw files to its last figure, by geoseg's commands and recipes alone."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from documents import PAGES_FOLDER, ROOT
from made import card
from PIL import Image
from raw import (
    draw_town,
    place_scene,
    save_coco,
    save_inria,
    save_outlined,
    save_photographs,
    save_scene,
    save_settlements,
)

from geoseg.cli.main import geoseg as command_line
from geoseg.datasets.classes import parse_class_table
from geoseg.inference.job import find_patch_step
from geoseg.models.card import Scaling
from geoseg.options import read_options
from geoseg.raster.bands import RGB
from geoseg.raster.palette import ClassEntry
from geoseg.training.data import parse_derived_bands
from geoseg.training.losses import parse_loss
from geoseg.training.networks import create_network, refuse_unknown_network
from geoseg.training.options import TrainOptions

RECIPES = ROOT / "examples" / "recipes"
SMALL = "--architecture unet-plain --arguments {'encoder_depth':2,'width':8}"
"""A network that a test can train; the recipe says the rest."""
SHORT = "--steps 40 --batch 4 --learning-rate 5e-3 --validate-every 20 --validation-patches 4 --workers 0 --device cpu"
GSD_M = 0.3
SENTINEL_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> Any:
    """What a command says as JSON."""
    done = CliRunner().invoke(command_line, [*line.split(), "--json", "--quiet"])
    assert done.exit_code == 0, f"geoseg {line}\n{done.output}"
    return json.loads(done.stdout)


def train(data: str, recipe: str, out: str, more: str = SMALL) -> Any:
    return run(f"train {data} --out {out} --config {RECIPES / recipe}.toml {SHORT} {more}")


def score(evaluation: Any, name: str = "iou", entry: int = -1) -> float:
    """A score of one class of an evaluation, its last one where nothing is said."""
    value: float = evaluation["classes"][entry][name]["value"]
    return value


def test_mapping_challenge_from_coco_files_to_its_own_scores(here: Path) -> None:
    for split, seeds in (("train", (1, 2, 3)), ("val", (4,))):
        save_coco(here / "crowdai" / split, {f"{seed:06}": draw_town(96, seed) for seed in seeds})
    prepared = run("prepare coco crowdai --gsd 0.3 --as vectors --out data --workers 0")
    assert prepared["items"] == {"train": 3, "validation": 1, "test": 0}
    trained = train("data", "mapping-challenge", "run", f"{SMALL} --patch 64")
    assert trained["validation"]["classes"]["building"]["iou"] > 0.9
    found = run("evaluate run data --page scores.png")
    assert score(found) > 0.9
    assert 0.5 < score(found, "ap") <= score(found, "ap50") <= 1
    assert score(found, "ar") > 0.5
    assert Path("scores.png").stat().st_size > 10_000
    photo = "crowdai/val/images/000004.jpg"
    told = run(f"infer {photo} --model run --mask m.png --out outlines.geojson --gsd 0.3 --min-area 1")
    with Image.open(photo) as picture, Image.open("m.png") as mask:
        assert mask.size == picture.size
    outlines = gpd.read_file("outlines.geojson")
    assert told["footprints"] == len(outlines) > 2
    results = run(
        "infer crowdai/val/images --model run --out results/ --coco results.json --gsd 0.3 --min-area 1"
    )
    assert (results["done"], results["failed"]) == (1, 0)
    assert len(json.loads(Path("results.json").read_text())["annotations"]) == len(outlines)


def test_inria_then_own_ground_corrected_in_cvat_to_its_area(here: Path) -> None:
    names = ("austin1", "austin6", "austin7")
    save_inria(here / "AerialImageDataset", {name: draw_town(96, i) for i, name in enumerate(names)}, GSD_M)
    prepared = run("prepare inria AerialImageDataset --out data --workers 0")
    assert prepared["items"] == {"train": 2, "validation": 1, "test": 0}
    train("data", "inria-cvat", "runs/inria", f"{SMALL} --patch 64")
    own = draw_town(192, 9)
    save_scene(here / "own.tif", own, place_scene(9, own.side, GSD_M))
    run("infer own.tif --model runs/inria --out first.gpkg --probability first.tif --min-area 1")
    task = run(
        "prepare cvat-export own.tif first.gpkg --probability first.tif --size 96 --count 4 --out task"
    )
    assert task["shapes"] >= 20
    run("prepare cvat task --gsd 0.3 --out corrected --workers 0")
    train("corrected", "inria-cvat", "runs/own", "--from runs/inria --patch 64 --steps 10")
    compared = run("evaluate runs/own corrected --against runs/inria")
    assert [each["predicted"] for each in compared["predictions"]] == ["runs/own", "runs/inria"]
    run(
        "infer own.tif --model runs/own --out buildings.gpkg --mask mask.tif --probability p.tif --min-area 1"
    )
    areas = run("stats buildings.gpkg --regions grid:30m --mask mask.tif --probability p.tif --csv areas.csv")
    true_m2 = own.is_built.sum() * GSD_M**2
    assert areas["buildings"] == pytest.approx(len(own.boxes), abs=2)
    assert areas["built_area_m2"] == pytest.approx(true_m2, rel=0.1)
    rows = read_table("areas.csv")
    assert sum(float(row["built_area_m2"]) for row in rows) == pytest.approx(areas["built_area_m2"])
    assert sum(float(row["expected_area_m2"]) for row in rows) == pytest.approx(true_m2, rel=0.25)


def test_photographs_of_25_classes_with_three_networks_to_one_table(here: Path) -> None:
    towns = {f"{seed:04}": draw_town(96, seed, 24) for seed in range(4)}
    save_photographs(here / "uav", towns, size=(160, 120))
    classes = RECIPES / "uav-classes.csv"
    prepared = run(f"prepare masks uav --classes {classes} --size 96x96 --gsd 0.02 --out data --workers 0")
    assert prepared["items"] == {"train": 3, "validation": 1, "test": 0}
    with Path("data/dataset.toml").open("rb") as file:
        data = tomllib.load(file)
    assert len(data["classes"]) == 25
    assert data["gsd_m"] == pytest.approx(0.02 * (160 * 120 / 96**2) ** 0.5, abs=1e-4)
    tiny = "--patch 96 --steps 3 --batch 2"
    train("data", "uav-unet", "runs/unet", f"--arguments {{'encoder_depth':2,'width':8}} {tiny}")
    for network in ("deeplabv3plus", "pspnet"):
        train("data", f"uav-{network}", f"runs/{network}", f"--encoder resnet18 --weights none {tiny}")
    table = run("evaluate runs/unet runs/deeplabv3plus runs/pspnet data --page table.png")
    assert len(table["predictions"]) == 3
    assert all(0 <= each["mean"]["iou"]["value"] <= 1 for each in table["predictions"])
    assert Path("table.png").stat().st_size > 10_000
    run("infer uav/images/0003.jpg --model runs/unet --mask classes.png --gsd 0.02")
    with Image.open("uav/images/0003.jpg") as picture, Image.open("classes.png") as mask:
        assert mask.size == picture.size
        assert np.asarray(mask).max() < 25


def test_rooftops_with_automatic_masks_to_roofs_of_a_scene(here: Path) -> None:
    save_outlined(here / "roofs", {f"s{seed}": draw_town(96, seed) for seed in range(4)}, GSD_M)
    run(
        "prepare vectors roofs/scenes --images *.tif --footprints roofs/outlines.gpkg --as masks "
        "--validation s3 --out data --workers 0"
    )
    train("data", "rooftops", "run", f"{SMALL} --patch 64")
    with Image.open("run/samples.png") as samples, Image.open("run/curves.png") as curves:
        assert min(*samples.size, *curves.size) > 100
    assert score(run("evaluate run data")) > 0.8
    run("infer roofs/scenes/s3.tif --model run --out roofs.gpkg --mask mask.tif --min-area 1")
    by_outline = run("evaluate roofs.gpkg data/labels/s3.tif")
    assert score(by_outline, "footprint_f1") > 0.8
    again = run("vectorize mask.tif --out again.gpkg --min-area 1")
    assert again["footprints"] == pytest.approx(len(draw_town(96, 3).boxes), abs=1)


def test_sentinel_2_with_esm_through_experiments_to_built_area(here: Path) -> None:
    towns = {f"p{number}": draw_town(96, number, 2) for number in range(4)}
    save_settlements(here / "pairs", towns, SENTINEL_BANDS)
    prepared = run(
        f"prepare sentinel-esm pairs --images s2/*.tif --labels esm/*.tif --bands {','.join(SENTINEL_BANDS)} "
        "--validation p3 --out data --workers 0"
    )
    assert list(prepared["class_shares"]["train"]) == ["other", "non-residential", "residential"]
    train("data", "sentinel2-esm", "runs/unet", f"{SMALL} --patch 64 --steps 80")
    train(
        "data",
        "sentinel2-esm",
        "runs/deeplabv3",
        "--architecture deeplabv3 --encoder resnet18 --patch 64 --steps 2",
    )
    runs = run("runs runs --curves curves.png")
    assert [Path(each["run"]).name for each in runs["runs"]] == ["unet", "deeplabv3"]
    table = run("evaluate runs/deeplabv3 runs/unet data --against runs/unet --page experiments.png")
    assert score(table["predictions"][-1]) > 0.6 > score(table["predictions"][0])
    run("infer pairs/s2/p3.tif --model runs/unet --mask mask.tif --out built.gpkg")
    areas = run("stats built.gpkg --regions grid:2km --mask mask.tif --csv areas.csv")
    assert areas["built_area_m2"] == pytest.approx(towns["p3"].is_built.sum() * 100, rel=0.35)
    assert {row["class"] for row in read_table("areas.csv")} == {"non-residential", "residential"}


def read_table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


RECIPE_NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_recipe_builds_a_network_that_takes_its_patches(name: str) -> None:
    settings = read_options(TrainOptions, RECIPES / f"{name}.toml", {"weights": "none"})
    refuse_unknown_network(settings)
    parse_loss(settings.loss, False)
    classes = tuple(ClassEntry(f"class {i}", "#000000") for i in range(3))
    bands = SENTINEL_BANDS if settings.derived else RGB
    derived = parse_derived_bands(settings.derived, bands)
    made = card(bands=bands, classes=classes, activation="softmax", derived=derived, scaling=Scaling())
    with torch.device("meta"):
        network = create_network(settings, made)
        answer = network(torch.zeros(2, made.inputs, settings.patch, settings.patch))
    assert answer.shape == (2, 3, settings.patch, settings.patch)
    step = find_patch_step(getattr(network, "config", {}))
    assert settings.patch % step == 0


def test_recipes_are_the_settings_of_the_old_projects() -> None:
    recipes = {name: read_options(TrainOptions, RECIPES / f"{name}.toml", {}) for name in RECIPE_NAMES}
    assert len(recipes) == 7
    inria, rooftops = recipes["inria-cvat"], recipes["rooftops"]
    assert (inria.architecture, inria.encoder, inria.loss[:13]) == ("unet", "resnet101", "unified-focal")
    assert (rooftops.optimizer, rooftops.loss, rooftops.augment) == ("adamax", "bce", "flips")
    uav = [each for name, each in recipes.items() if name.startswith("uav")]
    assert {each.architecture for each in uav} == {"unet-plain", "deeplabv3+", "pspnet"}
    assert {(each.patch, each.oversample) for each in uav} == {(368, "auto")}
    assert len(parse_class_table(str(RECIPES / "uav-classes.csv")).classes) == 25
    derived = parse_derived_bands(recipes["sentinel2-esm"].derived, SENTINEL_BANDS)
    assert [band.formula for band in derived] == [
        "(B8 - B4) / (B8 + B4)", "(B11 - B12) / (B11 + B12)", "(B5 - B4) / (B5 + B4)", "(B3 - B11) / (B3 + B11)",
    ]  # fmt: skip


def test_the_page_on_recipes_names_them_all() -> None:
    text = (PAGES_FOLDER / "recipes.md").read_text(encoding="utf-8")
    assert all(f"examples/recipes/{name}.toml" in text for name in RECIPE_NAMES)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("train data --out run --config nowhere.toml", "cannot be read as options"),
        ("prepare masks uav --size 368 --out data", "--size 368: write WIDTHxHEIGHT"),
        ("prepare coco crowdai --out data", "does not say how large its pixels are"),
        ("prepare inria AerialImageDataset --out data", "AerialImageDataset"),
        ("evaluate runs/a runs/b data", "runs/a"),
    ],
)
def test_a_road_that_cannot_begin_says_why_in_a_line(line: str, complaint: str, here: Path) -> None:
    for folder in ("crowdai", "uav"):
        towns = {"a": draw_town(32, 0)}
        save_coco(here / folder, towns)
        save_photographs(here / folder, towns, (32, 32))
    done = CliRunner().invoke(command_line, line.split())
    assert done.exit_code == 2
    assert complaint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
