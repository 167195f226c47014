from dataclasses import replace
from pathlib import Path

import torch

from tests.workflows.case_study.tiny import TINY
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.workflows.case_study.networks import Workshop
from yoloprune.workflows.case_study.subject import Subject
from yoloprune.workflows.cut import read_cut
from yoloprune.workflows.models import load


def untrained(*_: object, **__: object) -> None:
    raise AssertionError("nothing is trained here")


def test_the_dense_network_of_the_run_is_pruned_to_the_share(tmp_path: Path) -> None:
    spec = yolov3_tiny(classes=1, width=0.0625, size=(64, 64))
    (tmp_path / "dense").mkdir()
    (tmp_path / "pruned").mkdir()
    write_cfg(tmp_path / "dense" / "best.cfg", spec)
    write_weights(tmp_path / "dense" / "best.weights", spec, random_state(spec))
    subject = Subject(preset="demo", settings=replace(TINY, keep_macs=0.5), data=Path("data"))
    workshop = Workshop(run=tmp_path, subject=subject, train=untrained, device=torch.device("cpu"))
    assert workshop.source == "dense"
    workshop.make_pruned(tmp_path / "pruned")
    dense = load(tmp_path / "dense" / "best.cfg")
    cut = read_cut(tmp_path / "pruned", dense)
    assert cut.slim.cost.macs <= 0.5 * dense.cost.macs
    assert cut.settings["criterion"] == TINY.criterion
