"""Settings that make no sense cannot be made."""

from typing import Any

import pytest

from yoloprune.errors import UsageError
from yoloprune.training.config import TrainingConfig


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"image_size": 100}, {"image_size": (64, 100)}, {"image_size": (0, 64)},
     {"image_size": (40, 64), "multi_scale": 0.5}, {"batch_size": 7, "accumulate": 2},
     {"optimizer": "lion"},
     {"sparsity": -1.0}, {"learning_rate": float("nan")}, {"precision": "int8"},
     {"protocol": "voc"}, {"sparsity": float("nan")}, {"weight_decay": float("inf")},
     {"seed": 2**64}],
)  # fmt: skip
def test_senseless_settings_cannot_be_made(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"training settings: {next(iter(options))} must be"):
        TrainingConfig(**options)


def test_a_setting_is_refused_with_what_it_may_be_and_what_it_is() -> None:
    with pytest.raises(UsageError) as caught:
        TrainingConfig(learning_rate=1e20)
    problem = "learning_rate must be more than 0 and less than 10, not 1e+20"
    assert str(caught.value) == f"training settings: {problem}"
    with pytest.raises(UsageError, match="optimizer must be sgd or adamw, not 'lion'"):
        TrainingConfig(optimizer="lion")  # type: ignore[arg-type]
