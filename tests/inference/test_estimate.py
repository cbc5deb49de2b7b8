"""What does not fit into this machine is refused before it begins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from affine import Affine
from click.testing import CliRunner, Result
from made import HERE, RasterWriter, photo

from geoseg.cli.main import geoseg
from geoseg.inference import estimate
from geoseg.parallel import find_memory_bytes


def infer(model: Path, folder: Path, *scenes: Path) -> Result:
    flags = "--mask", str(folder / "m.tif"), "--engine", "openvino", "--precision", "fp32", "--device", "cpu"
    return CliRunner().invoke(geoseg, ["infer", *map(str, scenes), "--model", str(model), *flags])


def test_there_is_memory_on_this_machine() -> None:
    there = find_memory_bytes()
    assert there is None or there > 2**28


def test_a_card_that_asks_for_enormous_patches_is_refused(
    tiny_model: Path, write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "find_memory_bytes", lambda: 24 * 2**30)
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "patch": 16384}))
    done = infer(folder, tmp_path, write_raster("s.tif", photo(100, 100)))
    assert done.exit_code == 2
    assert "need 5" in done.stderr
    assert "this machine has 24.0 GiB; use a smaller --patch" in done.stderr
    assert not (tmp_path / "m.tif").exists()


def test_images_far_apart_are_told_and_refused(
    tiny_model: Path, write_raster: RasterWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "find_memory_bytes", lambda: 8 * 2**30)
    here = write_raster("a.tif", photo(100, 200))
    there = write_raster("b.tif", photo(100, 200), transform=Affine.translation(3_000_000, 0) @ HERE)
    done = infer(tiny_model, tmp_path, here, there)
    assert done.exit_code == 2
    assert "one part in 25,000 of the ground" in done.stderr
    assert "10,000,200 columns" in done.stderr
    assert "fewer or narrower images" in done.stderr
