"""The list of commands, which loads none of them, is true; completion and the version work."""

from pathlib import Path

import pytest
import typer

import yoloprune
from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from tests.processes import outcome, program
from yoloprune.cli.main import app

GROUP = typer.main.get_command(app)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("yoloprune ev", {"evaluate"}),
        ("yoloprune --ver", {"--version"}),
        ("yoloprune data sp", {"split"}),
        ("yoloprune data check --fi", {"--fix"}),
        ("yoloprune zoo --anc", {"--anchors"}),
    ],
)
def test_words_are_completed(
    words: str,
    expected: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_YOLOPRUNE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit) as ended:
        GROUP.main([], prog_name="yoloprune")
    assert ended.value.code == 0
    assert set(capsys.readouterr().out.split()) == expected


def test_the_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"yoloprune {yoloprune.__version__}\n"


def test_an_error_line_is_printed_as_it_is(tmp_path: Path) -> None:
    cfg = tmp_path / "a  b[red].cfg"
    cfg.write_text("[net]\nheight=8\nwidth=8\nchannels=3\n" + 95 * "\n" + "[lstm]\n")
    assert refused("inspect", cfg).startswith(f"{cfg}:100: layer 0 [lstm] is not supported")


@pytest.mark.parametrize(
    "arguments",
    [["prun"], ["inspect"], ["inspect", "x", "--foo"], ["init", "x", "--seed", 10**30]],
)
def test_wrong_usage_is_one_line_too(arguments: list[object]) -> None:
    refused(*arguments)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    found = outcome(program, "yoloprune", "--debug", "inspect", tmp_path / "none.cfg")
    assert found.returncode == 1
    assert "Traceback" in found.stderr and "CfgError" in found.stderr


def test_the_module_is_the_command(pair: "Pair") -> None:
    found = outcome(program, "yoloprune", "inspect", pair.cfg)
    assert found.returncode == 0, found.stderr
    assert "prunable groups" in found.stdout
    assert "\x1b[" not in found.stdout  # plain text in a pipe
