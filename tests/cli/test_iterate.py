"""`iterate` as a user types it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.cli.commands import refused, run
from yoloprune.darknet.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights


def command(folder: Path, out: Path, *more: object) -> list[object]:
    """Two steps; of options that are given twice the last one counts."""
    cfg, weights = folder / "run" / "best.cfg", folder / "run" / "best.weights"
    return ["iterate", cfg, weights, "--data", folder / "data", "--out", out, "--step", 0.25,
            "--keep-macs", 0.5, "--epochs-per-step", 1, "--batch-size", 4, "--workers", 0,
            "--quiet", *more]  # fmt: skip


def accuracies(monkeypatch: pytest.MonkeyPatch, *values: float) -> Iterator[float]:
    """Let the next evaluations give these values."""
    following = iter(values)

    def evaluate(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(map50=next(following))

    monkeypatch.setattr("yoloprune.workflows.steps.evaluate", evaluate)
    return following


def test_it_prunes_in_steps_and_goes_on_after_a_stop(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    result = run(*command(folder, out, "--resume"))  # Nothing there yet: it starts.
    assert result.exit_code == 0, (result.output, result.exception)
    assert "those of step 2" in result.stdout
    dense = cost(read_cfg(folder / "run" / "best.cfg")).macs
    assert cost(read_cfg(out / "best.cfg")).macs <= 0.5 * dense
    final = (out / "best.weights").read_bytes()
    assert "give --resume" in refused(*command(folder, out))
    # As if killed in the second step, before its fine-tuning began.
    for name in ("trained", "evaluated"):
        shutil.rmtree(out / "step-02" / name)
    assert run(*command(folder, out, "--resume")).exit_code == 0
    assert (out / "best.weights").read_bytes() == final
    # As if killed while the pruned network of the second step was written.
    shutil.rmtree(out / "step-02" / "trained")
    for path in (out / "step-02").iterdir():
        if path.is_file() and path.name not in ("attempt.json", "slim.cfg"):
            path.unlink()
    assert run(*command(folder, out, "--resume")).exit_code == 0
    assert (out / "best.weights").read_bytes() == final
    # What is finished is neither trained nor evaluated again.
    accuracies(monkeypatch)
    monkeypatch.setattr("yoloprune.workflows.steps.train", None)
    again = run(*command(folder, out, "--resume"))
    assert (again.exit_code, again.stdout) == (0, result.stdout)


def test_a_run_that_was_started_otherwise_is_refused(folder: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "steps"
    shutil.copytree(folder / "data", data)
    started = command(folder, out, "--data", data, "--resume", "--hold-out", 0.25)
    assert run(*started).exit_code == 0
    for option, changed in (
        (["--layerwise"], "scope"),
        (["--criterion", "l1"], "criterion"),
        (["--step", 0.3], "step"),
        (["--learning-rate", 0.001], "learning_rate"),
        (["--seed", 1], "seed"),
        (["--hold-out", 0.3], "hold_out"),
    ):
        message = refused(*started, *option)
        assert "was started with another" in message and changed in message
    other = tmp_path / "other.weights"
    run("init", folder / "run" / "best.cfg", "--out", other)
    message = refused(*started[:2], other, *started[3:])
    assert "was started with another weights" in message
    assert run(*started, "--workers", 1).exit_code == 0  # Changes nothing in the result.
    label = next((data / "labels" / "train").iterdir())
    label.write_text("0 0.5 0.5 0.25 0.25\n")
    assert "another training_images" in refused(*started)


def test_what_cannot_work_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    for options, words in (
        (["--criterion", "magic"], "criterion 'magic' is unknown"),
        (["--step", 1.5], "must be in (0, 1)"),
        (["--keep-macs", 0.0001], "smallest reachable"),
        (["--batch-size", 64], "fewer than one batch"),
        (["--image-size", 40], "cannot join"),
    ):
        assert words in refused(*command(folder, out, *options))
        assert not out.exists()
    # Of the third layer's batch norm the criterion would have to know the scale.
    parts = (folder / "run" / "best.cfg").read_text().split("batch_normalize=1\n")
    plain = tmp_path / "plain.cfg"
    plain.write_text("batch_normalize=1\n".join(parts[:3]) + "batch_normalize=1\n".join(parts[3:]))
    run("init", plain, "--out", tmp_path / "plain.weights")
    swapped = command(folder, out, "--criterion", "bn-scale")
    swapped[1:3] = plain, tmp_path / "plain.weights"
    assert "has no batch norm, so bn-scale cannot rank" in refused(*swapped)
    assert not out.exists()
    assert "holds a training run" in refused(*command(folder, folder / "run"))


def test_a_dense_network_under_the_floor_is_not_pruned(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "steps"
    message = refused(*command(folder, out, "--map-floor", 1.0))
    assert "the dense network" in message and "under --map-floor 1" in message
    assert not (out / "step-01").exists() and not (out / "best.cfg").exists()


def test_steps_are_refitted_and_fine_tuned_now_and_then(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "steps"
    refit = ["--reconstruct", "--finetune-every", 2, "--calibration-images", 4,
             "--criterion", "activation"]  # fmt: skip
    assert "needs --reconstruct" in refused(*command(folder, out, *refit[1:]))
    result = run(*command(folder, out, *refit))
    assert result.exit_code == 0, (result.output, result.exception)
    # The first of two steps is the re-fitted network itself; the last one is always trained.
    for step, trained in (("step-01", False), ("step-02", True)):
        slim, last = (out / step / f"{name}.weights" for name in ("slim", "trained/last"))
        assert (slim.read_bytes()[20:] != last.read_bytes()[20:]) is trained
        assert (out / step / "trained" / "last.pt").exists() is trained
    # Each step is a folder of `prune`: of the dense network, and of the step before.
    pairs = [folder / "run" / "best", out / "step-01" / "trained" / "last"]
    for before, step in zip(pairs, ("step-01", "step-02"), strict=True):
        dense = [before.with_suffix(".cfg"), before.with_suffix(".weights")]
        said = run("verify", *dense, out / step)
        assert said.exit_code == 0, (said.output, said.exception)
        assert "were recovered" in said.stdout
        assert "4 images" in (out / step / "report.md").read_text()
    final = (out / "best.weights").read_bytes()
    (out / "step-01" / "slim.cfg").unlink()
    assert "not the file that was made here" in refused(*command(folder, out, *refit, "--resume"))
    for step in ("step-01", "step-02"):
        shutil.rmtree(out / step)
    assert run(*command(folder, out, *refit, "--resume")).exit_code == 0
    assert (out / "best.weights").read_bytes() == final
    other = ["--calibration-images", 5, "--resume"]
    assert "another calibration_images" in refused(*command(folder, out, *refit, *other))


def test_it_keeps_the_last_good_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    accuracies(monkeypatch, 0.9, 0.8, 0.6)
    result = run(*command(folder, out, "--map-floor", 0.7))
    assert result.exit_code == 0, (result.output, result.exception)
    assert "those of step 1" in result.stdout
    for name, header in (("cfg", 0), ("weights", 20)):  # Which counts the images that were seen.
        kept = (out / f"best.{name}").read_bytes()
        assert kept[header:] == (out / "step-01" / "trained" / f"last.{name}").read_bytes()[header:]


def test_the_floor_waits_for_the_training_that_follows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    refit = ["--reconstruct", "--finetune-every", 2, "--calibration-images", 4, "--map-floor", 0.7]
    accuracies(monkeypatch, 0.9, 0.1, 0.8)
    result = run(*(word for word in command(folder, out, *refit) if word != "--quiet"))
    assert result.exit_code == 0, (result.output, result.exception)
    assert "mAP@0.5 (coco) 0.1000 (to be trained later)" in result.stderr
    assert "those of step 2" in result.stdout
    # A step that is not trained is never the best one, though it is above the floor.
    accuracies(monkeypatch, 0.9, 0.8, 0.1)
    for step in (0, 1, 2):
        shutil.rmtree(out / f"step-0{step}" / "evaluated")
    result = run(*command(folder, out, *refit, "--resume"))
    assert "those of step 0" in result.stdout


def test_fine_tuning_goes_on_from_the_best_network_of_a_run(folder: Path, tmp_path: Path) -> None:
    assert run(*command(folder, tmp_path / "steps")).exit_code == 0
    tune = ["finetune", tmp_path / "steps", "--data", folder / "data", "--epochs", 1,
            "--batch-size", 4, "--workers", 0, "--quiet", "--out", tmp_path / "run"]  # fmt: skip
    result = run(*tune)
    assert result.exit_code == 0, (result.output, result.exception)
    specs = [read_cfg(tmp_path / name / "best.cfg") for name in ("steps", "run")]
    assert specs[0].digest() == specs[1].digest()
    # The run could not go on if its best network were another one.
    into = ["finetune", tmp_path / "steps", *tune[2:-1], tmp_path / "steps"]
    assert "holds a run of iterate" in refused(*into)
    step = run("finetune", tmp_path / "steps" / "step-01", *tune[2:-1], tmp_path / "step")
    assert step.exit_code == 0, (step.output, step.exception)
    # A folder of neither kind is missed by the name that `prune` gives.
    (tmp_path / "nothing").mkdir()
    assert "slim.cfg" in refused(*tune[:1], tmp_path / "nothing", *tune[2:])


def test_a_changed_network_and_an_earlier_version_are_noticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    accuracies(monkeypatch, 0.9, 0.8, 0.7)
    assert run(*command(folder, out)).exit_code == 0
    trained = [out / step / "trained" for step in ("step-01", "step-02")]
    before = (trained[1] / "last.weights").read_bytes()
    (trained[1] / "last.weights").write_bytes((trained[0] / "last.weights").read_bytes())
    assert "last.weights is not the file" in refused(*command(folder, out, "--resume"))
    (trained[1] / "last.weights").write_bytes(before)
    # An accuracy that was changed is measured again.
    (out / "step-02" / "evaluated" / "accuracy.json").write_text('{"map50": 1.0}')
    accuracies(monkeypatch, 0.5)
    assert "0.5000" in run(*command(folder, out, "--resume")).stdout
    schedule = json.loads((out / "schedule.json").read_text())
    del schedule["version"]
    (out / "schedule.json").write_text(json.dumps(schedule))
    assert "another version of yoloprune" in refused(*command(folder, out, "--resume"))


def test_two_processes_prune_and_stop_as_one_does(folder: Path, tmp_path: Path) -> None:
    both = ["--hold-out", 0.25, "--step", 0.3, "--accumulate", 2]
    assert run(*command(folder, tmp_path / "one", *both)).exit_code == 0
    found = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "yoloprune", *map(str, command(folder, tmp_path / "two", *both))],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.count("those of step 2") == 1  # Only the first process prints.
    for step in ("step-01", "step-02"):
        plans = [(tmp_path / name / step / "plan.json").read_bytes() for name in ("one", "two")]
        assert plans[0] == plans[1], step
    spec = read_cfg(tmp_path / "one" / "best.cfg")
    states = [read_weights(tmp_path / name / "best.weights", spec) for name in ("one", "two")]
    for layer, parameters in states[0].items():
        assert torch.allclose(parameters.kernel, states[1][layer].kernel, atol=1e-4), layer
