"""Distillation without labels: a slim network trained to give what the dense one gives.

Only how far it is from the dense network is minimized (`pruning.recover.matching`), on augmented
images of which nobody knows what they show. Batch norms keep their statistics: batches are small.
What counts is a moving average of the weights, judged on images that are held out; the network that
the run began with is one of the candidates, so that none ends further away than it began. A re-fit
is an optimum that large steps leave at once: a run that is judged to have gone away begins again at
the closest it was, at half the rate, so that the rate needs no tuning. A run is a function of its
settings and samples: one that was killed and resumed ends with the same bytes.
"""

import copy
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from yoloprune.errors import CheckpointError, UsageError
from yoloprune.execution.module import Network
from yoloprune.execution.stream import chunked
from yoloprune.interrupts import stop_flag
from yoloprune.pruning.recover.matching import Matching
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.checkpoint import read_stored, write_stored
from yoloprune.training.config import LARGEST_SEED
from yoloprune.training.engine import InterruptedRunError

Samples = Callable[[int], Generator[Tensor, None, None]]
"""From a step's number to the batches (B, C, H, W) from that step on."""

JUDGED = 20
"""How many times a run is judged."""

AWAY = 1.05
"""How many times the least distance it may be at without going back."""

SPAN = 0.1
"""Share of a run that its moving average spans at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImitationConfig:
    """Settings of a run.

    Attributes:
        steps: optimizer steps.
        batch_size: images a step.
        learning_rate: peak of AdamW's, after a twentieth of the run; then cosine to a fiftieth.
        ema_decay: of the moving average, in long runs.
        seed: of the samples.
    """

    steps: int
    batch_size: int = 8
    learning_rate: float = 1e-4
    ema_decay: float = 0.998
    seed: int = 0

    def __post_init__(self) -> None:
        rules = (
            ("steps", "at least 1", self.steps >= 1),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("learning_rate", "a number above 0", 0 < self.learning_rate < math.inf),
            ("ema_decay", "from 0 to less than 1", 0 <= self.ema_decay < 1),
            ("seed", f"from 0 to {LARGEST_SEED}", 0 <= self.seed <= LARGEST_SEED),
        )
        for name, rule, kept in rules:
            if not kept:
                raise UsageError(f"distillation: {name} must be {rule}, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imitated:
    """The parameters that came closest, and how far all that were judged were: (step, share).

    Shares are of the distance at the outputs where the run began, on the held-out images.
    """

    parameters: dict[str, Tensor]
    curve: tuple[tuple[int, float], ...]


def imitate(
    matching: Matching,
    samples: Samples,
    held_out: Sequence[Tensor],
    config: ImitationConfig,
    *,
    checkpoint: Path | None = None,
    inputs: str = "",
    reporter: Reporter = SILENT,
    stop: Callable[[], bool] = lambda: False,
) -> Imitated:
    """Train the slim network of a `matching`; it is changed.

    With a `checkpoint` a run goes on from that file where there is one, and leaves one where it is
    stopped; `inputs` is a digest of the networks and samples that it depends on. Raises
    `InterruptedRunError` when stopped by Ctrl-C, SIGTERM or `stop`, and `CheckpointError` for a
    file that is no checkpoint of this run.
    """
    run = _Run(matching, held_out, config, inputs)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    else:
        run.judge()
    ticks = reporter.track(range(run.steps, config.steps), "distilling", state=run.text)
    every = max(1, config.steps // JUDGED)
    with stop_flag() as stopped, closing(ticks), closing(samples(run.steps)) as batches:
        while run.steps < config.steps:
            next(ticks)
            run.step(next(batches))
            judged = run.steps % every == 0 or run.steps == config.steps
            if judged:
                run.judge()
            number = stopped()
            stopping = bool(number) or stop()
            if checkpoint is not None and (judged or stopping):
                run.save(checkpoint)
            if stopping:
                raise InterruptedRunError(number)
        next(ticks, None)
    return Imitated(parameters=run.best, curve=tuple(run.curve))


def gradients(matching: Matching, images: Tensor) -> None:
    """Add the gradients of what is minimized on a batch; the network may read fewer at once."""
    parts = chunked(matching.slim.graph, images, len(images))
    for part in parts:
        torch.autograd.backward(matching.distance(part) / len(parts))


class _Run:
    """What a step changes."""

    def __init__(
        self,
        matching: Matching,
        held_out: Sequence[Tensor],
        config: ImitationConfig,
        inputs: str,
    ) -> None:
        self.matching = matching
        # The dense network stays as it is.
        self.held_out = [(images, matching.wanted(images)) for images in held_out]
        self.config, self.inputs = config, inputs
        self.network = matching.slim
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, betas=(0.9, 0.99), weight_decay=0.0)
        self.steps = 0
        self.curve: list[tuple[int, float]] = []
        self.best = self.average.state()
        self.halved = 0

    def step(self, images: Tensor) -> None:
        """Learn from a batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = _rate(self.config, self.steps) / 2**self.halved
        self.optimizer.zero_grad(set_to_none=True)
        gradients(self.matching, images)
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.steps += 1
        # A young average follows closely.
        longest = max(0.0, 1 - 1 / (SPAN * self.config.steps))
        decay = min(self.config.ema_decay, longest, (1 + self.steps) / (10 + self.steps))
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        follow(list(self.average.parameters()), list(self.network.parameters()), self.steps)

    def judge(self) -> None:
        """See how far the average is on the held-out images, and keep it if none was closer.

        Go back to the closest where it is much further.
        """
        shares = [
            float(self.matching.apart(self.average, images, wanted))
            for images, wanted in self.held_out
        ]
        share = sum(shares) / len(shares)
        least = min((value for _, value in self.curve), default=math.inf)
        self.curve.append((self.steps, share))
        if share < least:
            self.best = self.average.state()
        elif share > AWAY * least or math.isnan(share):
            self.network.load(self.best)
            self.average.load(self.best)
            self.optimizer.state.clear()
            self.halved += 1

    def text(self) -> str:
        """The closest so far."""
        return f"{min(value for _, value in self.curve):.3f} of the distance is left"

    def save(self, path: Path) -> None:
        """Write all of it; what was there stays until it is complete."""
        write_stored(path, self._document())

    def restore(self, path: Path) -> None:
        """Go back to where a checkpoint was written."""
        try:
            found = _stored(path, self.network)
            if (found["config"], found["inputs"]) != (asdict(self.config), self.inputs):
                raise CheckpointError(
                    f"{path}: of another network, other images or other settings: give those, or "
                    "remove it to begin anew"
                )
            self.network.load(found["network"])
            self.average.load(found["average"])
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": found["optimizer"], "param_groups": groups})
            self.steps, self.best = int(found["steps"]), dict(found["best"])
            self.halved = int(found["halved"])
            self.curve = [(int(step), float(share)) for step, share in found["curve"]]
        except CheckpointError:
            raise
        except Exception as error:
            raise _damaged(path, error) from error

    def _document(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "inputs": self.inputs,
            "network": self.network.state(),
            "average": self.average.state(),
            "optimizer": self.optimizer.state_dict()["state"],
            "steps": self.steps,
            "best": self.best,
            "halved": self.halved,
            "curve": self.curve,
        }


def steps_of(checkpoint: Path, network: Network) -> int:
    """How many steps the run of a network's checkpoint has.

    Raises `CheckpointError` for any other file.
    """
    try:
        return int(_stored(checkpoint, network)["config"]["steps"])
    except CheckpointError:
        raise
    except Exception as error:
        raise _damaged(checkpoint, error) from error


def _stored(path: Path, network: Network) -> dict[str, Any]:
    size = sum(array.nbytes for array in network.state_dict().values())
    try:
        return read_stored(path, size)
    except CheckpointError as error:
        raise CheckpointError(f"{error}: remove it") from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__}): remove it")


def _rate(config: ImitationConfig, step: int) -> float:
    done = step / config.steps
    cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * done))
    return config.learning_rate * min(1.0, 20 * (step + 1) / config.steps) * cosine
