"""`iterate` as a user types it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.commands import refused, run
from yoloprune.cli import iterate as command_module


def command(folder: Path, out: Path, *more: object) -> list[object]:
    """Two steps; of options that are given twice the last one counts."""
    cfg, weights = folder / "run" / "best.cfg", folder / "run" / "best.weights"
    return ["iterate", cfg, weights, "--data", folder / "data", "--out", out, "--step", 0.25,
            "--keep-macs", 0.5, "--epochs-per-step", 1, "--batch-size", 4, "--workers", 0,
            *more]  # fmt: skip


def test_steps_are_printed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    following = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(
        "yoloprune.workflows.steps.evaluate",
        lambda *_, **__: SimpleNamespace(map50=next(following)),
    )
    out = tmp_path / "steps"
    result = run(*command(folder, out))
    assert result.exit_code == 0, (result.output, result.exception)
    assert "| 2    |" in result.stdout and "the last good network, of step 2" in result.stdout
    assert "step 1: " in result.stderr and "epoch 1/1: loss" in result.stderr
    document = json.loads(run(*command(folder, out, "--resume", "--json")).stdout)
    assert [step["map50"] for step in document["steps"]] == [0.9, 0.8, 0.7]
    quiet = run(*command(folder, out, "--resume", "--quiet"))
    assert quiet.stdout.count("\n") == 1 and quiet.stderr == ""
    assert "give --resume" in refused(*command(folder, out))
    assert json.loads((out / "step-01" / "report.json").read_text())["made_by"]


def test_options_reach_the_workflow(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}

    def iterate_network(*_: Any, **options: Any) -> Any:
        found.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(command_module, "iterate_network", iterate_network)
    options = ["--layerwise", "--schedule", "cubic", "--reconstruct", "--finetune-every", 2,
               "--calibration-images", 5, "--map-floor", 0.2, "--criterion", "fpgm", "--round-to",
               4, "--image-size", "96x64", "--learning-rate", 0.1]  # fmt: skip
    run(*command(folder, tmp_path / "out", *options))
    expected = {
        "scope": "layer", "schedule": "cubic", "reconstruct": True, "finetune_every": 2,
        "calibration_images": 5, "map_floor": 0.2, "criterion": "fpgm", "multiple_of": 4,
        "image_size": (64, 96), "learning_rate": 0.1, "epochs": 1, "batch_size": 4,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_iterate_wants_the_target_that_its_method_has(folder: Path, tmp_path: Path) -> None:
    start = ["iterate", folder / "run" / "best.cfg", folder / "run" / "best.weights",
             "--data", folder / "data", "--out", tmp_path / "o", "--image-size", 64]  # fmt: skip
    for options in (
        [],
        ["--method", "weights"],
        ["--method", "weights", "--keep-macs", 0.5],
        ["--sparsity", 0.5],
        ["--keep-macs", 0.5, "--sparsity", 0.5],
    ):
        assert "--sparsity with --method weights" in refused(*start, *options)
    weights = [*start, "--method", "weights", "--sparsity"]
    assert "--sparsity 0 leaves nothing to do" in refused(*weights, 0)
    alone = "goes with --method channels alone"
    assert f"--criterion {alone}" in refused(*weights, 0.5, "--criterion", "l1")
    assert f"--reconstruct {alone}" in refused(*weights, 0.5, "--reconstruct")
    for option in (["--exclude", "heads"], ["--pattern", "1x4"]):
        message = refused(*start, "--keep-macs", 0.5, *option)
        assert f"{option[0]} goes with --method weights alone" in message
    assert "needs --reconstruct" in refused(*command(folder, tmp_path, "--finetune-every", 2))
    assert "under --map-floor 1" in refused(*command(folder, tmp_path / "m", "--map-floor", 1.0))
    assert not (tmp_path / "o").exists()
