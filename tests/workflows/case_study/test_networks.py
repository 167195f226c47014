import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from tests.training.painted import paint
from tests.workflows.case_study.tiny import TINY
from yoloprune.evaluation.protocols import PROTOCOLS
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.groups import analyze
from yoloprune.workflows import int8_forms
from yoloprune.workflows.case_study import networks
from yoloprune.workflows.case_study.chain import outcome_chain
from yoloprune.workflows.case_study.data import prepare_data, read_study_data
from yoloprune.workflows.case_study.measurements import make_evaluations, read_accuracy
from yoloprune.workflows.case_study.networks import DISTILLING, INT8, SCORES, Workshop
from yoloprune.workflows.case_study.subject import Subject
from yoloprune.workflows.models import load
from yoloprune.workflows.pruned_folder import read_cut


def untrained(*_: object, **__: object) -> None:
    raise AssertionError("nothing is trained here")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Of a run with data and a dense network that nobody trained."""
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    (tmp_path / "run" / "dense").mkdir(parents=True)
    write_cfg(tmp_path / "run" / "dense" / "best.cfg", spec)
    write_weights(tmp_path / "run" / "dense" / "best.weights", spec, random_state(spec))
    source = paint(tmp_path / "painted", train=10, test=2)
    settings = replace(
        TINY, keep_macs=0.5, criterion="reconstruction", calibration_images=4, hold_out=0.2
    )
    subject = Subject(preset="demo", settings=settings, data=source)
    (tmp_path / "run" / "data").mkdir()
    prepare_data(tmp_path / "run" / "data", subject)
    return Workshop(
        run=tmp_path / "run", subject=subject, train=untrained, device=torch.device("cpu")
    )


def made(workshop: Workshop, stage: str, work: Callable[..., None], **chosen: Any) -> Path:
    """The folder of a stage, once its work is done, for the outcome where nothing else is said."""
    folder = workshop.run / stage
    folder.mkdir()
    if stage in ("pruned", "refitted", "distilled"):
        chosen["chain"] = outcome_chain(workshop.settings)
    work(folder, **chosen)
    return folder


def test_the_dense_network_of_the_run_is_pruned_to_the_share(workshop: Workshop) -> None:
    folder = made(workshop, "pruned", workshop.make_pruned)
    dense = load(workshop.run / "dense" / "best.cfg")
    cut = read_cut(folder, dense)
    assert cut.slim.cost.macs <= 0.5 * dense.cost.macs
    assert cut.settings["criterion"] == "reconstruction"
    scores = json.loads((folder / SCORES).read_text())
    sizes = {str(group.id): group.size for group in analyze(dense.graph).prunable}
    assert {group: len(own) for group, own in scores.items()} == sizes


def test_channel_counts_are_rounded_as_asked(workshop: Workshop) -> None:
    settings = replace(workshop.settings, multiple_of=2)
    workshop = replace(workshop, subject=replace(workshop.subject, settings=settings))
    folder = made(workshop, "pruned", workshop.make_pruned)
    cut = read_cut(folder, load(workshop.run / "dense" / "best.cfg"))
    assert cut.plan.budget.multiple_of == 2
    # A control of the same MACs, too: what is compared is not how counts are rounded.
    folder = made(workshop, "uniform-pruned", workshop.make_uniform_pruned)
    uniform = read_cut(folder, load(workshop.run / "dense" / "best.cfg"))
    assert uniform.plan.budget.multiple_of == 2
    assert uniform.slim.cost.macs <= 0.5 * uniform.dense.cost.macs


def test_the_refit_looks_at_training_images_and_keeps_the_plan(workshop: Workshop) -> None:
    before = made(workshop, "pruned", workshop.make_pruned)
    after = made(workshop, "refitted", workshop.make_refitted)
    assert (after / "plan.json").read_bytes() == (before / "plan.json").read_bytes()
    assert (after / "slim.weights").read_bytes() != (before / "slim.weights").read_bytes()
    looked_at = json.loads((after / "report.json").read_text())["recovery"]["files"]
    training, _ = read_study_data(workshop.run).training(0.2)
    assert len(looked_at) == 4
    assert {Path(name) for name in looked_at} <= {image.path for image in training.images}


def test_what_was_refitted_is_distilled_and_keeps_the_plan(workshop: Workshop) -> None:
    made(workshop, "pruned", workshop.make_pruned)
    before = made(workshop, "refitted", workshop.make_refitted)
    after = made(workshop, "distilled", workshop.make_distilled)
    assert (after / "plan.json").read_bytes() == (before / "plan.json").read_bytes()
    recovery = json.loads((after / "report.json").read_text())["recovery"]
    assert recovery["distillation"]["steps"] == TINY.distill_steps
    assert recovery["method"] == "reconstruct" and not (after / DISTILLING).exists()


def test_the_original_becomes_int8_and_is_judged_in_onnx_runtime(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_forms.Trial, "ms", lambda self, models: [1.0] * len(models))
    folder = made(workshop, "int8", workshop.make_int8)
    about = {entry.key: entry.value for entry in onnx.load(folder / INT8).metadata_props}
    validation = read_study_data(workshop.run).training(0.2)[1]
    assert json.loads(about["int8"])["judged_images"] == len(validation.images)
    (workshop.run / "evaluated").mkdir()
    networks = {"int8": ("int8", INT8)}
    make_evaluations(workshop.run, workshop.run / "evaluated", networks, workshop.device)
    accuracy = read_accuracy(workshop.run / "evaluated" / "int8.json")
    assert accuracy.keys() == PROTOCOLS.keys()


def test_the_original_has_the_largest_input_that_is_as_fast(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(workshop, "pruned", workshop.make_pruned)
    times = {"slim": [5.0], "32x32": [4.0]}
    monkeypatch.setattr(networks, "alternating_times", lambda timers, *_, **__: times)
    folder = made(workshop, "smaller-input", workshop.make_smaller_input)
    assert darknet(load(folder / "best.cfg")).spec.input_shape == (3, 32, 32)
    assert json.loads((folder / "times.json").read_text()) == {"slim": 5.0, "32x32": 4.0}


def test_a_control_from_nothing_is_trained_as_long_as_the_outcome(workshop: Workshop) -> None:
    found: dict[str, Any] = {}
    mine = replace(workshop, train=lambda network, **given: found.update(given, network=network))
    made(mine, "half-pruned", mine.make_half_pruned)
    mine.make_half(workshop.run / "half")
    assert found["config"].epochs == TINY.epochs + TINY.finetune_epochs
    dense = load(workshop.run / "dense" / "best.cfg")
    assert 0.2 * dense.cost.macs < found["network"].cost.macs <= 0.25 * dense.cost.macs
    # Not rounded to what suits an engine: in steps of 8 or 16, narrow layers would not go at all.
    convs = zip(*(darknet(one).spec.convs for one in (dense, found["network"])), strict=True)
    shares = [half.filters / whole.filters for whole, half in convs if whole.batch_normalize]
    assert all(0.37 < share <= 0.5 for share in shares)
    mine.make_longer(workshop.run / "longer")
    assert found["config"].epochs == TINY.finetune_epochs
    assert found["network"].cost == dense.cost and found["teacher"] is None
