"""A machine without PyTorch runs models; what it cannot do names the command that brings what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made import HERE, RasterWriter

from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo

MISSING = (
    "torch",
    "torchvision",
    "segmentation_models_pytorch",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "safetensors",
)


HIDE = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition('.')[0] in {missing} else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Hiding, sys.meta_path)
sys.argv = ['geoseg', *{arguments}]
from geoseg.cli.main import main
main()
"""
"""Packages that cannot be found, as where they are not installed; a None among the modules would be found by some libraries."""


def geoseg(*arguments: object, missing: tuple[str, ...] = MISSING) -> subprocess.CompletedProcess[str]:
    """A command in a process that finds none of these packages."""
    code = HIDE.format(missing=missing, arguments=list(map(str, arguments)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )


def test_a_scene_becomes_footprints_and_rasters(write_raster: RasterWriter, tmp_path: Path) -> None:
    scene = write_raster("scene.tif", render_photo(Layout(22), Window(0, 0, 300, 300)), transform=HERE)
    outputs = ("--out", tmp_path / "out.gpkg", "--mask", tmp_path / "mask.tif", "--tta", "flips")
    done = geoseg("infer", scene, *outputs, "--gsd", "native", "--patch", 256, "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["engine"], summary["device"]) == ("openvino", "cpu")
    assert summary["footprints"] > 0
    assert "converted" not in done.stderr


@pytest.mark.parametrize("missing", ["torch", "onnx"])
def test_writing_onnx_names_the_file_and_the_command(tmp_path: Path, missing: str) -> None:
    out = tmp_path / "buildings.onnx"
    done = geoseg("models", "export", "default", "--to", out, missing=(missing,))
    assert done.returncode == 2
    told = done.stderr.strip().replace("needs onnx", f"needs {missing}")  # which may be missing as well
    assert (
        told == f'Error: writing {out} needs {missing}, which is not installed: pip install "geoseg[torch]"'
    )
    assert not list(tmp_path.iterdir())


def test_training_names_the_command(tmp_path: Path) -> None:
    done = geoseg("train", tmp_path, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == 'Error: training needs torch, which is not installed: pip install "geoseg[torch]"'
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--engine", "torch"), '--engine torch: not installed: pip install "geoseg[torch]"'),
        (("--engine", "onnx"), "--engine onnx: not installed: pip install onnxruntime"),
        (
            ("--device", "cuda"),
            "--device cuda: not there; this machine has cpu; a GPU needs PyTorch: pip install",
        ),
    ],
)
def test_what_is_asked_for_and_not_there_is_named(
    write_raster: RasterWriter, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    scene = write_raster("scene.tif", render_photo(Layout(22), Window(0, 0, 64, 64)), transform=HERE)
    done = geoseg("infer", scene, "--mask", tmp_path / "mask.tif", *options)
    assert done.returncode == 2
    assert f"Error: {complaint}" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("models", "list"), ("models", "show", "default"), ("train", "--help")]
)
def test_looking_around_needs_none_of_it(arguments: tuple[str, ...]) -> None:
    assert geoseg(*arguments).returncode == 0


def test_a_name_of_the_hub_says_what_brings_its_client() -> None:
    done = geoseg("models", "show", "owner/model", missing=("huggingface_hub",))
    assert done.returncode == 2
    assert "neither a folder nor built in (default, sentinel2-builtup)" in done.stderr
    assert done.stderr.strip().endswith('the hub is asked with huggingface_hub: pip install "geoseg[hub]"')
