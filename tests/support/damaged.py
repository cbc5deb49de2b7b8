"""Damaged files of every kind, each through a command that reads it, many in one process with limits on time and memory.

As a program: python damaged.py GIVEN FOLDER FIRST LAST tells, in a line of JSON for each case, what became of it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
from click.testing import CliRunner
from damage import (
    BYTES,
    JSON,
    TEXT,
    TOML,
    Damage,
    change_archive,
    change_array_header,
    change_database,
    change_tensor_header,
    change_tiff_tag,
    damage_file,
)
from PIL import Image
from rasterio.vrt import WarpedVRT
from squares import array_set

CPU_LIMIT_S = 60
MEMORY_LIMIT_BYTES = 6 * 2**30
UNFINISHED = {"set": "dataset.toml", "run": "card.json"}
"""Folders that grow while their command is at work, and the file that they get last."""
QUIETLY = "--device cpu --engine openvino --precision fp32 --batch 1 --patch 64"
BRIGHT = f"--model given/bright.onnx {QUIETLY}"
INFER = "infer {} --out out/b.gpkg --mask out/m.tif"
READ_FOOTPRINTS = (
    "stats {} --regions given/wards.gpkg --out out/r.gpkg --csv out/r.csv",
    "compare {} given/truth.geojson --out out/c.gpkg",
    "compare given/2024.gpkg {} --out out/c.geojson",
    "publish {} given/2024.gpkg --out out/p.parquet",
    "report {} --out out/r.html",
    "plot given/scene.tif {} --width 300 --out out/p.png",
    "evaluate {} given/truth.tif --page out/p.png",
    "sample {} --mask given/mask.tif --points 20 --out out/s.gpkg",
    "vectorize given/mask.tif --regions {} --workers 0 --out out/b.gpkg",
    "prepare vectors given --images scene.tif --footprints {} --workers 0 --out out/set",
    "prepare cvat-export given/scene.tif {} --size 64 --count 2 --out out/task",
)
READ_MODEL = (
    f"infer given/scene.tif --out out/b.gpkg --model {{}} {QUIETLY}",
    "models show {}",
    "models export {} --to out/m.onnx",
    "calibrate {} --samples given/answers.csv --out out/m",
)
SQLITE = (*BYTES, *[change_database] * 6)
TIFF = (*BYTES, *[change_tiff_tag] * 6)


@dataclass(frozen=True)
class Kind:
    """A kind of file: a sound one, what is done to it, and the commands that read it, or the folder that it lies in."""

    file: str
    damages: tuple[Damage, ...]
    commands: tuple[str, ...]
    folder: str = ""

    @property
    def name(self) -> str:
        """Where the damaged copy lies."""
        path = Path(self.file)
        return str(path.relative_to(Path(self.folder).parent)) if self.folder else path.name


# ruff: noqa: E501 - commands, as they are typed
KINDS = (
    Kind("scene.tif", TIFF, (
        f"{INFER} {BRIGHT}", f"{INFER} --on-read-error nodata {BRIGHT}", "plot {} --width 300 --out out/p.png",
        "report given/buildings.gpkg --image {} --out out/r.html", "prepare cvat-export {} given/truth.geojson --size 64 --count 2 --out out/task",
    )),
    Kind("mask.tif", TIFF, (
        "vectorize {} --workers 0 --out out/b.gpkg", "evaluate {} given/truth.tif --page out/p.png",
        "stats given/buildings.gpkg --regions given/wards.gpkg --mask {} --out out/r.gpkg",
        "sample given/buildings.gpkg --mask {} --points 20 --out out/s.gpkg", "report given/buildings.gpkg --mask {} --out out/r.html",
    )),
    Kind("probability.tif", TIFF, (
        "vectorize given/mask.tif --probability {} --workers 0 --out out/b.gpkg", "vectorize {} --threshold 0.5 --workers 0 --out out/b.fgb",
        "stats given/buildings.gpkg --regions grid:50m --probability {} --out out/r.gpkg",
    )),
    Kind("chips/1.jpg", BYTES, (f"{INFER} --gsd 0.3 {BRIGHT}", "plot {} --width 300 --out out/p.png")),
    Kind("chip.png", BYTES, (f"{INFER} --gsd 0.3 {BRIGHT}", "vectorize {} --band 1 --workers 0 --out out/b.geojson")),
    Kind("buildings.gpkg", SQLITE, READ_FOOTPRINTS),
    Kind("truth.geojson", JSON, READ_FOOTPRINTS),
    Kind("b.fgb", BYTES, READ_FOOTPRINTS),
    Kind("b.parquet", BYTES, READ_FOOTPRINTS),
    Kind("b.csv", TEXT, READ_FOOTPRINTS),
    Kind("shape/b.shp", BYTES, READ_FOOTPRINTS, "shape"),
    Kind("shape/b.dbf", BYTES, tuple(each.replace("{}", "{}/b.shp") for each in READ_FOOTPRINTS), "shape"),
    Kind("wards.gpkg", SQLITE, (
        "stats given/buildings.gpkg --regions {} --out out/r.gpkg", "vectorize given/mask.tif --regions {} --workers 0 --out out/b.gpkg",
        "compare given/2024.gpkg given/truth.geojson --regions {} --out out/c.gpkg", "publish given/2024.gpkg --partition {} --out out/p",
        "compare given/2024.gpkg given/truth.geojson --area {} --out out/c.gpkg", "evaluate given/mask.tif given/truth.tif --regions {} --page out/p.png",
    )),
    Kind("points.gpkg", SQLITE, (
        "stats given/buildings.gpkg --regions given/wards.gpkg --samples {} --mask given/mask.tif --out out/r.gpkg",
        "calibrate given/runs/roofs --samples {} --out out/m",
    )),
    Kind("squares.gpkg", SQLITE, ("stats given/buildings.gpkg --regions given/wards.gpkg --samples {} --mask given/mask.tif --out out/r.gpkg",)),
    Kind("answers.csv", TEXT, ("calibrate given/runs/roofs --samples {} --out out/m",)),
    Kind("runs/roofs/card.json", JSON, READ_MODEL, "runs/roofs"),
    Kind("runs/roofs/config.json", JSON, tuple(each.replace("openvino", "torch") for each in READ_MODEL), "runs/roofs"),
    Kind("runs/roofs/model.safetensors", (*BYTES, *[change_tensor_header] * 6), tuple(each.replace("openvino", "torch") for each in READ_MODEL), "runs/roofs"),
    Kind("runs/roofs/check.npy", (*BYTES, *[change_array_header] * 6), READ_MODEL[:1] + READ_MODEL[2:], "runs/roofs"),
    Kind("runs/roofs/model.onnx", BYTES, READ_MODEL, "runs/roofs"),
    Kind("bright.onnx", BYTES, (*READ_MODEL, READ_MODEL[0].replace("openvino", "onnx"))),
    Kind("data/dataset.toml", TOML, (
        "prepare audit {} --workers 0", "train {} --config given/quick.toml --steps 1 --warmup 0 --out out/run",
        "evaluate given/runs/roofs {} --device cpu --page out/p.png",
    ), "data"),
    Kind("arrays/a.npy", (*BYTES, *[change_array_header] * 6), ("prepare audit {} --workers 0",), "arrays"),
    Kind("arrays/a-labels.npy", (*BYTES, *[change_array_header] * 6), ("prepare audit {} --workers 0",), "arrays"),
    Kind("vectorize.toml", TOML, ("vectorize given/mask.tif --config {} --workers 0 --out out/b.gpkg",)),
    Kind("quick.toml", TOML, ("train given/data --config {} --steps 1 --out out/run",)),
    Kind("coco/annotations.json", JSON, (
        "prepare coco {} --images given --gsd 0.3 --workers 0 --out out/set", "prepare coco {} --images given --gsd 0.3 --as vectors --workers 0 --out out/set",
    ), "coco"),
    Kind("task/annotations.xml", TEXT, ("prepare cvat {} --gsd 0.3 --workers 0 --out out/set",), "task"),
    Kind("task.zip", (*BYTES, *[change_archive] * 6), ("prepare cvat {} --gsd 0.3 --workers 0 --out out/set",)),
    Kind("scene.zip", (*BYTES, *[change_archive] * 6), (f"infer /vsizip/{{}}/scene.tif --mask out/m.tif {BRIGHT}",)),
    Kind("scene.vrt", TEXT, (f"{INFER} {BRIGHT}", "plot {} --width 300 --out out/p.png")),
    Kind("items.json", JSON, (f"{INFER} {BRIGHT}",)),
    Kind("scenes.txt", TEXT, (f"{INFER} {BRIGHT}",)),
    Kind("aux/scene.tif.aux.xml", TEXT, (f"infer {{}}/scene.tif --out out/b.gpkg {BRIGHT}",), "aux"),
    Kind("logs/a/metrics.csv", TEXT, ("runs {} --curves out/c.png",), "logs"),
)  # fmt: skip


def furnish_sound(given: Path) -> None:
    """Write, beside all that commands read, sound files of the kinds that are not there yet."""
    frame = gpd.read_file(given / "buildings.gpkg", layer="buildings")
    for folder in ("shape", "arrays", "coco", "task", "aux", "logs/a"):
        (given / folder).mkdir(parents=True)
    frame.to_file(given / "b.fgb")
    frame.to_parquet(given / "b.parquet")
    table = pd.DataFrame(frame.drop(columns="geometry")).assign(geometry=frame.geometry.to_crs(4326).to_wkt())
    table.to_csv(given / "b.csv", index=False)
    frame[["id", "class", "geometry"]].to_file(given / "shape" / "b.shp")
    array_set(given / "arrays", side=64)
    write_lists(given)
    write_labels(given)


def write_lists(given: Path) -> None:
    """What stands for scenes, and what lies beside one."""
    with rasterio.open(given / "scene.tif") as dataset, WarpedVRT(dataset) as warped:
        rasterio.shutil.copy(warped, given / "scene.vrt", driver="VRT")
        Image.fromarray(np.moveaxis(dataset.read((1, 2, 3)), 0, -1)[:100]).save(given / "chip.png")
    text = (given / "scene.vrt").read_text()
    (given / "scene.vrt").write_text(text.replace(str(given), "..").replace("../scene.tif", "scene.tif"))
    item = {
        "type": "Feature",
        "id": "one",
        "properties": {"datetime": "2026-05-04T10:00:00Z"},
        "assets": {"image": {"href": str(given / "scene.tif"), "type": "image/tiff"}},
    }
    (given / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [item, {**item, "id": "two"}]})
    )
    (given / "scenes.txt").write_text(f"# scenes\n{given}/scene.tif\n{given}/scenes/north.tif\n")
    (given / "vectorize.toml").write_text(
        'min_area_m2 = 4.0\nregularize = true\nsplit = "touching"\ncrs = "EPSG:4326"\nclasses = ["1=house"]\n'
    )
    shutil.copy(given / "scene.tif", given / "aux")
    (given / "aux" / "scene.tif.aux.xml").write_text(
        '<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform> 320000, 0.3, 0, 5400000, 0, -0.3</GeoTransform><PAMRasterBand band="1">'
        "<NoDataValue>0</NoDataValue><Description>red</Description><Scale>1</Scale></PAMRasterBand></PAMDataset>"
    )
    rows = "".join(
        f"{step},{2 / (step + 1):.4f},0.0005,{step}.5,{1.5 if step % 3 == 2 else ''},{0.5 if step % 3 == 2 else ''}\n"
        for step in range(9)
    )
    (given / "logs" / "a" / "metrics.csv").write_text(
        f"step,loss,learning_rate,seconds,validation_loss,validation_iou\n{rows}"
    )


def write_labels(given: Path) -> None:
    """Labels of the scene as COCO and as CVAT write them, and archives."""
    outlines = [[10, 10, 60, 12, 58, 70, 9, 66], [100, 100, 160, 100, 160, 150, 100, 150]]
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "area": 2000,
            "bbox": [10, 10, 50, 60],
            "segmentation": [outline],
        }
        for number, outline in enumerate(outlines, 1)
    ]
    annotations.append(
        {
            "id": 3,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 1,
            "segmentation": {"size": [320, 320], "counts": [1000, 500, 100_900]},
        }
    )
    image = {"id": 1, "file_name": "scene.tif", "height": 320, "width": 320}
    labels = {"images": [image], "categories": [{"id": 1, "name": "building"}], "annotations": annotations}
    (given / "coco" / "annotations.json").write_text(json.dumps(labels))
    points = [
        ";".join(f"{x},{y}" for x, y in zip(outline[::2], outline[1::2], strict=True)) for outline in outlines
    ]
    shapes = "".join(f'<polygon label="building" points="{each}" z_order="0"/>\n' for each in points)
    shapes += '<box label="building" xtl="200" ytl="20" xbr="240" ybr="40" rotation="30"/>\n<mask label="building" rle="0, 3, 1, 2" left="10" top="5" width="3" height="2"/>'
    text = f'<?xml version="1.0"?>\n<annotations><version>1.1</version>\n<image id="0" name="scene.tif" width="320" height="320">\n{shapes}</image></annotations>'
    (given / "task" / "annotations.xml").write_text(text)
    shutil.copy(given / "scene.tif", given / "task")
    for name, members in (
        ("task.zip", ("task/annotations.xml", "task/scene.tif")),
        ("scene.zip", ("scene.tif",)),
    ):
        with zipfile.ZipFile(given / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in members:
                archive.write(given / member, Path(member).name)


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged file."""

    case: int
    file: str
    damage: str
    command: str
    exit_code: int
    seconds: float
    errors: tuple[str, ...]
    left: tuple[str, ...]
    trouble: str = ""

    @property
    def is_well(self) -> bool:
        """Whether the file could be used in spite of all, or was refused in one line, with nothing left."""
        if self.trouble:
            return False
        if self.exit_code == 0:
            return not self.errors
        return (
            self.exit_code in (1, 2)
            and len(self.errors) == 1
            and "--debug" not in self.errors[0]
            and not self.left
        )


def run_case(case: int, given: Path, folder: Path) -> Outcome:
    """Damage a file and give it to a command, all of it as the number says."""
    chance = np.random.default_rng(case)
    kind = KINDS[case % len(KINDS)]
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    (folder / "given").symlink_to(given)
    place = copy_sound(kind, given, folder / "bad")
    damage = damage_file(folder / "bad" / kind.name, kind.damages, chance)
    command = kind.commands[int(chance.integers(len(kind.commands)))].replace(
        "{}", str(place.relative_to(folder))
    )
    os.chdir(folder)
    start = time.process_time()
    exit_code, errors, trouble = invoke(command.split())
    left = tuple(list_left(folder / "out"))
    return Outcome(
        case, kind.file, damage, command, exit_code, time.process_time() - start, errors, left, trouble
    )


def list_left(out: Path) -> list[str]:
    """Files that were written. A data set or a training is whole once its last file is there, and goes on before."""
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    marks = [f"{folder}/{last}" for folder, last in UNFINISHED.items()]
    return [name for name in found if name.partition("/")[0] not in UNFINISHED or name in marks]


def copy_sound(kind: Kind, given: Path, bad: Path) -> Path:
    """A copy of the file, or of its folder, which is what a command is given."""
    bad.mkdir()
    if not kind.folder:
        return Path(shutil.copy(given / kind.file, bad / Path(kind.file).name))
    return Path(shutil.copytree(given / kind.folder, bad / Path(kind.folder).name))


def invoke(words: Sequence[str]) -> tuple[int, tuple[str, ...], str]:
    """Run a command in this process: its exit code, its lines of errors, and what went wrong beyond them."""
    from geoseg.cli.main import geoseg

    with limited_time():
        done = CliRunner().invoke(geoseg, words)
    errors = tuple(line[:300] for line in done.stderr.splitlines() if line.startswith("Error: "))
    is_traceback = "Traceback" in done.stderr or not isinstance(done.exception, (SystemExit, type(None)))
    return done.exit_code, errors, repr(done.exception) if is_traceback else ""


class HangError(BaseException):
    """A command has used up its time; no part of it takes this for an error of its own."""


@contextmanager
def limited_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangError

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def run_cases(given: Path, folder: Path, first: int, last: int) -> list[Outcome]:
    """Run cases in a process of their own; one that the process did not survive is told as ended by a signal."""
    command = [sys.executable, __file__, str(given), str(folder), str(first), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    outcomes = [
        Outcome(**{name: freeze(value) for name, value in each.items()}) for each in told if "case" in each
    ]
    if told and "begun" in told[-1]:
        words = (done.stderr[-300:],)
        outcomes.append(
            Outcome(told[-1]["begun"], "", "", "", done.returncode, 0, words, (), "the process has died")
        )
    return outcomes


def freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    given, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    for case in range(int(sys.argv[3]), int(sys.argv[4])):
        tell({"begun": case})
        tell(asdict(run_case(case, given, folder)))


if __name__ == "__main__":
    main()
