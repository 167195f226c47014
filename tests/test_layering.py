"""Imports point downwards only, and the heavy optional packages stay out of the core."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "yoloprune"

# Lower numbers may not import higher ones; modules of one level may import each other.
LEVELS = {
    "arguments": 1,
    "documents": 0,
    "errors": 0,
    "cores": 0,
    "counting": 0,
    "devices": 1,
    "escapes": 0,
    "files": 0,
    "interrupts": 0,
    "graph": 1,
    "locks": 0,
    "memory": 0,
    "reporter": 0,
    "frontends": 2,
    "pruning.labels": 2,
    "pruning.groups": 2,
    "pruning.measures": 2,
    "pruning.clock": 2,
    "pruning.layer_times": 2,
    "pruning.budget": 2,
    "pruning.choices": 0,
    "pruning.plan": 2,
    "pruning.queue": 2,
    "pruning.solve": 2,
    "pruning.layers": 2,
    "pruning.cut": 2,
    "pruning.gathers": 2,
    "pruning.masked": 2,
    "pruning.constants": 2,
    "pruning.compensation": 2,
    "pruning.score.on_weights": 2,
    "execution": 3,
    "pruning": 4,
    "pruning.weights": 4,
    "engines": 5,
    "detection": 4,
    "data": 5,
    "quantization": 6,
    "evaluation": 6,
    "training": 7,
    "exporters": 8,
    "report": 8,
    "report.shown": 1,
    "report.table": 1,
    "workflows": 9,
    "cli": 10,
}
NO_TORCH = (
    "frontends.darknet.cfg",
    "frontends.darknet.cost",
    "frontends.darknet.options",
    "frontends.darknet.parser",
    "frontends.darknet.shapes",
    "frontends.darknet.spec",
    "frontends.darknet.zoo",
    "frontends.darknet.activations",
    "frontends.darknet.heads",
    "graph.builder",
    "graph.graph",
    "graph.operators.rules",
    "graph.operators.windows",
    "pruning.budget",
    "pruning.groups",
    "pruning.plan",
)


@cache
def modules() -> list[str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths]
    return [n.removesuffix(".__init__") for n in names if n not in ("__init__", "__main__")]


def level(module: str) -> int:
    known = [name for name in LEVELS if module == name or module.startswith(f"{name}.")]
    return LEVELS[max(known, key=len)]


@cache
def imported(module: str) -> set[str]:
    path = PACKAGE / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names the module only together with its alias.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def ours(names: set[str]) -> set[str]:
    known = set(modules())
    return {n.removeprefix("yoloprune.") for n in names} & known


def test_imports_point_downwards() -> None:
    upwards = {
        f"{module} imports {name}"
        for module in modules()
        for name in ours(imported(module))
        if level(name) > level(module)
    }
    assert not upwards


def test_pruning_knows_nothing_of_formats_training_data_or_evaluation() -> None:
    above = ("training", "data", "evaluation", "frontends")
    wrong = {
        f"{module} imports {name}"
        for module in modules()
        if module.startswith("pruning")
        for name in ours(imported(module))
        if name.startswith(above)
    }
    assert not wrong


def test_analysis_needs_no_torch() -> None:
    roots = {module: {name.split(".")[0] for name in imported(module)} for module in NO_TORCH}
    assert not [module for module, names in roots.items() if "torch" in names]


def loaded(code: str, *names: str) -> set[str]:
    """Which of these packages a program has imported when it ends."""
    program = f"import sys\ntry:\n    {code}\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = set(found.stderr.split())
    assert "yoloprune" in modules, found.stderr
    return modules & set(names)


def command(line: str) -> str:
    return f"from yoloprune.cli.main import app; app({line.split()})"


HEAVY = ("torch", "numpy", "cv2", "matplotlib", "scipy", "yaml")


@pytest.mark.parametrize(
    "code",
    [
        "import yoloprune; yoloprune.__version__, yoloprune.Reporter, yoloprune.YoloPruneError",
        "import rich, yoloprune; assert 'rich' in sys.modules",
        command("--help"),
        command("--version"),
        command("no-such-command"),
    ],
)
def test_what_computes_nothing_loads_nothing_heavy(code: str) -> None:
    assert not loaded(code, *HEAVY)


def test_data_is_checked_without_torch(tmp_path: Path) -> None:
    assert loaded(command("data check --help"), "torch", "numpy") == {"numpy"}
    assert loaded(command(f"data check {tmp_path}"), "torch", "numpy") == {"numpy"}


def test_optional_and_slow_packages_are_imported_where_they_are_used() -> None:
    heavy = (
        *("torch_pruning", "pycocotools", "matplotlib"),
        *("onnx", "onnxruntime", "openvino", "ncnn", "numba"),
    )
    code = "from yoloprune.cli.main import app; import typer; "
    code += "[c.load() for c in typer.main.get_command(app).commands.values()]"
    assert loaded(code, "torch", *heavy) == {"torch"}
