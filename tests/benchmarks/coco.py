"""COCO files: how fast labels are drawn, whether they equal pycocotools' pixel by pixel, and the memory a large file takes.

python tests/benchmarks/coco.py [--images 20000] [--megabytes 1000]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from geoseg.datasets.builder import DatasetBuilder, Origin
from geoseg.datasets.coco.dataset import CocoOptions, find_coco_files, prepare_coco
from geoseg.datasets.images import read_window

SIZE = 300
BUILDINGS = 9


def write_coco(folder: Path, images: int, corners: int, least_bytes: int = 0) -> Path:
    """A COCO file of random buildings, one in ten given by run lengths, of some size at least."""
    from pycocotools import mask as oracle

    (folder / "images").mkdir(parents=True)
    chance = np.random.default_rng(0)
    with (folder / "annotation.json").open("w") as file:
        file.write('{"categories": [{"id": 100, "name": "building"}], "images": [')
        for number in range(images):
            (folder / "images" / f"{number:06}.jpg").touch()
            photo = {"id": number, "file_name": f"{number:06}.jpg", "width": SIZE, "height": SIZE}
            file.write(("," if number else "") + json.dumps(photo))
        file.write('], "annotations": [')
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        written = 0
        for number in count():
            if number >= images * BUILDINGS and written >= least_bytes:
                break
            centre, radius = chance.uniform(0, SIZE, 2), chance.uniform(3, 50)
            outline = (
                np.stack([np.cos(angles), np.sin(angles)], 1) * radius * chance.uniform(0.6, 1, (corners, 1))
            )
            polygon = (outline + centre).round(3).ravel().tolist()
            shape: Any = [polygon]
            if number % 10 == 0:
                packed = oracle.merge(oracle.frPyObjects([polygon], SIZE, SIZE))
                shape = {"size": packed["size"], "counts": packed["counts"].decode()}
            annotation = {
                "id": number,
                "image_id": number % images,
                "category_id": 100,
                "segmentation": shape,
                "iscrowd": 0,
            }
            written += file.write(("," if number else "") + json.dumps(annotation))
        file.write("]}")
    return folder / "annotation.json"


def differing(annotations: Path, labels: Path) -> int:
    """How many labels differ from pycocotools' by any pixel."""
    from pycocotools import mask as oracle

    content = json.loads(annotations.read_text())
    shapes: defaultdict[int, list[Any]] = defaultdict(list)
    for annotation in content["annotations"]:
        shapes[annotation["image_id"]].append(annotation["segmentation"])
    different = 0
    for photo in content["images"]:
        masks = [
            shape if isinstance(shape, dict) else oracle.merge(oracle.frPyObjects(shape, SIZE, SIZE))
            for shape in shapes[photo["id"]]
        ]
        expected = oracle.decode(oracle.merge(masks))
        label = read_window(labels / f"{photo['file_name'][:-4]}.tif")[0]
        different += not np.array_equal(label, expected)
    return different


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--megabytes", type=int, default=1000)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # The large file first: the most memory ever used is what the system tells.
        large = write_coco(folder / "large", 3000, 200, asked.megabytes * 1_000_000)
        start = time.perf_counter()
        prepare_coco(
            find_coco_files(large, None),
            CocoOptions(Origin("large"), 0.3, limit=300),
            DatasetBuilder(folder / "a", 0),
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{large.stat().st_size:,} bytes of JSON: {time.perf_counter() - start:.0f} s, {peak:,.0f} MB of memory at most"
        )
        large.unlink()
        small = write_coco(folder / "small", asked.images, 8)
        start = time.perf_counter()
        dataset = prepare_coco(
            find_coco_files(small, None), CocoOptions(Origin("small"), 0.3), DatasetBuilder(folder / "b")
        )
        seconds = time.perf_counter() - start
        print(f"{len(dataset.items):,} images: {seconds:.0f} s, {len(dataset.items) / seconds:,.0f} images/s")
        print(f"labels that differ from pycocotools': {differing(small, folder / 'b' / 'labels')}")


if __name__ == "__main__":
    main()
