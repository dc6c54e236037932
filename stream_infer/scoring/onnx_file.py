"""What an ONNX file says of itself, read without loading it: a check before the runtime's.

The runtime would open whatever file a tensor names as its external data, and would set aside
the memory that a tensor's shape asks for, before anybody could say no. So the file is looked at
first: opsets, the size of what it declares, and whether any tensor's data lie elsewhere.

Only the outer fields are walked. They are few, since a node is passed over by its length; every
tensor inside of a node is looked at only in a file that holds the word ``location`` at all,
without which no tensor's data can lie elsewhere.

Source  onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto), and the
        encoding of Protocol Buffers
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from stream_infer.errors import InvalidDataError

MODEL_BYTES_MAX = 512 * 1024 * 1024
"""Of a file, and of the tensors that it declares. A thousand trees take 5 MB."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1
_DEPTH_MAX = 64
_ITEM_BYTES = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16,
    16: 2,
}  # fmt: skip
"""TensorProto.DataType -> bytes of one item; others, strings too, count as one byte."""


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What is known of a file.

    opsets         domain -> version; the standard's own domain is ``""``
    tensor_bytes   what its initializers' shapes ask for
    external       whether a tensor's data lie in another file
    """

    opsets: dict[str, int]
    tensor_bytes: int
    external: bool


def examine(content: bytes) -> OnnxFacts:
    """Return what an ONNX file says of itself.

    Raises  InvalidDataError ``model_unreadable`` where it is no such file, or is cut short
    Cost    O(nodes), tens of ns a byte of a file with the word ``location`` in a node
    """
    facts = _Facts(deep=b"location" in content)
    try:
        for number, value in _fields(memoryview(content)):
            if number == 7:
                facts.graph(_message(value), 0)
            elif number == 8:
                facts.opset(_message(value))
            elif number == 25 and facts.deep:  # functions of the model: bodies like a graph's
                facts.function(_message(value))
    except _WireError as error:
        raise InvalidDataError(
            "model_unreadable",
            f"The file is no ONNX model, or is cut short: {error}.",
            "Copy the model's folder again, or export the model again.",
        ) from error
    if not facts.opsets:
        raise InvalidDataError(
            "model_unreadable",
            "The file is no ONNX model: it names no opset.",
            "Copy the model's folder again, or export the model again.",
        )
    return OnnxFacts(facts.opsets, facts.tensor_bytes, facts.external)


class _WireError(ValueError):
    """The bytes are no message."""


class _Facts:
    def __init__(self, *, deep: bool) -> None:
        self.deep = deep
        self.opsets: dict[str, int] = {}
        self.tensor_bytes = 0
        self.external = False

    def opset(self, message: memoryview) -> None:
        domain, version = "", 0
        for number, value in _fields(message):
            if number == 1:
                domain = bytes(_message(value)).decode("utf-8", "replace")
            elif number == 2 and isinstance(value, int):
                version = value
        self.opsets[domain] = version

    def graph(self, message: memoryview, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise _WireError("graphs inside graphs have no end")
        for number, value in _fields(message):
            if number == 5:
                self.tensor(_message(value))
            elif number == 15:
                self.sparse(_message(value))
            elif number == 1 and self.deep:
                self.node(_message(value), depth)

    def function(self, message: memoryview) -> None:
        for number, value in _fields(message):
            if number == 7:
                self.node(_message(value), 0)

    def node(self, message: memoryview, depth: int) -> None:
        for number, value in _fields(message):
            if number == 5:
                self.attribute(_message(value), depth)

    def attribute(self, message: memoryview, depth: int) -> None:
        for number, value in _fields(message):
            if number in (5, 10):
                self.tensor(_message(value))
            elif number in (6, 11):
                self.graph(_message(value), depth + 1)
            elif number in (22, 23):
                self.sparse(_message(value))

    def sparse(self, message: memoryview) -> None:
        for number, value in _fields(message):
            if number in (1, 2):
                self.tensor(_message(value))

    def tensor(self, message: memoryview) -> None:
        shape: list[int] = []
        kind = 0
        for number, value in _fields(message):
            if number == 1:
                shape += [value] if isinstance(value, int) else _varints(value)
            elif number == 2 and isinstance(value, int):
                kind = value
            elif number == 13 or (number == 14 and value == _EXTERNAL):
                self.external = True
        self.tensor_bytes += max(0, prod(shape)) * _ITEM_BYTES.get(kind, 1)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _WireError("a number stands where a message belongs")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field number and value of a message; of fixed-width numbers, their bytes."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise _WireError(f"a field has the unknown form {kind}")
        if at + size > end:
            raise _WireError("a field is longer than what is there")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise _WireError("a number has no end")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(message: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(message):
        value, at = _varint(message, at)
        found.append(value)
    return found
