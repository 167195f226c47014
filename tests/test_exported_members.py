"""The public API, by name."""

import ast
import pkgutil
import tomllib
from pathlib import Path

import pytest

import yoloprune

ROOT = Path(__file__).parents[1]


def imported_for_types() -> dict[str, str]:
    """Names that type checkers see, and their modules."""
    tree = ast.parse(Path(yoloprune.__file__).read_text(encoding="utf-8"))
    lines = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname: node.module.removeprefix("yoloprune.")
        for node in lines
        for alias in node.names
        if node.module and alias.asname
    }


def test_all_is_sorted_and_complete() -> None:
    assert yoloprune.__all__ == sorted(yoloprune.__all__)
    assert len(yoloprune.__all__) <= 37
    assert set(yoloprune.__all__) <= set(dir(yoloprune))
    for name in yoloprune.__all__:
        member = getattr(yoloprune, name)
        assert member.__doc__, name
        assert member.__module__.startswith("yoloprune."), name


def test_type_checkers_see_what_is_there() -> None:
    assert imported_for_types() == yoloprune._HOMES


def test_no_public_name_is_that_of_a_module() -> None:
    """Importing `yoloprune.x` would put the module in the place of the function x."""
    modules = {module.name for module in pkgutil.iter_modules(yoloprune.__path__)}
    assert not modules & set(yoloprune.__all__)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'prunes'"):
        yoloprune.prunes  # noqa: B018


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert yoloprune.__version__ == project["version"]
