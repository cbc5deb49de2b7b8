"""What every command answers to small made-up input, digested: the same before and after the code is rearranged.

    python tests/benchmarks/golden.py --out before.json
    python tests/benchmarks/golden.py --against before.json

Digests hold for one machine and one set of libraries: they are compared, not committed. Pixels, every value of every
layer, tags, styles, JSON and the losses of a training run count; times, paths and version numbers do not.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import rasterio

QUICK = (
    "--architecture unet-plain --arguments {'encoder_depth':2,'width':8} --patch 64 --steps 12 --batch 4 --workers 0 "
    "--validate-every 6 --checkpoint-every 6 --validation-patches 4 --warmup 2 --device cpu --precision fp32"
)
ALL_OUTPUTS = "--out a.gpkg --mask a-mask.tif --probability a-prob.tif --qgis-project a.qgz"
COMMANDS = [
    "demo-scene town.tif --size 700x600 --seed 4",
    "demo-scene other.tif --size 400 --seed 9 --gsd 0.5",
    f"infer town.tif {ALL_OUTPUTS} --regions grid:60m --json --precision fp32",
    "infer other.tif --out b.geojson --precision fp32 --tta flips --threshold 0.4 --no-regularize --json",
    "infer town.tif --mask c-mask.tif --model default --gsd 0.4 --patch 256 --overlap 64 --json",
    "vectorize a-mask.tif --out d.gpkg --probability a-prob.tif --split touching --regions grid:100m --json",
    "vectorize a-mask.tif --out e.fgb --no-regularize --min-area 0 --max-hole 0 --connectivity 8 --json",
    "vectorize a-prob.tif --out f.parquet --threshold 0.5 --simplify 0.5 --crs EPSG:4326 --workers 2 --json",
    "vectorize a-mask.tif --out g.shp --strip 128 --json",
    "stats d.gpkg --regions grid:80m --mask a-mask.tif --probability a-prob.tif --csv stats.csv --json --overwrite",
    "prepare demo --out demo-set --json",
    "prepare vectors vectors --images *.tif --labels *.truth.gpkg --out vector-set --validation other --json",
    "prepare vectors vectors --images *.tif --labels *.truth.gpkg --as masks --out mask-set --validation other --json",
    "prepare masks masks --images *-image.tif --labels *-mask.tif --out masks-set --json",
    "prepare coco coco.json --gsd 0.3 --out coco-set --json",
    "prepare cvat-export town.tif a.gpkg --probability a-prob.tif --out task --json",
    "prepare cvat task --gsd 0.3 --out cvat-set --json",
    f"train demo-set --out run --separate never --augment light {QUICK} --json",
    f"train demo-set --out run-plain --augment none --separate never {QUICK} --json",
    "evaluate a-mask.tif town.truth.gpkg --probability a-prob.tif --json",
    "evaluate a.gpkg:buildings town.truth.gpkg --regions grid:80m --json",
    "evaluate run demo-set --against run-plain --json",
    "models show default",
    "models list --json",
]
VOLATILE = re.compile(
    r"seconds|finished|hardware|software|command|version|date|created|memory|elapsed|sha256|key"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write the digests")
    parser.add_argument("--against", type=Path, help="digests to compare with; every difference is printed")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the files themselves, to look into a difference"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        digests = dict(run(folder))
    text = json.dumps(digests, indent=1, sort_keys=True)
    if given.out:
        given.out.write_text(text)
    if given.against:
        sys.exit(compare(json.loads(given.against.read_text()), digests))


def compare(before: dict[str, str], after: dict[str, str]) -> int:
    names = sorted(before.keys() | after.keys())
    changed = [name for name in names if before.get(name) != after.get(name)]
    for name in changed:
        print(f"{name}: {before.get(name, 'was not there')} -> {after.get(name, 'is not there')}")
    print(f"{len(names) - len(changed)} of {len(names)} the same")
    return 1 if changed else 0


def run(folder: Path) -> Iterator[tuple[str, str]]:
    environment = os.environ | {"GEOSEG_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    for i, line in enumerate(COMMANDS):
        make_input(folder, i)
        command = [sys.executable, "-m", "geoseg", *line.split()]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        name = f"{i:02} {' '.join(line.split()[:3])}"
        if done.returncode:
            print(f"{name}: {done.stderr}", file=sys.stderr)
        yield f"{name} stdout", digest(plain(done.stdout, folder))
        yield f"{name} exit", str(done.returncode)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] != "cache":
            for part, value in contents(path, folder):
                yield f"{relative}{part}", value


def make_input(folder: Path, i: int) -> None:
    """What commands read that no other command writes."""
    if COMMANDS[i].startswith("prepare vectors vectors") and not (folder / "vectors").exists():
        (folder / "vectors").mkdir()
        for name in ("town", "other"):
            for ending in (".tif", ".truth.gpkg"):
                (folder / "vectors" / f"{name}{ending}").write_bytes(
                    (folder / f"{name}{ending}").read_bytes()
                )
    if COMMANDS[i].startswith("prepare masks"):
        (folder / "masks").mkdir()
        for name in ("x", "y", "z"):
            source = folder / ("town.tif" if name == "x" else "other.tif")
            with rasterio.open(source) as image:
                pixels, profile = image.read()[:, :300, :300], image.profile
            profile.update(height=300, width=300, driver="GTiff", compress="deflate", photometric="rgb")
            if name == "z":
                pixels = pixels[:, ::-1].copy()
            with rasterio.open(folder / "masks" / f"{name}-image.tif", "w", **profile) as file:
                file.write(pixels)
            with rasterio.open(
                folder / "masks" / f"{name}-mask.tif",
                "w",
                **profile | {"count": 1, "photometric": "minisblack"},
            ) as file:
                file.write((pixels[0] > 150).astype(np.uint8) * 255, 1)
    if COMMANDS[i].startswith("prepare coco"):
        (folder / "coco.json").write_text(json.dumps(coco(folder)))


def coco(folder: Path) -> dict[str, Any]:
    annotations = [
        {"id": 10 * image + k, "image_id": image, "category_id": 1 + k % 2, "iscrowd": int(k == 5), "area": 900,
         "bbox": [20 * k, 30, 30, 30],
         "segmentation": [[20 * k, 30, 20 * k + 30, 30, 20 * k + 30, 60, 20 * k, 60]] if k != 5
         else {"counts": [100, 300, 200000], "size": [400, 400]}}
        for image in (1, 2) for k in range(8)
    ]  # fmt: skip
    for name in ("p", "q"):
        (folder / f"{name}.tif").write_bytes((folder / "other.tif").read_bytes())
    images = [{"id": i + 1, "file_name": f"{n}.tif", "width": 400, "height": 400} for i, n in enumerate("pq")]
    categories = [{"id": 1, "name": "house"}, {"id": 2, "name": "shed"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def contents(path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """The parts of a file that count, each with a digest."""
    if path.suffix == ".tif":
        yield from raster_contents(path, folder)
    elif path.suffix in (".gpkg", ".fgb", ".geojson", ".shp", ".parquet"):
        yield from vector_contents(path)
    elif path.name == "metrics.csv":
        with path.open(newline="") as file:
            rows = [
                [row[n] for n in ("step", "loss", "validation_loss", "validation_iou")]
                for row in csv.DictReader(file)
            ]
        yield "", digest(json.dumps(rows))
    elif path.suffix in (".json", ".toml", ".csv", ".qml", ".xml", ".py", ".cpg", ".prj"):
        yield "", digest(plain(path.read_text(errors="replace"), folder))
    elif path.suffix == ".qgz":
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                yield f" {member}", digest(plain(archive.read(member).decode(errors="replace"), folder))
    elif path.suffix == ".npy":
        yield "", digest(np.load(path).tobytes())


def raster_contents(path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    with rasterio.open(path) as raster:
        yield " pixels", digest(raster.read().tobytes())
        tags = {name: value for name, value in raster.tags().items() if name != "GEOSEG"}
        profile = {name: str(value) for name, value in raster.profile.items()}
        described = [profile, tags, raster.overviews(1), raster.descriptions]
        yield " profile", digest(json.dumps(described, sort_keys=True))
        yield " parameters", digest(plain(raster.tags().get("GEOSEG", ""), folder))


def vector_contents(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix == ".parquet":
        yield "", digest(as_text(geopandas.read_parquet(path)))
        return
    for layer, _ in pyogrio.list_layers(path):
        yield f" layer {layer}", digest(as_text(pyogrio.read_dataframe(path, layer=layer)))
    if path.suffix == ".gpkg":
        with sqlite3.connect(path) as database:
            found = database.execute("select name from sqlite_master where type = 'table'")
            tables = sorted(row[0] for row in found)
            query = "select f_table_name, styleQML from layer_styles"
            styles = database.execute(query).fetchall() if "layer_styles" in tables else []
        yield " tables", digest(json.dumps([tables, styles]))


def as_text(table: Any) -> str:
    written = table.to_wkt() if isinstance(table, geopandas.GeoDataFrame) else table
    return str(written.to_csv(index=False))


def plain(text: str, folder: Path) -> str:
    """Text without what differs from run to run."""
    text = text.replace(str(folder), "HERE")
    try:
        return json.dumps(steady(json.loads(text)), sort_keys=True)
    except ValueError:
        return "\n".join(line for line in text.splitlines() if not VOLATILE.search(line.lower()))


def steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: steady(inner) for name, inner in value.items() if not VOLATILE.search(name.lower())}
    return [steady(inner) for inner in value] if isinstance(value, list) else value


def digest(value: str | bytes) -> str:
    raw = value.encode() if isinstance(value, str) else value
    return hashlib.sha256(raw).hexdigest()[:16]


if __name__ == "__main__":
    main()
