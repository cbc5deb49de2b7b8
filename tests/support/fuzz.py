"""Coverage-guided fuzzing of geoseg's own parsers: python tests/support/fuzz.py TARGET [SECONDS] [CORPUS].

It needs atheris (`pip install atheris`, in an environment of its own beside geoseg). A parser may raise ValueError or
InputError, as it says; anything else stops the run, and the bytes that led to it lie in crash-* in this folder.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["geoseg"]):
    from geoseg.datasets.classes import parse_class_table
    from geoseg.datasets.coco.labels import draw_segmentation
    from geoseg.datasets.coco.reader import read_elements
    from geoseg.datasets.cvat.annotations import draw_shape, read_annotations
    from geoseg.datasets.schema import read_dataset
    from geoseg.errors import InputError, hide_secrets
    from geoseg.io.trust import check_virtual_raster
    from geoseg.models.architecture import read_architecture
    from geoseg.models.card import Card
    from geoseg.models.onnx_card import read_onnx_card
    from geoseg.raster.dates import parse_date
    from geoseg.raster.exif import CameraTags
    from geoseg.raster.lists import expand_lists, name_scenes
    from geoseg.records import parse_json, parse_toml
    from geoseg.regions.points import read_points
    from geoseg.training.losses import parse_loss

SCRATCH = Path(tempfile.mkdtemp(prefix="geoseg-fuzz-"))
BANDS = ("red", "green", "blue", "nir")
SIDE = 16


def write(name: str, content: bytes) -> Path:
    path = SCRATCH / name
    path.write_bytes(content)
    return path


def decode(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def read_camera(content: bytes) -> None:
    text = decode(content)
    keys = ("EXIF_FocalLength", "EXIF_FocalLengthIn35mmFilm", "EXIF_PixelXDimension", "EXIF_PixelYDimension")
    CameraTags(dict(zip(keys, text.split("|"), strict=False)), text, SIDE, SIDE).find_pixel_size_m()


def read_shapes(content: bytes) -> None:
    for image in read_annotations(write("annotations.xml", content)).images:
        for shape in image.shapes:
            draw_shape(shape, SIDE, SIDE)


def read_scenes(content: bytes, name: str) -> None:
    name_scenes(list(expand_lists([str(write(name, content))])))


TARGETS: dict[str, Callable[[bytes], object]] = {
    "onnx": lambda content: read_onnx_card(write("m.onnx", content)),
    "card": lambda content: Card.parse(decode(content), "card.json"),
    "config": lambda content: read_architecture(write("config.json", content)),
    "dataset": lambda content: read_dataset(write("dataset.toml", content)),
    "toml": lambda content: parse_toml(decode(content)),
    "coco": lambda content: list(read_elements(write("coco.json", content), chunk=32)),
    "segmentation": lambda content: draw_segmentation(parse_json(content), SIDE, SIDE),
    "cvat": read_shapes,
    "vrt": lambda content: check_virtual_raster(write("s.vrt", content), 0, trusted=False),
    "stac": lambda content: read_scenes(content, "s.json"),
    "list": lambda content: read_scenes(content, "s.txt"),
    "points": lambda content: read_points(write("p.csv", content)),
    "camera": read_camera,
    "date": lambda content: parse_date(decode(content)),
    "loss": lambda content: parse_loss(decode(content), yes_no=True),
    "classes": lambda content: parse_class_table(decode(content)),
    "secrets": lambda content: hide_secrets(decode(content)),
}


def main() -> None:
    target, seconds, corpus = TARGETS[sys.argv[1]], *(sys.argv[2:3] or ["60"]), sys.argv[3:]

    def ask(content: bytes) -> None:
        with suppress(InputError, ValueError):
            target(content)

    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            "-timeout=20",
            "-rss_limit_mb=4000",
            "-max_len=4096",
            *corpus,
        ],
        ask,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
