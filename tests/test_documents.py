"""Documents are what their types say, or a `ValueError` names the place."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from yoloprune.documents import fitted, parse_document, read_document
from yoloprune.errors import PlanError


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    share: float
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.share > 1:
            raise PlanError("share must be at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    version: Literal[3]
    color: Color
    folder: Path
    inner: Inner
    counts: dict[int, tuple[int, ...]]
    pair: tuple[str, bool]
    rest: dict[str, Any]


GOOD = {
    "version": 3, "color": "red", "folder": "a/b", "inner": {"share": 1},
    "counts": {"7": [1, 2]}, "pair": ["x", True], "rest": {"any": [None]}, "unknown": 1,
}  # fmt: skip


def test_values_become_what_the_types_say() -> None:
    assert parse_document(json.dumps(GOOD), Outer) == Outer(
        version=3,
        color=Color.RED,
        folder=Path("a/b"),
        inner=Inner(share=1.0),
        counts={7: (1, 2)},
        pair=("x", True),
        rest={"any": [None]},
    )
    assert isinstance(parse_document("[1, 2.5]", list[float])[0], float)


def deep(levels: int) -> list[Any]:
    return [deep(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": 2}, "version must be 3, but is 2"),
        ({"version": True}, "version must be 3, but is true"),
        ({"version": 3.0}, "version must be 3, but is 3.0"),
        ({"color": "blue"}, "color must be red, but is 'blue'"),
        ({"folder": None}, "folder must be a path, but is null"),
        ({"inner": []}, "inner must be an object, but is a list"),
        ({"inner": {}}, "inner.share is missing"),
        ({"inner": {"share": "1"}}, "inner.share must be a number, but is '1'"),
        ({"inner": {"share": True}}, "inner.share must be a number, but is true"),
        ({"inner": {"share": 10**400}}, "inner.share must be a number, but is a very large number"),
        ({"inner": {"share": 0, "limit": {}}}, "inner.limit must be a number, but is an object"),
        ({"counts": {"7": [1, None]}}, "counts.7.1 must be a whole number, but is null"),
        ({"counts": {"7": [1.0]}}, "counts.7.0 must be a whole number, but is 1.0"),
        ({"counts": {"seven": []}}, "a key of counts must be a whole number, but is 'seven'"),
        ({"counts": {"9" * 50: []}}, "a key of counts must be a whole number"),
        ({"pair": ["x"]}, "pair must have 2 entries, not 1"),
        ({"pair": [1, True]}, "pair.0 must be text, but is 1"),
        ({"pair": "xy"}, "pair must be a list, but is 'xy'"),
        ({"rest": 7}, "rest must be an object, but is 7"),
        ({"rest": {"a": deep(40)}}, "rest.a is nested more than 32 deep"),
    ],
)
def test_a_wrong_field_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        fitted(GOOD | changed, Outer)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"x"',
        "7",
        "{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 10_000,
        "\xff",
    ],
)
def test_a_damaged_file_is_one_short_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PlanError) as caught:
        read_document(path, Outer, fault=PlanError)
    assert str(caught.value).startswith(f"{path}: damaged, or of another version: ")
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_what_a_dataclass_refuses_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD | {"inner": {"share": 2}}))
    with pytest.raises(PlanError, match=r"a\.json: .*share must be at most 1"):
        read_document(path, Outer, fault=PlanError)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text(" " * 101)
    for name, reason in (
        ("none.json", "No such file"),
        (".", "Is a directory"),
        ("large.json", "101 bytes, where more than 100 make no sense"),
        ("\0", "no file can have this name"),
        ("\ud800", "no file can have this name"),
    ):
        with pytest.raises(PlanError, match=reason):
            read_document(tmp_path / name, Outer, fault=PlanError, at_most=100)
