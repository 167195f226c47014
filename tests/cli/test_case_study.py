"""`case-study` and `report` as a user types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import refused, run
from tests.report.studies import filled_study
from yoloprune.cli import case_study
from yoloprune.training.engine import InterruptedRunError
from yoloprune.workflows.case_study.study import TimeIsUpError

START = ("case-study", "--data", "hands", "--preset", "demo")


def test_options_reach_the_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    study = filled_study()

    def do_study(*arguments: Any, **options: Any) -> Any:
        del options["reporter"]
        calls.append((*arguments, options))
        return study

    monkeypatch.setattr(case_study, "do_study", do_study)
    command = (*START, "--out", tmp_path, "--sparsity", 0.25, 3, "--control", "random",
               "--control", "scratch", "--raw", "--stage", "dense", "--time-limit", 5,
               "--fit-heads", "--dense", "a.cfg", "a.weights", "--epochs", 7,
               "--multiple-of", 8)  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "| Fine-tuned" in result.stdout and f"wrote {tmp_path / 'report.html'}" in result.stdout
    (found,) = calls
    assert found == (
        Path("hands"), tmp_path,
        {
            "preset": "demo", "dense": (Path("a.cfg"), Path("a.weights")), "backbone": None,
            "transfer": None, "fit_heads": True, "train_split": None, "val_split": None,
            "allow_faulty": False, "stage": "dense", "minutes": 5.0, "epochs": 7, "multiple_of": 8,
            "criterion": "bn-scale", "sparsity": 0.25, "sparsity_epochs": 3, "decoded": False,
            "controls": ["random", "scratch"], "device": "auto",
        },
    )  # fmt: skip
    assert json.loads(run(*command, "--json").stdout)["rows"]
    assert run(*START, "--out", tmp_path, "--iterate", 0.25, 3).exit_code == 0
    assert (calls[-1][-1]["step"], calls[-1][-1]["step_epochs"]) == (0.25, 3)
    assert run(*command, "--quiet").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TimeIsUpError("before stage dense"), 3, "time is up before stage dense: run the same"),
        (InterruptedRunError(15), 143, "stopped: run the same command again"),
    ],
)
def test_a_stop_has_an_exit_code(
    error: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def do_study(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(case_study, "do_study", do_study)
    result = run(*START, "--out", "run", "--quiet")
    assert result.exit_code == code
    assert words in result.stderr and result.stderr.count("\n") == 1


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run", "--quiet")
    assert "Missing option '--data'" in refused("case-study", *out)
    assert "unknown (known: full, quarter, cpu, demo)" in refused(*START, "--preset", "huge", *out)
    both = ("--dense", "a.cfg", "a.weights", "--backbone", "b")
    assert "give only one of --dense, --backbone and --transfer" in refused(*START, *out, *both)
    assert "leaves no second cut, as 0.7 of the MACs" in refused(*START, *out, "--iterate", 0.9, 1)
    assert "is for the network of --dense" in refused(*START, *out, "--fit-heads")
    assert "not the folder of a case study" in refused("report", tmp_path)
    for seed in "01":
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "study.json").write_text("{}")
    runs = (tmp_path / "0", tmp_path / "1")
    for option in (("--data", "x"), ("--limit", 3), ("--device", "cpu")):
        for some in (runs, runs[:1]):
            assert "give no more than its folder" in refused("report", *some, *option)
