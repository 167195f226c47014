import math
from dataclasses import replace

import pytest

from tests.workflows.case_study.tiny import TINY
from yoloprune.errors import PlanError, UsageError
from yoloprune.pruning.choices import Compensation


def test_each_training_has_its_own_length_and_rate() -> None:
    settings = replace(
        TINY, epochs=9, finetune_epochs=4, sparsity=0.5, sparsity_epochs=3, evaluate_every=5,
        learning_rate=0.2, finetune_rate=0.1,
    )  # fmt: skip
    configs = (settings.training(), settings.sparse_training(), settings.finetuning())
    assert [config.epochs for config in configs] == [9, 3, 4]
    assert [config.evaluate_every for config in configs] == [5, 3, 4]
    assert [config.learning_rate for config in configs] == [0.2, 0.1, 0.1]
    assert [config.sparsity for config in configs] == [0, 0.5, 0]


def test_constants_are_kept_where_scales_are_what_is_scored() -> None:
    assert replace(TINY, criterion="bn-scale").compensation == Compensation.CARRIER
    assert replace(TINY, criterion="l2").compensation == Compensation.NONE


def test_criteria_that_look_at_images_are_known() -> None:
    assert replace(TINY, criterion="reconstruction").compensation == Compensation.NONE
    with pytest.raises(PlanError, match="'magic' is unknown"):
        replace(TINY, criterion="magic")


def test_sparsity_has_a_strength_and_a_length() -> None:
    with pytest.raises(UsageError, match="must both be given, or neither"):
        replace(TINY, sparsity=0.5)


def test_steps_have_a_size_and_a_length_and_are_a_way_of_their_own() -> None:
    for step, epochs in ((0.1, 0), (0.0, 1), (0.1, -1), (-0.1, 1), (math.nan, 1)):
        with pytest.raises(UsageError, match="takes a fraction of the MACs and a number of epochs"):
            replace(TINY, step=step, step_epochs=epochs)
    # 1 - 0.7 is a hair above 0.3 in binary.
    for keep, step in ((0.5, 0.5), (0.5, 0.7), (0.7, 0.3)):
        with pytest.raises(UsageError, match="leaves no second cut"):
            replace(TINY, keep_macs=keep, step=step, step_epochs=1)
    with pytest.raises(UsageError, match="give a larger one"):
        replace(TINY, step=1e-9, step_epochs=1)
    with pytest.raises(UsageError, match="two ways: choose one"):
        replace(TINY, step=0.1, step_epochs=1, sparsity=0.5, sparsity_epochs=1)
    between = replace(TINY, step=0.1, step_epochs=3, finetune_rate=0.1, seed=5)
    configs = [between.step_training(number) for number in (1, 2)]
    assert [config.seed for config in configs] == [6, 7]
    assert {(config.epochs, config.learning_rate) for config in configs} == {(3, 0.1)}


def test_controls_are_trained_as_long_as_the_outcome() -> None:
    settings = replace(TINY, epochs=9, finetune_epochs=4)
    steps = replace(settings, keep_macs=0.3, step=0.3, step_epochs=2)
    sparse = replace(settings, sparsity=0.5, sparsity_epochs=3)
    assert steps.cuts == 3
    assert [each.longer_training().epochs for each in (settings, steps, sparse)] == [4, 8, 7]
    assert [each.control_training().epochs for each in (settings, steps, sparse)] == [13, 17, 16]


def test_distillation_goes_on_from_the_refit() -> None:
    with pytest.raises(UsageError, match="go on from the re-fit"):
        replace(TINY, refit=False, distill_steps=1)
    with pytest.raises(UsageError, match="0 or more"):
        replace(TINY, distill_steps=-1)


def test_channel_counts_are_rounded_to_whole_numbers() -> None:
    with pytest.raises(UsageError, match="`multiple_of` must be 1 or more, not 0"):
        replace(TINY, multiple_of=0)
