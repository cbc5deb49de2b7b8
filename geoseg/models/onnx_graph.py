"""What an ONNX file says of itself: what goes in, what comes out, of which operation, and its metadata.

A file is one message of Protocol Buffers. The few fields that are wanted are read where they lie, by the numbers that
onnx.proto gives them, so that neither the onnx package nor an engine is needed to look into a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError

AxisSize = int | None
"""A length along one axis; None where the file leaves it open."""
Axes = tuple[AxisSize, AxisSize, AxisSize, AxisSize]

LARGEST_SIZE = 2**31
FED_TYPES = {1: "float32", 10: "float16"}
"""Types of an input that pixels can be turned into, by their numbers in TensorProto.DataType."""

EXTERNAL = 1
"""Where a tensor's data lie, in TensorProto.DataLocation: in another file."""

PROBABILITY_OPERATIONS = {"Sigmoid", "Softmax", "HardSigmoid"}
LOGIT_OPERATIONS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LogSoftmax"}
PASSING_OPERATIONS = {
    "Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Resize", "Upsample",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
"""What moves values, or rounds them, and leaves their meaning as it is."""


@dataclass(frozen=True)
class OnnxGraph:
    """What a network takes and gives: axes are batch, band or channel, row and column."""

    path: Path
    input_name: str
    dtype: str
    takes: Axes
    gives: Axes
    last_operation: str
    metadata: Mapping[str, str]

    @property
    def gives_probabilities(self) -> bool | None:
        """Whether the activation is inside the network; None where its last operation does not tell."""
        if self.last_operation in PROBABILITY_OPERATIONS:
            return True
        return False if self.last_operation in LOGIT_OPERATIONS else None


def read_onnx_graph(path: Path) -> OnnxGraph:
    """What a file says of itself, or one line on why no scene can be fed to it."""
    try:
        return describe_graph(path, Message(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an ONNX model that can be read ({error})") from error


def describe_graph(path: Path, document: Message) -> OnnxGraph:
    graph = document.message(7)
    if not graph.messages(1):
        raise ValueError("it holds no network")
    refuse_other_files(path, document)
    weights = {tensor.text(8) for tensor in graph.messages(5)}
    inputs = [each for each in graph.messages(11) if each.text(1) not in weights]
    if len(inputs) != 1:
        raise InputError(f"{path}: takes {len(inputs)} inputs, not one image")
    taken, given = (each.message(2).message(1) for each in (inputs[0], graph.message(12)))
    if taken.number(1) not in FED_TYPES:
        raise InputError(f"{path}: takes other numbers than float32; export it with an input of float32")
    takes = read_axes(taken, f"{path}: its input")
    if takes[0] not in (None, 1):
        raise InputError(f"{path}: takes {takes[0]} patches at a time; export it for a batch of 1")
    return OnnxGraph(
        path,
        inputs[0].text(1),
        FED_TYPES[taken.number(1)],
        takes,
        read_axes(given, f"{path}: its output"),
        find_last_operation(graph),
        {entry.text(1): entry.text(2) for entry in document.messages(14)},
    )


def refuse_other_files(path: Path, document: Message) -> None:
    """Refuse weights that lie in other files: a model from elsewhere could name any file of this machine."""
    nodes = [node for function in document.messages(25) for node in function.messages(7)]
    for tensor in (*list_tensors(document.message(7)), *list_node_tensors(nodes)):
        if tensor.fields[13] or tensor.number(14) == EXTERNAL:
            file = next((entry.text(2) for entry in tensor.messages(13) if entry.text(1) == "location"), "")
            raise InputError(
                f"{path}: keeps weights in another file ({file}), which is not opened; save it as one file: "
                "onnx.save(onnx.load(path), path)"
            )


def list_tensors(graph: Message) -> Iterator[Message]:
    """All weights and constants of a graph, and of those within it."""
    yield from graph.messages(5)
    for sparse in graph.messages(15):
        yield from (*sparse.messages(1), *sparse.messages(2))
    yield from list_node_tensors(graph.messages(1))


def list_node_tensors(nodes: Sequence[Message]) -> Iterator[Message]:
    for attribute in (each for node in nodes for each in node.messages(5)):
        yield from (*attribute.messages(5), *attribute.messages(10))
        for graph in (*attribute.messages(6), *attribute.messages(11)):
            yield from list_tensors(graph)


def read_axes(tensor: Message, what: str) -> Axes:
    sizes = [axis.number(1) for axis in tensor.message(2).messages(1)]
    if len(sizes) != 4:
        raise InputError(f"{what} has {len(sizes)} dimensions, not batch, bands, rows and columns")
    batch, channels, rows, cols = (size if 0 < size < LARGEST_SIZE else None for size in sizes)
    return batch, channels, rows, cols


def find_last_operation(graph: Message) -> str:
    """The operation that the answer comes out of, but for those that leave its meaning as it is."""
    makers = {name: node for node in graph.messages(1) for name in node.texts(2)}
    node = makers.get(graph.message(12).text(1))
    while node and node.text(4) in PASSING_OPERATIONS and node.texts(1)[0] in makers:
        node = makers[node.texts(1)[0]]
    return node.text(4) if node else ""


class Message:
    """A message of Protocol Buffers: its fields by number, each with as many values as stand there."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.fields: defaultdict[int, list[int | memoryview]] = defaultdict(list)
        view, at = memoryview(data), 0
        while at < len(view):
            key, at = read_varint(view, at)
            value, at = read_value(view, at, key & 7)
            self.fields[key >> 3].append(value)

    def messages(self, field: int) -> list[Message]:
        return [Message(value) for value in self.fields[field] if isinstance(value, memoryview)]

    def message(self, field: int) -> Message:
        """The first message of a field; one that is left out is empty."""
        return next(iter(self.messages(field)), EMPTY)

    def texts(self, field: int) -> list[str]:
        return [str(value, "utf-8", "replace") for value in self.fields[field] if not isinstance(value, int)]

    def text(self, field: int) -> str:
        return next(iter(self.texts(field)), "")

    def number(self, field: int) -> int:
        return next((value for value in self.fields[field] if isinstance(value, int)), 0)


EMPTY = Message(b"")


def read_value(view: memoryview, at: int, kind: int) -> tuple[int | memoryview, int]:
    """A field's value and where the next field begins."""
    if kind == 0:
        return read_varint(view, at)
    if kind == 2:
        size, at = read_varint(view, at)
    elif kind in (1, 5):
        size = 8 if kind == 1 else 4
    else:
        raise ValueError("it is no message of Protocol Buffers")
    if at + size > len(view):
        raise ValueError("it ends too soon")
    return view[at : at + size], at + size


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, the lowest first; all bytes but the last have the eighth bit set."""
    number = shift = 0
    while at < len(view):
        byte = view[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return number, at
    raise ValueError("it ends too soon")
