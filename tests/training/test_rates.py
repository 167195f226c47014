"""Learning rates, and how far they let scales shrink."""

from dataclasses import replace

import pytest

from yoloprune.training.config import TrainingConfig
from yoloprune.training.rates import learning_rate, shrink_budget


def test_the_shrink_budget_counts_every_step() -> None:
    config = TrainingConfig(epochs=2, batch_size=8, warmup=0, final_rate=1.0, learning_rate=0.01,
                            momentum=0.9, sparsity=0.5)  # fmt: skip
    assert shrink_budget(config, 10) == pytest.approx(20 * 0.01 * 0.5 / 0.1)
    # What Adam makes of a gradient does not add up with its momentum.
    assert shrink_budget(replace(config, optimizer="adamw"), 10) == pytest.approx(20 * 0.01 * 0.5)
    decaying = replace(config, sparsity_schedule="decay")
    assert shrink_budget(decaying, 10) == pytest.approx(20 * 0.01 * 0.5 / 0.1 * 10.5 / 20)


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = TrainingConfig(epochs=10, warmup=1, learning_rate=0.1, final_rate=0.1)
    rates = [learning_rate(config, step, 10) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == max(rates) == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.01, rel=0.05)
    # A warm-up longer than the run would be all of it.
    short = [learning_rate(replace(config, epochs=1, warmup=2), step, 10) for step in range(10)]
    assert max(short) == pytest.approx(0.1) and short[-1] < 0.02
