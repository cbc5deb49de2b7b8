"""Small networks and ONNX files for the tests of the model room."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import card, photo

from geoseg.models.card import Card
from geoseg.models.store import Model, save_model
from geoseg.raster.palette import ClassEntry

Saver = Callable[..., Model]
OnnxWriter = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads would spend more time waiting for one another than on networks this small."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def copied(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to do harm to."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copied"))


@pytest.fixture
def small_unet() -> Callable[..., Any]:
    def build(**arguments: Any) -> Any:
        torch = pytest.importorskip("torch")
        import segmentation_models_pytorch as smp

        torch.manual_seed(1)
        small = {"encoder_depth": 3, "encoder_weights": None, "decoder_channels": (16, 8, 8)}
        return smp.Unet("resnet18", **{**small, **arguments})

    return build


@pytest.fixture
def saved(tmp_path: Path) -> Saver:
    """Write a network with a card that fits it."""

    def save(network: Any, bands: int = 3, outputs: int = 1, check: bool = False, **changes: Any) -> Model:
        fitting = fitting_card(bands, outputs, **changes)
        patches = photo(64, 64, bands)[None] if check else None
        return save_model(tmp_path / "saved", network, fitting, patches)

    return save


def fitting_card(bands: int, outputs: int, **changes: Any) -> Card:
    names = ("background", *(f"class {i}" for i in range(1, max(2, outputs))))
    return card(
        **{
            "bands": tuple(f"band {i}" for i in range(bands)),
            "classes": tuple(ClassEntry(name, "#e4572e") for name in names),
            "activation": "sigmoid" if outputs == 1 else "softmax",
            "scaling": card().scaling if bands == 3 else type(card().scaling)(mean=(0.4,), std=(0.2,)),
            **changes,
        }
    )


@pytest.fixture
def write_onnx(tmp_path: Path) -> OnnxWriter:
    """Write a network of one 1 x 1 convolution, as other programs write theirs.

    `tail` are operations after its activation, each with a constant as its second input where there is one.
    """

    def write(
        name: str = "model.onnx",
        *,
        bands: int = 3,
        outputs: int = 1,
        activation: str | None = None,
        side: int | None = None,
        batch: int | str = "batch",
        dtype: type[np.floating[Any]] = np.float32,
        open_bands: bool = False,
        weight: float | None = None,
        tail: Sequence[tuple[str, float | None]] = (),
        **metadata: Any,
    ) -> Path:
        pytest.importorskip("onnx")
        from onnx import helper, numpy_helper, save

        weights = onnx_kernel(bands, outputs) if weight is None else np.full((outputs, bands), weight)
        constants = [numpy_helper.from_array(weights.astype(dtype)[:, :, None, None], "kernel")]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        size = [side or "rows", side or "cols"]
        taken = "bands" if open_bands else bands
        nodes = [helper.make_node("Conv", ["image", "kernel"], ["logits"])]
        if activation:
            axis = {"axis": 1} if activation == "Softmax" else {}
            nodes.append(helper.make_node(activation, ["logits"], ["activated"], **axis))
        for i, (operation, constant) in enumerate(tail):
            given = [nodes[-1].output[0]]
            if constant is not None:
                constants.append(numpy_helper.from_array(np.array(constant, dtype), f"constant{i}"))
                given.append(f"constant{i}")
            nodes.append(helper.make_node(operation, given, [f"tail{i}"]))
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("image", kind, [batch, taken, *size])],
            [helper.make_tensor_value_info(nodes[-1].output[0], kind, [batch, outputs, *size])],
            constants,
        )
        document = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        for key, value in metadata.items():
            text = value.decode() if isinstance(value, bytes) else json.dumps(value)
            document.metadata_props.add(key=key, value=text)
        # What other programs write is no JSON at times: bytes stand as they are.
        path = tmp_path / name
        save(document, path)
        return path

    return write


def onnx_kernel(bands: int, outputs: int) -> Any:
    return np.random.default_rng(3).normal(0, 2, (outputs, bands))
