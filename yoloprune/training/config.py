"""The settings of a training run; an invalid one cannot exist."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from yoloprune.errors import UsageError
from yoloprune.evaluation.protocols import DEFAULT_PROTOCOL, PROTOCOLS

Optimizer = Literal["sgd", "adamw"]
SparsitySchedule = Literal["constant", "decay"]
Precision = Literal["float32", "bfloat16", "float16"]

ImageSize: TypeAlias = int | tuple[int, int]
"""Size of a network's input in pixels: the side of a square, or (height, width)."""
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per optimizer step, over all processes and accumulated micro-batches.
        accumulate: micro-batches that a step is split into, over all processes.
        image_size: side of the network's square input, or its (height, width); pixels, multiples
            of 8.
        multi_scale: share by which the input size varies from step to step, e.g. 0.25; 0 for none.
        mosaic: share of the samples that are put together from four images.
        augment: whether samples are augmented at all.
        optimizer: "sgd" (Nesterov momentum) or "adamw".
        learning_rate: peak, reached after the warm-up, then cosine down to `final_rate` of it.
        momentum: of SGD, and beta1 of AdamW.
        weight_decay: on kernels only, never on biases or batch norms.
        warmup: length of the linear warm-up, epochs; at most a fifth of the run.
        final_rate: last learning rate as a share of the peak.
        ema_decay: of the exponential moving average of the weights, which is what is evaluated and
            written; 0 for none.
        clip_norm: largest norm of the gradient.
        precision: of the forward pass; "bfloat16" is fast on most GPUs and on CPUs that have
            instructions for it; weights, statistics and the loss stay in float32.
        compiled: whether torch.compile makes kernels for the network.
        sparsity: strength of the group lasso on batch-norm scales; 0 for none.
        sparsity_schedule: "constant", or "decay" linearly to 0 over the run.
        distillation: weight of the teacher's term beside the labels' loss.
        protocol: by whose mAP@0.5 the best epoch is chosen.
        evaluate_every: epochs between evaluations; the last epoch always is.
        checkpoint_minutes: longest time between checkpoints within an epoch.
        workers: loader processes.
        seed: of everything random.
    """

    epochs: int = 30
    batch_size: int = 16
    accumulate: int = 1
    image_size: ImageSize = 416
    multi_scale: float = 0.0
    mosaic: float = 0.5
    augment: bool = True
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.937
    weight_decay: float = 5e-4
    warmup: float = 2.0
    final_rate: float = 0.02
    ema_decay: float = 0.999
    clip_norm: float = 10.0
    precision: Precision = "float32"
    compiled: bool = False
    sparsity: float = 0.0
    sparsity_schedule: SparsitySchedule = "constant"
    distillation: float = 1.0
    protocol: str = DEFAULT_PROTOCOL
    evaluate_every: int = 1
    checkpoint_minutes: float = 10.0
    workers: int = 1
    seed: int = 0

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what is computed, not where or when."""
        others = ("workers", "checkpoint_minutes")
        return {name: value for name, value in asdict(self).items() if name not in others}

    def __post_init__(self) -> None:
        """Raise `UsageError` for the first setting that makes no sense."""
        share, strength = "from 0 to 1", "a number from 0"
        side = 32 if self.multi_scale else 8
        rules: tuple[tuple[str, str, bool], ...] = (
            ("epochs", "at least 1", self.epochs >= 1),
            ("accumulate", "at least 1", self.accumulate >= 1),
            (
                "batch_size",
                f"a multiple of accumulate, {self.accumulate}",
                self.batch_size >= 1 and self.batch_size % max(1, self.accumulate) == 0,
            ),
            ("multi_scale", "from 0 to 0.5", 0 <= self.multi_scale <= 0.5),
            (
                "image_size",
                f"a multiple of {side}" + " with multi_scale" * bool(self.multi_scale),
                all(length >= side and length % side == 0 for length in self.input_size),
            ),
            ("mosaic", share, 0 <= self.mosaic <= 1),
            ("optimizer", _one_of(get_args(Optimizer)), self.optimizer in get_args(Optimizer)),
            ("learning_rate", "more than 0 and less than 10", 0 < self.learning_rate < 10),
            ("momentum", "from 0 to less than 1", 0 <= self.momentum < 1),
            ("weight_decay", strength, 0 <= self.weight_decay < math.inf),
            ("warmup", strength, 0 <= self.warmup < math.inf),
            ("final_rate", "more than 0 and at most 1", 0 < self.final_rate <= 1),
            ("ema_decay", "from 0 to less than 1", 0 <= self.ema_decay < 1),
            ("clip_norm", "a number above 0", 0 < self.clip_norm < math.inf),
            ("precision", _one_of(get_args(Precision)), self.precision in get_args(Precision)),
            ("sparsity", strength, 0 <= self.sparsity < math.inf),
            (
                "sparsity_schedule",
                _one_of(get_args(SparsitySchedule)),
                self.sparsity_schedule in get_args(SparsitySchedule),
            ),
            ("protocol", _one_of(PROTOCOLS), self.protocol in PROTOCOLS),
            ("distillation", strength, 0 <= self.distillation < math.inf),
            ("evaluate_every", "at least 1", self.evaluate_every >= 1),
            ("checkpoint_minutes", strength, 0 <= self.checkpoint_minutes < math.inf),
            ("workers", "at least 0", self.workers >= 0),
            ("seed", f"from 0 to {LARGEST_SEED}", 0 <= self.seed <= LARGEST_SEED),
        )
        for name, rule, kept in rules:
            if not kept:
                value = getattr(self, name)
                raise UsageError(f"training settings: {name} must be {rule}, not {value!r}")


def _one_of(values: Iterable[str]) -> str:
    *others, last = values
    return f"{', '.join(others)} or {last}"


TRAIN = TrainingConfig()
"""Of a network from random weights, or from others'."""

FINETUNE = TrainingConfig(epochs=10, learning_rate=0.005, warmup=0.5)
"""Of a pruned network."""

STEP = TrainingConfig(epochs=2, learning_rate=0.005, warmup=0.2)
"""Between two steps of iterative pruning."""
