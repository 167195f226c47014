"""Every error is in the tree of `yoloprune.errors`; the library's messages name no options."""

import ast
import inspect
import re
from functools import cache
from pathlib import Path

from yoloprune import errors

PACKAGE = Path(errors.__file__).parent
LIBRARY = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"
]
SPOKEN = re.compile(r"(Error|^warn|^say)$")


@cache
def spoken(path: Path) -> list[str]:
    """Texts in the calls that make errors and warnings."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = getattr(node, "func", None)
        title = getattr(name, "id", getattr(name, "attr", ""))
        if isinstance(node, ast.Call) and SPOKEN.search(title):
            parts = [part for argument in node.args for part in ast.walk(argument)]
            found += [
                part.value
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
    return found


def test_the_messages_are_found() -> None:
    assert sum(len(spoken(path)) for path in LIBRARY) > 200


def test_no_message_of_the_library_names_an_option() -> None:
    option = re.compile(r"(^|\W)--[a-z]")
    assert not {text: path for path in LIBRARY for text in spoken(path) if option.search(text)}


def test_the_tree_shows_every_error_below_its_base() -> None:
    above: list[str] = []
    drawn = {}
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        if match := re.match(r"((?:│|├|└|─| )*)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            drawn[match[2]] = above[depth - 1] if depth else "Exception"
    classes = inspect.getmembers(errors, inspect.isclass)
    assert drawn == {name: kind.__base__.__name__ for name, kind in classes}
