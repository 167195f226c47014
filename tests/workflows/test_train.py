"""Training through Python: settings, teachers, fitted heads, zeros that stay, stops."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.reporters import Heard
from yoloprune.errors import RunError, UsageError, YoloPruneError
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.model import Model
from yoloprune.training.engine import InterruptedRunError
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.sparsify import sparsify
from yoloprune.workflows.train import finetune, initial_model, train
from yoloprune.workflows.training_data import TrainingSource

QUICK = {"epochs": 1, "batch_size": 4, "workers": 0}


def test_a_run_is_its_best_network_and_its_log(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    heard = Heard()
    run = train(detector, str(painted), str(tmp_path / "run"), reporter=heard, **QUICK)
    assert len(run.log) == 1 and run.map50 == run.log[0]["map50"]
    assert run.config.input_size == (64, 64)  # The network's own.
    assert run.model.graph.digest() == load(tmp_path / "run").graph.digest()
    assert heard.tracked == ["training"]
    assert heard.lines[-1].startswith("epoch 1/1: loss ")
    assert "16 training images of split train, 4 to judge by of split test" in str(run)
    with pytest.raises(RunError, match="give `resume`"):
        train(detector, painted, tmp_path / "run", **QUICK)
    again = train(detector, painted, tmp_path / "run", resume=True, **QUICK)
    assert again.log == run.log


def test_a_stopped_run_ends_with_the_same_weights(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise InterruptedRunError(0)

    twice = {**QUICK, "epochs": 2}
    train(detector, painted, tmp_path / "whole", **twice)
    with pytest.raises(InterruptedRunError):
        train(detector, painted, tmp_path / "parts", reporter=Heard(on_line=stop), **twice)
    train(detector, painted, tmp_path / "parts", resume=True, **twice)
    whole, parts = (tmp_path / name / "last.weights" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_a_cut_learns_from_its_dense_network(
    detector: Model, painted: Path, tmp_path: Path
) -> None:
    cut = prune(detector, {"macs": 0.6})
    source = TrainingSource(path=painted, hold_out=0.25)
    tuned = finetune(cut, source, tmp_path / "run", teacher=detector, **QUICK)
    assert tuned.log[0]["loss"]["distillation"] > 0
    assert tuned.model.graph.digest() == cut.slim.graph.digest()
    assert tuned.config.learning_rate == 0.005
    assert "held out of them" in str(tuned)
    other = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    write_cfg(tmp_path / "other.cfg", other)
    write_weights(tmp_path / "other.weights", other, random_state(other))
    with pytest.raises(UsageError, match="the teacher's heads differ"):
        finetune(cut, painted, tmp_path / "no", teacher=tmp_path / "other.cfg", **QUICK)


def test_zeros_stay_zero(detector: Model, painted: Path, tmp_path: Path) -> None:
    sparse = sparsify(detector, 0.8, scope="layer")
    sparse.save(tmp_path / "sparse")
    for number, network in enumerate((sparse, tmp_path / "sparse")):
        tuned = finetune(network, painted, tmp_path / str(number), **QUICK)
        for name, mask in sparse.masks.kept.items():
            assert (tuned.model.parameters[name][~mask] == 0).all()
        assert (tmp_path / str(number) / "masks.json").exists()
    first, second = ((tmp_path / n / "best.weights").read_bytes() for n in "01")
    assert first == second


def test_heads_are_made_for_the_data(painted: Path, tmp_path: Path) -> None:
    spec = yolov3_tiny(classes=5, width=0.125, size=(64, 64))
    write_cfg(tmp_path / "five.cfg", spec)
    write_weights(tmp_path / "five.weights", spec, random_state(spec))
    five, heard = load(tmp_path / "five.cfg"), Heard()
    painted = Path(shutil.copytree(painted, tmp_path / "data"))
    (painted / "painted.names").write_text("rectangle\n")
    with pytest.raises(YoloPruneError, match="the network's 5"):
        train(five, painted, tmp_path / "no", **QUICK)
    run = train(five, painted, tmp_path / "run", fit_heads=True, reporter=heard, **QUICK)
    assert {head.classes for head in darknet(run.model).spec.heads} == {1}
    assert any("5 classes before, 1 now" in line for line in heard.lines)


def test_a_network_starts_from_what_is_given(detector: Model, tmp_path: Path) -> None:
    source = darknet(detector).source
    cfg, weights = source
    given = initial_model(cfg, weights=weights)
    random, other = (initial_model(cfg, seed=seed) for seed in (0, 1))
    name = "layer_0.kernel"
    assert given.parameters[name].equal(detector.parameters[name])
    assert not random.parameters[name].equal(other.parameters[name])
    heard = Heard()
    taken = initial_model(cfg, transfer=detector, reporter=heard)
    assert "13 of 13 convolutions" in heard.lines[0]
    assert all(a.equal(detector.parameters[n]) for n, a in taken.parameters.items())
    with pytest.raises(UsageError, match="give only one of"):
        initial_model(cfg, weights=weights, transfer=detector)


def test_senseless_settings_are_named(detector: Model, painted: Path, tmp_path: Path) -> None:
    for settings, words in (
        ({"pace": 1}, "training setting 'pace' is unknown"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"image_size": 63}, "image_size must be"),
    ):
        with pytest.raises(UsageError, match=words):
            train(detector, painted, tmp_path / "run", **settings)
    with pytest.raises(YoloPruneError, match="no split"):
        train(detector, TrainingSource(path=painted, train_split="x"), tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_masks_are_of_the_weights_of_smallest_magnitude(detector: Model) -> None:
    sparse = sparsify(detector, 0.9, scope="layer", exclude=("first", "heads"))
    before, after = detector.parameters, sparse.model.parameters
    for name, mask in sparse.masks.kept.items():
        kernel = before[name].abs().numpy()
        assert kernel[~mask.numpy()].max() <= kernel[mask.numpy()].min()
        assert (after[name].numpy() == np.where(mask, before[name], 0)).all()
    assert repr(sparse).startswith("<Sparse net: ") and "| Sparse |" in str(sparse)
    heard = Heard()
    sparsify(detector, 0.5, pattern="2:4", scope="layer", reporter=heard)
    assert "the scope is ignored" in heard.warnings[0]
