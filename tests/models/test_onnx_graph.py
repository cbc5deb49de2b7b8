"""What is read from ONNX files, against the onnx package and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError
from geoseg.models.onnx_graph import Message, read_onnx_graph, read_varint
from geoseg.models.store import BUILTIN, ONNX_FILE, list_builtin_models

OnnxWriter = Callable[..., Path]


@pytest.mark.parametrize("name", list_builtin_models())
def test_onnxruntime_finds_the_same_in_a_file(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = read_onnx_graph(BUILTIN / name / ONNX_FILE)
    session = onnxruntime.InferenceSession(graph.path)
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert graph.input_name == given.name
    assert graph.takes == tuple(size if isinstance(size, int) else None for size in given.shape)
    assert graph.gives == tuple(size if isinstance(size, int) else None for size in answer.shape)
    assert graph.metadata == session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize(
    ("network", "takes", "gives", "dtype"),
    [
        ({}, (None, 3, None, None), (None, 1, None, None), "float32"),
        ({"side": 96, "outputs": 4, "batch": 1}, (1, 3, 96, 96), (1, 4, 96, 96), "float32"),
        ({"bands": 200, "dtype": np.float16}, (None, 200, None, None), (None, 1, None, None), "float16"),
        ({"open_bands": True}, (None, None, None, None), (None, 1, None, None), "float32"),
    ],
)
def test_what_goes_in_and_comes_out_is_read(
    write_onnx: OnnxWriter, network: dict[str, Any], takes: object, gives: object, dtype: str
) -> None:
    graph = read_onnx_graph(write_onnx(**network, note={"ä": 1}))
    assert (graph.input_name, graph.takes, graph.gives, graph.dtype) == ("image", takes, gives, dtype)
    assert graph.metadata == {"note": '{"\\u00e4": 1}'}


@pytest.mark.parametrize(
    ("activation", "tail", "operation", "inside"),
    [
        (None, [], "Conv", False),
        (None, [("Cast", None), ("Identity", None)], "Conv", False),
        ("Sigmoid", [], "Sigmoid", True),
        ("Sigmoid", [("Identity", None), ("Identity", None)], "Sigmoid", True),
        ("Softmax", [], "Softmax", True),
        ("Sigmoid", [("Mul", 1.0)], "Mul", None),
        (None, [("Clip", 0.0)], "Clip", None),
    ],
)
def test_the_last_operation_that_means_something_tells_what_comes_out(
    write_onnx: OnnxWriter,
    activation: str | None,
    tail: Sequence[tuple[str, float | None]],
    operation: str,
    inside: bool | None,
) -> None:
    graph = read_onnx_graph(write_onnx(activation=activation, tail=tail))
    assert (graph.last_operation, graph.gives_probabilities) == (operation, inside)


def test_weights_that_old_files_list_as_inputs_are_none(write_onnx: OnnxWriter) -> None:
    path = write_onnx()
    import onnx

    document = onnx.load(path)
    document.graph.input.append(onnx.helper.make_tensor_value_info("kernel", 1, [1, 3, 1, 1]))
    onnx.save(document, path)
    assert read_onnx_graph(path).input_name == "image"


def test_a_network_of_two_images_is_refused(write_onnx: OnnxWriter) -> None:
    path = write_onnx()
    import onnx

    document = onnx.load(path)
    document.graph.input.append(onnx.helper.make_tensor_value_info("other", 1, [1, 3, 8, 8]))
    onnx.save(document, path)
    with pytest.raises(InputError, match=r"model.onnx: takes 2 inputs, not one image"):
        read_onnx_graph(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dtype": np.float64}, "takes other numbers than float32; export it with an input of float32"),
        ({"batch": 2}, "takes 2 patches at a time; export it for a batch of 1"),
    ],
)
def test_what_cannot_be_fed_is_refused(
    write_onnx: OnnxWriter, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=f"model.onnx: {complaint}"):
        read_onnx_graph(write_onnx(**changes))


@pytest.mark.parametrize("where", ["weights", "constant", "branch"])
def test_weights_in_other_files_are_refused(write_onnx: OnnxWriter, where: str) -> None:
    """Wherever a graph may hold them: such a file could name any other one of this machine."""
    path = write_onnx()
    import onnx

    document = onnx.load(path)
    outside = onnx.TensorProto(name="outside", data_type=1, dims=[1], data_location=1)
    outside.external_data.add(key="location", value="../private.key")
    constant = onnx.helper.make_node("Constant", [], ["more"], value=outside)
    branch = onnx.helper.make_graph([constant], "branch", [], [])
    if where == "weights":
        document.graph.initializer.append(outside)
    else:
        choice = onnx.helper.make_node("If", ["image"], ["more"], then_branch=branch, else_branch=branch)
        document.graph.node.append(constant if where == "constant" else choice)
    path.write_bytes(document.SerializeToString())
    with pytest.raises(InputError, match=r"model.onnx: keeps weights in another file \(\.\./private\.key\)"):
        read_onnx_graph(path)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x3a", b"\x3a\xff\xff\xff\xff"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"model.onnx: not an ONNX model that can be read \("):
        read_onnx_graph(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.9999])
def test_a_file_that_ends_too_soon_is_refused(tmp_path: Path, share: float) -> None:
    whole = (BUILTIN / "default" / ONNX_FILE).read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"model.onnx: not an ONNX model that can be read \("):
        read_onnx_graph(tmp_path / "model.onnx")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.onnx: not an ONNX model that can be read \(.*No such file"):
        read_onnx_graph(tmp_path / "model.onnx")


@given(st.integers(0, 2**64 - 1))
def test_whole_numbers_are_read_as_they_are_written(number: int) -> None:
    groups = [number >> shift & 127 for shift in range(0, max(1, number.bit_length()), 7)]
    written = bytes([group | 128 for group in groups[:-1]] + groups[-1:])
    assert read_varint(memoryview(written + b"x"), 0) == (number, len(written))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        message = Message(data)
    except ValueError:
        return
    assert sum(map(len, message.fields.values())) <= len(data)
