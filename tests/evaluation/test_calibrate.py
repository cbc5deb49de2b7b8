"""A model recalibrated by points: its probabilities follow, what it finds does not."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from click.testing import CliRunner
from made import RasterWriter, photo
from scipy.special import expit, logit

import geoseg
from geoseg.cli.main import geoseg as command_line
from geoseg.errors import InputError
from geoseg.models.card import Card
from geoseg.training.run import UNFINISHED

TEMPERATURE, OFFSET = 2.0, -1.0


def write_points(
    path: Path, count: int = 4000, temperature: float = TEMPERATURE, offset: float = OFFSET
) -> Path:
    """Answered points where the model's logits are twice too sure and too high by one; half the ground is background."""
    rng = np.random.default_rng(0)
    probability = np.round(rng.uniform(0.01, 0.99, count), 4)
    built = rng.random(count) < expit(logit(probability) / temperature + offset)
    mapped = np.where(probability >= 0.5, "building", "background")
    frame = pd.DataFrame(
        {
            "id": np.arange(1, count + 1),
            "answer": np.where(built, "building", "not"),
            "stratum": mapped,
            "mapped": mapped,
            "probability": probability,
            "stratum_m2": 1000.0,
            "stratum_points": pd.Series(mapped).map(pd.Series(mapped).value_counts()).to_numpy(),
            "chance": 0.01,
            "longitude": 10.0,
            "latitude": 50.0,
            "map": "made",
        }
    )
    frame.to_csv(path, index=False)
    return path


def test_probabilities_follow_and_footprints_stay(
    tiny_model: Path, tmp_path: Path, write_raster: RasterWriter
) -> None:
    result = geoseg.calibrate(tiny_model, write_points(tmp_path / "points.csv"), tmp_path / "here")
    told = result.summary
    assert told["temperature"] == pytest.approx(TEMPERATURE, rel=0.15)
    assert told["offset"] == pytest.approx(OFFSET, abs=0.1)
    assert told["ece"] < 0.3 * told["ece_before"]
    assert abs(told["total_error"]) < 0.03 < told["total_error_before"]

    scene = write_raster("scene.tif", photo(96, 96))
    rasters = []
    for model in (tiny_model, tmp_path / "here"):
        geoseg.infer(
            scene, mask=tmp_path / "mask.tif", probability=tmp_path / "p.tif", model=str(model),
            precision="fp32", overwrite=True,
        )  # fmt: skip
        with rasterio.open(tmp_path / "mask.tif") as mask, rasterio.open(tmp_path / "p.tif") as likely:
            rasters.append((mask.read(1), likely.read(1) / 250))
    (mask, before), (mask_after, after) = rasters
    inside = (before > 0.02) & (before < 0.98)
    expected = expit(logit(before[inside]) / told["temperature"] + told["offset"])
    assert inside.any()
    near = np.abs(after[inside] - expected) < 0.01  # not so where patches are blended
    assert near.mean() > 0.995
    assert (mask == mask_after).mean() > 0.999


def test_the_card_says_what_was_measured_there(tiny_model: Path, tmp_path: Path) -> None:
    before = Card.read(tiny_model / "card.json")
    geoseg.calibrate(tiny_model, write_points(tmp_path / "points.csv"), tmp_path / "here")
    card = Card.read(tmp_path / "here" / "card.json")
    elsewhere = card.calibration["elsewhere"]
    assert [each["samples"] for each in elsewhere] == ["points.csv"]
    assert elsewhere[0]["points"] == 4000
    assert card.threshold == pytest.approx(
        expit(logit(before.threshold) / elsewhere[0]["temperature"] + elsewhere[0]["offset"]), abs=1e-5
    )
    assert geoseg.open_model(tmp_path / "here").weights_sha256 == card.weights_sha256


def test_what_comes_true_already_is_left_as_it_is(tiny_model: Path, tmp_path: Path) -> None:
    points = write_points(tmp_path / "points.csv", 200, 1.0, 0.0)
    result = geoseg.calibrate(tiny_model, points, tmp_path / "here")
    if (result.found["temperature"], result.found["offset"]) != (1, 0):  # by chance it may pay after all
        assert result.found["brier"] <= result.found["brier_before"] + 0.01
    else:
        assert result.card.threshold == Card.read(tiny_model / "card.json").threshold


def change(path: Path, **columns: object) -> Path:
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)
    return path


def test_what_cannot_calibrate_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    few = write_points(tmp_path / "few.csv", 30)
    with pytest.raises(InputError, match="a calibration needs 50, of both kinds"):
        geoseg.calibrate(tiny_model, few, tmp_path / "here")
    alike = change(write_points(tmp_path / "alike.csv", 100), answer="not")
    with pytest.raises(InputError, match="a calibration needs 50, of both kinds"):
        geoseg.calibrate(tiny_model, alike, tmp_path / "here")
    blind = change(write_points(tmp_path / "blind.csv", 100), probability=np.nan)
    with pytest.raises(InputError, match="hold no probability"):
        geoseg.calibrate(tiny_model, blind, tmp_path / "here")
    with pytest.raises(InputError, match="holds a model already"):
        geoseg.calibrate(tiny_model, write_points(tmp_path / "points.csv"), tiny_model)
    assert not (tmp_path / "here").exists()


def test_a_calibration_that_was_killed_while_it_wrote_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    points, out = write_points(tmp_path / "points.csv"), tmp_path / "here"
    geoseg.calibrate(tiny_model, points, out)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "model.onnx").unlink()
    (out / UNFINISHED).touch()
    geoseg.calibrate(tiny_model, points, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole


def test_an_onnx_file_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    onnx = tmp_path / "alone.onnx"
    onnx.write_bytes((tiny_model / "model.onnx").read_bytes())
    card = json.loads((tiny_model / "card.json").read_text()) | {"weights_sha256": ""}
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="is an ONNX file"):
        geoseg.calibrate(onnx, write_points(tmp_path / "points.csv"), tmp_path / "here")


def test_the_command_tells_before_and_now(tiny_model: Path, tmp_path: Path) -> None:
    points, out = write_points(tmp_path / "points.csv"), tmp_path / "here"
    arguments = [
        "calibrate",
        str(tiny_model),
        "--samples",
        str(points),
        "--out",
        str(out),
        "--json",
        "--quiet",
    ]
    done = CliRunner().invoke(command_line, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == str(out)


def test_points_may_come_as_a_geopackage(tiny_model: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(write_points(tmp_path / "points.csv"))
    placed = gpd.GeoDataFrame(
        frame, geometry=gpd.points_from_xy(frame["longitude"], frame["latitude"]), crs=4326
    )
    placed.to_file(tmp_path / "points.gpkg", layer="points")
    result = geoseg.calibrate(tiny_model, tmp_path / "points.gpkg", tmp_path / "here")
    assert result.found["points"] == 4000
