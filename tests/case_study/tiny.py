"""A study that takes seconds: `python tiny.py ARGUMENTS` is `yoloprune case-study` with it."""

import sys

from yoloprune.case_study.settings import PRESETS, StudySettings

TINY = StudySettings(
    width=0.0625, image_size=64, epochs=2, finetune_epochs=1, batch_size=8, rendered=(28, 6),
    hold_out=0.2, workers=0,
)  # fmt: skip

if __name__ == "__main__":
    import torch

    from yoloprune.cli.main import main

    # As many as in the tests' own process: sums depend on it.
    torch.set_num_threads(1)
    PRESETS["demo"] = TINY
    sys.argv = ["yoloprune", "case-study", "--preset", "demo", "--quiet", *sys.argv[1:]]
    main()
