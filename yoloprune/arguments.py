"""What public functions are given, held against their annotations: one line for a wrong type."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from yoloprune.errors import UsageError

_Function = TypeVar("_Function", bound=Callable[..., Any])

_PLAIN = (str, int, float, bool, list, tuple, dict, set, NoneType)

_TITLES: Mapping[Any, str] = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false",
    Path: "a path", NoneType: "None",
}  # fmt: skip

_MANY: Mapping[Any, str] = {
    str: "texts", int: "whole numbers", float: "numbers", bool: "truths", Path: "paths",
}  # fmt: skip

_MADE: Mapping[str, str] = {
    "Cut": "a Cut, as `prune` and `read_cut` give it",
    "HoldsModel": "what a command made",
    "Model": "a Model, as `load` or `load_module` gives it",
}
"""Classes of which users may not know where their objects come from."""


def checked(function: _Function) -> _Function:
    """A function that raises `UsageError` for an argument of another type than is annotated.

    What it cannot be called with at all, a name that it does not have, remains a `TypeError`.
    """
    signature = inspect.signature(function)
    # Those of modules that are loaded late are not known before the first call.
    hints = cache(lambda: get_type_hints(function))

    @wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        try:
            given = signature.bind(*args, **settings).arguments
        except TypeError:
            given = {}
        for name, value in given.items():
            kind = signature.parameters[name].kind
            if kind is not inspect.Parameter.VAR_KEYWORD:
                several = kind is inspect.Parameter.VAR_POSITIONAL
                for each in value if several else (value,):
                    _check(name, each, hints()[name])
        return function(*args, **settings)

    found: Any = call
    return found  # type: ignore[no-any-return]


def check_types(kind: type, values: Mapping[str, object]) -> None:
    """Raise `UsageError` for a value of another type than a class annotates for its field."""
    hints = get_type_hints(kind)
    for name, value in values.items():
        _check(name, value, hints[name])


def _check(name: str, value: object, kind: Any) -> None:
    if not _fits(value, kind):
        raise UsageError(f"`{name}` must be {_title(kind)}, not {_shown(value)}")


def _fits(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        # Which words there are is said by whoever knows what they mean.
        return isinstance(value, tuple(map(type, parts)))
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    if origin in (Sequence, tuple, list):
        items = parts[0]
        return isinstance(value, list | tuple) and all(_fits(item, items) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(key, parts[0]) and _fits(item, parts[1]) for key, item in value.items()
        )
    return isinstance(value, origin or kind)


def _title(kind: Any) -> str:
    """A type as a user would call it."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        *others, last = dict.fromkeys(map(_title, parts))
        return f"{', '.join(others)} or {last}" if others else last
    if origin in (Sequence, tuple, list):
        return f"a list of {_several(parts[0])}"
    if origin is Mapping:
        return f"a mapping of {_title(parts[0])} to {_several(parts[1])}"
    if origin is Literal:
        return _title(type(parts[0]))
    name = getattr(kind, "__name__", str(kind))
    return _TITLES.get(kind) or _MADE.get(name) or f"a {name}"


def _several(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_several, get_args(kind))))
    return _MANY.get(kind) or f"{getattr(kind, '__name__', kind)}s"


def _shown(value: object) -> str:
    """A value in a message: in full where it is small and plain."""
    if type(value) in _PLAIN:
        short = Repr()
        short.maxstring = short.maxother = 60
        return short.repr(value)
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"
