"""`case-study` and `report` as a user types them: the rows, the repeats, the stops."""

import json
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from demo.hands import write_rendered_hands
from tests.cli.commands import refused, run
from tests.processes import begun, ended, in_ranks
from tests.workflows.case_study.tiny import TINY, torch_alone
from tests.workflows.case_study.tiny import study as study_of
from yoloprune.darknet.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.engines import benchmark
from yoloprune.workflows.case_study import measurements
from yoloprune.workflows.case_study.settings import PRESETS

Start = tuple[object, ...]
CONTROLS = ("--control", "random", "--control", "uniform")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "demo", TINY)
    monkeypatch.setattr(benchmark, "default_engines", torch_alone)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data in the form of the original; not to be changed."""
    root = tmp_path_factory.mktemp("rendered") / "original"
    write_rendered_hands(root, train=28, test=6)
    return root


@pytest.fixture(scope="module")
def start(original: Path) -> Start:
    """How a command begins, up to the folder of the study."""
    return ("case-study", "--preset", "demo", "--quiet", "--data", original, "--out")


@pytest.fixture(scope="module")
def finished(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with controls; not to be changed."""
    out = tmp_path_factory.mktemp("study") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "demo", TINY)
        patch.setattr(benchmark, "default_engines", torch_alone)
        result = run(*start, out, *CONTROLS)
    assert result.exit_code == 0, (result.output, result.exception)
    return out


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, which also shows that a run can be moved."""
    return Path(shutil.copytree(finished, tmp_path / "moved"))


def files(folder: Path) -> dict[str, bytes]:
    """All but what a killed process leaves, which goes when it is old."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    return {str(name): (folder / name).read_bytes() for name in visible}


def test_the_report_has_a_row_for_each_network(finished: Path) -> None:
    document = json.loads((finished / "report.json").read_text())
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == ["Original", "Pruned", "Fine-tuned", "Random", "Uniform"]
    for name, path in (("Original", "dense/best"), ("Pruned", "pruned/slim")):
        total = cost(read_cfg(finished / f"{path}.cfg"))
        assert (rows[name]["params"], rows[name]["macs"]) == (total.params, total.macs)
    assert rows["Pruned"]["macs"] <= 0.3 * rows["Original"]["macs"]
    assert rows["Uniform"]["macs"] <= 0.3 * rows["Original"]["macs"]
    best = finished / "finetuned" / "best.cfg"
    evaluated = run(
        "evaluate", best, best.with_suffix(".weights"), "--data", finished / "data" / "hands",
        "--protocol", "both", "--json",
    )  # fmt: skip
    figures = json.loads(evaluated.stdout)["evaluations"]
    assert rows["Fine-tuned"]["map50"] == figures[0]["map50"]
    assert rows["Fine-tuned"]["map50_coco"] == figures[1]["map50"]
    assert all(row["latency_ms"] > 0 for row in rows.values())
    assert rows["Pruned"]["latency_ms"] == rows["Fine-tuned"]["latency_ms"]
    assert not any(check["problem"] for check in document["checks"])


def test_finished_stages_are_not_done_again(start: Start, study: Path, tiny: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("manifest.json")}
    assert run(*start, study).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in study.rglob("manifest.json")} == before
    (study / "report.html").unlink()
    result = run("report", study)
    assert result.exit_code == 0 and "| Fine-tuned" in result.stdout and "| Random" in result.stdout
    assert "<img" in (study / "report.html").read_text()


def test_a_refused_run_changes_nothing(
    start: Start, study: Path, tmp_path: Path, tiny: None
) -> None:
    before = files(study)
    again = (*start, study)
    assert "keep_macs" in refused(*again, "--keep-macs", 0.5)
    assert "keep_macs" in refused(*again, "--keep-macs", 0.5, "--stage", "exported")
    assert "epochs" in refused(*again, "--epochs", 7)
    assert "another data" in refused(*again, "--data", tmp_path)
    assert files(study) == before


def test_changed_files_are_noticed(start: Start, study: Path, tiny: None) -> None:
    accuracy = study / "evaluated" / "original.json"
    before = accuracy.read_text()
    accuracy.write_text(before.replace("map50", "map51"))
    assert "not the file that was made" in refused("report", study)
    assert run(*start, study).exit_code == 0
    assert accuracy.read_text() == before
    weights = study / "finetuned" / "best.weights"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert "finetuned/best.weights is not the file" in refused(*start, study)
    shutil.rmtree(study / "finetuned")
    label = next((study / "data" / "hands" / "labels" / "train").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.1 0.1\n")
    assert "images or labels have changed" in refused(*start, study)


def test_a_control_can_be_added_later(start: Start, study: Path, tiny: None) -> None:
    kept = (study / "finetuned" / "best.weights").stat().st_mtime_ns
    assert run(*start, study, "--control", "scratch").exit_code == 0
    rows = [row["name"] for row in json.loads((study / "report.json").read_text())["rows"]]
    assert rows == ["Original", "Pruned", "Fine-tuned", "Random", "Uniform", "Scratch"]
    assert (study / "finetuned" / "best.weights").stat().st_mtime_ns == kept


def test_slim_onnx_can_have_raw_maps_and_the_report_says_which(
    start: Start, study: Path, tiny: None
) -> None:
    path, report = study / "exported" / "slim.onnx", study / "report.md"
    names = [output.name for output in onnxruntime.InferenceSession(str(path)).get_outputs()]
    assert names == ["boxes", "scores"]
    assert "- Output `boxes`: (batch," in report.read_text()
    assert "- Classes: hand." in report.read_text()
    kept = (study / "finetuned" / "best.weights").stat().st_mtime_ns
    assert run(*start, study, "--raw").exit_code == 0
    names = [output.name for output in onnxruntime.InferenceSession(str(path)).get_outputs()]
    assert all(name.startswith("head_") for name in names)
    text = report.read_text()
    assert "raw map of a [yolo] head" in text and "--raw" in text
    # The program that is printed for a decoded file would not run.
    assert "onnxruntime.InferenceSession" not in text
    assert (study / "finetuned" / "best.weights").stat().st_mtime_ns == kept


def test_the_commands_of_the_report_repeat_the_study(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: None
) -> None:
    monkeypatch.chdir(tmp_path)
    document = json.loads((finished / "report.json").read_text())
    for command in document["commands"][1:]:
        words = shlex.split(command["line"])[1:]
        quick = ["--workers", 0] if "--epochs" in words else []
        quick += ["--runs", 1] if words[0] == "benchmark" else []
        result = run(*words, *quick)
        assert result.exit_code == 0, (words, result.output, result.exception)
    for name in ("dense/best.weights", "pruned/plan.json", "finetuned/best.weights",
                 "random/best.weights", "uniform/best.weights"):  # fmt: skip
        assert (tmp_path / "repeat" / name).read_bytes() == (finished / name).read_bytes(), name


def test_killed_it_ends_with_the_same(original: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("--data", original, "--out", out, *CONTROLS)
    for written in ("data", "dense/last.pt", "finetuned/last.pt", "random-pruned",
                    "evaluated/original.json", "exported/slim.onnx"):  # fmt: skip
        process = begun(study_of, words)
        while process.is_alive() and not (out / written).exists():
            time.sleep(0.005)
        assert process.is_alive(), written
        process.kill()
        process.join()
        assert not (out / Path(written).parts[0] / "manifest.json").exists(), written
    assert ended(begun(study_of, words)) == 0
    stopped, whole = files(out), files(finished)
    timed = ("manifest.json", "latency.json", ".pt", "report.html", "report.md",
             "report.json", ".png", "batch.jpg")  # fmt: skip
    assert stopped.keys() == whole.keys()
    for name, content in whole.items():
        assert stopped[name] == content or name.endswith(timed), name


def test_two_processes_make_a_study(original: Path, tmp_path: Path) -> None:
    words = ("--data", original, "--out", tmp_path / "run")
    assert in_ranks(2, study_of, words) == [0, 0]
    assert (tmp_path / "run" / "report.html").exists()


def test_a_time_limit_stops_after_a_checkpoint(
    start: Start, finished: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    result = run(*start, out, "--time-limit", 0)
    assert result.exit_code == 3 and "run the same command again" in result.stderr
    assert run(*start, out, "--stage", "data").exit_code == 0
    assert (out / "data" / "manifest.json").exists() and not (out / "dense").exists()
    clock = iter([0.0, *[1.0] * 3, *[1e9] * 99])
    monkeypatch.setattr(measurements, "RUNS", 1)
    monkeypatch.setattr("yoloprune.workflows.case_study.study.monotonic", lambda: next(clock))
    result = run(*start, out, "--time-limit", 1, "--stage", "dense")
    assert result.exit_code == 3, result.output
    assert (out / "dense" / "last.pt").exists()
    assert not (out / "dense" / "manifest.json").exists()
    assert run(*start, out, "--stage", "dense").exit_code == 0
    assert (out / "dense/best.weights").read_bytes() == (
        finished / "dense/best.weights"
    ).read_bytes()


def test_a_given_network_is_made_sparse_first(
    start: Start, finished: Path, tmp_path: Path, tiny: None
) -> None:
    out = tmp_path / "run"
    given = (*start, out, "--dense", finished / "dense/best.cfg", finished / "dense/best.weights",
             "--sparsity", 0.25, 1, "--precision", "bfloat16", "--finetune-epochs", 1)  # fmt: skip
    for stage in ("data", "dense", "sparse", "pruned", "finetuned"):
        assert run(*given, "--stage", stage).exit_code == 0, stage
    document = json.loads((out / "report.json").read_text())
    line = document["commands"][0]["line"]
    for options in ("--sparsity 0.25 1", "--precision bfloat16", "--finetune-epochs 1"):
        assert options in line
    assert "width" not in document["settings"] and "given" in document["notes"]["Original"]
    assert json.loads((out / "pruned" / "report.json").read_text())["settings"] == {
        "criterion": "bn-scale", "compensation": "carrier",
    }  # fmt: skip


def test_a_given_network_of_other_classes_gets_heads_for_the_data(
    start: Start, finished: Path, tmp_path: Path, tiny: None
) -> None:
    data = shutil.copytree(finished / "data" / "hands", tmp_path / "hands")
    for kind in ("images", "labels"):
        shutil.copytree(data / kind / "test", data / kind / "val")
        shutil.copytree(data / kind / "train", data / kind / "mine")
    run("zoo", "yolov3-tiny", "--classes", 5, "--width", 0.0625, "--size", 64,
        "--out", tmp_path / "five.cfg")  # fmt: skip
    run("init", tmp_path / "five.cfg", "--out", tmp_path / "five.weights")
    out = tmp_path / "run"
    mine = (*start, out, "--data", data, "--train-split", "mine", "--val-split", "val",
             "--dense", tmp_path / "five.cfg", tmp_path / "five.weights", "--stage")  # fmt: skip
    assert "5 classes, the data 1: --fit-heads" in refused(*mine, "data")
    for stage in ("data", "dense"):
        result = run(*mine, stage, "--fit-heads")
        assert result.exit_code == 0, (result.output, result.exception)
    spec = read_cfg(out / "dense" / "best.cfg")
    assert {head.classes for head in spec.heads} == {1} and len(spec.heads) == 2
    counts = json.loads((out / "data" / "data.json").read_text())["images"]
    assert counts == {"training": 28, "validation": 6, "test": 6}
    document = json.loads((out / "report.json").read_text())
    lines = [command["line"] for command in document["commands"]]
    assert "--fit-heads --train-split mine --val-split val" in lines[0]
    assert "--weights" in lines[1] and "--fit-heads" in lines[1] and "--hold-out" not in lines[1]
    assert "with heads for the data" in document["notes"]["Original"]
    assert "another fit_heads" in refused(*mine, "pruned")
    assert "also the test images" in refused(
        *start, tmp_path / "no", "--data", data, "--train-split", "test", "--stage", "data"
    )
    assert "--dense" in refused(*start, tmp_path / "no", "--fit-heads")


def test_damaged_originals_are_told_of(
    original: Path, start: Start, tmp_path: Path, tiny: None
) -> None:
    damaged = shutil.copytree(original, tmp_path / "damaged")
    broken = next(damaged.rglob("training_data/annotations/*.mat"))
    broken.write_bytes(b"nothing")
    result = run(*start, tmp_path / "run", "--data", damaged, "--stage", "data")
    assert result.exit_code == 0 and broken.name in result.stderr
    report = (tmp_path / "run" / "report.md").read_text()
    assert broken.name in report and "this is not all of it" in report


def test_what_other_engines_compute_otherwise_is_told(
    finished: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "OPENCV_TOLERANCE", 1e-12)
    folder = study / "exported"
    measurements.make_export(study, folder)
    problems = [check["problem"] for check in json.loads((folder / "checks.json").read_text())]
    assert np.count_nonzero(problems) == 1 and "OpenCV computes something else" in problems


def test_bad_input_is_one_line(start: Start, original: Path, tmp_path: Path, tiny: None) -> None:
    bare = ("case-study", "--out", tmp_path / "run", "--quiet")
    assert "Missing option '--data'" in refused(*bare, "--preset", "cpu")
    run_of = (*bare, "--data", original)
    assert "unknown (known: full, cpu, demo)" in refused(*run_of, "--preset", "huge")
    assert "unknown (known: data" in refused(*run_of, "--preset", "demo", "--stage", "lunch")
    assert "unknown (known: scratch" in refused(*run_of, "--preset", "demo", "--control", "x")
    assert "not finished" in refused(*run_of, "--preset", "demo", "--stage", "pruned")
    assert "in (0, 1)" in refused(*run_of, "--preset", "demo", "--keep-macs", 3)
    assert "magic" in refused(*run_of, "--preset", "demo", "--criterion", "magic")
    assert "precision must be" in refused(*run_of, "--preset", "demo", "--precision", "int8")
    assert "not the folder of a case study" in refused("report", tmp_path)
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "precious.txt").write_text("kept")
    assert "not a folder of this run" in refused(*start, tmp_path / "mine")
    assert (tmp_path / "mine" / "data" / "precious.txt").exists()
    (tmp_path / "run" / "study.json").write_text("{}")
    assert "damaged" in refused("report", tmp_path / "run")
    (tmp_path / "run" / "study.json").write_text("{")
    assert "damaged" in refused(*start, tmp_path / "run")
