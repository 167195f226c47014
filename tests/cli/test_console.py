"""What is shown while work goes on, and where nothing can be shown."""

import io
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from tests.cli.commands import run
from tests.nasty import NASTY, SEEN
from tests.processes import exit_code
from yoloprune.cli import console
from yoloprune.cli.console import _COLUMNS, ConsoleReporter, progress_line


class Clock:
    """Seconds that pass when told to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_line_says_what_how_much_and_how_long_still() -> None:
    clock = Clock()
    bar = Progress(get_time=clock, disable=True, speed_estimate_period=600)
    bar.add_task("checking", total=20000, state=lambda: "")
    clock.seconds = 60.0
    assert progress_line(bar.tasks[0]) == "checking, 0/20000, 1 min so far"
    for _ in range(10):
        clock.seconds += 6
        bar.advance(bar.task_ids[0], 100)
    assert progress_line(bar.tasks[0]) == "checking, 1000/20000, 19 min left"
    clock.seconds += 600
    bar.update(bar.task_ids[0], completed=1100)
    assert progress_line(bar.tasks[0]).endswith(" 31 h 30 min left")


def test_a_line_says_how_it_goes() -> None:
    bar = Progress(disable=True)
    bar.add_task("training", total=4, completed=1, state=lambda: "epoch 1/2, loss 3.10")
    line = progress_line(bar.tasks[0])
    assert line.startswith("training, 1/4, epoch 1/2, loss 3.10, ")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed where there is no terminal, a line each tenth of a second."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "errors", Console(file=stream, width=1000))
    monkeypatch.setattr(console, "BETWEEN_LINES", 0.1)
    return stream


def test_long_work_without_a_terminal_prints_lines(stderr: io.StringIO) -> None:
    reporter = ConsoleReporter()
    for _ in reporter.track(range(3), "checking"):
        time.sleep(0.12)
    lines = stderr.getvalue().splitlines()
    assert 1 <= len(lines) <= 4
    assert all(line.startswith("checking, ") for line in lines)
    with reporter.stage("verifying"):
        time.sleep(0.15)
    assert stderr.getvalue().splitlines()[-1] == "verifying, 1 min so far"


def test_short_and_quiet_work_prints_nothing(stderr: io.StringIO) -> None:
    assert list(ConsoleReporter().track(range(3), "checking")) == [0, 1, 2]
    for _ in ConsoleReporter(quiet=True).track(range(2), "checking"):
        time.sleep(0.12)
    time.sleep(0.15)
    assert stderr.getvalue() == ""


def test_what_goes_on_within_something_else_is_said_too(stderr: io.StringIO) -> None:
    reporter = ConsoleReporter()
    with reporter.stage("pruning"):
        for _ in reporter.track(range(2), "scoring"):
            time.sleep(0.12)
    said = {line.split(",")[0] for line in stderr.getvalue().splitlines()}
    assert said == {"pruning", "scoring"}


def test_bars_on_a_terminal_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(console, "errors", Console(file=stream, width=80, force_terminal=True))
    reporter = ConsoleReporter()
    with reporter.stage("pruning"):
        assert list(reporter.track(iter("ab"), "scoring", state=lambda: "well")) == ["a", "b"]
        reporter.say("half of it is done")
    assert "pruning" in stream.getvalue()
    assert "half of it is done" in stream.getvalue()
    assert reporter._bars is None


def test_closed_streams_lead_nowhere() -> None:
    def work() -> None:
        # As Python finds them after `<&- >&- 2>&-`.
        for descriptor in range(3):
            os.close(descriptor)
        sys.stdout = sys.stderr = None  # type: ignore[assignment]
        console._open_closed_streams()
        with Path(__file__).open() as file:
            assert file.fileno() > 2
        print("to nobody", flush=True)
        print("to nobody", file=sys.stderr, flush=True)
        os._exit(0)

    assert exit_code(work) == 0


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
