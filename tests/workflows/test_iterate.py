"""Iterative pruning: its steps, and the runs that are resumed."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.processes import in_ranks, program
from tests.reporters import Heard
from yoloprune.errors import RunError, YoloPruneError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights, write_weights
from yoloprune.graph.model import Model
from yoloprune.pruning.weights.mask_file import read_masks
from yoloprune.pruning.weights.storage import read_packed
from yoloprune.training.run_folder import write_network
from yoloprune.workflows.iterate import Iterated, iterate
from yoloprune.workflows.models import load
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.sparsify import sparsify
from yoloprune.workflows.train import finetune
from yoloprune.workflows.training_data import TrainingSource

QUICK = {"epochs": 1, "batch_size": 4, "workers": 0}


def steps(network: Model, data: Path | TrainingSource, out: Path, **options: Any) -> Iterated:
    """Two steps, unless asked otherwise."""
    return iterate(network, data, out, **{"keep_macs": 0.5, "step": 0.25, **QUICK, **options})


def accuracies(monkeypatch: pytest.MonkeyPatch, *values: float) -> Iterator[float]:
    """Let the next evaluations give these values."""
    following = iter(values)

    def evaluate(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(map50=next(following))

    monkeypatch.setattr("yoloprune.workflows.steps.evaluate", evaluate)
    return following


def test_it_prunes_in_steps_and_is_resumed(
    detector: Model, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    run = partial(steps, detector, painted, out)
    found = run(resume=True)  # Nothing there yet: it starts.
    assert (found.step, len(found.accuracies), found.kept[0]) == (2, 3, 1.0)
    dense, slim = (cost(darknet(network).spec).macs for network in (detector, found.model))
    assert found.kept[2] == slim / dense <= 0.5
    final = (out / "best.weights").read_bytes()
    with pytest.raises(RunError, match="give `resume`"):
        run()
    # As if killed in the second step, before its fine-tuning began.
    for name in ("trained", "evaluated"):
        shutil.rmtree(out / "step-02" / name)
    run(resume=True)
    assert (out / "best.weights").read_bytes() == final
    # As if killed while the pruned network of the second step was written.
    shutil.rmtree(out / "step-02" / "trained")
    for path in (out / "step-02").iterdir():
        if path.is_file() and path.name not in ("attempt.json", "slim.cfg"):
            path.unlink()
    run(resume=True)
    assert (out / "best.weights").read_bytes() == final
    # What is finished is neither trained nor evaluated again.
    accuracies(monkeypatch)
    monkeypatch.setattr("yoloprune.workflows.steps.train", None)
    again = run(resume=True)
    assert str(again) == str(found) and "the last good network, of step 2" in repr(again)


def test_a_run_that_was_started_otherwise_is_refused(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    data, out = shutil.copytree(painted, tmp_path / "data"), tmp_path / "steps"
    source = TrainingSource(path=data, hold_out=0.25)
    run = partial(steps, detector, source, out, resume=True)
    run()
    for changed in (
        {"scope": "layer"}, {"criterion": "l1"}, {"step": 0.3}, {"learning_rate": 0.001},
        {"seed": 1},
    ):  # fmt: skip
        with pytest.raises(RunError, match=f"was started with another {next(iter(changed))}"):
            run(**changed)
    with pytest.raises(RunError, match="another hold_out"):
        steps(detector, TrainingSource(path=data, hold_out=0.3), out, resume=True)
    spec = darknet(detector).spec
    write_weights(tmp_path / "other.weights", spec, random_state(spec, seed=4))
    source_cfg = darknet(detector).source
    with pytest.raises(RunError, match="another weights"):
        steps(load(source_cfg[0], tmp_path / "other.weights"), source, out, resume=True)
    run(workers=1)  # Changes nothing in the result.
    label = next((data / "labels" / "train").iterdir())
    label.write_text("0 0.5 0.5 0.25 0.25\n")
    with pytest.raises(RunError, match="another training_images"):
        run()


def test_what_cannot_work_is_refused_before_anything_is_written(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    for options, words in (
        ({"criterion": "magic"}, "criterion 'magic' is unknown"),
        ({"step": 1.5}, r"must be in \(0, 1\)"),
        ({"keep_macs": 0.0001}, "smallest reachable"),
        ({"batch_size": 64}, "fewer than one batch"),
        ({"image_size": 40}, "cannot join"),
        ({"schedule": "slow"}, "`schedule` 'slow' is unknown"),
        ({"finetune_every": 2}, "needs `reconstruct`"),
        ({"sparsity": 0.5}, "either `keep_macs` or `sparsity`"),
        ({"keep_macs": None}, "either `keep_macs` or `sparsity`"),
        ({"keep_macs": None, "sparsity": 1.5}, r"must be in \[0, 1\)"),
        ({"keep_macs": None, "sparsity": 0.9999}, "would lose all its weights"),
        ({"keep_macs": None, "sparsity": 0.5, "pattern": "2:4"}, "no steps"),
        ({"pace": 3}, "training setting 'pace' is unknown"),
    ):
        with pytest.raises(YoloPruneError, match=words):
            steps(detector, painted, out, **options)
        assert not out.exists()
    # Of the third layer's batch norm the criterion would have to know the scale.
    source = darknet(detector).source
    parts = source[0].read_text().split("batch_normalize=1\n")
    plain = tmp_path / "plain.cfg"
    plain.write_text("batch_normalize=1\n".join(parts[:3]) + "batch_normalize=1\n".join(parts[3:]))
    spec = read_cfg(plain)
    write_weights(tmp_path / "plain.weights", spec, random_state(spec))
    with pytest.raises(YoloPruneError, match="has no batch norm, so bn-scale cannot rank"):
        steps(load(plain), painted, out, criterion="bn-scale")
    assert not out.exists()
    out.mkdir()
    (out / "last.pt").touch()
    with pytest.raises(RunError, match="holds a training run"):
        steps(detector, painted, out)


def test_a_dense_network_under_the_floor_is_not_pruned(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    with pytest.raises(YoloPruneError, match=r"the dense network's .* is under `map_floor` 1"):
        steps(detector, painted, out, map_floor=1.0)
    assert not (out / "step-01").exists() and not (out / "best.cfg").exists()


def test_steps_are_refitted_and_fine_tuned_now_and_then(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    run = partial(
        steps, detector, painted, out, reconstruct=True, finetune_every=2, calibration_images=4,
        criterion="activation",
    )  # fmt: skip
    run()
    # The first of two steps is the re-fitted network itself; the last one is always trained.
    for step, trained in (("step-01", False), ("step-02", True)):
        slim, last = (out / step / f"{name}.weights" for name in ("slim", "trained/last"))
        assert (slim.read_bytes()[20:] != last.read_bytes()[20:]) is trained
        assert (out / step / "trained" / "last.pt").exists() is trained
    # Each step is a folder of `prune`: of the dense network, and of the step before.
    for dense, step in ((detector, "step-01"), (load(out / "step-01" / "trained"), "step-02")):
        cut = read_cut(out / step, dense)
        assert cut.recovery is not None and cut.recovery["images"] == 4
    final = (out / "best.weights").read_bytes()
    (out / "step-01" / "slim.cfg").unlink()
    with pytest.raises(RunError, match="not the file that was made here"):
        run(resume=True)
    for step in ("step-01", "step-02"):
        shutil.rmtree(out / step)
    run(resume=True)
    assert (out / "best.weights").read_bytes() == final
    with pytest.raises(RunError, match="another calibration_images"):
        run(resume=True, calibration_images=5)


def test_it_keeps_the_last_good_network(
    detector: Model, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    accuracies(monkeypatch, 0.9, 0.8, 0.6)
    found = steps(detector, painted, out, map_floor=0.7)
    assert (found.step, found.accuracies) == (1, (0.9, 0.8, 0.6))
    for name, header in (("cfg", 0), ("weights", 20)):  # Which counts the images that were seen.
        kept = (out / f"best.{name}").read_bytes()
        assert kept[header:] == (out / "step-01" / "trained" / f"last.{name}").read_bytes()[header:]


def test_the_floor_waits_for_the_training_that_follows(
    detector: Model, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, heard = tmp_path / "steps", Heard()
    run = partial(
        steps, detector, painted, out, reconstruct=True, finetune_every=2, calibration_images=4,
        map_floor=0.7, reporter=heard,
    )  # fmt: skip
    accuracies(monkeypatch, 0.9, 0.1, 0.8)
    assert run().step == 2
    assert any("mAP@0.5 (coco) 0.1000 (to be trained later)" in line for line in heard.lines)
    # A step that is not trained is never the best one, though it is above the floor.
    accuracies(monkeypatch, 0.9, 0.8, 0.1)
    for step in (0, 1, 2):
        shutil.rmtree(out / f"step-0{step}" / "evaluated")
    assert run(resume=True).step == 0


def test_fine_tuning_starts_from_the_best_network_of_a_run(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    best = steps(detector, painted, out).model
    tuned = finetune(out, painted, tmp_path / "run", **QUICK)
    assert tuned.model.graph.digest() == best.graph.digest()
    # The run could not go on if its best network were another one.
    with pytest.raises(RunError, match="holds a run of iterate"):
        finetune(out, painted, out, **QUICK)
    step = finetune(out / "step-01", painted, tmp_path / "step", **QUICK)
    assert step.model.graph.digest() == load(out / "step-01").graph.digest()
    # A folder of neither kind is missed by the name that pruning gives.
    (tmp_path / "nothing").mkdir()
    with pytest.raises(YoloPruneError, match=r"slim\.cfg"):
        finetune(tmp_path / "nothing", painted, tmp_path / "no", **QUICK)


def test_a_changed_network_and_an_earlier_version_are_noticed(
    detector: Model, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "steps"
    run = partial(steps, detector, painted, out, resume=True)
    accuracies(monkeypatch, 0.9, 0.8, 0.7)
    run()
    trained = [out / step / "trained" for step in ("step-01", "step-02")]
    before = (trained[1] / "last.weights").read_bytes()
    (trained[1] / "last.weights").write_bytes((trained[0] / "last.weights").read_bytes())
    with pytest.raises(RunError, match=r"last\.weights is not the file"):
        run()
    (trained[1] / "last.weights").write_bytes(before)
    # An accuracy that was changed is measured again.
    (out / "step-02" / "evaluated" / "accuracy.json").write_text('{"map50": 1.0}')
    accuracies(monkeypatch, 0.5)
    assert run().accuracies == (0.9, 0.8, 0.5)
    schedule = json.loads((out / "schedule.json").read_text())
    del schedule["version"]
    (out / "schedule.json").write_text(json.dumps(schedule))
    with pytest.raises(RunError, match="another version of yoloprune"):
        run()


def test_single_weights_go_in_steps_too(detector: Model, painted: Path, tmp_path: Path) -> None:
    out = tmp_path / "steps"
    run = partial(
        steps, detector, painted, out, keep_macs=None, sparsity=0.8, step=0.4, schedule="cubic",
        exclude=("heads",),
    )  # fmt: skip
    found = run()
    assert found.kept == pytest.approx([1.0, 0.3, 0.2], abs=1e-3)
    spec = read_cfg(out / "best.cfg")
    graph = lower(spec)
    arrays = parameters(read_weights(out / "best.weights", spec))
    first, last = (read_masks(out / f"step-0{n}" / "masks.json", graph).kept for n in (1, 2))
    for name, mask in last.items():
        assert (arrays[name][~mask] == 0).all()
        assert not (mask & ~first[name]).any()
    packed = read_packed(out / "sparse.packed", graph)
    assert all(torch.equal(packed[name], array) for name, array in arrays.items())
    assert read_masks(out / "masks.json", graph).kept.keys() == last.keys()
    final = (out / "best.weights").read_bytes()
    for name in ("trained", "evaluated"):
        shutil.rmtree(out / "step-02" / name)
    run(resume=True)
    assert (out / "best.weights").read_bytes() == final
    with pytest.raises(RunError, match="another weight_sparsity"):
        run(resume=True, sparsity=0.7)
    with pytest.raises(YoloPruneError, match=r"only 0\.2 of the weights are left already"):
        steps(found.model, painted, tmp_path / "more", keep_macs=None, sparsity=0.8,
              exclude=("heads",))  # fmt: skip
    assert not (tmp_path / "more").exists()


def test_files_of_a_network_that_is_no_longer_the_best_go(
    detector: Model, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(network: Model, *, run: Path, **_: object) -> None:
        write_network(run, "last", network)

    accuracies(monkeypatch, 0.9, 0.9, 0.5)
    monkeypatch.setattr("yoloprune.workflows.steps.train", untrained)
    out, heard = tmp_path / "steps", Heard()
    run = partial(
        steps, sparsify(detector, 0.3).model, painted, out, keep_macs=None, sparsity=0.5,
        map_floor=0.6, reporter=heard,
    )  # fmt: skip
    assert run().step == 1
    assert any("the steps up to 1 have no effect" in warning for warning in heard.warnings)
    # Fewer zeros are asked for than there are, and none comes back.
    masks = read_masks(out / "masks.json", detector.graph)
    assert sum(int(mask.sum()) for mask in masks.kept.values()) == pytest.approx(
        0.7 * sum(mask.numel() for mask in masks.kept.values()), abs=1
    )
    assert (out / "sparse.packed").exists()
    shutil.rmtree(out / "step-01" / "evaluated")
    accuracies(monkeypatch, 0.5)
    assert run(resume=True).step == 0
    assert not (out / "sparse.packed").exists() and not (out / "masks.json").exists()


def test_two_processes_prune_and_stop_as_one_does(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    source = darknet(detector).source
    steps(
        detector, TrainingSource(path=painted, hold_out=0.25), tmp_path / "one", step=0.3,
        accumulate=2,
    )  # fmt: skip
    command = ["iterate", *source, "--data", painted, "--out", tmp_path / "two", "--step", 0.3,
               "--keep-macs", 0.5, "--epochs-per-step", 1, "--batch-size", 4, "--workers", 0,
               "--hold-out", 0.25, "--accumulate", 2, "--quiet"]  # fmt: skip
    first, second = in_ranks(2, program, "yoloprune", *map(str, command))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    # Only the first process prints.
    assert first.stdout.count("the last good network, of step 2") == 1
    assert second.stdout == ""
    for step in ("step-01", "step-02"):
        plans = [(tmp_path / name / step / "plan.json").read_bytes() for name in ("one", "two")]
        assert plans[0] == plans[1], step
    spec = read_cfg(tmp_path / "one" / "best.cfg")
    states = [read_weights(tmp_path / name / "best.weights", spec) for name in ("one", "two")]
    for layer, arrays in states[0].items():
        assert torch.allclose(arrays.kernel, states[1][layer].kernel, atol=1e-4), layer
