"""Training pairs: drawn by a seed, by their built share, with places for validation apart."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from gee.pairs import PairRule, add_neighbours, draw_candidates, number_places
from geoseg.errors import InputError

AREA = (
    "--bbox",
    "15.00,48.00,15.06,48.04",
    "--start",
    "2023-05-01",
    "--end",
    "2023-09-30",
    "--bands",
    "B4,B8",
)
PAIRS = (*AREA, "--label", "ghsl", "--pairs", "20", "--chip", "32", "--built", "17,85")


@pytest.fixture(autouse=True)
def towns(earth):
    """Built-up ground in round towns, and open country between."""

    def field(gx, gy, number):
        return np.where(((gx % 90) - 45) ** 2 + ((gy % 110) - 55) ** 2 < 30**2, 100, 0)

    asset = earth.assets["JRC/GHSL/P2023A/GHS_BUILT_S_10m/2018"]
    asset.bands = {"built_surface": (asset.bands["built_surface"][0], field)}


def index(out):
    with (out / "pairs.csv").open() as file:
        return list(csv.DictReader(file))


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs


def test_pairs_match_pixel_by_pixel(export):
    summary = export.done(*PAIRS)
    assert summary["exports"][0]["pairs"] == {"train": 16, "validation": 4}
    with rasterio.open(export.out / "ghsl.tif") as whole:
        for line in index(export.out):
            image, transform, crs = read(export.out / line["split"] / "images" / f"{line['name']}.tif")
            label, label_transform, label_crs = read(
                export.out / line["split"] / "labels" / f"{line['name']}.tif"
            )
            assert image.shape == (2, 32, 32)
            assert label.shape == (1, 32, 32)
            assert (transform, crs) == (label_transform, label_crs)
            assert 0.17 <= label.mean() <= 0.85
            assert abs(float(line["built_share"]) - label.mean()) < 1e-4
            row, col = map(int, line["name"].split("_"))
            np.testing.assert_array_equal(label, whole.read(window=((row, row + 32), (col, col + 32))))


def test_pictures_are_asked_for_only_where_they_are_wanted(export, earth):
    export.done(*PAIRS)
    asked = [request for request in earth.pixel_requests if request.body["bandIds"] == ["B4", "B8"]]
    assert len(asked) == 20
    assert {request.grid[2:] for request in asked} == {(32, 32)}


def test_training_and_validation_lie_apart(export):
    export.done(*PAIRS)
    corners = {
        split: np.array(
            [
                [int(part) for part in line["name"].split("_")]
                for line in index(export.out)
                if line["split"] == split
            ]
        )
        for split in ("train", "validation")
    }
    distance = np.abs(corners["train"][:, None] - corners["validation"][None]).max(axis=2)
    assert distance.min() >= 64, "at least a whole chip lies between"
    places = {
        split: {line["place"] for line in index(export.out) if line["split"] == split} for split in corners
    }
    assert not places["train"] & places["validation"]


def test_the_seed_decides(export):
    def drawn(seed, out):
        export.done(*PAIRS, "--seed", seed, "--out", export.folder / out)
        return [(line["split"], line["name"]) for line in index(export.folder / out)]

    first = drawn(1, "a")
    assert drawn(1, "b") == first
    assert drawn(2, "c") != first


def test_places_where_the_picture_has_gaps_are_passed_over(export, earth):
    for asset in ("COPERNICUS/S2_SR_HARMONIZED", "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"):
        earth.assets[asset].scenes[:] = earth.assets[asset].scenes[:1]
    score = earth.assets["GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"]
    score.bands = {
        "cs_cdf": (score.bands["cs_cdf"][0], lambda gx, gy, number: np.where(gx % 90 < 40, 0.1, 0.9))
    }
    result = export(*PAIRS)
    assert result.exit_code == 0, result.stderr
    for line in index(export.out):
        image, _, _ = read(export.out / line["split"] / "images" / f"{line['name']}.tif")
        assert (image == 0).mean() <= 0.05
    assert "the area holds no more that fit" in result.stderr


def test_a_stopped_run_goes_on(export, earth):
    earth.fault("computePixels", status=400, message="Something fatal.", skip=9, times=1000)
    export.refused(*PAIRS, "--workers", "1")
    earth.faults.clear()
    export.done(*PAIRS)
    grids = [grid for grid in earth.tile_grids() if grid[2:] == (32, 32)]
    assert len(grids) == len(set(grids)) == 20


def test_pairs_with_a_settlement_map_from_files(export, tmp_path):
    codes = np.ones((1200, 1200), np.uint8)
    codes[(np.add.outer(np.arange(1200), np.arange(1200)) // 40) % 3 == 0] = 255
    profile = {"height": 1200, "width": 1200, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(
        tmp_path / "esm.tif", "w", transform=rasterio.Affine(10, 0, 498_000, 0, -10, 5_324_000), **profile
    ) as file:
        file.write(codes, 1)
    summary = export.done(*AREA, "--label", f"esm:{tmp_path / 'esm.tif'}", "--pairs", "10", "--chip", "32")
    assert sum(summary["exports"][0]["pairs"].values()) == 10


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((*AREA, "--pairs", "5"), "--pairs needs one --source and one --label"),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--label", "wsf2015"), "one --label"),
        ((*AREA, "--pairs", "0", "--label", "ghsl"), "--pairs 0 must lie between"),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--chip", "5000"), "--chip 5000 must lie between"),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--chip", "900"), "holds no chip of 900"),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--built", "90,10"), "the lower first"),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--built", "x"), "--built x must be 2 numbers"),
        (
            (*AREA, "--pairs", "5", "--label", "ghsl", "--chip", "64", "--built", "99,100"),
            "chips is 99% to 100% built",
        ),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--validation", "100"), "--validation 100 must lie"),
        ((*AREA, "--pairs", "5", "--label", "ghsl", "--label-values", "own"), "leave out --label-values"),
    ],
)
def test_wishes_that_make_no_pairs(export, options, reason):
    assert reason in export.refused(*options)


@given(
    seed=st.integers(0, 99),
    rows=st.integers(1, 25),
    cols=st.integers(1, 25),
    share=st.floats(0, 0.9),
)
def test_no_training_chip_touches_a_validation_chip(seed, rows, cols, share):
    shares = np.random.default_rng(seed).random((rows, cols))
    rule = PairRule(count=10, seed=seed, side=16, least_built=0, most_built=1, validation=share)
    chips = draw_candidates(shares, rule)
    taken = {
        split: {(chip.window.row // 16, chip.window.col // 16) for chip in chosen}
        for split, chosen in chips.items()
    }
    for row, col in taken["validation"]:
        for around in ((row + down, col + right) for down in (-1, 0, 1) for right in (-1, 0, 1)):
            assert around not in taken["train"]
    places = number_places((rows, cols))
    assert not {places[chip] for chip in taken["validation"]} & {places[chip] for chip in taken["train"]}


def test_grown_is_the_chip_and_its_neighbours():
    chosen = np.zeros((5, 5), bool)
    chosen[2, 1] = True
    assert add_neighbours(chosen).sum() == 9
    assert add_neighbours(chosen)[1:4, 0:3].all()


def test_nothing_built_anywhere():
    with pytest.raises(InputError, match="over ground that the label does not know"):
        draw_candidates(np.full((3, 3), np.nan), PairRule(5))


def test_a_dry_run_counts_the_pictures(export, earth):
    image, label = sorted(
        export.done(*PAIRS, "--dry-run")["exports"][0]["layers"], key=lambda layer: -layer["tiles"]
    )
    assert (image["tiles"], image["bytes"]) == (20, 20 * 32 * 32 * 2 * 3)
    assert label["tiles"] == 1
    assert not earth.requests


def test_pairs_are_a_data_set_that_trains(export, tmp_path):
    pytest.importorskip("torch")
    from geoseg.datasets.schema import read_dataset
    from geoseg.training.options import TrainOptions
    from geoseg.training.trainer import train_model

    export.done(*PAIRS)
    dataset = read_dataset(export.out)
    assert {split: len(dataset.split(split)) for split in ("train", "validation")} == {
        "train": 16,
        "validation": 4,
    }
    assert (dataset.bands, dataset.gsd_m) == (("B4", "B8"), 10.0)
    assert "Copernicus" in dataset.attribution
    assert "GHSL" in dataset.attribution
    record = json.loads((export.out / "sentinel2.json").read_text())
    assert record["assets"]["data"]["type"] == "text/csv"
    options = TrainOptions(
        steps=2, patch=32, batch=2, weights="none", workers=0, device="cpu", architecture="unet-plain",
        arguments='{"encoder_depth": 2, "width": 8}',
    )  # fmt: skip
    trained = train_model(export.out, tmp_path / "run", options)
    assert trained is not None
    assert trained.card.bands == ("B4", "B8")
