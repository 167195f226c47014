"""The case study: the rows of its report, the repeats, the stops."""

import json
import shlex
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from demo.hands import write_rendered_hands
from tests.cli.commands import run
from tests.processes import begun, ended, in_ranks
from tests.reporters import Heard
from tests.workflows.case_study.tiny import TINY, shrink
from tests.workflows.case_study.tiny import study as study_of
from yoloprune.errors import (
    ClassesError,
    DatasetError,
    PlanError,
    RunError,
    UsageError,
    YoloPruneError,
)
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import read_cfg, write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import kept_filters
from yoloprune.report.pruning import channels_by_layer
from yoloprune.report.study import Study
from yoloprune.workflows.case_study import collect, measurements
from yoloprune.workflows.case_study.collect import read_study
from yoloprune.workflows.case_study.study import TimeIsUpError, case_study, report
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.models import load

Start = Callable[..., Study]
CONTROLS = ("random", "uniform")
ROWS = ["Original", "Pruned", "Re-fitted", "Distilled", "Fine-tuned", "Random", "Uniform"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data in the form of the original; not to be changed."""
    root = tmp_path_factory.mktemp("rendered") / "original"
    write_rendered_hands(root, train=28, test=6)
    return root


@pytest.fixture(scope="module")
def start(original: Path) -> Start:
    """Does a study in the folder that it is given."""
    return partial(case_study, original, preset="demo")


@pytest.fixture(scope="module")
def finished(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with controls; not to be changed."""
    out = tmp_path_factory.mktemp("study") / "run"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        start(out, controls=CONTROLS)
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
    assert list(rows) == ROWS
    for name, path in (("Original", "dense/best"), ("Pruned", "pruned/slim")):
        total = cost(read_cfg(finished / f"{path}.cfg"))
        assert (rows[name]["params"], rows[name]["macs"]) == (total.params, total.macs)
    assert rows["Pruned"]["macs"] <= 0.3 * rows["Original"]["macs"]
    assert rows["Uniform"]["macs"] <= 0.3 * rows["Original"]["macs"]
    best = finished / "finetuned" / "best.cfg"
    for protocol, column in (("case-study", "map50"), ("coco", "map50_coco")):
        found = evaluate(load(best), finished / "data" / "hands", protocol=protocol)
        assert rows["Fine-tuned"][column] == found.map50
    assert all(row["latency_ms"] > 0 for row in rows.values())
    assert "on 1 thread of a CPU" in (finished / "report.md").read_text()
    assert "Distillation, step by step" in (finished / "report.html").read_text()
    assert rows["Pruned"]["latency_ms"] == rows["Fine-tuned"]["latency_ms"]
    assert not any(check["problem"] for check in document["checks"])
    fitted = json.loads((finished / "refitted" / "report.json").read_text())["recovery"]["images"]
    assert 1 < fitted < TINY.calibration_images
    assert f"by {fitted} training images" in document["notes"]["Re-fitted"]


def test_finished_stages_are_not_done_again(start: Start, study: Path, tiny: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("manifest.json")}
    start(study)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("manifest.json")} == before
    (study / "report.html").unlink()
    names = [measurement.name for measurement in report(study).measurements]
    assert names == ROWS
    assert "<img" in (study / "report.html").read_text()


def test_a_refused_run_changes_nothing(
    start: Start, study: Path, tmp_path: Path, tiny: None
) -> None:
    before = files(study)
    for changes, words in (
        ({"keep_macs": 0.5}, "keep_macs"),
        ({"keep_macs": 0.5, "stage": "exported"}, "keep_macs"),
        ({"epochs": 7}, "epochs"),
    ):
        with pytest.raises(RunError, match=words):
            start(study, **changes)
    with pytest.raises(RunError, match="another data"):
        case_study(tmp_path, study, preset="demo")
    assert files(study) == before


def test_changed_files_are_noticed(start: Start, study: Path, tiny: None) -> None:
    accuracy = study / "evaluated" / "original.json"
    before = accuracy.read_text()
    accuracy.write_text(before.replace("map50", "map51"))
    with pytest.raises(RunError, match="not the file that was made"):
        report(study)
    start(study)
    assert accuracy.read_text() == before
    log = study / "finetuned" / "log.jsonl"
    lines = log.read_text()
    log.unlink()
    with pytest.raises(RunError, match=r"finetuned/log\.jsonl is not the file"):
        report(study)
    log.write_text(lines)
    weights = study / "finetuned" / "best.weights"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(RunError, match=r"finetuned/best\.weights is not the file"):
        start(study)
    shutil.rmtree(study / "finetuned")
    label = next((study / "data" / "hands" / "labels" / "train").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DatasetError, match="images or labels have changed"):
        start(study)


def test_a_control_can_be_added_later(start: Start, study: Path, tiny: None) -> None:
    kept = (study / "finetuned" / "best.weights").stat().st_mtime_ns
    start(study, controls=("scratch",))
    rows = [row["name"] for row in json.loads((study / "report.json").read_text())["rows"]]
    assert rows == [*ROWS, "Scratch"]
    assert (study / "finetuned" / "best.weights").stat().st_mtime_ns == kept


def test_slim_onnx_can_have_raw_maps_and_the_report_says_which(
    start: Start, study: Path, tiny: None
) -> None:
    path, page = study / "exported" / "slim.onnx", study / "report.md"
    names = [output.name for output in onnxruntime.InferenceSession(str(path)).get_outputs()]
    assert names == ["boxes", "scores"]
    assert "- Output `boxes`: (batch," in page.read_text()
    assert "- Classes: hand." in page.read_text()
    kept = (study / "finetuned" / "best.weights").stat().st_mtime_ns
    start(study, decoded=False)
    names = [output.name for output in onnxruntime.InferenceSession(str(path)).get_outputs()]
    assert all(name.startswith("head_") for name in names)
    text = page.read_text()
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
        same = (tmp_path / "repeat" / name).read_bytes() == (finished / name).read_bytes()
        assert same, name


def test_killed_it_ends_with_the_same(original: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    controls = [word for control in CONTROLS for word in ("--control", control)]
    words = ("--data", original, "--out", out, *controls)
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
    timed = ("manifest.json", "attempt.json", "latency.json", ".pt", "report.html", "report.md",
             "report.json", ".png", "batch.jpg")  # fmt: skip
    assert stopped.keys() == whole.keys()
    for name, content in whole.items():
        assert stopped[name] == content or name.endswith(timed), name


def test_two_processes_make_a_study(original: Path, tmp_path: Path) -> None:
    words = ("--data", original, "--out", tmp_path / "run")
    assert [done.returncode for done in in_ranks(2, study_of, words)] == [0, 0]
    assert (tmp_path / "run" / "report.html").exists()


def test_a_time_limit_stops_after_a_checkpoint(
    start: Start, finished: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with pytest.raises(TimeIsUpError, match="before stage data"):
        start(out, minutes=0)
    start(out, stage="data")
    assert (out / "data" / "manifest.json").exists() and not (out / "dense").exists()
    clock = iter([0.0, *[1.0] * 3, *[1e9] * 99])
    monkeypatch.setattr(measurements, "RUNS", 1)
    monkeypatch.setattr("yoloprune.workflows.case_study.study.monotonic", lambda: next(clock))
    with pytest.raises(TimeIsUpError, match="dense"):
        start(out, minutes=1, stage="dense")
    assert (out / "dense" / "last.pt").exists()
    assert not (out / "dense" / "manifest.json").exists()
    start(out, stage="dense")
    assert (out / "dense/best.weights").read_bytes() == (
        finished / "dense/best.weights"
    ).read_bytes()


def test_a_given_network_is_made_sparse_first(
    start: Start, finished: Path, tmp_path: Path, tiny: None
) -> None:
    out = tmp_path / "run"
    given = (finished / "dense/best.cfg", finished / "dense/best.weights")
    for stage in ("data", "dense", "sparse", "pruned", "refitted", "distilled", "finetuned"):
        start(
            out, stage=stage, dense=given, sparsity=0.25, sparsity_epochs=1, criterion="bn-scale",
            precision="bfloat16", finetune_epochs=1,
        )  # fmt: skip
    document = json.loads((out / "report.json").read_text())
    line = document["commands"][0]["line"]
    for options in ("--sparsity 0.25 1", "--precision bfloat16", "--finetune-epochs 1"):
        assert options in line
    assert "width" not in document["settings"] and "given" in document["notes"]["Original"]
    assert json.loads((out / "pruned" / "report.json").read_text())["settings"] == {
        "criterion": "bn-scale", "compensation": "carrier",
    }  # fmt: skip


def test_channels_go_in_cuts_with_training_between_them(
    start: Start, finished: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    given = (finished / "dense/best.cfg", finished / "dense/best.weights")

    def steps(stages: str, **more: Any) -> None:
        start(out, stage=stages, dense=given, step=0.25, step_epochs=1, keep_macs=0.5, **more)

    steps("data,dense,step-01,step-01-trained,pruned,refitted,distilled,finetuned,exported")
    shares = [
        cost(read_cfg(out / stage / name)).macs / cost(read_cfg(given[0])).macs
        for stage, name in (("step-01", "slim.cfg"), ("pruned", "slim.cfg"))
    ]
    assert 0.5 < shares[0] <= 0.75 and shares[1] <= 0.5
    document = json.loads((out / "report.json").read_text())
    assert "2 cuts of at most 0.25" in document["notes"]["Pruned"]
    assert "--iterate 0.25 1" in document["commands"][0]["line"]
    assert any("Each of 2 cuts equals" in check["statement"] for check in document["checks"])
    assert not any(check["problem"] for check in document["checks"])
    seconds = [
        json.loads((out / stage / "manifest.json").read_text())["seconds"]
        for stage in ("step-01", "step-01-trained", "pruned")
    ]
    pruned = next(row for row in document["rows"] if row["name"] == "Pruned")
    assert pruned["seconds"] == pytest.approx(sum(seconds))
    # The plan of the report is that of the original: what both cuts kept.
    found = read_study(out)
    dense, slim = load(out / "dense" / "best.cfg"), load(out / "pruned" / "slim.cfg")
    assert found.selection is not None
    kept = kept_filters(analyze(dense.graph), found.selection.plan)
    assert [*map(len, kept.values())] == [
        row["slim"] for row in channels_by_layer(dense, slim).values()
    ]
    assert found.training["Between cuts"].epochs == 1
    with monkeypatch.context() as patch:
        # What a grouped convolution that the first cut made depthwise comes to.
        patch.setattr(collect, "compose", _refused)
        assert read_study(out).selection is None
    seeds = {command["stage"]: command["seed"] for command in document["commands"]}
    assert (seeds["step 1, fine-tuning"], seeds["fine-tuning"]) == (1, 0)
    monkeypatch.chdir(tmp_path)
    for command in document["commands"][1:-2]:
        words = shlex.split(command["line"])[1:]
        result = run(*words, *(["--workers", 0] if "--epochs" in words else []))
        assert result.exit_code == 0, (words, result.output, result.exception)
    for name in ("step-01/slim.weights", "step-01-trained/best.weights", "pruned/plan.json",
                 "finetuned/best.weights"):  # fmt: skip
        assert (tmp_path / "repeat" / name).read_bytes() == (out / name).read_bytes(), name
    steps("random-step-01", controls=("random",))
    random, own = (cost(read_cfg(out / f"{name}step-01" / "slim.cfg")) for name in ("random-", ""))
    assert 0.5 < random.macs / cost(read_cfg(given[0])).macs <= 0.75 and random != own
    # One cut is made of other stages: that some of them are not finished would be no help.
    with pytest.raises(RunError, match=r"was made from other stages .*choose another folder"):
        start(out, dense=given, step=0.0, step_epochs=0, keep_macs=0.5)


def _refused(*_: object) -> None:
    raise PlanError("the parts must keep equally many")


def test_epochs_without_effect_are_told_of(
    start: Start, finished: Path, tmp_path: Path, tiny: None
) -> None:
    given = (finished / "dense/best.cfg", finished / "dense/best.weights")
    for name, more, warned in (
        ("as-it-is", {"epochs": 3}, ["`epochs` is ignored"]),
        ("without", {}, []),
    ):
        heard = Heard()
        start(tmp_path / name, stage="data", dense=given, reporter=heard, **more)
        assert [w.split(":")[0] for w in heard.warnings if "epochs" in w] == warned


def test_a_given_network_of_other_classes_gets_heads_for_the_data(
    start: Start, finished: Path, tmp_path: Path, tiny: None
) -> None:
    data = shutil.copytree(finished / "data" / "hands", tmp_path / "hands")
    for kind in ("images", "labels"):
        shutil.copytree(data / kind / "test", data / kind / "val")
        shutil.copytree(data / kind / "train", data / kind / "mine")
    five = yolov3_tiny(classes=5, width=0.0625, size=(64, 64))
    write_cfg(tmp_path / "five.cfg", five)
    write_weights(tmp_path / "five.weights", five, random_state(five))
    out = tmp_path / "run"
    mine = partial(
        case_study, data, out, preset="demo", train_split="mine", val_split="val",
        dense=(tmp_path / "five.cfg", tmp_path / "five.weights"),
    )  # fmt: skip
    with pytest.raises(ClassesError, match="5 classes, the data 1"):
        mine(stage="data")
    for stage in ("data", "dense"):
        mine(stage=stage, fit_heads=True)
    spec = read_cfg(out / "dense" / "best.cfg")
    assert {head.classes for head in spec.heads} == {1} and len(spec.heads) == 2
    counts = json.loads((out / "data" / "data.json").read_text())["images"]
    assert counts == {"training": 28, "validation": 6, "test": 6}
    document = json.loads((out / "report.json").read_text())
    lines = [command["line"] for command in document["commands"]]
    assert "--fit-heads --train-split mine --val-split val" in lines[0]
    assert "--weights" in lines[1] and "--fit-heads" in lines[1] and "--hold-out" not in lines[1]
    assert "with heads for the data" in document["notes"]["Original"]
    with pytest.raises(RunError, match="another fit_heads"):
        mine(stage="pruned")
    with pytest.raises(DatasetError, match="also the test images"):
        case_study(data, tmp_path / "no", preset="demo", train_split="test", stage="data")
    with pytest.raises(UsageError, match="`dense`"):
        start(tmp_path / "no", fit_heads=True)


def test_damaged_originals_are_told_of(original: Path, tmp_path: Path, tiny: None) -> None:
    damaged = shutil.copytree(original, tmp_path / "damaged")
    broken = next(damaged.rglob("training_data/annotations/*.mat"))
    broken.write_bytes(b"nothing")
    heard = Heard()
    case_study(damaged, tmp_path / "run", preset="demo", stage="data", reporter=heard)
    assert any(broken.name in warning for warning in heard.warnings)
    text = (tmp_path / "run" / "report.md").read_text()
    assert broken.name in text and "this is not all of it" in text


def test_what_other_engines_compute_otherwise_is_told(
    finished: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "OPENCV_TOLERANCE", 1e-12)
    folder = study / "exported"
    measurements.make_export(study, folder, ("pruned",))
    problems = [check["problem"] for check in json.loads((folder / "checks.json").read_text())]
    assert np.count_nonzero(problems) == 1 and "OpenCV computes something else" in problems


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "huge"}, r"unknown \(known: full, quarter, cpu, demo\)"),
        ({"stage": "data,lunch"}, r"'lunch' is unknown \(known: data"),
        ({"controls": ("x",)}, r"unknown \(known: scratch"),
        ({"stage": "pruned"}, "not finished"),
        ({"keep_macs": 3.0}, r"in \(0, 1\)"),
        ({"criterion": "magic"}, "magic"),
        ({"precision": "int8"}, "precision must be"),
        ({"width_of_heads": 3}, "'width_of_heads' of a study is unknown"),
    ],
)
def test_senseless_settings_are_named(
    start: Start, tmp_path: Path, tiny: None, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(YoloPruneError, match=words):
        start(tmp_path / "run", **settings)


def test_what_is_no_study_is_left_alone(start: Start, tmp_path: Path, tiny: None) -> None:
    with pytest.raises(RunError, match="not the folder of a case study"):
        report(tmp_path)
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "precious.txt").write_text("kept")
    with pytest.raises(RunError, match="not a folder of this run"):
        start(tmp_path / "mine")
    assert (tmp_path / "mine" / "data" / "precious.txt").exists()
    (tmp_path / "run").mkdir()
    for text in ("{}", "{"):
        (tmp_path / "run" / "study.json").write_text(text)
        with pytest.raises(RunError, match="damaged"):
            report(tmp_path / "run")
