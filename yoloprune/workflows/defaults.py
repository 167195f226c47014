"""What is done where nobody says otherwise: the one table that functions and options share.

Training has its own, in `training.config`.
"""

from dataclasses import dataclass

from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.workflows.choices import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningDefaults:
    """How channels are chosen.

    `calibration_images` is how many images are looked at, where any are. Channel counts are rounded
    to what installed engines compute fastest (`rounding`), or finer where the budget needs it.
    """

    criterion: str = "l2"
    scope: Scope = Scope.GLOBAL
    compensation: Compensation = Compensation.NONE
    min_channels: int = 1
    max_layer_cut: float = 1.0
    calibration_images: int = 64
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationDefaults:
    """How far each step of iterative pruning goes, and how often the network is trained."""

    step: float = 0.05
    schedule: Schedule = Schedule.LINEAR
    finetune_every: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepDefaults:
    """Which shares of the MACs are tried, and the share of the training images that judges them."""

    shares: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6, 0.5)
    hold_out: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationDefaults:
    """How many images tell ranges for int8, on how many threads it is timed, what it may lose."""

    calibration_images: int = 32
    max_loss: float = 0.01
    threads: int = 1
    seed: int = 0


ON_IMAGES = "reconstruction"
"""The criterion where images are at hand and nobody names one."""

PRUNING = PruningDefaults()
ITERATION = IterationDefaults()
SWEEP = SweepDefaults()
QUANTIZATION = QuantizationDefaults()
