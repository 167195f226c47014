"""`case-study` and `report` as a user types them: the rows, the repeats, the stops."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from case_study.tiny import TINY, torch_alone
from cli.commands import refused, run

from yoloprune.case_study.settings import PRESETS
from yoloprune.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.report import latency

SCRIPT = Path(__file__).parents[1] / "case_study" / "tiny.py"
SAME = ("dense/best.weights", "pruned/plan.json", "finetuned/best.weights",
        "evaluated/fine-tuned.json", "exported/slim.weights", "exported/slim.cfg")  # fmt: skip


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "demo", TINY)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with a control."""
    out = tmp_path_factory.mktemp("study") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "demo", TINY)
        patch.setattr(latency, "_engines", torch_alone)
        result = run(
            "case-study", "--preset", "demo", "--out", out, "--control", "random", "--quiet"
        )
    assert result.exit_code == 0, (result.output, result.exception)
    return out


def test_the_report_has_a_row_for_each_network(study: Path) -> None:
    document = json.loads((study / "report.json").read_text())
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == ["Original", "Pruned", "Fine-tuned", "Random"]
    for name, path in (("Original", "dense/best"), ("Pruned", "pruned/slim")):
        total = cost(read_cfg(study / f"{path}.cfg"))
        assert (rows[name]["params"], rows[name]["macs"]) == (total.params, total.macs)
    assert rows["Pruned"]["macs"] <= 0.3 * rows["Original"]["macs"]
    best = study / "finetuned" / "best.cfg"
    evaluated = run(
        "evaluate", best, best.with_suffix(".weights"), "--data", study / "data" / "hands",
        "--protocol", "both", "--json",
    )  # fmt: skip
    figures = json.loads(evaluated.stdout)["evaluations"]
    assert rows["Fine-tuned"]["map50"] == figures[0]["map50"]
    assert rows["Fine-tuned"]["map50_coco"] == figures[1]["map50"]
    assert all(row["latency_ms"] > 0 for row in rows.values())
    assert rows["Pruned"]["latency_ms"] == rows["Fine-tuned"]["latency_ms"]


def test_finished_stages_are_not_done_again(study: Path, tiny: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("manifest.json")}
    assert (
        run("case-study", "--preset", "demo", "--out", study, "--control", "random").exit_code == 0
    )
    assert {path: path.stat().st_mtime_ns for path in study.rglob("manifest.json")} == before
    (study / "report.html").unlink()
    result = run("report", study)
    assert result.exit_code == 0 and "| Fine-tuned" in result.stdout
    assert (study / "report.html").exists()


def test_the_commands_of_the_report_repeat_the_study(study: Path, tmp_path: Path) -> None:
    document = json.loads((study / "report.json").read_text())
    for command in document["commands"][1:]:
        words = shlex.split(command["line"])
        if words[1] in ("evaluate", "benchmark"):
            continue
        # Elsewhere, but with the study's own data.
        moved = [
            word.replace(str(study), str(tmp_path)) if "/data/" not in word else word
            for word in words[1:]
        ]
        result = run(*moved, *(["--workers", 0] if "train" in words[1] else []))
        assert result.exit_code == 0, (moved, result.output, result.exception)
    for name in ("dense/best.weights", "pruned/plan.json", "finetuned/best.weights"):
        assert (tmp_path / name).read_bytes() == (study / name).read_bytes(), name


def test_killed_in_any_stage_it_ends_with_the_same(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, str(SCRIPT), "--out", str(out)]
    for stage in ("dense", "finetuned", "exported"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out / stage).exists():
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
        process.wait()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    for name in SAME:
        assert (out / name).read_bytes() == (study / name).read_bytes(), name


def test_a_time_limit_stops_after_a_checkpoint(tmp_path: Path, tiny: None) -> None:
    out = tmp_path / "run"
    result = run("case-study", "--preset", "demo", "--out", out, "--time-limit", 0)
    assert result.exit_code == 3 and "run the same command again" in result.stderr
    assert run("case-study", "--preset", "demo", "--out", out, "--stage", "data").exit_code == 0
    assert (out / "data" / "manifest.json").exists() and not (out / "dense").exists()
    assert run("case-study", "--preset", "demo", "--out", out, "--stage", "data",
               "--sparsity", 0.25, 2, "--precision", "bfloat16",
               "--epochs", 5, "--finetune-epochs", 4).exit_code == 0  # fmt: skip
    document = json.loads((out / "report.json").read_text())
    line = document["commands"][0]["line"]
    for options in ("--sparsity 0.25 2", "--precision bfloat16", "--epochs 5 --finetune-epochs 4"):
        assert options in line


def test_bad_input_is_one_line(study: Path, tmp_path: Path, tiny: None) -> None:
    start = ("case-study", "--out", tmp_path / "run", "--quiet")
    assert "needs --data" in refused(*start, "--preset", "cpu")
    assert "unknown (known: full, cpu, demo)" in refused(*start, "--preset", "huge")
    assert "unknown (known: data" in refused(*start, "--preset", "demo", "--stage", "lunch")
    assert "unknown (known: scratch" in refused(*start, "--preset", "demo", "--control", "x")
    assert "not finished" in refused(*start, "--preset", "demo", "--stage", "pruned")
    assert "in (0, 1)" in refused(*start, "--preset", "demo", "--keep-macs", 3)
    assert "precision must be" in refused(*start, "--preset", "demo", "--precision", "int8")
    again = ("case-study", "--preset", "demo", "--out", study, "--quiet")
    assert "keep_macs" in refused(*again, "--keep-macs", 0.5)
    assert "another data" in refused(*again, "--data", tmp_path)
    assert "not the folder of a case study" in refused("report", tmp_path)
