"""What changes from step to step: the learning rate and the strength of the sparsity term."""

import math

from yoloprune.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then a cosine from the peak to `final_rate` of it."""
    warmup = config.warmup * steps_per_epoch
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    total = max(1.0, config.epochs * steps_per_epoch - warmup)
    share = (1 + math.cos(math.pi * min(1.0, (step - warmup) / total))) / 2
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * share)


def sparsity(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Strength of the group lasso at a step."""
    if config.sparsity_schedule == "constant":
        return config.sparsity
    return config.sparsity * (1 - step / (config.epochs * steps_per_epoch))


def shrink_budget(config: TrainingConfig, steps_per_epoch: int) -> float:
    """By how much a run's proximal steps shorten a scale that nothing else holds up."""
    amounts = (
        learning_rate(config, step, steps_per_epoch) * sparsity(config, step, steps_per_epoch)
        for step in range(config.epochs * steps_per_epoch)
    )
    return sum(amounts) / (1 - config.momentum)
