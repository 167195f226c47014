"""The list of commands, which loads none of them, is true; completion and the version work."""

import pytest
import typer

import yoloprune
from tests.cli.commands import run
from yoloprune.cli.main import app
from yoloprune.cli.on_demand import OnDemand

GROUP = typer.main.get_command(app)


@pytest.mark.parametrize("command", GROUP.commands.values(), ids=list(GROUP.commands))
def test_the_list_says_what_the_command_says(command: OnDemand) -> None:
    loaded = command.load()
    assert loaded.name in (command.name, "", None)
    assert command.help == " ".join(loaded.help.split("\n\n")[0].split())


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
