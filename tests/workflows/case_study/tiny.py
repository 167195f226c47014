"""A study that takes seconds: `python tiny.py ARGUMENTS` is `yoloprune case-study` with it."""

import sys

from yoloprune.engines import benchmark
from yoloprune.workflows.case_study.settings import PRESETS, StudySettings

TINY = StudySettings(
    width=0.0625, image_size=64, epochs=2, finetune_epochs=1, batch_size=8, hold_out=0.2,
    workers=0,
)  # fmt: skip


def torch_alone() -> tuple[str, ...]:
    """One engine will do for a study; what the others compute is tested elsewhere."""
    return ("torch",)


if __name__ == "__main__":
    import torch

    from yoloprune.cli.main import main

    # As many as in the tests' own process: sums depend on it.
    torch.set_num_threads(1)
    PRESETS["demo"] = TINY
    benchmark.default_engines = torch_alone
    sys.argv = ["yoloprune", "case-study", "--preset", "demo", "--quiet", *sys.argv[1:]]
    main()
