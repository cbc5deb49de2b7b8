"""A model that tells boundaries separates buildings by itself, to the same bytes in any strips, workers and runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from made import RasterWriter, card
from stopping import stop_after

from geoseg.cli.main import geoseg
from geoseg.inference import loaded
from geoseg.inference.estimate import estimate_disk, estimate_memory
from geoseg.inference.job import plan_job
from geoseg.models.store import save_model
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions

Splitting = Literal["auto", "touching", "none"]


@dataclass(frozen=True)
class Paths:
    """A scene, and a model with its three outputs."""

    scene: Path
    model: Path

    def infer(self, folder: Path, split: Splitting = "auto") -> dict[str, bytes]:
        """All outputs of a run, by name."""
        folder.mkdir(exist_ok=True)
        rasters = {name: folder / f"{name}.tif" for name in ("mask", "probability", "all_outputs")}
        options = InferOptions(
            model=str(self.model), precision="fp32", device="cpu", split=split, overwrite=True, **rasters
        )
        infer_scene([str(self.scene)], folder / "a.gpkg", options)
        return {path.name: path.read_bytes() for path in (folder / "a.gpkg", *rasters.values())}


@pytest.fixture(scope="module")
def three_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net with random weights whose answers are blotchy enough to separate something."""
    torch = pytest.importorskip("torch")
    smp = pytest.importorskip("segmentation_models_pytorch")

    torch.manual_seed(2)
    small = {"encoder_depth": 3, "encoder_weights": None, "decoder_channels": (16, 8, 8)}
    network = smp.Unet("resnet18", **small, classes=3)
    inputs = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 5 - 2
    with torch.inference_mode():
        answer = network.eval()(inputs).flatten(2)[0]
    with torch.no_grad():
        gain = 2 / answer.std(1)
        network.segmentation_head[0].weight *= gain[:, None, None, None]
        network.segmentation_head[0].bias.copy_(-gain * answer.mean(1))
    folder = tmp_path_factory.mktemp("three")
    save_model(folder, network, card(name="three", separators=("distance", "boundary"), threshold=0.4))
    return folder


@pytest.fixture
def paths(three_outputs: Path, write_raster: RasterWriter) -> Paths:
    blobs = np.kron(np.random.default_rng(1).random((3, 60, 30)), np.ones((6, 6)))
    return Paths(write_raster("blobs.tif", (blobs * 255).astype("uint8")), three_outputs)


def test_strips_workers_and_a_stopped_run_change_no_byte(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = paths.infer(tmp_path / "whole")
    assert paths.infer(tmp_path / "none", split="none")["a.gpkg"] != expected["a.gpkg"]
    monkeypatch.setattr("geoseg.raster.plan.STRIP_PIXELS", 9_000)
    assert paths.infer(tmp_path / "low") == expected
    with monkeypatch.context() as patch:
        patch.setattr(loaded, "find_devices", lambda request: ["cpu", "cpu"])
        assert paths.infer(tmp_path / "two") == expected
    with stop_after(5):
        paths.infer(tmp_path / "stopped")
    assert list((tmp_path / "stopped").glob("*.parts/*"))
    assert paths.infer(tmp_path / "stopped") == expected


def test_the_rasters_hold_what_they_are_asked_for(paths: Paths, tmp_path: Path) -> None:
    paths.infer(tmp_path / "out")
    with (
        rasterio.open(tmp_path / "out" / "probability.tif") as probability,
        rasterio.open(tmp_path / "out" / "all_outputs.tif") as outputs,
    ):
        assert probability.descriptions == ("building",)
        assert outputs.descriptions == ("building", "distance", "boundary")
        assert outputs.scales == (0.004,) * 3
        np.testing.assert_array_equal(outputs.read(1), probability.read(1))
        assert outputs.read().std(axis=(1, 2)).min() > 5


def test_the_footprints_are_those_of_the_mask_and_all_outputs(paths: Paths, tmp_path: Path) -> None:
    expected = paths.infer(tmp_path / "out")["a.gpkg"]
    given = ["--probability", str(tmp_path / "out" / "all_outputs.tif"), "--class", "1=building", "--quiet"]
    for flags, alike in (([], True), (["--no-split"], False), (["--split", "touching"], False)):
        again = tmp_path / "again.gpkg"
        done = CliRunner().invoke(
            geoseg,
            [
                "vectorize",
                str(tmp_path / "out" / "mask.tif"),
                "--out",
                str(again),
                "--overwrite",
                *given,
                *flags,
            ],
        )
        assert done.exit_code == 0, done.stderr
        assert (again.read_bytes() == expected) is alike


def test_no_split_keeps_in_one_piece_what_has_grown_together(paths: Paths, tmp_path: Path) -> None:
    found = {}
    always = ("--precision", "fp32", "--json", "--quiet", "--overwrite")
    for flags in ((), ("--no-split",)):
        given = [str(paths.scene), "--model", str(paths.model), "--out", str(tmp_path / "a.gpkg")]
        done = CliRunner().invoke(geoseg, ["infer", *given, *always, *flags])
        assert done.exit_code == 0, done.stderr
        found[flags] = json.loads(done.stdout)["footprints"]
    assert found[()] > found[("--no-split",)]


def test_the_estimate_counts_all_channels(paths: Paths, tiny_model: Path) -> None:
    three, one = (
        plan_job([str(paths.scene)], InferOptions(model=str(model), precision="fp32"))
        for model in (paths.model, tiny_model)
    )
    assert estimate_memory(three) > estimate_memory(one)
    assert estimate_disk(three) > 2.5 * estimate_disk(one)
