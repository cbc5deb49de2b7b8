"""What is disturbed: commands that write, in a folder with all they need; and what must be there once they have ended well."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from bright import write_bright_model
from furnished import furnish_folder

from geoseg.raster.source import open_quietly

BRIGHT = "--model given/bright.onnx --device cpu --engine openvino --precision fp32 --batch 1 --patch 64"
QUICK = """
architecture = "unet-plain"
arguments = '{"encoder_depth": 2, "width": 8}'
warmup = 1
steps = 6
batch = 2
patch = 64
validate_every = 3
validation_patches = 2
checkpoint_every = 2
workers = 0
device = "cpu"
precision = "fp32"
"""


@dataclass(frozen=True)
class Undertaking:
    """Commands that write below out/ of what lies in given/.

    `brought` are files that lie in out/ before. `midway` are names, by a pattern, that may be unfinished while the work
    is not done. `timed` are the files in which durations stand, and the pattern of these. `gaps` is what tells, in words, that
    something could not be read and was left out. `changing` is an input that is overwritten by another while it is read.
    """

    name: str
    commands: tuple[str, ...]
    brought: tuple[str, ...] = ()
    midway: str = "$^"
    timed: tuple[tuple[str, str], ...] = ()
    is_slow: bool = False
    gaps: str = "$^"
    changing: tuple[str, str] | None = None

    def furnish(self, folder: Path, given: Path, has_own: bool = False) -> Path:
        """A new folder in which the commands can be started; the input that changes is its own if that is asked for."""
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        if has_own and self.changing:
            (folder / "given").mkdir()
            for entry in given.iterdir():
                if entry.name != self.changing[0]:
                    (folder / "given" / entry.name).symlink_to(entry)
            shutil.copy(given / self.changing[0], folder / "given")
        else:
            (folder / "given").symlink_to(given)
        for name in self.brought:
            (shutil.copytree if (given / name).is_dir() else shutil.copy)(given / name, folder / "out" / name)
        return folder

    def change_input(self, folder: Path) -> None:
        """Overwrite the input by the other one, as a program does that saves it: under its name at once."""
        assert self.changing
        given, (name, other) = folder / "given", self.changing
        shutil.copy(given / other, given / "unsaved")
        (given / "unsaved").replace(given / name)

    def may_be_midway(self, name: str) -> bool:
        return re.fullmatch(self.midway, name) is not None

    def read(self, out: Path) -> dict[str, str]:
        """All files below a folder, by their names, each as a checksum of what does not tell of time."""
        return {name: self.sum_up(name, path) for name, path in list_files(out)}

    def sum_up(self, name: str, path: Path) -> str:
        content = path.read_bytes()
        for pattern, times in self.timed:
            if re.fullmatch(pattern, name):
                content = re.sub(times.encode(), b"", content, flags=re.MULTILINE)
        return hashlib.sha256(content).hexdigest()


def read_rasters(out: Path) -> dict[str, str]:
    """All GeoTIFFs below a folder, each as a checksum of its pixels and of what it tells of them."""
    return {name: sum_up_raster(path) for name, path in list_files(out) if path.suffix == ".tif"}


def sum_up_raster(path: Path) -> str:
    with open_quietly(path) as dataset:
        told = [dataset.profile, dataset.tags(), dataset.descriptions, dataset.scales, dataset.offsets]
        return hashlib.sha256(repr(told).encode() + dataset.read().tobytes()).hexdigest()


def list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path


GAPS = r"(?m)^Problem: "
REPORT_TIMES = r"\d+:\d\d:\d\d(?= for )"

# ruff: noqa: ISC004 - commands, as they are typed
UNDERTAKINGS = (
    Undertaking(
        "infer",
        (
            f"infer given/scene.tif --out out/b.gpkg --mask out/m.tif --probability out/p.tif --report out/r.html --qgis-project "
            f"out/p.qgz --regions given/wards.gpkg {BRIGHT}",
        ),
        timed=(("r.html", REPORT_TIMES),),
        changing=("scene.tif", "scene2.tif"),
    ),
    Undertaking(
        "infer, mask of footprints",
        (f"infer given/scene.tif --mask out/m.tif --mask-from footprints {BRIGHT}",),
        changing=("scene.tif", "scene2.tif"),
    ),
    Undertaking(
        "infer, many scenes",
        (f"infer given/scenes --out out/results/ --mask out/masks/ --coco out/all.json {BRIGHT}",),
        midway=r"results/.*|masks/.*|all\.json",
        gaps="scenes? failed; ",
        timed=(("results/manifest.csv", r"(?<=,)\d+\.\d+(?=,)"),),
    ),
    Undertaking(
        "infer, shards",
        tuple(
            f"infer given/scene.tif --out out/b.gpkg --mask out/m.tif {BRIGHT}{shard}"
            for shard in (" --shard 2/2", " --shard 1/2", "")
        ),
        changing=("scene.tif", "scene2.tif"),
    ),
    Undertaking(
        "infer, workers",
        (f"infer given/scene.tif --out out/b.gpkg --mask out/m.tif --workers 2 {BRIGHT}",),
        is_slow=True,
        changing=("scene.tif", "scene2.tif"),
    ),
    Undertaking(
        "vectorize",
        (
            "vectorize given/mask.tif --out out/b.gpkg --probability given/probability.tif --regions given/wards.gpkg "
            "--qgis-project out/p.qgz --image given/scene.tif --strip 48 --workers 0",
        ),
    ),
    Undertaking(
        "vectorize, shapefile",
        ("vectorize given/mask.tif --out out/b.shp --strip 48 --workers 0",),
        changing=("mask.tif", "other.tif"),
    ),
    Undertaking(
        "vectorize, other formats",
        tuple(
            f"vectorize given/mask.tif --out out/b{suffix} --regions given/wards.gpkg --strip 48 --workers 0"
            for suffix in (".fgb", ".parquet", ".geojson")
        ),
    ),
    Undertaking(
        "vectorize, workers",
        ("vectorize given/mask.tif --out out/b.gpkg --strip 48 --workers 2",),
        is_slow=True,
        changing=("mask.tif", "other.tif"),
    ),
    Undertaking(
        "vectorize, replaced",
        ("vectorize given/other.tif --out out/buildings.gpkg --overwrite --workers 0",),
        brought=("buildings.gpkg",),
    ),
    Undertaking(
        "stats",
        (
            "stats out/buildings.gpkg --regions given/wards.gpkg --mask given/mask.tif --probability given/probability.tif "
            "--samples given/points.gpkg --csv out/r.csv --overwrite",
        ),
        brought=("buildings.gpkg",),
    ),
    Undertaking(
        "sample",
        (
            "sample given/buildings.gpkg --mask given/mask.tif --points 50 --out out/points.gpkg --qgis-project out/p.qgz "
            "--image given/scene.tif",
        ),
    ),
    Undertaking(
        "compare",
        (
            "compare given/2024.gpkg given/truth.geojson --out out/c.gpkg --csv out/c.csv --regions given/wards.gpkg "
            "--qgis-project out/p.qgz",
        ),
    ),
    Undertaking("compare, geojson", ("compare given/2024.gpkg given/truth.geojson --out out/c.geojson",)),
    Undertaking(
        "publish", ("publish given/2024.gpkg given/truth.geojson --out out/c.parquet --tiles out/c.pmtiles",)
    ),
    Undertaking(
        "publish, partition",
        ("publish given/2024.gpkg given/truth.geojson --partition quadkey:15 --out out/c",),
    ),
    Undertaking("plot", ("plot given/scene.tif given/buildings.gpkg --width 400 --out out/picture.png",)),
    Undertaking(
        "report",
        ("report given/buildings.gpkg --image given/scene.tif --mask given/mask.tif --out out/r.html",),
    ),
    Undertaking(
        "evaluate",
        ("evaluate given/mask.tif given/truth.tif --regions given/wards.gpkg --page out/page.png",),
    ),
    Undertaking("demo-scene", ("demo-scene out/d.tif --size 200",)),
    Undertaking(
        "prepare demo",
        ("prepare demo --scenes 2 --size 128 --workers 0 --out out/set",),
        midway="set/.*",
        gaps=GAPS,
    ),
    Undertaking(
        "prepare vectors",
        (
            "prepare vectors given --images scene.tif --footprints given/truth.geojson --as masks --workers 0 --out out/set",
        ),
        midway="set/.*",
        gaps=GAPS,
    ),
    Undertaking(
        "prepare, workers",
        ("prepare masks given/pairs --images images/*.tif --labels labels/*.tif --workers 2 --out out/set",),
        midway="set/.*",
        gaps=GAPS,
        is_slow=True,
    ),
    Undertaking(
        "prepare audit",
        ("prepare audit out/data --fix --workers 0",),
        brought=("data",),
        midway="data/.*",
        gaps=GAPS,
    ),
    Undertaking(
        "prepare cvat-export",
        ("prepare cvat-export given/scene.tif given/truth.geojson --size 128 --out out/task",),
    ),
    Undertaking("models export", ("models export given/runs/roofs --to out/m.onnx",)),
    Undertaking(
        "train, runs",
        ("train given/data --config given/quick.toml --out out/run", "runs out --curves out/curves.png"),
        midway="run/.*",
        timed=(
            ("run/last.pt", "(?s).+"),
            ("run/metrics.csv", r"(?<=,)[\d.]+(?=,[^,\n]*,[^,\n]*$)"),
            ("run/card.json", r'"seconds": [\d.]+|"finished": "[^"]*"'),
        ),
    ),
    Undertaking(
        "calibrate",
        ("calibrate given/runs/roofs --samples given/answers.csv --out out/model",),
        midway="model/.*",
    ),
)


def furnish_given(folder: Path, model: Path) -> Path:
    """All that the commands read."""
    folder.mkdir()
    furnish_folder(folder, model)
    write_bright_model(folder)
    write_answers(folder / "answers.csv")
    write_turned(folder / "scene.tif", folder / "scene2.tif")
    for name, kind in (("scene", "images"), ("truth", "labels")):
        (folder / "pairs" / kind).mkdir(parents=True)
        shutil.copy(folder / f"{name}.tif", folder / "pairs" / kind / "1.tif")
    (folder / "quick.toml").write_text(QUICK)
    return folder


def write_turned(scene: Path, out: Path) -> None:
    """The same place, and other pixels."""
    with rasterio.open(scene) as dataset, rasterio.open(out, "w", **dataset.profile) as turned:
        turned.write(dataset.read()[:, ::-1])


def write_answers(path: Path, count: int = 400) -> None:
    """Points of which each probability comes true as often as it says."""
    chance = np.random.default_rng(0)
    probability = chance.uniform(0.01, 0.99, count).round(3)
    mapped = np.where(probability >= 0.5, "building", "background")
    answers = np.where(chance.random(count) < probability, "building", "not")
    points = {
        "id": np.arange(1, count + 1), "answer": answers, "stratum": mapped, "mapped": mapped, "probability": probability,
        "stratum_m2": 1000.0, "stratum_points": np.where(mapped == "building", *map(sum, (mapped == "building", mapped != "building"))),
        "chance": 0.01, "longitude": 10.0, "latitude": 50.0, "map": "made",
    }  # fmt: skip
    pd.DataFrame(points).to_csv(path, index=False)
