"""What a case study does: sizes, lengths, budgets; presets."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from yoloprune.errors import UsageError
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA, criterion_named
from yoloprune.training.config import FINETUNE, TRAIN, ImageSize, Precision, TrainingConfig
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.schedule import step_targets

Control = Literal["scratch", "uniform", "random", "half", "longer", "smaller", "int8"]
"""What an expert asks for beside the pruned network.

`scratch`: the slim architecture trained from random weights, as long as the outcome in all.
`uniform`: a network with the same share of channels in every group and the same MACs, trained so.
`random`: random channels removed instead of the low-scoring ones, then recovered alike.
`half`: a network of a quarter of the MACs, by about half of every group's channels, trained so.
`longer`: the original trained for as many epochs more as the outcome.
`smaller`: the original trained as long to the largest input with which it is no slower than the
slim network.
`int8`: the original in int8 for ONNX Runtime, without training.
"""

CONTROLS: tuple[Control, ...] = get_args(Control)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """How a study is done: all but the data and what training starts from.

    Attributes:
        width: multiplies the filter counts of the YOLOv3 that is trained.
        image_size: of its input, pixels: the side, or the (height, width) of a given network.
        epochs: of training the dense network, and the controls that start from nothing.
        finetune_epochs: of every fine-tuning.
        sparsity: strength of the group lasso between training and pruning; 0 leaves that stage out.
        sparsity_epochs: its length.
        keep_macs: share of the dense network's MACs that is kept.
        step: share of the dense network's MACs that goes with each cut; 0 cuts once.
        step_epochs: of fine-tuning between two cuts.
        criterion: of the channels' scores, as for `yoloprune prune`; "bn-scale" is for networks
            that were trained with sparsity.
        refit: whether the pruned network is re-fitted, by training images without their labels,
            before it is fine-tuned.
        calibration_images: how many images criteria and the re-fit look at.
        distill_steps: of training the re-fitted network to give what the dense one gives, by
            training images without their labels; 0 leaves that stage out.
        multiple_of: what channel counts are rounded up to, of the pruned network and of `random`;
            None for what the engines that are installed compute fastest.
        batch_size: images per optimizer step.
        accumulate: micro-batches that a step is split into.
        learning_rate: peak, of training from nothing.
        finetune_rate: peak, of fine-tuning and sparsity training.
        precision: of the forward pass in training.
        evaluate_every: epochs between evaluations on the validation images.
        hold_out: share of the training images that is set aside as validation images.
        controls: which controls are made.
        decoded: whether slim.onnx gives boxes and scores, or the heads' raw maps.
        workers: loader processes.
        seed: of everything random.
    """

    width: float
    image_size: ImageSize
    epochs: int
    finetune_epochs: int
    sparsity: float = 0.0
    sparsity_epochs: int = 0
    keep_macs: float = 0.3
    step: float = 0.0
    step_epochs: int = 0
    criterion: str = PRUNING.criterion
    refit: bool = True
    calibration_images: int = PRUNING.calibration_images
    distill_steps: int = 0
    multiple_of: int | None = None
    batch_size: int = TRAIN.batch_size
    accumulate: int = TRAIN.accumulate
    learning_rate: float = TRAIN.learning_rate
    finetune_rate: float = FINETUNE.learning_rate
    precision: Precision = TRAIN.precision
    evaluate_every: int = TRAIN.evaluate_every
    hold_out: float = 0.1
    controls: tuple[Control, ...] = ()
    decoded: bool = True
    workers: int = TRAIN.workers
    seed: int = TRAIN.seed

    def __post_init__(self) -> None:
        if not 0 < self.keep_macs < 1:
            raise UsageError(f"the share of MACs to keep must be in (0, 1), not {self.keep_macs:g}")
        if self.multiple_of is not None and self.multiple_of < 1:
            raise UsageError(f"`multiple_of` must be 1 or more, not {self.multiple_of}")
        if self.criterion not in MEASURED_CRITERIA:
            criterion_named(self.criterion)
        unknown = [name for name in self.controls if name not in CONTROLS]
        if unknown:
            raise UsageError(f"control {unknown[0]!r} is unknown (known: {', '.join(CONTROLS)})")
        if bool(self.sparsity) != bool(self.sparsity_epochs):
            raise UsageError("sparsity and sparsity_epochs must both be given, or neither")
        if (self.step or self.step_epochs) and not (self.step > 0 and self.step_epochs > 0):
            raise UsageError(
                "pruning in steps takes a fraction of the MACs and a number of epochs, both above "
                f"0, not {self.step:g} and {self.step_epochs}"
            )
        if self.step and self.cuts < 2:
            raise UsageError(
                f"a step of {self.step:g} leaves no second cut, as {1 - self.keep_macs:g} of the "
                "MACs go in all: give a smaller one"
            )
        if self.step and self.sparsity:
            raise UsageError("sparsity training and pruning in steps are two ways: choose one")
        if self.distill_steps < 0:
            raise UsageError(f"`distill_steps` must be 0 or more, not {self.distill_steps}")
        if self.distill_steps and not self.refit:
            raise UsageError("`distill_steps` go on from the re-fit: leave that in, or give none")

    @property
    def targets(self) -> list[float]:
        """Shares of the dense network's MACs that are left after each cut."""
        return step_targets(self.step, self.keep_macs) if self.step else [self.keep_macs]

    @property
    def cuts(self) -> int:
        """How many times channels are removed."""
        return len(self.targets)

    @property
    def later_epochs(self) -> int:
        """Of all training of the outcome after that of the dense network."""
        between = self.sparsity_epochs + (self.cuts - 1) * self.step_epochs
        return between + self.finetune_epochs

    @property
    def compensation(self) -> Compensation:
        """Channels with low batch-norm scales emit constants, which are kept."""
        return Compensation.CARRIER if self.criterion == "bn-scale" else Compensation.NONE

    def training(self) -> TrainingConfig:
        """Of a network from random weights, or from others'."""
        return self._config(self.epochs, self.learning_rate)

    def control_training(self) -> TrainingConfig:
        """Of a control from random weights: as many epochs as the outcome had."""
        return self._config(self.epochs + self.later_epochs, self.learning_rate)

    def longer_training(self) -> TrainingConfig:
        """Of a control from the dense network: as many epochs as the outcome had after it."""
        return self._config(self.later_epochs, self.finetune_rate, warmup=FINETUNE.warmup)

    def sparse_training(self) -> TrainingConfig:
        """Of the dense network with the group lasso."""
        return self._config(self.sparsity_epochs, self.finetune_rate, sparsity=self.sparsity)

    def finetuning(self) -> TrainingConfig:
        """Of a pruned network."""
        return self._config(self.finetune_epochs, self.finetune_rate, warmup=FINETUNE.warmup)

    def step_training(self, number: int) -> TrainingConfig:
        """Of a network that is to be cut further: each step draws samples of its own."""
        config = self._config(self.step_epochs, self.finetune_rate, warmup=FINETUNE.warmup)
        return replace(config, seed=self.seed + number)

    def _config(
        self, epochs: int, rate: float, *, warmup: float = TRAIN.warmup, sparsity: float = 0.0
    ) -> TrainingConfig:
        return TrainingConfig(
            epochs=epochs,
            learning_rate=rate,
            warmup=warmup,
            sparsity=sparsity,
            image_size=self.image_size,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            precision=self.precision,
            protocol="case-study",
            evaluate_every=min(self.evaluate_every, epochs),
            workers=self.workers,
            seed=self.seed,
        )


PRESETS: dict[str, StudySettings] = {
    "full": StudySettings(
        width=1.0, image_size=416, epochs=80, finetune_epochs=40, batch_size=64,
        criterion="reconstruction", distill_steps=1000, precision="bfloat16", evaluate_every=10,
        workers=8,
    ),
    "quarter": StudySettings(
        width=0.25, image_size=320, epochs=40, finetune_epochs=20, batch_size=32,
        learning_rate=0.06, finetune_rate=0.03, criterion="reconstruction", distill_steps=1000,
        calibration_images=128, precision="bfloat16", evaluate_every=10, workers=8,
    ),
    "cpu": StudySettings(
        width=0.25, image_size=320, epochs=30, finetune_epochs=10, criterion="reconstruction",
        distill_steps=300, evaluate_every=5,
    ),
    "demo": StudySettings(
        width=0.125, image_size=160, epochs=60, finetune_epochs=18, criterion="reconstruction",
        finetune_rate=0.003, calibration_images=128, multiple_of=4, evaluate_every=2,
    ),
}  # fmt: skip
"""`full`: YOLOv3 as published, for a GPU. `quarter`: a narrow YOLOv3, minutes on a GPU. `cpu`: it
too, overnight on a laptop. `demo`: minutes."""
