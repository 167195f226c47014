"""Finished stages are skipped; changed settings and inputs are noticed."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from yoloprune.errors import RunError, YoloPruneError
from yoloprune.training.distributed import World
from yoloprune.workflows.stages import (
    Stage,
    check_resumable,
    finished_stages,
    is_finished,
    read_manifest,
    run_stage,
)

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


def writes(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def first(text: str = "a", share: float = 0.5) -> Stage:
    return Stage(
        name="first", needs=(), settings={"share": share, "pair": (1, 2)}, outputs=("x",),
        work=writes("x", text),
    )  # fmt: skip


def second() -> Stage:
    return Stage(name="second", needs=("first",), settings={}, outputs=("y",), work=writes("y", ""))


def test_a_finished_stage_stays_finished(tmp_path: Path) -> None:
    assert not is_finished(first(), tmp_path)
    run_stage(first(), tmp_path, ALONE)
    assert is_finished(first(), tmp_path)
    run_stage(second(), tmp_path, ALONE)
    assert is_finished(second(), tmp_path)


def test_only_stages_that_are_asked_for_are_looked_at(tmp_path: Path) -> None:
    run_stage(first(), tmp_path, ALONE)
    # A folder of the user's own, whose manifest is of something else.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "site"}')
    assert finished_stages(tmp_path, ["first", "second"]) == {"first"}
    (tmp_path / "first" / "x").write_text("changed")
    with pytest.raises(RunError, match="not the file that was made here"):
        finished_stages(tmp_path, ["first", "second"])


def test_a_stage_that_failed_is_not_finished(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("stopped")

    broken = Stage(name="first", needs=(), settings={}, outputs=("x",), work=fail)
    with pytest.raises(RuntimeError, match="stopped"):
        run_stage(broken, tmp_path, ALONE)
    assert not is_finished(broken, tmp_path)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run_stage(first(), tmp_path, ALONE)
    with pytest.raises(RunError, match=r"other settings \(share\)"):
        is_finished(first(share=0.4), tmp_path)


def test_other_stages_are_refused_by_name(tmp_path: Path) -> None:
    run_stage(first(), tmp_path, ALONE)
    run_stage(second(), tmp_path, ALONE)
    # Which is yet to be made: that it is not finished would be no help.
    with pytest.raises(RunError, match=r"other stages \(first\): choose another folder"):
        is_finished(replace(second(), needs=("first", "zeroth")), tmp_path)
    assert not is_finished(replace(second(), needs=("zeroth",), kind="measuring"), tmp_path)


def test_a_training_that_was_begun_otherwise_cannot_be_resumed(tmp_path: Path) -> None:
    def stop(folder: Path) -> None:
        (folder / "last.pt").write_text("")
        raise RuntimeError("stopped")

    training = replace(first(), kind="training", work=stop)
    check_resumable(training, tmp_path)
    with pytest.raises(RuntimeError, match="stopped"):
        run_stage(training, tmp_path, ALONE)
    check_resumable(training, tmp_path)
    other = replace(training, settings={"share": 0.4, "pair": (1, 2)})
    with pytest.raises(RunError, match=r"other settings \(share\)"):
        check_resumable(other, tmp_path)
    # Half of anything else is made anew.
    check_resumable(replace(other, kind="making"), tmp_path)


def test_an_input_made_anew_is_noticed(tmp_path: Path) -> None:
    run_stage(first(), tmp_path, ALONE)
    run_stage(second(), tmp_path, ALONE)
    run_stage(first("b"), tmp_path, ALONE)
    with pytest.raises(RunError, match="changed since"):
        is_finished(second(), tmp_path)
    with pytest.raises(RunError, match="changed since"):
        finished_stages(tmp_path, ["first", "second"])
    # A measurement of what is no longer there is none.
    assert finished_stages(tmp_path, ["first"], {"second"}) == {"first"}


def test_the_seconds_of_stopped_attempts_count(tmp_path: Path) -> None:
    def stop(folder: Path) -> None:
        (folder / "last.pt").write_text("")
        begun = (folder / "attempt.json").stat().st_mtime
        # Worked for a minute, and resumed the next day.
        os.utime(folder / "last.pt", (begun + 60, begun + 60))
        os.utime(folder / "attempt.json", (begun, begun))
        raise RuntimeError("stopped")

    stopped = replace(first(), work=stop, kind="training")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stopped"):
            run_stage(stopped, tmp_path, ALONE)
    run_stage(replace(stopped, work=writes("x", "")), tmp_path, ALONE)
    manifest = read_manifest(tmp_path / "first")
    assert manifest is not None and 120 <= manifest.seconds < 125


def test_a_missing_input_and_a_damaged_manifest(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="needs first, which is not finished"):
        run_stage(second(), tmp_path, ALONE)
    run_stage(first(), tmp_path, ALONE)
    (tmp_path / "first" / "manifest.json").write_text("{")
    with pytest.raises(YoloPruneError, match="damaged"):
        is_finished(first(), tmp_path)
