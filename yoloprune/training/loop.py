"""A run's state between two steps: network, moving average, optimizer, position."""

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from yoloprune.errors import CheckpointError
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import with_input_size
from yoloprune.graph.model import Model
from yoloprune.pruning.weights.masks import WeightMasks
from yoloprune.reporter import Reporter
from yoloprune.training.captured import CapturedPass
from yoloprune.training.checkpoint import (
    Checkpoint,
    Position,
    load_checkpoint,
    save_checkpoint,
)
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World, parallel
from yoloprune.training.rates import learning_rate, shrink_budget, shrinkage
from yoloprune.training.regularize import coupled_scales, typical_scale
from yoloprune.training.run_folder import CHECKPOINT
from yoloprune.training.targets import Targets

TERMS = ("box", "objectness", "classes", "distillation")
"""Names of the loss terms, in the order in which they are summed."""

SENSIBLE, ADVISED = (1.0, 2.0), 1.3
"""By how many typical scales a run with sparsity shrinks what nothing holds up.

Measured on a trained YOLOv3: with 0.9 a thousandth of its channels was 0 at the end, with 2.5 nine
tenths after a quarter of the run.
"""


class Loop:
    """What a step changes, and what it needs beside its batch."""

    def __init__(
        self,
        model: Model,
        config: TrainingConfig,
        world: World,
        steps_per_epoch: int,
        teacher: Model | None,
        inputs: Mapping[str, str],
        masks: WeightMasks | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.model, self.config, self.world, self.inputs = model, config, world, inputs
        self.spec = darknet(model).spec
        self.steps_per_epoch = steps_per_epoch
        self.network = _network(model, world.device)
        # mypy knows no overload of Module.to for a memory format alone.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.teacher = None if teacher is None else _network(teacher, world.device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = _optimizer(self.network, config)
        # float16 gradients vanish unless the loss is scaled up; for other types it does nothing.
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "float16")
        self.parallel = parallel(self.network, world)
        self.forward = torch.compile(self.parallel) if config.compiled else self.parallel
        self.captured: CapturedPass | None = None
        self.room = (1, 1)
        self.scales = coupled_scales(self.network)
        self.average_scales = coupled_scales(self.average)
        self.masked = [] if masks is None else _masked_kernels(self.network, masks)
        self._followed = [list(own.state_dict().values()) for own in (self.average, self.network)]
        self._grids: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.position = Position(epoch=0, step=0, sums=(0.0,) * len(TERMS))
        self.steps = 0
        self.log: list[dict[str, Any]] = []
        self.best = -1.0
        self._saved = time.monotonic()

    def restore(self, run: Path) -> None:
        """Go back to where the checkpoint of a run was written.

        Raises `CheckpointError` as `load_checkpoint` does, and where a part of it fits no such run.
        """
        path = run / CHECKPOINT
        checkpoint = load_checkpoint(path, self.model, self.config, self.inputs)
        try:
            checkpoint.check(
                self.network.state(),
                [p for group in self.optimizer.param_groups for p in group["params"]],
                self.config,
                self.steps_per_epoch,
                scaled=self.scaler.is_enabled(),
            )
            self.network.load(checkpoint.model)
            self.average.load(checkpoint.average)
            # The groups, and all their settings, are this run's own.
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": checkpoint.optimizer, "param_groups": groups})
            self.scaler.load_state_dict(checkpoint.scaler)
            torch.set_rng_state(checkpoint.random)
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: damaged: {error!s:.200}") from error
        self.position, self.steps = checkpoint.position, checkpoint.steps
        self.log, self.best = checkpoint.log, checkpoint.best

    def save(self, run: Path) -> None:
        """Write the checkpoint, in the first process."""
        self._saved = time.monotonic()
        if not self.world.is_first:
            return
        checkpoint = Checkpoint(
            position=self.position,
            steps=self.steps,
            model=self.network.state(),
            average=self.average.state(),
            optimizer=self.optimizer.state_dict()["state"],
            scaler=self.scaler.state_dict(),
            log=self.log,
            best=self.best,
            random=torch.get_rng_state(),
        )
        save_checkpoint(run / CHECKPOINT, self.model, self.config, checkpoint, self.inputs)

    @property
    def unsaved(self) -> float:
        """Seconds since the last checkpoint."""
        return time.monotonic() - self._saved

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return learning_rate(self.config, self.steps, self.steps_per_epoch)

    @property
    def shrinkage(self) -> float:
        """By how much the next proximal step shortens a scale."""
        return shrinkage(self.config, self.steps, self.steps_per_epoch)

    def check_sparsity(self, reporter: Reporter) -> None:
        """Warn if the whole run cannot shrink a typical scale to 0, or leaves none above it."""
        if not self.scales:
            reporter.warn(
                "no prunable group has batch norm in all its producers: `sparsity` has no effect"
            )
            return
        budget = shrink_budget(self.config, self.steps_per_epoch)
        scale = typical_scale(self.scales)
        if SENSIBLE[0] * scale <= budget <= SENSIBLE[1] * scale:
            return
        outcome = "hardly any" if budget < scale else "nearly all"
        reporter.warn(
            f"sparsity {self.config.sparsity:g} can shrink a batch-norm scale by {budget:.3g} over "
            f"the whole run, and they are {scale:.3g}: {outcome} will become 0; try "
            f"{ADVISED * self.config.sparsity * scale / budget:.2g}"
        )

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each head for images of this size."""
        if (found := self._grids.get((height, width))) is None:
            shapes = layer_shapes(with_input_size(self.spec, height, width))
            found = [shapes[head.index][1:] for head in self.spec.heads]
            self._grids[height, width] = found
        return found

    def make_room(self, wanted: Targets) -> bool:
        """Whether targets need more room than any before; what is recorded for less is let go."""
        needed = wanted.labeled.shape[1], wanted.place.shape[1]
        if self.captured is None or needed == self.room:
            return False
        self.captured.forget()
        # Twice as much, for the next ones.
        objects, positives = (
            now if now == before else 2 * now for now, before in zip(needed, self.room, strict=True)
        )
        self.room = objects, positives
        return True

    def hold_zeros(self) -> None:
        """Take the masked weights out of the gradient.

        They are 0 at the start, and then momentum, weight decay and the moving average keep them.
        """
        for kernel, gone in self.masked:
            if kernel.grad is not None:
                kernel.grad.masked_fill_(gone, 0.0)

    def update_average(self) -> None:
        """Let the moving average follow the network by one step."""
        # A young average follows closely, or it would remember the random start for too long.
        decay = min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            # Tensors of whole numbers it copies.
            follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            follow(*self._followed, self.steps)
        if self.config.sparsity:
            # What is exactly 0 now stays 0 in the average: only an exact 0 can be removed exactly.
            for current_group, average_group in zip(self.scales, self.average_scales, strict=True):
                for a, b in zip(current_group.parameters, average_group.parameters, strict=True):
                    b[a == 0] = 0


def _network(model: Model, device: torch.device) -> Network:
    """A network as it is trained, in evaluation mode."""
    graph = lower(darknet(model).spec, trained=True)
    return Network(graph, model.parameters, device=device)


def _masked_kernels(network: Network, masks: WeightMasks) -> list[tuple[Tensor, Tensor]]:
    """Kernels with the places that must stay 0."""
    kernels = ((network.array(name), mask) for name, mask in masks.kept.items())
    return [(kernel, ~mask.to(kernel.device)) for kernel, mask in kernels]


def _optimizer(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    """Weight decay on kernels alone: parameters with more than one dimension."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # On a GPU all at once; torch's own choice still clears gradients one by one.
    together = True if kernels[0].device.type == "cuda" else None
    if config.optimizer == "adamw":
        betas = (config.momentum, 0.999)
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, foreach=together)
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        foreach=together,
    )
