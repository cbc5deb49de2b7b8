"""Peak memory of `geoseg infer` against the size of the scene: it depends on the width, not on the height.

    python tests/benchmarks/memory.py [--quick] [--roots ../before .]

A one-layer network (ONNX), so that the figures are those of reading, blending and writing. Each run is a process. Several
checkouts (such as one before a change) are measured in turns, by this script.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
import rasterio
from machine import machine, table
from onnx import TensorProto, helper, numpy_helper
from speed import run_infer

ROOT = Path(__file__).parents[2]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small scenes only")
    parser.add_argument("--scenes", type=Path, help="a folder that keeps the scenes for the next time")
    parser.add_argument(
        "--roots", type=Path, nargs="+", default=[ROOT], help="the checkouts that are measured"
    )
    wanted = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, scenes = write_model(folder), wanted.scenes or folder
        for height, width in QUICK if wanted.quick else SIZES:
            scene = scenes / f"{height}-{width}.tif"
            if not scene.exists():
                write_scene(scene, height, width)
            outputs = ["--mask", str(folder / "mask.tif")]
            costs = [run_infer(root, scene, str(model), outputs) for root in wanted.roots]
            cells = [(f"{cost.peak:.0f}", f"{cost.busy:.0f}", f"{cost.seconds:.0f}") for cost in costs]
            rows.append((f"{width:,} x {height:,}", *chain.from_iterable(cells)))
    print(machine())
    told = ("peak MiB", "processor s", "seconds")
    print(table(("columns x rows", *told * len(wanted.roots)), rows))


if __name__ == "__main__":
    main()
