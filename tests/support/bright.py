"""A network that takes what is bright for a building: its answer is known before it is asked."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import card
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from geoseg.models.onnx_card import CARD_KEY
from geoseg.raster.palette import ClassEntry

ENGINE = {"engine": "openvino", "precision": "fp32", "device": "cpu"}
BOX = (slice(30, 60), slice(20, 70))
"""The rows and columns of the building in `picture`."""


def write_bright_model(folder: Path, **changes: Any) -> Path:
    """The network as an ONNX file of one 1 x 1 convolution, with its card inside."""
    return write_pixel_model(
        folder / "bright.onnx", [[4.0, 4.0, 4.0]], [0.0], **{"name": "bright", **changes}
    )


ROOFS = (
    ClassEntry("background", "#000000"),
    ClassEntry("red roof", "#d7301f"),
    ClassEntry("green roof", "#31a354"),
    ClassEntry("blue roof", "#2b8cbe"),
)


def write_color_model(folder: Path) -> Path:
    """A network of several classes: roofs by their colour; what has none is background."""
    kernel = [[0.0, 0.0, 0.0], [4.0, -2.0, -2.0], [-2.0, 4.0, -2.0], [-2.0, -2.0, 4.0]]
    about = {"name": "colours", "classes": ROOFS, "activation": "softmax", "min_area_m2": 4.0}
    return write_pixel_model(folder / "colours.onnx", kernel, [2.0, 0.0, 0.0, 0.0], **about)


def write_pixel_model(
    path: Path, kernel: Sequence[Sequence[float]], bias: Sequence[float], **changes: Any
) -> Path:
    """An ONNX file of one 1 x 1 convolution, with a card inside: the answer to a pixel depends on that pixel alone."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.array(kernel, np.float32)[..., None, None]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"])],
        path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "rows", "cols"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(weights), "rows", "cols"])],
        [
            numpy_helper.from_array(weights, "kernel"),
            numpy_helper.from_array(np.array(bias, np.float32), "bias"),
        ],
    )
    document = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    document.metadata_props.add(key=CARD_KEY, value=card(**changes).to_json())
    save(document, path)
    return path


def draw_picture(
    height: int = 100, width: int = 120, boxes: Sequence[tuple[slice, slice]] = (BOX,)
) -> NDArray[Any]:
    """A dark picture (row, col, band) with bright boxes."""
    values = np.full((height, width, 3), 20, np.uint8)
    for box in boxes:
        values[box] = 240
    return values


def save_picture(path: Path, values: NDArray[Any], **options: Any) -> Path:
    """A picture without a place, lossless enough for its boxes to keep their edges."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png" and "xmp" in options:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
    quality = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(values).save(path, **quality, **options)
    return path


def make_drone_tags(altitude: str = "+100.00", pitch: str = "-90.00", **exif: float) -> dict[str, Any]:
    """What a DJI Phantom 4 Pro writes into a photograph, as keywords of `Image.save`."""
    tags = Image.Exif()
    tags[0x010F] = "DJI"
    numbers = {"FocalLength": (0x920A, 8.8), "FocalLengthIn35mmFilm": (0xA405, 24)}
    sizes = {"PixelXDimension": 0xA002, "PixelYDimension": 0xA003}
    camera = tags.get_ifd(0x8769)
    for number, value in numbers.values():
        camera[number] = value
    for name, value in exif.items():
        camera[sizes[name]] = value
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" '
        f'drone-dji:RelativeAltitude="{altitude}" drone-dji:GimbalPitchDegree="{pitch}"/></rdf:RDF></x:xmpmeta>'
    )
    return {"exif": tags, "xmp": packet.encode()}


def save_tiff_photo(path: Path, values: NDArray[np.uint8], tags: dict[str, Any]) -> Path:
    """A TIFF as cameras write it, with their tags in a directory of its own: Pillow and GDAL leave that out."""
    height, width, _ = values.shape
    camera = dict(tags["exif"].get_ifd(0x8769))
    packet: bytes = tags["xmp"]
    start = 8 + values.nbytes
    rationals = start + len(packet)
    head = rationals + 8 * len(camera)
    pairs = b"".join(struct.pack("<II", round(value * 1000), 1000) for value in camera.values())
    entries = [(number, 5, 1, rationals + 8 * i) for i, number in enumerate(camera)]
    own = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
        (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, values.nbytes), (700, 1, len(packet), start),
        (0x8769, 4, 1, head + 2 + 12 * 11 + 4),
    ]  # fmt: skip
    directories = pack_directory(own) + pack_directory(sorted(entries))
    path.write_bytes(struct.pack("<2sHI", b"II", 42, head) + values.tobytes() + packet + pairs + directories)
    return path


def pack_directory(entries: Sequence[tuple[int, int, int, int]]) -> bytes:
    """A directory of a TIFF: each entry has a number, a type, a count, and a value or where it lies."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + bytes(4)
