"""Seeded ways to damage a file: bytes, words of a text, values of a document."""

import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Random: TypeAlias = np.random.Generator
Change: TypeAlias = Callable[[Random, bytes], bytes]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file, laid out in a folder of its own.

    `path` is the file that is damaged, `read` what reads it: it may raise only what is shown as one
    line. `command` reads it too, and is run more seldom. `whole` makes a damaged input's checksums
    fit.
    """

    path: Path
    samples: Sequence[bytes]
    changes: Sequence[Change]
    read: Callable[[], object]
    command: tuple[object, ...] | None = None
    whole: Change | None = None


LONGEST = 1 << 21
"""Bytes of an input after its changes: what is larger tests the clock alone."""

NUMBERS = ("0", "-1", "1", "2", "3", "1e9", "-1e9", "999999999999", "2147483648", "9" * 5000,
           "9223372036854775808", "1e400", "nan", "inf", "-inf", "0.0", "0x10", "1_0", "-0",
           "1e-320", "65536", "\u0663", "", ".", "1.5")  # fmt: skip
WORDS = ("", " ", "\0", "\n", "\r", "\t", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "caf\u00e9",
         "\U0001f600", "..", "/", "../../etc/passwd", "/dev/zero", "\\", "#", ";", "=", "[", "]",
         "{", "}", "<", ">", "&amp;", "&x;", "<!DOCTYPE a [<!ENTITY x 'y'>]>", ",", ":", "-", "'",
         '"', "null", "true", "*a", "&a", "!!python/object:os.system", "x" * 300)  # fmt: skip
_INTEGERS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x100000, 0x3B9ACA00, 0x7FFFFFFF, 0xFFFFFFFF)
_TOKEN = re.compile(rb"-?\d[\d.eE+-]*|\w+|[^\w\s]")


def some(random: Random, choices: Sequence[Any]) -> Any:
    """One of several."""
    return choices[int(random.integers(len(choices)))]


def change_bytes(random: Random, data: bytes) -> bytes:
    """One damage that knows nothing of the format."""
    size = len(data)
    first = int(random.integers(size + 1))
    last = min(size, first + int(some(random, (1, 2, 4, 16, 256, size))))
    match random.integers(10):
        case 0:
            return data[:first]
        case 1:
            return data[:first] + data[last:]
        case 2:
            return data[:first] + random.bytes(int(random.integers(1, 17))) + data[first:]
        case 3:
            copies = int(some(random, (2, 3, 100, 10_000)))
            copies = max(1, min(copies, LONGEST // max(1, last - first)))
            return data[:first] + data[first:last] * copies + data[last:]
        case 4:
            return data[last:] + data[:last]
        case 5 | 6:
            code = some(random, ("<I", ">I", "<H", ">H", "<Q", ">Q"))
            value = some(random, _INTEGERS) & ((1 << 8 * struct.calcsize(code)) - 1)
            number = struct.pack(code, value)
            return data[:first] + number + data[first + len(number) :]
        case _:
            changed = bytearray(data)
            for place in random.integers(0, max(1, size), random.integers(1, 9)).tolist():
                if place < size:
                    changed[place] ^= 1 << int(random.integers(8))
            return bytes(changed)


def change_text(random: Random, data: bytes) -> bytes:
    """One damage to the words, numbers or lines of a text."""
    tokens = [match.span() for match in _TOKEN.finditer(data)]
    lines = data.split(b"\n")
    if not tokens:
        return change_bytes(random, data)
    (first, last), (other, end) = some(random, tokens), some(random, tokens)
    line = int(random.integers(len(lines)))
    match random.integers(8):
        case 0 | 1:
            return data[:first] + some(random, NUMBERS).encode() + data[last:]
        case 2:
            return data[:first] + some(random, WORDS).encode() + data[last:]
        case 3:
            return data[:first] + data[other:end] + data[last:]
        case 4:
            del lines[line : line + int(random.integers(1, 5))]
            return b"\n".join(lines)
        case 5:
            lines.insert(line, some(random, lines))
            return b"\n".join(lines)
        case 6:
            copies = min(int(some(random, (2, 100, 3000))), LONGEST // (len(lines[line]) + 1))
            return b"\n".join([*lines[:line], *[lines[line]] * copies, *lines[line:]])
        case _:
            opening = some(random, (b"[", b"{", b"<a>", b'{"a":', b"- ", b"&a [*a,", b"(", b" "))
            return data[:first] + opening * int(some(random, (10, 1000, 100_000))) + data[first:]


def change_json(random: Random, data: bytes) -> bytes:
    """One value of a JSON document made another one, taken away, renamed or repeated."""
    document = json.loads(data)
    places = list(_places(document))
    if not places or random.integers(8) == 0:
        return json.dumps(_value(random, document)).encode()
    parent, key = some(random, places)
    match random.integers(5):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[some(random, ("", "x", "1", "\ud800", "\0", "9" * 30, "x" * 300))] = parent[key]
        case 2:
            other, name = some(random, places)
            parent[key] = other[name]
        case _:
            parent[key] = _value(random, parent[key])
    try:
        return json.dumps(document).encode()
    except (RecursionError, ValueError):
        return data[: len(data) // 2]


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in list(keys):
            yield value, key
            yield from _places(value[key])


def _value(random: Random, before: Any) -> Any:
    """A value of some kind, not seldom a wrong one."""
    deep: Any = 0
    for _ in range(int(some(random, (2, 40, 400)))):
        deep = {"a": deep} if random.integers(2) else [deep]
    values = (
        None, True, False, 0, -1, 1, 10**9, 10**18, 10**30, 1.5, -0.0, 1e308, float("nan"),
        float("inf"), "", "x", "nan", "\ud800", "\0", "\x1b[31m", "a/../../b", "/", "x" * 5000, [],
        {}, [before], {"x": before}, [0] * 5000, deep,
    )  # fmt: skip
    return some(random, values)


def damaged(
    random: Random, samples: Sequence[bytes], changes: Sequence[Change], *, whole: Change | None
) -> bytes:
    """A sample after one to four changes; half of the time `whole` makes its checksums fit."""
    data = bytes(some(random, samples))
    for _ in range(int(random.integers(1, 5))):
        data = _changed(random, data, some(random, changes))
    if random.integers(20) == 0:
        data += some(random, samples)
    if whole is not None and random.integers(2):
        data = _changed(random, data, whole)
    return data[:LONGEST]


def _changed(random: Random, data: bytes, change: Change) -> bytes:
    try:
        return change(random, data)
    except Exception:
        # What a change before has damaged too much for this one.
        return change_bytes(random, data)
