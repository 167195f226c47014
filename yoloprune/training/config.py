"""The settings of a training run; an invalid one cannot exist."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from yoloprune.errors import DatasetError
from yoloprune.evaluation.evaluator import DEFAULT_PROTOCOL, Protocol

Optimizer = Literal["sgd", "adamw"]
SparsitySchedule = Literal["constant", "decay"]
Precision = Literal["float32", "bfloat16", "float16"]

ImageSize: TypeAlias = int | tuple[int, int]
"""Size of a network's input in pixels: the side of a square, or (height, width)."""


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
    protocol: Protocol = DEFAULT_PROTOCOL
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
        problems = {
            "epochs must be at least 1": self.epochs < 1,
            "batch_size must be a positive multiple of accumulate": (
                self.accumulate < 1 or self.batch_size < 1 or self.batch_size % self.accumulate != 0
            ),
            "image_size must be a multiple of 8, and of 32 with multi_scale": any(
                side < 8 or side % (32 if self.multi_scale else 8) for side in self.input_size
            ),
            "multi_scale must be in [0, 0.5]": not 0 <= self.multi_scale <= 0.5,
            "mosaic must be in [0, 1]": not 0 <= self.mosaic <= 1,
            "learning_rate must be positive": not 0 < self.learning_rate < 10,
            "momentum must be in [0, 1)": not 0 <= self.momentum < 1,
            "weight_decay, sparsity and distillation must not be negative": (
                min(self.weight_decay, self.sparsity, self.distillation) < 0
            ),
            "warmup must not be negative": self.warmup < 0,
            "every number must be finite": not all(
                math.isfinite(value) for value in asdict(self).values() if isinstance(value, float)
            ),
            "final_rate must be in (0, 1]": not 0 < self.final_rate <= 1,
            "ema_decay must be in [0, 1)": not 0 <= self.ema_decay < 1,
            "clip_norm must be positive": not self.clip_norm > 0,
            "evaluate_every must be at least 1": self.evaluate_every < 1,
            "workers must not be negative": self.workers < 0,
            f"optimizer must be one of {get_args(Optimizer)}": (
                self.optimizer not in get_args(Optimizer)
            ),
            f"precision must be one of {get_args(Precision)}": (
                self.precision not in get_args(Precision)
            ),
            f"protocol must be one of {get_args(Protocol)}": (
                self.protocol not in get_args(Protocol)
            ),
            f"sparsity_schedule must be one of {get_args(SparsitySchedule)}": (
                self.sparsity_schedule not in get_args(SparsitySchedule)
            ),
        }
        for problem, present in problems.items():
            if present:
                raise DatasetError(f"training settings: {problem}")
