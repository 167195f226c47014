"""Tests mirror the package: whoever changes a module finds its tests by its name.

The tests of `yoloprune/a/b.py` are in `tests/a/test_b.py`, and where they are many in further files
whose names go on, `tests/a/test_b_more.py`.
"""

import ast
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "yoloprune"

ACROSS = {
    "cli/test_fit_heads.py": "heads for other data, through train, finetune and sparsify",
    "cli/test_folders_in_use.py": "a law of every command that writes a folder",
    "cli/test_layouts.py": "data as tools write it, through check, evaluate and train",
    "cli/test_odd_networks.py": "gray and oblong networks, through every command",
    "cli/test_onnx.py": "exported files, through prune, export, reconstruct and verify",
    "cli/test_onnx_files.py": "networks in ONNX files, through every command",
    "cli/test_wiring.py": "what all commands have in common",
    "data/test_layouts.py": "data as tools write it, through reading, checking and cleaning",
    "execution/test_life.py": "a graph of no file, from its groups to a step of training",
    "frontends/darknet/test_damaged_files.py": "damage, through parsing and reading of weights",
    "frontends/onnx/test_bounds.py": "files that ask for too much, through the whole front end",
    "frontends/onnx/test_classifiers.py": "classifiers as torch exports them, from file to file",
    "frontends/onnx/test_laws.py": "random graphs, from file to file",
    "frontends/onnx/test_quantized.py": "quantized files, from file to file",
    "pruning/test_laws.py": "random graphs, through groups, cut and proof",
    "report/test_browser.py": "the page in a browser",
    "test_docs.py": "docs/",
    "test_documented.py": "the commands of README.md",
    "test_exported_members.py": "what `import yoloprune` gives",
    "test_layering.py": "imports",
    "test_layout.py": "this law",
    "test_outside_clients.py": "our files in other programs",
    "test_python_example.py": "the Python of README.md",
    "training/test_exhaustion.py": "no memory and full disks, through training",
    "workflows/test_classifiers.py": "classifiers of other programs, through the workflows",
    "workflows/test_onnx_files.py": "networks in ONNX files, through every workflow",
}
"""Tests that are of no single module, and what they are of."""

MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.stem not in ("__init__", "__main__"))
OF_NO_MODULE = ("benchmarks", "demo", "examples")
"""Folders of tests that are of something else."""


def mirror(module: Path) -> Path:
    """Where a module's tests are."""
    return TESTS / module.relative_to(PACKAGE).with_name(f"test_{module.name}")


def does_something(module: Path) -> bool:
    """Whether a module has a function with a body: constants and types alone need no tests."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            first, *rest = node.body
            if rest or not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
                return True
    return False


def test_every_module_that_does_something_has_its_tests() -> None:
    active = [module for module in MODULES if does_something(module)]
    without = [module for module in active if not mirror(module).is_file()]
    assert [str(module.relative_to(PACKAGE)) for module in without] == []


def test_every_test_is_of_a_module_or_says_of_what() -> None:
    mirrors = {mirror(module).with_suffix("") for module in MODULES}
    found = []
    for path in TESTS.rglob("test_*.py"):
        words = path.stem.split("_")
        names = ("_".join(words[:end]) for end in range(2, len(words) + 1))
        name = path.relative_to(TESTS)
        if name.parts[0] not in OF_NO_MODULE and mirrors.isdisjoint(map(path.with_name, names)):
            found.append(str(name))
    assert sorted(found) == sorted(ACROSS)
