"""Plain data from files, checked field by field against the types that it is to have.

A library that collects all faults of a file needs some 280 times the file's size in memory for one
that is wrong in every place; this stops at the first.
"""

import json
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from yoloprune.errors import YoloPruneError
from yoloprune.files import read_file

MOST_BYTES = 16 << 20
"""Of a JSON file of ours: in memory, nested lists take some thirty times as much."""

_LARGEST = (1 << 63) - 1
"""Whole numbers beyond it fit nowhere."""

_PLAIN = (dict, list, tuple, str, int, float, bool, NoneType)

_DEEPEST, _MOST_PARTS = 32, 1 << 20
"""How deeply values of any kind may be nested, and how many may stand side by side."""

_Document = TypeVar("_Document")


def read_document(
    path: Path,
    kind: type[_Document],
    *,
    fault: type[YoloPruneError] = YoloPruneError,
    at_most: int = MOST_BYTES,
) -> _Document:
    """What a JSON file holds, as `fitted` makes it; raises `fault` if it is anything else."""
    try:
        return parse_document(read_file(path, at_most), kind)
    except OSError as error:
        raise fault(f"{path}: cannot read the file: {error.strerror}") from error
    except (ValueError, YoloPruneError) as error:
        raise fault(f"{path}: damaged, or of another version: {error}") from None


def parse_document(text: str | bytes, kind: type[_Document]) -> _Document:
    """What JSON text holds, as `fitted` makes it; raises what that does."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return fitted(value, kind)


def fitted(value: object, kind: type[_Document]) -> _Document:
    """A value as JSON has it, as a dataclass, an enum, a path, or containers of them.

    Keys that a dataclass does not have are left out. Raises `ValueError`, naming the place, where
    the value is anything else, and what a dataclass raises on its own.
    """
    found: _Document = _fitted(value, kind, "")
    return found


def _fitted(value: Any, kind: Any, place: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        *others, last = (part for part in parts if part is not NoneType)
        for other in others:
            with suppress(ValueError):
                return _fitted(value, other, place)
        return _fitted(value, last, place)
    if kind is Any:
        _check_extent(value, place)
        return value
    if origin is dict and isinstance(value, dict):
        return {
            _key(key, parts[0], place): _fitted(item, parts[1], _below(place, key))
            for key, item in value.items()
        }
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return _sequence(value, origin, parts, place)
    if is_dataclass(kind) and isinstance(value, dict):
        return _object(value, kind, place)
    if (found := _single(value, kind)) is not None:
        return found
    raise ValueError(f"{place or 'it'} must be {_title(kind)}, but is {_shown(value)}")


def _single(value: Any, kind: Any) -> Any:
    """A value that has no parts, or None if it is of another kind."""
    if get_origin(kind) is Literal:
        return next((k for k in get_args(kind) if type(k) is type(value) and k == value), None)
    if not isinstance(kind, type):
        return None
    if issubclass(kind, Enum):
        return next((member for member in kind if member.value == value), None)
    if kind is Path:
        return Path(value) if isinstance(value, str) else None
    if kind in (int, float) and type(value) is int:
        return kind(value) if abs(value) <= _LARGEST else None
    if kind in (int, float):
        return value if type(value) is kind else None
    return value if isinstance(value, kind) else None


def _object(value: dict[Any, Any], kind: Any, place: str) -> Any:
    hints = get_type_hints(kind)
    given = {}
    for field in fields(kind):
        below = _below(place, field.name)
        if field.name in value:
            given[field.name] = _fitted(value[field.name], hints[field.name], below)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{below} is missing")
    return kind(**given)


def _sequence(value: Any, origin: Any, parts: tuple[Any, ...], place: str) -> Any:
    kinds = parts
    if origin is list or parts[1:] == (...,):
        kinds = (parts[0],) * len(value)
    if len(value) != len(kinds):
        raise ValueError(f"{place or 'it'} must have {len(kinds)} entries, not {len(value)}")
    return origin(
        _fitted(item, kind, _below(place, number))
        for number, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _key(key: Any, kind: Any, place: str) -> Any:
    if kind is int and isinstance(key, str) and key.isascii() and key.isdecimal():
        # JSON has no other keys than text.
        key = int(key[:20])
    return _fitted(key, kind, f"a key of {place or 'it'}")


def _check_extent(value: Any, place: str) -> None:
    """Refuse what whoever walks through it could not, for want of stack or of time.

    A file of torch's may hold the same list in many places.
    """
    level = [value]
    for _ in range(_DEEPEST):
        if not all(isinstance(item, _PLAIN) for item in level):
            raise ValueError(f"{place or 'it'} holds something else than plain values")
        parts = (
            part
            for item in level
            if isinstance(item, dict | list | tuple)
            for part in (item.values() if isinstance(item, dict) else item)
        )
        level = list(islice(parts, _MOST_PARTS))
        if not level:
            return
        if len(level) == _MOST_PARTS:
            raise ValueError(f"{place or 'it'} has more than {_MOST_PARTS} parts")
    raise ValueError(f"{place or 'it'} is nested more than {_DEEPEST} deep")


def _below(place: str, key: object) -> str:
    return f"{place}.{str(key)[:40]}" if place else str(key)[:40]


def _title(kind: Any) -> str:
    """A type as a user would call it."""
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(map(str, get_args(kind)))
    if isinstance(origin, type) and issubclass(origin, Enum):
        return " or ".join(str(member.value) for member in origin)
    titles = {int: "a whole number", float: "a number", str: "text", bool: "true or false",
              Path: "a path", list: "a list", tuple: "a list", dict: "an object"}  # fmt: skip
    return titles.get(origin, "an object" if is_dataclass(origin) else f"a {origin.__name__}")


def _shown(value: object) -> str:
    """A value in a message: only small ones are spelled out, for a list may be of any size."""
    if value is None or isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, int):
        return str(value) if abs(value) <= _LARGEST else "a very large number"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else "something else"
