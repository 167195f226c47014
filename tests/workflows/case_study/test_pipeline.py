from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from tests.workflows.case_study.tiny import TINY
from yoloprune.locks import in_use
from yoloprune.training.distributed import world
from yoloprune.workflows.case_study.measurements import evaluation_file
from yoloprune.workflows.case_study.networks import Workshop
from yoloprune.workflows.case_study.pipeline import rows, run_stages, stages
from yoloprune.workflows.case_study.settings import CONTROLS, StudySettings
from yoloprune.workflows.case_study.subject import Subject
from yoloprune.workflows.stages import Stage

SETTINGS = replace(TINY, controls=("random", "scratch"), sparsity=0.5, sparsity_epochs=1)


def untrained(*_: object, **__: object) -> None:
    raise AssertionError("nothing is trained here")


def test_rows_are_the_outcome_and_then_the_controls_in_their_order() -> None:
    outcome = ["Original", "Pruned", "Re-fitted", "Distilled", "Fine-tuned"]
    assert list(rows(SETTINGS)) == [*outcome, "Random", "Scratch"]
    shorter = replace(SETTINGS, refit=False, distill_steps=0, controls=CONTROLS)
    outcome.remove("Re-fitted")
    outcome.remove("Distilled")
    assert list(rows(shorter))[: len(outcome)] == outcome
    assert len({evaluation_file(row) for row in rows(shorter)}) == len(outcome) + len(CONTROLS)


def test_each_stage_comes_after_those_that_it_needs() -> None:
    assert _in_order(SETTINGS) == [
        "data", "dense", "sparse", "pruned", "refitted", "distilled", "finetuned",
        "random-pruned", "random-refitted", "random-distilled", "random", "scratch",
        "evaluated", "benchmark", "exported",
    ]  # fmt: skip
    steps = replace(
        TINY, keep_macs=0.5, step=0.3, step_epochs=1, distill_steps=0, controls=("random",)
    )
    assert _in_order(steps) == [
        "data", "dense", "step-01", "step-01-trained", "pruned", "refitted", "finetuned",
        "random-step-01", "random-step-01-trained", "random-pruned", "random-refitted", "random",
        "evaluated", "benchmark", "exported",
    ]  # fmt: skip


def _in_order(settings: StudySettings) -> list[str]:
    subject = Subject(preset="demo", settings=settings, data=Path("data"))
    workshop = Workshop(
        run=Path("run"), subject=subject, train=untrained, device=torch.device("cpu")
    )
    done: list[str] = []
    for stage in stages(workshop):
        assert set(stage.needs) <= set(done), stage.name
        done.append(stage.name)
    return done


def test_a_stage_that_is_worked_on_is_held(tmp_path: Path) -> None:
    seen: list[bool] = []

    def work(folder: Path) -> None:
        seen.append(in_use(folder))
        (folder / "made").write_text("")

    stage = Stage(name="one", needs=(), settings={}, outputs=("made",), work=work)
    with world("cpu") as here:
        run_stages([stage], tmp_path, here, lambda _: nullcontext())
    assert seen == [True] and not in_use(tmp_path / "one")
