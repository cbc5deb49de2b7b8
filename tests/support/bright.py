"""A network that takes what is bright for a building: its answer is known before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import card
from numpy.typing import NDArray
from PIL import Image

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
    quality = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(values).save(path, **quality, **options)
    return path


def make_drone_tags(altitude: str = "+100.00", pitch: str = "-90.00", **exif: float) -> dict[str, Any]:
    """What a DJI Phantom 4 Pro writes into a photograph, as keywords of `Image.save`."""
    tags = Image.Exif()
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
