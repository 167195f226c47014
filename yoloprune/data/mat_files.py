"""Reading MATLAB's level 5 .mat files: numbers, cells and structs.

SciPy's reader crashes the interpreter on some damaged files; this one checks every length.

Format: The MathWorks, "MAT-File Format", level 5 (versions 5 to 7).
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = "NDArray[np.float64] | tuple[Value, ...] | list[dict[str, Value]] | None"
"""An array of numbers; a cell array; an array of structs; None for what is not read here."""

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
            13: "u8", 16: "u1", 17: "u2", 18: "u4"}  # fmt: skip
_INTEGERS = range(1, 7)
_CELL, _STRUCT, _CHARACTERS = 1, 2, 4
_NUMERIC_CLASSES = range(6, 16)
_DEEPEST = 16

MOST_BYTES = 1 << 23
"""Of a file, and of all its parts unpacked: empty cells take forty times as much in memory."""


def read_mat(data: bytes) -> dict[str, Value]:
    """Read the variables of a .mat file.

    Arrays have their own shape; cells and structs come as sequences in MATLAB's (column) order.
    Characters are read as their codes. Raises `ValueError` if the file is damaged, too large, or of
    another version.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("not a level 5 .mat file")
    variables: dict[str, Value] = {}
    reader, room = _Reader(order), MOST_BYTES
    for kind, content in reader.elements(data[_HEADER:]):
        if kind == _COMPRESSED:
            unpacked = _inflated(content, room)
            room -= len(unpacked)
            kind, content = next(reader.elements(unpacked), (0, b""))
        if kind == _MATRIX:
            name, value = reader.matrix(content, 0)
            variables[name] = value
    return variables


class _Reader:
    """Reads elements of one byte order ("<" or ">")."""

    def __init__(self, order: str) -> None:
        self.order = order

    def elements(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Type and content of one element after the other."""
        position = 0
        while position + 8 <= len(data):
            kind, length = struct.unpack_from(self.order + "II", data, position)
            start, room = position + 8, len(data) - position - 8
            padded = -(-length // 8) * 8
            if kind >> 16:
                # Up to four bytes fit into the element's head.
                kind, length = kind & 0xFFFF, kind >> 16
                start, room, padded = position + 4, 4, 4
            elif kind == _COMPRESSED:
                padded = length
            if length > room:
                raise ValueError(f"an element of {length} bytes where {room} are left")
            yield kind, data[start : start + length]
            position = start + padded

    def matrix(self, data: bytes, depth: int) -> tuple[str, Value]:
        """Name and value of a matrix element."""
        if depth > _DEEPEST:
            raise ValueError(f"cells and structs more than {_DEEPEST} deep")
        if not data:
            return "", np.zeros((0, 0))
        parts = self.elements(data)
        flags, shape = (self._integers(next(parts, (0, b""))) for _ in range(2))
        name = bytes(next(parts, (0, b""))[1]).decode("ascii", "replace")
        if len(flags) != 2 or len(shape) < 2 or min(shape) < 0:
            raise ValueError("a matrix without a class or a shape")
        kind, count = flags[0] & 0xFF, math.prod(shape)
        if kind == _CELL:
            return name, tuple(self._matrices(parts, count, depth))
        if kind == _STRUCT:
            return name, self._structs(parts, count, depth)
        if kind in _NUMERIC_CLASSES or kind == _CHARACTERS:
            numbers = self._numbers(next(parts, (1, b"")))
            if len(numbers) != count:
                raise ValueError(f"{len(numbers)} numbers for a shape of {count}")
            return name, numbers.reshape(shape, order="F")
        return name, None

    def _structs(
        self, parts: Iterator[tuple[int, bytes]], count: int, depth: int
    ) -> list[dict[str, Value]]:
        lengths = self._integers(next(parts, (0, b"")))
        length, names = max(lengths, default=0), next(parts, (0, b""))[1]
        if length < 1 or len(names) % length:
            raise ValueError("a struct without field names")
        fields = [
            names[start : start + length].split(b"\0")[0].decode("ascii", "replace")
            for start in range(0, len(names), length)
        ]
        if not fields:
            return []
        values = self._matrices(parts, count * len(fields), depth)
        return [
            dict(zip(fields, row, strict=True)) for row in zip(*[values] * len(fields), strict=True)
        ]

    def _matrices(
        self, parts: Iterator[tuple[int, bytes]], count: int, depth: int
    ) -> Iterator[Value]:
        for _ in range(count):
            kind, content = next(parts, (0, b""))
            if kind != _MATRIX:
                raise ValueError(f"{count} parts were announced, but there are fewer")
            yield self.matrix(content, depth + 1)[1]

    def _numbers(self, element: tuple[int, bytes]) -> NDArray[np.float64]:
        kind, content = element
        if kind not in _NUMBERS:
            raise ValueError(f"numbers of an unknown type {kind}")
        stored = np.dtype(self.order + _NUMBERS[kind])
        if len(content) % stored.itemsize:
            raise ValueError("an array that ends within a number")
        with np.errstate(invalid="ignore"):
            return np.frombuffer(content, stored).astype(np.float64)

    def _integers(self, element: tuple[int, bytes]) -> list[int]:
        if element[0] not in _INTEGERS:
            raise ValueError(f"integers of an unknown type {element[0]}")
        return [int(number) for number in self._numbers(element)]


def _inflated(data: bytes, room: int) -> bytes:
    try:
        content = zlib.decompressobj().decompress(data, room + 1)
    except zlib.error as error:
        raise ValueError(f"damaged compressed data: {error}") from None
    if len(content) > room:
        raise ValueError(f"unpacks to more than {MOST_BYTES >> 20} MiB")
    return content
