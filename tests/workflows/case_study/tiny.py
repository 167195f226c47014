"""A study that takes seconds."""

import sys
from collections.abc import Sequence

import pytest
import torch

from yoloprune.cli.main import main
from yoloprune.engines import benchmark
from yoloprune.frontends.darknet import zoo
from yoloprune.workflows.case_study.settings import PRESETS, StudySettings

TINY = StudySettings(
    width=0.0625, image_size=64, epochs=2, finetune_epochs=1, batch_size=8, hold_out=0.2,
    distill_steps=1, workers=0,
)  # fmt: skip

SHALLOW = tuple((filters, 1) for filters, _ in zoo.STAGES)
"""One residual block in each stage of YOLOv3: all kinds of layers, and half as many."""


def torch_alone() -> tuple[str, ...]:
    """One engine will do for a study; what the others compute is tested elsewhere."""
    return ("torch",)


def shrink(patch: pytest.MonkeyPatch, preset: str = "demo") -> None:
    """Make the studies of a preset tiny for as long as the patch lasts."""
    patch.setitem(PRESETS, preset, TINY)
    patch.setattr(benchmark, "default_engines", torch_alone)
    patch.setattr(zoo, "STAGES", SHALLOW)


def study(words: Sequence[object]) -> None:
    """`yoloprune case-study` with it, in a process of its own."""
    # As many as in the tests' own process: sums depend on it.
    torch.set_num_threads(1)
    shrink(pytest.MonkeyPatch())
    sys.argv = ["yoloprune", "case-study", "--preset", "demo", "--quiet", *map(str, words)]
    main()
