from dataclasses import replace
from pathlib import Path

import torch

from tests.workflows.case_study.tiny import TINY
from yoloprune.workflows.case_study.networks import Workshop
from yoloprune.workflows.case_study.pipeline import rows, stages
from yoloprune.workflows.case_study.subject import Subject

SETTINGS = replace(TINY, controls=("random", "scratch"), sparsity=0.5, sparsity_epochs=1)


def untrained(*_: object, **__: object) -> None:
    raise AssertionError("nothing is trained here")


def test_rows_are_the_outcome_and_then_the_controls_in_their_order() -> None:
    assert list(rows(SETTINGS)) == ["Original", "Pruned", "Fine-tuned", "Random", "Scratch"]


def test_each_stage_comes_after_those_that_it_needs() -> None:
    subject = Subject(preset="demo", settings=SETTINGS, data=Path("data"))
    workshop = Workshop(
        run=Path("run"), subject=subject, train=untrained, device=torch.device("cpu")
    )
    done: list[str] = []
    for stage in stages(workshop):
        assert set(stage.needs) <= set(done), stage.name
        done.append(stage.name)
    assert done == [
        "data", "dense", "sparse", "pruned", "finetuned", "random-pruned", "random", "scratch",
        "evaluated", "benchmark", "exported",
    ]  # fmt: skip
