"""Peak memory of `geoseg infer` against the size of the scene: it depends on the width, not on the height.

    python tests/benchmarks/memory.py [--quick]

A one-layer network (ONNX), so that the figures are those of reading, blending and writing. Each run is a process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import rasterio
from machine import machine, table
from onnx import TensorProto, helper, numpy_helper

SIZES = [(8192, 8192), (65536, 8192), (2048, 100_000)]
QUICK = [(2048, 4096), (16384, 4096)]


def write_model(folder: Path) -> Path:
    """One 3 x 3 convolution and a sigmoid, with the keys of the QGIS plugin Deepness."""
    weights = numpy_helper.from_array(np.full((1, 3, 3, 3), 0.05, "float32"), "weights")
    nodes = [
        helper.make_node("Conv", ["input", "weights"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["logits"], ["output"]),
    ]
    shape = ["batch", 3, 512, 512], ["batch", 1, 512, 512]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in zip(("input", "output"), shape, strict=True)
    ]
    graph = helper.make_graph(nodes, "one-layer", values[:1], values[1:], [weights])
    document = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, value in {"model_type": "Segmentor", "class_names": {"0": "building"}, "resolution": 30}.items():
        document.metadata_props.add(key=key, value=json.dumps(value))
    path = folder / "one-layer.onnx"
    onnx.save(document, path)
    return path


def write_scene(path: Path, height: int, width: int) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (3, 512, width), dtype="uint8")
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=height, width=width, crs="EPSG:32633",
        transform=rasterio.Affine(0.3, 0, 392_000, 0, -0.3, 5_820_000), tiled=True, blockxsize=512, blockysize=512,
        compress="jpeg", photometric="ycbcr", bigtiff="if_safer",
    ) as dataset:  # fmt: skip
        for row in range(0, height, 512):
            count = min(512, height - row)
            dataset.write(rows[:, :count], window=((row, row + count), (0, width)))


def run(scene: Path, model: Path, mask: Path) -> tuple[float, float]:
    """Peak memory in MiB and seconds of one run."""
    command = [
        sys.executable,
        "-m",
        "geoseg",
        "infer",
        str(scene),
        "--model",
        str(model),
        "--mask",
        str(mask),
        "--quiet",
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    summary = json.loads(process.stdout.read())
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss / 1024, summary["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small scenes only")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder))
        for height, width in QUICK if parser.parse_args().quick else SIZES:
            scene = Path(folder, "scene.tif")
            write_scene(scene, height, width)
            peak, seconds = run(scene, model, Path(folder, f"mask-{height}-{width}.tif"))
            megapixels = height * width / 1e6
            rows.append(
                (f"{width:,} x {height:,}", f"{peak:.0f}", f"{seconds:.0f}", f"{megapixels / seconds:.1f}")
            )
    print(machine())
    print(table(("columns x rows", "peak MiB", "seconds", "Mpx/s"), rows))


if __name__ == "__main__":
    main()
