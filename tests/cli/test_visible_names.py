"""Names of files and classes reach the terminal as visible characters on one line."""

import io
from pathlib import Path

import pytest
from rich.progress import Progress

from tests.cli.commands import run
from yoloprune.cli import console
from yoloprune.cli.console import _COLUMNS, ConsoleReporter
from yoloprune.escapes import printable

NASTY = "a\x1b[31m\nb\u202ec\x9b\x00\u2028\udcff"
SEEN = r"a\x1b[31m\nb\u202ec\x9b\x00\u2028\udcff"


def test_escapes_are_python_s() -> None:
    assert printable(NASTY) == SEEN
    assert printable("naïve 日本\u3000手 [red]{x}") == "naïve 日本\u3000手 [red]{x}"
    assert printable("日本", "ascii") == r"\u65e5\u672c"


@pytest.mark.parametrize("terminal", [True, False])
def test_everything_that_is_printed_is_visible(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    for target in (console.output, console.errors):
        monkeypatch.setattr(target, "_file", shown)
        monkeypatch.setattr(target, "_force_terminal", terminal)
        monkeypatch.setattr(target, "_color_system", None)
    console.output.print(NASTY)
    ConsoleReporter().warn(NASTY)
    console.print_table(NASTY, (NASTY, NASTY), [(NASTY, NASTY)])
    text = shown.getvalue()
    assert text.count(SEEN) == 7
    assert not [char for char in text if char != "\n" and not char.isprintable()]


def test_a_progress_bar_is_visible() -> None:
    bar = Progress()
    bar.add_task(NASTY, state=lambda: NASTY)
    shown = [str(column.render(bar.tasks[0])) for column in _COLUMNS]
    assert shown.count(SEEN) == 2 and NASTY not in "".join(shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\x1b[31mx.cfg", r"\x1b[31mx.cfg"), ("\u202ex.cfg", r"\u202ex.cfg"),
     ("x\udcff.cfg", r"x\udcff.cfg"), ("x\0.cfg", r"x\x00.cfg"), ("\ud800", r"\ud800")],
)  # fmt: skip
@pytest.mark.parametrize("command", [("inspect",), ("data", "check"), ("report",)])
def test_a_path_is_shown_with_escapes(command: tuple[str, ...], name: str, shown: str) -> None:
    result = run(*command, f"none/{name}")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: none/{shown}: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").isprintable()


def test_json_stays_json(tmp_path: Path) -> None:
    import json

    (tmp_path / "n.json").write_text(json.dumps({
        "images": [], "annotations": [], "categories": [{"id": 1, "name": NASTY}],
    }))  # fmt: skip
    result = run("data", "check", tmp_path / "n.json", "--json")
    assert result.exit_code == 2 or json.loads(result.stdout)["names"] == [NASTY]
