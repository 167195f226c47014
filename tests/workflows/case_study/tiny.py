"""A study that takes seconds: `python tiny.py ARGUMENTS` is `yoloprune case-study` with it."""

import sys
from collections.abc import Callable

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.report import latency
from yoloprune.workflows.case_study.settings import PRESETS, StudySettings

TINY = StudySettings(
    width=0.0625, image_size=64, epochs=2, finetune_epochs=1, batch_size=8, hold_out=0.2,
    workers=0,
)  # fmt: skip


def torch_alone() -> dict[str, Callable[[NetworkSpec, State], latency.Timer]]:
    """One engine will do for a study; what the others compute is tested elsewhere."""
    return {"torch eager": latency._torch_timer}


if __name__ == "__main__":
    import torch

    from yoloprune.cli.main import main

    # As many as in the tests' own process: sums depend on it.
    torch.set_num_threads(1)
    PRESETS["demo"] = TINY
    latency._engines = torch_alone
    sys.argv = ["yoloprune", "case-study", "--preset", "demo", "--quiet", *sys.argv[1:]]
    main()
