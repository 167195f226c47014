"""What is shown while work goes on, and where nothing can be shown."""

import io
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn

from tests.processes import exit_code
from yoloprune.cli import console
from yoloprune.cli.console import progress_line, stage, track


class Clock:
    """Seconds that pass when told to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_line_says_what_how_much_and_how_long_still() -> None:
    clock = Clock()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, get_time=clock, disable=True, speed_estimate_period=600)
    bar.add_task("checking", total=20000)
    clock.seconds = 60.0
    assert progress_line(columns, bar.tasks[0]) == "checking, 0/20000, 1 min so far"
    for _ in range(10):
        clock.seconds += 6
        bar.advance(bar.task_ids[0], 100)
    assert progress_line(columns, bar.tasks[0]) == "checking, 1000/20000, 19 min left"
    clock.seconds += 600
    bar.update(bar.task_ids[0], completed=1100)
    assert progress_line(columns, bar.tasks[0]).endswith(" 31 h 30 min left")


def test_a_line_in_bytes() -> None:
    bar = Progress(disable=True)
    bar.add_task("downloading", total=4_000_000, completed=1_000_000)
    columns = (TextColumn("{task.description}"), DownloadColumn())
    assert progress_line(columns, bar.tasks[0]).startswith("downloading, 1.0/4.0 MB, ")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed where there is no terminal, a line each tenth of a second."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "errors", Console(file=stream, width=1000))
    monkeypatch.setattr(console, "BETWEEN_LINES", 0.1)
    return stream


def test_long_work_without_a_terminal_prints_lines(stderr: io.StringIO) -> None:
    for _ in track(range(3), "checking", 3, quiet=False):
        time.sleep(0.12)
    lines = stderr.getvalue().splitlines()
    assert 1 <= len(lines) <= 4
    assert all(line.startswith("checking, ") for line in lines)
    with stage("verifying", quiet=False):
        time.sleep(0.15)
    assert stderr.getvalue().splitlines()[-1] == "verifying, 1 min so far"


def test_short_and_quiet_work_prints_nothing(stderr: io.StringIO) -> None:
    assert list(track(range(3), "checking", 3, quiet=False)) == [0, 1, 2]
    for _ in track(range(2), "checking", 2, quiet=True):
        time.sleep(0.12)
    time.sleep(0.15)
    assert stderr.getvalue() == ""


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
