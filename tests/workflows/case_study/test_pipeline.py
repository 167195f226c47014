from dataclasses import replace
from pathlib import Path

import torch

from tests.workflows.case_study.tiny import TINY
from yoloprune.workflows.case_study.measurements import evaluation_file
from yoloprune.workflows.case_study.networks import Workshop
from yoloprune.workflows.case_study.pipeline import rows, stages
from yoloprune.workflows.case_study.settings import CONTROLS
from yoloprune.workflows.case_study.subject import Subject

SETTINGS = replace(TINY, controls=("random", "scratch"), sparsity=0.5, sparsity_epochs=1)


def untrained(*_: object, **__: object) -> None:
    raise AssertionError("nothing is trained here")


def test_rows_are_the_outcome_and_then_the_controls_in_their_order() -> None:
    outcome = ["Original", "Pruned", "Re-fitted", "Fine-tuned"]
    assert list(rows(SETTINGS)) == [*outcome, "Random", "Scratch"]
    shorter = replace(SETTINGS, refit=False, controls=CONTROLS)
    outcome.remove("Re-fitted")
    assert list(rows(shorter))[: len(outcome)] == outcome
    assert len({evaluation_file(row) for row in rows(shorter)}) == len(outcome) + len(CONTROLS)


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
        "data", "dense", "sparse", "pruned", "refitted", "finetuned", "random-pruned",
        "random-refitted", "random", "scratch", "evaluated", "benchmark", "exported",
    ]  # fmt: skip
