"""What changes from step to step: the learning rate and the strength of the sparsity term."""

import math

from yoloprune.training.config import TrainingConfig

LONGEST_WARMUP = 0.2
"""Share of a run."""


def learning_rate(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then a cosine from the peak to `final_rate` of it."""
    # Of a short run the warm-up would be most.
    warmup = min(config.warmup, LONGEST_WARMUP * config.epochs) * steps_per_epoch
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    total = max(1.0, config.epochs * steps_per_epoch - warmup)
    share = (1 + math.cos(math.pi * min(1.0, (step - warmup) / total))) / 2
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * share)


def _strength(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Of the group lasso at a step."""
    if config.sparsity_schedule == "constant":
        return config.sparsity
    return config.sparsity * (1 - step / (config.epochs * steps_per_epoch))


def shrinkage(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """By how much the proximal step after an optimizer step shortens a scale.

    Learning rate x strength, times what the optimizer makes of a constant gradient in the long run:
    1 / (1 - momentum) for SGD, whose momentum adds up, and 1 for AdamW, which normalizes it.
    """
    gain = 1 / (1 - config.momentum) if config.optimizer == "sgd" else 1.0
    rate = learning_rate(config, step, steps_per_epoch)
    return gain * rate * _strength(config, step, steps_per_epoch)


def shrink_budget(config: TrainingConfig, steps_per_epoch: int) -> float:
    """By how much a run's proximal steps shorten a scale that nothing else holds up."""
    steps = range(config.epochs * steps_per_epoch)
    return sum(shrinkage(config, step, steps_per_epoch) for step in steps)
