"""What commands have in common: JSON, one line, and a folder wherever a pair is taken."""

import inspect
import json
from pathlib import Path

import pytest
import typer

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from tests.training.painted import paint
from yoloprune.cli.main import COMMANDS, app
from yoloprune.cli.pairs import with_pairs


def commands() -> dict[str, list[str]]:
    """The options of each command, by its name; those of `data` too."""
    group = typer.main.get_command(app)
    found = {}
    for name in COMMANDS:
        command = group.commands[name].load()  # type: ignore[attr-defined]
        for sub, each in getattr(command, "commands", {"": command}).items():
            found[f"{name} {sub}".strip()] = [o for p in each.params for o in p.opts]
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_json_and_quiet(name: str) -> None:
    options = commands()[name]
    assert {"--json", "--quiet"} <= set(options)


def test_small_commands_print_one_line_or_json(pair: Pair, tmp_path: Path) -> None:
    run("sparsify", pair.cfg, pair.weights, "--sparsity", 0.5, "--out", tmp_path / "sparse")
    packed = tmp_path / "sparse" / "sparse.packed"
    for command in (
        ("zoo", "yolov3-tiny", "--out", tmp_path / "a.cfg"),
        ("init", pair.cfg, "--out", tmp_path / "a.weights"),
        ("expand", pair.cfg, packed, "--out", tmp_path / "b.weights"),
        ("inspect", pair.cfg),
        ("sparsify", pair.cfg, pair.weights, "--sparsity", 0.5, "--out", tmp_path / "sparse"),
    ):
        quiet = run(*command, "--quiet")
        assert quiet.exit_code == 0, (quiet.output, quiet.exception)
        assert quiet.stdout.count("\n") == 1 and quiet.stderr == ""
        assert isinstance(json.loads(run(*command, "--json").stdout), dict)


def test_commands_hold_no_more_than_their_options() -> None:
    """A command parses, calls and prints: what it does is a workflow."""
    folder = Path(inspect.getfile(with_pairs)).parent
    for path in folder.glob("*.py"):
        classes = [line for line in path.read_text().splitlines() if line.startswith("class ")]
        assert path.stem in ("console", "iterate", "main", "on_demand") or not classes, path


@pytest.mark.parametrize("command", ["train", "finetune", "iterate", "sweep", "case-study"])
def test_a_device_that_is_not_there_is_one_line(command: str, pair: "Pair", tmp_path: Path) -> None:
    paint(tmp_path / "data", train=20, test=2)
    (tmp_path / "data" / "a.names").write_text("a\nb\n")
    words = {
        "train": [pair.cfg],
        "iterate": [pair.cfg, pair.weights, "--keep-macs", 0.5],
        "case-study": ["--preset", "demo"],
    }.get(command, [pair.cfg, pair.weights])
    data = ["--data", tmp_path / "data", "--out", tmp_path / "out", "--device", "cuda:99"]
    assert "device cuda:99: torch finds no such GPU here" in refused(command, *words, *data)
